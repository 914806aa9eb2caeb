"""Execution under a clock of its own: late, killed and stale never break a limit, and each has its name."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy_runner.chunks import PREFIX, Chunk, ChunkBuffer, ChunkError, Combining
from policy_runner.execution import Execution, ExecutionSettings
from policy_runner.outcomes import Mode, Outcome
from wm_core.limits import Limiter, Limits

S, PERIOD_S = 1_000_000_000, 0.02
LIMITS = Limits(low=(-1.0,), high=(1.0,), rate=(3.0,), jerk=(60.0,))
SETTINGS = ExecutionSettings(hold_s=0.2, give_up_s=2.0, replan_s=0.0)


def execution(how=PREFIX, may_be=lambda: None, settings=SETTINGS):
    buffer = ChunkBuffer(Combining(how))
    return Execution(settings, buffer, Limiter(LIMITS, PERIOD_S), np.zeros(1), may_be)


class World:
    """A robot that sees at 20 Hz, and inference of a stated latency; all in virtual time."""

    def __init__(self, run, latency, chunk=lambda stamp_ns: np.full((20, 1), 0.5), sees=lambda now_s: True):
        self.run, self._latency, self._chunk, self._sees = run, latency, chunk, sees
        self._tick, self._due = 0, None
        self.steps, self.asked_s = [], []

    @property
    def now_s(self):
        return self._tick * PERIOD_S

    def go(self, seconds):
        for _ in range(round(seconds / PERIOD_S)):
            self._go_on()
        return self.steps

    def _go_on(self):
        now_ns = round(self.now_s * S)
        if self._tick % 5 in (0, 2) and self._sees(self.now_s):
            self.run.see(now_ns)
        if self._due is not None and self._due[0] <= self.now_s:
            _, stamp_ns, asked_s = self._due
            self._due = None
            actions = self._chunk(stamp_ns)
            if actions is not None:
                self.run.offer(Chunk(stamp_ns, 0.05, actions), self.now_s - asked_s, now_ns)
        if self._due is None and self.run.wants_chunk(now_ns):
            self.run.asked(self.run._seen_ns)
            self.asked_s.append(self.now_s)
            self._due = self.now_s + self._latency(), self.run._seen_ns, self.now_s
        self.steps.append(self.run.step(now_ns))
        self._tick += 1


def commands(steps):
    return np.array([step.command_A[0] for step in steps])


def assert_limits_kept(steps):
    sent = np.concatenate([[0.0, 0.0], commands(steps)])
    assert (np.abs(sent) <= 1.0 + 1e-9).all()
    assert (np.abs(np.diff(sent)) <= 3.0 * PERIOD_S + 1e-9).all()
    assert (np.abs(np.diff(sent, 2)) <= 60.0 * PERIOD_S**2 + 1e-9).all()


@pytest.mark.parametrize("how", ["ensemble", "blend", "newest", "prefix"])
def test_late_inference_starves_nothing_and_seams_are_small(how):
    """300 ms with 20 % jitter at 50 Hz: a chunk is there before the last one ends."""
    rng = np.random.default_rng(0)

    def moving(stamp_ns):
        times = stamp_ns * 1e-9 + 0.05 * np.arange(20)
        return 0.5 * np.sin(times)[:, None] + rng.normal(0.0, 0.05)

    world = World(execution(how), lambda: 0.3 * rng.uniform(0.8, 1.2), moving)
    steps = world.go(60.0)
    assert sum(step.is_starved for step in steps) == 0
    assert steps[-1].mode is Mode.RUNNING
    assert_limits_kept(steps)
    # Beyond what the plan itself moves (0.5 rad/s of a sine), 2 % of a range of 2.
    running = commands(steps)[100:]
    assert np.abs(np.diff(running)).max() <= 0.5 * PERIOD_S + 0.02 * 2.0


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31))
def test_no_limit_is_broken_whatever_inference_does(seed):
    rng = np.random.default_rng(seed)

    def anything(stamp_ns):
        return None if rng.random() < 0.3 else rng.normal(0.0, 5.0, (rng.integers(1, 30), 1))

    world = World(execution(rng.choice(["ensemble", "blend", "newest"])), lambda: rng.exponential(0.4), anything)
    assert_limits_kept(world.go(10.0))


def test_without_chunks_it_holds_then_stops_then_ends_by_name():
    world = World(execution(), lambda: 0.1, lambda stamp_ns: np.full((20, 1), 0.5) if stamp_ns < S else None)
    world.go(6.0)
    modes = [step.mode for step in world.steps]
    held = [step for step in world.steps if step.mode is Mode.HOLDING]
    assert modes.index(Mode.RUNNING) < modes.index(Mode.HOLDING) < modes.index(Mode.STOPPING)
    assert len(held) == pytest.approx(0.2 / PERIOD_S, abs=2)
    assert commands(held) == pytest.approx(np.full(len(held), 0.5), abs=1e-6)
    assert all("starved" in step.reason for step in held)
    assert world.run.outcome is Outcome.NO_CHUNKS
    assert world.run.is_over
    assert world.steps[-1].command_A == pytest.approx([0.0])
    assert_limits_kept(world.steps)


def test_stale_input_holds_then_stops_and_goes_on_when_it_is_fresh_again():
    world = World(execution(), lambda: 0.1, sees=lambda now_s: not 2.0 < now_s < 3.5)
    steps = world.go(6.0)
    modes = [step.mode for step in steps]
    assert "stale" in next(step.reason for step in steps if step.mode is Mode.HOLDING)
    stopping = modes.index(Mode.STOPPING)
    assert commands(steps)[stopping:].min() == pytest.approx(0.0)
    assert Mode.RUNNING in modes[stopping:]
    assert steps[-1].command_A == pytest.approx([0.5])
    assert_limits_kept(steps)


def test_after_a_stop_nothing_of_the_former_plan_is_executed():
    world = World(execution(), lambda: 0.1, lambda stamp_ns: np.full((80, 1), 0.5 if stamp_ns < 2 * S else 0.8))
    world._sees = lambda now_s: not 1.9 < now_s < 3.0
    steps = world.go(3.0)
    assert steps[-1].mode is Mode.STOPPING
    world._latency = lambda: 0.5
    steps = world.go(1.0)[-50:]
    begins = next(at for at, step in enumerate(steps) if step.mode is Mode.RUNNING)
    assert begins * PERIOD_S >= 0.5
    assert commands(steps)[:begins] == pytest.approx(np.zeros(begins), abs=1e-9)
    assert not world.run.offer(Chunk(round(1.9 * S), 0.05, np.zeros((200, 1))), 2.0, round(4.0 * S))


def test_stale_input_for_too_long_ends_by_name():
    world = World(execution(), lambda: 0.1, sees=lambda now_s: now_s < 2.0)
    world.go(6.0)
    assert world.run.outcome is Outcome.STALE_INPUTS
    assert world.run.is_over


def test_a_cancel_brakes_within_one_period():
    world = World(execution(), lambda: 0.1)
    world.go(2.0)
    before = world.steps[-1].command_A[0]
    world.run.end(Outcome.CANCELLED)
    world.go(PERIOD_S)
    assert world.steps[-1].mode is Mode.STOPPING
    assert world.steps[-1].command_A[0] < before
    world.go(1.0)
    assert world.run.is_over
    assert world.steps[-1].command_A == pytest.approx([0.0])
    assert_limits_kept(world.steps)


def test_the_first_outcome_counts():
    run = execution()
    run.end(Outcome.CANCELLED)
    run.end(Outcome.REACHED)
    assert run.outcome is Outcome.CANCELLED


def test_where_it_may_not_be_it_stops_at_once():
    why = []
    world = World(execution(may_be=lambda: why[0] if why else None), lambda: 0.1)
    world.go(2.0)
    why.append("outside")
    steps = world.go(PERIOD_S)
    assert steps[-1].mode is Mode.STOPPING
    # Once is enough: braking takes the reason away, and going on would bring it back.
    why.clear()
    world.go(3.0)
    assert world.run.outcome is Outcome.OUTSIDE


def test_chunks_are_asked_for_when_the_rest_lasts_no_longer_than_one_takes():
    world = World(execution(), lambda: 0.3)
    world.go(20.0)
    # A chunk of 1 s is 0.3 s old when it comes: the next is asked for when 0.3 s and a margin are left.
    apart = np.diff(world.asked_s)[5:]
    assert (apart > 0.5).all()
    assert (apart < 0.75).all()


def test_what_is_decided_is_what_was_sent_and_what_is_planned():
    world = World(execution(), lambda: 0.3)
    world.go(3.0)
    now_ns = round(world.now_s * S)
    decided = world.run.decided(now_ns - S // 10, 0.05, now_ns)
    assert len(decided) >= (0.1 + world.run.latency.usual_s) / 0.05
    assert decided == pytest.approx(np.full((len(decided), 1), 0.5))


def held(until_s, stamp_s=0.0):
    """Returns an execution whose robot stands at the beginning of a path, with a chunk made when it came there."""
    run = execution()
    run.offer(Chunk(0, 0.05, np.full((20, 1), 0.5)), 0.0, 0)
    for tick in range(round(until_s / PERIOD_S)):
        run.see(round(tick * PERIOD_S * S), np.zeros(3))
        run.step(round(tick * PERIOD_S * S))
    path_H3 = np.column_stack([0.05 * np.arange(60), np.zeros(60), np.zeros(60)])
    chunk = Chunk(round(stamp_s * S), 0.05, 0.5 + 0.005 * np.arange(60)[:, None], path_H3)
    return run, chunk


def test_a_robot_that_was_held_is_counted_on_for_what_it_will_be_commanded_where_it_is():
    """The next chunk is made for after what is decided: that of where it was expected would turn before its corner."""
    run, chunk = held(0.6, stamp_s=0.2)
    now_ns = round(0.6 * S)
    run.see(now_ns, np.zeros(3))
    run.offer(chunk, 0.4, now_ns)
    decided = run.decided(now_ns, 0.05, now_ns)[1:, 0]
    planned = [float(action_A[0]) for _, action_A in run.planned(now_ns, now_ns + 4 * S // 10)]
    commanded = []
    for tick in range(1, 21):
        time_ns = now_ns + round(tick * PERIOD_S * S)
        run.see(time_ns, np.array([tick * PERIOD_S, 0.0, 0.0]))
        commanded.append(float(run.step(time_ns).command_A[0]))
    assert decided == pytest.approx(
        np.interp(0.05 * np.arange(1, len(decided) + 1), 0.02 * np.arange(1, 21), commanded), abs=0.006
    )
    assert (planned[0], planned[-1]) == pytest.approx((commanded[0], commanded[-1]), abs=0.008)


def test_what_is_put_right_counts_as_decided_and_less_the_farther_ahead():
    """The next chunk would put the same right once more."""
    limits = Limits(low=(-2.0, -3.0), high=(2.0, 3.0), rate=(8.0, 20.0), jerk=(400.0, 1000.0))
    run = Execution(SETTINGS, ChunkBuffer(Combining(PREFIX)), Limiter(limits, PERIOD_S), np.zeros(2))
    path_H3 = np.column_stack([0.04 * np.arange(81), np.zeros(81), np.zeros(81)])
    run.offer(Chunk(0, 0.05, np.tile([0.8, 0.0], (81, 1)), path_H3), 0.4, 0)
    for tick in range(51):
        now_ns = round(tick * PERIOD_S * S)
        run.see(now_ns, np.array([0.8 * tick * PERIOD_S, -0.2, -0.2]))
        command_A = run.step(now_ns).command_A
    decided = run.decided(now_ns, 0.05, now_ns)[:, 1]
    planned = [float(action_A[1]) for _, action_A in run.planned(now_ns + S // 100, now_ns + S // 5)]
    assert command_A[1] > 0.3
    assert decided[1] == pytest.approx(command_A[1], rel=0.1)
    assert planned[0] == pytest.approx(command_A[1], rel=0.1)
    assert (np.diff(decided[1:]) < 0.0).all()
    assert 0.5 * command_A[1] < decided[-1] < 0.8 * command_A[1]


@pytest.mark.parametrize(("comes", "yaw_rate"), [(True, -1.0), (False, 0.0)])
def test_a_robot_that_stands_in_a_bend_is_not_turned_round_it(comes, yaw_rate):
    """Its place stays, and with it what is commanded there: it would turn for as long as it is held."""
    turned_H = -np.linspace(0.0, 4.0, 81)
    path_H3 = np.column_stack([-0.8 * np.sin(turned_H), 0.8 * (np.cos(turned_H) - 1.0), turned_H])
    limits = Limits(low=(-2.0, -3.0), high=(2.0, 3.0), rate=(8.0, 20.0), jerk=(400.0, 1000.0))
    run = Execution(SETTINGS, ChunkBuffer(Combining(PREFIX)), Limiter(limits, PERIOD_S), np.zeros(2))
    run.offer(Chunk(0, 0.05, np.tile([0.8, -1.0], (81, 1)), path_H3), 0.0, 0)
    for tick in range(60):
        now_ns = round(tick * PERIOD_S * S)
        if tick % 5 in (0, 2):
            run.see(now_ns, path_H3[round(tick * PERIOD_S / 0.05) if comes else 0])
        command_A = run.step(now_ns).command_A
    assert command_A == pytest.approx([0.8, yaw_rate], abs=0.05)
    planned = [action_A for _, action_A in run.planned(now_ns, now_ns + S // 5)]
    assert planned[-1] == pytest.approx([0.8, yaw_rate], abs=0.05)


def test_a_clock_that_is_set_back_begins_anew():
    world = World(execution(), lambda: 0.1)
    world.go(3.0)
    world._tick = 0
    world._due = None
    steps = world.go(2.0)
    assert steps[-1].mode is Mode.RUNNING
    assert_limits_kept(steps)


@pytest.mark.parametrize("chunk", [Chunk(0, 0.05, np.zeros((5, 2))), Chunk(5 * S, 0.05, np.zeros((5, 1)))])
def test_chunks_of_another_size_or_of_the_future_are_refused(chunk):
    with pytest.raises(ChunkError):
        execution().offer(chunk, 0.1, 0)


def test_before_the_first_chunk_it_waits_where_it_is():
    run = execution()
    step = run.step(0)
    assert step.mode is Mode.WAITING
    assert step.command_A == pytest.approx([0.0])
    assert not step.is_starved
    assert math.isnan(run.latency.last_s)


def under_way(run, until_s=1.0):
    """Returns an execution that has gone on for a while, and what it commands."""
    world = World(run, lambda: 0.1)
    return world, world.go(until_s)[-1].command_A[0]


def successor(former):
    """Returns the execution of another goal that takes the place of a former one."""
    run = Execution(SETTINGS, ChunkBuffer(Combining(PREFIX)), former._limiter, np.zeros(1))
    run.go_on_from(former)
    return run


def test_who_takes_the_place_of_another_goes_on_by_its_plan_until_it_has_one():
    world, speed = under_way(execution())
    assert speed == pytest.approx(0.5)
    world.run, world._due, world._latency = successor(world.run), None, lambda: 0.4
    world._chunk = lambda stamp_ns: np.full((20, 1), -0.3)
    steps = world.go(1.5)
    assert commands(steps)[50:70] == pytest.approx(np.full(20, 0.5))
    assert {step.mode for step in steps[50:]} == {Mode.RUNNING}
    assert steps[-1].command_A == pytest.approx([-0.3])
    assert_limits_kept(steps)


@pytest.mark.parametrize("sees", [True, False])
def test_who_takes_the_place_of_another_and_never_has_a_plan_stops(sees):
    """Nobody would have ended the command in force before it gave up, 2 s later."""
    world, _ = under_way(execution())
    world.run, world._due, world._latency = successor(world.run), None, lambda: 99.0
    world._sees = lambda now_s: sees
    steps = world.go(2.0)
    assert steps[-1].mode is Mode.STOPPING
    assert steps[-1].command_A == pytest.approx([0.0], abs=1e-9)
    assert world.run.outcome is None
    assert_limits_kept(steps)


def test_what_is_in_force_when_a_wish_begins_and_nobody_planned_is_braked():
    limiter = Limiter(LIMITS, PERIOD_S)
    limiter.start(np.array([0.8]))
    run = Execution(SETTINGS, ChunkBuffer(Combining(PREFIX)), limiter, np.zeros(1))
    steps = [run.step(round(tick * PERIOD_S * S)) for tick in range(40)]
    assert commands(steps)[1] < 0.8
    assert commands(steps)[-1] == pytest.approx(0.0, abs=1e-9)
    assert {step.mode for step in steps} == {Mode.WAITING}


def test_who_has_ended_hands_no_plan_on():
    world, _ = under_way(execution())
    world.run.end(Outcome.CANCELLED)
    world.run, world._due, world._latency = successor(world.run), None, lambda: 99.0
    steps = world.go(0.6)
    assert steps[-1].command_A == pytest.approx([0.0], abs=1e-9)
    assert_limits_kept(steps)


def test_an_observation_of_a_time_to_come_is_no_fresher_than_an_old_one():
    """It would be fresh for as long as it is ahead, whatever becomes of the input."""
    world, _ = under_way(execution())
    world.run.see(round(world.now_s * S) + 60 * S)
    world._sees = lambda now_s: False
    steps = world.go(0.1)
    assert steps[-1].mode is Mode.HOLDING
    assert "ahead of the clock" in steps[-1].reason
    assert world.run.is_blind
