"""What was learned from many robots: it depends on no robot's basis, and counts as far as it is right."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
import torch

from wm_core.projection import FeatureSpace, Projection
from wm_core.se2 import Pose2
from wm_testing.features import make_feature_artifact
from world_model.errors import ArtifactError
from world_model.models.config import ModelConfig
from world_model.models.factory import make_transition
from world_model.runtime.artifact_folder import write_artifact
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.experts import WITH_MEMORY, WITHOUT_MEMORY, Experts, Said
from world_model.runtime.predictor import Observation, Predictor
from world_model.runtime.prior import BASIS, KEPT, SPEAKS_S, Prior, turning
from world_model.runtime.retrieved import Memory
from world_model.runtime.tensors import Observed, Retrieved

pytestmark = pytest.mark.training
FEATURES, COMMON, LATENT, HORIZONS, K = 64, 12, 8, 2, 3
STEP_NS = 50_000_000


def orthonormal(rows: int, size: int, seed: int) -> np.ndarray:
    directions, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(size, rows)))
    return directions.T


def untrained_prior(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    config = ModelConfig(latent_dim=COMMON, hidden_dim=8, width=16, memory_width=8)
    model = make_transition(config, 2, history_dim=1)
    model.register_buffer(BASIS, torch.tensor(orthonormal(COMMON, FEATURES, 5), dtype=torch.float32))
    model.register_buffer(KEPT, torch.tensor([0.4, 0.8]))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval().requires_grad_(False)


def bound(model: torch.nn.Module, projection: Projection, variance: float) -> Prior:
    return Prior(model, dict(model.named_buffers()), projection, variance)


def projection_of(components: np.ndarray, variance: float = 2.0) -> Projection:
    return Projection(FeatureSpace("same", FEATURES, 2, 0.1, 0), np.zeros(FEATURES), components, variance)


def situation(seed: int = 1) -> tuple[list[torch.Tensor], Observed, Retrieved, torch.Tensor]:
    """Returns latents seen before, the present, what the memory answers, and plain copies."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    observed = Observed(
        state=torch.zeros(1, 0),
        latent=normal(1, LATENT),
        action=normal(1, 2),
        motion=normal(1, HORIZONS, 7).abs(),
        horizon_s=torch.tensor([[0.05, 1.0]]),
        history=normal(1, 896),
        history_count=torch.full((1,), 4),
    )
    retrieved = Retrieved(
        anticipated_latent=normal(1, HORIZONS, K, LATENT),
        anticipated_feature=0.3 * normal(1, HORIZONS, K, 6),
        anticipated_valid=torch.ones(1, HORIZONS, K, dtype=torch.bool),
        appearance_latent=normal(1, K, LATENT),
        appearance_feature=0.3 * normal(1, K, 7),
        appearance_valid=torch.ones(1, K, dtype=torch.bool),
        successor_latent=normal(1, HORIZONS, K, LATENT),
        successor_valid=torch.ones(1, HORIZONS, K, dtype=torch.bool),
    )
    return [normal(1, LATENT) for _ in range(4)], observed, retrieved, normal(1, HORIZONS, LATENT)


def foretold(prior: Prior, turn: torch.Tensor, scale: float = 1.0) -> tuple[torch.Tensor, ...]:
    """Returns what a prior says where all latents are turned and scaled."""
    before, observed, retrieved, copied = situation()
    turned = turn.T * scale
    state = prior.initial(1)
    for latent in (*before, observed.latent):
        state = prior.observe(latent @ turned, state)
    latents = {name: getattr(retrieved, name) @ turned for name in Retrieved._fields if name.endswith("_latent")}
    observed = observed._replace(state=state, latent=observed.latent @ turned)
    return prior.forecast(observed, retrieved._replace(**latents), copied @ turned)


