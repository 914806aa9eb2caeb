"""Video files with a table of poses and actions: times, rates, turns, damage and what is refused."""

from __future__ import annotations

import json
import math
import struct
from fractions import Fraction

import numpy as np
import pytest

from world_model.commands.data import main
from world_model.data.bag_options import BagOptions
from world_model.data.episodes import EpisodeSet
from world_model.data.formats.video import VideoOptions, read_video
from world_model.errors import DataError

av = pytest.importorskip("av", reason="video files: PyAV is not installed")

COUNT = 40
LEVELS = 5 * np.arange(COUNT) + 20


def write_video(path, times_ms, pictures=None, **options):
    """Writes grey pictures, each brighter than the one before, at the given times."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "1", **options})
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for row, time_ms in enumerate(times_ms):
            picture = np.full((16, 32, 3), LEVELS[row], np.uint8) if pictures is None else pictures[row]
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_table(path, times_s, offset_s=0.0):
    """Writes a drive of 1 m/s along x that turns by 0.1 rad/s, and an action that counts."""
    rows = [f"{t + offset_s:.6f},{t:.6f},2.0,{0.1 * t:.6f},{row},{-row}" for row, t in enumerate(times_s)]
    path.write_text("\n".join(["time,x,y,yaw,action_0,action_1", *rows]) + "\n")
    return path


@pytest.mark.parametrize("step_ms", [1000, 100, 40])
def test_every_picture_has_the_pose_of_its_own_time_at_any_rate(tmp_path, step_ms):
    times_ms = np.arange(20) * step_ms
    video = write_video(tmp_path / "drive.mp4", times_ms.tolist())
    table = write_table(tmp_path / "drive.csv", np.arange(0.0, 20.0 * step_ms / 1000 + 0.5, 0.25))
    recording = read_video(video, VideoOptions(table=table), BagOptions(rate_hz=30.0, image_size=8))
    (episode,), account = recording.episodes, recording.account
    np.testing.assert_array_equal(episode.stamp_T, times_ms * 1_000_000)
    np.testing.assert_allclose(episode.pose_T4[:, 0], times_ms / 1000, atol=1e-6)
    np.testing.assert_allclose(episode.pose_T4[:, 3], 0.1 * times_ms / 1000, atol=1e-6)
    np.testing.assert_allclose(episode.image_TSSC.mean((1, 2, 3)), LEVELS[:20], atol=2)
    in_force = np.floor(times_ms / 250)
    np.testing.assert_allclose(episode.action_TA[:, 0], in_force)
    assert account.step_s == pytest.approx(step_ms / 1000)
    assert not account.is_partial


def test_uneven_times_are_kept_and_counted_from_the_first_picture(tmp_path):
    times_ms = [5000, 5100, 5150, 5400, 6400, 6500]
    video = write_video(tmp_path / "late.mp4", times_ms)
    (episode,) = read_video(video, options=BagOptions(rate_hz=100.0, image_size=8)).episodes
    np.testing.assert_array_equal(episode.stamp_T, (np.array(times_ms) - 5000) * 1_000_000)
    assert np.isnan(episode.pose_T4).all()


def test_a_video_that_is_shown_turned_is_turned(tmp_path):
    """The left half is white: shown by a quarter to the right, it is the upper one."""
    left = np.zeros((16, 32, 3), np.uint8)
    left[:, :16] = 255
    video = write_video(tmp_path / "phone.mp4", [0, 100, 200], [left] * 3)
    data = bytearray(video.read_bytes())
    matrix = data.find(b"tkhd") + 44  # ISO 14496-12: the last but two fields of the track's header
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 16 * 65536, 0, 1 << 30)
    video.write_bytes(data)
    (episode,) = read_video(video, options=BagOptions(image_size=8)).episodes
    assert episode.image_TSSC[0, :3].min() > 200
    assert episode.image_TSSC[0, 5:].max() < 55


def test_damage_is_counted_and_the_rest_is_kept(tmp_path):
    video = write_video(tmp_path / "damaged.mp4", (np.arange(COUNT) * 100).tolist(), g="5", bf="0")
    data = bytearray(video.read_bytes())
    begin = data.find(b"mdat") + 4
    (size,) = struct.unpack(">I", data[begin - 8 : begin - 4])
    middle = begin + size // 2
    data[middle : middle + 40] = np.random.default_rng(0).integers(0, 256, 40, np.uint8).tobytes()
    video.write_bytes(data)
    recording = read_video(video, options=BagOptions(image_size=8))
    account = recording.account
    assert 0 < account.damaged < COUNT // 2
    assert account.damaged + account.camera.read == COUNT
    assert account.reasons["damaged-block"] == account.damaged
    assert "pictures do not decode" in "\n".join(account.lines())
    for row, stamp_ns in enumerate(recording.episodes[0].stamp_T):
        assert recording.episodes[0].image_TSSC[row].mean() == pytest.approx(LEVELS[stamp_ns // 100_000_000], abs=3)


def test_a_table_of_another_clock_is_named_with_the_remedy(tmp_path):
    video = write_video(tmp_path / "drive.mp4", (np.arange(20) * 50).tolist())
    table = write_table(tmp_path / "drive.csv", np.arange(0.0, 1.0, 0.05), offset_s=1_700_000_000.0)
    account = read_video(video, VideoOptions(table=table), BagOptions(image_size=8)).account
    (text, _) = [note for note in account.notes if "--start-s" in note]
    assert "poses in drive.csv begin 1700000000.000 s after the video" in text
    told = read_video(video, VideoOptions(table=table, start_s=1_700_000_000.0), BagOptions(image_size=8))
    assert told.account.poses.known == 20


def test_tables_of_spreadsheets_and_gaps_are_read(tmp_path):
    """Semicolons, a byte-order mark, milliseconds, degrees, empty cells, and one row that is no number."""
    video = write_video(tmp_path / "drive.mp4", [0, 100, 200, 300])
    rows = ["timestamp_ms;X;y;z;yaw_deg;action", "0;0;0;1;0;5", "100;1;0;1;90;", "200;;;;;6", "300;oops;0;1;90;7"]
    (tmp_path / "drive.csv").write_text("\n".join(rows), encoding="utf-8-sig")
    recording = read_video(video, VideoOptions(table=tmp_path / "drive.csv"), BagOptions(image_size=8))
    (episode,), account = recording.episodes, recording.account
    np.testing.assert_allclose(episode.pose_T4[1], [1.0, 0.0, 1.0, math.pi / 2])
    np.testing.assert_allclose(episode.action_TA[:, 0], [5, 5, 6, 7])
    assert (account.poses.read, account.actions.read) == (3, 3)
    assert account.poses.unusable == {"row-not-numbers": 1}


BAD_TABLES = [
    ("x,y,yaw\n1,2,3\n", "expected one of time"),
    ("time,t,x,y,yaw\n", "expected one of time"),
    ("time,x,y\n0,1,2\n", "a pose takes x, y and one of yaw"),
    ("time,x,y,yaw,yaw_deg\n", "a pose takes x, y and one of yaw"),
    ("time,speed\n0,1\n", "neither a pose"),
    ("time,action,action\n", "action more than once"),
    ("", "expected one of time"),
]


@pytest.mark.parametrize(("text", "expected"), BAD_TABLES)
def test_what_is_no_table_is_refused_by_name(tmp_path, text, expected):
    video = write_video(tmp_path / "drive.mp4", [0, 100])
    (tmp_path / "drive.csv").write_text(text)
    with pytest.raises(DataError, match=expected):
        read_video(video, VideoOptions(table=tmp_path / "drive.csv"))


def test_the_command_fills_a_set_and_says_what_it_took(tmp_path, capsys):
    video = write_video(tmp_path / "drive.mp4", (np.arange(COUNT) * 100).tolist())
    table = write_table(tmp_path / "drive.csv", np.arange(0.0, 4.0, 0.05))
    out = tmp_path / "set"
    assert main(["video", str(video), str(out), "--csv", str(table), "--image-size", "8"]) == 0
    found = EpisodeSet(out)
    assert found.manifest.step_s == pytest.approx(0.1)
    assert len(found.episode("drive")) == COUNT
    assert json.loads((out / "manifest.json").read_text())["accounts"]["drive"]["poses"]["known"] == COUNT
    assert "40 frames read on drive.mp4 (first video stream, h264), 40 kept" in capsys.readouterr().out


def test_exit_codes(tmp_path, capsys):
    (tmp_path / "no.mp4").write_bytes(b"nothing")
    assert main(["video", str(tmp_path / "no.mp4"), str(tmp_path / "set")]) == 2
    assert "no.mp4" in capsys.readouterr().err
    video = write_video(tmp_path / "drive.mp4", (np.arange(COUNT) * 100).tolist())
    gaps = write_table(tmp_path / "gaps.csv", [0.0, 0.1, 0.2, 3.9])  # none in between: lost, as there is a pose table
    arguments = ["video", str(video), str(tmp_path / "set"), "--csv", str(gaps), "--image-size", "8"]
    assert main(arguments) == 1
    assert main([*arguments, "--allow-partial"]) == 0
    assert "no-pose" in capsys.readouterr().out
