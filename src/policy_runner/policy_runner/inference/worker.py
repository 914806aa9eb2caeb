"""Inference on a thread of its own, which may be late, fail or be given up without anybody waiting for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic

from policy_runner.chunks import Chunk, ChunkError
from policy_runner.policies import Observation, Policy, PolicyError

_MOST_LOST = 4


@dataclass(frozen=True)
class Answer:
    """What became of a question.

    Attributes:
        observation: The question.
        chunk: The answer; None: there is none.
        why: Why there is none; empty where there is one.
        error: What nobody expected; the policy is made anew after it.
    """

    observation: Observation
    chunk: Chunk | None
    why: str = ""
    error: Exception | None = None


class InferenceWorker:
    """Asks a policy, one question at a time, and makes it anew when it fails or does not answer.

    A thread cannot be ended from outside: one that hangs is left behind, and what it may say later is not listened to.

    Args:
        make: Makes the policy; called on the worker's thread, each time that it is made anew.
    """

    def __init__(self, make: Callable[[], Policy]) -> None:
        self._make = make
        self._questions: SimpleQueue[Observation | None] | None = None
        self._answers: SimpleQueue[Answer] = SimpleQueue()
        self._asked_s: float | None = None
        self._lost: list[Thread] = []
        self._thread: Thread | None = None
        self.restarts = 0

    @property
    def busy_s(self) -> float | None:
        """How long it has been asked without an answer [s]; None: it is free."""
        return None if self._asked_s is None else monotonic() - self._asked_s

    @property
    def can_ask(self) -> bool:
        """Whether it is free, and not too many threads hang."""
        self._lost = [thread for thread in self._lost if thread.is_alive()]
        return self._asked_s is None and len(self._lost) < _MOST_LOST

    def ask(self, observation: Observation) -> None:
        """Hand over a question without waiting; it must be free."""
        if self._questions is None:
            self._questions, self._answers = SimpleQueue(), SimpleQueue()
            work = _Work(self._make, self._questions, self._answers)
            self._thread = Thread(target=work.run, name="policy", daemon=True)
            self._thread.start()
        self._asked_s = monotonic()
        self._questions.put(observation)

    def collect(self) -> Answer | None:
        """Return the answer, if there is one since the last call."""
        try:
            answer = self._answers.get_nowait()
        except Empty:
            return None
        self._asked_s = None
        if answer.error is not None:
            self.restarts += 1
            self._leave()
        return answer

    def kill(self) -> None:
        """Leave the thread that is asked, and what it would say; the next question goes to a policy made anew."""
        if self._thread is not None and self._asked_s is not None:
            self._lost.append(self._thread)
            self.restarts += 1
        self._leave()
        self._asked_s = None

    def stop(self, timeout_s: float = 1.0) -> None:
        """End; a question in hand is waited for no longer than a time [s]."""
        thread = self._thread
        self._leave()
        if thread is not None:
            thread.join(timeout_s)

    def _leave(self) -> None:
        if self._questions is not None:
            self._questions.put(None)
        self._questions, self._answers, self._thread = None, SimpleQueue(), None


class _Work:
    """What the thread does; it knows nothing of the worker, which may have left it."""

    def __init__(
        self, make: Callable[[], Policy], questions: SimpleQueue[Observation | None], answers: SimpleQueue[Answer]
    ) -> None:
        self._make, self._questions, self._answers = make, questions, answers

    def run(self) -> None:
        """Answer until there is nothing more to answer, or something nobody expected."""
        policy: Policy | None = None
        while (observation := self._questions.get()) is not None:
            try:
                policy = policy or self._make()
                answer = Answer(observation, policy.act(observation))
            except (PolicyError, ChunkError) as error:
                answer = Answer(observation, None, str(error))
            except Exception as error:  # a bug of the policy's: carried to who collects, and the policy is made anew
                self._answers.put(Answer(observation, None, f"{type(error).__name__}: {error}", error))
                return
            self._answers.put(answer)