@pytest.mark.parametrize("kind", ["turned", "signs", "order"])
def test_forecasts_are_the_same_whatever_basis_a_robot_fitted(kind):
    model, components = untrained_prior(), orthonormal(LATENT, FEATURES, 2)
    rng = np.random.default_rng(4)
    turn = {
        "turned": orthonormal(LATENT, LATENT, 3),
        "signs": np.diag(rng.choice([-1.0, 1.0], LATENT)),
        "order": np.eye(LATENT)[rng.permutation(LATENT)],
    }[kind]
    plain = foretold(bound(model, projection_of(components), 2.0), torch.eye(LATENT))
    turn_DD = torch.tensor(turn, dtype=torch.float32)
    turned = foretold(bound(model, projection_of(turn @ components), 2.0), turn_DD)
    for one, other in zip(plain[:2], turned[:2]):
        assert other @ turn_DD == pytest.approx(one, abs=2e-5)
    assert turned[2] == pytest.approx(plain[2], abs=1e-5)


def test_forecasts_scale_with_the_unit_of_a_robot():
    model, components = untrained_prior(), orthonormal(LATENT, FEATURES, 2)
    one = foretold(bound(model, projection_of(components), 2.0), torch.eye(LATENT))
    scaled = foretold(bound(model, projection_of(components, 18.0), 18.0), torch.eye(LATENT), scale=3.0)
    assert scaled[0] == pytest.approx(3.0 * one[0], abs=1e-4)
    assert scaled[1] == pytest.approx(3.0 * one[1], abs=1e-4)


def test_what_lies_outside_the_common_directions_fades_without_memories_and_is_copied_with_them():
    model = untrained_prior()
    basis = model.get_buffer(BASIS).numpy()
    outside = np.linalg.svd(basis)[2][COMMON:][:LATENT]
    prior = bound(model, projection_of(outside), 2.0)
    _, observed, _, copied = situation()
    with_BHD, without_BHD, gate_BH = foretold(prior, torch.eye(LATENT))
    kept = 0.4 ** (observed.horizon_s**0.8)
    assert without_BHD == pytest.approx(kept[..., None] * observed.latent[:, None], abs=1e-5)
    assert with_BHD == pytest.approx(without_BHD + gate_BH[..., None] * (copied - without_BHD), abs=1e-5)


def test_turning_there_and_back_is_lossless_inside_the_common_directions():
    basis = orthonormal(COMMON, FEATURES, 5)
    inside = orthonormal(LATENT, COMMON, 6) @ basis
    there, back = turning(projection_of(inside), basis, 2.5)
    assert there @ back == pytest.approx(np.eye(LATENT), abs=1e-6)


def test_a_prior_of_other_features_is_refused():
    space = FeatureSpace("other", 2 * FEATURES, 2, 0.1, 0)
    projection = Projection(space, np.zeros(2 * FEATURES), orthonormal(LATENT, 2 * FEATURES, 0), 1.0)
    with pytest.raises(ArtifactError, match="a prior of 64 features, the network makes 128"):
        bound(untrained_prior(), projection, 1.0)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    path = tmp_path_factory.mktemp("prior")
    manifest = make_feature_artifact(path)
    write_artifact(path, asdict(manifest), {"prior": torch.jit.script(untrained_prior())})
    return load_artifact(path)


def drive(predictor: Predictor, frames: int, first: int = 0) -> np.ndarray:
    said = []
    for number in range(first, first + frames):
        angle = 0.06 * number
        code_F = np.round(60.0 * np.sin(angle + np.arange(FEATURES))).astype(np.int8)
        latent_D = predictor_latent(predictor, code_F)
        pose = Pose2(np.cos(angle), np.sin(angle), 0.0, angle + np.pi / 2)
        predictor.observe(Observation(number * STEP_NS, latent_D, pose, np.zeros(2, np.float32), None, code_F))
        memory = Memory(0, 0, latent_D * 0.5, pose)
        said.append([f.latent_D for f in predictor.predict([[memory]] * 3).forecasts])
    return np.array(said)


def predictor_latent(predictor: Predictor, code_F: np.ndarray) -> np.ndarray:
    return predictor.basis.project(code_F[None])[0]


