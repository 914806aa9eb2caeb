import math

import numpy as np
import pytest

from wm_core.se2 import Pose2
from world_model.runtime.conditioning import MOTION_FEATURES, Retrieval, motion_features
from world_model.runtime.retrieved import Memory, plain_copy

HERE = Pose2(2.0, 1.0, 0.0, math.pi / 2)


def memory(forward, left, turn, value):
    return Memory(0, 0, np.full(3, value), HERE.moved((forward, left, turn)))


def test_a_copy_counts_memories_by_how_likely_they_are_the_place():
    found = [memory(0.0, 0.0, 0.0, 1.0), memory(0.15, 0.0, 0.0, 3.0)]
    weight = math.exp(-0.5)
    expected = (1.0 + 3.0 * weight) / (1.0 + weight)
    assert plain_copy(found, HERE, np.zeros(3), Retrieval()) == pytest.approx(np.full(3, expected))


def test_the_less_sure_the_pose_the_more_alike_memories_count():
    found = [memory(0.0, 0.0, 0.05, 0.0), memory(0.0, 0.0, 0.4, 1.0)]
    sure, unsure = (plain_copy(found, HERE, np.array([0.0, 0.0, std]), Retrieval())[0] for std in (0.0, 0.5))
    assert sure < 0.05
    assert unsure == pytest.approx(0.43, abs=0.05)


def test_memories_far_beyond_likelihood_still_give_the_nearest():
    found = [memory(60.0, 0.0, 0.0, 1.0), memory(90.0, 0.0, 0.0, 2.0)]
    assert plain_copy(found, HERE, np.zeros(3), Retrieval()) == pytest.approx(np.ones(3))


def test_features_of_a_motion_that_is_not_known_are_all_zero():
    moved_H3 = np.array([[0.5, 0.1, 0.2], [np.nan, 0.1, 0.2]])
    features_HF = motion_features(moved_H3, np.full((2, 3), 0.04), Retrieval(length_scale_m=0.5))
    assert features_HF.shape == (2, MOTION_FEATURES)
    assert features_HF[0] == pytest.approx([1.0, 0.2, 0.2, 1.0, 0.08, 0.08, 0.04])
    assert not features_HF[1].any()
