"""Inference on a thread of its own, which may be late, fail or be given up without anybody waiting for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread

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

    Attributes:
        is_busy: Whether it was asked and has not answered.
        restarts: How often the policy was made anew.
    """

    def __init__(self, make: Callable[[], Policy]) -> None:
        self._make = make
        self._questions: SimpleQueue[Observation | None] | None = None
        self._answers: SimpleQueue[Answer] = SimpleQueue()
        self._lost: list[Thread] = []
        self._thread: Thread | None = None
        self.is_busy, self.restarts = False, 0

    @property
    def can_ask(self) -> bool:
        """Whether it is free, and not too many threads hang."""
        self._lost = [thread for thread in self._lost if thread.is_alive()]
        return not self.is_busy and len(self._lost) < _MOST_LOST

    def ask(self, observation: Observation) -> None:
        """Hand over a question without waiting; it must be free."""
        if self._questions is None:
            self._questions, self._answers = SimpleQueue(), SimpleQueue()
            work = _Work(self._make, self._questions, self._answers)
            self._thread = Thread(target=work.run, name="policy", daemon=True)
            self._thread.start()
        self.is_busy = True
        self._questions.put(observation)

    def collect(self) -> Answer | None:
        """Return the answer, if there is one since the last call."""
        try:
            answer = self._answers.get_nowait()
        except Empty:
            return None
        self.is_busy = False
        if answer.error is not None:
            self.restarts += 1
            self._leave()
        return answer

    def kill(self) -> None:
        """Leave the thread that is asked, and what it would say; the next question goes to a policy made anew."""
        if self._thread is not None and self.is_busy:
            self._lost.append(self._thread)
            self.restarts += 1
        self._leave()
        self.is_busy = False

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
                answer = Answer(observation, _chunk(policy.act(observation)))
            except (PolicyError, ChunkError) as error:
                answer = Answer(observation, None, str(error))
            except Exception as error:  # a bug of the policy's: carried to who collects, and the policy is made anew
                self._answers.put(Answer(observation, None, f"{type(error).__name__}: {error}", error))
                return
            self._answers.put(answer)


def _chunk(said: object) -> Chunk:
    """Return what a policy said.

    Raises:
        ChunkError: It is no chunk.
    """
    if not isinstance(said, Chunk):
        raise ChunkError(f"the policy answered a {type(said).__name__}, expected a Chunk")
    return said
