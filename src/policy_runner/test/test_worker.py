"""Inference on its own thread: nobody waits for it, and what fails or hangs is made anew."""

import threading
from time import monotonic, sleep

import numpy as np
import pytest

from policy_runner.chunks import Chunk
from policy_runner.inference.worker import InferenceWorker
from policy_runner.policies import HoldLastAction, Observation, PolicyError

QUESTION = Observation(7, np.zeros(2), action_A=np.array([0.3, 0.1]))


def wait_for(condition, timeout_s=20.0):
    deadline = monotonic() + timeout_s
    while not (found := condition()):
        assert monotonic() < deadline
        sleep(0.002)
    return found


class Policy:
    """Answers, says that it has nothing to say, fails, or hangs until it is let go."""

    made = 0
    takes = frozenset()
    action_dim, step_s = 2, 0.05

    def __init__(self, does):
        type(self).made += 1
        self._does = does

    def act(self, observation):
        does = self._does.pop(0) if self._does else "answer"
        if does == "fail":
            raise RuntimeError("broken")
        if does == "nothing":
            raise PolicyError("nothing to say")
        if isinstance(does, threading.Event):
            does.wait()
        return Chunk(observation.stamp_ns, 0.05, np.zeros((3, 2)))


@pytest.fixture
def worker_of():
    workers = []
    Policy.made = 0

    def make(does):
        workers.append(InferenceWorker(lambda: Policy(does)))
        return workers[-1]

    yield make
    for worker in workers:
        worker.stop()


def test_an_answer_carries_its_question(worker_of):
    worker = worker_of([])
    assert worker.collect() is None
    worker.ask(QUESTION)
    assert not worker.can_ask
    answer = wait_for(worker.collect)
    assert answer.observation is QUESTION
    assert answer.chunk.stamp_ns == 7
    assert worker.can_ask
    assert not worker.is_busy


def test_nothing_to_say_is_no_fault(worker_of):
    worker = worker_of(["nothing"])
    worker.ask(QUESTION)
    answer = wait_for(worker.collect)
    assert (answer.chunk, answer.why, answer.error) == (None, "nothing to say", None)
    worker.ask(QUESTION)
    assert wait_for(worker.collect).chunk is not None
    assert Policy.made == 1


def test_what_fails_is_made_anew(worker_of):
    worker = worker_of(["fail"])
    worker.ask(QUESTION)
    assert isinstance(wait_for(worker.collect).error, RuntimeError)
    worker.ask(QUESTION)
    assert wait_for(worker.collect).chunk is not None
    assert (Policy.made, worker.restarts) == (2, 1)


def test_what_hangs_is_left_and_never_heard_again(worker_of):
    let_go = threading.Event()
    does = [let_go]
    worker = worker_of(does)
    worker.ask(QUESTION)
    assert worker.is_busy
    wait_for(lambda: not does)  # else it is the next one that hangs
    worker.kill()
    assert worker.can_ask
    late = Observation(8, np.zeros(2))
    worker.ask(late)
    assert wait_for(worker.collect).observation is late
    let_go.set()
    wait_for(lambda: worker.can_ask and not worker._lost)
    assert worker.collect() is None
    assert Policy.made == 2


def test_no_more_threads_hang_than_a_few(worker_of):
    hangs = [threading.Event() for _ in range(4)]
    worker = worker_of(list(hangs))
    for _ in hangs:
        worker.ask(QUESTION)
        worker.kill()
    wait_for(lambda: Policy.made == len(hangs))
    assert not worker.can_ask
    for hang in hangs:
        hang.set()
    wait_for(lambda: worker.can_ask)


def test_holding_the_last_action_needs_one():
    policy = HoldLastAction(2, 4, 0.05)
    assert policy.act(QUESTION).action_HA == pytest.approx(np.tile([0.3, 0.1], (4, 1)))
    with pytest.raises(PolicyError):
        policy.act(Observation(0, np.zeros(1)))
