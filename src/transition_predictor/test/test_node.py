"""The node in process, with a memory that answers, is late, refuses or is absent."""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from rclpy.parameter import Parameter
from std_msgs.msg import Header

from transition_predictor.params import TransitionPredictorParams
from wm_core.se3 import quaternion_of, turned_about_z, yaw_of
from wm_interfaces.msg import (
    VisualHistory,
)
from wm_ros import ConfigurationError, floats, pose_to_msg, stamp_msg, stamp_ns
from wm_ros.expected_frame import transform_of
from wm_testing.nodes import assert_file_sets_every_parameter, ros_context, spin_until  # noqa: F401

CONFIG = Path(__file__).parents[3] / "config" / "transition_predictor.yaml"
START_NS = 1_000_000_000_000_000_000
STEP_NS = 50_000_000
Z_DIM = 32


def test_one_prediction_per_latent_with_memories_of_the_place_ahead(make_world):
    world = make_world()
    world.serve(world.remember)
    for index in range(4):
        prediction = world.predict(index)
    assert len(world.nexts) == len(world.predictions) == 4
    assert prediction.header.stamp == stamp_msg(START_NS + 3 * STEP_NS)
    assert not prediction.degraded
    assert prediction.memory_query_ms > 0
    step, far = prediction.forecasts
    assert [step.horizon_s, far.horizon_s] == [pytest.approx(0.05), pytest.approx(1.0)]
    assert far.target_stamp == stamp_msg(START_NS + 3 * STEP_NS + 1_000_000_000)
    assert list(far.memory_ids) == [7]
    np.testing.assert_array_equal(world.nexts[-1].data, step.latent)
    asked = world.queries[-1]
    assert [query.pose.position.x for query in asked[:2]] == pytest.approx([0.2, 1.15], abs=0.02)  # 1 m/s from 0.15 m
    assert {query.encoder_id for query in asked} == {world.encoder_id}
    assert all(query.exclude_recent_s > 0 for query in asked)


def test_a_robot_that_tilts_asks_with_its_whole_rotation(make_world):
    """It rolls by 0.3 rad and turns left: ahead it has turned further, and rolls as now."""
    world = make_world()
    world.serve(world.remember)
    roll = (math.sin(0.15), 0.0, 0.0, math.cos(0.15))
    for index in range(8):
        yaw = 0.02 * index
        pose = pose_to_msg((0.05 * index, 0.0, 0.0), turned_about_z(roll, yaw))
        world.predict(index, pose=pose)
    for query, ahead in zip(world.queries[-1], (0.02, 0.4, 0.0), strict=True):
        turn = query.pose.orientation
        found = np.array([turn.x, turn.y, turn.z, turn.w])
        without_yaw = turned_about_z(found, -yaw_of(found))
        np.testing.assert_allclose(without_yaw, roll, atol=1e-6)
        assert yaw_of(found) - yaw == pytest.approx(ahead, abs=0.03)


def test_without_a_memory_it_predicts_and_says_so(make_world):
    world = make_world()
    prediction = world.predict(0)
    assert (prediction.degraded, prediction.degraded_reason) == (True, "memory absent")
    assert math.isnan(prediction.memory_query_ms)
    assert "nobody serves" in world.node._health.status().message
    assert [forecast.gate for forecast in prediction.forecasts] == [0.0, 0.0]


@pytest.mark.slow
def test_a_late_memory_is_not_waited_for(make_world):
    world = make_world()

    def answer(request, response):
        world.node._remembering.late()  # the deadline passes while the memory is still searching
        return world.remember(request, response)

    world.serve(answer)
    prediction = world.predict(0)
    assert (prediction.degraded, prediction.degraded_reason) == (True, "memory late")
    assert world.node._health.counted("memory_late") == 1


def test_a_latent_that_comes_before_the_answer_ends_the_waiting(make_world):
    world = make_world()
    world.serve(world.remember)
    world.send(0)
    world.send(1)
    world.until(lambda: len(world.predictions) == 2)
    assert [stamp_ns(p.header.stamp) for p in world.predictions] == [START_NS, START_NS + STEP_NS]


@pytest.mark.slow
def test_a_refusing_memory_is_named(make_world):
    world = make_world()

    def refuse(request, response):
        response.success, response.message = False, "latent has 3 values"
        return response

    world.serve(refuse)
    prediction = world.predict(0)
    assert prediction.degraded_reason == "memory refused: latent has 3 values"


def _cut(answer):
    answer.matches = answer.matches[:1]


def _too_many(answer):
    answer.matches[0].records = [answer.matches[0].records[0]] * 5000


def _other_size(answer):
    answer.matches[0].records[0].latent = floats([1.0])


def _other_action(answer):
    answer.matches[-1].records[0].action = floats([1.0, 2.0, 3.0])


def _not_finite(answer):
    answer.matches[0].records[0].latent = floats([math.nan] * Z_DIM)


def _nowhere(answer):
    answer.matches[0].records[0].position.x = math.inf


def _huge(answer):
    answer.matches[0].records[0].latent = floats([1e30] * Z_DIM)


