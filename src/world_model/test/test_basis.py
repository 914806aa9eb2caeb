"""Another basis of the latents: what was learned is learned again, nothing of two bases is mixed, memories follow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from wm_core.projection import Projection
from wm_core.se2 import Pose2
from wm_testing.features import make_feature_artifact
from world_model.data.episodes import Episode
from world_model.errors import ArtifactError, ProfileError
from world_model.evaluation.adaptation import features_of, learned_projection, stamps_of
from world_model.evaluation.bank import MemoryBank
from world_model.evaluation.bases import see
from world_model.evaluation.online import known_to, run_online
from world_model.evaluation.runner import forecast_episode
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.fitting import FeatureCollector, save_projection, saved_projection
from world_model.runtime.handed_on import Learned
from world_model.runtime.past import Past, Seen
from world_model.runtime.predictor import Observation, Predictor
from world_model.runtime.profile import Profile

pytestmark = pytest.mark.training
STEP_NS = 50_000_000


def circling(count: int, loop: int = 500, seed: int = 0) -> Episode:
    """Pictures of a robot that circles: brightness waves that depend on the heading, and a little noise."""
    random = np.random.default_rng(seed)
    angle = 2.0 * np.pi * np.arange(count) / loop
    column = np.arange(64)[None, None, :, None] / 64.0
    tints = random.uniform(1.0, 5.0, (1, 1, 1, 3))
    waves = np.sin(angle[:, None, None, None] * np.round(tints) + 2.0 * np.pi * column * np.round(tints))
    pictures = 127.0 + 90.0 * waves + random.normal(0.0, 3.0, (count, 64, 64, 3))
    pose = np.stack([5.0 * np.cos(angle), 5.0 * np.sin(angle), np.zeros(count), angle + np.pi / 2], axis=1)
    image = np.clip(pictures, 0, 255).astype(np.uint8)
    stamps = np.arange(count, dtype=np.int64) * STEP_NS
    return Episode("circling", "hall", image, stamps, pose, np.full((count, 2), 0.5, np.float32))


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    path = tmp_path_factory.mktemp("features")
    make_feature_artifact(path)
    return load_artifact(path)


def test_only_what_moved_counts(artifact):
    space = artifact.features().space
    still = np.zeros(space.size, np.int8)
    collector = FeatureCollector(space, 12)
    assert [collector.add(still + np.int8(number % 2)) for number in range(50)] == [False] * 50
    assert len(collector) == 1
    moved = np.random.default_rng(0).integers(-50, 50, (12, space.size)).astype(np.int8)
    assert [collector.add(code_F) for code_F in moved] == [False] * 10 + [True, False]
    assert collector.fit(8).is_fitted


@pytest.mark.parametrize(("rate_hz", "enough"), [(20, 60), (30, 60), (10, 33), (7, 24), (2, 20)])
def test_of_a_slow_camera_fewer_frames_of_as_long_a_drive_are_enough(artifact, rate_hz, enough):
    space = artifact.features().space
    codes = np.random.default_rng(0).integers(-50, 50, (80, space.size)).astype(np.int8)
    collector = FeatureCollector(space, 60)
    added = [collector.add(code_F, number * 1_000_000_000 // rate_hz) for number, code_F in enumerate(codes)]
    assert added.index(True) in (enough - 1, enough)


@pytest.mark.parametrize(("rate_hz", "enough"), [(20, 600), (10, 331)])
def test_recordings_are_learned_from_as_the_live_graph_learns(artifact, rate_hz, enough):
    episode = circling(650, loop=50)
    episode = replace(episode, stamp_T=episode.stamp_T * 20 // rate_hz)
    first, own = see(artifact, episode).stretches
    assert first.end == enough
    code_NF = features_of([episode], artifact)
    learned = learned_projection(code_NF, stamps_of([episode]), artifact.projection.space, artifact.manifest.z_dim)
    assert learned.encoder_id == own.projection.encoder_id


def test_standing_still_is_no_driving(artifact):
    space = artifact.features().space
    codes = np.random.default_rng(0).integers(-50, 50, (30, space.size)).astype(np.int8)
    collector = FeatureCollector(space, 60)
    still = [collector.add(codes[0], number * 100_000_000) for number in range(1000)]
    # And a gap is not known to be driving either.
    moved = [collector.add(code_F, 1_000_000_000_000 + number * 100_000_000) for number, code_F in enumerate(codes)]
    assert not any(still + moved)


def test_a_projection_stays_with_the_robot(artifact, tmp_path):
    network, z_dim = artifact.features(), artifact.manifest.z_dim
    fitted = Projection.fit(network.space, network.encode(circling(60).image_TSSC), z_dim)
    profile = Profile(tmp_path / "robot")
    assert saved_projection(profile, network.space, z_dim) is None
    save_projection(profile, fitted)
    loaded = saved_projection(profile, network.space, z_dim)
    assert loaded is not None
    assert (loaded.encoder_id, loaded.variance) == (fitted.encoder_id, fitted.variance)
    with pytest.raises(ProfileError, match="use another profile"):
        saved_projection(profile, network.space, z_dim + 1)


def test_examples_are_what_the_regression_had_seen():
    past = Past(0.05)
    codes = np.random.default_rng(1).integers(-50, 50, (9, 4)).astype(np.int8)
    for number in range(9):
        moved = np.full((1, 3), np.nan if number == 2 else number)
        past.add(Seen(number * STEP_NS, codes[number], np.array([number, 0.0]), moved))
    latents = codes[:, :2].astype(np.float64)
    (example,) = past.examples(latents, lambda seen: seen, (0.1,), 0.5)
    np.testing.assert_array_equal(example.latent_ND, latents[:7])
    np.testing.assert_array_equal(example.change_ND, latents[2:9] - latents[:7])
    # Latent, change, action, displacement and whether it is known.
    np.testing.assert_array_equal(
        example.regressor_NR[3], [*latents[3], *(latents[3] - latents[2]), 3.0, 0.0, 3.0, 3.0, 3.0, 1.0]
    )
    np.testing.assert_array_equal(example.regressor_NR[2, -4:], 0.0)


def run(artifact, episode: Episode, rows: range, predictor: Predictor, projection: Projection):
    """Drive a predictor along rows of an episode in one basis; return its last prediction."""
    codes = artifact.features().encode(np.asarray(episode.image_TSSC)[rows.start : rows.stop])
    prediction = None
    for row, code_F, latent_D in zip(rows, codes, projection.project(codes)):
        x, y, z, yaw = episode.pose_T4[row].tolist()
        action = np.asarray(episode.action_TA[row])
        predictor.observe(Observation(row * STEP_NS, latent_D, Pose2(x, y, z, yaw), action, code_F=code_F))
        prediction = predictor.predict(None)
    return prediction


def test_what_was_learned_is_known_in_the_other_basis(artifact):
    episode, predictor = circling(700), Predictor(artifact)
    assert artifact.projection is not None
    run(artifact, episode, range(400), predictor, artifact.projection)
    codes = artifact.features().encode(episode.image_TSSC[:400])
    own = Projection.fit(artifact.features().space, codes, artifact.manifest.z_dim)
    predictor.rebase(own)
    prediction = run(artifact, episode, range(400, 401), predictor, own)
    far = prediction.forecasts[-1]
    np.testing.assert_allclose(far.mean_D, own.project(codes).mean(axis=0), atol=0.1)
    truth_D = own.project(artifact.features().encode(episode.image_TSSC[420:421]))[0]
    persistence = float(np.square(far.persistence_D - truth_D).mean())
    assert float(np.square(far.without_memory_D - truth_D).mean()) < 0.5 * persistence


def test_another_basis_before_anything_was_seen(artifact):
    predictor = Predictor(artifact)
    episode = circling(100)
    own = Projection.fit(artifact.features().space, artifact.features().encode(episode.image_TSSC), 8)
    predictor.rebase(own)
    assert run(artifact, episode, range(3), predictor, own) is not None


def test_a_network_cannot_follow(tmp_path):
    from wm_testing.artifacts import make_random_artifact

    make_random_artifact(tmp_path / "latents")
    make_feature_artifact(tmp_path / "features", z_dim=32)
    projection = load_artifact(tmp_path / "features").projection
    assert projection is not None
    with pytest.raises(ArtifactError, match="cannot go on in another"):
        Predictor(load_artifact(tmp_path / "latents")).rebase(projection)


def test_memories_and_their_successors_follow(artifact):
    episode, space = circling(200), artifact.features().space
    codes = artifact.features().encode(episode.image_TSSC)
    own = Projection.fit(space, codes, 8)
    followed, fresh = MemoryBank.of(artifact.manifest), MemoryBank.of(artifact.manifest)
    for row in range(200):
        if row == 150:
            followed.reproject(own)
        x, y, z, yaw = episode.pose_T4[row].tolist()
        for bank, basis in ((followed, artifact.projection if row < 150 else own), (fresh, own)):
            latent_D = basis.project(codes[row : row + 1])[0]
            bank.observe(Observation(row * STEP_NS, latent_D, Pose2(x, y, z, yaw), code_F=codes[row]))
    ours, theirs = (bank._states for bank in (followed, fresh))
    assert len(ours) == len(theirs) > 5
    np.testing.assert_allclose(ours.columns().latent_ND, theirs.columns().latent_ND, atol=1e-5)
    for row in range(len(ours)):
        pairs = list(zip(ours.successors_of(row), theirs.successors_of(row)))
        assert all(np.allclose(one.latent_D, other.latent_D, atol=1e-5) for one, other in pairs)


def test_forecasts_are_judged_within_one_basis(artifact):
    episode = circling(900, loop=100)
    seen = see(artifact, episode)
    assert len(seen.stretches) == 2
    switch = seen.stretches[1].first
    first, second = forecast_episode(episode, artifact, (1, 20), only_ours=True)
    assert not first.has_unit
    assert second.has_unit
    assert not (first.judged_T & second.judged_T).any()
    assert (first.target_row_TH[first.judged_T] < switch).all()
    assert (second.target_row_TH[second.judged_T] >= -1).all()
    held = second.forecast["persistence"][switch:, 0]
    np.testing.assert_allclose(held, seen.stretches[1].latent_TD[switch:])


def test_a_projection_of_the_profile_is_in_use_from_the_first_frame(artifact):
    episode = circling(200)
    own = Projection.fit(artifact.features().space, artifact.features().encode(episode.image_TSSC), 8)
    (only,) = forecast_episode(episode, artifact, (1, 20), only_ours=True, projection=own)
    assert only.has_unit
    np.testing.assert_allclose(only.variance_D, own.variance)
    codes = artifact.features().encode(episode.image_TSSC)
    np.testing.assert_allclose(only.latent_TD, own.project(codes))
    assert only.judged_T.sum() == 180
    assert np.isfinite(only.forecast["ours"][:180]).all()


def test_a_short_episode_has_no_unit(artifact):
    (only,) = forecast_episode(circling(80), artifact, (1, 20), only_ours=True)
    assert not only.has_unit


@pytest.mark.slow
def test_a_second_start_keeps_memories_and_begins_with_what_experts_handed_on(artifact):
    episode, start_s = circling(520, loop=420), 21.0
    again = round(start_s / 0.05)

    def runs(**more):
        (run, *_) = forecast_episode(
            episode, artifact, (1, 20), known_future=False, start_s=start_s, only_ours=True, projection=own, **more
        )
        return run.forecast

    own = see(artifact, episode, frames=150).stretches[-1].projection
    assert own.is_fitted
    on, anew = runs(), runs(anew=True)
    assert np.array_equal(on["ours"][:again], anew["ours"][:again])
    assert not np.array_equal(on["ours"][again + 1 :], anew["ours"][again + 1 :])
    # What is remembered is there at once, what was usual is not.
    nearest = "nearest memory at forecast pose"
    assert np.isfinite(anew[nearest][again:]).all()
    assert not np.array_equal(anew["persistence"][again + 40 :], anew[nearest][again + 40 :])
    first_D = own.project(artifact.features().encode(episode.image_TSSC[again : again + 1]))[0]
    assert anew["running mean"][again, 0] == pytest.approx(first_D, abs=1e-4)
    learned = run_online(
        episode, known_to(artifact, episode), see(artifact, episode, own=own), artifact, (1, 20), known_future=False
    ).learned
    begun = runs(anew=True, experts=learned)
    assert np.abs(begun["running mean"][again, 0] - on["running mean"][again, 0]).max() < 0.2 * np.abs(first_D).max()
    foreign = Learned({**learned.entries, "encoder_id": "another"}, learned.arrays)
    assert np.array_equal(runs(anew=True, experts=foreign)["ours"], anew["ours"])
