"""Between records, as users see them, and rows, as index and store keep them.

Shape suffixes: N = records, D = latent size, A = action size.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter
from typing import Protocol

import numpy as np

from spatial_memory.geometry.cells import CellGrid
from spatial_memory.store.schema import sizes_in
from wm_core.memory.errors import CorruptStoreError, EncoderMismatchError, RecordError
from wm_core.memory.record import (
    LAST_FOLLOWED_ID,
    MAX_ID,
    MIN_FREE_IDS,
    NO_FEATURE,
    MemoryRecord,
    Quaternion,
    Successor,
    action_size,
    adopted,
    check_record,
    check_same_source,
    feature_size,
    kept_orientation,
    kept_yaw,
    no_action,
)
from wm_core.memory.rows import Rows
from wm_core.projection import Projection

_LOG = logging.getLogger(__name__)
_MAX_SESSION = 2**31 - 1
MOST_SESSIONS = 100_000


class Holds(Protocol):
    """Says which ids are taken."""

    def __contains__(self, record_id: int) -> bool: ...


@dataclass
class Catalogue:
    """What a memory knows about all its records.

    Attributes:
        encoder_id: Whose latents it holds; empty while that is open.
        dim: Latent size D; 0 while that is open.
        action_dim: Action size A; -1 while that is open.
        next_id: The next id to give.
        sessions: Number of each session.
        frame_id: Frame of its places; empty while that is open.
        feature_id: Which network made its features; empty while that is open.
        feature_dim: Feature size F; 0 while that is open.
    """

    encoder_id: str = ""
    dim: int = 0
    action_dim: int = -1
    next_id: int = 1
    sessions: dict[str, int] = field(default_factory=dict)
    frame_id: str = ""
    feature_id: str = ""
    feature_dim: int = 0
    _names: dict[int, str] = field(default_factory=dict, compare=False, repr=False)

    def adopting(self, records: Sequence[MemoryRecord]) -> Catalogue:
        """Return the catalogue once it holds some records: what was open is taken from them."""
        action_dim = self.action_dim
        if action_dim < 0:
            action_dim = next((size for record in records if (size := action_size(record))), -1)
        return replace(
            self,
            encoder_id=self.encoder_id or records[0].encoder_id,
            dim=self.dim or int(np.size(records[0].latent_D)),
            action_dim=action_dim,
            frame_id=adopted(self.frame_id, records, "frame_id"),
            feature_id=adopted(self.feature_id, records, "feature_id"),
            feature_dim=self.feature_dim or next((size for record in records if (size := feature_size(record))), 0),
        )

    def check_encoder(self, encoder_id: str) -> None:
        """Refuse another encoder's latents.

        Raises:
            EncoderMismatchError: Names both.
        """
        if encoder_id != self.encoder_id:
            raise EncoderMismatchError(
                f"latent of encoder {encoder_id or '(unnamed)'}, the memory holds {self.encoder_id or '(unnamed)'}: "
                "clear it or give it another db_path"
            )

    def check_projection(self, projection: Projection) -> None:
        """Refuse a projection that cannot make the memory's latents from its features; it holds something.

        Raises:
            EncoderMismatchError: It is of another network or other sizes, or the memory holds no features.
        """
        space = projection.space
        if not self.feature_id:
            raise EncoderMismatchError(
                f"a projection of features of network {space.feature_id} came, the memory holds none: "
                f"its latents of encoder {self.encoder_id or '(unnamed)'} stay as they are"
            )
        if self.feature_id != space.feature_id:
            raise EncoderMismatchError(
                f"a projection of features of network {space.feature_id} came, the memory holds those of "
                f"{self.feature_id}: clear it or give it another db_path"
            )
        if self.feature_dim and self.feature_dim != space.size:
            raise EncoderMismatchError(
                f"a projection of features of {space.size} values came, the memory's have {self.feature_dim}"
            )
        if self.dim != projection.z_dim:
            raise EncoderMismatchError(
                f"a projection onto latents of {projection.z_dim} values came, the memory's have {self.dim}"
            )

    def ids_for(self, records: Sequence[MemoryRecord], held: Holds | None) -> list[int]:
        """Return the ids that records are kept under: those given, and new ones, never chosen before, for the others.

        Args:
            records: What is to be kept; their own ids are known to be free.
            held: Where the ids that are taken stand; None: none are.

        Raises:
            RecordError: No id is left to choose.
        """
        given = {record.id for record in records}
        self.reserve_ids(max((key for key in given if key <= LAST_FOLLOWED_ID), default=0))
        return [record.id or self._new_id(given, held) for record in records]

    def _new_id(self, given: Container[int], held: Holds | None) -> int:
        while self.next_id in given or (held is not None and self.next_id in held):
            self.next_id += 1
        if self.next_id > MAX_ID:
            raise RecordError("no-id-left", f"no id up to {MAX_ID} is left to choose: clear the memory")
        self.next_id += 1
        return self.next_id - 1

    def reserve_ids(self, record_id: int) -> None:
        """Never choose an id up to this one."""
        self.next_id = max(self.next_id, record_id + 1)

    def is_alike(self, other: Catalogue) -> bool:
        """Return whether encoder, sizes, frame and features are the same."""
        return bool(_FIXED(self) == _FIXED(other))

    def new_sizes(self, other: Catalogue) -> tuple[int, int]:
        """Return of how many values actions and features are that another one has and this one has not; 0: of none."""
        action_dim = other.action_dim if other.action_dim != self.action_dim else 0
        return action_dim, other.feature_dim if other.feature_dim != self.feature_dim else 0

    def session_number(self, name: str, put_session: Callable[[str, int], None]) -> int:
        """Return the number of a session; a new one gets the next and is kept."""
        number = self.sessions.get(name)
        if number is None:
            number = self.sessions[name] = max(self.sessions.values(), default=0) + 1
            put_session(name, number)
        return number

    def drop_sessions(self, names: Sequence[str]) -> list[int]:
        """Forget sessions that no record is of and return their numbers."""
        self._names = {}
        return [self.sessions.pop(name) for name in names]

    def session_names(self) -> dict[int, str]:
        """Return the name of each session; they only ever get more."""
        if len(self._names) != len(self.sessions):
            self._names = {number: name for name, number in self.sessions.items()}
        return self._names

    def meta(self, grid: CellGrid) -> dict[str, object]:
        """Return what the store keeps of this."""
        return {
            "encoder_id": self.encoder_id,
            "dim": self.dim,
            "action_dim": self.action_dim,
            "next_id": self.next_id,
            "grid": grid_meta(grid),
            "frame_id": self.frame_id,
            "feature_id": self.feature_id,
            "feature_dim": self.feature_dim,
        }

    @staticmethod
    def from_meta(meta: Mapping[str, str], sessions: dict[str, int]) -> Catalogue:
        """Return what the store kept.

        A counter that a given id pushed to where hardly an id is left goes on where none was ever chosen.

        Raises:
            CorruptStoreError: Words are no numbers, or none that can be.
        """
        if not all(isinstance(text, str) for text in (*meta.values(), *sessions)):
            raise CorruptStoreError("the store's description is damaged: a word is no text")
        if not all(0 < number <= _MAX_SESSION for number in sessions.values()):
            raise CorruptStoreError("the store's description is damaged: a session has an impossible number")
        dim, action_dim, feature_dim = sizes_in(meta)
        try:
            next_id = int(meta.get("next_id", 1))
        except ValueError as error:
            raise CorruptStoreError(f"the store's description is damaged: {error}") from error
        if next_id < 1:
            raise CorruptStoreError(f"the store's description is damaged: next_id {next_id}")
        if next_id > MAX_ID - MIN_FREE_IDS:
            _LOG.warning("next_id %d leaves hardly an id to choose: going on at %d", next_id, LAST_FOLLOWED_ID + 1)
            next_id = LAST_FOLLOWED_ID + 1
        sources = meta.get("frame_id", ""), meta.get("feature_id", "")
        return Catalogue(meta.get("encoder_id", ""), dim, action_dim, next_id, sessions, *sources, feature_dim)


# What a catalogue says of all records alike.
_FIXED = attrgetter(
    *(each.name for each in fields(Catalogue) if each.compare and each.name not in ("next_id", "sessions"))
)


def grid_meta(grid: CellGrid) -> str:
    """Return how the map is cut, as one line."""
    datum = (getattr(grid.map, "datum_lat", 0.0), getattr(grid.map, "datum_lng", 0.0))
    return f"{grid.map.name} {datum[0]!r} {datum[1]!r} {grid.resolution}"


def rows_of(
    records: Sequence[MemoryRecord],
    ids: Sequence[int],
    cells_N: np.ndarray,
    catalogue: Catalogue,
    put_session: Callable[[str, int], None],
) -> Rows:
    """Return checked records as rows."""
    action_dim = max(catalogue.action_dim, 0)
    return Rows(
        np.array(ids, np.int64),
        np.array([record.stamp_ns for record in records], np.int64),
        np.array([record.x for record in records], np.float64),
        np.array([record.y for record in records], np.float64),
        np.array([record.z for record in records], np.float64),
        np.array([kept_yaw(record) for record in records], np.float32),
        np.array([catalogue.session_number(record.session, put_session) for record in records], np.int32),
        np.array([record.surprise for record in records], np.float32),
        _actions([record.action_A for record in records], action_dim),
        _actions([record.previous_action_A for record in records], action_dim),
        cells_N,
        np.array([record.latent_D for record in records], np.float32).reshape(len(records), catalogue.dim),
        *optional_columns(records, catalogue.feature_dim),
    )


def optional_columns(
    records: Sequence[MemoryRecord], feature_dim: int
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Return features, which records have one, and whole rotations; None for what none of them has."""
    feature_NF = has_N = rotation_N4 = None
    if feature_dim and any(record.feature_F.size for record in records):
        feature_NF, has_N = np.zeros((len(records), feature_dim), np.int8), np.zeros(len(records), bool)
        for at, record in enumerate(records):
            if record.feature_F.size == feature_dim:
                feature_NF[at], has_N[at] = record.feature_F, True
    orientations = [kept_orientation(record) for record in records]
    if any(orientations):
        unknown = (math.nan,) * 4
        rotation_N4 = np.array([orientation or unknown for orientation in orientations], np.float32)
    return feature_NF, has_N, rotation_N4


