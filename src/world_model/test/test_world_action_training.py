"""Ticks, baselines, training, export and the commands of the slow branch, on episodes whose answers are known."""

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from wm_testing.artifacts import make_random_artifact
from world_model.commands.slow import main
from world_model.data.episodes import DatasetManifest, Episode, EpisodeWriter
from world_model.data.ticks import tabulate, tick_rows, windows
from world_model.errors import ConfigError, DataError
from world_model.evaluation.pose_retrieval import Expectation, forecast_poses, retrieve
from world_model.evaluation.predictor_variants import compare
from world_model.evaluation.target_variants import CANDIDATES, compare_targets
from world_model.evaluation.world_action import (
    ForecastErrors,
    evaluate,
    forecast_errors,
    ratio_with_interval,
    resampling_units,
)
from world_model.export.scripting import script
from world_model.export.world_action import export, parity, restore
from world_model.models.encoders import ConvEncoder
from world_model.models.world_action import WorldActionConfig, untrained
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.conditioning import Retrieval
from world_model.runtime.history import VisualHistory
from world_model.runtime.motion import MotionModel
from world_model.training.collapse import spread
from world_model.training.report import Report
from world_model.training.world_action_config import WorldActionTraining
from world_model.training.world_action_stage import adapt, embed_all, standardise, train, train_joint
from world_model.typed_config import parse_overrides, read_config

pytestmark = pytest.mark.training

SECOND = 1_000_000_000
SMALL = WorldActionConfig(image_size=16, embedding_dim=16, width=8, hidden=32, projected_channels=4)
SHORT = WorldActionTraining(
    model=SMALL, encoder_steps=60, predictor_steps=200, encoder_batch=32, predictor_batch=64, joint_steps=30
)
LAP_S = 10.0


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Small tensors: threads would only wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def stamps(*seconds: float) -> np.ndarray:
    return np.array([round(second * SECOND) for second in seconds], np.int64)


def lap_episode(name: str, seconds: float = 60.0, step_s: float = 0.1, offset: float = 0.0) -> Episode:
    """A robot on a circle of 10 s a lap, whose camera shows two bright bars that turn with it."""
    time_T = np.arange(0.0, seconds, step_s)
    angle_T = 2 * np.pi * time_T / LAP_S + offset
    column = np.arange(16) * 2 * np.pi / 16
    bar_TS = 127.5 + 100.0 * np.cos(angle_T[:, None] - column)
    bar2_TS = 127.5 + 100.0 * np.cos(2 * angle_T[:, None] + column)
    image = np.zeros((len(time_T), 16, 16, 3), np.uint8)
    image[:, :8, :, 0] = bar_TS[:, None]
    image[:, 8:, :, 1] = bar2_TS[:, None]
    radius = 3.0
    yaw = np.angle(np.exp(1j * (angle_T + np.pi / 2)))
    pose = np.stack([radius * np.cos(angle_T), radius * np.sin(angle_T), 0 * angle_T, yaw], 1)
    turn = 2 * np.pi / LAP_S
    action = np.tile(np.float32([radius * turn, turn]), (len(time_T), 1))
    return Episode(name, name, image, stamps(*time_T), pose, action)


def test_tick_rows_by_hand() -> None:
    twenty = stamps(*(0.05 * n for n in range(61)))
    assert [rows.tolist() for rows in tick_rows(twenty, 1.0)] == [[0, 20, 40, 60]]
    assert [rows.tolist() for rows in tick_rows(twenty, 1.0, phase_s=0.5)] == [[10, 30, 50]]


def test_a_gap_splits_a_episode() -> None:
    rows = tick_rows(stamps(0.0, 1.0, 2.0, 5.0, 6.0), 1.0)
    assert [part.tolist() for part in rows] == [[0, 1, 2], [3, 4]]


