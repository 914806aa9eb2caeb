"""Commands that come from another thread, and how the task goes under them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from wm_sim.simulation import Simulation
from wm_sim.tasks import Outcome


class Steering:
    """Takes commands from one thread and hands them to the simulation in the one that drives.

    Args:
        simulation: Driven by actions.
        now_s: Returns the present in the simulation's time [s].
    """

    def __init__(self, simulation: Simulation, now_s: Callable[[], float]) -> None:
        self._simulation, self._now_s = simulation, now_s
        self._commands: deque[tuple[float, np.ndarray]] = deque()
        self._outcome: Outcome | None = None

    def take(self, action_A: np.ndarray) -> None:
        """Take a command that arrives now: forward speed [m/s], yaw rate [rad/s]."""
        self._commands.append((self._now_s(), action_A))

    def steer(self, until_s: float) -> None:
        """Carry out what was commanded up to a time [s], each at the time when it arrived.

        What arrived later waits for its time: one that drives behind the present would otherwise be ahead of what it
        is still to measure.
        """
        while self._commands and self._commands[0][0] <= until_s:
            arrived_s, action_A = self._commands.popleft()
            self._simulation.command(action_A, arrived_s)

    def judge(self, time_s: float) -> Outcome | None:
        """Return how the task went up to a frame's time [s], None without a task."""
        outcome = self._simulation.judge(time_s)
        if outcome and (self._outcome is None or self._outcome.goes_on):
            self._outcome = outcome
        return outcome

    @property
    def state(self) -> dict[str, object]:
        """Contacts so far and, with a task, whether it goes on, is done or failed."""
        state: dict[str, object] = {"contacts": self._simulation.robot.contact_count}
        if outcome := self._outcome:
            state["task"] = "goes on" if outcome.goes_on else "done" if outcome.has_succeeded else "failed"
        return state