def _actions(actions: Sequence[np.ndarray], action_dim: int) -> np.ndarray:
    out_NA = np.full((len(actions), action_dim), np.nan, np.float32)
    for row, action_A in zip(out_NA, actions):
        if action_A.size:
            row[:] = action_A
    return out_NA


def records_of(
    rows: Rows, which: Sequence[int], catalogue: Catalogue, successors: Mapping[int, tuple[Successor, ...]]
) -> list[MemoryRecord]:
    """Return some rows as complete records.

    Args:
        rows: Where they lie.
        which: Which of them, in order.
        catalogue: Their encoder and sessions.
        successors: What followed each, by id.
    """
    names = catalogue.session_names()
    encoder_id, frame_id, feature_id = catalogue.encoder_id, catalogue.frame_id, catalogue.feature_id
    nothing = no_action()
    action_NA, previous_NA, latent_ND = rows.action_NA, rows.previous_action_NA, rows.latent_ND
    columns = (rows.id_N, rows.stamp_N, rows.x_N, rows.y_N, rows.z_N, rows.yaw_N, rows.session_N, rows.surprise_N,
               rows.cell_N, _are_known(action_NA), _are_known(previous_NA))  # fmt: skip
    values = list(zip(*(column.tolist() for column in columns)))
    orientations, features = _orientations(rows), _features(rows)
    records = []
    for at in which:
        record_id, stamp, x, y, z, yaw, session, surprise, cell, known, before = values[at]
        # The constructor of a frozen dataclass sets one field at a time and costs more than ranking does.
        record = MemoryRecord.__new__(MemoryRecord)
        record.__dict__.update(
            stamp_ns=stamp,
            latent_D=latent_ND[at],
            x=x,
            y=y,
            z=z,
            yaw=yaw,
            session=names[session],
            encoder_id=encoder_id,
            frame_id=frame_id,
            orientation=orientations[at],
            feature_F=features[at],
            feature_id=feature_id,
            previous_action_A=previous_NA[at] if before else nothing,
            action_A=action_NA[at] if known else nothing,
            surprise=surprise,
            id=record_id,
            h3_cell=cell,
            successors=successors.get(record_id, ()),
        )
        records.append(record)
    return records