def test_a_camera_as_slow_as_the_ticks_gives_one_at_each_frame() -> None:
    rng = np.random.default_rng(0)
    for period_s in (0.995, 1.0, 1.003):
        stamp_T = stamps(*(period_s * np.arange(100) + rng.uniform(-0.02, 0.02, 100) + 1.0))
        (rows,) = tick_rows(stamp_T, 1.0)
        assert rows.tolist() == list(range(100))


def test_rows_follow_what_the_live_history_does() -> None:
    """Training cuts an episode where the live history begins anew."""
    rng = np.random.default_rng(3)
    stamp_T = np.cumsum(rng.choice([0.05, 0.3, 2.5], p=[0.9, 0.09, 0.01], size=3000) * SECOND).astype(np.int64)
    history, starts = VisualHistory(4, 1), []
    ticks = tick_rows(stamp_T, 1.0)
    for part in ticks:
        for row in part:
            starts.append(history.push(int(stamp_T[row]), np.zeros(1)) is not None or history.count == 1)
    assert np.flatnonzero(starts).tolist() == np.cumsum([0, *(len(part) for part in ticks[:-1])]).tolist()


def test_windows_by_hand() -> None:
    past, future = windows(4, past=3, future=2)
    assert past.tolist() == [[-1, -1, 0], [-1, 0, 1], [0, 1, 2]]
    assert future.tolist() == [[1, 2], [2, 3], [3, -1]]
    assert windows(1, 3, 2)[0].shape == (0, 3)


def test_windows_never_cross_episodes() -> None:
    table = tabulate([lap_episode("a", 5.0), lap_episode("b", 7.0)], 1.0, past=4, future=4)
    assert len(table.stamp) == 12
    for rows in (table.past, table.future):
        owner = np.where(rows >= 0, table.episode[rows], -1)
        assert all(len(set(line[line >= 0])) == 1 for line in owner)
    assert table.past.shape == (4 + 6, 4)


def test_drives_too_short_for_two_ticks_are_refused() -> None:
    with pytest.raises(DataError, match="two ticks"):
        tabulate([lap_episode("a", 0.5)], 1.0, 4, 4)


def test_standardised_embeddings_have_mean_zero_and_variance_one() -> None:
    images = torch.from_numpy(lap_episode("a").image_TSSC)
    encoder = untrained(SMALL).encoder
    standardise(encoder, images)
    embeddings = embed_all(encoder, images)
    torch.testing.assert_close(embeddings.mean(0), torch.zeros(16), atol=1e-3, rtol=0)
    assert float(embeddings.var(0).max()) == pytest.approx(1.0, abs=0.01)


def test_forecast_poses_follow_the_circle() -> None:
    episode = lap_episode("a")
    expected = forecast_poses(episode, np.array([100]), [1.0, 2.0], MotionModel(), 0.1)
    truth = episode.pose_T4[[110, 120]][:, [0, 1, 3]]
    np.testing.assert_allclose(expected[0], truth, atol=0.02)


def test_retrieval_finds_what_was_seen_there_a_lap_ago() -> None:
    episode = lap_episode("a")
    embedding = episode.pose_T4[:, :2].astype(np.float32)
    expect = Expectation(MotionModel(), 0.1, Retrieval(exclude_recent_s=5.0))
    found = retrieve(episode, embedding, np.array([30, 300]), [1.0, 4.0], expect)
    assert np.isnan(found.embedding[0]).all()  # first lap: nothing is old enough
    np.testing.assert_allclose(found.embedding[1], embedding[[310, 340]], atol=0.15)
    assert found.revisit.tolist() == [[False, False], [True, True]]


def test_errors_by_hand() -> None:
    table = tabulate([lap_episode("a", 6.0)], 1.0, past=2, future=1)
    features = torch.arange(6.0)[:, None].repeat(1, 2)  # each tick one more
    errors = forecast_errors(lambda history, count: history[:, -1:] + 0.5, features, np.array([1.0, 4.0]), table)
    np.testing.assert_allclose(errors.error["same"][:, 0], (1.0 + 0.25) / 2)
    np.testing.assert_allclose(errors.error["ours"][:, 0], (0.25 + 0.0625) / 2)
    assert ratio_with_interval(errors, "ours", "same", 0)["ratio"] == pytest.approx(0.25)


