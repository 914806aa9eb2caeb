"""Jumps of the poses, in the words of ``/diagnostics``."""

from __future__ import annotations

from collections import deque

from wm_core.alignment import Jump, Kind
from wm_ros import Health

_NAMED_FOR_S = 10.0


def say_jumps(health: Health, jumps: deque[Jump]) -> None:
    """Name jumps: as long as poses are told in another frame than is remembered, or a while; none is left to tell."""
    while jumps:
        jump = jumps.popleft()
        health.count(f"pose_jumps/{jump.kind.name.lower()}")
        health.warn(f"pose-jump-{jump.kind.name.lower()}", str(jump))
        if jump.kind in (Kind.RESTARTED, Kind.RESTARTED_UNKNOWN):
            health.degrade("pose_frame", str(jump))
        elif jump.kind is Kind.RETURNED:
            health.degrade("pose_frame", None)
        else:
            health.degrade_for(_NAMED_FOR_S, "pose_jump", str(jump))
