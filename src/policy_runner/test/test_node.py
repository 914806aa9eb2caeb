"""The node with a robot that obeys it: goals reached, refused, cancelled, preempted, and all that can go wrong."""

from __future__ import annotations

import math
import threading
from pathlib import Path

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from rclpy.node import Node
from sensor_msgs.msg import Image

from policy_runner.chunks import Chunk
from policy_runner.params import PolicyRunnerParams
from wm_interfaces.srv import EncodeImage
from wm_ros import ConfigurationError, ParameterError
from wm_testing.goals import pose_goal
from wm_testing.nodes import assert_file_sets_every_parameter

CONFIG = Path(__file__).parents[3] / "config" / "policy_runner.yaml"
RATE_HZ, LIMITS = 50.0, PolicyRunnerParams().limits
pytestmark = pytest.mark.slow


def assert_limits_kept(commands):
    sent = np.array([(0.0, 0.0), (0.0, 0.0), *commands])
    assert (sent >= np.array(LIMITS.low) - 1e-5).all()
    assert (sent <= np.array(LIMITS.high) + 1e-5).all()
    assert (np.abs(np.diff(sent, axis=0)) <= np.array(LIMITS.rate) / RATE_HZ + 1e-5).all()
    assert (np.abs(np.diff(sent, 2, axis=0)) <= np.array(LIMITS.jerk) / RATE_HZ**2 + 1e-5).all()


class Straight:
    """Drives straight on, and does to each question what it is told to do, once."""

    action_dim, step_s, takes = 2, 0.05, frozenset()

    def __init__(self, does):
        self._does = does

    def act(self, observation):
        if self._does:
            self._does.pop(0)()
        return Chunk(observation.stamp_ns, 0.05, np.tile([0.8, 0.0], (20, 1)))


def fail():
    raise RuntimeError("broken")


def test_the_robot_drives_round_by_the_nearest_drive_to_its_sub_goals(make_world):
    world = make_world()
    answer = world.run(sub_goals=[pose_goal(0.0, 4.0, math.pi), pose_goal(-2.0, 2.0, -math.pi / 2)], reached_m=0.3)
    assert (answer.status, answer.result.name) == (GoalStatus.STATUS_SUCCEEDED, "REACHED"), answer.result
    assert math.dist((world.x, world.y), (-2.0, 2.0)) < 0.6
    assert world.off_m() < 0.3
    assert world.action == (0.0, 0.0)
    assert_limits_kept(world.commands)
    assert not answer.result.shadow
    assert answer.result.steps >= len(world.commands) > 0
    assert {each.mode for each in world.feedback} >= {"running"}
    assert {each.sub_goal for each in world.feedback} >= {0, 1}
    last = [each for each in world.feedback if each.mode == "running"][-1]
    assert 0.0 <= last.chunk_age_s < 2.0
    assert last.queue_length > 0
    assert last.inference_s >= 0.0


def test_what_poses_are_put_right_by_is_told(make_world):
    """What is seen is the same everywhere here: no offset, and as sure of that as before."""
    world = make_world()
    world.drive()
    world.until(lambda: world.status()["drift"] == "0.000, 0.000 m (+- 0.070)")


def test_poses_are_not_put_right_where_that_is_not_wanted(make_world):
    world = make_world(drift_m=0.0)
    world.drive()
    assert world.status()["drift"] == "not known"


def test_a_policy_is_told_which_goal_it_is_asked_for(make_world):
    """Where it was at the end of one is nothing to begin the next with."""
    asked = []

    class Notes(Straight):
        def act(self, observation):
            asked.append(observation.begun_ns)
            return super().act(observation)

    world = make_world(lambda: Notes([]))
    for _ in range(2):
        world.run(time_limit_s=0.5)
    assert asked == sorted(asked)
    assert len(set(asked)) == 2


def test_in_shadow_it_only_proposes_with_and_without_a_goal(make_world):
    world = make_world(shadow=True)
    world.until(lambda: any(command[0] > 0.5 for command in world.proposed))
    assert not world.commands
    assert not world.peer.count_publishers("/actions")
    answer = world.run(time_limit_s=0.3)
    assert (answer.status, answer.result.name) == (GoalStatus.STATUS_SUCCEEDED, "TIMED_OUT")
    assert answer.result.shadow
    assert not world.commands