def test_a_single_drive_is_resampled_in_stretches_of_eight_seconds() -> None:
    table = tabulate([lap_episode("a", 20.0)], 1.0, 4, 4)
    assert np.bincount(resampling_units(table)).tolist() == [8, 8, 3]
    both = tabulate([lap_episode("a", 20.0), lap_episode("b", 20.0)], 1.0, 4, 4)
    assert np.bincount(resampling_units(both)).tolist() == [19, 19]


def test_intervals_come_from_whole_episodes() -> None:
    ours = np.array([[1.0], [1.0], [3.0], [3.0]])
    same, episode = np.full((4, 1), 2.0), np.array([0, 0, 1, 1])
    errors = ForecastErrors({"ours": ours, "same": same}, episode, np.zeros((4, 1), bool))
    result = ratio_with_interval(errors, "ours", "same", 0)
    assert (result["ratio"], result["low"], result["high"], result["units"]) == (1.0, 0.5, 1.5, 2)
    nothing = ratio_with_interval(errors, "ours", "same", 0, among=np.zeros(4, bool))
    assert nothing["ratio"] is None


@pytest.fixture(scope="module")
def trained() -> tuple:
    table = tabulate([lap_episode(str(n), offset=0.3 * n) for n in range(4)], 1.0, 4, 4, phases=4)
    said: list[tuple] = []
    report = Report(lambda text: said.append((text,)), lambda *step: said.append(step))
    return train(SHORT, table, report=report), table, said


def test_training_learns_to_foresee(trained: tuple) -> None:
    module, _, said = trained
    held_out = tabulate([lap_episode("new", offset=2.0)], 1.0, 4, 4)
    features = embed_all(module.encoder, torch.from_numpy(held_out.image))
    errors = forecast_errors(module.foresee, features, np.ones(16), held_out)
    for tick in range(4):
        assert ratio_with_interval(errors, "ours", "same", tick)["ratio"] < 0.5
    assert {entry[0] for entry in said if len(entry) == 3} == {"encoder", "predictor"}
    assert any("effective rank" in entry[0] for entry in said)


def test_a_joint_training_without_the_picture_is_seen_to_lose_rank(trained: tuple, tmp_path: Path) -> None:
    module, table, _ = trained
    config = replace(
        SHORT,
        target="ema",
        joint_steps=60,
        encoder_batch=16,
        learning_rate=1e-2,
        picture_weight=0.0,
        share_gradient=True,
        validate_every=10,
    )
    start = restored_copy(module)
    before = spread(embed_all(start.encoder, torch.from_numpy(table.image)))
    train_joint(start.encoder, start.predictor, config, table, tmp_path)
    with (tmp_path / "joint" / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["term"] for row in rows} == {"forecast", "picture", "variance", "rank"}
    rank = [float(row["value"]) for row in rows if row["term"] == "rank"]
    assert len(rank) == 6
    assert rank[-1] < before.rank


class KilledError(Exception):
    """Stands for the end of a process."""


def test_a_killed_run_goes_on_with_the_target_where_it_was(trained: tuple, tmp_path: Path) -> None:
    module, table, _ = trained
    config = replace(SHORT, target="ema", joint_steps=12, encoder_batch=8, validate_every=5)

    def killed(stage: str, done: int, total: int) -> None:
        if done == 8:
            raise KilledError

    start = restored_copy(module)
    with pytest.raises(KilledError):
        train_joint(start.encoder, start.predictor, config, table, tmp_path, Report(advance=killed))
    steps: list[int] = []
    again = restored_copy(module)
    report = Report(advance=lambda stage, done, total: steps.append(done))
    target = train_joint(again.encoder, again.predictor, config, table, tmp_path, report)
    assert steps == list(range(6, 13))
    assert int(target.done) == 12
    with pytest.raises(ConfigError, match="joint_steps"):
        train_joint(again.encoder, again.predictor, replace(config, joint_steps=13), table, tmp_path)


