"""The larger models within a given time: it ends a stage, a killed run goes on, and figures mean what they say."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip("lightning_fabric", reason="the training extra, requirements/train.txt, is not installed")

from wm_testing.episodes import circling_episode, circling_set
from world_model.commands.family import lines_of, main
from world_model.data.episodes import EpisodeSet
from world_model.data.simulated import SimulatedRun, generate
from world_model.errors import ConfigError
from world_model.evaluation.decoded import psnr_entry
from world_model.evaluation.family import on_device, psnr_curve, stage_account, train_family
from world_model.evaluation.film_strip import write_strip
from world_model.models.factory import make_encoder, make_transition
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.conditioning import Retrieval
from world_model.runtime.pictures import psnr_per_picture
from world_model.training.budget import Budget, begin_run, granted_s, rate_by_time
from world_model.training.checkpoints import load_checkpoint
from world_model.training.clips import ClipSampler
from world_model.training.config import (
    FamilyConfig,
    LossConfig,
    ModelConfig,
    OptimiserConfig,
    PictureConfig,
    StageConfig,
    TimeShares,
    TrainConfig,
)
from world_model.training.crew import Crew
from world_model.training.losses import total
from world_model.training.picture_stage import PictureLosses, Pictures, PictureTrainer
from world_model.training.preparation import make_sequences
from world_model.training.sampler import Sampler
from world_model.training.stages import prepare
from world_model.training.table_sampler import TableSampler
from world_model.training.transition_stage import Trainer

pytestmark = pytest.mark.training

SIZE = 32
CONFIG = TrainConfig(
    name="small",
    minutes=0.1,
    horizons=(1, 20),
    path_steps=11,
    retrieval=Retrieval(anticipated_k=4, appearance_k=2),
    model=ModelConfig(
        latent_dim=8,
        encoder="driving",
        encoder_widths=(8, 8, 16, 16),
        place_channels=4,
        decoder="pixel_shuffle",
        decoder_width=32,
        context="film_gru",
        hidden_dim=16,
        layer_count=2,
        width=32,
        memory_width=16,
    ),
    pictures=PictureConfig(batch=2, stills=6, sequence=4, burn_in=2, warm_up=2, learning_rate=3e-3),
    optimiser=OptimiserConfig(batch=4, sequence=8, burn_in=2, positions=2, warm_up=2),
    losses=LossConfig(squared=10.0, prediction=0.01),
    family=FamilyConfig(image_size=SIZE, drives=1, held_out=1, forecast=1),
    time=TimeShares(data=0.05, pictures=0.3, path=0.05, memory=0.1, without_memory=0.05),
)
STEPWISE = replace(CONFIG, minutes=0.0, model=replace(CONFIG.model, encoder="linear", decoder="linear"))


class Killed(Exception):  # noqa: N818 (it is no error)
    pass


class Clock:
    """Goes on by a second with every step, and may kill the run after one of them."""

    def __init__(self, kill_at=None):
        self.now, self._kill_at = 1000.0 * (kill_at or 1), kill_at

    def __call__(self):
        return self.now

    def tick(self, progress):
        self.now += 1.0
        if progress.step == self._kill_at:
            raise Killed


def fit_pictures(folder, seconds, kill_at=None):
    torch.manual_seed(0)
    clock, pictures = Clock(kill_at), Pictures(CONFIG, SIZE, 2)
    trainer = PictureTrainer(CONFIG, pictures, folder, 0.05, budget=Budget(seconds, clock))
    trainer.fit([circling_episode("a", 8.0, SIZE)], progress=clock.tick)
    return pictures.state_dict()


def same(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_the_time_ends_a_stage(tmp_path):
    fit_pictures(tmp_path, 7.0)
    checkpoint = load_checkpoint(tmp_path / "last.pt")
    assert (checkpoint["step"], checkpoint["used_s"]) == (7, 7.0)


def test_a_stage_that_was_killed_ends_with_the_weights_of_one_that_was_not(tmp_path):
    whole = fit_pictures(tmp_path / "whole", 10.0)
    with pytest.raises(Killed):
        fit_pictures(tmp_path / "killed", 10.0, kill_at=7)
    # The step in which it was killed is lost; the time that the others took is not given again.
    assert load_checkpoint(tmp_path / "killed" / "last.pt")["used_s"] == 6.0
    same(whole, fit_pictures(tmp_path / "killed", 10.0))
    # What is over is not begun again.
    same(whole, fit_pictures(tmp_path / "killed", 10.0))
    assert load_checkpoint(tmp_path / "killed" / "last.pt")["step"] == 10


def test_rates_follow_the_time_that_is_gone():
    settings = StageConfig(learning_rate=1.0, warm_up=4)
    assert rate_by_time(0, 0.0, settings) == pytest.approx(0.25)
    assert rate_by_time(9, 0.0, settings) == pytest.approx(1.0)
    assert rate_by_time(9, 0.5, settings) == pytest.approx(0.51)
    assert rate_by_time(9, 1.0, settings) == pytest.approx(0.02)
    with pytest.raises(ValueError, match=r"0\.0 s cannot learn"):
        Budget(0.0)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Return stages and sequences of two short episodes."""
    path = circling_set(tmp_path_factory.mktemp("set"), names=("a", "b", "c"), seconds=40.0)
    episodes, names = EpisodeSet(path), ["a", "b"]
    torch.manual_seed(0)
    stages = prepare(STEPWISE, episodes, names, tmp_path_factory.mktemp("run"))
    return stages, make_sequences(STEPWISE, episodes, names, stages, Crew(1))


