"""The whole path on an episode drawn by a formula: train, resume, export, evaluate; and the loss it must reach."""

import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

pytest.importorskip("lightning_fabric", reason="the training extra, requirements/train.txt, is not installed")

from wm_testing.episodes import circling_episode, circling_set
from world_model.commands.evaluate import main as evaluate_main
from world_model.data.encoding import encode_episode
from world_model.data.episodes import EpisodeSet
from world_model.errors import ArtifactError, ConfigError
from world_model.evaluation.bank import MemoryBank
from world_model.evaluation.runner import forecast_episode
from world_model.evaluation.scores import score
from world_model.models.factory import make_transition
from world_model.runtime.adapted import adapted_artifact, keep_adapted
from world_model.runtime.artifact_folder import write_artifact
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.conditioning import Retrieval
from world_model.runtime.metrics import ErrorTracker
from world_model.runtime.predictor import Observation, Predictor
from world_model.runtime.profile import Profile
from world_model.training.checkpoints import load_checkpoint
from world_model.training.config import ModelConfig, OptimiserConfig, TrainConfig
from world_model.training.crew import Crew
from world_model.training.displacement import pose_or_none
from world_model.training.loop import rate_at
from world_model.training.pipeline import run_training
from world_model.training.preparation import make_sequences
from world_model.training.stages import prepare
from world_model.training.transition_stage import Trainer

pytestmark = pytest.mark.training

