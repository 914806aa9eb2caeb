"""Several cameras of one robot, and streams with the frames that follow: from command line to slow branch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from wm_testing.recorder import STEP, T0, Recorder
from world_model.commands.data import main
from world_model.data.episodes import EpisodeSet
from world_model.data.streams import Stream
from world_model.data.ticks import tabulate
from world_model.models.world_action import WorldActionConfig
from world_model.training.world_action_config import WorldActionTraining
from world_model.training.world_action_stage import embed_all, train

COUNT = 120
LEFT, FRONT, REAR = "/left/image", "/camera/image_raw", "/rear/image"


@pytest.fixture
def bag(tmp_path):
    """Front at 20 Hz; left at 20 Hz, 15 ms later, silent in the third second; rear at 5 Hz."""
    recorder = Recorder(tmp_path / "drive")
    for i in range(COUNT):
        ns = T0 + i * STEP
        recorder.picture(ns, i)
        if not 40 <= i < 60:
            recorder.picture(ns + 15_000_000, 100 + i, LEFT)
        if i % 4 == 0:
            recorder.picture(ns, 255 - i, REAR)
    return recorder.write()


def converted(bag, out, *arguments):
    assert main(["bag", str(bag), str(out), "--image-size", "16", *arguments]) == 0
    return EpisodeSet(out)


def test_each_frame_has_what_the_others_showed_then(bag, tmp_path):
    chosen = ["--image-topic", FRONT]
    episodes = converted(bag, tmp_path / "set", *chosen, "--views", "all")
    episode = episodes.episode("drive")
    assert episode.views_TVSSC.shape == (COUNT, 2, 16, 16, 3)
    row_T = np.arange(COUNT)
    left, rear = np.asarray(episode.views_TVSSC)[:, :, 0, 0, 0].T.astype(int)
    known_left, known_rear = np.asarray(episode.views_known_TV).T
    # Within 0.1 s of the silence its last and first picture stand for it.
    silent = (row_T >= 42) & (row_T < 59)
    np.testing.assert_array_equal(known_left, ~silent)
    steady = known_left & ((row_T < 40) | (row_T >= 60))
    np.testing.assert_array_equal(left[steady], 100 + row_T[steady])
    np.testing.assert_array_equal(left[silent], 0)
    assert known_rear[: COUNT - 3].all()
    np.testing.assert_array_less(np.abs(255 - rear - row_T)[known_rear], 3)
    notes = episodes.manifest.accounts["drive"]["notes"]
    assert f"view {LEFT}: {COUNT - 20} frames read, known for {COUNT - 17} of {COUNT} frames" in notes
    assert converted(bag, tmp_path / "one", *chosen, "--views", REAR).episode("drive").views_TVSSC.shape[1] == 1
    assert main(["bag", str(bag), str(tmp_path / "no"), *chosen, "--views", "/none"]) == 2


def test_streams_have_the_frames_that_follow(bag, tmp_path):
    assert main(["bag", str(bag), str(tmp_path / "out"), "--image-topic", FRONT, "--image-size", "16",
                 "--streams", "1", "10", "--views", LEFT]) == 0  # fmt: skip
    slow, fast = EpisodeSet(tmp_path / "out" / "1hz"), EpisodeSet(tmp_path / "out" / "10hz")
    assert (slow.manifest.step_s, fast.manifest.step_s) == (1.0, 0.1)
    assert fast.manifest.source["stream"] == {"rate_hz": 10.0, "past": 4, "future": 10}
    episode = fast.episode("drive")
    past_WN, future_WF = Stream.of_rate(10.0).windows_of(episode)
    assert (past_WN.shape, future_WF.shape) == ((59, 4), (59, 10))
    level_T = np.asarray(episode.image_TSSC)[:, 0, 0, 0].astype(int)
    assert level_T[past_WN[10]].tolist() == [14, 16, 18, 20]
    assert level_T[future_WF[10]].tolist() == list(range(22, 42, 2))
    assert past_WN[0].tolist() == [-1, -1, -1, 0]
    assert future_WF[-1].tolist() == [59] + [-1] * 9
    note = "stream of 10 Hz: 59 windows, 47 of them with all 4 frames up to now and all 10 that follow"
    assert note in fast.manifest.accounts["drive"]["notes"]
    assert main(["bag", str(bag), str(tmp_path / "bad"), "--streams", "0"]) == 2


def test_windows_never_reach_over_missing_frames(bag, tmp_path):
    episode = converted(bag, tmp_path / "set", "--image-topic", FRONT, "--rate-hz", "10").episode("drive")
    keep = np.delete(np.arange(len(episode)), np.arange(20, 25))
    arrays = (
        np.asarray(array)[keep] for array in (episode.image_TSSC, episode.stamp_T, episode.pose_T4, episode.action_TA)
    )
    past_WN, future_WF = Stream.of_rate(10.0).windows_of(
        replace(episode, **dict(zip(("image_TSSC", "stamp_T", "pose_T4", "action_TA"), arrays)))
    )
    for rows in (past_WN, future_WF):
        sides = np.where(rows < 0, -1, rows >= 20)
        assert all(len(set(line[line >= 0])) <= 1 for line in sides)
    assert len(past_WN) == len(keep) - 2


@pytest.mark.slow
def test_the_slow_branch_learns_from_all_views_together(bag, tmp_path):
    episodes = [converted(bag, tmp_path / "set", "--image-topic", FRONT, "--views", LEFT).episode("drive")]
    table = tabulate(episodes, 1.0, past=2, future=2)
    images, known = table.pictures()
    assert images.shape == (len(table.stamp), 2, 16, 16, 3)
    assert known[:, 1].tolist() == np.asarray(episodes[0].views_known_TV)[table.row, 0].tolist()
    shape = WorldActionConfig(image_size=16, width=8, embedding_dim=16, history=2, future=2)
    module = train(WorldActionTraining(model=shape, encoder_steps=3, predictor_steps=3), table)
    together = embed_all(module.encoder, torch.from_numpy(images), torch.from_numpy(known))
    alone = [embed_all(module.encoder, torch.from_numpy(images[:, view])) for view in range(2)]
    both = torch.from_numpy(known[:, 1])
    torch.testing.assert_close(together[both], (alone[0] + alone[1])[both] / 2, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(together[~both], alone[0][~both], atol=1e-5, rtol=1e-4)
