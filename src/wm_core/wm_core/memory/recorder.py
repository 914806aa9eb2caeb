"""From the dense stream of states to spaced records with their successors: what node, training and evaluation run.

Records stand at a spacing, so what followed one is taken from the stream itself, not from the next record. Which states
are kept says ``wm_core.memory.keyframes``, what stands for their future ``wm_core.memory.successors``.

Shape suffixes: D = latent size, A = action size.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from wm_core.memory.errors import RecordError
from wm_core.memory.keyframes import SESSION_GAP_S, Arrival, Keyframes, Spacing
from wm_core.memory.protocol import Sink
from wm_core.memory.query import Place
from wm_core.memory.record import NO_FEATURE, MemoryRecord, Quaternion, Successor, check_latent, no_action
from wm_core.memory.scale import ScaleMeter
from wm_core.memory.successors import STEP_S, check_horizons, default_horizons_s, tolerance_s

__all__ = ["Recorder", "Spacing", "State", "SuccessorCounts"]

_NS = 1_000_000_000
_REMEMBERED_STAMPS = 256
# The action of a state led to the next one when that comes within this many steps; one frame may be missing.
_ACTION_STEPS = 2.0


@dataclass(frozen=True)
class State:
    """One camera frame as the encoder sees it, with the pose and the action of its time.

    Attributes:
        stamp_ns: When it was seen [ns].
        latent_D: What was seen.
        encoder_id: Which encoder made the latent.
        place: Where; None: not known.
        action_A: Taken here; empty if unknown.
        step_s: Step of the model that made it [s]; 0: as the recorder was told.
        horizons_s: Times ahead that this model wants successors of [s]; empty: as the recorder was told.
        frame_id: Frame of the place; empty: not known.
        orientation: The whole rotation; None: the place's yaw says it all.
        feature_F: What it looks like to the network of ``feature_id``, int8; empty: not known.
        feature_id: Which network made the feature.
    """

    stamp_ns: int
    latent_D: np.ndarray
    encoder_id: str
    place: Place | None = None
    action_A: np.ndarray = field(default_factory=no_action)
    step_s: float = 0.0
    horizons_s: tuple[float, ...] = ()
    frame_id: str = ""
    orientation: Quaternion | None = None
    feature_F: np.ndarray = field(default_factory=lambda: NO_FEATURE)
    feature_id: str = ""


@dataclass
class SuccessorCounts:
    """What became of the successors of kept states, by horizon [s].

    Attributes:
        linked: Found within the tolerance and kept.
        missed: The stream went on, but had nothing within the tolerance.
        cut: The session ended first.
    """

    linked: Counter[float] = field(default_factory=Counter)
    missed: Counter[float] = field(default_factory=Counter)
    cut: Counter[float] = field(default_factory=Counter)

    def at(self, horizon_s: float) -> dict[str, int]:
        """Return the counts of one horizon by name."""
        return {name: getattr(self, name)[horizon_s] for name in ("linked", "missed", "cut")}


class _Horizon:
    """The records that still wait for their successor at one horizon, oldest first: (id, stamp)."""

    def __init__(self, horizon_s: float, step_s: float) -> None:
        self.horizon_s = horizon_s
        self._horizon_ns = round(horizon_s * _NS)
        self._tolerance_ns = round(tolerance_s(horizon_s, step_s) * _NS)
        self.waiting: deque[tuple[int, int]] = deque()

    def is_over(self, stamp_ns: int) -> bool:
        """Return whether the horizon of the oldest one lies at or before a stamp."""
        return bool(self.waiting) and stamp_ns - self.waiting[0][1] >= self._horizon_ns

    def nearest(self, stamp_ns: int, states: Sequence[State]) -> Successor | None:
        """Return which of some states is the successor of the one at a stamp; of equally near ones the first."""
        later = [state for state in states if state.stamp_ns > stamp_ns]
        if not later:
            return None
        best = min(later, key=lambda state: self._off_ns(state, stamp_ns))
        if self._off_ns(best, stamp_ns) > self._tolerance_ns:
            return None
        return Successor(self.horizon_s, (best.stamp_ns - stamp_ns) / _NS, best.latent_D, best.feature_F)

    def _off_ns(self, state: State, stamp_ns: int) -> int:
        return abs(state.stamp_ns - stamp_ns - self._horizon_ns)


class Recorder:
    """Decides what is stored, links successors when they arrive, and joins surprise by stamp.

    A successor is linked once it is known to be the nearest: at the first state at or after its horizon, or when the
    session ends. A state whose step or horizons are others than before starts a session; what is stored stays as it is.

    Args:
        memory: Where records go.
        session: Name that all session names begin with; unique to this run.
        spacing: When a state is stored; what measures the scale of the robot's world: as that suggests, from each
            stored state on. Default: ``Spacing()``.
        horizons_s: Horizons of the successors where states name none [s]; default: one step and 1 s.
        session_gap_s: A silence longer than this starts a new session [s].
        step_s: Step of the model where states name none [s]; default: the least horizon.

    Attributes:
        counts: What became of the successors.

    Raises:
        RecordError: ``impossible-horizons``.
    """

    def __init__(
        self,
        memory: Sink,
        session: str,
        spacing: Spacing | ScaleMeter | None = None,
        horizons_s: Sequence[float] | None = None,
        session_gap_s: float = SESSION_GAP_S,
        step_s: float | None = None,
    ) -> None:
        self._memory = memory
        self._name = session
        self._meter = spacing if isinstance(spacing, ScaleMeter) else None
        self._keyframes = Keyframes(spacing.spacing if isinstance(spacing, ScaleMeter) else spacing, session_gap_s)
        told_s = tuple(horizons_s or default_horizons_s(step_s or STEP_S))
        own_step_s = step_s or min(told_s)
        self._default = (own_step_s, check_horizons(told_s, own_step_s))
        self.counts = SuccessorCounts()
        self._session_count = 0
        self._last: State | None = None
        self._ids: OrderedDict[int, int] = OrderedDict()
        self._errors: OrderedDict[int, float] = OrderedDict()
        self._horizons: list[_Horizon] = []
        self._start_session(self._default)

    def set_spacing(self, spacing: Spacing) -> None:
        """Store states at another spacing from now on; by what measures the scale, until the next one is stored."""
        self._keyframes.set_spacing(spacing)

    @property
    def session(self) -> str:
        """The session that states belong to at present."""
        return f"{self._name}/{self._session_count}"

    @property
    def step_s(self) -> float:
        """Step of the model whose states come at present [s]."""
        return self._settings[0]

    @property
    def horizons_s(self) -> tuple[float, ...]:
        """Horizons of the successors at present, ascending [s]."""
        return self._settings[1]

    def observe(self, state: State) -> MemoryRecord | None:
        """Take the next state of the stream.

        Returns:
            The record that it became, or None where it was too near the last one.

        Raises:
            RecordError: ``repeated-stamp``, ``no-pose``, ``impossible-horizons``, or another reason why the state
                cannot be stored. A state without a place still counts as a successor of earlier ones.
        """
        check_latent(state.latent_D, 0, "latent")
        settings, last = self._settings_of(state), self._last
        if last is not None and state.encoder_id != last.encoder_id:
            return self._observe_other_encoder(state, settings)
        if settings != self._settings:
            self._keyframes.restart()
        arrival = self._keyframes.arrive(state.stamp_ns)
        if arrival is Arrival.REPEATS:
            raise RecordError("repeated-stamp", f"a second state at {state.stamp_ns} ns")
        if arrival is Arrival.STARTS:
            self._end_session()
            self._start_session(settings)
            last = None
        links = self._links_at(state)
        self._last = state
        for record_id, successor in links:
            self._link(record_id, successor)
        return self._store(state, last)

    def finish(self) -> None:
        """End the session: what is nearest so far is linked, nothing nearer will come. The next one starts another."""
        self._end_session()
        self._keyframes.restart()

    def observe_error(self, stamp_ns: int, error: float) -> None:
        """Take the prediction error of the frame at a stamp; it may come before or after the state itself."""
        record_id = self._ids.get(stamp_ns)
        if record_id is not None:
            self._memory.set_surprise(record_id, error)
            return
        self._errors[stamp_ns] = error
        if len(self._errors) > _REMEMBERED_STAMPS:
            self._errors.popitem(last=False)

    def id_of(self, stamp_ns: int) -> int | None:
        """Return the id of the record that a state of this session became; None: none, or one of long ago."""
        return self._ids.get(stamp_ns)

    def _settings_of(self, state: State) -> tuple[float, tuple[float, ...]]:
        if not state.step_s and not state.horizons_s:
            return self._default
        step_s = state.step_s or min(state.horizons_s)
        return step_s, check_horizons(state.horizons_s or default_horizons_s(step_s), step_s)

    def _start_session(self, settings: tuple[float, tuple[float, ...]]) -> None:
        if self._last is not None or not self._session_count:
            self._session_count += 1
        self._settings = step_s, horizons_s = settings
        self._horizons = [_Horizon(horizon_s, step_s) for horizon_s in horizons_s]
        self._ids.clear()
        self._errors.clear()

    def _end_session(self) -> None:
        """Link what is the nearest so far, and wait for nothing more."""
        links = []
        for horizon in self._horizons:
            for record_id, stamp_ns in horizon.waiting:
                successor = horizon.nearest(stamp_ns, [self._last] if self._last else [])
                if successor is None:
                    self.counts.cut[horizon.horizon_s] += 1
                else:
                    links.append((record_id, successor))
            horizon.waiting.clear()
        for record_id, successor in links:
            self._link(record_id, successor)

    def _observe_other_encoder(self, state: State, settings: tuple[float, tuple[float, ...]]) -> MemoryRecord:
        """Start a session with a state of another encoder, if the memory takes it; else nothing has happened."""
        if state.place is None:
            raise RecordError("no-pose", "a state without a pose cannot be stored")
        record = self._record(state, state.place, f"{self._name}/{self._session_count + 1}", no_action())
        record_id = self._memory.insert([record])[0]
        self._end_session()
        self._keyframes.restart()
        self._keyframes.arrive(state.stamp_ns)
        self._start_session(settings)
        self._last = state
        self._measure(state, state.place)
        self._keep(record_id, state.place, record)
        return record

    def _store(self, state: State, last: State | None) -> MemoryRecord | None:
        if state.place is None:
            raise RecordError("no-pose", "a state without a pose cannot be stored")
        if not self._keyframes.is_due(state.stamp_ns, state.place, state.orientation):
            self._measure(state, state.place)
            return None
        record = self._record(state, state.place, self.session, self._action_before(state, last))
        record_id = self._memory.insert([record])[0]
        self._measure(state, state.place)
        self._keep(record_id, state.place, record)
        return record

    def _measure(self, state: State, place: Place) -> None:
        """Let a state that the memory takes count for the scale."""
        if self._meter is not None:
            self._meter.observe(state.stamp_ns, place, tilts=state.orientation is not None)

    def _record(self, state: State, place: Place, session: str, previous_action_A: np.ndarray) -> MemoryRecord:
        return MemoryRecord(
            stamp_ns=state.stamp_ns,
            latent_D=state.latent_D,
            x=place.x,
            y=place.y,
            z=place.z,
            yaw=place.yaw,
            session=session,
            encoder_id=state.encoder_id,
            previous_action_A=previous_action_A,
            action_A=state.action_A,
            surprise=self._errors.get(state.stamp_ns, math.nan),
            frame_id=state.frame_id,
            orientation=state.orientation,
            feature_F=state.feature_F,
            feature_id=state.feature_id,
        )

    def _keep(self, record_id: int, place: Place, record: MemoryRecord) -> None:
        """Count a record as stored: its successors and its surprise may come."""
        self._errors.pop(record.stamp_ns, None)
        if self._meter is not None:
            self._keyframes.set_spacing(self._meter.spacing)
        self._keyframes.keep(record.stamp_ns, place, record.orientation)
        self._ids[record.stamp_ns] = record_id
        if len(self._ids) > _REMEMBERED_STAMPS:
            self._ids.popitem(last=False)
        for horizon in self._horizons:
            horizon.waiting.append((record_id, record.stamp_ns))

    def _action_before(self, state: State, last: State | None) -> np.ndarray:
        """Return the action that led to a state: the one of the state before, if that is near enough."""
        if last is None or state.stamp_ns - last.stamp_ns > round(_ACTION_STEPS * self.step_s * _NS):
            return no_action()
        return last.action_A

    def _links_at(self, state: State) -> list[tuple[int, Successor]]:
        """Return the successors that are known now that a state has come: it, or the one before, is the nearest."""
        links = []
        around = [self._last, state] if self._last is not None else [state]
        for horizon in self._horizons:
            while horizon.is_over(state.stamp_ns):
                record_id, stamp_ns = horizon.waiting.popleft()
                successor = horizon.nearest(stamp_ns, around)
                if successor is None:
                    self.counts.missed[horizon.horizon_s] += 1
                else:
                    links.append((record_id, successor))
        return links

    def _link(self, record_id: int, successor: Successor) -> None:
        if self._memory.link(record_id, successor):
            self.counts.linked[successor.horizon_s] += 1