CONFIG = TrainConfig(
    name="toy",
    horizons=(1, 20),
    encoder_steps=10,
    path_steps=20,
    validate_every=20,
    retrieval=Retrieval(anticipated_k=4, appearance_k=2),
    model=ModelConfig(latent_dim=8, encoder="conv", hidden_dim=16, width=32, memory_width=16),
    optimiser=OptimiserConfig(steps=40, batch=8, warm_up=5),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return circling_set(tmp_path_factory.mktemp("set"))


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    run_training(CONFIG, data, out, workers=1)
    return out


def test_the_run_leaves_a_complete_artifact(run):
    artifact = load_artifact(run / "artifact")
    assert artifact.manifest.training["config"]["model"]["encoder"] == "conv"
    assert max(artifact.manifest.training["parity"].values()) < 0.01
    assert {"encoder.pt", "transition.pt", "decoder.pt", "without_memory.pt", "reference.npz"} <= set(
        artifact.manifest.files
    )


def test_a_second_call_finds_everything_done(run, data):
    before = (run / "artifact" / "encoder.pt").read_bytes(), load_checkpoint(run / "memory" / "last.pt")["step"]
    manifest = run_training(CONFIG, data, run, workers=1)
    assert manifest.encoder_id == load_artifact(run / "artifact").manifest.encoder_id
    assert before[1] == 40


def test_fine_tuning_keeps_the_encoder_to_the_last_bit_however_it_would_be_written_today(run, data, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(run / "artifact", source)
    encoder = torch.jit.load(str(source / "encoder.pt"))
    torch.jit.save(encoder, str(source / "encoder.pt"), _extra_files={"written": "on another day"})
    manifest = write_artifact(source, asdict(load_artifact(run / "artifact").manifest), {})
    assert manifest.encoder_id != load_artifact(run / "artifact").manifest.encoder_id
    tuned = run_training(replace(CONFIG, start_from=str(source)), data, tmp_path / "tuned", workers=1)
    assert tuned.encoder_id == manifest.encoder_id
    profile = Profile(tmp_path / "robot")
    keep_adapted(profile, tmp_path / "tuned" / "artifact", load_artifact(source))
    assert adapted_artifact(profile, load_artifact(source)).path == tmp_path / "tuned" / "artifact"


def test_losses_are_the_golden_ones(data, tmp_path, golden):
    """Renew with: python -m pytest src/world_model/test/test_training.py -k golden --renew-golden."""
    config = replace(CONFIG, model=replace(CONFIG.model, encoder="linear"))
    episodes = EpisodeSet(data)
    torch.manual_seed(0)
    stages = prepare(config, episodes, episodes.names("train"), tmp_path)
    sequences = make_sequences(config, episodes, episodes.names("train"), stages, Crew(1))
    losses = Trainer(config, stages.transition, tmp_path / "run", 0.05).fit(sequences)
    golden("golden_losses.json", losses, rel=0.02)


def test_a_killed_run_goes_on_where_it_was(data, tmp_path):
    episodes = EpisodeSet(data)
    config = replace(CONFIG, model=replace(CONFIG.model, encoder="linear"), validate_every=10)
    stages = prepare(config, episodes, episodes.names("train"), tmp_path)
    sequences = make_sequences(config, episodes, episodes.names("train"), stages, Crew(1))

    class KilledError(Exception):
        pass

    class Killed(Trainer):
        taken = 0

        def one_step(self, sampler):
            if self.taken == 25:
                raise KilledError
            self.taken += 1
            return super().one_step(sampler)

    with pytest.raises(KilledError):
        Killed(config, stages.transition, tmp_path / "run", 0.05).fit(sequences)
    assert load_checkpoint(tmp_path / "run" / "last.pt")["step"] == 20
    again = make_transition(config.model, 2)
    Trainer(config, again, tmp_path / "run", 0.05).fit(sequences)
    assert load_checkpoint(tmp_path / "run" / "last.pt")["step"] == 40
    rows = (tmp_path / "run" / "log.csv").read_text().splitlines()
    assert rows[0] == "step,kind,term,value"
    other = replace(config, optimiser=replace(config.optimiser, learning_rate=0.5))
    with pytest.raises(ConfigError, match=r"optimiser\.learning_rate"):
        Trainer(other, again, tmp_path / "run", 0.05).fit(sequences)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    (tmp_path / "last.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_checkpoint(tmp_path / "last.pt")
    torch.save({"model": {}}, tmp_path / "other.pt")
    with pytest.raises(ArtifactError, match="lacks config, step"):
        load_checkpoint(tmp_path / "other.pt")


def test_the_rate_warms_up_and_falls():
    config = OptimiserConfig(steps=100, warm_up=10, learning_rate=1.0)
    assert rate_at(0, config) == pytest.approx(0.1)
    assert rate_at(10, config) == pytest.approx(1.0)
    assert rate_at(100, config) == pytest.approx(0.02)


def test_evaluation_reports_every_predictor(run, tmp_path):
    path, data = tmp_path / "numbers.json", circling_set(tmp_path / "set", names=("a",), seconds=26.0)
    # The toy was trained for two horizons only.
    assert evaluate_main([str(run / "artifact"), str(data), "--json", str(path), "--horizons", "1", "20"]) == 0
    numbers = json.loads(path.read_text())
    expected = {"ours", "ours, memory emptied", "ours, pose noise", "persistence", "ridge regression", "without memory"}
    expected |= {"latent-KNN successor", "nearest memory at forecast pose", "mean of 4 nearest"}
    assert expected <= set(numbers)
    assert set(numbers["ours"]) == {"1", "20"}
    assert numbers["nearest memory at forecast pose"]["20"]["revisit"] < numbers["persistence"]["20"]["revisit"]
    cell = numbers["details"]["held"]["pixel_components"]["ours"]["20"]["revisit"]
    assert cell["low"] <= cell["mean"] <= cell["high"]
    assert np.isfinite(numbers["details"]["recorded"]["ratio_to"]["latent"]["without memory"]["20"]["first"]["ratio"])
    assert evaluate_main([str(run / "artifact"), "nowhere"]) == 2


def test_errors_tracked_live_are_those_that_evaluation_reports(run):
    artifact = load_artifact(run / "artifact")
    episode = circling_episode("live", 26.0, seed=3)
    variance_D = np.array(artifact.manifest.latent_variance)
    predictor, bank, tracker = Predictor(artifact), MemoryBank(), ErrorTracker(variance_D)
    scored = []
    for t, latent_D in enumerate(encode_episode(artifact.encoder(), episode)):
        item = Observation(int(episode.stamp_T[t]), latent_D, pose_or_none(episode.pose_T4[t]), episode.action_TA[t])
        scored += tracker.observe(item)
        requests = predictor.observe(item)
        tracker.expect(predictor.predict(bank.answer(requests) if requests else None))
        bank.observe(item)
    (offline,) = forecast_episode(episode, artifact, (1, 20), known_future=False, burn_in=0)
    scores = score([offline], [episode.image_TSSC], variance_D, None)
    for column, horizon_s in enumerate((0.05, 1.0)):
        for revisit in (True, False):
            live = [s.error for s in scored if s.forecast.horizon_s == horizon_s and s.revisit == revisit]
            chosen_N = scores.revisit_NH[:, column] == revisit
            expected = np.nanmean(scores.error["latent"]["ours"][chosen_N, column])
            assert np.mean(live) == pytest.approx(expected, rel=0.1)


def test_a_part_switched_off_is_one_more_predictor_on_the_same_frames(run, tmp_path, capsys):
    path, data = tmp_path / "numbers.json", circling_set(tmp_path / "set", names=("a",), seconds=26.0)
    arguments = [str(run / "artifact"), str(data), "--horizons", "1", "20", "--json", str(path), "--only-ours"]
    assert evaluate_main([*arguments, "--without", "evidence", "--without", "appearance"]) == 0
    numbers = json.loads(path.read_text())
    assert numbers["ours, without evidence"] == numbers["ours, network alone"]
    paired = numbers["details"]["held"]["ratio_to"]["latent"]["ours, without evidence"]["20"]["revisit"]
    cells = (numbers["details"]["held"]["latent"][name]["20"]["revisit"] for name in ("ours", "ours, without evidence"))
    ours, without = (cell["mean"] for cell in cells)
    assert paired["ratio"] == pytest.approx(ours / without, abs=1e-3)
    assert paired["low"] <= paired["ratio"] <= paired["high"]
    assert numbers["about"]["options"]["without"] == ["evidence", "appearance"]
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("| evidence | 20 |"))
    assert f"{paired['ratio']:.3f} [{paired['low']:.3f}, {paired['high']:.3f}]" in row
    assert "without memory" not in numbers
    with pytest.raises(SystemExit) as ended:
        evaluate_main([*arguments, "--without", "oracle"])
    assert ended.value.code == 2
