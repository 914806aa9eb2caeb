"""Rounds of a taught route through the nodes themselves, with inference failing and stops injected.

The simulated robot drives a lap by itself while ``latent_publisher`` and ``spatial_memory`` listen; then it is driven
by ``policy_runner``, by the poses that it publishes: noisy, late, at their rate. Judged by where it truly was. All of
them follow the robot's ``/clock``, or real time with ``--time-scale 0``.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import rclpy
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_msgs.msg import Float32MultiArray

from benchmarks.execution import AFTER_STOP_S, Rounds, broken_limits, faults
from benchmarks.execution_runner import Fault, nearest_drive
from benchmarks.figures import machine
from benchmarks.taught import LONGEST_LAPS, TAUGHT, Lap, Route, lap_seed, ring_length_m
from latent_publisher.node import LatentPublisher
from policy_runner.chunks import Chunk
from policy_runner.drift import Known
from policy_runner.nearest_drive import NearestDrive
from policy_runner.node import PolicyRunner
from policy_runner.policies import Memories, Observation
from spatial_memory.node import SpatialMemory
from wm_interfaces.action import ExecutePolicy
from wm_interfaces.msg import LatentState
from wm_ros import own_domain_id, qos
from wm_sim import make_building
from wm_sim_ros.node import POSE, SimulatedRobot
from wm_testing.spinning import Spinning

_DELAYED, _START_S, _ANOTHER_RUN, _LOOK_S, _GLANCE_S = 3.0, 60.0, 1000, 0.02, 0.002
# A machine that is so much too slow makes the time so much slower.
_SLOWEST = 0.1
_STILL = dict.fromkeys(
    ("daylight_swing", "lamp_std", "lamp_switch_interval_s", "move_interval_s", "image_noise_std"), 0.0
) | {"walker_count": 0}
_ERRORS = ("pose_position_std_m", "pose_yaw_std_rad", "pose_drift_std_m", "pose_drift_std_rad")
_SIZE = {"width": 64, "height": 64}


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

    def suffer(self, fault: Fault | None) -> None:
        """Let something go wrong with it from now on; None: nothing."""
        self._fault = fault.kind if fault is not None else ""
        (self._dead.set if self._fault in ("killed", "restarted") else self._dead.clear)()

    def wait(self) -> None:
        """Take as long as inference does.

        Raises:
            KilledError: It was killed meanwhile.
        """
        latency_s, jitter = self._latency
        slower = _DELAYED if self._fault == "delayed" else 1.0
        due_s = self._now_s() + slower * latency_s * self._rng.uniform(1.0 - jitter, 1.0 + jitter)
        while (left_s := due_s - self._now_s()) > 0.0:
            if self._dead.wait(min(left_s, _GLANCE_S)):
                raise KilledError("killed")


class _Late:
    takes = NearestDrive.takes

    def __init__(self, inference: Inference, known: Known) -> None:
        self._policy, self._inference = nearest_drive(known=known), inference
        self.action_dim, self.step_s = self._policy.action_dim, self._policy.step_s

    def act(self, observation: Observation) -> Chunk:
        chunk = self._policy.act(observation)
        self._inference.wait()
        return chunk


@dataclass
class Truth:
    """Where a robot truly was, and how often it touched something."""

    pose: list[tuple[float, float, float]] = field(default_factory=list)
    contacts: int = 0


def _robot(seed: int, building: int, driven_by: str, given: dict[str, Any]) -> tuple[SimulatedRobot, Truth]:
    truth = Truth()
    values = {
        "seed": seed, "building_seed": building, "driven_by": driven_by, "detour_probability": 0.0,
        "speed_m_s": TAUGHT.speed_m_s, "wait_for_camera_subscriber": True, **_STILL, **_SIZE, **given,
    }  # fmt: skip

    def note(topic: str, *_: int) -> None:
        # Called from the thread that drives, so what is read is of one moment.
        if topic == POSE:
            run = node._timeline._simulation.robot
            truth.pose.append(run.pose_at(run.time_s))
            truth.contacts = run.contact_count

    overrides = [Parameter(name, value=value) for name, value in values.items()]
    node = SimulatedRobot(on_sent=note, parameter_overrides=overrides)
    return node, truth


class Bench:
    """The graph in this process, and a peer that hands states on and hears commands.

    Args:
        artifact: Of the encoder.
        robot: Parameters of the robot that differ from the usual.
    """

    def __init__(self, artifact: str, robot: dict[str, Any]) -> None:
        rclpy.init(args=[], domain_id=own_domain_id())
        self._robot_given = robot
        self._follows = [Parameter("use_sim_time", value=robot["time_scale"] > 0.0)]
        self._memory = SpatialMemory(parameter_overrides=[Parameter("db_path", value=":memory:"), *self._follows])
        self._publisher = LatentPublisher(parameter_overrides=[Parameter("model_path", value=artifact), *self._follows])
        self._peer, self._is_stopped = Node("bench_taught", parameter_overrides=self._follows), False
        states = self._peer.create_publisher(LatentState, "bench/state", qos.STREAM)
        hand_on = lambda msg: None if self._is_stopped else states.publish(msg)  # noqa: E731
        self._peer.create_subscription(LatentState, "latent/state", hand_on, qos.STREAM)
        self._commands: list[np.ndarray] = []
        self._peer.create_subscription(Float32MultiArray, "actions", self._hear, qos.INPUT)
        self._spinning = Spinning(threads=2)
        self._nodes: list[Node] = [self._memory, self._publisher, self._peer]
        self._spinning.start(self._nodes)

    def now_s(self) -> float:
        """Return the present, of the clock that all follow [s]."""
        return float(self._peer.get_clock().now().nanoseconds) * 1e-9

    def _hear(self, msg: Float32MultiArray) -> None:
        self._commands.append(np.array(msg.data, float))

    def teach(self, building: int) -> Route:
        """Return the way of a lap that the robot drove by itself."""
        length_m = ring_length_m(make_building(building))
        robot, truth = _robot(lap_seed(building), building, "path", self._robot_given)
        self._spinning.executor.add_node(robot)
        slowest = min(self._robot_given["time_scale"], _SLOWEST) or 1.0
        self._spinning._longest_s = _START_S + LONGEST_LAPS * length_m / TAUGHT.speed_m_s / slowest
        lap, seen = Lap(length_m), 0

        def is_closed() -> bool:
            nonlocal seen
            fresh = truth.pose[seen:]
            seen += len(fresh)
            return any([lap.is_closed(pose) for pose in fresh])

        self._spinning.until(is_closed)
        self._leave(robot)
        nothing = Memories(np.empty(0, int), np.empty(0, int), np.empty((0, 3)), np.empty((0, 2)))
        return Route(building, nothing, np.array(truth.pose), length_m)

    def drive(
        self, route: Route, inference: Inference, rounds: float, every_s: float, seed: int
    ) -> tuple[Rounds, PolicyRunner]:
        """Return what rounds of a taught route were like, and the node that drove."""
        known = Known()
        runner = PolicyRunner(
            lambda: _Late(inference, known), self._memory.window_source,
            parameter_overrides=[Parameter("shadow", value=False), *self._follows],
            cli_args=["--ros-args", "-r", "latent/state:=bench/state"],
        )  # fmt: skip
        self._commands.clear()
        self._spinning.executor.add_node(runner)
        robot, truth = _robot(_ANOTHER_RUN + seed, route.seed, "actions", self._robot_given)
        self._spinning.executor.add_node(robot)
        client: Any = ActionClient(self._peer, ExecutePolicy, "policy_runner/execute")
        self._spinning.until(lambda: client.server_is_ready() and len(truth.pose) > 10)
        handle = self._spinning.wait(client.send_goal_async(ExecutePolicy.Goal(time_limit_s=1e6)))
        made = self._watch(route, truth, inference, rounds, every_s, seed)
        self._spinning.wait(handle.cancel_goal_async())
        self._spinning.wait(handle.get_result_async())
        made.command, made.contacts = list(self._commands), truth.contacts
        client.destroy()
        self._leave(robot)
        self._leave(runner)
        return made, runner

    def _watch(
        self, route: Route, truth: Truth, inference: Inference, rounds: float, every_s: float, seed: int
    ) -> Rounds:
        made, ahead = Rounds(), faults(np.random.default_rng(seed), every_s)
        fault, began_s, judged, calm_from_s = next(ahead), self.now_s(), 0, 0.0
        longest_s = 3.0 * rounds * route.length_m
        pause = threading.Event()
        while made.way_m < rounds * route.length_m and (now_s := self.now_s() - began_s) < longest_s:
            pause.wait(_LOOK_S)
            if now_s >= fault.end_s:
                made.faults[fault.kind] = made.faults.get(fault.kind, 0) + 1
                fault = next(ahead)
            active = fault if now_s >= fault.begin_s else None
            inference.suffer(active)
            self._is_stopped = active is not None and active.kind == "stopped"
            calm_from_s = now_s + AFTER_STOP_S if self._is_stopped else calm_from_s
            for number in range(max(judged, 1), len(truth.pose)):
                here, before = truth.pose[number], truth.pose[number - 1]
                made.way_m += float(np.hypot(here[0] - before[0], here[1] - before[1]))
                if now_s >= calm_from_s:
                    made.off_m.append(route.off_m(here))
                judged = number + 1
        inference.suffer(None)
        self._is_stopped = False
        return made

    def _leave(self, node: Node) -> None:
        self._spinning.executor.remove_node(node)
        node.destroy_node()

    def close(self) -> None:
        """End the graph."""
        self._spinning.close()
        for node in self._nodes:
            node.destroy_node()
        rclpy.try_shutdown()


def measure(building: int, options: argparse.Namespace, robot: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of one building."""
    bench = Bench(options.artifact, robot)
    try:
        began_s = monotonic()
        route = bench.teach(building)
        made, runner = bench.drive(
            route, Inference(options.latency, options.jitter, options.seed, bench.now_s), options.rounds,
            options.every, options.seed + building,
        )  # fmt: skip
        health = runner._health
        return {
            "building": building,
            "rounds": round(made.way_m / route.length_m, 2),
            "off_max_m": round(max(made.off_m), 3),
            "off_p99_m": round(float(np.percentile(made.off_m, 99)), 3),
            "off_p95_m": round(float(np.percentile(made.off_m, 95)), 3),
            "contacts": made.contacts,
            "broken": broken_limits(np.array(made.command)),
            "commands": len(made.command),
            "injected": made.faults,
            "starved_steps": health.counted("starved_steps"),
            "policy_errors": health.counted("policy_errors"),
            "took_s": round(monotonic() - began_s, 1),
        }
    finally:
        bench.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print, and write where asked."""
    parser = argparse.ArgumentParser(prog="scripts/bench taught_nodes", description=__doc__.split("\n")[0])
    parser.add_argument("--artifact", default=os.environ.get("WM_CHECKPOINT_PATH", "artifact://tiny"))
    parser.add_argument("--buildings", type=int, nargs="+", default=[4, 6, 8])
    parser.add_argument("--rounds", type=float, default=10.0)
    parser.add_argument("--every", type=float, default=12.0, help="time between two faults [s]")
    parser.add_argument("--latency", type=float, default=0.3, help="of inference [s]")
    parser.add_argument("--jitter", type=float, default=0.2, help="share by which that differs")
    parser.add_argument("--pose-rate", type=float, default=20.0, help="[Hz]")
    parser.add_argument("--pose-latency", type=float, default=0.03, help="[s]")
    parser.add_argument(
        "--time-scale", type=float, default=1.0, help="times as fast as real time, at most; 0: real time, no /clock"
    )
    parser.add_argument("--exact", action="store_true", help="poses err by their latency alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    robot = {
        "pose_rate_hz": options.pose_rate, "pose_latency_s": options.pose_latency, "time_scale": options.time_scale,
    }  # fmt: skip
    if options.exact:
        robot |= dict.fromkeys(_ERRORS, 0.0)
    found: dict[str, Any] = {"buildings": []}
    for building in options.buildings:
        found["buildings"].append(measure(building, options, robot))
        print(json.dumps(found["buildings"][-1]), flush=True)
        given = {name: value for name, value in vars(options).items() if name != "json"}
        if options.json:
            options.json.write_text(json.dumps(found | {"config": given, "machine": machine()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
