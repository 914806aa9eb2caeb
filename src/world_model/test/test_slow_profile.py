"""``wm slow adapt --profile``: what foresees better is kept beside the artifact, which stays, with its embeddings."""

import hashlib
import os
import shutil
import subprocess
import time
from threading import Thread

import numpy as np
import pytest
import torch

from world_model.cli import main
from world_model.commands import scratch, slow_profile
from world_model.data.episodes import DatasetManifest, Episode, EpisodeSet, EpisodeWriter
from world_model.evaluation.adaptation import Verdict
from world_model.evaluation.slow_adaptation import can_be_judged, judge_slow_branch
from world_model.runtime.adapted import adapted_slow_branch
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.profile import SLOW, Profile

pytestmark = pytest.mark.training
TINY = "artifact://tiny"


def circling(count: int) -> Episode:
    """A camera before which a bright bar circles in 15 s."""
    angle_T = 2.0 * np.pi * np.arange(count) / 300
    column = np.arange(64)[None, :] / 64.0
    bar_TS = np.exp(-30.0 * (column - (0.5 + 0.4 * np.sin(angle_T))[:, None]) ** 2)
    image = np.repeat(np.repeat((230.0 * bar_TS)[:, None, :, None], 64, axis=1), 3, axis=3).astype(np.uint8)
    stamps = np.arange(count, dtype=np.int64) * 50_000_000
    return Episode("circling", "hall", image, stamps, np.full((count, 4), np.nan), np.zeros((count, 2), np.float32))


@pytest.fixture
def data(tmp_path):
    writer = EpisodeWriter(tmp_path / "set", DatasetManifest(image_size=64, step_s=0.05, action_dim=2))
    episode = circling(1400)
    writer.write(episode.cut(0.0, 35.0, name="a"), "train")
    writer.write(episode.cut(35.0, 70.0, name="b"), "valid")
    return tmp_path / "set"


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.fixture
def asked(data, tmp_path, monkeypatch):
    monkeypatch.setattr(slow_profile, "stand_back", lambda by: by)
    robot = ["--profile", f"{tmp_path}/robot", "--set", "predictor_steps=40", "--set", "predictor_batch=16"]
    return ["slow", "adapt", "--data", str(data), "--artifact", TINY, *robot]


@pytest.mark.slow
def test_what_foresees_better_is_kept_and_the_artifact_stays_as_it_is(asked, data, tmp_path):
    source, before = load_artifact(TINY), digests(load_artifact(TINY).path)
    profile = Profile(tmp_path / "robot")
    assert main([*asked, "--discard-data"]) == 0
    assert digests(source.path) == before
    assert not data.exists()
    kept = adapted_slow_branch(profile, source)
    assert kept.path == tmp_path / "robot" / "slow-1"
    assert not list(profile.folder.glob(".adapting-*"))
    assert not list(profile.folder.glob(".slow_branch-*"))
    mine, theirs = (torch.jit.load(str(each.path / "world_action.pt")).state_dict() for each in (source, kept))
    changed = {name for name in mine if not torch.equal(mine[name], theirs[name])}
    assert changed
    assert all(name.startswith("predictor.") for name in changed)  # who reads the embeddings meets the same ones


@pytest.mark.slow
def test_what_is_no_better_is_thrown_away_with_exit_code_3(asked, tmp_path, monkeypatch):
    worse = Verdict("all", 1.0, 1.1, 1.1, 1.0, 1.2, 50)
    monkeypatch.setattr(slow_profile, "judge_slow_branch", lambda *_: [worse])
    assert main(asked) == 3
    assert Profile(tmp_path / "robot").signature(SLOW) is None
    assert not list((tmp_path / "robot").glob("slow-*"))


def test_a_shipped_artifact_is_never_written_to_and_a_set_needs_a_part_that_judges(asked, data, capsys, monkeypatch):
    assert main(["slow", "adapt", "--data", str(data), "--artifact", TINY]) == 2
    assert "give a copy" in capsys.readouterr().err
    monkeypatch.setattr(EpisodeSet, "names", lambda *_: [])
    assert main(asked) == 2
    assert "'valid'" in capsys.readouterr().err


