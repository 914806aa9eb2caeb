"""The slow, plain reference: what every backend has to agree with. One loop over all records, no index, no tricks."""

from __future__ import annotations

import math
import pickle
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from wm_core.memory.errors import (
    CorruptStoreError,
    EncoderMismatchError,
    FrameMismatchError,
    QueryError,
    RecordError,
    StoreError,
)
from wm_core.memory.filters import Candidates, Limits, passing
from wm_core.memory.frames import Grid
from wm_core.memory.overview import Overview, overview_of
from wm_core.memory.present import newest_ns, present_ns
from wm_core.memory.protocol import Forget, Rigid, Stats
from wm_core.memory.query import Matches, Query
from wm_core.memory.record import (
    LAST_FOLLOWED_ID,
    MemoryRecord,
    Successor,
    action_size,
    adopted,
    check_record,
    check_same_source,
    check_successor,
    check_surprise,
    feature_size,
    kept_orientation,
    kept_yaw,
)
from wm_core.projection import Projection
from wm_core.se2 import wrap_angle
from wm_core.se3 import compose, quaternion_of, turned_about_z

_MAGIC = b"plain memory 1\n"


@dataclass(frozen=True)
class Scored:
    """A record that passed every filter, with what it is ranked by."""

    distance: float
    latent_distance: float
    pose_distance: float
    record: MemoryRecord