def test_a_table_holds_what_the_sampler_cuts(prepared):
    _, sequences = prepared
    shape = (CONFIG.horizons, 8, 2, 3)
    sampler, table = Sampler(sequences, *shape, 0), TableSampler(sequences, *shape, 0, torch.device("cpu"))
    lengths = [len(each.stamp_T) for each in sequences]
    offset = np.array([2, 4, 7])
    answered = 0
    for index, start in ((0, 0), (1, 300), (2, 500), (3, lengths[3] - 29)):
        wanted = sampler._cut(sequences[index], 0, start, offset)
        found = table.cut(np.array([sum(lengths[:index]) + start]), offset[None])
        valid = {name: getattr(wanted.retrieved, name) for name in wanted.retrieved._fields if name.endswith("valid")}
        answered += int(valid["anticipated_valid"].sum()) * int(valid["successor_valid"].sum())
        for name, value in zip(wanted._fields[:-1], wanted[:-1]):
            assert torch.equal(torch.nan_to_num(value), torch.nan_to_num(getattr(found, name))), name
        for name in wanted.retrieved._fields:
            value, other = getattr(wanted.retrieved, name), getattr(found.retrieved, name)
            known = valid[f"{name.split('_')[0]}_valid"]
            # What is not valid has no meaning.
            assert torch.equal(value[known], other[known]), name
    assert answered > 0


def test_a_table_draws_only_what_can_be_judged(prepared):
    _, sequences = prepared
    cut = [replace(each, measured_T=np.arange(len(each.stamp_T)) % 4 == 0) for each in sequences]
    table = TableSampler(cut, CONFIG.horizons, 8, 2, 3, 0, torch.device("cpu"))
    offset_BP = table._offsets(start_B := table._start_W)
    assert np.concatenate([each.measured_T for each in cut])[start_B[:, None] + offset_BP].all()
    assert offset_BP.min() == 2
    assert offset_BP.max() == 7
    total_lengths = sum(len(each.stamp_T) for each in cut)
    assert start_B.max() + 8 + max(CONFIG.horizons) < total_lengths
    drawn = []
    for _ in range(2):
        table.reseed([3, 5])
        drawn.append([torch.nan_to_num(column.float()) for column in table.columns(5, 0.5)])
    assert all(torch.equal(first, again) for first, again in zip(*drawn))


def test_a_transition_that_was_killed_ends_with_the_weights_of_one_that_was_not(prepared, tmp_path):
    _, sequences = prepared

    def fit(folder, kill_at=None):
        torch.manual_seed(1)
        clock, model = Clock(kill_at), make_transition(CONFIG.model, 2)
        trainer = Trainer(CONFIG, model, folder, 0.05, torch.ones(8), budget=Budget(6.0, clock))
        trainer.fit(sequences, progress=clock.tick)
        return model.state_dict()

    whole = fit(tmp_path / "whole")
    with pytest.raises(Killed):
        fit(tmp_path / "killed", kill_at=3)
    same(whole, fit(tmp_path / "killed"))