def test_a_cancel_brakes_within_one_period_and_is_answered(make_world):
    world = make_world()
    handle, result = world.drive()
    # Steady: while it still speeds up, the limit of jerk allows no more than to speed up less.
    world.until(lambda: np.ptp(np.array(world.commands)[-10:, 0]) < 1e-3)

    def cancel():
        world.node._on_cancel(world.node._job.handle)
        return len(world.commands)

    before = world.on_executor(cancel)
    assert world.wait(handle.cancel_goal_async()).goals_canceling
    answer = world.wait(result)
    assert (answer.status, answer.result.name) == (GoalStatus.STATUS_CANCELED, "CANCELLED")
    speeds = np.array(world.commands)[before - 1 :, 0]
    # One may have been under way.
    assert (np.diff(speeds)[1:] <= 1e-3).all()
    assert speeds[3] < speeds[0] - 1e-3
    assert world.action == (0.0, 0.0)
    assert_limits_kept(world.commands)


def test_a_new_goal_takes_the_place_of_the_former_without_a_stop(make_world):
    world = make_world()
    _, first = world.drive()
    answer = world.run(sub_goals=[pose_goal(0.0, 4.0)])
    assert world.wait(first).result.name == "PREEMPTED"
    assert answer.result.name == "REACHED"
    moving = np.array(world.commands)[:, 0]
    began = int(np.argmax(moving > 0.5))
    assert (moving[began:-60] > 0.2).all()


def test_stale_input_holds_then_stops_then_ends_by_name(make_world):
    world = make_world(stale_s=0.3, hold_s=0.2, give_up_s=1.0)
    _, result = world.drive()
    world.is_sending = False
    answer = world.wait(result)
    assert (answer.status, answer.result.name) == (GoalStatus.STATUS_ABORTED, "STALE_INPUTS")
    assert {each.mode for each in world.feedback} >= {"running", "holding", "stopping"}
    assert any("stale" in each.reason for each in world.feedback)
    assert world.action == (0.0, 0.0)
    assert_limits_kept(world.commands)


def test_a_robot_that_saw_nothing_until_its_time_was_over_has_not_succeeded(make_world):
    world = make_world(stale_s=0.3)
    world.is_sending = False
    answer = world.run(time_limit_s=1.0)
    assert (answer.status, answer.result.name) == (GoalStatus.STATUS_ABORTED, "STALE_INPUTS")


def test_inference_that_is_late_fails_or_hangs_breaks_no_limit_and_comes_back(make_world):
    hang, late = threading.Event(), threading.Event()
    does = []
    world = make_world(lambda: Straight(does), patience_s=1.0, hold_s=0.1)
    handle, result = world.drive()
    does.append(fail)
    world.until(lambda: int(world.status().get("policy_errors", 0)) == 1)
    does.append(hang.wait)
    world.until(lambda: int(world.status().get("inference_given_up", 0)) == 1)
    world.until(lambda: int(world.status()["policy_restarts"]) == 2)
    does.append(lambda: late.wait(0.4))
    world.until(lambda: not does)
    world.until(lambda: world.status()["mode"] == "running" and world.commands[-1][0] > 0.7)
    hang.set()
    assert world.wait(handle.cancel_goal_async()).goals_canceling
    assert world.wait(result).result.name == "CANCELLED"
    assert_limits_kept(world.commands)
    assert int(world.status()["starved_steps"]) > 0


def test_diagnostics_say_why_nothing_is_executed(make_world):
    world = make_world(drive_within_m=0.1, give_up_s=1.0)
    world.y = -0.5
    answer = world.run()
    assert answer.result.name == "NO_CHUNKS"
    assert "within 0.1 m" in world.status()["degraded/inference"]


def test_a_fence_stops_the_robot(make_world):
    world = make_world(keep_in=[-1.0, -1.0, 1.5, 5.0], give_up_s=0.5)
    answer = world.run()
    assert answer.result.name == "OUTSIDE"
    assert world.x < 1.5
    assert_limits_kept(world.commands)


def test_what_cannot_be_executed_is_refused_by_name(make_world):
    world = make_world()
    for goal in (
        {"instruction": "go to the kitchen"},
        {"reached_m": -1.0},
        {"time_limit_s": math.nan},
        {"sub_goals": [pose_goal(math.nan, 0.0)]},
    ):
        answer = world.run(**goal)
        assert (answer.status, answer.result.name) == (GoalStatus.STATUS_ABORTED, "REFUSED"), goal
        assert answer.result.message
    world.until(lambda: world.on_executor(lambda: world.node._situation.seen is not None))
    answer = world.run(sub_goals=[pose_goal(1.0, 0.0, frame="elsewhere")])
    assert "elsewhere" in answer.result.message
    assert not world.commands


HALF_A_PICTURE = ({"height": 48}, {"data": bytes(12)}, {"width": 64}, {"width": 64, "height": 48})


@pytest.mark.parametrize("picture", HALF_A_PICTURE)
def test_half_a_picture_is_no_goal_without_one(make_world, picture):
    """Taken for no picture, the robot would drive on and on."""
    world = make_world()
    answer = world.run(goal_image=Image(**picture), time_limit_s=0.5)
    assert (answer.status, answer.result.name) == (GoalStatus.STATUS_ABORTED, "REFUSED")
    assert "goal_image" in answer.result.message
    assert not world.commands


