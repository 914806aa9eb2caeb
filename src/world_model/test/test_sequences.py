import numpy as np
import pytest
import torch

from wm_testing.artifacts import make_random_artifact
from world_model.data.episodes import Episode
from world_model.evaluation.bank import MemoryBank
from world_model.models import GruContext, Transition
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.conditioning import Retrieval
from world_model.runtime.motion import MotionModel
from world_model.runtime.predictor import Observation, Predictor
from world_model.training.motion_fit import pose_or_none
from world_model.training.sampler import Sampler, answers_at
from world_model.training.sequences import ExtraErrors, build_sequence

STEPS = (1, 20)
MOTION = MotionModel(weights=((0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0)))


@pytest.fixture(scope="module")
def circling():
    """A episode of 40 s around a circle of 10 s, so everything is seen four times."""
    count = 800
    rng = np.random.default_rng(0)
    angle_T = np.arange(count) * 0.05 * 2 * np.pi / 10
    pose_T4 = np.column_stack([2 * np.sin(angle_T), 2 - 2 * np.cos(angle_T), np.zeros(count), angle_T])
    # Each lap a little aside of the last, or memories of two laps would lie equally near.
    pose_T4[:, :2] += np.arange(count)[:, None] * [2e-4, 1e-4]
    pose_T4[:5] = np.nan
    action_TA = np.tile(np.float32([4 * np.pi / 10, 2 * np.pi / 10]), (count, 1))
    action_TA[:3] = np.nan
    image = rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    episode = Episode("circle", "circle", image, (np.arange(count) * 50_000_000).astype(np.int64), pose_T4, action_TA)
    latent_TD = rng.normal(size=(count, 32)).astype(np.float32)
    return episode, latent_TD


@pytest.mark.parametrize("known_future", [True, False])
def test_training_sees_what_the_live_predictor_sees(circling, tmp_path, known_future):
    """The arrays a batch holds equal what the online predictor hands to the transition, frame by frame."""
    episode, latent_TD = circling
    make_random_artifact(tmp_path, motion=MOTION.to_manifest())
    predictor = Predictor(load_artifact(tmp_path))
    transition = Transition(32, 2, GruContext(34, 16), width=16, memory_width=16)
    handed = {}
    forward = predictor._transition.forecast

    class Spy:
        initial = predictor._transition.initial
        observe = predictor._transition.observe
        foresee_path = predictor._transition.foresee_path

        def forecast(self, *arguments):
            handed[t] = [a.numpy()[0] for a in arguments[3:4] + arguments[5:13]]
            return forward(*arguments)

    predictor._transition = Spy()
    bank = MemoryBank()
    for t in range(len(episode)):
        action_A = episode.action_TA[t] if np.isfinite(episode.action_TA[t]).all() else None
        item = Observation(int(episode.stamp_T[t]), latent_TD[t], pose_or_none(episode.pose_T4[t]), action_A)
        plan_SA = episode.action_TA[t + 1 : t + 20] if known_future and t >= 3 else None
        predictor.predict(bank.answer(predictor.observe(item, plan_SA)))
        bank.observe(item)
    sequence = build_sequence(
        episode, latent_TD, MOTION, Retrieval(), STEPS, 0.05, path=transition, known_future=known_future
    )
    frames = np.array([10, 300, 450, 601, 799])
    built = answers_at(sequence, frames)
    motion, spot, spot_feature, spot_valid, twin, twin_feature, twin_valid, follow, follow_valid = built
    live = [np.stack(column) for column in zip(*(handed[t] for t in frames))]
    assert live[0] == pytest.approx(motion, abs=1e-5)
    assert spot_valid[3:].all()
    for column, valid in ((3, spot_valid), (6, twin_valid), (8, follow_valid)):
        assert np.array_equal(live[column], valid)
    assert live[1][spot_valid] == pytest.approx(spot[spot_valid])
    assert live[2][spot_valid] == pytest.approx(spot_feature[spot_valid], abs=1e-5)
    assert live[4][twin_valid] == pytest.approx(twin[twin_valid])
    assert live[5][twin_valid] == pytest.approx(twin_feature[twin_valid], abs=1e-5)
    assert live[7][follow_valid] == pytest.approx(follow[follow_valid])


def test_the_memory_holds_only_the_past(circling):
    episode, latent_TD = circling
    sequence = build_sequence(episode, latent_TD, MOTION, Retrieval(), STEPS, 0.05)
    age_s = (sequence.stamp_T[:, None, None] - sequence.table.stamp_N[sequence.spot_index_THK]) * 1e-9
    assert age_s[sequence.spot_index_THK >= 0].min() >= 20.0
    assert not sequence.revisit_T[:390].any()
    assert sequence.revisit_T[420:].all()


def test_a_drive_without_poses_has_no_memories(circling):
    episode, latent_TD = circling
    lost = Episode(
        "lost", "x", episode.image_TSSC, episode.stamp_T, np.full_like(episode.pose_T4, np.nan), episode.action_TA
    )
    sequence = build_sequence(lost, latent_TD, MOTION, Retrieval(), STEPS, 0.05)
    assert (sequence.spot_index_THK < 0).all()
    batch = Sampler([sequence], STEPS, 24, 6, 4, 0).draw(3)
    assert not batch.spot_valid_RHK.any()
    assert torch.isfinite(batch.spot_RHKD).all()


def test_the_same_seed_draws_the_same_batch(circling):
    episode, latent_TD = circling
    sequence = build_sequence(episode, latent_TD, MOTION, Retrieval(), STEPS, 0.05)
    first, second = (Sampler([sequence], STEPS, 24, 6, 4, 5).draw(4) for _ in range(2))
    assert torch.equal(first.target_RHD, second.target_RHD)
    assert torch.equal(first.spot_RHKD, second.spot_RHKD)


def test_extra_errors_are_added_and_told(circling):
    episode, latent_TD = circling
    plain = build_sequence(episode, latent_TD, MOTION, Retrieval(), STEPS, 0.05, known_future=True)
    extra = ExtraErrors((0.2, 0.1, 0.3), seed=3)
    worse = build_sequence(episode, latent_TD, MOTION, Retrieval(), STEPS, 0.05, known_future=True, extra=extra)
    told_H3 = extra.told(STEPS, 0.05)
    assert told_H3[1] == pytest.approx([0.2, 0.1, 0.3])
    assert (told_H3[0] < told_H3[1]).all()
    assert worse.motion_THM[100, :, 4:] == pytest.approx(told_H3)
    error_TH3 = (worse.motion_THM - plain.motion_THM)[10:, :, :3]
    # Errors of half a second: 40 s hold some forty of them.
    assert error_TH3.std(axis=0) == pytest.approx(told_H3, rel=0.4)
    assert not np.array_equal(worse.spot_index_THK, plain.spot_index_THK)