@pytest.mark.parametrize(("encoder", "decoder"), [("driving", "pixel_shuffle"), ("resnet", "transposed")])
def test_pictures_begin_at_their_principal_components(encoder, decoder):
    torch.manual_seed(0)
    model = replace(CONFIG.model, components_side=16, encoder=encoder, decoder=decoder)
    pictures = Pictures(replace(CONFIG, model=model), SIZE, 2).eval()
    image_NSSC = torch.from_numpy(np.array(circling_episode("a", 8.0, SIZE).image_TSSC))
    before = float(psnr_per_picture(pictures.decoder(pictures.encoder(image_NSSC)), image_NSSC).mean())
    pictures.begin_at([circling_episode("a", 8.0, SIZE)])
    small_NX = torch.nn.functional.avg_pool2d(image_NSSC.permute(0, 3, 1, 2).double() / 255.0, 2).flatten(1)
    centred_NX = small_NX - small_NX.mean(dim=0)
    _, spread_D, direction_DX = torch.linalg.svd(centred_NX, full_matrices=False)
    wanted_ND = centred_NX @ direction_DX[:8].T / (spread_D[:8] / (len(small_NX) - 1) ** 0.5)
    with torch.no_grad():
        latent_ND = pictures.encoder(image_NSSC)
        coarse_NX = torch.nn.functional.avg_pool2d(pictures.decoder.render(latent_ND) / 2.0 + 0.5, 2).flatten(1)
    # The sign of a component is arbitrary.
    assert latent_ND.abs() == pytest.approx(wanted_ND.abs().float(), abs=2e-3)
    rebuilt_NX = centred_NX @ direction_DX[:8].T @ direction_DX[:8] + small_NX.mean(dim=0)
    # Enlarged and averaged again it is a little smoother.
    assert float((coarse_NX - rebuilt_NX).square().mean()) < 0.5 * float((small_NX - rebuilt_NX).square().mean())
    after = float(psnr_per_picture(pictures.decoder(pictures.encoder(image_NSSC)), image_NSSC).mean())
    assert after > before + 3.0
    with pytest.raises(ConfigError, match="expected 0, or resnet or driving with transposed or pixel_shuffle"):
        replace(model, encoder="conv")


def test_clips_are_drawn_every_so_many_steps_only():
    episodes = [circling_episode("a", 8.0, SIZE)]
    image, action, stills = ClipSampler(episodes, CONFIG.model, 4, 0).columns(0, 14)
    assert (image.shape, action.shape, stills.shape) == ((0, 4, SIZE, SIZE, 3), (0, 4, 2), (14, SIZE, SIZE, 3))
    torch.manual_seed(0)
    terms = PictureLosses(Pictures(CONFIG, SIZE, 2).eval(), CONFIG, None, 0.05)(image, action, stills)
    assert "squared" in terms
    assert "prediction" not in terms
    with pytest.raises(ConfigError, match="only with stills"):
        PictureConfig(imagine_every=2)


def test_what_is_left_is_shared_out(tmp_path):
    config = replace(CONFIG, minutes=1.0)
    assert granted_s(config, "pictures", None) == granted_s(config, "pictures", tmp_path / "pictures") == 18.0
    begin_run(config, tmp_path, 0.0)
    assert granted_s(config, "pictures", tmp_path / "pictures") == 18.0
    # 15 s are left; of what comes from the memory on it has 10 of 31 hundredths, less than its 6 s.
    begin_run(config, tmp_path, 45.0)
    assert granted_s(config, "memory", tmp_path / "memory") == pytest.approx(15.0 * 0.10 / 0.31, abs=0.1)
    begin_run(config, tmp_path, 52.0)
    assert granted_s(config, "without_memory", tmp_path / "without_memory") == pytest.approx(8.0 * 0.05 / 0.21, abs=0.1)
    # However late, a quarter; and what was granted stays.
    begin_run(config, tmp_path, 60.0)
    assert granted_s(config, "judging", tmp_path / "judging") == pytest.approx(0.25 * 0.16 * 60.0)
    assert granted_s(config, "memory", tmp_path / "memory") == pytest.approx(15.0 * 0.10 / 0.31, abs=0.1)


def square_of(number):
    return number * number


@pytest.mark.parametrize("workers", [1, 2])
def test_a_crew_leaves_out_what_was_not_begun_in_time(workers):
    with Crew(workers) as crew:
        assert crew.submit(square_of, 3)() == 9
        assert crew.map(square_of, [1, 2, 3]) == [1, 4, 9]
        assert crew.map(square_of, [1, 2, 3], limit_s=-1.0, at_least=2) == [1, 4, None]


