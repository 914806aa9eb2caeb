"""Inference that is late or dead when it is told to be, and what comes of rounds that are driven by it."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.execution import Rounds, broken_limits
from benchmarks.execution_runner import Fault, nearest_drive
from benchmarks.taught import Route
from policy_runner.chunks import Chunk
from policy_runner.drift import Known
from policy_runner.nearest_drive import NearestDrive
from policy_runner.node import PolicyRunner
from policy_runner.policies import Observation

_DELAYED, _GLANCE_S = 3.0, 0.002


class KilledError(Exception):
    """Inference ended in the middle of its work."""


class Inference:
    """The nearest drive, as late as is said, and dead while it is killed.

    Args:
        latency_s: Of inference [s].
        jitter: Share by which that differs.
        seed: Of the jitter.
        now_s: Returns the present that its latency counts in [s].
    """

    def __init__(self, latency_s: float, jitter: float, seed: int, now_s: Callable[[], float]) -> None:
        self._latency, self._rng, self._now_s = (latency_s, jitter), np.random.default_rng(seed), now_s
        self._fault, self._dead = "", threading.Event()
        self._due_s = -math.inf

    def is_thinking(self, runner: PolicyRunner) -> bool:
        """Return whether a runner waits for more than the time that an answer is to take.

        From when it is asked until it is answered, by whatever thread and whenever that is served.
        """
        asked = runner._inference
        if asked is None or not asked._worker.is_busy or not asked._worker._answers.empty():
            return False
        return self._dead.is_set() or self._now_s() >= self._due_s

    def suffer(self, fault: Fault | None) -> None:
        """Let something go wrong with it from now on; None: nothing."""
        self._fault = fault.kind if fault is not None else ""
        (self._dead.set if self._fault in ("killed", "restarted") else self._dead.clear)()

    def answer(self, ask: Callable[[], Chunk]) -> Chunk:
        """Return what is answered, as late as inference is: what the answer itself takes is part of that.

        Args:
            ask: Returns it.

        Raises:
            KilledError: It was killed meanwhile.
        """
        latency_s, jitter = self._latency
        slower = _DELAYED if self._fault == "delayed" else 1.0
        due_s = self._now_s() + slower * latency_s * self._rng.uniform(1.0 - jitter, 1.0 + jitter)
        chunk = ask()
        self._due_s = due_s
        try:
            while (left_s := due_s - self._now_s()) > 0.0:
                if self._dead.wait(min(left_s, _GLANCE_S)):
                    raise KilledError("killed")
        finally:
            self._due_s = -math.inf
        return chunk


class Late:
    """The nearest drive, as late as inference is.

    Args:
        inference: Says how late.
        known: What outlives one that is made anew.
    """

    takes = NearestDrive.takes

    def __init__(self, inference: Inference, known: Known) -> None:
        self._policy, self._inference = nearest_drive(known=known), inference
        self.action_dim, self.step_s = self._policy.action_dim, self._policy.step_s

    def act(self, observation: Observation) -> Chunk:
        """Return the chunk of an observation."""
        return self._inference.answer(lambda: self._policy.act(observation))


@dataclass
class Truth:
    """Where a robot truly was, and how often it touched something."""

    pose: list[tuple[float, float, float]] = field(default_factory=list)
    contacts: int = 0


@dataclass
class Driven:
    """Rounds of a taught route, as far as they are driven.

    Attributes:
        route: What was taught.
        truth: Where the robot is.
        commands: What it was commanded.
        runner: By whom.
        ended: Why there are no more rounds.
        goal: How the goal ended.
        robot_s: How long it took in the robot's time [s].
    """

    route: Route
    truth: Truth
    commands: list[np.ndarray]
    runner: PolicyRunner
    made: Rounds = field(default_factory=Rounds)
    ended: str = "under way"
    goal: str = ""
    robot_s: float = 0.0
    _judged: int = 1

    @property
    def rounds(self) -> float:
        """How many."""
        return self.made.way_m / self.route.length_m

    @property
    def words(self) -> str:
        """How it goes."""
        made = self.made
        return (
            f"{self.rounds:.2f} rounds, off at most {max(made.off_m, default=0.0):.3f} m, "
            f"{self.truth.contacts} contacts in {self.robot_s:.0f} s of the robot's"
        )

    def judge(self, *, is_calm: bool) -> None:
        """Take the poses since the last call; those of and after an injected stop count as way alone."""
        made, pose = self.made, self.truth.pose
        for number in range(self._judged, len(pose)):
            here, before = pose[number], pose[number - 1]
            made.way_m += float(np.hypot(here[0] - before[0], here[1] - before[1]))
            if is_calm:
                made.off_m.append(self.route.off_m(here))
            self._judged = number + 1

    def figures(self) -> dict[str, Any]:
        """Return what is reported."""
        made, health = self.made, self.runner._health
        off_m = np.array(made.off_m or [np.nan])
        commands = list(self.commands)
        return {
            "rounds": round(self.rounds, 2),
            "ended": self.ended,
            "goal": self.goal,
            "off_max_m": round(float(off_m.max()), 3),
            "off_p99_m": round(float(np.percentile(off_m, 99)), 3),
            "off_p95_m": round(float(np.percentile(off_m, 95)), 3),
            "contacts": self.truth.contacts,
            "broken": broken_limits(np.array(commands)) if commands else {},
            "commands": len(commands),
            "injected": dict(made.faults),
            "starved_steps": health.counted("starved_steps"),
            "policy_errors": health.counted("policy_errors"),
            "robot_s": round(self.robot_s, 1),
        }
