"""What the experts of one drive hand on to the next: where it begins, and that it never holds the next one back."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from world_model.errors import ProfileError
from world_model.runtime.experts import TRUST, WITH_MEMORY, WITHOUT_MEMORY, Experts, Said, _half
from world_model.runtime.guard import DelayedMixture
from world_model.runtime.handed_on import WORTH, Learned, keep_experts, known_experts
from world_model.runtime.panel import Networks, Panel
from world_model.runtime.profile import EXPERTS, Profile

STEP_S, STEP_NS, DIM, HORIZONS_S = 0.05, 50_000_000, 6, (0.05, 1.0)


def panel(horizons_s=HORIZONS_S, dim=DIM):
    return Panel(horizons_s, STEP_S, np.zeros(dim), np.ones(dim), 2)


def drive(of, steps, seed, right="mean"):
    """Latents around a mean that is not the training set's; the network is right, or far off; errors [T, H]."""
    rng = np.random.default_rng(seed)
    latent_TD = rng.normal(size=(steps + 20, DIM)) + 3.0
    errors = np.zeros((steps, 2))
    for t in range(steps):
        of.observe(t * STEP_NS, latent_TD[t], np.zeros(2))
        for index, ahead in enumerate((1, 20)):
            network_D = latent_TD[t + ahead] if right == "network" else latent_TD[t + ahead] + 5.0
            got = of.combine(index, Networks(network_D, network_D, 0.0), None, None, False)
            errors[t, index] = np.mean((got.latent_D - latent_TD[t + ahead]) ** 2)
    return errors


@pytest.fixture(scope="module")
def first():
    """What a drive of 40 s taught: the network is wrong."""
    seen = panel()
    drive(seen, 800, seed=1)
    return seen, Learned.of(seen, "basis", STEP_S)


def test_the_next_drive_begins_where_the_last_one_ended(first):
    seen, learned = first
    later = panel()
    learned.begin(later, "basis", STEP_S)
    assert np.array_equal(later.usual, seen.usual)
    for new, old in zip(later.experts, seen.experts):
        for weights in (new.weights(False), old.weights(False)):
            assert weights.base_E[WITHOUT_MEMORY.index("network")] < 0.1
            assert weights.base_E.argmax() == WITHOUT_MEMORY.index("running_mean")
        assert new.weights(False).base_error == pytest.approx(old.weights(False).base_error)
    plain, begun = drive(panel(), 100, seed=2), drive(later, 100, seed=2)
    # The plain one believes the network, which is 5 off, until the first forecasts came true.
    assert plain[:20, 1].mean() > 20.0
    assert begun[:20].mean() < 2.0


def test_what_was_learned_can_be_overruled(first):
    _, learned = first
    later = panel()
    learned.begin(later, "basis", STEP_S)
    errors = drive(later, 400, seed=3, right="network")
    assert errors[-100:].mean() < 0.05


def test_it_is_bound_to_its_basis_and_refused_by_name(first):
    _, learned = first
    for other, entry, word in [("another", {}, "encoder_id"), ("basis", {"step_s": 0.1}, "step_s")]:
        untouched = panel()
        with pytest.raises(ProfileError, match=word):
            Learned({**learned.entries, **entry}, learned.arrays).begin(untouched, other, STEP_S)
        assert not untouched.usual.any()
    for name, array in [("mean", np.zeros(3)), ("0.ridge.gram", np.zeros(1)), ("1.guard", np.full((2, 10), np.nan))]:
        untouched = panel()
        with pytest.raises(ProfileError, match="finite"):
            Learned(learned.entries, {**learned.arrays, name: array}).begin(untouched, "basis", STEP_S)
        assert not untouched.usual.any()


def test_horizons_that_are_not_known_begin_plainly(first):
    seen, learned = first
    later = panel((1.0, 2.0))
    learned.begin(later, "basis", STEP_S)
    assert later.experts[0].weights(False).base_error == seen.experts[1].weights(False).base_error
    assert np.array_equal(later.experts[1].weights(False).base_E, np.eye(len(WITHOUT_MEMORY))[0])


