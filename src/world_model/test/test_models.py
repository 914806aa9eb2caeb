from dataclasses import asdict

import numpy as np
import pytest
import torch

from wm_core.se2 import Pose2
from world_model.errors import ConfigError
from world_model.export.torchscript import TOLERANCE, example_inputs, export_artifact
from world_model.models import ConvEncoder, DrivingEncoder, GruContext, LinearEncoder, ResNetEncoder, Transition
from world_model.models.factory import CONTEXTS, DECODERS, ENCODERS, make_decoder, make_encoder, make_transition
from world_model.models.views import ViewWarp, local_linear_weights
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.conditioning import MOTION_FEATURES
from world_model.runtime.predictor import Observation, Predictor
from world_model.runtime.retrieved import Memory
from world_model.runtime.tensors import VALID_FIELDS
from world_model.training.config import ModelConfig

SMALL = ModelConfig(
    latent_dim=16,
    hidden_dim=16,
    layer_count=2,
    width=16,
    memory_width=16,
    decoder_width=32,
    encoder_widths=(8, 8, 16, 16),
)
SIZE = 64


def open_gates(model):
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("context", sorted(CONTEXTS))
def test_every_context_trains_exports_and_runs_in_the_predictor(context, tmp_path):
    config = ModelConfig(**{**asdict(SMALL), "context": context})
    model = make_transition(config, 2)
    with_BHD, without_BHD, _ = model.forecast(*example_inputs(model, 2))
    (with_BHD.square().mean() + without_BHD.square().mean()).backward()
    assert model.memory.alpha.grad.abs().sum() > 0
    assert model.blind.net[0].weight.grad.abs().sum() > 0
    open_gates(model)
    entries = {"name": context, "z_dim": 16, "action_dim": 2, "image_size": SIZE, "step_s": 0.05, "horizon_s": 1.0}
    entries |= {"top_k": 8, "latent_mean": [0.0] * 16, "latent_variance": [1.0] * 16, "motion": {}, "memory": {}}
    export_artifact(tmp_path, make_encoder(config, SIZE), make_decoder(config, SIZE), model, entries)
    predictor = Predictor(load_artifact(tmp_path))
    latent_D = np.zeros(16, np.float32)
    for step in range(3):
        predictor.observe(Observation(step * 50_000_000, latent_D, Pose2(0.1 * step, 0, 0, 0), np.zeros(2, np.float32)))
    found = [Memory(1, 0, latent_D + 1, Pose2(1.0, 0, 0, 0))]
    forecast = predictor.predict([found, found, found]).forecasts[1]
    assert np.isfinite(forecast.latent_D).all()
    assert not np.array_equal(forecast.latent_D, forecast.without_memory_D)


@pytest.mark.parametrize("context", sorted(CONTEXTS))
def test_contexts_remember_order(context):
    model = make_transition(ModelConfig(**{**asdict(SMALL), "context": context}), 2).eval()
    torch.manual_seed(0)
    first_BD, second_BD, action_BA = torch.randn(1, 16), torch.randn(1, 16), torch.zeros(1, 2)

    def summary(*latents):
        state_BC = model.initial(1)
        for latent_BD in latents:
            state_BC = model.observe(latent_BD, action_BA, state_BC)
        return model.context.summary(state_BC[:, : model.context.state_dim])

    assert not torch.allclose(summary(first_BD, second_BD), summary(second_BD, first_BD))


def test_a_fresh_network_ignores_memories_and_history_bit_for_bit():
    model = Transition(16, 2, GruContext(18, 16), width=16, memory_width=16).eval()
    observed, retrieved = example_inputs(model, 2)
    with_BHD, without_BHD, gate_BH = model.forecast(observed, retrieved)
    assert torch.equal(with_BHD, without_BHD)
    assert gate_BH.abs().sum() == 0
    without_history = observed._replace(history_count=torch.zeros(2, dtype=torch.int64))
    assert torch.equal(model.forecast(without_history, retrieved)[0], with_BHD)


def test_memories_that_are_not_real_change_nothing():
    model = open_gates(Transition(16, 2, GruContext(18, 16), width=16, memory_width=16)).eval()
    observed, retrieved = example_inputs(model, 2)
    none = retrieved._replace(**{name: torch.zeros_like(getattr(retrieved, name)) for name in VALID_FIELDS})
    with_BHD, without_BHD, gate_BH = model.forecast(observed, none)
    assert torch.equal(with_BHD, without_BHD)
    assert gate_BH.sum() == 0


