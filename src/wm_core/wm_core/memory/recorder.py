"""From the dense stream of states to spaced records with their successors.

Records stand at a spacing, so what followed one is taken from the stream itself, not from the next record.

Shape suffixes: D = latent size, A = action size.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from wm_core.memory.errors import RecordError
from wm_core.memory.protocol import Memory
from wm_core.memory.query import Place
from wm_core.memory.record import MemoryRecord, Successor, check_latent, no_action
from wm_core.se2 import wrap_angle

_NS = 1_000_000_000
_REMEMBERED_STAMPS = 256


@dataclass(frozen=True)
class State:
    """One camera frame as the encoder sees it, with the pose and the action of its time."""

    stamp_ns: int
    latent_D: np.ndarray
    encoder_id: str
    place: Place | None = None
    action_A: np.ndarray = field(default_factory=no_action)


@dataclass(frozen=True)
class Spacing:
    """A state is stored once the robot moved or turned by this much, or this much time passed, since the last one.

    Attributes:
        distance_m: Planar distance [m].
        angle_rad: Turn [rad].
        time_s: Time [s].
    """

    distance_m: float = 0.1
    angle_rad: float = math.radians(10.0)
    time_s: float = 1.0

    def is_due(self, last: MemoryRecord | None, state: State) -> bool:
        """Return whether a state with a place is to be stored, given the last one that was."""
        if last is None:
            return True
        place = state.place
        assert place is not None
        return (
            math.hypot(place.x - last.x, place.y - last.y) >= self.distance_m
            or abs(wrap_angle(place.yaw - last.yaw)) >= self.angle_rad
            or state.stamp_ns - last.stamp_ns >= round(self.time_s * _NS)
        )


@dataclass
class _Waiting:
    """A record whose successors have not all come."""

    record_id: int
    stamp_ns: int
    encoder_id: str
    horizons_s: list[float]


class Recorder:
    """Decides what is stored, links successors when they arrive, and joins surprise by stamp.

    A successor stands for its horizon when it comes at most half a step early and a step, or a tenth of the horizon,
    late; what is further off is a gap and leaves the horizon empty. Stamps that go back, or far ahead, start a session.

    Args:
        memory: Where records go.
        session: Name that all session names begin with; unique to this run.
        spacing: When a state is stored.
        horizons_s: Horizons of the successors, one step first [s].
        session_gap_s: A silence longer than this starts a new session [s].
    """

    def __init__(
        self,
        memory: Memory,
        session: str,
        spacing: Spacing | None = None,
        horizons_s: Sequence[float] = (0.05, 1.0),
        session_gap_s: float = 30.0,
    ) -> None:
        self._memory = memory
        self._name = session
        self._spacing = spacing or Spacing()
        self._horizons_s = sorted(horizons_s)
        self._gap_ns = round(session_gap_s * _NS)
        self._session_count = 0
        self._ids: OrderedDict[int, int] = OrderedDict()
        self._errors: OrderedDict[int, float] = OrderedDict()
        self._start_session()

    @property
    def session(self) -> str:
        """The session that states belong to at present."""
        return f"{self._name}/{self._session_count}"

    def _start_session(self) -> None:
        self._session_count += 1
        self._last_state: State | None = None
        self._last_stored: MemoryRecord | None = None
        self._waiting: list[_Waiting] = []
        self._ids.clear()
        self._errors.clear()

    def observe(self, state: State) -> MemoryRecord | None:
        """Take the next state of the stream.

        Returns:
            The record that it became, or None where it was too near the last one.

        Raises:
            RecordError: ``repeated-stamp``, ``no-pose``, or another reason why the state cannot be stored. A state
                without a place still counts as a successor of earlier ones.
        """
        check_latent(state.latent_D, 0, "latent")
        last = self._last_state
        if last is not None and state.encoder_id == last.encoder_id:
            if state.stamp_ns == last.stamp_ns:
                raise RecordError("repeated-stamp", f"a second state at {state.stamp_ns} ns")
            if not 0 < state.stamp_ns - last.stamp_ns <= self._gap_ns:
                self._start_session()
                last = None
        self._link(state)
        record = self._store(state, last)
        return record

    def _store(self, state: State, last: State | None) -> MemoryRecord | None:
        if state.place is None:
            self._last_state = state
            raise RecordError("no-pose", "a state without a pose cannot be stored")
        if self._last_state is not None and not self._spacing.is_due(self._last_stored, state):
            self._last_state = state
            return None
        record = MemoryRecord(
            stamp_ns=state.stamp_ns,
            latent_D=state.latent_D,
            x=state.place.x,
            y=state.place.y,
            z=state.place.z,
            yaw=state.place.yaw,
            session=self.session,
            encoder_id=state.encoder_id,
            previous_action_A=self._action_before(state, last),
            action_A=state.action_A,
            surprise=self._errors.pop(state.stamp_ns, math.nan),
        )
        record_id = self._memory.insert([record])[0]
        self._last_state = state
        self._last_stored = record
        self._ids[state.stamp_ns] = record_id
        if len(self._ids) > _REMEMBERED_STAMPS:
            self._ids.popitem(last=False)
        self._waiting.append(_Waiting(record_id, state.stamp_ns, state.encoder_id, list(self._horizons_s)))
        return record

    def _action_before(self, state: State, last: State | None) -> np.ndarray:
        """Return the action that led to a state: the one of the state before, if that is one step back."""
        if last is None or state.stamp_ns - last.stamp_ns > self._latest_ns(self._horizons_s[0]):
            return no_action()
        return last.action_A

    def _latest_ns(self, horizon_s: float) -> int:
        return round((horizon_s + max(self._horizons_s[0], 0.1 * horizon_s)) * _NS)

    def _link(self, state: State) -> None:
        """Add a state as successor to the records for which its time has come."""
        early_ns = round(self._horizons_s[0] * _NS / 2)
        for waiting in self._waiting:
            if waiting.encoder_id != state.encoder_id:
                continue
            passed_ns = state.stamp_ns - waiting.stamp_ns
            while waiting.horizons_s and passed_ns >= waiting.horizons_s[0] * _NS - early_ns:
                horizon_s = waiting.horizons_s.pop(0)
                if passed_ns <= self._latest_ns(horizon_s):
                    successor = Successor(horizon_s, passed_ns / _NS, state.latent_D)
                    self._memory.link(waiting.record_id, successor)
        self._waiting = [waiting for waiting in self._waiting if waiting.horizons_s]

    def observe_error(self, stamp_ns: int, error: float) -> None:
        """Take the prediction error of the frame at a stamp; it may come before or after the state itself."""
        record_id = self._ids.get(stamp_ns)
        if record_id is not None:
            self._memory.set_surprise(record_id, error)
            return
        self._errors[stamp_ns] = error
        if len(self._errors) > _REMEMBERED_STAMPS:
            self._errors.popitem(last=False)
