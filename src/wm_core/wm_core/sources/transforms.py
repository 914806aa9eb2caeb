"""The robot's pose from tf: a tree of transforms, each with its own rate, composed to one pose."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Any

import numpy as np

from wm_core.bounds import LARGEST_POSITION_M, LATEST_STAMP_S, checked_name
from wm_core.errors import MessageError
from wm_core.se3 import compose, rotate, slerp
from wm_core.sources.poses import PoseSample, as_body, checked_pose, is_optical, stamp_ns_of

TF_TYPE = "tf2_msgs/msg/TFMessage"
MAPS = ("map", "odom", "world")
BODIES = ("base_link", "base_footprint")
MOST_FRAMES = 1000
"""Frames that are kept; whole humanoids have some hundred."""
_MOST_SHOWN = 12
_MOST_KEPT = 20_000
# A transform holds so long beyond its newest; one that comes more rarely, as a map's correction may, for so many of its
# own gaps, up to the longest.
_HOLD_NS = 2_000_000_000
_HOLD_GAPS, _LONGEST_HOLD_NS = 2, 60_000_000_000
_KEEP_NS = 10_000_000_000
_BACK_NS = 1_000_000_000


class _Edge:
    """The transforms from one frame to its parent, ordered by time."""

    def __init__(self, parent: str, is_static: bool) -> None:
        self.parent, self.is_static = parent, is_static
        self._stamps: list[int] = []
        self._poses: list[tuple[np.ndarray, np.ndarray]] = []
        self._gap_ns = 0

    def insert(self, stamp_ns: int, position: np.ndarray, quaternion: np.ndarray) -> None:
        if self._stamps and (stamp_ns < self._stamps[-1] - _BACK_NS or self.is_static):
            self._stamps, self._poses = [], []
        if self._stamps and stamp_ns > self._stamps[-1]:
            self._gap_ns = stamp_ns - self._stamps[-1]
        at = bisect_left(self._stamps, stamp_ns)
        self._stamps.insert(at, stamp_ns)
        self._poses.insert(at, (position, quaternion))
        keep = max(bisect_left(self._stamps, self._stamps[-1] - _KEEP_NS), len(self._stamps) - _MOST_KEPT)
        del self._stamps[:keep], self._poses[:keep]

    def at(self, stamp_ns: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Returns translation and rotation at a time; a slow one holds for a while, None beyond."""
        if not self._stamps:
            return None
        after = bisect_left(self._stamps, stamp_ns)
        if self.is_static or (after < len(self._stamps) and self._stamps[after] == stamp_ns):
            return self._poses[-1 if self.is_static else after]
        if 0 < after < len(self._stamps):
            (start, turned), (end, turns) = self._poses[after - 1], self._poses[after]
            part = (stamp_ns - self._stamps[after - 1]) / (self._stamps[after] - self._stamps[after - 1])
            return start + part * (end - start), slerp(turned, turns, part)
        end_at = -1 if after else 0
        hold_ns = _HOLD_NS if end_at == 0 else min(max(_HOLD_NS, _HOLD_GAPS * self._gap_ns), _LONGEST_HOLD_NS)
        return self._poses[end_at] if abs(stamp_ns - self._stamps[end_at]) <= hold_ns else None