class ReferenceMemory:
    """A memory in a dictionary; keeps nothing beyond the process but its snapshots.

    Args:
        grid: Cuts the map into cells.
        capacity: Most records to hold.
        surprise_weight: How much surprise counts against recency in eviction.
    """

    def __init__(self, grid: Grid, capacity: int = 1_000_000, surprise_weight: float = 1.0) -> None:
        self._grid = grid
        self._capacity = capacity
        self._surprise_weight = surprise_weight
        self._records: dict[int, MemoryRecord] = {}
        self._encoder_id: str | None = None
        self._dim = 0
        self._action_dim = -1
        self._next_id = 1
        self._frame_id = self._feature_id = ""
        self._feature_dim = 0

    def insert(self, records: Sequence[MemoryRecord]) -> list[int]:
        """Keep records and return their ids; all or none."""
        if not records:
            return []
        first = records[0]
        encoder_id = first.encoder_id if self._encoder_id is None else self._encoder_id
        dim = self._dim or first.latent_D.size
        action_dim = self._action_dim
        if action_dim < 0:
            action_dim = next((size for record in records if (size := action_size(record))), -1)
        frame_id = adopted(self._frame_id, records, "frame_id")
        feature_id = adopted(self._feature_id, records, "feature_id")
        feature_dim = self._feature_dim or next((size for record in records if (size := feature_size(record))), 0)
        cells = []
        taken: set[int] = set()
        for record in records:
            if record.encoder_id != encoder_id:
                raise EncoderMismatchError(f"{record.encoder_id}, expected {encoder_id}")
            check_same_source(record, frame_id, feature_id)
            check_record(record, dim, action_dim, feature_dim)
            if record.id and (record.id in self._records or record.id in taken):
                raise RecordError("id-taken", f"id {record.id} is held already")
            taken.add(record.id)
            cells.append(self._grid.cell_of(record.x, record.y))
        self._encoder_id, self._dim, self._action_dim = encoder_id, dim, action_dim
        self._frame_id, self._feature_id, self._feature_dim = frame_id, feature_id, feature_dim
        self._next_id = max(self._next_id, *(record.id + 1 for record in records if record.id <= LAST_FOLLOWED_ID), 1)
        ids = []
        for record, cell in zip(records, cells):
            record_id = record.id
            while not record_id:
                free = self._next_id not in self._records and self._next_id not in taken
                record_id = self._next_id if free else 0
                self._next_id += 1
            ids.append(record_id)
            ordered = tuple(sorted(record.successors, key=lambda item: item.horizon_s))
            self._records[record_id] = replace(
                record, id=record_id, h3_cell=cell, successors=ordered,
                yaw=float(np.float32(kept_yaw(record))), surprise=float(np.float32(record.surprise)),
                latent_D=np.asarray(record.latent_D, np.float32), orientation=kept_orientation(record),
            )  # fmt: skip
        while len(self._records) > self._capacity:
            del self._records[self._least_worth()]
        return ids

    def _least_worth(self) -> int:
        """Return the record to forget: the least worth in the most crowded cell, of those the longest unvisited."""
        cells: dict[int, list[MemoryRecord]] = defaultdict(list)
        for record in self._records.values():
            cells[record.h3_cell].append(record)
        crowded = min(cells, key=lambda cell: (-len(cells[cell]), max(r.stamp_ns for r in cells[cell]), cell))
        held = cells[crowded]

        def surprise(record: MemoryRecord) -> float:
            return -1.0 if math.isnan(record.surprise) else record.surprise

        by_time = sorted(held, key=lambda record: (record.stamp_ns, record.id))
        by_surprise = sorted(held, key=lambda record: (surprise(record), record.stamp_ns, record.id))
        worth = {record.id: float(at) for at, record in enumerate(by_time)}
        for at, record in enumerate(by_surprise):
            worth[record.id] += self._surprise_weight * at
        return min(worth, key=lambda record_id: (worth[record_id], record_id))

    def link(self, record_id: int, successor: Successor) -> bool:
        """Add what followed a record; False where it is forgotten already."""
        check_successor(successor, self._dim, self._feature_id)
        record = self._records.get(record_id)
        if record is None:
            return False
        others = [item for item in record.successors if item.horizon_s != successor.horizon_s]
        ordered = sorted([*others, successor], key=lambda item: item.horizon_s)
        self._records[record_id] = replace(record, successors=tuple(ordered))
        return True

    def set_surprise(self, record_id: int, surprise: float) -> bool:
        """Say how surprising a record was; False where it is forgotten already."""
        check_surprise(surprise)
        if record_id in self._records:
            self._records[record_id] = replace(self._records[record_id], surprise=float(np.float32(surprise)))
        return record_id in self._records

    def query_batch(self, queries: Sequence[Query]) -> list[Matches]:
        """Answer queries, each exactly."""
        return [self._answer(query) for query in queries]

    def _answer(self, query: Query) -> Matches:
        scored = self.scored(query)
        best = scored[: query.k]
        records = [replace(each.record, frame_id=self._frame_id, feature_id=self._feature_id) for each in best]
        if not query.successors:
            records = [replace(record, successors=()) for record in records]
        return Matches(
            records,
            np.array([each.distance for each in best]),
            np.array([each.latent_distance for each in best]),
            np.array([each.pose_distance for each in best]),
            len(scored),
        )

    def scored(self, query: Query) -> list[Scored]:
        """Return all that passes every filter, nearest first, equal ones by id."""
        sources = self._frame_id, self._feature_id, self._feature_dim
        query.check(self._dim, self._action_dim, self._encoder_id or "", *sources)
        if query.place is not None:
            try:
                self._grid.cell_of(query.place.x, query.place.y)
            except RecordError as error:
                raise QueryError(str(error)) from error
        held = list(self._records.values())
        newest = newest_ns(np.array([record.stamp_ns for record in held], np.int64))
        names = {record.session: at for at, record in enumerate(held)}
        cell_C = None
        if query.place is not None and query.ring_count > 0:
            cell_C = self._grid.within_rings(self._grid.cell_of(query.place.x, query.place.y), query.ring_count)
        session = names.get(query.session, -1) if query.session else None
        limits = Limits(*query.time_bounds(newest), session, cell_C)
        candidates = Candidates(query, lambda name: self._column(name, held, names), self._grid.map)
        mask_N = passing(query, limits, candidates, np.ones(len(held), bool))
        found = [self._score(query, held[at]) for at in np.flatnonzero(mask_N).tolist()]
        return sorted(found, key=lambda each: (each.distance, each.record.id))

    def _column(self, name: str, held: Sequence[MemoryRecord], sessions: Mapping[str, int]) -> np.ndarray:
        """Return what filters compare of records: a field, actions with NaN where unknown, or numbers of sessions."""
        if name == "session":
            return np.array([sessions[record.session] for record in held], np.int64)
        if name == "has_feature":
            return np.array([record.feature_F.size > 0 for record in held], bool)
        if name == "rotation":
            return np.array([record.orientation or (np.nan,) * 4 for record in held]).reshape(-1, 4)
        if name.endswith("action"):
            action_NA = np.full((len(held), max(0, self._action_dim)), np.nan)
            for row, record in zip(action_NA, held):
                values_A = getattr(record, f"{name}_A")
                row[:] = values_A if values_A.size else np.nan
            return action_NA
        field = {"stamp": "stamp_ns", "cell": "h3_cell", "latent": "latent_D"}.get(name, name)
        return np.array([getattr(record, field) for record in held])

    def _distance2(self, query: Query, record: MemoryRecord) -> float:
        assert query.place is not None
        at = np.array([record.x]), np.array([record.y])
        return float(self._grid.map.distance2(*at, query.place.x, query.place.y)[0])

    def _score(self, query: Query, record: MemoryRecord) -> Scored:
        latent = pose = math.nan
        if query.look is not None:
            own = record.latent_D if query.feature_F is None else record.feature_F
            mine, wanted = own.astype(np.float64), np.asarray(query.look, np.float64)
            scale = float(np.linalg.norm(mine) * np.linalg.norm(wanted))
            cosine = 1.0 - (float(mine @ wanted) / scale if scale else 0.0)
            latent = float(np.linalg.norm(mine - wanted)) if query.metric == "l2" else cosine
        if query.place is not None:
            turn = _turn(query, record) * query.yaw_weight_m
            pose = math.sqrt(self._distance2(query, record) + turn**2)
        both = latent**2 + query.pose_weight * pose**2
        return Scored({"latent": latent, "pose": pose, "both": both}[query.rank], latent, pose, record)

    def query_look(self, query: Query) -> Matches:
        """Answer one query by its feature alone, over all places, exactly."""
        return self.query_batch([query])[0]

    def places(self, most: int) -> np.ndarray:
        """Return where records lie [N, 3], at most ``most`` of them."""
        places = [(each.x, each.y, each.z) for each in self._records.values()]
        place_N3 = np.array(places, np.float64).reshape(-1, 3)
        return place_N3[:: max(1, -(-len(place_N3) // most))]

    def overview(self, most: int, last: int) -> Overview:
        """Return what is held, in outline."""
        return overview_of(list(self._records.values()), self._frame_id, most, last)

    def delete(self, what: Forget) -> int:
        """Forget what matches and return how many that were."""
        what.check(self._frame_id)
        newest = present_ns(np.array([record.stamp_ns for record in self._records.values()], np.int64), what.now_ns)
        gone = [
            record.id
            for record in self._records.values()
            if (not what.ids or record.id in what.ids)
            and (what.box is None or _inside(what.box, record))
            and (not what.session or record.session == what.session)
            and (not what.older_than_s or record.stamp_ns < newest - round(what.older_than_s * 1e9))
        ]
        for record_id in gone:
            del self._records[record_id]
        return len(gone)

    def transform(self, rigid: Rigid, session: str = "") -> int:
        """Move the records of a session, or all, and return how many; all or none."""
        rigid.check(session, self._frame_id)
        moved = {}
        for record in self._records.values():
            if session and record.session != session:
                continue
            x, y, z, yaw = rigid.apply_one(record.x, record.y, record.z, record.yaw)
            turned = replace(record, x=x, y=y, z=z, yaw=yaw, h3_cell=self._grid.cell_of(x, y))
            if record.orientation is not None:
                turned = replace(turned, orientation=turned_about_z(record.orientation, rigid.yaw))
                turned = replace(turned, orientation=kept_orientation(turned))
            moved[record.id] = turned
        self._records.update(moved)
        self._frame_id = rigid.frame_id or self._frame_id
        return len(moved)

    def reproject(self, projection: Projection) -> int:
        """Read all latents, successors' included, in another basis of their features; knows it only until then."""
        if not self._records or projection.encoder_id == self._encoder_id:
            return 0
        if self._feature_id != projection.space.feature_id or self._dim != projection.z_dim:
            raise EncoderMismatchError(f"features of {projection.space.feature_id}, expected {self._feature_id}")
        made = {}
        for record in self._records.values():
            for feature_F in (record.feature_F, *(each.feature_F for each in record.successors)):
                if feature_F.size != projection.space.size:
                    raise RecordError("missing-feature", f"record {record.id}, or what followed it, has no feature")
            successors = tuple(
                each._replace(latent_D=projection.project(each.feature_F[None])[0]) for each in record.successors
            )
            latent_D = projection.project(record.feature_F[None])[0]
            made[record.id] = replace(
                record, latent_D=latent_D, successors=successors, encoder_id=projection.encoder_id
            )
        self._records, self._encoder_id = made, projection.encoder_id
        return len(made)

    def clear(self) -> None:
        """Forget everything, the encoder included."""
        self._records.clear()
        self._encoder_id, self._dim, self._action_dim = None, 0, -1
        self._frame_id = self._feature_id = ""
        self._feature_dim = 0

    def snapshot(self, path: Path) -> int:
        """Write everything to one file and return how many records it holds."""
        sources = self._frame_id, self._feature_id, self._feature_dim
        body = pickle.dumps((self._records, self._encoder_id, self._dim, self._action_dim, self._next_id, sources))
        path.write_bytes(_MAGIC + zlib.crc32(body).to_bytes(4, "little") + body)
        return len(self._records)

    def restore(self, path: Path) -> int:
        """Replace everything by what a snapshot of this class holds and return how many records that are."""
        if not path.is_file():
            raise StoreError(f"there is no snapshot {path}")
        content = path.read_bytes()
        head, body = content[: len(_MAGIC) + 4], content[len(_MAGIC) + 4 :]
        if head != _MAGIC + zlib.crc32(body).to_bytes(4, "little"):
            raise CorruptStoreError(f"snapshot {path} is damaged or something else")
        records, encoder_id, dim, action_dim, next_id, sources = pickle.loads(body)
        if self._encoder_id and encoder_id and encoder_id != self._encoder_id:
            raise EncoderMismatchError(f"snapshot of {encoder_id}, expected {self._encoder_id}")
        for mine, theirs in ((self._dim, dim), (self._action_dim, action_dim)):
            if mine > 0 and theirs > 0 and mine != theirs:
                raise EncoderMismatchError(f"snapshot of size {theirs}, expected {mine}")
        if self._frame_id and sources[0] not in ("", self._frame_id):
            raise FrameMismatchError(f"snapshot in frame {sources[0]}, expected {self._frame_id}")
        self._records, self._encoder_id, self._dim, self._action_dim = records, encoder_id, dim, action_dim
        self._frame_id, self._feature_id, self._feature_dim = sources
        self._next_id = max(self._next_id, next_id)
        return len(self._records)

    def flush(self, timeout_s: float = 30.0) -> None:
        """Return at once: there is nothing to wait for."""

    def successor_times(self) -> np.ndarray:
        """Return the real time differences of the successors held [s]."""
        return np.array([item.dt_s for record in self._records.values() for item in record.successors])

    def stats(self) -> Stats:
        """Return how the memory is doing."""
        cells = {record.h3_cell for record in self._records.values()}
        return Stats(
            len(self._records), self._capacity, len(cells), self._encoder_id or "", self._frame_id, self._feature_id,
            "brute",
        )  # fmt: skip

    def close(self) -> None:
        """Let go of nothing."""


# The old name, for a release.
BruteMemory = ReferenceMemory


def _turn(query: Query, record: MemoryRecord) -> float:
    """Return by what angle a record's rotation turns into that of a query's place [rad]."""
    assert query.place is not None
    if record.orientation is None and query.orientation is None:
        return abs(wrap_angle(record.yaw - query.place.yaw))
    mine = np.array(record.orientation or quaternion_of(record.yaw))
    x, y, z, w = query.orientation or quaternion_of(query.place.yaw)
    turn_4 = compose(np.array([-x, -y, -z, w]), mine)
    return 2.0 * math.atan2(float(np.linalg.norm(turn_4[:3])), abs(float(turn_4[3])))


def _inside(box: tuple[float, ...], record: MemoryRecord) -> bool:
    place = (record.x, record.y, record.z)
    return all(low <= value <= high for low, value, high in zip(box[:3], place, box[3:]))
