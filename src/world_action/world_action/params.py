"""Parameters of the slow branch's node."""

from __future__ import annotations

from dataclasses import dataclass

from wm_ros import TRANSPORTS, ModelParams, param

_LEAST_TICK_RATE = 0.2


@dataclass(frozen=True, kw_only=True)
class WorldActionParams(ModelParams):
    """Everything that may differ between two deployments of this node."""

    image_topics: list[str] = param(["camera/image_raw"], "Camera views; more than one are pooled into one embedding.")
    image_transport: str = param(
        "auto",
        "raw, compressed (TOPIC/compressed), foxglove_video, ffmpeg (TOPIC/ffmpeg), or auto: raw, else compressed.",
        choices=TRANSPORTS,
    )
    tick_rate: float = param(
        0.0, "Embeddings per second of the frames' time [Hz]; 0: as the slow branch was trained.", low=0.0, high=5.0
    )
    match_tolerance_s: float = param(
        0.1, "Largest difference between the stamps of one tick's views [s].", low=0.001, high=1.0
    )
    match_wait_s: float = param(
        0.1, "How long a due tick waits for late views, in the frames' time [s].", low=0.0, high=1.0
    )
    gap_ticks: float = param(
        1.5, "A longer pause between ticks than this many starts a new history.", low=1.0, high=10.0
    )

    profile: str = param(
        "",
        "Folder of this robot's profile, or the name of one in ~/.ros/world_model/NAMESPACE (or ROS_HOME): a slow "
        "branch that was adapted to it is taken from there; empty: the artifact's stays.",
        env="WM_PROFILE",
    )

    def __post_init__(self) -> None:
        """Refuse views that cannot be told apart, and ticks that hardly ever come."""
        if 0.0 < self.tick_rate < _LEAST_TICK_RATE:
            raise ValueError(f"tick_rate is {self.tick_rate} Hz, expected 0 or {_LEAST_TICK_RATE} to 5 Hz")
        if not self.image_topics or "" in self.image_topics or len(set(self.image_topics)) != len(self.image_topics):
            raise ValueError(f"image_topics is {self.image_topics}, expected one or more different topics")

    @property
    def tick_s(self) -> float | None:
        """Time between ticks [s]; None: as the slow branch was trained."""
        return 1.0 / self.tick_rate if self.tick_rate else None