def test_short_stretches_say_nothing_and_the_verdict_is_that_of_plain_means():
    from world_model.data.ticks import tabulate

    rng = np.random.default_rng(0)
    table = tabulate([circling(1000)], 1.0, 4, 4, 1)
    features_KE = torch.from_numpy(rng.normal(size=(len(table.stamp), 3)).astype(np.float32))
    zero, same = (lambda past, _: torch.zeros(len(past), 4, 3)), (lambda past, _: past[:, -1:].expand(-1, 4, -1))
    verdict, following = judge_slow_branch(same, zero, features_KE, table)
    variance_E = features_KE.numpy().var(axis=0)
    errors = [
        np.mean([np.mean(features_KE[f].numpy() ** 2 / variance_E) for f in row if f >= 0])
        for row in table.future
        if (row >= 0).any()
    ]
    assert verdict.after == pytest.approx(np.mean(errors), rel=1e-4)
    assert verdict.is_better
    assert following.count == sum(row[0] >= 0 for row in table.future)
    # A block is eight seconds of one episode: four short drives are worth as much as a long one.
    drives = tabulate([circling(300)] * 4, 1.0, 4, 4, 1)
    (several, _) = judge_slow_branch(same, zero, features_KE.repeat(2, 1)[: len(drives.stamp)], drives)
    assert several.count == sum((drives.future >= 0).any(axis=1))
    short = tabulate([circling(300)], 1.0, 4, 4, 1)
    (nothing, _) = judge_slow_branch(same, zero, features_KE[: len(short.stamp)], short)
    assert nothing.count == 0
    assert not nothing.is_better
    assert not can_be_judged([circling(300)])
    assert can_be_judged([circling(1000)])
    assert can_be_judged([circling(300)] * 4)


def test_the_background_process_gets_copies_and_outlives_its_parent(tmp_path, monkeypatch):
    started, profile = [], Profile(tmp_path / "robot")

    class Process:
        pid = 4711

        def __init__(self, command, **more):
            started.append((command, more))

    monkeypatch.setattr(slow_profile.subprocess, "Popen", Process)
    source, episode = load_artifact(TINY), circling(200)
    pid = slow_profile.start_in_background([episode.cut(0.0, 6.0)], [episode.cut(6.0, 99.0)], source, profile)
    ((command, more),) = started
    assert pid == 4711
    assert more["start_new_session"]
    data = EpisodeSet(next(profile.folder.glob(".slow-*")))
    assert (len(data.names("train")), len(data.names("valid"))) == (1, 1)
    at = command.index("--profile")
    assert os.path.samefile(command[at + 1], profile.folder)
    assert "--discard-data" in command
    shutil.rmtree(data.path)


def test_of_several_at_once_each_has_its_turn(tmp_path):
    order = []

    def second():
        with slow_profile._turn(tmp_path):
            order.append("second")

    waiting = Thread(target=second)
    with slow_profile._turn(tmp_path):
        (tmp_path / ".slow_branch-x").mkdir()
        (tmp_path / ".adapting-x").mkdir()  # of a command that fine-tunes a network meanwhile
        waiting.start()
        time.sleep(0.2)
        order.append("first")
    waiting.join(10.0)
    assert order == ["first", "second"]
    assert not (tmp_path / ".slow_branch-x").exists()
    assert (tmp_path / ".adapting-x").exists()


def test_copies_are_removed_once_their_process_is_gone_and_not_before(tmp_path):
    gone, in_use, young = tmp_path / ".slow-gone", tmp_path / ".slow-used", tmp_path / ".slow-young"
    for path in (gone, in_use, young):
        path.mkdir()
    for path in (gone, in_use):
        os.utime(path, (0, 0))
    with scratch.held(in_use) as held:
        process = subprocess.Popen(["sleep", "60"], pass_fds=[held])
    try:
        scratch.remove_left(tmp_path, ".slow-")
        assert {path.name for path in tmp_path.iterdir()} == {".slow-used", ".slow-young"}
    finally:
        process.kill()
        process.wait()
    scratch.remove_left(tmp_path, ".slow-")
    assert {path.name for path in tmp_path.iterdir()} == {".slow-young"}


def test_what_is_being_made_is_taken_for_left_by_nobody(tmp_path):
    left, other = tmp_path / ".recording-left", tmp_path / ".adapting-left"
    for path in (left, other):
        path.mkdir()
        os.utime(path, (0, 0))
    with scratch.scratch_folder(tmp_path, ".recording-") as path:
        os.utime(path, (0, 0))
        scratch.remove_left(tmp_path, ".recording-")
        assert set(tmp_path.iterdir()) == {path, other}
    assert set(tmp_path.iterdir()) == {other}
