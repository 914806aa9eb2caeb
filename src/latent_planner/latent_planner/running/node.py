"""A goal under way: what it has come to, what it waits for, how it ends."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from rclpy.task import Future

from latent_planner.goals import GoalPose
from latent_planner.locate import Located, Wish
from wm_interfaces.action import Plan


class GoalOverError(Exception):
    """The goal has ended while something was waited for."""


@dataclass
class Run:
    """A goal under way.

    Attributes:
        handle: The action server's.
        ended: Done when it has ended, as ``end`` says: outcome and message.
        begin_s: When it was accepted, on the steady clock.
        lived_s: The same, by the clock that the node follows.
        limit_s: How long it may last by that.
        waits_for: What to say where what is waited for does not come in time: outcome and message; None: nothing is.
        waiting: What its coroutine awaits at present.
        wish: What is wanted, once that is known.
        moves: How often memories had moved when the way was found.
        found_s: When it was last found anew.
        located: Where it is, once that is known.
        pose: As far as it is recognised.
        memory_id: As in the result.
        left_m: As in the result.
        told_s: When feedback was last sent.
        suspected: Why the last tick would have ended it; 0: it would not.
        lost: Why there is no way any more, since memories moved, were restored or taken away; empty: there is one.
        lost_s: Since when.
    """

    handle: Any
    ended: Future[None]
    begin_s: float
    lived_s: float
    limit_s: float
    end: tuple[int, str] = (Plan.Result.FAILED, "")
    waits_for: tuple[int, str] | None = None
    waiting: Future[Any] | None = None
    wish: Wish | None = None
    moves: int = 0
    found_s: float = -math.inf
    located: Located | None = None
    pose: GoalPose | None = None
    memory_id: int = 0
    left_m: float = math.nan
    told_s: float = -math.inf
    suspected: int = 0
    lost: str = ""
    lost_s: float = math.inf

    def finish(self, outcome: int, message: str) -> bool:
        """Have it ended, whatever it waits for; return false where it had ended before."""
        if self.ended.done():
            return False
        self.end = outcome, message
        self.ended.set_result(None)
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_result(None)
        return True

    def lose(self, why: str, now_s: float) -> bool:
        """Take note that there is no way any more; return whether there was one before."""
        had, self.lost = not self.lost, why
        self.lost_s = min(self.lost_s, now_s)
        return had

    def lies_at(self, located: Located) -> None:
        """Take note of where it is; how sure that is stays as it was when it was recognised."""
        self.lost, self.lost_s = "", math.inf
        self.located, self.memory_id = located, self.memory_id or located.memory_id
        self.pose = replace(located.goal, confidence=self.pose.confidence if self.pose else located.goal.confidence)


class Waiter:
    """Lets a goal's coroutine wait: for an answer, for the next tick. A goal that ends meanwhile waits no longer.

    Args:
        executor: Returns who runs the coroutines; asked each time.
    """

    def __init__(self, executor: Callable[[], Any]) -> None:
        self._executor = executor
        self._ticked: list[Future[Any]] = []

    def tell_tick(self) -> None:
        """Wake whoever waits for a tick."""
        ticked, self._ticked = self._ticked, []
        for tick in ticked:
            tick.set_result(None)

    async def tick(self, run: Run) -> None:
        """Wait until the next tick.

        Raises:
            GoalOverError: The goal has ended before.
        """
        tick: Future[Any] = Future(executor=self._executor())
        self._ticked.append(tick)
        await self.answer(run, tick)

    async def answer(self, run: Run, future: Future[Any]) -> Any:
        """Return what a future holds.

        Raises:
            GoalOverError: The goal has ended before.
        """
        waiting: Future[Any] = Future(executor=self._executor())
        run.waiting = waiting

        def tell(done: Future[Any]) -> None:
            if not waiting.done():
                waiting.set_result(done)

        future.add_done_callback(tell)
        done = await waiting
        if run.ended.done() or done is None:
            raise GoalOverError
        return done.result()

    async def ask(self, run: Run, client: Any, request: Any, outcome: int, what: str) -> Any:
        """Return a service's answer.

        Args:
            run: The goal that needs it.
            client: Of the service.
            request: The question.
            outcome: How the goal ends where there is no answer in time.
            what: What is asked for, in words.

        Raises:
            GoalOverError: The goal has ended before.
        """
        run.waits_for = outcome, f"no answer of {client.srv_name} on {what}"
        while not client.service_is_ready():
            await self.tick(run)
        future = client.call_async(request)
        try:
            return await self.answer(run, future)
        finally:
            if not future.done():
                client.remove_pending_request(future)
