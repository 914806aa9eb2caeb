"""Where the robot is to drive, as somebody says over HTTP; off unless the operator allows it.

Whoever drives implements ``Goals``; what becomes of a goal is told to all who watch, as events ``goal``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Goal:
    """A place to be.

    Attributes:
        x: In the map frame [m].
        y: In the map frame [m].
        yaw: Where to look [rad]; None: whatever.
    """

    x: float
    y: float
    yaw: float | None = None


class Goals(Protocol):
    """Who drives."""

    def is_ready(self) -> bool:
        """Return whether somebody drives."""

    def send(self, goal: Goal) -> None:
        """Have the robot drive there, in place of where it drove.

        Raises:
            UnavailableError: Nobody drives.
        """

    def cancel(self) -> bool:
        """Have it stop; False where it drove nowhere."""