def _far(answer):
    answer.matches[0].records[0].position.x = 1e12


def _wild_action(answer):
    answer.matches[0].records[0].action = floats([1e20, 0.0])


def _no_id(answer):
    answer.matches[0].records[0].id = 2**64 - 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "spoil",
    [_cut, _too_many, _other_size, _other_action, _not_finite, _nowhere, _huge, _far, _wild_action, _no_id],
)
def test_an_answer_that_does_not_fit_the_question_is_named_and_done_without(make_world, spoil):
    world = make_world()

    def answer(request, response):
        response = world.remember(request, response)
        spoil(response)
        return response

    world.serve(answer)
    prediction = world.predict(0)
    assert prediction.degraded_reason == "memory answer unusable"
    assert world.node._health.counted("dropped/memory-answer") == 1
    assert "cannot be used" in world.node._health.status().message
    assert len(world.node._health.status().message) < 500


def test_a_stamp_that_nothing_can_lie_ahead_of_is_dropped_by_name(make_world):
    world = make_world(use_memory=False)
    world.send(0, header=Header(stamp=Time(sec=2**31 - 1)))
    world.until(lambda: world.node._health.counted("dropped/impossible-stamp") == 1)
    world.predict(1)


def test_nothing_that_is_not_finite_is_kept_back_in_a_usual_run(make_world):
    world = make_world(use_memory=False)
    for index in range(30):
        world.predict(index, pose_std=[0.1, 0.1, math.nan, math.nan, math.nan, 0.05])
    assert world.node._health.counted("dropped/not-finite-output") == 0
    world.until(lambda: len(world.errors) >= 30)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1e6, 1e5, 1e3])
def test_what_is_large_but_possible_is_used_with_limited_influence(make_world, size):
    world = make_world(use_memory=False)
    for index in range(25):
        wild = 5 < index < 15
        action = [size * (-1.0) ** index, size] if wild else [0.5, 0.1]
        world.predict(index, action=action, latent=[900.0 if wild else 0.1] * Z_DIM)
    assert world.node._health.counted("dropped/not-finite-output") == 0
    assert "training set" in world.node._health.status().message or "trained on" in world.node._health.status().message
    assert np.abs(np.array(world.predictions[-1].forecasts[0].latent)).max() < 1e4


def test_an_action_outside_the_training_range_is_named_until_a_hundred_were_inside(make_world):
    world = make_world(use_memory=False)
    world.predict(0, action=floats([40.0, 0.0]))
    assert "action 0 is 40" in world.node._health.status().message
    assert world.node._health.counted("outside_training_range") == 1
    for _ in range(99):
        world.node._say_outside(())
    assert "action 0" in world.node._health.status().message
    world.predict(1)
    assert "action 0" not in world.node._health.status().message
    assert world.node._health.counted("outside_training_range") == 1


def test_memory_switched_off_is_not_degraded(make_world):
    world = make_world(use_memory=False)
    world.serve(world.remember)
    assert not world.predict(0).degraded
    assert world.queries == []


@pytest.mark.slow
def test_without_a_pose_nothing_is_asked(make_world):
    world = make_world()
    world.serve(world.remember)
    prediction = world.predict(0, has_pose=False)
    assert prediction.degraded_reason == "no pose"
    assert not prediction.forecasts[0].has_pose


def test_a_prediction_goes_out_before_the_errors_that_its_latent_judges(make_world, monkeypatch):
    world, published = make_world(use_memory=False), []
    for name, publisher in (("next", world.node._next_publisher), ("error", world.node._scoring.publisher)):
        was = publisher.publish
        monkeypatch.setattr(publisher, "publish", lambda msg, name=name, was=was: (published.append(name), was(msg)))
    for index in range(2):
        world.predict(index)
    assert published == ["next", "next", "error"]


@pytest.mark.slow
def test_errors_come_when_the_predicted_time_does(make_world):
    world = make_world(use_memory=False)
    for index in range(22):
        world.predict(index, value=0.1 * index)
    world.until(lambda: len(world.errors) == 21 + 2)
    step_errors = [error for error in world.errors if error.horizon_s < 0.5]
    far_errors = [error for error in world.errors if error.horizon_s > 0.5]
    assert len(step_errors) == 21
    assert len(far_errors) == 2
    first = far_errors[0]
    assert first.header.stamp == stamp_msg(START_NS + 20 * STEP_NS)
    assert first.predicted_from == stamp_msg(START_NS)
    assert first.error_persistence == pytest.approx(2.0**2)  # unit variances; 20 steps of 0.1 in every dimension
    forecast = np.array(world.predictions[0].forecasts[1].latent)
    assert first.error == pytest.approx(float(np.mean((forecast - 2.0) ** 2)), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("encoder-mismatch", {"encoder_id": "another"}),
        ("latent-length", {"latent": [1.0]}),
        ("latent-not-finite", {"latent": [math.nan] * Z_DIM}),
        ("latent-too-large", {"latent": [2000.0] * Z_DIM}),
        ("action-too-large", {"action": [2e6, 0.0]}),
        ("pose-too-far", {"pose": pose_to_msg((2e7, 0.0, 0.0), quaternion_of(0.0))}),
        ("pose-std", {"pose_std": [math.inf] * 6}),
        ("action-length", {"action": [1.0]}),
        ("pose-not-finite", {"pose": pose_to_msg((math.nan, 0.0, 0.0), quaternion_of(0.0))}),
    ],
)
def test_a_bad_latent_is_named_counted_and_survived(make_world, reason, changes):
    world = make_world()
    world.send(0, **changes)
    world.until(lambda: world.node._health.counted(f"dropped/{reason}") == 1)
    world.predict(1)


