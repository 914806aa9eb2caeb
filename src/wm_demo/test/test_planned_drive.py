"""The simulated robot driven by the planner over ground that the memory knows: there, stopped on the way, and alone."""

from __future__ import annotations

import math
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import Point32, PolygonStamped, PoseStamped
from rclpy.node import Node
from rclpy.task import Future
from std_msgs.msg import Float32MultiArray

from wm_bringup.configuration import shipped_file
from wm_core.se3 import quaternion_of, yaw_of
from wm_demo.graph import executable
from wm_interfaces.action import Plan
from wm_interfaces.msg import MemoryRecord
from wm_interfaces.srv import InsertMemory
from wm_ros import floats, pose_from_msg, pose_to_msg, qos, stamp_msg
from wm_ros.goal_client import GoalClient
from wm_sim import STILL, make_building, make_task, simulate
from wm_testing.system import listening, wait_until
from world_model.runtime.artifacts import load_artifact

pytestmark = pytest.mark.slow

BUILDING, TASK = 1, 1003
START_S, DRIVE_S = 120.0, 90.0
TINY = ("-p", "model_path:=artifact://tiny")
ROBOT = {
    "driven_by": "actions", "task": "reach_image", "seed": TASK, "building_seed": BUILDING, "walker_count": 0,
    "wait_for_camera_subscriber": "true",
}  # fmt: skip
# What else a busy machine does must not look like inputs that stay away.
PLANNER = {"drive": "true", "input_timeout_s": 10.0, "memory_timeout_s": 6.0, "window_period_s": 0.2}


