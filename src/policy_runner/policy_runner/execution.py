"""What is commanded now: chunks where there are some, else what was, else a stop; the limiter comes last.

Plain and without threads: who calls says what time it is. Shape suffixes: A = action size, P = actions already decided.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from policy_runner.braking import Braking
from policy_runner.chunks import Chunk, ChunkBuffer, ChunkError
from policy_runner.following import Coming, Following, FollowingSettings
from policy_runner.latency import Latency
from policy_runner.outcomes import Mode, Outcome
from wm_core.limits import Limiter

_NS = 1_000_000_000
SET_BACK_NS = _NS // 2
"""Older by more than this: the clock was set back, and what was before tells nothing."""
AHEAD_NS = _NS
"""As far ahead of the clock a stamp may be."""
_PLANNED_NS = 50_000_000
_NEVER_NS = 2**62
_REMEMBERED = 256
_AT_REST = 1e-6


@dataclass(frozen=True, kw_only=True)
class ExecutionSettings:
    """When an execution asks, holds, stops and gives up; all times in seconds.

    Attributes:
        period_s: Between commands.
        stale_s: Age from which on an observation is too old to act on.
        hold_s: How long the last command is held when there is nothing to execute; then it stops.
        give_up_s: How long it waits for that to end, before it ends itself.
        replan_s: A newer chunk is asked for at the latest this long after the last one; 0: only when it is needed.
        margin_s: So much earlier than the measured latency asks for a chunk is asked for.
        latency_guess_s: Latency until it is measured.
        response_s: From a command to when the robot does it.
        turns_by_rate: Whether commands are forward speed and yaw rate: who is slower than asked for turns slower, too.
    """

    period_s: float = 0.02
    stale_s: float = 0.5
    hold_s: float = 0.3
    give_up_s: float = 10.0
    replan_s: float = 0.25
    margin_s: float = 0.04
    latency_guess_s: float = 0.3
    response_s: float = 0.2
    turns_by_rate: bool = False


@dataclass(frozen=True)
class Step:
    """One command and why it is that.

    Attributes:
        command_A: What is sent.
        mode: How far the execution is.
        reason: Why it is not running; empty where it is.
        is_starved: No chunk had a value for this time though one had before.
        is_limited: The limiter changed what was wanted.
    """

    command_A: np.ndarray
    mode: Mode
    reason: str
    is_starved: bool
    is_limited: bool


@dataclass
class Counts:
    """What happened so far."""

    steps: int = 0
    starved: int = 0
    limited: int = 0
    late: int = 0


class Execution:
    """Executes chunks until it is told how to end, or has waited for too long.

    Args:
        settings: Its times.
        buffer: For its chunks.
        limiter: Has the last word; it goes on from the command that is in force.
        safe_A: What is wanted for a stop; None: to stay as it is, for positions.
        may_be: Returns why the robot may not go on where it is, with what it does; None: it may.
    """

    def __init__(
        self,
        settings: ExecutionSettings,
        buffer: ChunkBuffer,
        limiter: Limiter,
        safe_A: np.ndarray | None,
        may_be: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._settings, self._buffer, self._limiter = settings, buffer, limiter
        self._safe_A, self._may_be = safe_A, may_be
        self.latency = Latency(settings.latency_guess_s)
        self.counts = Counts()
        self._following = Following(FollowingSettings(response_s=settings.response_s))
        self._coming, self._share = Coming(), 1.0
        self.outcome: Outcome | None = None
        self._mode = Mode.WAITING
        self._seen_ns: int | None = None
        self._pose: tuple[int, np.ndarray] | None = None
        self._asked_stamp_ns: int | None = None
        self._trouble_ns: int | None = None
        self._braking: Braking | None = None
        self._now_ns: int | None = None
        self._left_ns = -_NEVER_NS
        self._why_not: str | None = None
        self._has_begun = self._is_anothers = False
        self._sent: deque[tuple[int, np.ndarray]] = deque(maxlen=_REMEMBERED)

    def go_on_from(self, former: Execution) -> None:
        """Take the plan over of one that is under way: that is what is executed until a chunk of its own comes."""
        if former.outcome is not None or not former._has_begun:
            return
        self._buffer, self._following, self._coming = former._buffer, former._following, former._coming
        self._sent, self._share, self.latency = former._sent, former._share, former.latency
        self._mode, self._trouble_ns, self._braking = former._mode, former._trouble_ns, former._braking
        self._now_ns, self._left_ns = former._now_ns, former._left_ns
        self._has_begun = self._is_anothers = True

    # ---------------------------------------------------------------- what comes in

    def see(self, stamp_ns: int, pose_3: np.ndarray | None = None, pose_ns: int | None = None) -> None:
        """Take note of a new observation, and of where the robot is, where that is known.

        Args:
            stamp_ns: Of the observation [ns].
            pose_3: Where the robot was then, or will be.
            pose_ns: When that is [ns]; None: at the stamp. Best when a command that is given now acts.
        """
        self._seen_ns = stamp_ns
        self._pose = None if pose_3 is None else (stamp_ns if pose_ns is None else pose_ns, pose_3)
        self._follow()
        if pose_3 is not None and self._now_ns is not None:
            self._share = self._coming.share(self._now_ns, pose_3[:2], self._sent)

    def _follow(self) -> None:
        if self._pose is not None:
            self._following.see(self._buffer.newest, *self._pose)

    def offer(self, chunk: Chunk, latency_s: float, now_ns: int) -> bool:
        """Take a chunk; return whether anything of it can still be executed: none of before a stop can.

        Args:
            chunk: What the policy gave.
            latency_s: From asking for it to having it [s].
            now_ns: The present [ns].

        Raises:
            ChunkError: It does not fit, or is of a time to come.
        """
        self.latency.add(latency_s)
        if chunk.action_HA.shape[1] != len(self._limiter.value):
            raise ChunkError(f"actions of {chunk.action_HA.shape[1]} values, expected {len(self._limiter.value)}")
        if chunk.stamp_ns > now_ns + AHEAD_NS:
            raise ChunkError(f"a chunk of {(chunk.stamp_ns - now_ns) / _NS:.1f} s ahead of the clock")
        if self._settings.turns_by_rate:
            chunk = chunk.slowed(*self._limiter.speeds)
        is_taken = chunk.stamp_ns >= self._left_ns and self._buffer.add(chunk, now_ns, replaces=self._is_anothers)
        self._is_anothers = self._is_anothers and not is_taken
        self.counts.late += not is_taken
        if is_taken and self._buffer.newest is chunk:
            # Before anything of it is commanded or counted on: where the robot is on it.
            self._follow()
        return is_taken

    def end(self, outcome: Outcome) -> None:
        """Stop for good; the first outcome counts."""
        self.outcome = self.outcome or outcome

    def time_out(self, now_ns: int) -> None:
        """Stop for good: the time is over. Where nothing is seen any more, that is what it ends by."""
        self.end(Outcome.STALE_INPUTS if self._is_stale(now_ns) else Outcome.TIMED_OUT)

    # ---------------------------------------------------------------- what goes out

    @property
    def mode(self) -> Mode:
        """How far it is."""
        return self._mode

    @property
    def is_blind(self) -> bool:
        """Whether nothing was seen lately that could be acted on."""
        return self._seen_ns is None or (self._now_ns is not None and self._is_stale(self._now_ns))

    @property
    def newest_chunk(self) -> Chunk | None:
        """The chunk of the newest observation; None: there is none."""
        return self._buffer.newest

    @property
    def is_over(self) -> bool:
        """Whether it has ended and the robot is told to stand."""
        return self._mode is Mode.STOPPED

    def wants_chunk(self, now_ns: int) -> bool:
        """Return whether it is time to ask for a chunk: when what is there lasts no longer than one takes to come."""
        stamp_ns, settings = self._seen_ns, self._settings
        if self.outcome or stamp_ns is None or stamp_ns == self._asked_stamp_ns or self._is_stale(now_ns):
            return False
        needed_s = self.latency.reckoned_s + settings.margin_s
        if self._buffer.remaining_s(now_ns) <= needed_s or self._asked_stamp_ns is None:
            return True
        return bool(settings.replan_s) and stamp_ns - self._asked_stamp_ns >= round(settings.replan_s * _NS)

    def asked(self, stamp_ns: int) -> None:
        """Take note that a chunk was asked for from an observation."""
        self._asked_stamp_ns = stamp_ns

    def decided(self, stamp_ns: int, step_s: float, now_ns: int) -> np.ndarray:
        """Return what is commanded whatever a chunk asked for now will say, from a stamp on at a step [s], [P, A]."""
        # As far as a usual answer takes: reckoning with a late one would put every correction off as long.
        end_ns = now_ns + round(self.latency.usual_s * _NS)
        count = max(0, int((end_ns - stamp_ns) / (step_s * _NS)) + 1)
        times = [stamp_ns + round(number * step_s * _NS) for number in range(count)]
        decided = [self._decided_at(time_ns, now_ns) for time_ns in times]
        return np.array(decided, float).reshape(count, len(self._limiter.value))

    def _decided_at(self, time_ns: int, now_ns: int) -> np.ndarray:
        ahead_A = self._ahead(time_ns) if time_ns > now_ns else None
        if ahead_A is not None:
            return ahead_A
        sent = [command_A for sent_ns, command_A in self._sent if sent_ns <= time_ns]
        return sent[-1] if sent else self._limiter.value

    def planned(self, now_ns: int, until_ns: int, step_ns: int = _PLANNED_NS) -> list[tuple[int, np.ndarray]]:
        """Return what the chunks would have commanded from now until a time [ns], by time [ns]."""
        ahead = [(time_ns, self._ahead(time_ns)) for time_ns in range(now_ns, until_ns, step_ns)]
        return [(time_ns, action_A) for time_ns, action_A in ahead if action_A is not None]

    def _ahead(self, time_ns: int) -> np.ndarray | None:
        """Return what chunks say for a later time, for the place where the robot will be if it goes on as they say."""
        newest = self._buffer.newest
        if newest is None or not newest.is_followed:
            return self._buffer.ahead(time_ns)
        ahead_A = self._buffer.ahead(time_ns, self._following.shift_ns(newest, time_ns))
        if ahead_A is not None and len(ahead_A) > 1:
            ahead_A = ahead_A.copy()
            ahead_s = max(0, time_ns - (self._now_ns or time_ns)) / _NS
            ahead_A[1] = self._bends(newest, time_ns) * ahead_A[1] + self._following.against(newest, ahead_s)
        return ahead_A

    def step(self, now_ns: int) -> Step:
        """Return the command for now [ns]; to be called once a period."""
        if self._now_ns is not None and now_ns < self._now_ns - SET_BACK_NS:
            self._start_anew()
        self._now_ns = now_ns
        planned_A = self._planned(now_ns)
        reason = self._trouble(now_ns, planned_A)
        wanted_A = self._wanted(now_ns, planned_A, reason)
        command_A = self._limiter.step(wanted_A)
        self._sent.append((now_ns, command_A))
        is_starved = planned_A is None and self._has_begun and self.outcome is None
        is_limited = bool((np.abs(command_A - wanted_A) > _AT_REST).any())
        self.counts.steps += 1
        self.counts.starved += is_starved
        self.counts.limited += is_limited
        if self._mode is Mode.STOPPING and self.outcome and self._limiter.is_steady and not is_limited:
            self._mode = Mode.STOPPED
        return Step(command_A, self._mode, reason, is_starved, is_limited)

    def _planned(self, now_ns: int) -> np.ndarray | None:
        """Return what chunks say for now; of one that is followed, put right by where the robot is or how it faces."""
        newest = self._buffer.newest
        if newest is None or not newest.is_followed:
            return self._buffer.at(now_ns)
        planned_A = self._buffer.at(now_ns, self._following.shift_ns(newest, now_ns))
        if planned_A is not None and len(planned_A) > 1:
            planned_A = planned_A.copy()
            planned_A[1] = self._bends(newest, now_ns) * planned_A[1] + self._following.against(newest)
        return planned_A

    def _bends(self, chunk: Chunk, time_ns: int) -> float:
        """Return how much of a chunk's yaw rate for a time counts: who is known to be held turns where it stands."""
        if chunk.facing_H is None:
            return self._share
        return 0.0 if self._following.waits(chunk, time_ns) else 1.0

    def _start_anew(self) -> None:
        """Forget what belongs to a time that has not been yet: the clock was set back."""
        self._buffer.clear()
        self._sent.clear()
        self._coming.clear()
        self._share = 1.0
        self._seen_ns = self._pose = self._asked_stamp_ns = self._trouble_ns = None
        self._left_ns = -_NEVER_NS

    def _is_stale(self, now_ns: int) -> bool:
        # What is of a time to come would be fresh for as long, whatever becomes of the input.
        return self._seen_ns is None or abs(now_ns - self._seen_ns) > round(self._settings.stale_s * _NS)

    def _trouble(self, now_ns: int, planned_A: np.ndarray | None) -> str:
        """Return why the plan is not executed; empty: it is."""
        if self.outcome:
            return f"ends: {self.outcome.value}"
        if self._seen_ns is None:
            return "no observation yet"
        if self._is_stale(now_ns):
            how = "old" if now_ns > self._seen_ns else "ahead of the clock"
            return f"stale input: the newest is more than {self._settings.stale_s:g} s {how}"
        # For good: where braking has helped, going on would lead out again.
        self._why_not = self._why_not or self._may_be()
        if self._why_not:
            return self._why_not
        if planned_A is None:
            return "starved: no chunk reaches this time" if self._has_begun else "no chunk yet"
        return ""

    def _wanted(self, now_ns: int, planned_A: np.ndarray | None, reason: str) -> np.ndarray:
        if not reason and planned_A is not None:
            self._mode, self._trouble_ns, self._has_begun = Mode.RUNNING, None, True
            return planned_A
        if self._trouble_ns is None:
            self._trouble_ns, self._braking = now_ns, self._along_path(now_ns)
        since_s = (now_ns - self._trouble_ns) / _NS
        if since_s > self._settings.give_up_s:
            self.end(self._why_given_up(now_ns))
        held = self._limiter.value
        if not self._has_begun and not self.outcome:
            self._mode = Mode.WAITING
            # What is in force was somebody else's wish: nobody would end it.
            return held if self._safe_A is None else self._limiter.together(self._safe_A)
        if self.outcome is None and not self._why_not and since_s <= self._settings.hold_s:
            self._mode = Mode.HOLDING
            return self._on_path(held)
        if self._mode not in (Mode.STOPPING, Mode.STOPPED):
            self._leave_plan(now_ns)
        return held if self._safe_A is None else self._on_path(self._limiter.together(self._safe_A))

    def _along_path(self, now_ns: int) -> Braking | None:
        """Return how the newest chunk goes on from here; None: it does not say where."""
        chunk, settings = self._buffer.newest, self._settings
        if chunk is None or chunk.path_H3 is None:
            return None
        at_ns = now_ns + self._following.shift_ns(chunk, now_ns)
        return Braking(chunk, at_ns, settings.response_s, settings.period_s)

    def _on_path(self, wanted_A: np.ndarray) -> np.ndarray:
        """Return the same command turning as the path does, where there is one."""
        rate = self._braking.yaw_rate(float(wanted_A[0])) if self._braking is not None else None
        if rate is None:
            self._braking = None
            return wanted_A
        wanted_A = wanted_A.copy()
        wanted_A[1] = rate
        return wanted_A

    def _leave_plan(self, now_ns: int) -> None:
        """Stop: where the robot goes on from there is not where its plan would have it."""
        self._mode, self._left_ns = Mode.STOPPING, now_ns
        self._buffer.clear()

    def _why_given_up(self, now_ns: int) -> Outcome:
        if self._is_stale(now_ns):
            return Outcome.STALE_INPUTS
        return Outcome.OUTSIDE if self._why_not else Outcome.NO_CHUNKS
