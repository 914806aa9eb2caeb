"""LeRobot data sets of both layouts, written here as their recorders lay them out."""

from __future__ import annotations

import json
from fractions import Fraction

import cv2
import numpy as np
import pytest

from world_model.commands.data import main
from world_model.data.bag_options import BagOptions
from world_model.data.episodes import EpisodeSet
from world_model.data.formats.lerobot import LeRobotOptions, choose_features, read_lerobot
from world_model.data.formats.lerobot_layout import LeRobotSet
from world_model.errors import DataError

av = pytest.importorskip("av", reason="LeRobot data sets: PyAV is not installed")
pa = pytest.importorskip("pyarrow", reason="LeRobot data sets: pyarrow is not installed")
from pyarrow import parquet  # noqa: E402

FPS, LENGTHS = 10, (12, 7, 9)
WRIST, FRONT, DEPTH = "observation.images.wrist", "observation.images.front", "observation.images.depth"
ALL_V2 = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
VIDEO_V2 = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
ALL_V3 = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_V3 = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"


def level(episode, row, camera):
    """Returns the brightness that tells which picture it is."""
    return 20 + 60 * episode + 4 * row + (2 if camera == WRIST else 0)


def write_video(path, levels):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "1", "g": "2"})
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        stream.codec_context.time_base = Fraction(1, FPS)
        for row, value in enumerate(levels):
            frame = av.VideoFrame.from_ndarray(np.full((16, 32, 3), value, np.uint8), format="rgb24")
            frame.pts, frame.time_base = row, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def rows_of(episode, length):
    """Returns the columns of one episode; a feature of one number is a number, as the recorder writes it."""
    row = np.arange(length)
    return {
        "observation.state": pa.array([[float(r), float(episode)] for r in row], pa.list_(pa.float32(), 2)),
        "action": pa.array([[10.0 * episode + r, -1.0 * r] for r in row], pa.list_(pa.float32())),
        "gripper": pa.array(row.astype(np.float32)),
        "base": pa.array([[float(r), 2.0, 0.5] for r in row], pa.list_(pa.float64())),
        "timestamp": pa.array((row / FPS).astype(np.float32)),
        "frame_index": pa.array(row),
        "episode_index": pa.array(np.full(length, episode)),
    }


def info(version, data_path, video_path, cameras="video"):
    numbers = {"observation.state": [2], "action": [2], "gripper": [1], "base": [3], "timestamp": [1]}
    features = {name: {"dtype": "float32", "shape": shape, "names": None} for name, shape in numbers.items()}
    pictures = {"dtype": cameras, "shape": [16, 32, 3], "names": ["height", "width", "channels"]}
    features |= {WRIST: pictures, FRONT: pictures, DEPTH: {**pictures, "info": {"video.is_depth_map": True}}}
    return {
        "codebase_version": version, "robot_type": "test", "total_episodes": len(LENGTHS), "chunks_size": 1000,
        "fps": FPS, "splits": {"train": f"0:{len(LENGTHS)}"}, "data_path": data_path, "video_path": video_path,
        "features": features,
    }  # fmt: skip


def write_table(path, columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(columns), path)


def write_info(folder, entries):
    (folder / "meta").mkdir(parents=True, exist_ok=True)
    (folder / "meta" / "info.json").write_text(json.dumps(entries))


def write_v2(folder, version="v2.1"):
    write_info(folder, info(version, ALL_V2, VIDEO_V2))
    lines = [json.dumps({"episode_index": i, "tasks": ["drive"], "length": n}) for i, n in enumerate(LENGTHS)]
    (folder / "meta" / "episodes.jsonl").write_text("\n".join(lines) + "\n")
    for episode, length in enumerate(LENGTHS):
        place = {"episode_chunk": 0, "episode_index": episode}
        write_table(folder / ALL_V2.format(**place), rows_of(episode, length))
        for camera in (WRIST, FRONT):
            levels = [level(episode, row, camera) for row in range(length)]
            write_video(folder / VIDEO_V2.format(**place, video_key=camera), levels)
    return folder


