"""The node in process, heard through its topics."""

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import Float32MultiArray

from wm_core.se3 import yaw_of
from wm_ros import ParameterError, image_from_msg, qos, stamp_ns
from wm_sim import EXACT, STILL, Simulation, make_building, make_task, simulate
from wm_sim_ros.node import ACTIONS, CAMERA, POSE, SimulatedRobot
from wm_sim_ros.params import WmSimParams
from wm_testing.nodes import ros_context, spin_until  # noqa: F401

pytestmark = pytest.mark.usefixtures("ros_context")
QUIET = {
    **{name: 0.0 for name in ("daylight_swing", "lamp_std", "lamp_switch_interval_s", "move_interval_s")},
    **{"walker_count": 0, "image_noise_std": 0.0, "pose_position_std_m": 0.0, "pose_yaw_std_rad": 0.0},
    **{"pose_drift_std_m": 0.0, "pose_drift_std_rad": 0.0, "pose_latency_s": 0.0, "pose_latency_jitter_s": 0.0},
}


def robot(**values):
    sent, ends = [], []
    node = SimulatedRobot(
        on_sent=lambda *what: sent.append(what),
        on_finished=lambda: ends.append(True),
        parameter_overrides=[Parameter(name, value=value) for name, value in values.items()],
    )
    return node, sent, ends


class Listener:
    def __init__(self, name="listener"):
        self.node = Node(name)
        self.got = {topic: [] for topic in (CAMERA, POSE, ACTIONS, "camera/depth/image_raw", "proprioception")}
        kinds = (Image, PoseStamped, Float32MultiArray, Image, Float32MultiArray)
        for (topic, into), kind in zip(self.got.items(), kinds):
            self.node.create_subscription(kind, topic, into.append, qos.STREAM)


@pytest.mark.slow
def test_topics_carry_the_run_and_the_node_ends_by_itself():
    listener = Listener()
    node, sent, ends = robot(
        **QUIET, seed=3, width=32, height=24, duration_s=1.0, depth=True, proprioception=True,
        wait_for_camera_subscriber=True,
    )  # fmt: skip
    try:
        spin_until(lambda: bool(ends), node, listener.node)
        assert node.finished
        assert node.frames_sent == 20
        spin_until(lambda: len(listener.got[CAMERA]) >= 15, listener.node)
        steps = {round(s.stamp_s, 6): s for s in simulate(3, 1.0, image_size=(24, 32), changes=STILL, pose_noise=EXACT)}
        first_ns = min(stamp for topic, stamp, _ in sent if topic == CAMERA)
        for msg in listener.got[CAMERA]:
            assert msg.header.frame_id == "camera"
            step = steps[round((stamp_ns(msg.header.stamp) - first_ns) * 1e-9, 6)]
            assert np.array_equal(image_from_msg(msg), step.image_HWC)
        for msg in listener.got[POSE]:
            assert msg.header.frame_id == "map"
            step = steps[round((stamp_ns(msg.header.stamp) - first_ns) * 1e-9, 6)]
            turn = msg.pose.orientation
            yaw = yaw_of((turn.x, turn.y, turn.z, turn.w))
            assert (msg.pose.position.x, msg.pose.position.y, yaw) == pytest.approx(step.true_pose)
        assert all(len(msg.data) == 2 for msg in listener.got[ACTIONS] + listener.got["proprioception"])
        assert listener.got["proprioception"]
        assert all(msg.encoding == "32FC1" for msg in listener.got["camera/depth/image_raw"])
    finally:
        node.destroy_node()
        listener.node.destroy_node()


