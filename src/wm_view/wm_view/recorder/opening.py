"""Which recording a file name asks for, and what has to be installed for it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from wm_core.errors import CoreError
from wm_view.recorder.sink import SUFFIXES, Sink

_NEEDED = {
    ".rrd": {"rerun": "rerun-sdk"},
    ".mcap": {
        "mcap": "mcap",
        "mcap_protobuf": "mcap-protobuf-support",
        "foxglove_schemas_protobuf": "foxglove-schemas-protobuf",
    },
}
"""{suffix: {module: the distribution that brings it}}."""


class RecordingError(CoreError):
    """A recording for viewers cannot be made as asked."""


def check_recording(path: Path) -> None:
    """Refuse a file of an unknown kind, and one whose libraries are not installed.

    Raises:
        RecordingError: Says what is missing, and how to get it.
    """
    if path.suffix not in SUFFIXES:
        raise RecordingError(f"recording '{path}': expected a name that ends in {' or '.join(SUFFIXES)}")
    missing = [name for module, name in _NEEDED[path.suffix].items() if find_spec(module) is None]
    if missing:
        raise RecordingError(
            f"recording '{path}' needs {', '.join(missing)}, not installed here: scripts/setup --view, or "
            "pip install -r requirements/view.txt"
        )


def open_recording(path: Path) -> Sink:
    """Return what writes a recording.

    Raises:
        RecordingError: It cannot be made: see ``check_recording``, or the file cannot be written.
    """
    check_recording(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".rrd":
            from wm_view.recorder.rerun_sink import RerunSink

            return RerunSink(path)
        from wm_view.recorder.mcap_sink import McapSink

        return McapSink(path)
    except OSError as error:
        raise RecordingError(f"recording '{path}' cannot be written: {error.strerror}") from error
