"""What every backend of the memory does, so that one suite can hold them all to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from wm_core.memory.errors import ForgetError, FrameMismatchError
from wm_core.memory.overview import Overview
from wm_core.memory.query import Box, Matches, Query
from wm_core.memory.record import MemoryRecord, Successor
from wm_core.projection import Projection
from wm_core.se2 import wrap_angle


@dataclass(frozen=True)
class Forget:
    """What to delete: whatever matches all criteria given.

    Attributes:
        ids: These.
        box: Inside this box.
        session: Of this session.
        older_than_s: Older than the present by more than this [s]; which moment that is says ``present_ns``.
        frame_id: Frame of the box; empty, or must be the memory's.
        now_ns: What the clock says that stamps come from [ns]; None: this machine's.
    """

    ids: tuple[int, ...] = ()
    box: Box | None = None
    session: str = ""
    older_than_s: float = 0.0
    frame_id: str = ""
    now_ns: int | None = None

    def check(self, frame_id: str = "") -> None:
        """Refuse criteria that make no sense.

        Args:
            frame_id: The memory's; empty: not known yet.

        Raises:
            ForgetError: None were given, one is no number, or the box is in another frame.
        """
        if self.box and self.frame_id and frame_id and self.frame_id != frame_id:
            raise ForgetError(f"the box is in frame {self.frame_id}, the memory's places are in {frame_id}")
        if not (self.ids or self.box or self.session or self.older_than_s):
            raise ForgetError("no criterion given, so nothing was deleted")
        if not 0 <= self.older_than_s < float("inf"):
            raise ForgetError(f"older_than_s is {self.older_than_s}, expected a finite number >= 0")
        if self.box is not None and any(value != value for value in self.box):
            raise ForgetError(f"box {tuple(self.box)} is not a number")


@dataclass(frozen=True)
class Rigid:
    """Turns by ``yaw`` [rad] about the map's origin, then moves by x, y, z [m].

    Where it leads to another frame, ``frame_id`` is that one's name; then all of a memory moves.
    """

    x: float
    y: float
    z: float
    yaw: float
    frame_id: str = ""

    def check(self, session: str, frame_id: str) -> None:
        """Refuse to move part of a memory, whose frame is ``frame_id``, to another frame.

        Raises:
            FrameMismatchError: It would.
        """
        if session and self.frame_id not in ("", frame_id):
            raise FrameMismatchError(f"only all sessions can move from frame {frame_id} to {self.frame_id}")

    def apply(self, x_N: np.ndarray, y_N: np.ndarray, z_N: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the places moved [N each]."""
        cosine, sine = np.cos(self.yaw), np.sin(self.yaw)
        return cosine * x_N - sine * y_N + self.x, sine * x_N + cosine * y_N + self.y, z_N + self.z

    def apply_one(self, x: float, y: float, z: float, yaw: float) -> tuple[float, float, float, float]:
        """Return one place and its yaw moved."""
        x_N, y_N, z_N = self.apply(np.array([x]), np.array([y]), np.array([z]))
        return float(x_N[0]), float(y_N[0]), float(z_N[0]), float(np.float32(wrap_angle(yaw + self.yaw)))


@dataclass(frozen=True)
class Stats:
    """How a memory is doing; mirrors ``wm_interfaces/srv/MemoryStats``."""

    memory_count: int = 0
    capacity: int = 0
    cell_count: int = 0
    encoder_id: str = ""
    frame_id: str = ""
    feature_id: str = ""
    backend: str = ""
    durable_until_ns: int = 0
    pending_writes: int = 0
    ram_bytes: int = 0
    disk_bytes: int = 0
    degraded: tuple[str, ...] = field(default_factory=tuple)


class Sink(Protocol):
    """The writing half of a memory: where a recorder writes to."""

    def insert(self, records: Sequence[MemoryRecord]) -> list[int]:
        """Keep records and return their ids; all or none.

        Raises:
            RecordError: The first one that cannot be kept, by its place in the list.
        """

    def link(self, record_id: int, successor: Successor) -> bool:
        """Add what followed a record; False where it is forgotten already."""

    def set_surprise(self, record_id: int, surprise: float) -> bool:
        """Say how surprising a record was; False where it is forgotten already."""


class Memory(Sink, Protocol):
    """Remembers states and finds them again. Every method may be called from any thread."""

    def query_batch(self, queries: Sequence[Query]) -> list[Matches]:
        """Answer queries, each exactly.

        Raises:
            QueryError: The first one that cannot be answered as asked.
        """

    def query_look(self, query: Query) -> Matches:
        """Answer one query by its feature alone, over all places, exactly; others need not wait for it.

        Raises:
            QueryError: It cannot be answered as asked.
        """

    def places(self, most: int) -> np.ndarray:
        """Return where records lie, x, y, z [N, 3]: all, or ``most`` of them spread over all where there are more."""

    def overview(self, most: int, last: int) -> Overview:
        """Return what is held, in outline.

        Args:
            most: ``Overview.all`` holds at most so many memories, or none.
            last: ``Overview.newest`` holds so many.
        """

    def delete(self, what: Forget) -> int:
        """Forget what matches and return how many that were."""

    def transform(self, rigid: Rigid, session: str = "") -> int:
        """Move the records of a session, or all, and return how many; all or none."""

    def reproject(self, projection: Projection) -> int:
        """Read all latents, successors' included, in another basis of their features and return of how many records.

        ``EncoderMismatchError`` where it is of other features, ``RecordError`` where a record has none; then nothing
        changed.
        """

    def clear(self) -> None:
        """Forget everything, the encoder included."""

    def snapshot(self, path: Path) -> int:
        """Write everything to one file, atomically, and return how many records it holds."""

    def restore(self, path: Path) -> int:
        """Replace everything by what a snapshot holds and return how many records that are."""

    def flush(self, timeout_s: float = 30.0) -> None:
        """Return once everything so far is durable; ``StoreError`` says why it is not."""

    def successor_times(self) -> np.ndarray:
        """Return the real time differences of the successors held [s]; empty where they would cost too much to read."""

    def stats(self) -> Stats:
        """Return how the memory is doing."""

    def close(self) -> None:
        """Make durable what is left, if the disk takes it, and let go."""
