"""What is asked of the memory and what it answers, as JSON."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, Field

from wm_api.schemas import (
    Action,
    Count,
    Finite,
    Identified,
    Latent,
    Metres,
    Name,
    Pose,
    Positive,
    Request,
    SeenNs,
    StampNs,
)
from wm_core.memory.query import MAX_K, MAX_RINGS, Box, Matches, Place, Query
from wm_core.memory.record import MAX_ID, MemoryRecord, Successor

Sides = Annotated[list[Metres], Field(min_length=6, max_length=6, description="min x, y, z, then max x, y, z [m]")]
FoundT = TypeVar("FoundT", bound="FoundAnswer")
RecordId = Annotated[int, Field(ge=0, le=MAX_ID)]


class QueryRequest(Request):
    """Which memories, and nearest by what; a field that is left out filters nothing."""

    k: Annotated[int, Field(ge=1, le=MAX_K)] = 8
    pose: Pose | None = None
    latent: Latent | Literal["now"] | None = None
    rank_by: Literal["auto", "latent", "pose", "both"] = "auto"
    metric: Literal["l2", "cosine"] = "l2"
    encoder_id: Name = ""
    frame_id: Name = ""
    radius_m: Positive = 0.0
    ring_count: Annotated[int, Field(ge=0, le=MAX_RINGS)] = 0
    box: Sides | None = None
    yaw_tolerance_rad: Positive = 0.0
    z_tolerance_m: Positive = 0.0
    time_min_ns: StampNs | None = None
    time_max_ns: StampNs | None = None
    exclude_recent_s: Positive = 0.0
    stamp_ns: StampNs | None = None
    session: Name = ""
    action: Action | None = None
    action_distance: Positive = 0.0
    yaw_weight_m: Positive = 1.0
    pose_weight: Positive = 1.0
    successors: bool = False

    def to_query(self, latent_D: np.ndarray | None) -> Query:
        """Return the same as a query; ``latent_D`` is what its latent stands for."""
        names = ("k", "rank_by", "metric", "encoder_id", "frame_id", "radius_m", "ring_count", "yaw_tolerance_rad",
                 "z_tolerance_m", "time_min_ns", "time_max_ns", "exclude_recent_s", "stamp_ns", "session",
                 "action_distance", "yaw_weight_m", "pose_weight", "successors")  # fmt: skip
        pose = self.pose
        return Query(
            place=None if pose is None else Place(pose.x, pose.y, pose.z, pose.yaw),
            latent_D=latent_D,
            box=None if self.box is None else Box(*self.box),
            action_A=None if self.action is None else np.array(self.action, np.float32),
            **{name: getattr(self, name) for name in names},
        )


class BatchRequest(Request):
    """Several questions, answered together."""

    queries: Annotated[list[QueryRequest], Field(min_length=1, max_length=1024)]


class SuccessorEntry(Request):
    """What was seen some time after."""

    horizon_s: Positive
    dt_s: Positive
    latent: Latent


class RecordEntry(Request):
    """A memory."""

    id: RecordId = 0
    stamp_ns: SeenNs
    latent: Latent
    pose: Pose
    session: Name = ""
    encoder_id: Name = ""
    frame_id: Name = ""
    previous_action: Annotated[list[Finite], Field(default_factory=list, max_length=1024)]
    action: Annotated[list[Finite], Field(default_factory=list, max_length=1024)]
    surprise: Annotated[float, Field(allow_inf_nan=False)] | None = None
    successors: Annotated[list[SuccessorEntry], Field(default_factory=list, max_length=16)]

    def to_record(self) -> MemoryRecord:
        """Return it as the memory keeps it."""
        pose = self.pose
        return MemoryRecord(
            id=self.id, stamp_ns=self.stamp_ns, latent_D=np.array(self.latent, np.float32),
            x=pose.x, y=pose.y, z=pose.z, yaw=pose.yaw,
            session=self.session, encoder_id=self.encoder_id, frame_id=self.frame_id,
            previous_action_A=np.array(self.previous_action, np.float32), action_A=np.array(self.action, np.float32),
            surprise=float("nan") if self.surprise is None else self.surprise,
            successors=tuple(
                Successor(each.horizon_s, each.dt_s, np.array(each.latent, np.float32)) for each in self.successors
            ),
        )  # fmt: skip


class SuccessorAnswer(BaseModel):
    """What was seen some time after a memory."""

    horizon_s: float
    dt_s: float
    latent: list[float]


class RecordAnswer(BaseModel):
    """A memory as it is held."""

    id: int
    stamp_ns: int
    latent: list[float]
    pose: Pose
    session: str
    encoder_id: str
    frame_id: str
    h3_cell: str
    previous_action: list[float]
    action: list[float]
    surprise: float | None
    successors: list[SuccessorAnswer]

    @classmethod
    def of(cls, record: MemoryRecord) -> RecordAnswer:
        """Return a memory as JSON says it."""
        return cls(
            id=record.id, stamp_ns=record.stamp_ns, latent=record.latent_D.tolist(),
            pose=Pose.model_construct(x=record.x, y=record.y, z=record.z, yaw=record.yaw),
            session=record.session, encoder_id=record.encoder_id, frame_id=record.frame_id,
            h3_cell=f"{record.h3_cell:x}", previous_action=record.previous_action_A.tolist(),
            action=record.action_A.tolist(), surprise=number(record.surprise),
            successors=[
                SuccessorAnswer(horizon_s=each.horizon_s, dt_s=each.dt_s, latent=each.latent_D.tolist())
                for each in record.successors
            ],
        )  # fmt: skip


class OneRecordAnswer(RecordAnswer, Identified):
    """A memory by itself; ``encoder_id`` is its own."""


class MatchAnswer(BaseModel):
    """One of the memories that were found."""

    distance: float
    latent_distance: float | None
    pose_distance: float | None
    record: RecordAnswer


class FoundAnswer(BaseModel):
    """The memories that were found, nearest first."""

    matches: list[MatchAnswer]
    candidate_count: int
    ms: float = Field(description="Time that the search took, all questions of a batch together [ms].")

    @classmethod
    def of(cls: type[FoundT], found: Matches, ms: float, **identity: str) -> FoundT:
        """Return an answer of the memory as JSON says it; ``identity`` is whom it is from."""
        distances = (found.distances_K, found.latent_distances_K, found.pose_distances_K)
        rows = zip(found.records, *(array.tolist() for array in distances))
        matches = [
            MatchAnswer(
                distance=distance,
                latent_distance=number(by_latent),
                pose_distance=number(by_pose),
                record=RecordAnswer.of(record),
            )
            for record, distance, by_latent, by_pose in rows
        ]
        return cls(matches=matches, candidate_count=found.candidate_count, ms=ms, **identity)


class MatchesAnswer(FoundAnswer, Identified):
    """The answer to one question."""


class BatchAnswer(Identified):
    """One answer per question."""

    answers: list[FoundAnswer]
    ms: float


class StatsAnswer(Identified):
    """How the memory is doing; ``encoder_id`` is its own."""

    memory_count: int
    capacity: int
    cell_count: int
    frame_id: str
    feature_id: str
    backend: str
    durable_until_ns: int
    pending_writes: int
    ram_bytes: int
    disk_bytes: int
    degraded: list[str]
    source: str = Field(description="Where the memory is: a file, this process, or the graph's node.")
    writable: bool


class CellAnswer(BaseModel):
    """A cell of the map with what it holds."""

    cell: str
    count: int
    outline: list[tuple[float, float]] = Field(description="Corners in the map frame [m].")


class CellsAnswer(Identified):
    """Cells that hold memories, the fullest first."""

    cells: list[CellAnswer]
    cell_count: int
    memory_count: int
    frame_id: str


class PlaceAnswer(BaseModel):
    """Where a memory was made, in the map frame [m]."""

    id: int
    x: float
    y: float


class PlacesAnswer(Identified):
    """Where memories were made."""

    places: list[PlaceAnswer]


class InsertRequest(Request):
    """Memories to keep."""

    records: Annotated[list[RecordEntry], Field(min_length=1, max_length=4096)]


class InsertAnswer(Identified):
    """Ids of what was kept."""

    ids: list[int]


class DeleteRequest(Request):
    """What to forget: whatever matches all that is given."""

    ids: Annotated[list[RecordId], Field(default_factory=list, max_length=65_536)]
    box: Sides | None = None
    session: Name = ""
    older_than_s: Positive = 0.0
    frame_id: Name = ""


class TransformRequest(Request):
    """How to move memories: a turn about the map's origin, then a shift."""

    x: Metres = 0.0
    y: Metres = 0.0
    z: Metres = 0.0
    yaw: Finite = 0.0
    frame_id: Name = ""
    session: Name = ""


class SnapshotRequest(Request):
    """A snapshot by its name, which is no path."""

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")]


class CountAnswer(Identified):
    """How many memories it was."""

    count: Count


def number(value: float) -> float | None:
    """Return a number that JSON can say; None for one that is not finite."""
    return value if np.isfinite(value) else None
