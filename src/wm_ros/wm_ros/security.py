"""Whether a graph that is told to enforce security can: one that cannot refuses to start, and never talks in clear."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from wm_ros.errors import ConfigurationError

_STRATEGY, _ENABLE, _KEYSTORE = "ROS_SECURITY_STRATEGY", "ROS_SECURITY_ENABLE", "ROS_SECURITY_KEYSTORE"


def is_enforced(environment: Mapping[str, str]) -> bool:
    """Return whether security is asked to be enforced, however that is spelt."""
    return environment.get(_STRATEGY, "").strip().lower() == "enforce"


def check_security(environment: Mapping[str, str]) -> None:
    """Refuse settings under which ROS would start without the security that was asked for.

    ROS itself takes any spelling but ``Enforce`` for permission to go on without, and looks at none of it unless
    ``ROS_SECURITY_ENABLE`` is exactly ``true``.

    Raises:
        ConfigurationError: Names the variable, and what it should be.
    """
    if not is_enforced(environment):
        return
    if environment[_STRATEGY] != "Enforce":
        raise ConfigurationError(f"{_STRATEGY} is '{environment[_STRATEGY]}': only 'Enforce' enforces security")
    if environment.get(_ENABLE) != "true":
        raise ConfigurationError(
            f"{_STRATEGY} is Enforce, but {_ENABLE} is '{environment.get(_ENABLE, '')}': nothing is secured unless it "
            "is 'true'"
        )
    keystore = environment.get(_KEYSTORE, "")
    if not keystore or not (Path(keystore) / "enclaves").is_dir():
        raise ConfigurationError(
            f"{_STRATEGY} is Enforce, but {_KEYSTORE} '{keystore}' holds no keystore: make one with scripts/keystore"
        )
