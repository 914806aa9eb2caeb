"""Recordings whose camera has a clock of its own: refused with the way out named, and read by it."""

from __future__ import annotations

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from world_model.commands.data import main
from world_model.data.bags import BagOptions, read_recording
from world_model.errors import DataError

STORE = get_typestore(Stores.ROS2_JAZZY)
T = STORE.types
S = 1_000_000_000
T0, STEP = 1_700_000_000 * S, S // 20
FRAMES = 160
FRAME_LATE_NS, POSE_LATE_NS = 45_000_000, 12_000_000


def header(ns):
    return T["std_msgs/msg/Header"](T["builtin_interfaces/msg/Time"](ns // S, ns % S), "map")


def image(ns, seed):
    pixels = np.random.default_rng(seed).integers(0, 255, 192, np.uint8)
    return T["sensor_msgs/msg/Image"](header(ns), 8, 8, "rgb8", 0, 24, pixels)


def pose(ns, x):
    point, turn = T["geometry_msgs/msg/Point"](x, 0.0, 0.0), T["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0)
    return T["geometry_msgs/msg/PoseStamped"](header(ns), T["geometry_msgs/msg/Pose"](point, turn))


def command(ns, value, is_stamped):
    vector = T["geometry_msgs/msg/Vector3"]
    twist = T["geometry_msgs/msg/Twist"](vector(value, 0.0, 0.0), vector(0.0, 0.0, -value))
    return T["geometry_msgs/msg/TwistStamped"](header(ns), twist) if is_stamped else twist


def record(path, off_at, is_stamped=True):
    """Write a drive at 1 m/s; ``off_at(i)``: by how much the camera's clock is ahead of the others' at a frame [ns].

    The command at a frame is its number, too.
    """
    kind = "geometry_msgs/msg/TwistStamped" if is_stamped else "geometry_msgs/msg/Twist"
    with Writer(path, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        kinds = {"/camera/image_raw": "sensor_msgs/msg/Image", "/pose": "geometry_msgs/msg/PoseStamped", "/cmd": kind}
        to = {topic: writer.add_connection(topic, kind, typestore=STORE) for topic, kind in kinds.items()}
        events = []
        for i in range(FRAMES):
            ns = T0 + i * STEP
            events.append((ns + FRAME_LATE_NS, "/camera/image_raw", image(ns + off_at(i), i)))
            events.append((ns + POSE_LATE_NS, "/pose", pose(ns, i / 20)))
            events.append((ns + POSE_LATE_NS, "/cmd", command(ns, float(i), is_stamped)))
        for ns, topic, message in sorted(events, key=lambda event: event[0]):
            writer.write(to[topic], ns, STORE.serialize_cdr(message, kinds[topic]))
    return path


@pytest.mark.parametrize("is_stamped", [True, False])
@pytest.mark.parametrize("off_s", [-1_699_999_868.0, 3600.0, -2.4])
def test_what_is_refused_names_the_way_out_and_is_read_by_it(tmp_path, capsys, off_s, is_stamped):
    bag = record(tmp_path / "bag", lambda i: round(off_s * S), is_stamped)
    assert main(["bag", str(bag), str(tmp_path / "refused")]) == 1
    said = capsys.readouterr().out
    assert "another clock" in said
    assert "--camera-offset-s states it" in said
    offset_s = -off_s + (FRAME_LATE_NS - POSE_LATE_NS) / S
    assert main(["bag", str(bag), str(tmp_path / "set"), "--camera-offset-s", "arrival"]) == 0
    said = capsys.readouterr().out
    assert f"the camera's clock: {offset_s:+.3f} s" in said
    assert "by when both were recorded" in said
    (episode,) = read_recording(bag, BagOptions(camera_offset_s=None)).episodes
    # The pictures seem as much later as they come later: that is said, and all that is wrong.
    known = np.isfinite(episode.pose_T4[:, 0])
    late_s = (FRAME_LATE_NS - POSE_LATE_NS) / S
    np.testing.assert_allclose(episode.pose_T4[known, 0], np.arange(FRAMES)[known] / 20 + late_s, atol=1e-3)
    assert known.sum() >= FRAMES - 1
    assert np.abs(episode.action_TA[2:, 0] - np.arange(FRAMES)[2:]).max() <= 1.0


@pytest.mark.parametrize("off_s", [-1_699_999_868.0, 0.4])
def test_what_is_stated_is_taken_as_it_is(tmp_path, off_s):
    bag = record(tmp_path / "bag", lambda i: round(off_s * S))
    recording = read_recording(bag, BagOptions(camera_offset_s=-off_s))
    (episode,) = recording.episodes
    np.testing.assert_allclose(episode.pose_T4[:, 0], np.arange(FRAMES) / 20, atol=1e-6)
    np.testing.assert_allclose(episode.action_TA[:, 0], np.arange(FRAMES))
    assert episode.stamp_T[0] == T0 + round(off_s * S)
    assert f"the camera's clock: {-off_s:+.3f} s to that of poses and actions, as asked for" in recording.account.notes


def test_each_timeline_of_the_camera_has_an_offset_of_its_own(tmp_path):
    """The camera is started anew half-way and counts from 5 s again."""
    bag = record(tmp_path / "bag", lambda i: 5 * S - T0 - (0 if i < FRAMES // 2 else FRAMES // 2 * STEP))
    recording = read_recording(bag, BagOptions(camera_offset_s=None))
    assert len(recording.episodes) == 2
    for episode in recording.episodes:
        assert np.isfinite(episode.pose_T4[:, 0]).mean() > 0.95
    assert sum("by when both were recorded" in note for note in recording.account.notes) == 2


def test_poses_that_are_known_and_yet_of_another_clock_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.FRAME_LATE_NS", 1_500_000_000)
    account = read_recording(record(tmp_path / "bag", lambda i: 0)).account
    assert account.poses.known > 100
    assert any("another clock, or comes one of both late?" in note for note in account.notes)


def test_one_clock_is_left_alone(tmp_path):
    account = read_recording(record(tmp_path / "bag", lambda i: 0)).account
    assert not [note for note in account.notes if "clock" in note]


@pytest.mark.parametrize("wrong", [float("inf"), float("nan"), 1e12])
def test_an_offset_beyond_all_stamps_is_none(wrong):
    with pytest.raises(DataError, match="camera's clock"):
        BagOptions(camera_offset_s=wrong)


def test_what_is_no_offset_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["bag", str(tmp_path), str(tmp_path / "set"), "--camera-offset-s", "soon"])
    assert "'soon' is neither a number of seconds nor 'arrival'" in capsys.readouterr().err
