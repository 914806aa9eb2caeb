"""Rounds of a taught route through the nodes themselves, with inference failing and stops injected.

The simulated robot drives a lap by itself while ``latent_publisher`` and ``spatial_memory`` listen; then it is driven
by ``policy_runner``, by the poses that it publishes: noisy, late, at their rate. Judged by where it truly was. All of
them follow the robot's ``/clock``, which waits for them, or real time with ``--time-scale 0``. What is known is told
each round, and written when the time is over or somebody interrupts.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Float32MultiArray

from benchmarks.execution import AFTER_STOP_S, faults
from benchmarks.figures import machine
from benchmarks.taught import TAUGHT, Lap, Route, lap_seed, ring_length_m
from benchmarks.taught_clock import Allowed, Together
from benchmarks.taught_driven import Driven, Inference, Late, Truth
from latent_publisher.node import LatentPublisher
from policy_runner.drift import Known
from policy_runner.node import PolicyRunner
from policy_runner.policies import Memories
from spatial_memory.node import SpatialMemory
from wm_interfaces.action import ExecutePolicy
from wm_interfaces.msg import LatentState
from wm_ros import own_domain_id, qos, stamp_ns
from wm_ros.goal_client import GoalClient
from wm_sim import make_building
from wm_sim_ros.node import POSE, SimulatedRobot
from wm_testing.spinning import Spinning

_START_S, _ANOTHER_RUN, _LOOK_S = 60.0, 1000, 0.02
# Where the time is slow, so is inference that waits for it: giving it up is not what is measured.
_PATIENCE_S = 300.0
_STILL = dict.fromkeys(
    ("daylight_swing", "lamp_std", "lamp_switch_interval_s", "move_interval_s", "image_noise_std"), 0.0
) | {"walker_count": 0}
_ERRORS = ("pose_position_std_m", "pose_yaw_std_rad", "pose_drift_std_m", "pose_drift_std_rad")
_SIZE = {"width": 64, "height": 64}


def _robot(
    seed: int, building: int, driven_by: str, given: dict[str, Any], together: Together
) -> tuple[SimulatedRobot, Truth]:
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
    node = SimulatedRobot(on_sent=note, on_tick=together.hold, parameter_overrides=overrides)
    return node, truth


class UnfinishedError(Exception):
    """It had to end before there was anything to tell; the text says why."""


class Bench:
    """The graph in this process, and a peer that hands states on and hears commands.

    Args:
        artifact: Of the encoder.
        robot: Parameters of the robot that differ from the usual.
        patience_s: Longest that the robot's clock waits for the nodes [real s].
        allowed: How long all may take.
    """

    def __init__(self, artifact: str, robot: dict[str, Any], patience_s: float, allowed: Allowed) -> None:
        # Signals are for who measures: what there is by then is still to be told.
        rclpy.init(args=[], domain_id=own_domain_id(), signal_handler_options=SignalHandlerOptions.NO)
        self._robot_given, self._patience_s, self._allowed = robot, patience_s, allowed
        self._follows = [Parameter("use_sim_time", value=robot["time_scale"] > 0.0)]
        self._memory = SpatialMemory(parameter_overrides=[Parameter("db_path", value=":memory:"), *self._follows])
        self._publisher = LatentPublisher(parameter_overrides=[Parameter("model_path", value=artifact), *self._follows])
        self._peer, self._is_stopped = Node("bench_taught", parameter_overrides=self._follows), False
        self.together = Together(patience_s)
        self._onward = self._peer.create_publisher(LatentState, "bench/state", qos.STREAM)
        self._peer.create_subscription(LatentState, "latent/state", self._hand_on, qos.STREAM)
        self._commands: list[np.ndarray] = []
        self._peer.create_subscription(Float32MultiArray, "actions", self._hear, qos.INPUT)
        self._spinning = Spinning(longest_s=_START_S)
        self._nodes: list[Node] = [self._memory, self._publisher, self._peer]
        self._spinning.start(self._nodes)

    def now_s(self) -> float:
        """Return the present, of the clock that all follow [s]."""
        return float(self._peer.get_clock().now().nanoseconds) * 1e-9

    def _hand_on(self, msg: LatentState) -> None:
        self.together.state(stamp_ns(msg.header.stamp))
        if not self._is_stopped:
            self._onward.publish(msg)

    def _hear(self, msg: Float32MultiArray) -> None:
        self.together.command()
        self._commands.append(np.array(msg.data, float))

    def teach(self, building: int) -> Route:
        """Return the way of a lap that the robot drove by itself.

        Raises:
            UnfinishedError: The time was over before.
        """
        length_m = ring_length_m(make_building(building))
        seed = lap_seed(building)
        self._begin_clock(*self._nodes, is_commanded=False)
        # No faster than real time: what is driven begins by that, and not before the lap has ended.
        given = self._robot_given | {"time_scale": min(1.0, self._robot_given["time_scale"])}
        robot, truth = _robot(seed, building, "path", given, self.together)
        self._spinning.executor.add_node(robot)
        lap, seen = Lap(length_m), 0
        try:
            while True:
                fresh = truth.pose[seen:]
                seen += len(fresh)
                if any([lap.is_closed(pose) for pose in fresh]):
                    break
                self._go_on(_LOOK_S)
        finally:
            self._leave(robot)
        nothing = Memories(np.empty(0, int), np.empty(0, int), np.empty((0, 3)), np.empty((0, 2)))
        return Route(building, nothing, np.array(truth.pose), length_m)

    def _begin_clock(self, *nodes: Node, is_commanded: bool, is_thinking: Callable[[], bool] = lambda: False) -> None:
        present = [lambda node=node: int(node.get_clock().now().nanoseconds) for node in nodes]
        self.together.begin(present, is_commanded=is_commanded, is_thinking=is_thinking)

    def _go_on(self, wait_s: float) -> None:
        """Wait for a moment.

        Raises:
            UnfinishedError: The time is over.
        """
        if why := self._allowed.why_over:
            raise UnfinishedError(why)
        assert not self._spinning.future.done(), self._spinning.future.result()
        threading.Event().wait(wait_s)

    def drive(
        self,
        route: Route,
        inference: Inference,
        rounds: float,
        every_s: float,
        seed: int,
        tell: Callable[[Driven], None],
    ) -> Driven:
        """Return what rounds of a taught route were like.

        Args:
            route: What was taught.
            inference: Of the policy.
            rounds: How many.
            every_s: Time between two faults [s].
            seed: Of faults and of how poses err.
            tell: Called with each whole round.
        """
        known = Known()
        runner = PolicyRunner(
            lambda: Late(inference, known), self._memory.window_source,
            parameter_overrides=[
                Parameter("shadow", value=False), Parameter("patience_s", value=_PATIENCE_S), *self._follows
            ],
            cli_args=["--ros-args", "-r", "latent/state:=bench/state"],
        )  # fmt: skip
        self._commands.clear()
        self._spinning.executor.add_node(runner)
        self._begin_clock(*self._nodes, runner, is_commanded=True, is_thinking=lambda: inference.is_thinking(runner))
        robot, truth = _robot(_ANOTHER_RUN + seed, route.seed, "actions", self._robot_given, self.together)
        self._spinning.executor.add_node(robot)
        client: Any = GoalClient(self._peer, ExecutePolicy, "policy_runner/execute")
        driven = Driven(route, truth, self._commands, runner)
        try:
            self._spinning.until(lambda: client.server_is_ready() and len(truth.pose) > 10)
            handle = self._spinning.wait(client.send_goal_async(ExecutePolicy.Goal(time_limit_s=1e6)))
            result = handle.get_result_async()
            self._watch(driven, inference, rounds, every_s, seed, tell, result)
            self._begin_clock(*self._nodes, runner, is_commanded=False)
            if not result.done():
                self._spinning.wait(handle.cancel_goal_async())
            driven.goal = self._spinning.wait(result).result.name
        finally:
            inference.suffer(None)
            client.destroy()
            self._leave(robot)
            self._leave(runner)
        return driven

    def _watch(
        self, driven: Driven, inference: Inference, rounds: float, every_s: float, seed: int,
        tell: Callable[[Driven], None], result: Any,
    ) -> None:  # fmt: skip
        made, route, ahead = driven.made, driven.route, faults(np.random.default_rng(seed), every_s)
        fault, began_s, calm_from_s, told = next(ahead), self.now_s(), 0.0, 0
        longest_s = 3.0 * rounds * route.length_m
        while driven.rounds < rounds:
            now_s = driven.robot_s = self.now_s() - began_s
            if now_s >= longest_s:
                driven.ended = "the robot took three times as long as it should"
                return
            if result.done():
                driven.ended = "the goal ended"
                return
            try:
                self._go_on(_LOOK_S)
            except UnfinishedError as error:
                driven.ended = str(error)
                return
            if now_s >= fault.end_s:
                made.faults[fault.kind] = made.faults.get(fault.kind, 0) + 1
                fault = next(ahead)
            active = fault if now_s >= fault.begin_s else None
            inference.suffer(active)
            self._is_stopped = active is not None and active.kind == "stopped"
            calm_from_s = now_s + AFTER_STOP_S if self._is_stopped else calm_from_s
            driven.judge(is_calm=now_s >= calm_from_s)
            if int(driven.rounds) > told:
                told = int(driven.rounds)
                tell(driven)
        driven.ended = "driven"

    def _leave(self, node: Node) -> None:
        self._is_stopped = False
        self._spinning.executor.remove_node(node)
        node.destroy_node()

    def close(self) -> None:
        """End the graph."""
        self._spinning.close()
        for node in self._nodes:
            node.destroy_node()
        rclpy.try_shutdown()


def measure(
    building: int, options: argparse.Namespace, robot: dict[str, Any], allowed: Allowed, write: Callable[[Any], None]
) -> dict[str, Any]:
    """Return the figures of one building; those of each round are told and written when it is over."""
    bench, began_s = Bench(options.artifact, robot, options.patience, allowed), monotonic()

    def found(driven: Driven) -> dict[str, Any]:
        waits = {"clock_held_s": round(bench.together.held_s, 1), "held_in_vain": bench.together.in_vain}
        return {"building": building, **driven.figures(), **waits, "took_s": round(monotonic() - began_s, 1)}

    def tell(driven: Driven) -> None:
        say(f"building {building}: {driven.words} after {monotonic() - began_s:.0f} s")
        write(found(driven))

    try:
        route = bench.teach(building)
        say(f"building {building}: a lap of {route.length_m:.0f} m taught after {monotonic() - began_s:.0f} s")
        inference = Inference(options.latency, options.jitter, options.seed, bench.now_s)
        return found(bench.drive(route, inference, options.rounds, options.every, options.seed + building, tell))
    except UnfinishedError as error:
        return {"building": building, "rounds": 0.0, "ended": f"no lap: {error}"}
    finally:
        bench.close()


def say(text: str) -> None:
    """Tell how it goes, beside what is found."""
    print(text, file=sys.stderr, flush=True)


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
        "--time-scale",
        type=float,
        default=1.0,
        help="times as fast as real time, at most (the lap: 1); 0: real time, no /clock",
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=20.0,
        help="longest that /clock waits for the nodes each time [s]; 0: it does not",
    )
    parser.add_argument("--minutes", type=float, default=30.0, help="of real time for each building")
    parser.add_argument("--exact", action="store_true", help="poses err by their latency alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    robot = {
        "pose_rate_hz": options.pose_rate, "pose_latency_s": options.pose_latency, "time_scale": options.time_scale,
    }  # fmt: skip
    if options.exact:
        robot |= dict.fromkeys(_ERRORS, 0.0)
    given, done = {name: value for name, value in vars(options).items() if name != "json"}, list[dict[str, Any]]()

    def write(newest: dict[str, Any]) -> None:
        if options.json:
            found = {"buildings": [*done, newest], "config": given, "machine": machine()}
            options.json.write_text(json.dumps(found, indent=1) + "\n")

    for building in options.buildings:
        allowed = Allowed(options.minutes)
        with allowed.listening():
            newest = measure(building, options, robot, allowed, write)
        print(json.dumps(newest), flush=True)
        write(newest)
        done.append(newest)
        if allowed.is_interrupted:
            return


if __name__ == "__main__":
    main()
