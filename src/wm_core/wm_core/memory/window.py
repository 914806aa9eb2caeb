"""The memories around a robot as arrays in the process that predicts: as exact as the memory, as of a known revision.

Whoever holds a window gets changes from a ``WindowSource`` and searches them without asking anybody. What reaches
beyond the window's area is for the memory itself; ``Window.covers`` tells.

Shape suffixes: N = records held, K = neighbours, M = most successors of one, D = latent size, A = action size,
G = lookups, 3 = (x, y, yaw).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import MISSING, fields, replace

import numpy as np

from wm_core.memory.array_search import ArraySearch, Found, Nearest
from wm_core.memory.errors import QueryError
from wm_core.memory.held import HeldPlaces
from wm_core.memory.journal import Area, WindowAsk, WindowUpdate
from wm_core.memory.packed import Neighbours, Packed, empty_rows, tilted
from wm_core.memory.query import Box, Place, Query
from wm_core.memory.rows import Rows

_UNDERSTOOD = frozenset({
    "k", "place", "orientation", "rotation_tolerance_rad", "latent_D", "rank_by", "metric", "encoder_id",
    "frame_id", "radius_m", "box", "yaw_tolerance_rad", "z_tolerance_m", "time_min_ns", "time_max_ns",
    "exclude_recent_s", "stamp_ns", "session", "action_A", "action_distance", "yaw_weight_m", "pose_weight",
    "successors"
})  # fmt: skip
"""Fields of a query that arrays can answer; one that sets another is for the memory."""
_DEFAULTS = {item.name: item.default for item in fields(Query)}
_COLUMNS = tuple(item.name for item in fields(Rows) if item.default is MISSING)
_STALE_SHARE = 0.5
_LEAST_ROOM = 64
# An area's own rim is left out: what lies on it to the last bit may have been judged either way.
_RIM = 1e-9


class Window:
    """A part of a memory, held as arrays. Not thread-safe: its owner fills and asks it.

    Args:
        cell_m: Side of the search grid's squares [m]; half a usual radius is good.
        compiled: Whether to use the compiled search, where there is one.

    Attributes:
        area: What it holds completely; None: nothing yet.
        epoch: Run of the memory that ``revision`` counts in; 0: nothing is held.
        revision: What it holds is as of this one.
        newest_ns: Stamp of the newest memory of all, held or not [ns].
        encoder_id: Whose latents it holds.
        frame_id: Frame of its places.
        move_count: How often what was held was replaced, moved or removed; what only came is not counted.
    """

    move_count = 0

    def __init__(self, cell_m: float = 0.5, *, compiled: bool = True) -> None:
        self._cell_m, self._compiled = cell_m, compiled
        self.forget()

    def forget(self) -> None:
        """Hold nothing, so that everything is asked for anew."""
        self.area: Area | None = None
        self.epoch = self.revision = self.newest_ns = 0
        self.encoder_id = self.frame_id = ""
        self._oldest_ns: int | None = None
        self._is_everything = self._tilts = False
        self._sessions: dict[str, int] = {}
        self._table = _Table(0, 0)
        self._live_N = np.empty(0, np.int64)
        self._held_rows = empty_rows(0, 0)
        self._search = ArraySearch(self._held_rows)

    def __len__(self) -> int:
        return len(self._live_N)

    @property
    def is_everything(self) -> bool:
        """Whether it holds all that the memory does."""
        return self._is_everything and self._oldest_ns is None

    @property
    def latent_dim(self) -> int:
        """Size of the latents that it holds; 0: nothing is held."""
        return int(self._held_rows.latent_ND.shape[1])

    def rows(self) -> Rows:
        """Return all that is held side by side, in no particular order; sessions are numbered by the window."""
        return self._table.rows(self._live_N)

    # ---------------------------------------------------------------- filling

    def ask(self, area: Area) -> WindowAsk:
        """Return what to ask a source for, so that an area is held; what is held of it already is told."""
        is_same = self.area is not None and self._asked == area
        return WindowAsk(area, self.epoch, self.revision) if is_same else WindowAsk(area)

    def apply(self, update: WindowUpdate, asked: Area) -> bool:
        """Become as the memory is; either all of an update is taken or none.

        Args:
            update: What the source answered.
            asked: What it was asked for.

        Returns:
            False where the update does not continue what is held: then nothing is held, and all has to be asked for.
        """
        if not update.is_whole and (update.epoch != self.epoch or update.revision < self.revision):
            self.forget()
            return False
        is_changed = update.is_whole or len(update.records) > 0 or len(update.removed_N) > 0
        if update.is_whole:
            records = update.records
            self._table = _Table(records.rows.latent_ND.shape[1], records.rows.action_NA.shape[1])
            self._sessions = {}
            self.area, self._asked, self._oldest_ns = update.area, asked, update.oldest_ns
            self.encoder_id, self.frame_id = records.encoder_id, records.frame_id
            self._is_everything = update.is_everything
        elif not self._are_of_these(update.records):
            self.forget()
            return False
        if is_changed:
            has_gone = self._table.remove(update.removed_N)
            has_moved = self._table.put(update.records, self._numbers(update.records.sessions))
            self.move_count += bool(update.is_whole or has_gone or has_moved)
            self._table.compact()
            self._rebuild()
        self._is_everything = self._is_everything and update.is_everything
        self.epoch, self.revision, self.newest_ns = update.epoch, update.revision, update.newest_ns
        return True

    def _are_of_these(self, records: Packed) -> bool:
        """Return whether a memory knows of its records what is known here; what it has learnt since counts for all."""
        told = (records.encoder_id, records.frame_id)
        return told == (self.encoder_id, self.frame_id) and self._table.fits(records)

    def _numbers(self, names: Sequence[str]) -> np.ndarray:
        """Return this window's numbers of sessions."""
        return np.array([self._sessions.setdefault(name, len(self._sessions)) for name in names], np.int32)

    def _rebuild(self) -> None:
        self._live_N = self._table.live()
        rows = self._held_rows = self._table.rows(self._live_N)
        self._tilts = rows.rotation_N4 is not None
        self._search = ArraySearch(
            rows, self._sessions, encoder_id=self.encoder_id, cell_m=self._cell_m,
            compiled=self._compiled,
        )  # fmt: skip

    # ---------------------------------------------------------------- asking

    def covers(self, query: Query) -> bool:
        """Return whether the window answers a query as the memory does; if not, the memory is to be asked."""
        if self.area is None or not _is_understood(query) or not self._is_of_these(query):
            return False
        if self._oldest_ns is not None and (query.time_min_ns is None or query.time_min_ns < self._oldest_ns):
            return False
        if query.place is not None and not self._reaches(query.place, 0.0):
            return False
        if self._is_everything:
            return True
        if query.place is not None and query.radius_m > 0 and self._reaches(query.place, query.radius_m):
            return True
        return query.box is not None and self._holds(query.box)

    def _is_of_these(self, query: Query) -> bool:
        """Return whether a query is for this encoder and frame; the memory may have changed its own since."""
        pairs = ((query.encoder_id, self.encoder_id), (query.frame_id, self.frame_id))
        return all(not theirs or not mine or theirs == mine for theirs, mine in pairs)

    def _reaches(self, place: Place, radius_m: float) -> bool:
        """Return whether a disc lies in the area."""
        assert self.area is not None
        reach_m = math.hypot(place.x - self.area.x, place.y - self.area.y) + radius_m
        return reach_m <= self.area.radius_m * (1.0 - _RIM)

    def _holds(self, box: Box) -> bool:
        corners = [(x, y) for x in (box.min_x, box.max_x) for y in (box.min_y, box.max_y)]
        return all(self._reaches(Place(x, y), 0.0) for x, y in corners)

    def query_batch(self, queries: Sequence[Query]) -> list[Found]:
        """Answer queries as the memory would; rows are those that ``neighbours`` takes.

        Args:
            queries: Such that ``covers`` holds for each.

        Raises:
            QueryError: The first one that cannot be answered as asked.
        """
        table = self._table
        for query in queries:
            query.check(table.dim, table.action_dim or -1, self.encoder_id, self.frame_id)
        if not len(self):
            return [_found_nothing() for _ in queries]
        dated = [
            replace(query, stamp_ns=self.newest_ns) if query.exclude_recent_s > 0 and query.stamp_ns is None else query
            for query in queries
        ]
        found = self._search.query_batch(dated)
        return [each._replace(row_K=self._live_N[each.row_K]) for each in found]

    def nearest_poses(
        self,
        pose_G3: np.ndarray,
        k: int,
        *,
        radius_m: float,
        yaw_tolerance_rad: float = 0.0,
        yaw_weight_m: float = 1.0,
        newest_G: np.ndarray | None = None,
    ) -> Nearest:
        """Return the records nearest in pose to many places, as ``ArraySearch.nearest_poses`` does.

        Raises:
            QueryError: Places whose discs leave the area, or a number that makes no sense.
        """
        if not self.covers_poses(pose_G3, radius_m):
            raise QueryError("some of the discs leave the window's area: ask the memory")
        if not len(self):
            shape = (len(pose_G3), k)
            return Nearest(np.full(shape, -1), np.full(shape, np.inf), np.zeros(len(pose_G3), np.int64))
        found = self._search.nearest_poses(
            pose_G3, k, radius_m=radius_m, yaw_tolerance_rad=yaw_tolerance_rad, yaw_weight_m=yaw_weight_m,
            newest_G=newest_G,
        )  # fmt: skip
        return found._replace(row_GK=np.where(found.row_GK < 0, -1, self._live_N[found.row_GK]))

    def covers_poses(self, pose_G3: np.ndarray, radius_m: float) -> bool:
        """Return whether the window answers lookups by pose as the memory does; whole rotations it does not compare."""
        if self.area is None or self._oldest_ns is not None or self._tilts:
            return False
        pose_G3 = np.asarray(pose_G3, np.float64)
        far_G = np.hypot(pose_G3[:, 0] - self.area.x, pose_G3[:, 1] - self.area.y)
        reach_m = 0.0 if self._is_everything else radius_m
        if not (radius_m > 0 or self._is_everything):
            return False
        return bool((np.isnan(far_G) | (far_G + reach_m <= self.area.radius_m * (1.0 - _RIM))).all())

    def held(self) -> HeldPlaces:
        """Return what is held now, for another thread to look through; what comes later does not change it."""
        return HeldPlaces(self._search, self._held_rows, None if self._is_everything else self.area)

    @property
    def row_numbers(self) -> np.ndarray:
        """The rows of all records held, for ``neighbours``."""
        return self._live_N

    def neighbours(self, row_K: np.ndarray) -> Neighbours:
        """Return the records of some rows, as ``query_batch`` and ``nearest_poses`` name them."""
        return self._table.neighbours(row_K)


