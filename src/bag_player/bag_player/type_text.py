"""The definitions of message types as a recording carries them: the common ones, and others from their packages."""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from wm_core.bags import BagError


def store_with(kind: str) -> Typestore:
    """Return definitions that hold a message type and all that it needs.

    Args:
        kind: As ``nav_msgs/msg/Odometry``.

    Raises:
        BagError: It is not installed, or not defined in a way that can be read.
    """
    store = get_typestore(Stores.ROS2_JAZZY)
    waiting = [kind]
    while waiting:
        name = waiting.pop()
        if name in store.fielddefs:
            continue
        try:
            types = get_types_from_msg(_text(name), name)
            store.register(types)
        except TypesysError as error:
            raise BagError(f"the definition of {name} cannot be read: {error}") from error
        waiting += [needed for _, fields in types.values() for needed in _named(fields) if needed != name]
    return store


def _text(kind: str) -> str:
    package, _, name = kind.split("/")
    try:
        return (Path(get_package_share_directory(package)) / "msg" / f"{name}.msg").read_text()
    except (PackageNotFoundError, OSError) as error:
        raise BagError(f"{kind} is not defined here: install package {package}") from error


def _named(fields: object) -> list[str]:
    """Return the message types that occur in a description of fields."""
    if isinstance(fields, str):
        return [fields] if fields.count("/") == 2 else []
    return [name for each in fields for name in _named(each)] if isinstance(fields, list | tuple) else []