def test_it_comes_back_from_a_profile_as_it_was(first, tmp_path):
    _, learned = first
    profile = Profile(tmp_path)
    assert known_experts(profile) is None
    keep_experts(profile, learned)
    found = known_experts(profile)
    assert found.entries == learned.entries
    assert set(found.arrays) == set(learned.arrays)
    assert all(np.array_equal(found.arrays[name], array) for name, array in learned.arrays.items())
    (tmp_path / "experts.json").write_text("{}")
    with pytest.raises(ProfileError, match="damaged"):
        known_experts(profile)
    assert EXPERTS == "experts"


@given(weights=st.lists(st.floats(-1.0, 1e6), min_size=5, max_size=5))
@settings(deadline=None)
def test_whatever_is_handed_on_no_expert_loses_more_than_half_of_its_prior(weights):
    plain_E = np.append(TRUST, np.full(4, (1.0 - TRUST) / 4))
    prior_E = _half(plain_E, np.array(weights))
    assert prior_E.sum() == pytest.approx(1.0)
    assert (prior_E >= 0.5 * plain_E - 1e-15).all()
    plain, begun = (DelayedMixture(each, np.ones(1)) for each in (plain_E, prior_E))
    for mixture in (plain, begun):
        mixture.learn(mixture.take(), np.arange(5.0)[:, None], np.zeros(1))
    for expert in range(5):
        # 3.5: the slowest learner's factor on the logarithm of a prior, as ``bound`` states it.
        more = begun.bound(expert) - plain.bound(expert)
        assert more <= begun.largest * begun.learner_count * 3.5 * math.log(2.0) + 1e-3


@given(seed=st.integers(0, 2**32 - 1), horizon=st.sampled_from([1, 5, 20]))
@settings(max_examples=20, deadline=None)
def test_a_drive_after_the_worst_prior_stays_under_the_bound(seed, horizon):
    """All weight was on one expert, and shares were: now another is right."""
    rng = np.random.default_rng(seed)
    experts = Experts(horizon * STEP_S, STEP_S, np.ones(DIM), DIM)
    learned = experts.learned()
    learned["base_guard"] = np.tile(rng.permutation(np.eye(1, len(WITHOUT_MEMORY) + 1)[0]), (2, 1))
    learned["guard"] = np.tile(rng.permutation(np.eye(1, len(WITH_MEMORY) + 1)[0]), (2, 1))
    wrong = rng.normal(size=(2, len(WITHOUT_MEMORY) - 1)) ** 2
    learned |= {"base.gram": 50.0 * np.outer(wrong[0], wrong[0]), "base.moment": 50.0 * wrong[1]}
    learned["base.error"] = np.array([1.0, 5.0])
    experts.begin(learned, WORTH)
    latent_TD = np.cumsum(rng.normal(size=(300 + horizon, DIM)), axis=0) * 0.2
    right, sums = rng.integers(3), np.zeros(5)
    for t in range(300 + horizon):
        experts.observe(t * STEP_NS, latent_TD[t])
        if t < 300:
            far_3D = (
                latent_TD[t + horizon] + rng.normal(size=(3, DIM)) * np.where(np.arange(3) == right, 0.1, 2.0)[:, None]
            )
            latent_D = far_3D[1]
            got = experts.combine(
                Said(t * STEP_NS, far_3D[0], far_3D[0], 0.0, latent_D, far_3D[2], latent_TD[t], None, False)
            )
            rows = np.stack([got.without_memory_D, far_3D[0], latent_D, far_3D[2], got.ridge_D])
            sums += np.mean((rows - latent_TD[t + horizon]) ** 2, axis=1)
    guard = experts.base_guard[False]
    for expert in range(4):
        assert sums[0] - sums[1 + expert] <= guard.bound(1 + expert) * 1.01 + 0.1