def _is_understood(query: Query) -> bool:
    """Return whether a query filters by nothing that arrays do not know."""
    return all(name in _UNDERSTOOD or _is_default(getattr(query, name), name) for name in _DEFAULTS)


def _is_default(value: object, name: str) -> bool:
    default = _DEFAULTS[name]
    return value is default or (isinstance(value, (int, float, str)) and value == default)


def _found_nothing() -> Found:
    nothing = np.empty(0)
    return Found(np.empty(0, np.int64), nothing, nothing, nothing, 0)


class _Table:
    """Growing columns of records, some of which are gone.

    Args:
        dim: Latent size D.
        action_dim: Action size A.
    """

    def __init__(self, dim: int, action_dim: int) -> None:
        self.dim, self.action_dim = dim, action_dim
        self._count = self._gone = 0
        self._row_of: dict[int, int] = {}
        self._rows = empty_rows(dim, action_dim)
        self._quaternion_N4 = np.empty((0, 4))
        self._is_live_N = np.zeros(0, bool)
        self._horizon_NM = self._dt_NM = np.empty((0, 0))
        self._latent_NMD = np.empty((0, 0, dim), np.float32)

    def fits(self, records: Packed) -> bool:
        """Return whether records are of the sizes of those held, or would be, where there are none."""
        rows = records.rows
        return (rows.latent_ND.shape[1], rows.action_NA.shape[1]) == (self.dim, self.action_dim)

    def live(self) -> np.ndarray:
        """Return the rows that hold a record."""
        return np.flatnonzero(self._is_live_N[: self._count])

    def rows(self, row_N: np.ndarray) -> Rows:
        """Return the columns of some rows."""
        return replace(self._rows.take(row_N), rotation_N4=tilted(self._quaternion_N4[row_N]))

    def remove(self, id_N: np.ndarray) -> bool:
        """Forget records, pass over ids that are not held; return whether any was."""
        before = self._gone
        for record_id in id_N.tolist():
            row = self._row_of.pop(record_id, None)
            if row is not None:
                self._is_live_N[row] = False
                self._gone += 1
        return self._gone > before

    def put(self, records: Packed, numbers_S: np.ndarray) -> bool:
        """Take in records, each in place of the one of its id; return whether one of those lay elsewhere."""
        if not len(records):
            return False
        ids = records.rows.id_N.tolist()
        row_N = np.empty(len(ids), np.int64)
        known = self._count
        for at, record_id in enumerate(ids):
            row = self._row_of.get(record_id)
            if row is None:
                row = self._row_of[record_id] = self._count
                self._count += 1
            row_N[at] = row
        width = max(int(records.successors.count_N.max(initial=0)), self._dt_NM.shape[1])
        self._make_room(self._count, width)
        rows = replace(records.rows, session_N=numbers_S[records.rows.session_N])
        old_N = row_N < known
        was = self._rows.take(row_N[old_N])
        has_moved = any(
            not np.array_equal(getattr(was, name), getattr(rows, name)[old_N]) for name in ("x_N", "y_N", "yaw_N")
        )
        for name in _COLUMNS:
            getattr(self._rows, name)[row_N] = getattr(rows, name)
        self._quaternion_N4[row_N] = records.quaternion_N4
        self._is_live_N[row_N] = True
        self._horizon_NM[row_N], self._dt_NM[row_N], self._latent_NMD[row_N] = records.successors.padded(width)
        return has_moved

    def _make_room(self, count: int, width: int) -> None:
        room, held = len(self._is_live_N), self._dt_NM.shape[1]
        if count <= room and width <= held:
            return
        room = max(room, count if not room else 2 * count, _LEAST_ROOM)
        grown = [_enlarged(getattr(self._rows, name), room) for name in _COLUMNS]
        self._rows = Rows(*grown)
        self._quaternion_N4, self._is_live_N = _enlarged(self._quaternion_N4, room), _enlarged(self._is_live_N, room)
        self._horizon_NM = _widened(self._horizon_NM, room, width, np.nan)
        self._dt_NM = _widened(self._dt_NM, room, width, np.nan)
        self._latent_NMD = _widened(self._latent_NMD, room, width, 0.0)

    def compact(self) -> None:
        """Give back the rows of what is gone, once that is half of all."""
        if self._gone <= max(_LEAST_ROOM, _STALE_SHARE * self._count):
            return
        live_N = self.live()
        self._rows, self._quaternion_N4 = self._rows.take(live_N), self._quaternion_N4[live_N]
        self._horizon_NM, self._dt_NM = self._horizon_NM[live_N], self._dt_NM[live_N]
        self._latent_NMD = self._latent_NMD[live_N]
        self._is_live_N = np.ones(len(live_N), bool)
        self._row_of = dict(zip(self._rows.id_N.tolist(), range(len(live_N))))
        self._count, self._gone = len(live_N), 0

    def neighbours(self, row_K: np.ndarray) -> Neighbours:
        """Return the records of some rows."""
        rows = self._rows
        pose_K4 = np.stack([rows.x_N[row_K], rows.y_N[row_K], rows.z_N[row_K], rows.yaw_N[row_K]], axis=1)
        return Neighbours(
            rows.id_N[row_K], rows.stamp_N[row_K], pose_K4, rows.latent_ND[row_K], rows.action_NA[row_K],
            self._horizon_NM[row_K], self._dt_NM[row_K], self._latent_NMD[row_K],
        )  # fmt: skip


def _enlarged(array_N: np.ndarray, room: int) -> np.ndarray:
    """Return an array with more rows, zeros behind those it had."""
    larger_N = np.zeros((room, *array_N.shape[1:]), array_N.dtype)
    larger_N[: len(array_N)] = array_N
    return larger_N


def _widened(array_NM: np.ndarray, room: int, width: int, empty: float) -> np.ndarray:
    """Return an array with more rows and columns, filled with a value."""
    larger_NM = np.full((room, width, *array_NM.shape[2:]), empty, array_NM.dtype)
    larger_NM[: len(array_NM), : array_NM.shape[1]] = array_NM
    return larger_NM