@pytest.mark.slow
def test_every_message_is_reported_with_its_stamp_on_schedule():
    node, sent, ends = robot(**QUIET, width=16, height=16, rate_hz=50.0, pose_rate_hz=20.0, duration_s=1.0)
    try:
        spin_until(lambda: bool(ends), node)
    finally:
        node.destroy_node()
    stamps = {topic: np.array([stamp for name, stamp, _ in sent if name == topic]) for topic in (CAMERA, POSE, ACTIONS)}
    assert {topic: len(found) for topic, found in stamps.items()} == {CAMERA: 50, POSE: 20, ACTIONS: 20}
    assert np.diff(stamps[CAMERA]) == pytest.approx(20_000_000, abs=1)
    steady = np.array([at for _, _, at in sent])
    assert (np.diff(steady) >= 0).all()


@pytest.mark.slow
def test_counts_appear_in_diagnostics():
    node, _, ends = robot(width=16, height=16, duration_s=0.5)
    try:
        spin_until(lambda: bool(ends), node)
        values = {value.key: value.value for value in node._health.status().values}
        assert values["frames_sent"] == "10"
        assert values["frames_skipped"] == "0"
    finally:
        node.destroy_node()


@pytest.mark.slow
def test_destroying_the_node_stops_the_robot():
    node, sent, _ = robot(width=16, height=16)
    spin_until(lambda: len(sent) > 5, node)
    node.destroy_node()
    count = len(sent)
    assert node.finished
    assert len(sent) == count


@pytest.mark.parametrize(("name", "value"), [("rate_hz", 0.0), ("widht", 64), ("pose_latency_s", -1.0), ("seed", "x")])
def test_wrong_parameter_is_named(name, value):
    with pytest.raises(ParameterError, match=name):
        robot(**{name: value})


def test_config_file_lists_every_parameter_with_its_default():
    file = Path(__file__).parents[3] / "config" / "wm_sim.yaml"
    values = yaml.safe_load(file.read_text())["/**/wm_sim"]["ros__parameters"]
    assert values == dataclasses.asdict(WmSimParams())


def drive(node, listener, action, seconds):
    publisher = listener.node.create_publisher(Float32MultiArray, ACTIONS, qos.STREAM)
    spin_until(lambda: publisher.get_subscription_count() > 0, node, listener.node)
    begin = len(listener.got[POSE])
    spin_until(
        lambda: publisher.publish(Float32MultiArray(data=action)) or len(listener.got[POSE]) > begin + 20 * seconds,
        node, listener.node,
    )  # fmt: skip


@pytest.mark.slow
def test_who_listens_a_moment_after_the_first_misses_no_frame(monkeypatch):
    monkeypatch.setattr("wm_sim_ros.node._SETTLE_S", 3.0)
    first, late = Listener(), None
    node, sent, ends = robot(**QUIET, width=16, height=16, duration_s=0.5, wait_for_camera_subscriber=True)
    try:
        spin_until(lambda: node._camera_publisher.get_subscription_count() > 0, node, first.node)
        later_s = time.monotonic() + 0.5
        spin_until(lambda: time.monotonic() > later_s, node, first.node)
        late = Listener("late_listener")
        spin_until(lambda: bool(ends), node, first.node, late.node)
        spin_until(lambda: len(late.got[CAMERA]) >= 1, late.node)
        begun_ns = min(stamp for topic, stamp, _ in sent if topic == CAMERA)
        assert stamp_ns(late.got[CAMERA][0].header.stamp) == begun_ns
    finally:
        node.destroy_node()
        first.node.destroy_node()
        if late is not None:
            late.node.destroy_node()


@pytest.mark.slow
def test_robot_driven_by_actions_obeys_them_and_publishes_none_itself():
    listener = Listener()
    node, sent, _ = robot(**QUIET, width=16, height=16, driven_by="actions", wait_for_camera_subscriber=True)
    try:
        drive(node, listener, [0.5, 0.0], 1.0)
        first, last = listener.got[POSE][0], listener.got[POSE][-1]
        way_m = np.hypot(last.pose.position.x - first.pose.position.x, last.pose.position.y - first.pose.position.y)
        assert 0.05 < way_m <= 0.5 * (stamp_ns(last.header.stamp) - stamp_ns(first.header.stamp)) * 1e-9
        assert ACTIONS not in {topic for topic, _, _ in sent}
    finally:
        node.destroy_node()
        listener.node.destroy_node()