def with_basis(artifact, **options) -> Predictor:
    predictor = Predictor(artifact, **options)
    predictor.basis = artifact.projection
    return predictor


def test_switched_off_it_is_as_if_there_were_none(artifact, tmp_path):
    make_feature_artifact(tmp_path)
    without = drive(with_basis(load_artifact(tmp_path)), 60)
    assert np.array_equal(drive(with_basis(artifact, without=["prior"]), 60), without)
    assert np.abs(drive(with_basis(artifact), 60) - without).max() > 1e-3


def test_in_another_basis_it_goes_on_from_what_was_seen(artifact):
    fitted = projection_of(orthonormal(LATENT, FEATURES, 9)).components
    other = Projection(artifact.projection.space, artifact.projection.mean, fitted, 3.0)
    one, fresh = with_basis(artifact), with_basis(artifact)
    drive(one, 60)
    for predictor in (one, fresh):
        predictor.rebase(other)
        predictor.basis = other
    drive(fresh, 60)
    said = []
    for predictor in (one, fresh):
        assert np.isfinite(drive(predictor, 1, first=60)).all()
        said.append([forecast.network_without_D for forecast in predictor.predict([[]] * 3).forecasts])
    assert np.array(said[0]) == pytest.approx(np.array(said[1]), abs=1e-3)


def test_it_is_silent_once_the_robot_has_learned_itself(artifact):
    predictor = with_basis(artifact)
    steps = round(SPEAKS_S / 0.05)
    drive(predictor, steps - 1)
    assert predictor.predict([[]] * 3).forecasts[1].network_without_D != pytest.approx(predictor._last.latent_D)
    drive(predictor, 2, first=steps - 1)
    for forecast in predictor.predict([[]] * 3).forecasts:
        assert np.array_equal(forecast.network_without_D, predictor._last.latent_D)
    predictor.reset()
    drive(predictor, 5)
    assert predictor.predict([[]] * 3).forecasts[1].network_without_D != pytest.approx(predictor._last.latent_D)


@pytest.mark.parametrize("good", [True, False])
def test_a_prior_has_the_weight_that_it_earns(good):
    rng, horizon = np.random.default_rng(0), 10
    variance_D = np.ones(LATENT)
    with_prior, without = (Experts(0.5, 0.05, variance_D, LATENT, has) for has in (True, False))
    walk_TD = np.zeros((1500, LATENT))
    for step in range(1, len(walk_TD)):
        walk_TD[step] = 0.97 * walk_TD[step - 1] + 0.25 * rng.normal(size=LATENT)
    errors = {True: [], False: []}
    for step in range(len(walk_TD) - horizon):
        now_D, later_D = walk_TD[step], walk_TD[step + horizon]
        noise_D = rng.normal(size=LATENT)
        prior_D = later_D + 0.3 * noise_D if good else 3.0 * noise_D
        copies_MD = np.stack([later_D + 0.8 * rng.normal(size=LATENT) for _ in range(3)])
        for experts, prior_2D in ((with_prior, np.stack([prior_D, prior_D])), (without, None)):
            experts.observe(step * STEP_NS, now_D)
            said = Said(
                step * STEP_NS, now_D, copies_MD[0], 1.0, now_D, np.zeros(LATENT), now_D, copies_MD, True, prior_2D
            )
            error = float(np.square(experts.combine(said).latent_D - later_D).mean())
            errors[experts is with_prior].append(error if step > 210 else np.nan)
    ratio = np.nanmean(errors[True]) / np.nanmean(errors[False])
    assert ratio < 0.6 if good else ratio < 1.02
    weights = with_prior.weights(True)
    assert (len(weights.base_E), len(weights.full_E)) == (len(WITHOUT_MEMORY), len(WITH_MEMORY))
    assert weights.base_E.sum() == pytest.approx(1.0)
    assert weights.full_E.sum() == pytest.approx(1.0)