def test_adapting_leaves_the_encoders_weights(trained: tuple) -> None:
    module, table, _ = trained
    copy = restored_copy(module)
    adapt(copy, replace(SHORT, predictor_steps=2), table)
    for name, value in module.encoder.backbone.state_dict().items():
        assert torch.equal(copy.encoder.backbone.state_dict()[name], value)
    assert not torch.equal(copy.predictor.leave.weight, module.predictor.leave.weight)


def restored_copy(module: torch.nn.Module) -> torch.nn.Module:
    copy = untrained(SMALL)
    copy.load_state_dict(module.state_dict())
    return copy


def test_the_forecast_does_not_reach_the_encoder_unless_it_is_let_in(trained: tuple) -> None:
    module, table, _ = trained
    for share in (False, True):
        start = restored_copy(module)
        before = [p.clone() for p in start.encoder.parameters()]
        config = replace(
            SHORT,
            target="ema",
            joint_steps=2,
            encoder_batch=8,
            picture_weight=0.0,
            share_gradient=share,
            weight_decay=0.0,
        )
        train_joint(start.encoder, start.predictor, config, table)
        changed = any(not torch.equal(a, b) for a, b in zip(before, start.encoder.parameters()))
        assert changed is share


def test_export_computes_the_same_and_can_be_restored(trained: tuple, tmp_path: Path) -> None:
    module, _, _ = trained
    make_random_artifact(tmp_path)
    manifest = export(tmp_path, module, SMALL, training={"seed": 0})
    loaded = load_artifact(tmp_path).world_action()
    assert parity(module, loaded, SMALL) < 1e-5
    assert manifest.world_action is not None
    assert manifest.world_action["training"] == {"seed": 0}
    again, config = restore(tmp_path)
    assert config == SMALL
    assert parity(again, script(module.eval()), SMALL) < 1e-5


def test_a_shared_backbone_is_the_fast_encoders_and_stays_as_it_is(trained: tuple, tmp_path: Path) -> None:
    fast = ConvEncoder(16, 8, channels=(4, 6, 8, 10))
    config = WorldActionConfig(**{**SMALL.to_dict(), "backbone": "encoder", "trunk": [4, 6, 8, 10]})
    how = WorldActionTraining(model=config, encoder_steps=3, predictor_steps=3, encoder_batch=4, predictor_batch=4)
    module = train(how, trained[1], fast_encoder=fast)
    trunk = module.encoder.get_submodule("backbone.net").state_dict()
    assert all(torch.equal(trunk[name], value) for name, value in fast.net.state_dict().items())
    images = torch.from_numpy(trained[1].image[:5])
    pixels = images.permute(0, 3, 1, 2) / 255.0 - 0.5
    maps = module.encoder.backbone.net(0.5 * (images.permute(0, 3, 1, 2) / 127.5 - 1.0))
    torch.testing.assert_close(maps, fast.net(pixels))
    make_random_artifact(tmp_path)
    export(tmp_path, module, config)
    assert restore(tmp_path)[1] == config
    with pytest.raises(ConfigError, match="no convolutions"):
        train(how, trained[1], fast_encoder=ConvEncoder(16, 8))


def test_variants_are_compared_in_one_space(trained: tuple) -> None:
    module, table, _ = trained
    config = replace(SHORT, predictor_steps=30, predictor_batch=32)
    candidates = (("pooled", {}, {}), ("maps", {"granularity": "maps"}, {}))
    results = compare(module.encoder, config, table, table, candidates=candidates)
    assert set(results) == {"pooled", "maps"}
    baselines = {name: [r["baseline"] for r in result["ours/same"]] for name, result in results.items()}
    assert baselines["pooled"] == baselines["maps"]


