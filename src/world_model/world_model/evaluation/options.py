"""What is evaluated: light to import, so that wrong options are refused at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from world_model.errors import DataError

HORIZONS = (1, 5, 10, 20, 40)


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """What is evaluated.

    Attributes:
        data: A rosbag2 folder, a converted set, or ``sim:SEEDS``.
        still: Simulated buildings do not change and poses are exact.
        seconds: Length of a simulated episode [s].
        start_s: Frames before this are remembered but not judged [s].
        horizons: Steps ahead.
        workers: Processes.
        without: Parts of the predictor (``world_model.runtime.switches.SWITCHES``); ours is run once more without each.
        only_ours: No pose noise and no network without memory, which take runs of their own.
        profile: Folder of the robot's profile; ``None`` starts without.
        pose_delay_s: Poses arrive so long after their stamp [s]; ``None``: as recorded, or as simulated.
        anew: At ``start_s`` the robot is started a second time: memories stay, and what its profile holds.
    """

    data: str
    still: bool = False
    seconds: float = 180.0
    start_s: float = 0.0
    horizons: tuple[int, ...] = HORIZONS
    workers: int = 1
    without: tuple[str, ...] = ()
    only_ours: bool = False
    image_topic: str | None = None
    pose_topic: str | None = None
    action_topic: str | None = None
    camera_offset_s: float | None = 0.0
    profile: Path | None = None
    pose_delay_s: float | None = None
    anew: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not self.horizons or min(self.horizons) < 1:
            raise DataError(f"horizons are {', '.join(map(str, self.horizons))} steps, expected at least 1")
        if self.start_s != self.start_s:
            raise DataError("judging is to begin at nan s, expected a number")