def write_v3(folder):
    """Episodes 0 and 1 share a file of rows and of pictures, episode 2 has files of its own."""
    write_info(folder, info("v3.0", ALL_V3, VIDEO_V3))
    files, begin = [(0, 0.0), (0, LENGTHS[0] / FPS), (1, 0.0)], 0
    described: dict[str, list] = {}
    for episode, (length, (file, from_s)) in enumerate(zip(LENGTHS, files)):
        entry = {
            "episode_index": episode, "length": length, "data/chunk_index": 0, "data/file_index": file,
            "dataset_from_index": begin, "dataset_to_index": begin + length,
        }  # fmt: skip
        for camera in (WRIST, FRONT):
            values = {"chunk_index": 0, "file_index": file, "from_timestamp": from_s}
            values["to_timestamp"] = from_s + length / FPS
            entry |= {f"videos/{camera}/{name}": value for name, value in values.items()}
        for name, value in entry.items():
            described.setdefault(name, []).append(value)
        begin += length
    write_table(folder / "meta" / "episodes" / "chunk-000" / "file-000.parquet", described)
    for file in (0, 1):
        mine = [episode for episode, (of, _) in enumerate(files) if of == file]
        parts = [pa.table(rows_of(episode, LENGTHS[episode])) for episode in mine]
        write_table(folder / ALL_V3.format(chunk_index=0, file_index=file), {
            name: pa.concat_tables(parts)[name] for name in parts[0].column_names
        })  # fmt: skip
        for camera in (WRIST, FRONT):
            levels = [level(episode, row, camera) for episode in mine for row in range(LENGTHS[episode])]
            write_video(folder / VIDEO_V3.format(video_key=camera, chunk_index=0, file_index=file), levels)
    return folder


WRITERS = {"v2.0": lambda folder: write_v2(folder, "v2.0"), "v2.1": write_v2, "v3.0": write_v3}


@pytest.fixture(params=WRITERS)
def data_set(request, tmp_path):
    return WRITERS[request.param](tmp_path / "drives")


def test_further_cameras_show_the_same_moments(data_set, tmp_path):
    assert main(["lerobot", str(data_set), str(tmp_path / "set"), "--image-size", "8", "--views", "all"]) == 0
    episodes = EpisodeSet(tmp_path / "set")
    assert episodes.manifest.source["camera"] == FRONT
    for index, name in enumerate(episodes.names()):
        episode = episodes.episode(name)
        assert episode.views_known_TV.all()
        wrist = [level(index, row, WRIST) for row in range(LENGTHS[index])]
        np.testing.assert_allclose(episode.views_TVSSC[:, 0].mean((1, 2, 3)), wrist, atol=2)
    assert main(["lerobot", str(data_set), str(tmp_path / "other"), "--views", "observation.images.rear"]) == 2


def read(folder, episode=0, options=None, **features):
    found = LeRobotSet(folder)
    choice = choose_features(found, LeRobotOptions(**features))
    return read_lerobot(found, choice, found.entries(choice.camera)[episode], "it", options or BagOptions(image_size=8))


@pytest.mark.parametrize("episode", range(len(LENGTHS)))
@pytest.mark.parametrize("camera", [FRONT, WRIST])
def test_every_row_has_its_own_picture_action_and_state(data_set, episode, camera):
    recording = read(data_set, episode, camera=camera, pose="base")
    (found,), length = recording.episodes, LENGTHS[episode]
    row = np.arange(length)
    np.testing.assert_allclose(found.stamp_T * 1e-9, row / FPS, atol=1e-6)
    levels = [level(episode, r, camera) for r in row]
    np.testing.assert_allclose(found.image_TSSC.mean((1, 2, 3)), levels, atol=1.5)
    np.testing.assert_allclose(found.action_TA, np.stack([10.0 * episode + row, -row], 1))
    np.testing.assert_allclose(found.proprio_TP, np.stack([row, np.full(length, episode)], 1))
    np.testing.assert_allclose(found.pose_T4, np.stack([row, 2 + 0 * row, 0 * row, 0.5 + 0 * row], 1))
    assert found.place == "drives"
    assert not recording.account.is_partial


def test_one_camera_is_taken_and_the_others_are_named(data_set):
    found = LeRobotSet(data_set)
    choice = choose_features(found, LeRobotOptions())
    assert choice.camera == FRONT  # though the wrist's comes first
    assert choice.why["camera"] == f"first that is not on the hand; not taken: {WRIST}"
    assert (choice.action, choice.state, choice.pose) == ("action", "observation.state", None)
    assert DEPTH not in found.cameras
    account = read(data_set).account
    assert account.poses.topic is None
    assert "no feature was named with --pose" in "\n".join(account.lines())


def test_thinning_keeps_rows_together(data_set):
    recording = read(data_set, options=BagOptions(image_size=8, every=3))
    (found,) = recording.episodes
    np.testing.assert_allclose(found.action_TA[:, 0], [0, 3, 6, 9])
    np.testing.assert_allclose(found.image_TSSC.mean((1, 2, 3)), [level(0, r, FRONT) for r in (0, 3, 6, 9)], atol=1.5)


def test_rows_without_an_action_are_not_those_of_others(tmp_path):
    folder = write_v2(tmp_path / "drives")
    action = pa.array([[float(r), 0.0] if r != 3 else None for r in range(LENGTHS[0])], pa.list_(pa.float32(), 2))
    write_table(folder / ALL_V2.format(episode_chunk=0, episode_index=0), {**rows_of(0, LENGTHS[0]), "action": action})
    recording = read(folder)
    expected = np.where(np.arange(LENGTHS[0]) == 3, np.nan, np.arange(LENGTHS[0]))
    np.testing.assert_allclose(recording.episodes[0].action_TA[:, 0], expected)
    assert recording.account.actions.known == LENGTHS[0] - 1