def test_time_that_jumps_back_starts_anew(make_world):
    world = make_world(use_memory=False)
    for index in (100, 101, 0, 1):
        world.predict(index)
    world.until(lambda: len(world.errors) == 2)
    assert [stamp_ns(error.predicted_from) - START_NS for error in world.errors] == [100 * STEP_NS, 0]


def test_a_camera_too_slow_for_one_step_is_said_and_one_second_is_judged_by_the_nearest_frame(make_world):
    world = make_world(use_memory=False)
    for index in range(0, 75, 3):
        world.predict(index)
    values = {item.key: item.value for item in world.node._health.status().values}
    assert values["forecast_0.05s"] == "not scored: camera too slow, a latent each 0.150 s"
    assert values["forecast_1s"] == "scored"
    assert "scoring" not in {key.removeprefix("degraded/") for key in values}
    world.until(lambda: len(world.errors) >= 15)
    assert {round(error.horizon_s, 3) for error in world.errors} == {1.0}
    ahead_ns = {stamp_ns(error.header.stamp) - stamp_ns(error.predicted_from) for error in world.errors}
    assert ahead_ns == {21 * STEP_NS}


@pytest.mark.slow
def test_a_camera_that_shows_no_horizon_degrades(make_world):
    world = make_world(use_memory=False)
    for index in range(0, 13 * 32, 32):
        world.predict(index)
    assert "no forecast can be scored: camera too slow, a latent each 1.600 s" in world.node._health.status().message


@pytest.mark.slow
def test_history_is_used_when_wanted_and_fresh(make_world):
    world = make_world(use_memory=False, use_history=True)
    assert world.predict(0).history_reason == "absent"
    history_id = world.node._manifest.files["world_action.pt"][:16]
    msg = VisualHistory(embedding_dim=224, capacity=4, count=2, history=floats(np.ones(896)), encoder_id=history_id)
    msg.header.stamp = stamp_msg(START_NS)
    world.histories.publish(msg)
    world.until(lambda: world.node._history.at(START_NS).count == 2)
    assert world.predict(1).history_used
    world.histories.publish(VisualHistory(encoder_id=history_id, embedding_dim=224, capacity=4, history=floats([1.0])))
    world.until(lambda: world.node._health.counted("dropped/history-length") == 1)
    msg.count = 5
    world.histories.publish(msg)
    world.until(lambda: world.node._health.counted("dropped/history-count") == 1)
    world.histories.publish(VisualHistory(encoder_id="another"))
    world.until(lambda: world.node._health.counted("dropped/history-mismatch") == 1)
    assert world.predict(60).history_reason == "stale"


def test_config_file_and_parameters_agree():
    assert_file_sets_every_parameter(CONFIG, "transition_predictor", TransitionPredictorParams)


def test_the_memory_is_switched_off_and_on_while_running(make_world):
    world = make_world()
    world.serve(world.remember)
    world.predict(0)
    asked = len(world.queries)
    assert asked > 0
    assert world.node.set_parameters([Parameter("use_memory", value=False)])[0].successful
    prediction = world.predict(1)
    assert (prediction.degraded, len(world.queries)) == (False, asked)
    assert world.node.set_parameters([Parameter("use_memory", value=True)])[0].successful
    world.predict(2)
    assert len(world.queries) > asked


@pytest.mark.slow
def test_the_deadline_is_followed_while_running(make_world):
    world = make_world(memory_deadline_s=0.5)
    assert world.node.set_parameters([Parameter("memory_deadline_s", value=0.002)])[0].successful
    assert world.node._remembering.deadline.timer_period_ns == 2_000_000


def test_an_expected_frame_needs_tf2_msgs_and_says_so(make_world):
    if find_spec("tf2_msgs") is not None:
        pytest.skip("tf2_msgs is installed")
    with pytest.raises(ConfigurationError, match="tf2_msgs"):
        make_world(expected_frame="base_link_expected")


def test_the_expected_frame_stands_at_the_expected_pose():
    pose = pose_to_msg((1.0, 2.0, 0.5), quaternion_of(0.3))
    msg = transform_of(pose, "odom", "base_link_expected", stamp_msg(START_NS))
    assert (msg.header.frame_id, msg.child_frame_id) == ("odom", "base_link_expected")
    assert stamp_ns(msg.header.stamp) == START_NS
    moved = msg.transform.translation
    assert (moved.x, moved.y, moved.z) == (1.0, 2.0, 0.5)
    assert msg.transform.rotation == pose.orientation
