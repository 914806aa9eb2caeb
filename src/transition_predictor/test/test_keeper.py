"""What a robot learned of its motion: kept, taken up at the next start, and followed where another wrote it."""

from __future__ import annotations

import json

import pytest

from transition_predictor.keeper import MotionKeeper
from wm_core.se2 import Pose2
from wm_testing.robots import drive, unicycle
from world_model.runtime.calibration import STATE_VERSION
from world_model.runtime.motion_model import MotionModel
from world_model.runtime.own_motion import OwnMotion
from world_model.runtime.profile import MOTION, Profile

SHIPPED = MotionModel(weights=((0.0, 1.0, 0.0, 0.0), (0.0,) * 4, (0.0, 0.0, 1.0, 0.0)), residual_share=(0.0, 0.0, 0.0))


def own_motion(step_s: float = 0.05) -> OwnMotion:
    return OwnMotion(SHIPPED, step_s, 2, (0.05, 1.0), 1.0)


@pytest.fixture(scope="module")
def learned() -> OwnMotion:
    seen, motion = drive(unicycle(0.5, -2.0), 2, seed=4, seconds=30), own_motion()
    for row, stamp_ns in enumerate(seen.stamp_T.tolist()):
        motion.update(stamp_ns, Pose2(*map(float, seen.pose_T4[row])), seen.action_TA[row])
        motion.learn()
    assert motion.model is not SHIPPED
    return motion


def test_what_was_learned_is_there_at_the_next_start(tmp_path, learned):
    keeper = MotionKeeper(Profile(tmp_path), learned)
    assert not keeper.look()
    keeper.close()
    later = own_motion()
    assert MotionKeeper(Profile(tmp_path), later).look()
    later.update(0, Pose2(0.0, 0.0, 0.0, 0.0), None)
    assert later.model == learned.model
    assert later.says().startswith("fitted")


def test_nothing_is_written_before_anything_was_fitted_or_twice(tmp_path, learned):
    keeper = MotionKeeper(Profile(tmp_path), own_motion())
    keeper.look()
    keeper.close()
    assert Profile(tmp_path).names() == []
    keeper = MotionKeeper(Profile(tmp_path), learned)
    for _ in range(5):
        keeper.look()
    keeper.close()
    assert Profile(tmp_path).read(MOTION, STATE_VERSION).revision == 1


def test_what_another_wrote_is_followed_while_running(tmp_path, learned):
    motion = own_motion()
    keeper = MotionKeeper(Profile(tmp_path), motion)
    assert not keeper.look()
    Profile(tmp_path).write(MOTION, STATE_VERSION, learned.state())
    assert keeper.look()
    assert motion.model is SHIPPED  # until the next observation
    motion.update(0, Pose2(0.0, 0.0, 0.0, 0.0), None)
    assert motion.model == learned.model
    assert not keeper.look()


def test_what_does_not_fit_is_named_and_left_alone(tmp_path, learned):
    Profile(tmp_path).write(MOTION, STATE_VERSION, learned.state())
    before = (tmp_path / "motion.json").read_text()
    keeper = MotionKeeper(Profile(tmp_path), own_motion(step_s=0.1))
    assert not keeper.look()
    assert "step_s" in keeper.problem
    keeper.close()
    assert (tmp_path / "motion.json").read_text() == before
    (tmp_path / "motion.json").write_text(json.dumps({"format": 1}))
    damaged = MotionKeeper(Profile(tmp_path), learned)
    assert not damaged.look()
    assert "damaged" in damaged.problem
    damaged.close()
    assert (tmp_path / "motion.json").read_text() == json.dumps({"format": 1})


def test_a_profile_that_cannot_be_written_is_named(tmp_path, learned):
    (tmp_path / "file").write_text("")
    keeper = MotionKeeper(Profile(tmp_path / "file"), learned)
    keeper.look()
    keeper.close()
    assert "cannot be written" in keeper.problem


def test_without_a_profile_nothing_is_kept(learned):
    keeper = MotionKeeper(None, learned)
    assert not keeper.look()
    keeper.close()
    assert keeper.problem == ""
