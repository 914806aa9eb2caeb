"""Which frame hangs under which, as heard on tf, and whether a frame has to be tied to the one that all is shown in."""

from __future__ import annotations

from collections import deque

_OWN = 256
"""Transforms of one's own that may still be on their way back."""


class Links:
    """Learns who gives a frame its parent, and leaves out what was published here.

    Args:
        fixed_frame: What everything is shown in.
        patience_s: How long others have time to say where a frame lies [s].
    """

    def __init__(self, fixed_frame: str, patience_s: float) -> None:
        self._fixed, self._patience_s = fixed_frame, patience_s
        self._parents: dict[str, str] = {}
        self._own: deque[tuple[int, str, str]] = deque(maxlen=_OWN)
        self._asked_s: dict[str, float] = {}

    def heard(self, stamp_ns: int, parent: str, child: str) -> None:
        """Note a transform of tf."""
        parent, child = parent.lstrip("/"), child.lstrip("/")
        if (stamp_ns, parent, child) not in self._own:
            self._parents[child] = parent

    def sent(self, stamp_ns: int, parent: str, child: str) -> None:
        """Note a transform of one's own."""
        self._own.append((stamp_ns, parent, child))

    def is_to_tie(self, frame_id: str, now_s: float) -> bool:
        """Return whether a frame of poses is nobody's child, so that only a guess can show it in the fixed frame.

        Args:
            frame_id: Of the poses.
            now_s: Steady time; counts from the first time that this frame was asked for.
        """
        begun_s = self._asked_s.setdefault(frame_id, now_s)
        is_loose = frame_id not in self._parents and self._root(self._fixed) != frame_id
        return is_loose and now_s - begun_s >= self._patience_s

    def complaint(self, frame_id: str) -> str | None:
        """Return why what lies in a frame cannot be shown in the fixed one; None: nothing speaks against it."""
        root = self._root(frame_id)
        if root == frame_id or root == self._root(self._fixed):
            return None
        return f"poses are in {frame_id}, which hangs under {root}, not {self._fixed}: start with fixed_frame:={root}"

    def _root(self, frame_id: str) -> str:
        """Return what a frame hangs under in the end."""
        seen: set[str] = set()
        while frame_id in self._parents and frame_id not in seen:
            seen.add(frame_id)
            frame_id = self._parents[frame_id]
        return frame_id