class Robot:
    """What the robot does, and who asks it to go somewhere; spun elsewhere."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.poses: list[PoseStamped] = []
        self.commands: list[tuple[float, ...]] = []
        self.client = GoalClient(node, Plan, "/latent_planner/plan")
        node.create_subscription(PoseStamped, "/pose", self.poses.append, qos.INPUT)
        node.create_subscription(Float32MultiArray, "/actions", lambda msg: self.commands.append(tuple(msg.data)), 50)

    def remember(self, pose_N3: np.ndarray) -> None:
        """Puts poses into the memory as if one drive had led through them."""
        insert = self.node.create_client(InsertMemory, "/spatial_memory/insert")
        wait_until(insert.service_is_ready, START_S)
        encoder_id = load_artifact("artifact://tiny").manifest.encoder_id
        look_ND = looks_of(pose_N3)
        request = InsertMemory.Request()
        for at, ((x, y, yaw), look_D) in enumerate(zip(pose_N3.tolist(), look_ND)):
            record = MemoryRecord(session="lap", encoder_id=encoder_id, frame_id="map", latent=floats(look_D))
            record.stamp, record.action = stamp_msg((1000 + at) * 10**9), floats([1.0, 0.0])
            record.previous_action = record.action
            pose = pose_to_msg((x, y, 0.0), quaternion_of(yaw))
            record.position, record.orientation = pose.position, pose.orientation
            request.records.append(record)
        assert self.wait(insert.call_async(request)).success

    def wait(self, future: Future, timeout_s: float = 60.0) -> Any:
        wait_until(future.done, timeout_s)
        return future.result()

    def send(self, goal_3: np.ndarray) -> Any:
        goal = Plan.Goal(pose=PoseStamped(pose=pose_to_msg((*goal_3[:2], 0.0), quaternion_of(goal_3[2]))))
        goal.pose.header.frame_id = "map"
        return self.ask(goal)

    def ask(self, goal: Plan.Goal) -> Any:
        handle = self.wait(self.client.send_goal_async(goal))
        assert handle.accepted
        return handle

    def wait_for_motion(self) -> None:
        before = len(self.commands)
        wait_until(lambda: any(speed > 0.2 for speed, _ in self.commands[before:]))

    def is_told_to_stand(self) -> bool:
        return bool(self.commands) and not any(self.commands[-1])

    def pose_3(self) -> np.ndarray:
        position, quaternion = pose_from_msg(self.poses[-1].pose)
        return np.array([position[0], position[1], yaw_of(quaternion)])


def looks_of(pose_N3: np.ndarray) -> np.ndarray:
    """Latents, each like nothing else."""
    return np.random.default_rng(0).normal(size=(len(pose_N3), 32))


def region_around(pose_3: np.ndarray, side_m: float) -> PolygonStamped:
    region = PolygonStamped()
    region.header.frame_id = "map"
    for along, across in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)):
        region.polygon.points.append(Point32(x=pose_3[0] + along * side_m, y=pose_3[1] + across * side_m))
    return region


def drive_on(robot: Robot, lap_N3: np.ndarray, begin: int) -> int:
    """Drives to a region, a memory and a latent, one after the other; returns at which pose of the lap that ends."""
    at = [(begin + far) % len(lap_N3) for far in (10, 20, 30)]
    goals = [
        Plan.Goal(region=region_around(lap_N3[at[0]], 0.8)),
        Plan.Goal(memory_id=at[1] + 1),
        Plan.Goal(latent=floats(looks_of(lap_N3)[at[2]])),
    ]
    for goal, pose_3 in zip(goals, lap_N3[at]):
        result = robot.wait(robot.ask(goal).get_result_async(), DRIVE_S).result
        assert result.name == "REACHED", (goal.memory_id, result.message)
        # Anywhere in the region, and so far from it as counts as there.
        off_m = 0.4 * math.sqrt(2.0) + 0.5 if len(goal.region.polygon.points) else 0.5
        assert math.dist(robot.pose_3()[:2], pose_3[:2]) < off_m
        wait_until(robot.is_told_to_stand)
    return at[-1]


@pytest.fixture
def processes() -> Iterator[dict[str, subprocess.Popen]]:
    """The memory, the encoder, the planner and the robot, each a process of its own."""
    nodes = {
        "spatial_memory": [*TINY, "-p", "db_path:=planned_drive"],
        "latent_publisher": [*TINY],
        "latent_planner": [*TINY, *(word for name, value in PLANNER.items() for word in ("-p", f"{name}:={value}"))],
    }
    commands = {
        name: [*executable(name, f"{name}_node"), "--ros-args", "--params-file", str(shipped_file(name)), *given]
        for name, given in nodes.items()
    }
    robot = [word for name, value in ROBOT.items() for word in ("-p", f"{name}:={value}")]
    commands["wm_sim"] = [*executable("wm_sim_ros", "wm_sim_node"), "--ros-args", *robot]
    running = {name: subprocess.Popen(command) for name, command in commands.items()}
    yield running
    for process in running.values():
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    for process in running.values():
        process.wait(30.0)


def test_a_robot_is_driven_stopped_and_never_left_alone(processes: dict[str, subprocess.Popen]):
    lap_N3 = np.array([step.pose for step in simulate(BUILDING, 45.0, image_size=(8, 8), changes=STILL)])[::4]
    start_3 = np.array(make_task("reach_image", make_building(BUILDING), TASK).start)
    nearest = int(np.hypot(*(lap_N3[:, :2] - start_3[:2]).T).argmin())
    goal_3 = lap_N3[(nearest + 12) % len(lap_N3)]
    with listening({}) as (node, _):
        robot = Robot(node)
        robot.remember(lap_N3)
        wait_until(lambda: bool(robot.poses) and robot.client.server_is_ready(), START_S)

        reached = robot.wait(robot.send(goal_3).get_result_async(), DRIVE_S)
        assert reached.result.name == "REACHED", reached.result.message
        assert math.dist(robot.pose_3()[:2], goal_3[:2]) < 0.5
        assert abs(math.remainder(robot.pose_3()[2] - goal_3[2], 2 * math.pi)) < math.radians(30.0)
        wait_until(robot.is_told_to_stand)

        far_3 = lap_N3[(drive_on(robot, lap_N3, nearest + 12) + 48) % len(lap_N3)]
        handle = robot.send(far_3)
        robot.wait_for_motion()
        robot.wait(handle.cancel_goal_async())
        answered = len(robot.commands)
        assert robot.wait(handle.get_result_async()).result.name == "CANCELLED"
        wait_until(lambda: len(robot.commands) > answered or robot.is_told_to_stand())
        # One command may have been under way when the cancel came.
        assert sum(any(command) for command in robot.commands[answered:]) <= 1
        assert robot.is_told_to_stand()

        handle = robot.send(far_3)
        robot.wait_for_motion()
        processes["spatial_memory"].kill()
        lost = robot.wait(handle.get_result_async(), DRIVE_S)
        assert lost.result.name == "MEMORY_LOST", lost.result.message
        wait_until(robot.is_told_to_stand)