@pytest.mark.slow
def test_driven_robot_whose_machine_stalls_is_where_its_stamps_say():
    listener = Listener()
    node, _, _ = robot(**QUIET, width=16, height=16, driven_by="actions", wait_for_camera_subscriber=True)
    stall = iter([2.0])
    node._on_sent = lambda topic, stamp, steady: time.sleep(next(stall, 0.0) if len(listener.got[POSE]) > 3 else 0.0)
    try:
        drive(node, listener, [0.5, 1.0], 3.0)
        at_s = np.array([stamp_ns(msg.header.stamp) for msg in listener.got[POSE]]) * 1e-9
        at_N2 = np.array([(msg.pose.position.x, msg.pose.position.y) for msg in listener.got[POSE]])
        steps_m = np.hypot(*np.diff(at_N2, axis=0).T)
        assert steps_m.sum() > 0.05
        assert (steps_m <= 0.5 * np.diff(at_s) + 1e-6).all()
    finally:
        node.destroy_node()
        listener.node.destroy_node()


@pytest.mark.slow
@pytest.mark.parametrize("action", [[float("nan"), 0.0], [1.0]])
def test_unusable_actions_are_dropped_by_name(action):
    listener = Listener()
    node, _, _ = robot(**QUIET, width=16, height=16, driven_by="actions", wait_for_camera_subscriber=True)
    try:
        drive(node, listener, action, 0.2)
        status = {value.key: value.value for value in node._health.status().values}
        assert any(key.startswith("dropped/action") for key in status)
        first, last = listener.got[POSE][0].pose.position, listener.got[POSE][-1].pose.position
        assert (last.x, last.y) == pytest.approx((first.x, first.y))
    finally:
        node.destroy_node()
        listener.node.destroy_node()


@pytest.mark.slow
def test_task_shows_its_goal_and_rewards_every_frame():
    listener, rewards, goals = Listener(), [], []
    listener.node.create_subscription(Float32MultiArray, "reward", rewards.append, qos.STREAM)
    node, _, _ = robot(
        **QUIET, width=32, height=24, driven_by="actions", task="reach_image", wait_for_camera_subscriber=True
    )
    listener.node.create_subscription(Image, "goal/image", goals.append, qos.LATCHED)
    try:
        spin_until(lambda: goals and len(rewards) > 5, node, listener.node)
        task = make_task("reach_image", make_building(0), 0)
        still = Simulation(0, changes=STILL, image_size=(24, 32))
        assert np.array_equal(image_from_msg(goals[0]), still.view(task.goal)[0])
        assert all(msg.data[1] == 1.0 for msg in rewards)
    finally:
        node.destroy_node()
        listener.node.destroy_node()


def test_task_without_driver_is_refused():
    with pytest.raises(ParameterError, match="driven_by"):
        robot(task="reach_image")


@pytest.mark.slow
def test_with_a_time_scale_others_follow_its_clock_and_no_message_is_ahead_of_it():
    listener = Listener("follower")
    listener.node.set_parameters([Parameter("use_sim_time", value=True)])
    node, _, ends = robot(
        **QUIET, width=16, height=16, duration_s=2.0, time_scale=4.0, wait_for_camera_subscriber=True
    )  # fmt: skip
    times = []
    listener.node.create_timer(0.1, lambda: times.append(listener.node.get_clock().now().nanoseconds))
    try:
        spin_until(lambda: bool(ends), node, listener.node)
        assert node.frames_sent == 40
        assert node._counts["frames_skipped"] == 0
        spin_until(lambda: len(listener.got[CAMERA]) >= 35, listener.node)
        begun_ns = stamp_ns(listener.got[CAMERA][0].header.stamp)
        assert 1.5e9 < listener.node.get_clock().now().nanoseconds - begun_ns <= 2e9
        assert 10 <= len(times) <= 25
    finally:
        node.destroy_node()
        listener.node.destroy_node()
