"""What a viewer sees of a forecast: the expected pose with its errors, and the memories used."""

from __future__ import annotations

import numpy as np
import pytest
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Path

from wm_core.memory.packed import Neighbours
from wm_core.se2 import Pose2
from wm_core.se3 import quaternion_of
from wm_interfaces.msg import Imagined, LatentForecast
from wm_ros import pose_to_msg, qos, stamp_msg
from wm_ros.foresight import covariance_of, imagined_path, used_shapes
from wm_testing.viewer import Viewer
from world_model.runtime.retrieved import Memory

from .conftest import START_NS, STEP_NS


def test_the_expected_pose_and_the_memories_used_are_shown_in_the_frame_of_the_poses(make_world):
    world = make_world()
    world.serve(world.remember)
    drawn, poses = Viewer(world.peer, "/transition_predictor/markers"), []
    world.peer.create_subscription(PoseWithCovarianceStamped, "/latent_next/pose", poses.append, qos.STREAM)
    world.until(
        lambda: world.node._foresight._sheet.is_watched and world.node._foresight._poses.get_subscription_count()
    )
    for index in range(3):
        prediction = world.predict(index, pose_frame_id="odom")
    far = prediction.forecasts[-1]
    world.until(lambda: bool(poses) and poses[-1].header.stamp == stamp_msg(START_NS + 2 * STEP_NS))
    assert poses[-1].header.frame_id == "odom"
    assert poses[-1].pose.pose == far.pose
    assert poses[-1].pose.covariance[0] == pytest.approx(far.pose_std[0] ** 2 if len(far.pose_std) else 0.0)
    world.until(lambda: len(drawn.points("used")) == 4)
    assert drawn.frames == {"odom"}
    memory, expected, line = drawn.of("used")
    assert (line.points[0], line.points[1]) == (expected.points[0], memory.points[0])


def test_the_path_that_is_foreseen_gives_way_to_one_that_was_imagined_for_somebody(make_world):
    world = make_world()
    paths: list[Path] = []
    world.peer.create_subscription(Path, "/imagination/path", paths.append, qos.LATCHED)
    world.until(lambda: world.node._foresight._paths.get_subscription_count())
    prediction = world.predict(0, pose_frame_id="odom")
    world.until(lambda: bool(paths))
    ahead = [forecast.pose for forecast in prediction.forecasts if forecast.has_pose]
    assert [each.pose for each in paths[-1].poses] == [pose_to_msg((0.0, 0.0, 0.0), quaternion_of(0.0)), *ahead]
    assert paths[-1].header.frame_id == "odom"
    imagined = Imagined(has_poses=True, times_s=[0.1, 0.2], pose_frame_id="odom", poses=[1.0, 2, 0, 3, 4, 0, 9, 9, 9])
    world.node._foresight.imagined(imagined)
    world.predict(1, pose_frame_id="odom")
    world.until(lambda: [each.pose.position.x for each in paths[-1].poses] == [1.0, 3.0])
    assert imagined_path(Imagined()).poses == []


@pytest.mark.slow
def test_nothing_is_made_while_nobody_looks(make_world):
    world = make_world()
    world.predict(0)
    assert world.node._foresight._next_s == 0.0


def test_the_memories_used_are_found_in_arrays_and_in_records():
    forecast = LatentForecast(has_pose=True, memory_ids=[3, 9], pose=pose_to_msg((1.0, 2.0, 0.5), (0.0, 0.0, 0.0, 1.0)))
    none = Neighbours.none(2)
    arrays = Neighbours(
        np.array([3, 4]), np.zeros(2, np.int64), np.array([[5.0, 6, 7, 0], [8, 8, 8, 0]]), np.zeros((2, 2), np.float32),
        none.action_KA, none.horizon_KM, none.dt_KM, none.successor_KMD,
    )  # fmt: skip
    records = [Memory(9, 0, np.zeros(2), Pose2(1.0, 1.0, 1.0, 0.0)), Memory(1, 0, np.zeros(2), Pose2(0.0, 0.0, 0.0, 0))]
    ends, expected, lines = used_shapes(forecast, [arrays, records])
    assert ends.point_N3.tolist() == [[5, 6, 7], [1, 1, 1]]
    assert expected.point_N3.tolist() == [[1, 2, 0.5]]
    assert len(lines.point_N3) == 4


def test_errors_stand_on_the_diagonal_and_what_is_not_told_is_none():
    values = covariance_of([0.1, 0.2, float("nan"), float("nan"), float("nan"), 0.5])
    assert np.reshape(values, (6, 6)).tolist() == np.diag([0.1 * 0.1, 0.2 * 0.2, 0, 0, 0, 0.25]).tolist()
    assert covariance_of([]) == [0.0] * 36