def test_psnr_of_pictures_by_hand():
    truth = torch.full((3, 4, 4, 3), 100, dtype=torch.uint8)
    image = truth.clone()
    image[1] += 5
    image[2, 0] += 10
    # All pixels 5 off: 10 log10(255^2 / 25); a quarter of them 10 off: the same; none off: what rounding alone leaves.
    assert psnr_per_picture(image, truth).tolist() == pytest.approx([58.92, 34.15, 34.15], abs=0.01)
    # Errors of 25 and 2500 have a mean of 1262.5; the mean of 34.15 and 14.15 is another number.
    entry = psnr_entry(np.array([34.151, 14.151]))
    assert entry == {"mean": 24.15, "pooled": 17.12, "n": 2}
    assert psnr_entry(np.empty(0)) == {"mean": None, "pooled": None, "n": 0}


def test_stills_are_frames_or_their_mirror_images():
    episodes = [circling_episode(name, 4.0, 16, seed) for seed, name in enumerate("ab")]
    image, action, stills = ClipSampler(episodes, ModelConfig(), 4, 0).columns(3, 40)
    assert image.shape == (3, 4, 16, 16, 3)
    assert action.shape == (3, 4, 2)
    every = np.concatenate([each.image_TSSC for each in episodes])
    plain, mirrored = ({a.tobytes() for a in frames} for frames in (every, every[:, :, ::-1]))
    kinds = [(still.numpy().tobytes() in plain, still.numpy().tobytes() in mirrored) for still in stills]
    assert {(True, False), (False, True)} == set(kinds)
    for clip in image:
        assert all(frame.numpy().tobytes() in plain for frame in clip)
    # Half of them from further episodes, too short for films, and no film from there.
    other = circling_episode("c", 0.15, 16, 2)
    image, _, stills = ClipSampler(episodes, ModelConfig(), 4, 0, sights=[other]).columns(30, 40)
    of_other = {a.tobytes() for a in (*other.image_TSSC, *other.image_TSSC[:, :, ::-1])}
    assert sum(still.numpy().tobytes() in of_other for still in stills) == 20
    assert not any(frame.numpy().tobytes() in of_other for frame in image.flatten(0, 1))


def test_stills_are_judged_as_pictures_and_no_more():
    torch.manual_seed(0)
    pictures = Pictures(CONFIG, SIZE, 2).eval()
    columns = ClipSampler([circling_episode("a", 8.0, SIZE)], CONFIG.model, 4, 0).columns(2, 6)
    losses = PictureLosses(pictures, CONFIG, None, 0.05)
    terms = losses(*columns)
    alone = replace(CONFIG, pictures=replace(CONFIG.pictures, stills=0))
    without = PictureLosses(pictures, alone, None, 0.05)(*columns[:2])
    assert terms["prediction"].item() == pytest.approx(without["prediction"].item(), rel=1e-5)
    still = pictures.decoder.render(pictures.encoder(columns[2])).permute(0, 2, 3, 1)
    error = ((still + 1.0) / 2.0 - columns[2] / 255.0).square().mean().item()
    # 8 pictures of films, 6 stills.
    assert terms["squared"].item() == pytest.approx((8 * without["squared"].item() + 6 * error) / 14, rel=1e-4)
    weighed = total({"squared": terms["squared"]}, CONFIG.weights()).item()
    assert weighed == pytest.approx(10.0 * terms["squared"].item())
    with pytest.raises(ConfigError, match="stills have no depth"):
        replace(CONFIG, model=replace(CONFIG.model, use_depth=True))


@pytest.mark.parametrize("encoder", ["resnet", "driving"])
def test_places_tell_a_picture_from_its_pieces_moved(encoder):
    """Two maps with the same vectors at other places: their means are equal, their places are not."""
    for channels, is_told in ((0, False), (4, True)):
        torch.manual_seed(0)
        config = ModelConfig(latent_dim=8, encoder=encoder, encoder_widths=(8, 8, 16, 16), place_channels=channels)
        summary = make_encoder(config, 64).summary
        map_BXC = torch.randn(2, 4, 16)
        moved = map_BXC.flip(1)
        assert torch.allclose(summary(map_BXC), summary(moved), atol=1e-5) is not is_told
        assert summary(map_BXC).shape == (2, 16)


