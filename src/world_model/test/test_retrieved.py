import math

import numpy as np
import pytest

from wm_core.se2 import Pose2
from world_model.runtime.conditioning import MOTION_FEATURES, Retrieval, motion_features
from world_model.runtime.retrieved import Memory, Present, count_successors, gathered, plain_copy, successor_arrays

HERE = Pose2(2.0, 1.0, 0.0, math.pi / 2)


def memory(forward, left, turn, value):
    return Memory(0, 0, np.full(3, value), HERE.moved((forward, left, turn)))


def together(*memories):
    return gathered(memories, latent_dim=3, action_dim=2)


def test_a_copy_counts_memories_by_how_likely_they_are_the_place():
    found = together(memory(0.0, 0.0, 0.0, 1.0), memory(0.15, 0.0, 0.0, 3.0))
    weight = math.exp(-0.5)
    expected = (1.0 + 3.0 * weight) / (1.0 + weight)
    assert plain_copy(found, HERE, np.zeros(3), Retrieval()) == pytest.approx(np.full(3, expected))


def test_the_less_sure_the_pose_the_more_alike_memories_count():
    found = together(memory(0.0, 0.0, 0.05, 0.0), memory(0.0, 0.0, 0.4, 1.0))
    sure, unsure = (plain_copy(found, HERE, np.array([0.0, 0.0, std]), Retrieval())[0] for std in (0.0, 0.5))
    assert sure < 0.05
    assert unsure == pytest.approx(0.43, abs=0.05)


def test_memories_far_beyond_likelihood_still_give_the_nearest():
    found = together(memory(60.0, 0.0, 0.0, 1.0), memory(90.0, 0.0, 0.0, 2.0))
    assert plain_copy(found, HERE, np.zeros(3), Retrieval()) == pytest.approx(np.ones(3))


def test_features_of_a_motion_that_is_not_known_are_all_zero():
    moved_H3 = np.array([[0.5, 0.1, 0.2], [np.nan, 0.1, 0.2]])
    features_HF = motion_features(moved_H3, np.full((2, 3), 0.04), Retrieval(length_scale_m=0.5))
    assert features_HF.shape == (2, MOTION_FEATURES)
    assert features_HF[0] == pytest.approx([1.0, 0.2, 0.2, 1.0, 0.08, 0.08, 0.04])
    assert not features_HF[1].any()


def test_arrays_of_memories_hold_what_they_hold_and_nan_for_what_is_not_known():
    followed = ((0.05, 0.06, np.ones(3)), (1.0, 0.98, np.full(3, 2.0)))
    told = Memory(7, 5, np.full(3, 4.0), Pose2(1.0, 2.0, 3.0, 0.5), np.array([0.1, 0.2], np.float32), followed)
    short = Memory(8, 6, np.zeros(3), Pose2(0.0, 0.0, 0.0, 0.0), np.array([0.1], np.float32))
    found = together(told, short)
    assert found.id_K.tolist() == [7, 8]
    assert found.stamp_K.tolist() == [5, 6]
    assert found.pose_K4[0].tolist() == [1.0, 2.0, 3.0, 0.5]
    assert found.action_KA[0] == pytest.approx([0.1, 0.2])
    assert np.isnan(found.action_KA[1]).all()
    assert found.dt_KM[0].tolist() == [0.06, 0.98]
    assert np.isnan(found.dt_KM[1]).all()
    assert found.successor_KMD[0].tolist() == [[1.0] * 3, [2.0] * 3]


def test_only_successors_near_a_horizon_are_told_the_network():
    here = Present(0, HERE, None)
    memories = [
        Memory(1, 0, np.zeros(3), HERE, None, ((0.05, 0.06, np.ones(3)), (1.0, 1.3, np.full(3, 2.0)))),
        Memory(2, 0, np.zeros(3), HERE, None, ((1.0, 1.02, np.full(3, 3.0)),)),
        Memory(3, 0, np.zeros(3), HERE),
    ]
    arrays = successor_arrays(together(*memories), here, (0.05, 1.0), 0.05, 4, 3)
    assert arrays["successor_valid"][0].tolist() == [[True, False, False, False], [False, True, False, False]]
    assert arrays["successor_latent"][0, 0, 0].tolist() == [1.0] * 3
    assert arrays["successor_latent"][0, 1, 1].tolist() == [3.0] * 3
    assert count_successors(together(*memories), [(0.02, 0.08), (0.95, 1.05)]) == (2, 1)