class TransformBuffer:
    """Transforms received so far, and the pose of one frame in another at a time.

    Args:
        parent: Frame in which poses are wanted; "" takes the first of map, odom, world that is connected.
        child: Frame whose pose is wanted; "" takes the first of base_link, base_footprint that is known, and where
            none is connected a camera's: the first optical frame that was told of.

    Attributes:
        refused: Why a transform of the newest message was not taken; None: all were.
    """

    def __init__(self, parent: str = "", child: str = "") -> None:
        self._parents = (parent.lstrip("/"),) if parent else MAPS
        self._child = child.lstrip("/")
        self._edges: dict[str, _Edge] = {}
        self.refused: MessageError | None = None

    @property
    def frames(self) -> dict[str, str]:
        """{frame: its parent}."""
        return {child: edge.parent for child, edge in self._edges.items()}

    def insert(self, msg: Any, is_static: bool = False) -> list[PoseSample]:
        """Adds a TFMessage; returns the poses that are new through it.

        A transform that cannot be one is passed over: several nodes' may lie in one message. ``refused`` then says why.

        Raises:
            MessageError: Nothing new came of it, and some transform cannot be one, or the pose lies beyond every map.
        """
        moved: dict[str, int] = {}
        self.refused = None
        for transform in msg.transforms:
            try:
                child, stamp_ns = self._take(transform, is_static)
            except MessageError as error:
                self.refused = self.refused or error
                continue
            if not is_static:
                moved[child] = stamp_ns
        news = self._news(moved)
        if self.refused is not None and not news:
            raise self.refused
        return news

    def _take(self, transform: Any, is_static: bool) -> tuple[str, int]:
        """Adds one transform; returns its frame and stamp."""
        child = checked_name(str(transform.child_frame_id), "child_frame_id").lstrip("/")
        stamp_ns = stamp_ns_of(transform)
        if not (is_static or 0 <= stamp_ns <= LATEST_STAMP_S * 1_000_000_000):
            raise MessageError("impossible-stamp", f"stamp of {stamp_ns / 1e9:g} s, expected 0 to {LATEST_STAMP_S}")
        shift, turn = transform.transform.translation, transform.transform.rotation
        pose = checked_pose((shift.x, shift.y, shift.z), (turn.x, turn.y, turn.z, turn.w))
        parent = checked_name(str(transform.header.frame_id), "frame_id").lstrip("/")
        edge = self._edges.get(child)
        if edge is None and len(self._edges) >= MOST_FRAMES:
            raise MessageError("tf-too-many-frames", f"more than {MOST_FRAMES} frames")
        if edge is None or edge.parent != parent:
            edge = self._edges[child] = _Edge(parent, is_static)
        edge.insert(stamp_ns, *pose)
        return child, stamp_ns

    def _news(self, moved: dict[str, int]) -> list[PoseSample]:
        chain = self._chain()
        if chain is None:
            return []
        # The part of the chain nearest to the body is the fastest one; the others are taken at its time.
        leading = next((frame for frame in chain[0] if not self._edges[frame].is_static), None)
        if leading not in moved:
            return []
        sample = self.lookup(moved[leading])
        return [] if sample is None else [sample]

    def lookup(self, stamp_ns: int) -> PoseSample | None:
        """Returns the pose at a time, None where the frames are not connected or not known then.

        Raises:
            MessageError: ``pose-too-far``: the transforms lie on a map, and lead off it together.
        """
        found = self._chain()
        if found is None:
            return None
        chain, parent = found
        position, quaternion = np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0])
        for frame in chain:
            step = self._edges[frame].at(stamp_ns)
            if step is None:
                return None
            position = step[0] + rotate(step[1], position)
            quaternion = compose(step[1], quaternion)
        if float(np.abs(position).max()) > LARGEST_POSITION_M:
            raise MessageError("pose-too-far", f"{parent} -> {chain[0]} is {position.tolist()} m")
        return PoseSample(stamp_ns, position, as_body(quaternion, chain[0]), parent, chain[0])

    def _chain(self) -> tuple[list[str], str] | None:
        """Returns the frames from the body up to below the map, and the map's name."""
        for child in self._children():
            way = list(self._up(child))
            ends = [self._edges[frame].parent for frame in way]
            for parent in self._parents:
                if parent in ends:
                    return way[: ends.index(parent) + 1], parent
        return None

    def _children(self) -> tuple[str, ...]:
        return (self._child,) if self._child else (*BODIES, *filter(is_optical, self._edges))

    def _up(self, frame: str) -> Iterable[str]:
        seen = set[str]()
        while frame in self._edges and frame not in seen:
            seen.add(frame)
            yield frame
            frame = self._edges[frame].parent

    def why_not(self) -> str:
        """Returns in words why no pose can be looked up."""
        bodies = (self._child,) if self._child else (*BODIES, "an optical frame")
        wanted = f"{' or '.join(self._parents)} -> {' or '.join(bodies)}"
        edges = [f"{edge.parent} -> {child}" for child, edge in sorted(self._edges.items())]
        more = f" and {len(edges) - _MOST_SHOWN} more" if len(edges) > _MOST_SHOWN else ""
        known = f"{', '.join(edges[:_MOST_SHOWN])}{more}" if edges else "nothing"
        return f"tf does not connect {wanted}; it has: {known}"
