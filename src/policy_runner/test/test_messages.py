"""Commands as the messages that robots take, and states as what a policy sees."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from policy_runner.messages import Output, seen_from_msg
from policy_runner.params import PolicyRunnerParams
from wm_core.se3 import quaternion_of
from wm_interfaces.msg import LatentState
from wm_ros import ConfigurationError, MessageError, floats, pose_to_msg, stamp_msg

S = 1_000_000_000


def params(output, size=2, **values):
    vectors = {name: [value] * size for name, value in (("low", -9.0), ("high", 9.0), ("rate", 1.0), ("jerk", 1.0))}
    return PolicyRunnerParams(**{"output": output, **vectors, **values})


def test_an_array_goes_where_the_graph_hears_actions():
    output = Output(params("float32_multi_array"))
    assert output.topic == "actions"
    msg = output.msg(np.array([0.5, -0.25]), S)
    assert list(msg.data) == [0.5, -0.25]
    assert msg.layout.dim[0].label == "action"
    assert Output(params("float32_multi_array", output_topic="elsewhere")).topic == "elsewhere"


@pytest.mark.parametrize(
    ("command", "linear", "angular"),
    [
        ([1.0, 2.0], (1.0, 0.0, 0.0), (0.0, 0.0, 2.0)),
        ([1.0, 2.0, 3.0], (1.0, 2.0, 0.0), (0.0, 0.0, 3.0)),
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], (1.0, 2.0, 3.0), (4.0, 5.0, 6.0)),
    ],
)
def test_a_twist_takes_two_three_or_six_values(command, linear, angular):
    output = Output(params("twist", len(command)))
    assert output.topic == "cmd_vel"
    msg = output.msg(np.array(command), S)
    assert (msg.linear.x, msg.linear.y, msg.linear.z) == linear
    assert (msg.angular.x, msg.angular.y, msg.angular.z) == angular


@pytest.mark.parametrize(("third", "positions", "velocities"), [([9.0, 9.0], [0.1, 0.2], []), ([0.0], [], [0.1, 0.2])])
def test_a_trajectory_names_its_joints_and_its_time(third, positions, velocities):
    """Speeds are no positions: a stop of them would move the joints to 0."""
    pytest.importorskip("trajectory_msgs")
    output = Output(params("joint_trajectory", joint_names=["a", "b"], rate_hz=50.0, third=third))
    msg = output.msg(np.array([0.1, 0.2]), 3 * S)
    assert (msg.header.stamp.sec, msg.joint_names) == (3, ["a", "b"])
    assert (list(msg.points[0].positions), list(msg.points[0].velocities)) == (positions, velocities)
    assert msg.points[0].time_from_start.nanosec == 20_000_000


def test_ackermann_carries_speed_and_steering_angle(monkeypatch):
    class Stamped:
        def __init__(self):
            self.header, self.drive = SimpleNamespace(stamp=None, frame_id=""), SimpleNamespace()

    package, module = ModuleType("ackermann_msgs"), ModuleType("ackermann_msgs.msg")
    module.AckermannDriveStamped = Stamped
    monkeypatch.setitem(sys.modules, "ackermann_msgs", package)
    monkeypatch.setitem(sys.modules, "ackermann_msgs.msg", module)
    msg = Output(params("ackermann", output_frame="base")).msg(np.array([1.0, 0.3]), 2 * S)
    assert (msg.drive.speed, msg.drive.steering_angle, msg.header.frame_id) == (1.0, 0.3, "base")


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ackermann_msgs", None)
    monkeypatch.delitem(sys.modules, "ackermann_msgs.msg", raising=False)
    with pytest.raises(ConfigurationError, match="ackermann_msgs"):
        Output(params("ackermann"))


def state(**changes):
    msg = LatentState(latent=floats(np.ones(3)), encoder_id="it", pose_frame_id="map", has_pose=True, has_action=True)
    msg.header.stamp = stamp_msg(5 * S)
    msg.pose, msg.action = pose_to_msg((1.0, 2.0, 0.5), quaternion_of(0.3)), floats([0.4, 0.5])
    for name, value in changes.items():
        setattr(msg, name, value)
    return msg


def test_a_state_tells_frame_place_and_command():
    seen = seen_from_msg(state(), 2)
    assert (seen.frame.stamp_ns, seen.frame.encoder_id, seen.frame_id) == (5 * S, "it", "map")
    assert seen.frame.pose_3 == pytest.approx([1.0, 2.0, 0.3])
    assert seen.place.z == 0.5
    assert seen.frame.action_A == pytest.approx([0.4, 0.5])


def test_what_is_not_told_is_not_known():
    seen = seen_from_msg(state(has_pose=False, has_action=False), 2)
    assert (seen.place, seen.frame.pose_3, seen.frame.action_A) == (None, None, None)
    assert seen_from_msg(state(), 3).frame.action_A is None


@pytest.mark.parametrize(
    "changes", [{"latent": floats([np.nan])}, {"pose": pose_to_msg((np.inf, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))}]
)
def test_a_state_that_cannot_be_is_refused(changes):
    with pytest.raises(MessageError):
        seen_from_msg(state(**changes), 2)


@pytest.mark.parametrize("third", [[-1.0, 5.0], [0.0, 5.0], [5.0]])
def test_a_bound_of_the_third_derivative_that_allows_nothing_is_refused(third):
    with pytest.raises(ValueError, match="third"):
        PolicyRunnerParams(third=third)