def test_targets_are_compared_in_pixels(trained: tuple) -> None:
    module, table, _ = trained
    config = replace(SHORT, predictor_steps=100, predictor_batch=64, joint_steps=5, encoder_batch=8)
    results = compare_targets(module, config, table, table)
    assert list(results) == [name for name, _ in CANDIDATES]
    same = [[row["baseline"] for row in result["ours/same"]] for result in results.values()]
    assert all(each == same[0] for each in same)
    # Six seeds on one processor gave 0.328 to 0.333 and 0.52 to 0.94; on others the first was below 0.3.
    assert results["frozen"]["readout_error"] < 0.4
    assert results["frozen"]["ours/same"][0]["ratio"] < 0.8


def test_evaluation_reports_every_baseline(trained: tuple, tmp_path: Path) -> None:
    make_random_artifact(tmp_path)
    export(tmp_path, trained[0], SMALL)
    _, rows = evaluate(load_artifact(tmp_path), [lap_episode("new"), lap_episode("other", offset=1.0)], 0.1)
    assert list(rows) == ["1", "2", "3", "4"]
    assert rows["1"]["ours/same"]["ratio"] < 0.5
    assert rows["1"]["retrieval/same revisit"]["ratio"] < 0.2
    assert rows["4"]["ours/same revisit"]["n"] > 0


def test_commands_from_drives_to_a_report(tmp_path: Path) -> None:
    writer = EpisodeWriter(tmp_path / "data", DatasetManifest(image_size=16, step_s=0.1, action_dim=2))
    for index, split in enumerate(("train", "train", "test")):
        writer.write(lap_episode(f"d{index}", 30.0), split)
    make_random_artifact(tmp_path / "artifact")
    default = WorldActionConfig().to_dict()
    changed = {name: value for name, value in SMALL.to_dict().items() if value != default[name]}
    shape = [f"model.{name}={value}" for name, value in changed.items()]
    sets = [part for each in [*shape, "encoder_steps=5", "predictor_steps=5"] for part in ("--set", each)]
    common = ["--data", str(tmp_path / "data"), "--artifact", str(tmp_path / "artifact")]
    run, report = tmp_path / "run", tmp_path / "report.json"
    assert main(["train", *common, *sets, "--run", str(run)]) == 0
    before = load_artifact(tmp_path / "artifact").manifest.files
    assert main(["adapt", *common, "--set", "predictor_steps=5"]) == 0
    after = load_artifact(tmp_path / "artifact").manifest.files
    assert {name for name in after if after[name] != before[name]} == {"world_action.pt"}
    assert main(["evaluate", *common, "--json", str(report)]) == 0
    assert list(json.loads(report.read_text())["horizons_s"]) == ["1", "2", "3", "4"]
    assert (run / "encoder" / "log.csv").read_text().startswith("step,kind,term,value")


def test_a_wrong_setting_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def settings(*texts: str) -> WorldActionTraining:
        return read_config(WorldActionTraining, None, parse_overrides(texts))

    assert settings("norm=l2", "model.hidden=7", "input_noise=0") == WorldActionTraining(
        norm="l2", model=WorldActionConfig(hidden=7), input_noise=0.0
    )
    assert settings("model.trunk=[1, 2, 3, 4]", "model.backbone=encoder").model.trunk == (1, 2, 3, 4)
    with pytest.raises(ConfigError, match="learning"):
        settings("learning=1")
    with pytest.raises(ConfigError, match="expected int"):
        settings("model.hidden=wide")
    code = main(["train", "--data", str(tmp_path), "--artifact", "artifact://tiny", "--set", "target=none"])
    assert code == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "wm slow train: target is 'none'" in error