def test_a_strip_keeps_its_limit(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (7, 64, 64, 3), dtype=np.uint8)
    write_strip(tmp_path / "strip.png", {"truth": noise, "decoded": noise}, 150_000)
    assert 10_000 < (tmp_path / "strip.png").stat().st_size <= 150_000
    # Fewer of each row where the smallest of all are too many.
    write_strip(tmp_path / "strip.png", {"truth": noise, "decoded": noise}, 40_000)
    assert 20_000 < (tmp_path / "strip.png").stat().st_size <= 40_000
    assert cv2.imread(str(tmp_path / "strip.png")).shape[0] == 2 * 48
    with pytest.raises(ValueError, match="expected 1000 at most"):
        write_strip(tmp_path / "strip.png", {"truth": noise}, 1000)


def test_worlds_that_were_not_begun_in_time_are_left_out(tmp_path):
    runs = [SimulatedRun(seed=7000, duration_s=70.0, image_size=16, step_s=0.5)]
    assert generate(tmp_path, runs, workers=1, limit_s=-1.0).names() == []
    splits = {"sim-07001": "valid", "sim-07002": "train"}
    three = [replace(runs[0], seed=7001 + number) for number in range(3)]
    made = generate(tmp_path, three, workers=1, split=splits, limit_s=-1.0, at_least=2)
    assert (made.names("valid"), made.names("train")) == (["sim-07001"], ["sim-07002"])
    made = generate(tmp_path, runs, workers=1, split="valid", step_s=0.5)
    assert made.names("valid") == ["sim-07000", "sim-07001"]


def test_without_a_gpu_it_is_not_run_and_says_so(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["base", str(tmp_path)]) == 2
    assert "'base' not run: no GPU" in capsys.readouterr().err
    assert main(["compact", str(tmp_path), "--device", "cuda"]) == 2
    assert "'compact' not run: no GPU" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="expected auto, cuda or cpu"):
        on_device(CONFIG, "tpu")
    assert on_device(CONFIG, "auto").pictures.accelerator == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert on_device(CONFIG, "auto").pictures.precision == "bf16-mixed"
    assert on_device(CONFIG, "cpu").pictures.precision == "32-true"


def test_shares_leave_time_for_the_rest():
    with pytest.raises(ConfigError, match=r"add up to 1\.48"):
        TimeShares(pictures=0.9)
    with pytest.raises(ConfigError, match="expected more than 0"):
        TimeShares(path=0.0)
    with pytest.raises(ConfigError, match="only 1 buildings are held out"):
        FamilyConfig(held_out=1)
    assert CONFIG.seconds_of("pictures") == pytest.approx(1.8)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_from_worlds_to_figures(tmp_path):
    circling_set(tmp_path / "data", names=("sim-1", "sim-0"), seconds=34.0, size=SIZE)
    (tmp_path / "worlds.json").write_text("{}")
    config = on_device(CONFIG, "cpu")
    made = train_family(config, tmp_path, workers=1)
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads(json.dumps(made))
    assert (tmp_path / "strip.png").stat().st_size > 1000
    text = (tmp_path / "README.md").read_text()
    assert f"**{made['worlds']['psnr_db']['truth, decoded']['mean']:.2f} dB**" in text
    assert "| nothing changes |" in text
    for stage in ("pictures", "path", "memory", "without_memory"):
        account = made["stages"][stage]
        assert account["seconds"] >= round(granted_s(config, stage, tmp_path / stage), 1)
        assert account["steps"] > 0
    assert made["curve"]
    assert made["curve"] == psnr_curve(tmp_path / "pictures" / "log.csv")
    worlds = made["worlds"]
    ahead = worlds["psnr_db"]["ahead"]["20 steps"]
    assert {"ours", "without memory", "persistence", "nothing changes"} <= set(ahead)
    assert ahead["ours"]["all"]["n"] == ahead["ours"]["revisit"]["n"] + ahead["ours"]["first"]["n"] == 100
    assert np.isfinite(worlds["nmse"]["recorded"]["without memory"]["20"]["revisit"]["mean"])
    assert np.isfinite(worlds["nmse"]["held"]["ours"]["1"]["first"]["mean"])
    assert made["parameters"]["encoder"] > 1000
    assert any("1 s ahead, without memory" in line for line in lines_of(made))
    # Asked again, nothing is trained again.
    before = load_artifact(tmp_path / "artifact").manifest.encoder_id
    steps = stage_account(tmp_path / "pictures")["steps"]
    train_family(config, tmp_path, workers=1)
    assert load_artifact(tmp_path / "artifact").manifest.encoder_id == before
    assert stage_account(tmp_path / "pictures")["steps"] == steps
