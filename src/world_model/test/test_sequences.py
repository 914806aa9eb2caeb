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
from world_model.runtime.switches import CALIBRATION
from world_model.runtime.tensors import VALID_FIELDS
from world_model.training.displacement import pose_or_none
from world_model.training.sampler import Sampler, answers_at
from world_model.training.sequences import ExtraErrors, build_sequence

pytestmark = pytest.mark.training

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
    # What a robot learns of its motion while driving comes on top of the prior that training works with.
    predictor = Predictor(load_artifact(tmp_path), without=(CALIBRATION,))
    transition = Transition(32, 2, GruContext(34, 16), width=16, memory_width=16)
    handed = {}
    forward = predictor._context.transition.forecast

    class Spy:
        initial = predictor._context.transition.initial
        observe = predictor._context.transition.observe
        foresee_path = predictor._context.transition.foresee_path

        def forecast(self, observed, retrieved):
            handed[t] = {name: array[0] for name, array in retrieved._asdict().items()}
            handed[t]["motion"] = observed.motion[0]
            return forward(observed, retrieved)

    predictor._context.transition = Spy()
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
    built = {name: tensor.numpy() for name, tensor in answers_at(sequence, frames)._asdict().items()}
    live = {name: np.stack([handed[t][name] for t in frames]) for name in handed[10]}
    assert live["motion"] == pytest.approx(sequence.motion_THM[frames], abs=1e-5)
    assert built["anticipated_valid"][3:].all()
    for name in VALID_FIELDS:
        assert np.array_equal(live[name], built[name])
    for kind in ("anticipated", "appearance", "successor"):
        valid = built[f"{kind}_valid"]
        assert live[f"{kind}_latent"][valid] == pytest.approx(built[f"{kind}_latent"][valid])
    for kind in ("anticipated", "appearance"):
        valid = built[f"{kind}_valid"]
        assert live[f"{kind}_feature"][valid] == pytest.approx(built[f"{kind}_feature"][valid], abs=1e-5)


def test_the_memory_holds_only_the_past(circling):
    episode, latent_TD = circling
    sequence = build_sequence(episode, latent_TD, MOTION, Retrieval(), STEPS, 0.05)
    age_s = (sequence.stamp_T[:, None, None] - sequence.table.stamp_N[sequence.anticipated_index_THK]) * 1e-9
    assert age_s[sequence.anticipated_index_THK >= 0].min() >= 20.0
    assert not sequence.revisit_T[:390].any()
    assert sequence.revisit_T[420:].all()


def test_a_drive_without_poses_has_no_memories(circling):
    episode, latent_TD = circling
    lost = Episode(
        "lost", "x", episode.image_TSSC, episode.stamp_T, np.full_like(episode.pose_T4, np.nan), episode.action_TA
    )
    sequence = build_sequence(lost, latent_TD, MOTION, Retrieval(), STEPS, 0.05)
    assert (sequence.anticipated_index_THK < 0).all()
    batch = Sampler([sequence], STEPS, 24, 6, 4, 0).draw(3)
    assert not batch.retrieved.anticipated_valid.any()
    assert torch.isfinite(batch.retrieved.anticipated_latent).all()


def test_the_same_seed_draws_the_same_batch(circling):
    episode, latent_TD = circling
    sequence = build_sequence(episode, latent_TD, MOTION, Retrieval(), STEPS, 0.05)
    first, second = (Sampler([sequence], STEPS, 24, 6, 4, 5).draw(4) for _ in range(2))
    assert torch.equal(first.target_RHD, second.target_RHD)
    assert torch.equal(first.retrieved.anticipated_latent, second.retrieved.anticipated_latent)


def test_dropout_takes_every_answer_of_a_frame_and_nothing_else(circling):
    episode, latent_TD = circling
    sequence = build_sequence(episode, latent_TD, MOTION, Retrieval(), STEPS, 0.05)
    whole, dropped = (Sampler([sequence], STEPS, 24, 6, 4, 5).draw(64, share) for share in (0.0, 0.5))
    lost_R = np.ones(len(whole.row_R), bool)
    for name in VALID_FIELDS:
        before, after = (getattr(batch.retrieved, name).flatten(1) for batch in (whole, dropped))
        kept_R = (before == after).all(dim=1).numpy()
        assert not after[~kept_R].any()
        lost_R &= ~kept_R | ~before.any(dim=1).numpy()
    asked_R = whole.retrieved.anticipated_valid.flatten(1).any(dim=1).numpy()
    assert 0.3 < lost_R[asked_R].mean() < 0.7
    rest = set(whole.retrieved._fields) - set(VALID_FIELDS)
    assert all(torch.equal(getattr(whole.retrieved, name), getattr(dropped.retrieved, name)) for name in rest)
    assert all(torch.equal(*pair) for pair in zip(whole[:-1], dropped[:-1]))


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
    assert not np.array_equal(worse.anticipated_index_THK, plain.anticipated_index_THK)
