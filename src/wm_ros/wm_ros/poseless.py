"""Latents whose poses cannot be used: what that costs the node that takes them, and what would help, in words."""

from __future__ import annotations

from collections import deque

from wm_interfaces.msg import LatentState

JUDGED = 40
"""Latents that are looked back on."""
_ABSENT = "is a pose published? /diagnostics of latent_publisher names what it lacks"
_UNUSABLE = (
    "poses come, but for other times: another clock, or too seldom? Stamp them by the camera's clock, or name the "
    "offset (camera_offset_s); /diagnostics of latent_publisher says by how much they are off"
)


class PoseWatch:
    """Tells when most latents come without a pose.

    Args:
        costs: What does not work without one.
    """

    def __init__(self, costs: str) -> None:
        self._costs = costs
        self._statuses: deque[int | None] = deque(maxlen=JUDGED)

    def observe(self, msg: LatentState) -> None:
        """Take note of a latent as it is used: ``has_pose`` is false where its pose did not come in time."""
        self._statuses.append(None if msg.has_pose else msg.pose_status)

    def complaint(self) -> tuple[str | None, str]:
        """Return what is wrong, None where nothing is, and what of it stays the same while its numbers change."""
        lacking = [status for status in self._statuses if status is not None]
        if len(self._statuses) < JUDGED or len(lacking) <= JUDGED / 2:
            return None, ""
        remedy = _ABSENT if lacking.count(LatentState.POSE_ABSENT) > len(lacking) / 2 else _UNUSABLE
        return f"{len(lacking)} of the last {JUDGED} latents have no pose: {self._costs}; {remedy}", remedy