def test_a_goal_of_another_frame_is_refused_also_once_the_frame_is_known(make_world):
    world = make_world()
    world.is_sending = False
    _, result = world.start(sub_goals=[pose_goal(1.0, 0.0, frame="odom")])
    world.is_sending = True
    answer = world.wait(result).result
    assert (answer.name, answer.message) == ("REFUSED", "a sub-goal in frame odom, the robot's is map")
    assert all(command == (0.0, 0.0) for command in world.commands)
    _, result = world.drive(sub_goals=[pose_goal(-2.0, 2.0)])
    world.changes["pose_frame_id"] = "odom"
    assert world.wait(result).result.name == "REFUSED"
    assert world.action == (0.0, 0.0)
    answer = world.run(sub_goals=[pose_goal(1.0, 0.0, frame="odom"), pose_goal(2.0, 0.0)]).result
    assert (answer.name, "several frames: map, odom" in answer.message) == ("REFUSED", True)


@pytest.fixture
def world_with_deaf_encoder(make_world, monkeypatch):
    """A runner whose encoder is there and never answers, and that would wait for it longer than a test may take."""
    monkeypatch.setattr("policy_runner.accepting.node.ANSWER_S", 3600.0)
    world, deaf = make_world(), Node("deaf")
    deaf.create_service(EncodeImage, "/latent_publisher/encode", lambda _, response: response)
    world.until(world.node._reception.encode.service_is_ready)
    yield world
    deaf.destroy_node()


PICTURE = Image(width=2, height=2, step=6, encoding="rgb8", data=bytes(12))


def test_a_goal_that_is_cancelled_while_it_is_read_ends_at_once_and_takes_no_others_place(world_with_deaf_encoder):
    world = world_with_deaf_encoder
    _, others = world.drive()
    handle, result = world.start(goal_image=PICTURE)
    assert world.wait(handle.cancel_goal_async()).goals_canceling
    answer = world.wait(result)
    assert (answer.status, answer.result.name) == (GoalStatus.STATUS_CANCELED, "CANCELLED")
    assert not others.done()


def test_a_goal_that_is_read_when_the_node_is_deactivated_is_answered(world_with_deaf_encoder):
    """Begun after that, nobody would ever end it."""
    world = world_with_deaf_encoder
    _, result = world.start(goal_image=PICTURE)
    world.on_executor(world.node.trigger_deactivate)
    answer = world.wait(result)
    assert (answer.status, answer.result.name) == (GoalStatus.STATUS_ABORTED, "STOPPED")


def test_positions_that_nobody_tells_are_not_commanded(make_world):
    """From where a limiter happens to stand an arm would jump."""
    world = make_world(third=[100.0, 100.0], low=[-2.0, -2.0], stale_s=5.0)
    world.action = (1.0, 1.0)
    world.changes["has_action"] = False
    world.until(lambda: world.on_executor(lambda: world.node._situation.seen is not None))
    answer = world.run().result
    assert (answer.name, "positions" in answer.message) == ("STALE_INPUTS", True)
    assert not world.commands
    world.changes["has_action"] = True
    world.until(lambda: world.on_executor(lambda: world.node._situation.seen.frame.action_A is not None))
    handle, _ = world.start()
    world.until(lambda: world.commands)
    assert world.commands[0] == pytest.approx((1.0, 1.0), abs=0.05)
    world.wait(handle.cancel_goal_async())


def test_a_deactivated_node_has_braked_and_takes_no_goals(make_world):
    world = make_world()
    _, result = world.drive()
    world.on_executor(world.node.trigger_deactivate)
    assert world.wait(result).result.name == "STOPPED"
    world.until(lambda: world.action == (0.0, 0.0))
    assert_limits_kept(world.commands)
    from wm_interfaces.action import ExecutePolicy

    assert not world.wait(world.client.send_goal_async(ExecutePolicy.Goal())).accepted
    world.on_executor(world.node.trigger_activate)
    world.drive()


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"policy": "none_such"}, ConfigurationError),
        ({"low": [0.0]}, ParameterError),
        ({"low": [0.2, -2.2]}, ParameterError),
        ({"output": "ackermann"}, ConfigurationError),
        ({"output": "joint_trajectory"}, ParameterError),
        ({"keep_in": [0.0, 1.0]}, ParameterError),
        ({"third": [1.0]}, ParameterError),
    ],
)
def test_what_cannot_work_is_refused_at_the_start(make_world, given, error):
    with pytest.raises(error):
        make_world(**given)


def test_the_shipped_file_sets_every_parameter():
    assert_file_sets_every_parameter(CONFIG, "policy_runner", PolicyRunnerParams)
