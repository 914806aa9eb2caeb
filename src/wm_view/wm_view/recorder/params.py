"""Parameters of the recorder for viewers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wm_ros import ConfigurationError, ManagedParams, param
from wm_view.recorder.opening import RecordingError, check_recording


@dataclass(frozen=True, kw_only=True)
class ViewRecorderParams(ManagedParams):
    """Everything that may differ between two deployments of this node."""

    path: str = param("view.rrd", "File to write: NAME.rrd for rerun, NAME.mcap for Foxglove.")
    picture_rate: float = param(5.0, "Most pictures of each kind a second [Hz].", low=0.1, high=60.0)
    picture_width: int = param(320, "Wider pictures are made as narrow as this [pixels].", low=16, high=4096)
    picture_quality: int = param(80, "JPEG quality of pictures that come raw.", low=1, high=100)

    def file(self) -> Path:
        """Return the file to write.

        Raises:
            ConfigurationError: It cannot be written here, by name.
        """
        path = Path(self.path).expanduser()
        try:
            check_recording(path)
        except RecordingError as error:
            raise ConfigurationError(f"path: {error}") from error
        return path