def test_the_forecast_without_memory_learns_as_if_there_were_none():
    model = open_gates(Transition(16, 2, GruContext(18, 16), width=16, memory_width=16))
    with_BHD, _, _ = model.forecast(*example_inputs(model, 2))
    with_BHD.square().mean().backward()
    assert all(p.grad is None or not p.grad.any() for p in model.blind.parameters())


def test_local_linear_weights_read_a_plane_exactly():
    generator = torch.Generator().manual_seed(0)
    offset_K3 = torch.rand(1, 8, 3, generator=generator) + torch.tensor([0.2, -0.1, 0.0])
    value_K = 2.0 + offset_K3 @ torch.tensor([1.0, -3.0, 0.5])
    weight_K = torch.rand(1, 8, generator=generator)
    weight_K = weight_K / weight_K.sum()
    read = (local_linear_weights(weight_K, offset_K3, torch.full((3,), 1e-7)) * value_K).sum()
    assert read.item() == pytest.approx(2.0, abs=1e-3)
    averaged = (local_linear_weights(weight_K, offset_K3, torch.full((3,), 1e7)) * value_K).sum()
    assert averaged.item() == pytest.approx((weight_K * value_K).sum().item(), abs=1e-4)


def test_a_view_is_not_warped_over_no_distance():
    warp = open_gates(ViewWarp(8))
    latent_KD = torch.randn(5, 8)
    assert torch.equal(warp(latent_KD, torch.zeros(5, 3)), latent_KD)
    assert not torch.allclose(warp(latent_KD, torch.ones(5, 3)), latent_KD)


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_encoders_script_and_give_latents(name):
    encoder = make_encoder(ModelConfig(**{**asdict(SMALL), "encoder": name}), SIZE).eval()
    image = torch.randint(0, 256, (2, SIZE, SIZE, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    latent_BD = encoder(image, None, None)
    assert latent_BD.shape == (2, 16)
    assert torch.allclose(torch.jit.script(encoder)(image, None, None), latent_BD, atol=TOLERANCE)


@pytest.mark.parametrize("name", sorted(DECODERS))
def test_decoders_give_pictures(name):
    decoder = torch.jit.script(make_decoder(ModelConfig(**{**asdict(SMALL), "decoder": name}), SIZE).eval())
    image = decoder(torch.zeros(2, 16))
    assert (image.shape, image.dtype) == ((2, SIZE, SIZE, 3), torch.uint8)


def test_depth_and_proprioception_reach_the_latent():
    encoder = ResNetEncoder(SIZE, 16, (8, 8, 16, 16), use_depth=True, proprio_dim=3).eval()
    image = torch.zeros(1, SIZE, SIZE, 3, dtype=torch.uint8)
    plain = encoder(image, None, None)
    assert not torch.allclose(encoder(image, torch.ones(1, 1, SIZE, SIZE), None), plain)
    assert not torch.allclose(encoder(image, None, torch.ones(1, 3)), plain)
    assert encoder.feature_map(image).shape == (1, 16, 2, 2)


def test_wrong_sizes_and_names_are_refused():
    with pytest.raises(ValueError, match="multiple of 32"):
        DrivingEncoder(100, 16)
    with pytest.raises(ValueError, match="multiple of 16"):
        ConvEncoder(60, 16)
    with pytest.raises(ConfigError, match="context is 'oracle'"):
        make_transition(ModelConfig(context="oracle"), 2)
    with pytest.raises(ValueError, match="cannot span"):
        LinearEncoder(16, 32, 16).fit(torch.zeros(4, 16, 16, 3, dtype=torch.uint8))


def test_imagination_feeds_each_latent_back():
    model = open_gates(Transition(16, 2, GruContext(18, 16), width=16, memory_width=16)).eval()
    latent_BD, action_BSA, motion_BSM = torch.randn(1, 16), torch.zeros(1, 3, 2), torch.zeros(1, 3, MOTION_FEATURES)
    imagined = model.rollout(latent_BD, action_BSA, motion_BSM, model.initial(1), 0.05)
    assert imagined.shape == (1, 3, 16)
    state_BC = model.observe(latent_BD, action_BSA[:, 0], model.initial(1))
    again = model.rollout(imagined[:, 0], action_BSA[:, 1:], motion_BSM[:, 1:], state_BC, 0.05)
    assert torch.allclose(imagined[:, 1:], again, atol=1e-6)
