"""Executing a policy: starved steps and seams under late inference, and rounds of a taught route with it failing."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.execution_node import NodeRunner
from benchmarks.execution_runner import PERIOD_S, CoreRunner, Fault, Runner
from benchmarks.taught import NS, RATE_HZ, Look, Route, blind, picture_size, teach
from latent_publisher.encoder import Encoder
from policy_runner.chunks import COMBINATIONS, Chunk, ChunkBuffer, Combining
from policy_runner.execution import Execution, ExecutionSettings
from policy_runner.params import PolicyRunnerParams
from wm_core.limits import Limiter
from wm_sim import DEFAULT_POSE_NOISE, EXACT, STILL, Simulation
from world_model.runtime.artifacts import load_artifact

LATENCY_S, JITTER = 0.3, 0.2
# How much two chunks for the same time differ: standard deviation, of the range of an action.
DISAGREEMENT = 0.05
# Long enough after an injected stop for the robot to be on its way again.
AFTER_STOP_S = 2.0
LIMITS = PolicyRunnerParams().limits
# The seed of what is driven differs from that of the lap: poses would drift alike.
ANOTHER_RUN = 1000
RUNNERS = ("core", "core, not getting free", "core, poses as measured", "node")


def late(how: str, seconds: float, seed: int) -> dict[str, float]:
    """Return starved steps and seams of 50 Hz under late inference, by a way of combining chunks.

    A seam is the step of the plan when a chunk comes, beyond what the plan itself moves, over the action's range.
    """
    rng = np.random.default_rng(seed)
    execution = Execution(
        ExecutionSettings(replan_s=0.0), ChunkBuffer(Combining(how)), Limiter(LIMITS, PERIOD_S), np.zeros(2)
    )
    span_A = np.subtract(LIMITS.high, LIMITS.low)
    middle_A = 0.5 * np.add(LIMITS.high, LIMITS.low)
    due: tuple[float, int, float] | None = None
    sent = []
    for number in range(round(seconds / PERIOD_S)):
        now_s = number * PERIOD_S
        now_ns = round(now_s * NS)
        if number % 5 in (0, 2):
            seen_ns = now_ns
            execution.see(now_ns)
        if due is not None and due[0] <= now_s:
            times_H = due[1] / NS + 0.05 * np.arange(20)
            swing_H = 0.25 * np.sin(0.5 * times_H)
            action_HA = middle_A + span_A * (swing_H[:, None] + rng.normal(0.0, DISAGREEMENT, 2))
            execution.offer(Chunk(due[1], 0.05, action_HA), now_s - due[2], now_ns)
            due = None
        if due is None and execution.wants_chunk(now_ns):
            execution.asked(seen_ns)
            due = now_s + LATENCY_S * rng.uniform(1.0 - JITTER, 1.0 + JITTER), seen_ns, now_s
        sent.append(execution.step(now_ns).command_A)
    moves_SA = np.abs(np.diff(np.array(sent)[100:], axis=0)) / span_A
    own = 0.25 * 0.5 * PERIOD_S
    return {
        "starved": execution.counts.starved,
        "seam_of_range": round(float(max(moves_SA.max() - own, 0.0)), 4),
        "latency_p95_s": round(execution.latency.reckoned_s, 3),
        "steps": execution.counts.steps,
    }


def faults(rng: np.random.Generator, every_s: float) -> Iterator[Fault]:
    """Yield what goes wrong in turn, with a time of rest after each."""
    at_s = every_s
    while True:
        for kind, lasts_s in (("delayed", 3.0), ("killed", 1.0), ("restarted", 0.5), ("stopped", 1.5)):
            yield Fault(kind, at_s, at_s + lasts_s)
            at_s += lasts_s + every_s * rng.uniform(0.8, 1.2)


@dataclass
class Rounds:
    """What some rounds were like."""

    off_m: list[float] = field(default_factory=list)
    command: list[np.ndarray] = field(default_factory=list)
    way_m: float = 0.0
    contacts: int = 0
    faults: dict[str, int] = field(default_factory=dict)


def drive(
    route: Route, runner: Runner, rounds: float, *, exact: bool, every_s: float, seed: int, look: Look = blind
) -> Rounds:
    """Return what rounds of a taught route were like, with something going wrong every so often."""
    run = Simulation(
        seed, building_seed=route.seed, image_size=picture_size(look), changes=STILL, driven_by="actions",
        pose_noise=EXACT if exact else DEFAULT_POSE_NOISE,
    )  # fmt: skip
    rng, made, last, stopped_until_s = np.random.default_rng(seed), Rounds(), None, 0.0
    ahead = faults(rng, every_s)
    fault, poses = next(ahead), list[tuple[float, int, np.ndarray, np.ndarray]]()
    limit = round(3.0 * rounds * route.length_m / PERIOD_S)
    for number in range(limit):
        now_s = number * PERIOD_S
        if now_s >= fault.end_s:
            made.faults[fault.kind] = made.faults.get(fault.kind, 0) + 1
            fault = next(ahead)
        active = fault if now_s >= fault.begin_s else None
        if int(now_s * RATE_HZ + 1e-6) != int((now_s - PERIOD_S) * RATE_HZ + 1e-6) or not number:
            pose, arrival_s = run.measure_pose(now_s)
            poses.append((arrival_s, round(now_s * NS), np.array(pose), look(run.frame(now_s)[0])))
        is_stopped = active is not None and active.kind == "stopped"
        while poses and poses[0][0] <= now_s:
            _, stamp_ns, pose_3, latent_D = poses.pop(0)
            if not is_stopped:
                runner.see(stamp_ns, pose_3, latent_D)
        command_A = runner.command(round(now_s * NS), active)
        run.command(command_A, now_s)
        made.command.append(command_A)
        truly = run.robot.pose_at(now_s)
        stopped_until_s = now_s + AFTER_STOP_S if is_stopped else stopped_until_s
        if now_s >= stopped_until_s:
            made.off_m.append(route.off_m(truly))
        made.way_m += 0.0 if last is None else float(np.hypot(truly[0] - last[0], truly[1] - last[1]))
        last = truly
        if made.way_m >= rounds * route.length_m:
            break
    made.contacts = run.robot.contact_count
    return made


def broken_limits(command_SA: np.ndarray) -> dict[str, int]:
    """Return how many commands broke which limit."""
    sent = np.concatenate([np.zeros((2, 2)), command_SA])
    rate, jerk = np.multiply(LIMITS.rate, PERIOD_S), np.multiply(LIMITS.jerk, PERIOD_S**2)
    slack = 1e-5
    return {
        "range": int(((sent < np.array(LIMITS.low) - slack) | (sent > np.array(LIMITS.high) + slack)).sum()),
        "acceleration": int((np.abs(np.diff(sent, axis=0)) > rate + slack).sum()),
        "jerk": int((np.abs(np.diff(sent, 2, axis=0)) > jerk + slack).sum()),
    }


def summary(route: Route, made: Rounds, runner: Runner) -> dict[str, Any]:
    """Return the figures of some rounds."""
    return {
        "seed": route.seed,
        "rounds": round(made.way_m / route.length_m, 2),
        "off_max_m": round(max(made.off_m), 3),
        "off_p95_m": round(float(np.percentile(made.off_m, 95)), 3),
        "contacts": made.contacts,
        "broken": broken_limits(np.array(made.command)),
        "injected": made.faults,
        "starved_steps": runner.starved,
        "simulated_s": round(len(made.command) * PERIOD_S, 1),
    }


def evaluate(options: argparse.Namespace) -> dict[str, Any]:
    """Return all figures."""
    found: dict[str, Any] = {"late": {how: late(how, options.seconds, options.seed) for how in COMBINATIONS}}
    makers: dict[str, Callable[..., Runner]] = {
        "core": CoreRunner, "core, not getting free": partial(CoreRunner, gets_free=False),
        "core, poses as measured": partial(CoreRunner, drift_m=0.0), "node": NodeRunner,
    }  # fmt: skip
    look: Look = Encoder(load_artifact(options.artifact)).encode if options.artifact else blind
    for name in options.runners:
        found[name] = []
        for seed in options.buildings:
            route = teach(seed, look, **({"pose_noise": EXACT} if options.exact else {}))
            runner = makers[name](route, LATENCY_S, JITTER, options.seed)
            try:
                made = drive(
                    route, runner, options.rounds, exact=options.exact, every_s=options.every,
                    seed=ANOTHER_RUN + options.seed + seed, look=look,
                )  # fmt: skip
                found[name].append(summary(route, made, runner))
            finally:
                runner.close()
    found["config"] = {
        "rate_hz": round(1.0 / PERIOD_S), "latency_s": LATENCY_S, "jitter": JITTER, "disagreement": DISAGREEMENT,
        "exact_poses": options.exact, "every_s": options.every, "seed": options.seed,
        "artifact": options.artifact,
    }  # fmt: skip
    return found


def main() -> None:
    """Measure and print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="of late inference, for each way of combining")
    parser.add_argument("--buildings", type=int, nargs="*", default=[4, 6, 8], help="seeds of the buildings")
    parser.add_argument("--rounds", type=float, default=10.0, help="of each building")
    parser.add_argument("--runners", nargs="*", choices=RUNNERS, default=["core", "node"])
    parser.add_argument("--every", type=float, default=12.0, help="time between two faults [s]")
    parser.add_argument(
        "--noise", dest="exact", action="store_false", help="poses err as in a usual run; default: exact"
    )
    parser.add_argument("--artifact", default="artifact://tiny", help="sees what is driven by; empty: nothing does")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = evaluate(options)
    print(json.dumps(found, indent=2))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
