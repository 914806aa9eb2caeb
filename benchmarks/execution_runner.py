"""What drives in ``benchmarks.execution``: the runner's core under a clock of its own, inference as late as is said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from benchmarks.taught import Route, around
from policy_runner.chunks import PREFIX, Chunk, ChunkBuffer, Combining
from policy_runner.drift import DriftSettings, Known
from policy_runner.estimate import Estimate, EstimateSettings
from policy_runner.execution import Execution, ExecutionSettings
from policy_runner.goals import Track
from policy_runner.localised import Localised
from policy_runner.nearest_drive import NearestDrive, NearestDriveSettings
from policy_runner.params import PolicyRunnerParams
from policy_runner.policies import Frame, Observation, Policy, PolicyError
from wm_core.limits import Limiter

PERIOD_S, RADIUS_M, NS = 0.02, 5.0, 1_000_000_000
_DELAYED = 3.0


@dataclass(frozen=True)
class Fault:
    """What goes wrong: inference is ``delayed``, ``killed`` or ``restarted``, or the input is ``stopped``.

    Attributes:
        kind: Which of these.
        begin_s: From when on [s].
        end_s: Until when [s].
    """

    kind: str
    begin_s: float
    end_s: float


class Runner(Protocol):
    """Turns poses into commands."""

    @property
    def starved(self) -> int:
        """Steps without a chunk."""

    def see(self, stamp_ns: int, pose_3: np.ndarray, latent_D: np.ndarray) -> None:
        """Take a measured pose and what was seen there."""

    def command(self, now_ns: int, fault: Fault | None) -> np.ndarray:
        """Return the command for now [A]; called once a period."""

    def close(self) -> None:
        """End."""


def nearest_drive(*, gets_free: bool = True, known: Known | None = None) -> NearestDrive:
    """Return the nearest drive as the node makes it, or one that goes on as before when it is held."""
    params = PolicyRunnerParams()
    return NearestDrive(
        2,
        NearestDriveSettings(
            steps=params.chunk_steps,
            step_s=params.chunk_step_s,
            most_speed=params.high[0],
            most_rate=params.rate[0],
            gets_free=gets_free,
        ),
        known,
    )


class CoreRunner:
    """The runner without ROS and without threads: an answer comes when its time has come.

    Args:
        route: What is remembered.
        latency_s: Of inference [s].
        jitter: Share by which that differs.
        seed: Of the jitter.
        gets_free: See ``nearest_drive``.
        drift_m: Poses are put right by at most this, by what is seen against what is remembered [m]; 0: not.
    """

    def __init__(
        self,
        route: Route,
        latency_s: float,
        jitter: float,
        seed: int,
        *,
        gets_free: bool = True,
        drift_m: float | None = None,
    ) -> None:
        params, self._gets_free = PolicyRunnerParams(), gets_free
        self._known, self._drift_m = Known(), params.drift_m if drift_m is None else drift_m
        settings = ExecutionSettings(
            replan_s=params.replan_s,
            stale_s=params.stale_s,
            hold_s=params.hold_s,
            response_s=params.response_s,
            turns_by_rate=params.turns_by_rate,
        )
        limiter = Limiter(params.limits, PERIOD_S)
        self._execution = Execution(settings, ChunkBuffer(Combining(PREFIX)), limiter, np.zeros(2))
        self._memories, self._policy, self._track = route.memories, self._make_policy(), Track()
        self._latency, self._rng = (latency_s, jitter), np.random.default_rng(seed)
        self._due: tuple[float, float, Chunk | None] | None = None
        self._estimate = Estimate(EstimateSettings(response_s=params.response_s))
        self._soon_ns = round(params.response_s * NS)
        self._new: list[tuple[int, np.ndarray]] = []
        self._frames: list[Frame] = []

    def _make_policy(self) -> Policy:
        policy = nearest_drive(gets_free=self._gets_free, known=self._known)
        return Localised(policy, DriftSettings(most_m=self._drift_m), self._known) if self._drift_m else policy

    @property
    def starved(self) -> int:
        """Steps without a chunk."""
        return self._execution.counts.starved

    def see(self, stamp_ns: int, pose_3: np.ndarray, latent_D: np.ndarray) -> None:
        """Take a measured pose and what was seen there."""
        self._new.append((stamp_ns, pose_3))
        self._frames.append(Frame(stamp_ns, latent_D, pose_3=pose_3))

    def command(self, now_ns: int, fault: Fault | None) -> np.ndarray:
        """Return the command for now [A]."""
        now_s = now_ns / NS
        for stamp_ns, pose_3 in self._new:
            filtered_3 = self._estimate.measured(stamp_ns, pose_3)
            self._track.add(stamp_ns, filtered_3)
            soon_ns = now_ns + self._soon_ns
            self._execution.see(stamp_ns, self._estimate.at(soon_ns, self._execution.planned(now_ns, soon_ns)), soon_ns)
        self._new.clear()
        kind = fault.kind if fault is not None else ""
        if kind == "restarted" and self._due is not None:
            self._due, self._policy = None, self._make_policy()
        if self._due is not None and self._due[0] <= now_s and kind != "killed":
            _, asked_s, chunk = self._due
            self._due = None
            if chunk is not None:
                self._execution.offer(chunk, now_s - asked_s, now_ns)
        if self._due is None and kind not in ("killed", "restarted") and self._execution.wants_chunk(now_ns):
            self._ask(now_ns, _DELAYED if kind == "delayed" else 1.0)
        command_A = self._execution.step(now_ns).command_A
        self._estimate.commanded(now_ns, command_A)
        return command_A

    def _ask(self, now_ns: int, slower: float) -> None:
        assert self._track.last is not None
        stamp_ns, pose_3 = self._track.last
        self._execution.asked(stamp_ns)
        observation = Observation(
            stamp_ns, np.zeros(1), pose_3, float(np.hypot(*self._track.velocity_2)), None,
            self._execution.decided(stamp_ns, self._policy.step_s, now_ns), around(self._memories, pose_3, RADIUS_M),
            frames=tuple(self._frames),
        )  # fmt: skip
        self._frames.clear()
        try:
            chunk = self._policy.act(observation)
        except PolicyError:
            chunk = None
        latency_s, jitter = self._latency
        wait_s = slower * latency_s * self._rng.uniform(1.0 - jitter, 1.0 + jitter)
        self._due = now_ns / NS + wait_s, now_ns / NS, chunk

    def close(self) -> None:
        """There is nothing to end."""
