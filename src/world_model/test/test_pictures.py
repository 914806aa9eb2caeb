"""The stage of the residual encoders: what it learns, its named losses, and the artifact that comes of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("lightning_fabric", reason="the training extra, requirements/train.txt, is not installed")

from wm_testing.episodes import STEP_S, circling_episode
from world_model.data.encoding import encode_episode
from world_model.data.episodes import DatasetManifest, EpisodeSet, EpisodeWriter
from world_model.errors import ConfigError, DataError
from world_model.evaluation.options import EvaluationOptions
from world_model.evaluation.report import evaluate
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.conditioning import Retrieval
from world_model.training.checkpoints import load_checkpoint
from world_model.training.clips import ClipSampler, check_inputs, latents_of
from world_model.training.config import LossConfig, ModelConfig, OptimiserConfig, PictureConfig, TrainConfig
from world_model.training.picture_stage import PictureLosses, Pictures, PictureTrainer
from world_model.training.pipeline import run_training
from world_model.training.report import Report

pytestmark = pytest.mark.training

SIZE = 32
CONFIG = TrainConfig(
    name="pictures",
    horizons=(1, 20),
    path_steps=11,
    retrieval=Retrieval(anticipated_k=4, appearance_k=2),
    model=ModelConfig(
        latent_dim=8,
        encoder="resnet",
        encoder_widths=(8, 8, 16, 16),
        use_depth=True,
        proprio_dim=3,
        decoder="transposed",
        decoder_width=32,
        context="rssm",
        hidden_dim=16,
        width=32,
        memory_width=16,
    ),
    pictures=PictureConfig(steps=6, batch=4, sequence=5, burn_in=2, warm_up=2, learning_rate=3e-3),
    optimiser=OptimiserConfig(steps=2, batch=4, warm_up=0),
)
DRIVING = replace(
    CONFIG, model=replace(CONFIG.model, encoder="driving", decoder="pixel_shuffle", context="film_gru", layer_count=2)
)


def full_episode(name, seconds=24.0, seed=0):
    episode = circling_episode(name, seconds, size=SIZE, seed=seed)
    depth_T1SS = (episode.image_TSSC[..., :1].transpose(0, 3, 1, 2) / 50.0).astype(np.float16)
    proprio_TP = np.column_stack([episode.action_TA, episode.pose_T4[:, 0]]).astype(np.float32)
    return replace(episode, depth_T1SS=depth_T1SS, proprio_TP=proprio_TP)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("set")
    writer = EpisodeWriter(path, DatasetManifest(image_size=SIZE, step_s=STEP_S, action_dim=2, source={"kind": "test"}))
    writer.write(full_episode("a"), "train")
    writer.write(full_episode("b", 8.0, seed=1), "valid")
    return path


def fresh(config):
    torch.manual_seed(0)
    return Pictures(config, SIZE, 2)


def columns(config, count=2):
    return ClipSampler([full_episode("a", 8.0)], config.model, config.pictures.sequence, 0).columns(count)


def losses(pictures, config, perceptual=None):
    torch.manual_seed(1)
    return PictureLosses(pictures, config, perceptual, STEP_S)(*columns(config))


def test_terms_have_names_and_reach_what_they_are_about():
    pictures = fresh(CONFIG)
    # Beyond the free nats, below which the divergence has no gradient.
    pictures.forecaster.context.posterior_net.weight.data *= 30.0
    terms = losses(pictures, CONFIG)
    assert set(terms) == {"reconstruction", "prediction", "kl", "magnitude", "variance", "covariance"}
    assert set(losses(fresh(DRIVING), DRIVING)) == set(terms) - {"kl"}
    reached = {}
    for name, value in terms.items():
        pictures.zero_grad()
        value.backward(retain_graph=True)
        touched = {n.split(".")[0] for n, p in pictures.named_parameters() if p.grad is not None and p.grad.any()}
        reached[name] = touched
    assert reached["reconstruction"] == {"encoder", "decoder"}
    assert reached["prediction"] == reached["kl"] == {"encoder", "forecaster"}
    assert reached["magnitude"] == reached["variance"] == reached["covariance"] == {"encoder"}


def test_weights_are_those_of_the_design():
    weights = LossConfig().weights()
    assert [weights[name] for name in ("reconstruction", "prediction", "kl", "magnitude")] == [1.0, 1.0, 0.1, 0.01]
    assert weights["perceptual"] == 0.0


def test_later_frames_count_for_more():
    settings = replace(CONFIG.pictures, horizon_weight=4.0)
    even = replace(CONFIG, pictures=replace(settings, horizon_weight=1.0))
    weight_N = PictureLosses(fresh(CONFIG), replace(CONFIG, pictures=settings), None, STEP_S).weight_N
    assert weight_N[-1].item() == pytest.approx(4.0 * weight_N[0].item())
    assert PictureLosses(fresh(even), even, None, STEP_S).weight_N.tolist() == [1.0, 1.0, 1.0]


def test_a_perceptual_term_from_weights_on_disk(tmp_path):
    torch.manual_seed(0)
    convolutions = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    backbone = {f"features.{index}.weight": torch.randn(3, 3, 3, 3) for index in convolutions}
    backbone |= {f"features.{index}.bias": torch.zeros(3) for index in convolutions}
    torch.save(backbone, tmp_path / "backbone.pth")
    torch.save({f"lin{k}.model.1.weight": torch.rand(1, 3, 1, 1) for k in range(5)}, tmp_path / "lin.pth")
    config = replace(CONFIG, losses=LossConfig(perceptual=0.5, perceptual_path=str(tmp_path)))
    config = replace(config, pictures=replace(config.pictures, steps=1, warm_up=0, batch=1))
    pictures = fresh(config)
    terms = PictureTrainer(config, pictures, tmp_path / "run", STEP_S).fit([full_episode("a", 8.0)])
    assert terms["perceptual"] > 0
    assert not any("perceptual" in name for name in torch.load(tmp_path / "run/last.pt", weights_only=True)["model"])


@pytest.mark.parametrize("config", [CONFIG, DRIVING], ids=["resnet", "driving"])
def test_pictures_come_back_better_than_before(config, tmp_path):
    pictures = fresh(config)
    before = losses(pictures, config)["reconstruction"].item()
    PictureTrainer(config, pictures, tmp_path, STEP_S).fit([full_episode("a")])
    assert losses(pictures.train(), config)["reconstruction"].item() < before


def test_losses_are_the_golden_ones(tmp_path, golden):
    """Renew with: python -m pytest src/world_model/test/test_pictures.py -k golden --renew-golden."""
    found = {}
    for name, config in (("resnet", CONFIG), ("driving", DRIVING)):
        # Few and small steps: with more, another order of sums would show.
        config = replace(config, pictures=replace(config.pictures, steps=3, learning_rate=3e-4))
        PictureTrainer(config, pictures := fresh(config), tmp_path / name, STEP_S).fit([full_episode("a")])
        found |= {f"{name}.{key}": value.item() for key, value in losses(pictures.train(), config).items()}
    golden("golden_picture_losses.json", found, rel=0.03, abs=0.003)


def test_a_killed_run_goes_on_where_it_was(tmp_path):
    class KilledError(Exception):
        pass

    class Killed(PictureTrainer):
        taken = 0

        def one_step(self, sampler):
            if self.taken == 4:
                raise KilledError
            self.taken += 1
            return super().one_step(sampler)

    config, episodes = replace(CONFIG, validate_every=3), [full_episode("a", 8.0)]
    with pytest.raises(KilledError):
        Killed(config, fresh(config), tmp_path, STEP_S).fit(episodes)
    saved = load_checkpoint(tmp_path / "last.pt")
    assert saved["step"] == 3
    steps = []
    again = PictureTrainer(config, pictures := fresh(config), tmp_path, STEP_S)
    again.fit(episodes, progress=lambda progress: steps.append(progress.step))
    assert steps == [4, 5, 6]
    assert int(pictures.encoder.trunk.net[1].num_batches_tracked) == 6


@pytest.mark.parametrize("config", [CONFIG, DRIVING], ids=["resnet", "driving"])
def test_computing_activations_again_changes_no_gradient(config):
    found = []
    for again in (False, True):
        config = replace(config, pictures=replace(config.pictures, checkpoint_activations=again))
        pictures = fresh(config)
        sum(losses(pictures, config).values()).backward()
        gradients = {name: p.grad for name, p in pictures.named_parameters() if p.grad is not None}
        found.append({**gradients, **dict(pictures.named_buffers())})
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        assert torch.allclose(value.float(), found[1][name].float(), atol=1e-6), name


def test_half_precision_stays_near(tmp_path):
    terms = {}
    for precision in ("32-true", "bf16-mixed"):
        settings = replace(CONFIG.pictures, precision=precision, steps=1, warm_up=0)
        config = replace(CONFIG, pictures=settings)
        terms[precision] = PictureTrainer(config, fresh(config), tmp_path / precision, STEP_S).fit([full_episode("a")])
    assert terms["bf16-mixed"]["reconstruction"] == pytest.approx(terms["32-true"]["reconstruction"], rel=0.05)
    assert terms["bf16-mixed"] != terms["32-true"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_both_stages_train_on_a_gpu(data, tmp_path):
    on_gpu = {"accelerator": "auto", "precision": "bf16-mixed", "checkpoint_activations": True}
    config = replace(CONFIG, pictures=replace(CONFIG.pictures, **on_gpu))
    config = replace(config, optimiser=replace(config.optimiser, **on_gpu))
    run_training(config, data, tmp_path, workers=1)
    assert load_artifact(tmp_path / "artifact", "cuda").encoder() is not None


def test_from_drives_to_an_artifact_that_takes_depth_and_proprioception(data, tmp_path):
    lines, stages = [], set()
    report = Report(lines.append, lambda stage, done, total: stages.add(stage))
    run_training(CONFIG, data, tmp_path, workers=1, report=report)
    artifact = load_artifact(tmp_path / "artifact")
    assert artifact.manifest.inputs == {"image": 3, "depth": 1, "proprioception": 3}
    assert {"pictures", "encoding", "memory", "without_memory"} <= stages
    assert any(line.startswith("pictures 6/6 reconstruction") for line in lines)
    log = (tmp_path / "pictures" / "log.csv").read_text()
    assert {"train", "valid"} <= {row.split(",")[1] for row in log.splitlines()[1:]}
    episode = EpisodeSet(data).episode("b")
    encoder = artifact.encoder()
    image = torch.from_numpy(np.array(episode.image_TSSC[:4]))
    depth = torch.from_numpy(np.array(episode.depth_T1SS[:4], np.float32))
    proprio = torch.from_numpy(np.array(episode.proprio_TP[:4]))
    expected = latents_of(encoder, episode, CONFIG.model)[:4]
    assert np.allclose(encoder(image, depth, proprio).numpy(), expected, atol=1e-5)
    assert not np.allclose(encoder(image, torch.zeros_like(depth), proprio).numpy(), expected, atol=1e-5)
    assert artifact.decoder()(torch.from_numpy(expected)).shape == (4, SIZE, SIZE, 3)
    # Evaluation gives it all it takes, and says what an episode lacks.
    evaluated, (first, *_), _ = evaluate(
        str(tmp_path / "artifact"), EvaluationOptions(data=str(data), horizons=(1, 20))
    )
    assert np.isfinite(evaluated["ours"]["20"]["first"])
    assert evaluated["cost"]["encode_ms"] > 0
    with pytest.raises(DataError, match="has no depth, the encoder takes depth of size 1"):
        encode_episode(encoder, replace(first, depth_T1SS=None), artifact.manifest.inputs)
    # A second call finds the stage done.
    before = load_artifact(tmp_path / "artifact").manifest.encoder_id
    assert run_training(CONFIG, data, tmp_path, workers=1).encoder_id == before


def test_what_does_not_go_together_is_refused(data, tmp_path):
    episodes = EpisodeSet(data)
    with pytest.raises(DataError, match=r"3 values of proprioception, model\.proprio_dim is 5"):
        check_inputs(episodes, ["a"], replace(CONFIG.model, proprio_dim=5))
    with pytest.raises(DataError, match="expected at least 900"):
        ClipSampler([episodes.episode("a")], CONFIG.model, 900, 0)
    for changed, named in (
        ({"decoder": "linear"}, "expected transposed or pixel_shuffle"),
        ({"encoder": "conv"}, "expected linear"),
    ):
        with pytest.raises(ConfigError, match=named):
            run_training(replace(CONFIG, model=replace(CONFIG.model, **changed)), data, tmp_path, workers=1)
