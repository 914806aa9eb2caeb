"""Taught rounds through all nodes: a clock that waits for them, and figures whatever ends it."""

from __future__ import annotations

import json
import os
import signal
import threading
from queue import SimpleQueue
from time import monotonic
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import taught_nodes
from benchmarks.taught import Route
from benchmarks.taught_clock import COMMAND_LATE_S, STATE_LATE_S, Allowed, Together
from benchmarks.taught_driven import Driven, Inference, KilledError, Truth
from wm_ros.dispatcher import dispatching_executor
from wm_testing.system import wait_until

S = 1_000_000_000
PATIENCE_S = 20.0


def in_time(work):
    """Returns a thread that does something, and whether it has done it a moment later."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(0.2)
    return thread, not thread.is_alive()


@pytest.mark.parametrize(("hear", "late_s"), [("state", STATE_LATE_S), ("command", COMMAND_LATE_S)])
def test_the_clock_waits_for_who_is_behind_and_no_longer(hear, late_s):
    together = Together(PATIENCE_S)
    together.hold(5 * S)  # nobody was heard yet, so nobody is waited for
    (lambda: together.state(5 * S) if hear == "state" else together.command())()
    together.hold(5 * S + round(late_s * S))
    thread, has_come = in_time(lambda: together.hold(6 * S))
    assert not has_come
    together.state(6 * S)
    if hear == "command":
        assert thread.is_alive()
        together._told_ns = 6 * S
        together.command()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert together.in_vain == 0


def test_who_is_dead_makes_the_time_slow_and_not_endless():
    """It is waited for each time that it is too late again: what is only late meanwhile is not left behind for good."""
    together = Together(0.02)
    together.state(1 * S)
    for number in range(1, 101):
        together.hold(S + round(0.1 * number * STATE_LATE_S * S))
    assert together.in_vain == 100 // 11
    assert together.held_s >= 9 * 0.02


def test_the_clock_waits_for_who_has_not_taken_its_last_time():
    """What was sent before that time is not taken either: poses would come too late for their frames."""
    present_ns = [1 * S]
    together = Together(PATIENCE_S)
    together.begin([lambda: present_ns[0]])
    together.hold(1 * S)
    together.hold(2 * S)
    thread, has_come = in_time(lambda: together.hold(3 * S))
    assert not has_come
    present_ns[0] = 2 * S
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_who_never_takes_a_time_is_told_as_waited_for_in_vain():
    together = Together(0.02)
    together.begin([lambda: 1 * S])
    together.hold(1 * S)
    together.hold(2 * S)
    together.hold(3 * S)
    assert together.in_vain == 1


def test_a_robot_that_drives_by_itself_waits_for_no_commands():
    together = Together(PATIENCE_S)
    together.begin(is_commanded=False)
    together.hold(1 * S)
    together.command()
    together.hold(9 * S)
    assert together.held_s < 0.5 * PATIENCE_S


class Thinker:
    """Inference and as much of a runner as tells what its thread does."""

    def __init__(self):
        self.worker = SimpleNamespace(is_busy=False, _answers=SimpleQueue())
        self._runner = SimpleNamespace(_inference=SimpleNamespace(_worker=self.worker))
        self.now_s, self.is_free, self.hands_over = 10.0, threading.Event(), threading.Event()
        self.inference = Inference(0.3, 0.0, 0, lambda: self.now_s)
        self.together = Together(PATIENCE_S)
        self.together.begin(is_thinking=self.is_thinking)

    def is_thinking(self):
        return self.inference.is_thinking(self._runner)

    def answer(self):
        """Answers once it is free to, and hands that over once it may."""
        try:
            said = self.inference.answer(lambda: self.is_free.wait(PATIENCE_S))
        except KilledError as error:
            said = error
        self.hands_over.wait(PATIENCE_S)
        self.worker._answers.put(said)


def test_the_clock_stands_from_a_question_to_its_answer_but_for_the_time_that_this_is_to_take():
    """The thread that answers may come late to the question, and be late to hand the answer over."""
    thinker = Thinker()
    thinker.together.hold(1 * S)
    thinker.worker.is_busy = True  # asked: its thread has not begun
    asked, has_come = in_time(lambda: thinker.together.hold(2 * S))
    assert not has_come
    answering, _ = in_time(thinker.answer)
    assert asked.is_alive()
    thinker.is_free.set()
    asked.join(PATIENCE_S)  # the latency itself is what the clock is for
    assert (asked.is_alive(), answering.is_alive()) == (False, True)
    thinker.now_s = 10.31
    due, has_come = in_time(lambda: thinker.together.hold(3 * S))
    assert not has_come
    thinker.hands_over.set()
    due.join(PATIENCE_S)
    answering.join(PATIENCE_S)
    assert (due.is_alive(), thinker.together.in_vain) == (False, 0)


def test_the_clock_stands_until_who_is_killed_has_said_so():
    thinker = Thinker()
    thinker.worker.is_busy = True
    thinker.is_free.set()
    answering, _ = in_time(thinker.answer)
    wait_until(lambda: not thinker.is_thinking(), PATIENCE_S)
    thinker.inference.suffer(SimpleNamespace(kind="killed"))
    assert thinker.is_thinking()
    thinker.hands_over.set()
    answering.join(PATIENCE_S)
    assert not thinker.is_thinking()


def test_without_patience_nobody_is_waited_for():
    together = Together(0.0)
    together.state(1)
    together.hold(9 * S)
    assert together.held_s == 0.0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_time_and_a_second_one_is_what_it_was(number):
    allowed, before = Allowed(60.0), signal.getsignal(number)
    heard = []
    signal.signal(number, lambda *_: heard.append(number))
    try:
        with allowed.listening():
            assert not allowed.why_over
            os.kill(os.getpid(), number)
            assert (allowed.why_over, heard) == ("interrupted", [])
            os.kill(os.getpid(), number)
            assert heard == [number]
    finally:
        signal.signal(number, before)
    assert Allowed(0.0).why_over == "the time allowed is over"


def test_figures_are_of_what_was_driven_so_far():
    """Straight on, beside the way by what is said; what comes while or soon after a stop is way alone."""
    way_P3 = np.column_stack([np.arange(0.0, 11.0), np.zeros(11), np.zeros(11)])
    runner = type("Runner", (), {"_health": type("Health", (), {"counted": staticmethod(lambda _: 0)})})
    driven = Driven(Route(0, None, way_P3, 10.0), Truth(), [np.array([0.05, 0.0])] * 3, runner)
    assert driven.figures()["rounds"] == 0.0
    driven.truth.pose += [(0.0, 0.0, 0.0), (1.0, 0.1, 0.0), (2.0, 0.1, 0.0)]
    driven.judge(is_calm=True)
    driven.truth.pose += [(3.0, 0.9, 0.0)]
    driven.judge(is_calm=False)
    driven.judge(is_calm=True)
    figures = driven.figures()
    assert (figures["off_max_m"], figures["ended"], figures["commands"]) == (0.1, "under way", 3)
    assert figures["rounds"] == pytest.approx(0.33, abs=0.02)


@pytest.mark.slow
def test_the_nodes_run_on_the_executor_that_nodes_run_on():
    """A pool of threads gathers anew what there is to wait on for each message: four times the processor."""
    bench = taught_nodes.Bench("artifact://tiny", {"time_scale": 1.0}, 0.0, Allowed(1.0))
    try:
        assert type(bench._spinning.executor) is type(dispatching_executor())
    finally:
        bench.close()


@pytest.mark.slow
def test_all_nodes_end_by_themselves_and_say_how_far_they_came(tmp_path, capsys):
    """In two seconds no lap is taught."""
    begun_s = monotonic()
    path = tmp_path / "found.json"
    arguments = ["--artifact", "artifact://tiny", "--buildings", "6", "--minutes", "0.03", "--json", str(path)]
    taught_nodes.main(arguments)
    assert monotonic() - begun_s < 120.0
    (found,) = json.loads(path.read_text())["buildings"]
    assert (found["building"], found["ended"]) == (6, "no lap: the time allowed is over")
    assert json.loads(capsys.readouterr().out) == found