def _orientations(rows: Rows) -> Sequence[Quaternion | None]:
    """Return the rotation of each row, None where the yaw says it all."""
    if rows.rotation_N4 is None:
        return [None] * len(rows)
    return [None if math.isnan(x) else (x, y, z, w) for x, y, z, w in rows.rotation_N4.tolist()]


def _features(rows: Rows) -> Sequence[np.ndarray]:
    """Return the feature of each row, an empty one where it has none."""
    if rows.feature_NF is None or rows.has_feature_N is None:
        return [NO_FEATURE] * len(rows)
    return [row if has else NO_FEATURE for row, has in zip(rows.feature_NF, rows.has_feature_N.tolist())]


def _are_known(action_NA: np.ndarray) -> np.ndarray:
    """Return which actions have values, and no unknown ones."""
    if action_NA.shape[1] == 0:
        return np.zeros(len(action_NA), bool)
    known_N: np.ndarray = ~np.isnan(action_NA).any(axis=1)
    return known_N


def checked_cells(
    records: Sequence[MemoryRecord], catalogue: Catalogue, grid: CellGrid, held: Holds | None
) -> np.ndarray:
    """Return the cells of records that can all be kept, uint64 [N].

    Args:
        records: What is to be kept.
        catalogue: The memory's, once it holds them.
        grid: Cuts the map into cells.
        held: Where the ids that are taken stand; None: none are.

    Raises:
        RecordError: The first one that cannot be kept, by its place in the list.
    """
    taken: set[int] = set()
    cells = []
    new = {record.session for record in records} - catalogue.sessions.keys()
    if len(catalogue.sessions) + len(new) > MOST_SESSIONS:
        text = f"{len(catalogue.sessions)} sessions are held, at most {MOST_SESSIONS} can be"
        raise RecordError("too-many-sessions", text)
    for at, record in enumerate(records):
        try:
            catalogue.check_encoder(record.encoder_id)
            check_same_source(record, catalogue.frame_id, catalogue.feature_id)
            check_record(record, catalogue.dim, catalogue.action_dim, catalogue.feature_dim)
            if record.id and (record.id in taken or (held is not None and record.id in held)):
                raise RecordError("id-taken", f"id {record.id} is held already")
            cells.append(grid.cell_of(record.x, record.y))
        except RecordError as error:
            error.args = (f"record {at}: {error}",)
            raise
        taken.add(record.id)
    return np.array(cells, np.uint64)