def test_a_feature_of_one_number_and_none(data_set):
    (found,) = read(data_set, action="gripper", state="none").episodes
    np.testing.assert_allclose(found.action_TA, np.arange(LENGTHS[0])[:, None])
    assert found.proprio_TP is None


@pytest.mark.parametrize(
    ("features", "text"),
    [
        ({"camera": "observation.images.rear"}, f"has no camera '.*rear'; it has: {WRIST}, {FRONT}"),
        ({"camera": DEPTH}, "has no camera"),
        ({"action": "steering"}, "has no action 'steering'; it has: observation.state, action"),
        ({"pose": "observation.state"}, "a pose of 2 numbers, expected 3"),
    ],
)
def test_what_the_set_does_not_have_is_refused_by_name(data_set, features, text):
    with pytest.raises(DataError, match=text):
        read(data_set, **features)


def test_pictures_within_the_rows(tmp_path):
    folder = tmp_path / "stills"
    write_info(folder, info("v2.1", ALL_V2, None, cameras="image"))
    (folder / "meta" / "episodes.jsonl").write_text(json.dumps({"episode_index": 0, "length": 4}))
    cells = []
    for row in range(4):
        _, data = cv2.imencode(".png", np.full((16, 32, 3), (0, 0, 50 * row), np.uint8))  # red, in OpenCV's order
        cells.append({"bytes": data.tobytes() if row != 2 else b"", "path": f"images/{row}.png"})
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {**rows_of(0, 4), FRONT: pa.array(cells, kind), WRIST: pa.array(cells, kind)}
    write_table(folder / ALL_V2.format(episode_chunk=0, episode_index=0), columns)
    recording = read(folder)
    (found,) = recording.episodes
    np.testing.assert_array_equal(found.image_TSSC[:, 4, 4, 0], [0, 50, 150])
    assert recording.account.reasons["image-missing"] == 1


def test_pictures_that_the_video_lacks_are_lost_and_counted(tmp_path):
    folder = write_v2(tmp_path / "drives")
    path = folder / VIDEO_V2.format(episode_chunk=0, episode_index=0, video_key=FRONT)
    write_video(path, [level(0, row, FRONT) for row in range(8)])
    recording = read(folder)
    assert len(recording.episodes[0]) == 8
    assert recording.account.reasons["no-picture"] == LENGTHS[0] - 8
    assert recording.account.is_partial


def test_the_command_fills_a_set(data_set, tmp_path, capsys):
    out = tmp_path / "set"
    assert main(["lerobot", str(data_set), str(out), "--image-size", "8", "--pose", "base"]) == 0
    found = EpisodeSet(out)
    assert [len(found.episode(name)) for name in found.names()] == list(LENGTHS)
    assert (found.manifest.step_s, found.manifest.action_dim) == (pytest.approx(0.1), 2)
    assert found.manifest.source["camera"] == FRONT
    printed = capsys.readouterr().out
    assert f"12 frames read on {FRONT} (first that is not on the hand; not taken: {WRIST}), 12 kept" in printed
    only = tmp_path / "only"
    assert main(["lerobot", str(data_set), str(only), "--image-size", "8", "--episodes", "1-2"]) == 0
    assert EpisodeSet(only).names() == ["drives-000001", "drives-000002"]


@pytest.mark.slow
def test_exit_codes(tmp_path, capsys):
    folder = write_v2(tmp_path / "drives")
    (folder / ALL_V2.format(episode_chunk=0, episode_index=1)).unlink()
    arguments = ["lerobot", str(folder), str(tmp_path / "set"), "--image-size", "8"]
    assert main(arguments) == 1
    assert "episode_000001.parquet" in capsys.readouterr().out
    assert main([*arguments, "--episodes", "1"]) == 2
    assert main([*arguments, "--episodes", "7"]) == 2
    assert "has no episodes [7]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"codebase_version": "v1.6"}, "has layout v1.6; v2.0, v2.1, v3.0 are read"),
        ({"fps": 0}, "0.0 frames per second"),
        ({"data_path": "../../elsewhere.parquet"}, "leads out of the data set"),
        ({"data_path": "data/{episode}.parquet"}, "lacks 'episode'"),
    ],
)
def test_what_is_no_such_set_is_refused_by_name(tmp_path, change, text):
    folder = write_v2(tmp_path / "drives")
    write_info(folder, {**info("v2.1", ALL_V2, VIDEO_V2), **change})
    with pytest.raises(DataError, match=text):
        read(folder)


def test_a_folder_without_description_is_refused(tmp_path):
    with pytest.raises(DataError, match="is not a LeRobot data set"):
        LeRobotSet(tmp_path)
