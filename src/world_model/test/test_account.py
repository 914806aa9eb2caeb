"""What conversion takes and leaves: every case in an account, with the exit code that it deserves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from wm_core.bags import Bag, BagError
from wm_core.bags.survey import ACTIONS, CAMERA, POSE, Wishes, choose_sources
from world_model.commands.data import main, named_bags
from world_model.data.account import Account, Fate, exit_code
from world_model.data.bags import BagOptions, read_recording
from world_model.data.episodes import EpisodeSet

STORE = get_typestore(Stores.ROS2_JAZZY)
T = STORE.types
T0, STEP = 1_700_000_000 * 10**9, 50_000_000
IMAGE, POSE_TYPE, ARRAY = "sensor_msgs/msg/Image", "geometry_msgs/msg/PoseStamped", "std_msgs/msg/Float32MultiArray"


def header(ns, frame_id="map"):
    return T["std_msgs/msg/Header"](T["builtin_interfaces/msg/Time"](ns // 10**9, ns % 10**9), frame_id)


def image(ns, encoding="rgb8", size=192):
    return T[IMAGE](header(ns, "camera"), 8, 8, encoding, 0, 24, np.full(size, ns // STEP % 251, np.uint8))


def plain_pose(x):
    point, turn = T["geometry_msgs/msg/Point"](x, 0.0, 0.0), T["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0)
    return T["geometry_msgs/msg/Pose"](point, turn)


def pose(ns, x, frame_id="map"):
    return T[POSE_TYPE](header(ns, frame_id), plain_pose(x))


def odometry(ns, x, frame_id="odom"):
    vector = T["geometry_msgs/msg/Vector3"]
    twist = T["geometry_msgs/msg/Twist"](vector(1.0, 0.0, 0.0), vector(0.0, 0.0, 0.5))
    where = T["geometry_msgs/msg/PoseWithCovariance"](plain_pose(x), np.zeros(36))
    moves = T["geometry_msgs/msg/TwistWithCovariance"](twist, np.zeros(36))
    return T["nav_msgs/msg/Odometry"](header(ns, frame_id), "base_link", where, moves)


def action(*values):
    return T[ARRAY](T["std_msgs/msg/MultiArrayLayout"]([], 0), np.float32(values))


def twist(x, yaw):
    vector = T["geometry_msgs/msg/Vector3"]
    return T["geometry_msgs/msg/Twist"](vector(x, 0.0, 0.0), vector(0.0, 0.0, yaw))


def write(path, events, storage=StoragePlugin.SQLITE3, order=lambda event: event[2]):
    """events: (topic, type, time of recording, message or None for a topic that never speaks)."""
    with Writer(path, version=9, storage_plugin=storage) as writer:
        to = {}
        for topic, kind, ns, message in sorted(events, key=order):
            if topic not in to:
                to[topic] = writer.add_connection(topic, kind, typestore=STORE)
            if message is not None:
                writer.write(to[topic], ns, STORE.serialize_cdr(message, kind))
    return path


def frames(count, topic=CAMERA, first=0, **fields):
    return [(topic, IMAGE, T0 + i * STEP, image(T0 + i * STEP, **fields)) for i in range(first, count)]


def poses(count, first=0, topic=POSE):
    return [(topic, POSE_TYPE, T0 + i * STEP + 1_000_000, pose(T0 + i * STEP, 0.05 * i)) for i in range(first, count)]


def actions(count):
    return [(ACTIONS, ARRAY, T0 + i * STEP + 2_000_000, action(0.01 * i, 0.5)) for i in range(count)]


def drive(count):
    return frames(count) + poses(count) + actions(count)


def account_of(path: Path, **options) -> Account:
    return read_recording(path, BagOptions(image_size=8, **options)).account


def convert(tmp_path, *bags, options=()):
    code = main(["bag", *map(str, bags), str(tmp_path / "set"), "--image-size", "8", *options])
    manifest = tmp_path / "set" / "manifest.json"
    return code, json.loads(manifest.read_text()) if manifest.is_file() else None


def test_a_good_recording_is_accounted_for_in_full(tmp_path):
    code, manifest = convert(tmp_path, write(tmp_path / "lap", drive(100)))
    account = manifest["accounts"]["lap"]
    assert code == 0
    assert account["frames"] == {
        "read": 100, "kept": 100, "thinned": 0, "excluded": 0, "bad_stamp": 0, "unusable": 0,
    }  # fmt: skip
    assert (account["lost"], account["lost_share"], account["damages"]) == ({}, 0.0, [])
    # The first frame goes out before a first pose or action told that there are any.
    assert (account["poses"]["known"], account["actions"]["known"]) == (99, 99)
    assert account["camera_hz"] == account["poses"]["rate_hz"] == 20.0
    assert account["step_s"] == 0.05
    assert account["covered_s"] == 4.95


@pytest.mark.parametrize(
    ("every", "rate_hz", "kept", "step_s"), [(2, 20.0, 50, 0.1), (3, 20.0, 34, 0.15), (1, 10.0, 50, 0.1)]
)
def test_thinned_frames_are_no_fault(tmp_path, every, rate_hz, kept, step_s):
    bag = write(tmp_path / "lap", drive(100))
    code, manifest = convert(tmp_path, bag, options=["--every", str(every), "--rate-hz", str(rate_hz)])
    frames_of = manifest["accounts"]["lap"]["frames"]
    assert (code, frames_of["kept"], frames_of["thinned"]) == (0, kept, 100 - kept)
    assert manifest["step_s"] == pytest.approx(step_s)
    assert manifest["accounts"]["lap"]["step_s"] == pytest.approx(step_s)


@pytest.mark.parametrize("gap_frames", [2, 3, 20])
def test_a_slow_camera_says_its_own_step(tmp_path, gap_frames):
    events = [event for i, event in enumerate(frames(300)) if i % gap_frames == 0] + poses(300) + actions(300)
    code, manifest = convert(tmp_path, write(tmp_path / "slow", events))
    assert (code, manifest["step_s"]) == (0, pytest.approx(0.05 * gap_frames))


def test_what_an_option_excludes_is_no_fault(tmp_path):
    bag = write(tmp_path / "lap", drive(100))
    code, manifest = convert(tmp_path, bag, options=["--from-s", "1", "--to-s", "2"])
    assert (code, manifest["accounts"]["lap"]["frames"]["excluded"], manifest["episodes"]["lap"]["frames"]) == (
        0,
        80,
        20,
    )


@pytest.mark.parametrize(("broken", "code"), [(5, 0), (10, 0), (15, 1), (100, 2)])
def test_pictures_that_cannot_be_read_are_named_and_judged(tmp_path, capsys, broken, code):
    bag = write(tmp_path / "lap", frames(broken, size=100) + frames(100, first=broken) + poses(100) + actions(100))
    found, manifest = convert(tmp_path, bag)
    assert found == code
    said = capsys.readouterr().out
    assert f"lost: {broken} frames, image-truncated; first: image-truncated: 100 bytes, 8x8 rgb8 need 192" in said
    if code == 1:
        assert main(["bag", str(bag), str(tmp_path / "again"), "--image-size", "8", "--allow-partial"]) == 0
        assert manifest["accounts"]["lap"]["lost"] == {"image-truncated": broken}
    if code == 2:
        assert manifest is None
        assert "nothing usable" in said


def test_an_encoding_that_nobody_reads_is_named(tmp_path, capsys):
    bag = write(tmp_path / "odd", frames(40, encoding="rgb9") + poses(40))
    assert convert(tmp_path, bag)[0] == 2
    assert "40 frames, image-encoding; first: image-encoding: 'rgb9' is not one of" in capsys.readouterr().out


def test_a_camera_without_stamps_is_asked_about(tmp_path, capsys):
    events = drive(160)
    for topic, _, _, message in events:
        if topic == CAMERA:
            message.header.stamp.sec = message.header.stamp.nanosec = 0
    assert convert(tmp_path, write(tmp_path / "unstamped", events))[0] == 2
    said = capsys.readouterr().out
    assert "159 of 160 images on /camera/image_raw repeat a stamp; is the camera stamped?" in said


def test_one_stamp_far_ahead_costs_its_frame(tmp_path):
    events = drive(200)
    events[40][3].header.stamp.sec += 3600
    code, manifest = convert(tmp_path, write(tmp_path / "one", events))
    assert code == 0
    assert manifest["accounts"]["one"]["lost"] == {"frame-ahead": 1}
    assert manifest["episodes"]["one"]["frames"] == 199


@pytest.mark.parametrize("jump_s", [3600, 1, 3, -3, -3600])
def test_each_stretch_of_time_becomes_an_episode_with_its_own_poses(tmp_path, jump_s):
    """The robot's clock is set 3 s after the start; poses and frames are stamped by it."""
    events = drive(200)
    for topic, _, ns, message in events:
        if topic != ACTIONS and ns < T0 + 3 * 10**9:
            message.header.stamp.sec += jump_s
    code, manifest = convert(tmp_path, write(tmp_path / "set_late", events))
    assert code == 0
    found = {name: entry["frames"] for name, entry in manifest["episodes"].items()}
    if 0 > jump_s >= -5:  # no more than a camera that was silent, as far as stamps can tell
        assert found == {"set_late": 200}
    else:
        # One frame is doubted before the jump ahead is believed.
        assert found == {"set_late": 140 if jump_s > 0 else 139, "set_late-2": 60}
    for episode in EpisodeSet(tmp_path / "set").episodes():
        known = np.isfinite(episode.pose_T4[:, 0])
        assert known.mean() > 0.95
        steps = np.diff(episode.pose_T4[:, 0])
        assert np.nanmax(np.abs(steps)) < 0.2  # 1 m/s at 20 Hz: no pose of the other timeline


@pytest.mark.parametrize("storage", [StoragePlugin.SQLITE3, StoragePlugin.MCAP])
@pytest.mark.parametrize("step_s", [1.5, 3.02, 600.0])
def test_a_recorder_whose_clock_is_set_back_keeps_the_order_of_what_came(tmp_path, storage, step_s):
    """All clocks of the robot step back after 6 s, the recorder's as well: its times come twice."""
    events, begin = [], T0
    for i in range(240):
        ns = begin + i * STEP - (int(step_s * 1e9) if i >= 120 else 0)
        events.append((CAMERA, IMAGE, ns, image(ns)))
        events.append((POSE, POSE_TYPE, ns + 1_000_000, pose(ns, 0.05 * i)))
        events.append((ACTIONS, ARRAY, ns + 2_000_000, action(0.05 * i)))
    recording = read_recording(
        write(tmp_path / "set", events, storage, order=lambda event: 0), BagOptions(image_size=8)
    )
    assert [len(episode) for episode in recording.episodes] == [120, 120]
    assert recording.account.reasons == {"no-pose": 1}  # the first of the new timeline does not wait for one
    for part, episode in enumerate(recording.episodes):
        expected = 0.05 * (np.arange(120) + 120 * part)
        known = np.isfinite(episode.pose_T4[:, 0])
        assert known.sum() >= 119
        np.testing.assert_allclose(episode.pose_T4[known, 0], expected[known], atol=0.06)
        known = np.isfinite(episode.action_TA[:, 0])
        assert known.sum() >= 119
        np.testing.assert_allclose(episode.action_TA[known, 0], expected[known], atol=0.06)


@pytest.mark.parametrize("storage", [StoragePlugin.SQLITE3, StoragePlugin.MCAP])
def test_a_file_that_was_written_topic_by_topic_is_read_by_time(tmp_path, storage):
    bag = write(tmp_path / "topics", drive(100), storage, order=lambda event: event[0])
    recording = read_recording(bag, BagOptions(image_size=8))
    (episode,) = recording.episodes
    assert np.isfinite(episode.pose_T4[1:]).all()
    assert np.isfinite(episode.action_TA[1:]).all()
    np.testing.assert_allclose(episode.pose_T4[1:, 0], 0.05 * np.arange(1, 100), atol=1e-6)


def test_a_short_recording_that_was_looped_is_one_episode_a_round(tmp_path):
    events = []
    for i in range(16 * 6):
        stamped, ns = T0 + i % 16 * STEP, T0 + i * STEP
        events.append((CAMERA, IMAGE, ns, image(stamped)))
        events.append((POSE, POSE_TYPE, ns + 1_000_000, pose(stamped, 0.05 * (i % 16))))
    account = account_of(write(tmp_path / "looped", events))
    assert account.parts == dict.fromkeys(account.parts, 16)
    assert len(account.parts) == 6
    assert account.reasons == {"no-pose": 5}  # the first of each further round does not wait for one


@pytest.mark.parametrize(
    ("option", "topic"), [("--pose-topic", "/psoe"), ("--action-topic", "/cmd"), ("--image-topic", "/front")]
)
def test_a_topic_that_is_not_there_is_named_with_those_there(tmp_path, capsys, option, topic):
    assert convert(tmp_path, write(tmp_path / "lap", drive(20)), options=[option, topic]) == (2, None)
    assert f"no topic {topic} in the recording; topics: /actions, /camera/image_raw, /pose" in capsys.readouterr().err


def test_a_type_that_carries_no_pose_is_named_with_those_that_do(tmp_path, capsys):
    assert convert(tmp_path, write(tmp_path / "lap", drive(20)), options=["--pose-topic", "/actions"]) == (2, None)
    assert (
        "/actions is a std_msgs/msg/Float32MultiArray, expected one of geometry_msgs/msg/PoseStamped"
        in capsys.readouterr().err
    )


def test_a_recording_without_poses_is_converted_and_says_so(tmp_path, capsys):
    code, manifest = convert(tmp_path, write(tmp_path / "blind", frames(100)))
    assert (code, manifest["accounts"]["blind"]["lost_share"]) == (0, 0.0)
    said = capsys.readouterr().out
    assert "no poses: no topic of a fitting type with messages" in said
    assert "no actions: no topic of a fitting type with messages" in said


def test_frames_beyond_the_poses_are_no_fault_and_a_gap_within_is(tmp_path):
    beyond = account_of(write(tmp_path / "beyond", frames(200) + poses(150, first=50)))
    assert beyond.lost_share == 0.0
    assert beyond.uncovered() == pytest.approx(100, abs=2)
    gap = account_of(write(tmp_path / "gap", frames(200) + poses(50) + poses(200, first=150)))
    assert gap.lost_share == pytest.approx(0.46, abs=0.06)
    assert exit_code([gap], False) == 1
    assert exit_code([gap], True) == 0


def test_poses_of_another_clock_are_named(tmp_path, capsys):
    events = [(POSE, POSE_TYPE, T0 + i * STEP, pose(5 * 10**9 + i * STEP, 0.05 * i)) for i in range(100)]
    assert convert(tmp_path, write(tmp_path / "boot", frames(100) + events))[0] == 1
    assert "poses on /pose lie 1.7e+09 s before the frames: another clock?" in capsys.readouterr().out


def test_recordings_of_the_same_name_are_told_apart(tmp_path):
    monday, tuesday = (tmp_path / day / "recording" for day in ("monday", "tuesday"))
    for path, count in ((monday, 30), (tuesday, 40)):
        path.parent.mkdir()
        write(path, drive(count))
    code, manifest = convert(tmp_path, monday, tuesday)
    assert code == 0
    assert {name: entry["frames"] for name, entry in manifest["episodes"].items()} == {
        "monday-recording": 30,
        "tuesday-recording": 40,
    }
    assert list(named_bags([tmp_path]).values()) == ["monday-recording", "tuesday-recording"]  # a folder of recordings


def test_one_recording_of_several_that_gives_nothing_is_partial(tmp_path):
    good, bad = write(tmp_path / "good", drive(30)), write(tmp_path / "bad", frames(30, size=10))
    assert convert(tmp_path, good, bad)[0] == 1
    assert convert(tmp_path / "again", bad)[0] == 2


def test_shares_of_faults_before_and_after_thinning_are_joined():
    account = Account("x")
    account.frames = [(i, fate, "r") for i, fate in enumerate(
        [Fate.BAD_STAMP] * 10 + [Fate.THINNED] * 45 + [Fate.KEPT] * 36 + [Fate.UNUSABLE] * 9
    )]  # fmt: skip
    assert account.lost_share == pytest.approx(1 - 0.9 * 0.8)


# Which topic feeds the graph


def choice(tmp_path, events, **wishes):
    found = choose_sources(Bag(write(tmp_path / "bag", events)), Wishes(**wishes))
    return {target: found[target].topic for target in found}


def test_commands_of_another_length_than_is_taken_are_named_with_both(tmp_path):
    wheels = [(ACTIONS, ARRAY, T0 + i * STEP, action(0.1 * i, 0.2, 0.1, 0.3)) for i in range(60)]
    account = account_of(write(tmp_path / "rover", frames(60) + poses(60) + wheels), action_dim=2)
    assert account.actions.known == 0
    assert account.notes == ["60 actions on /actions have 4 values, 2 are taken: not used"]
    assert not account_of(tmp_path / "rover").notes, "the recording's own length where none is asked for"


def test_an_empty_topic_of_the_right_name_gives_way_to_one_that_speaks(tmp_path):
    events = [(CAMERA, IMAGE, T0, None), ("/goal_pose", POSE_TYPE, T0, None)]
    events += frames(30, topic="/front") + poses(30, topic="/robot_pose") + actions(30)
    assert choice(tmp_path, events) == {CAMERA: "/front", POSE: "/robot_pose", ACTIONS: ACTIONS}


def test_a_topic_of_the_right_name_with_hardly_a_message_gives_way(tmp_path):
    assert choice(tmp_path, frames(100) + poses(3) + poses(100, topic="/robot_pose"))[POSE] == "/robot_pose"


def test_a_pose_that_moves_goes_before_one_that_does_not(tmp_path):
    still = [("/dock_pose", POSE_TYPE, T0 + i * STEP, pose(T0 + i * STEP, 3.0)) for i in range(50)]
    assert choice(tmp_path, frames(50) + still + poses(50, topic="/robot_pose"))[POSE] == "/robot_pose"


def test_a_pose_in_the_map_goes_before_odometry(tmp_path):
    wheels = [("/odom", "nav_msgs/msg/Odometry", T0 + i * STEP, odometry(T0 + i * STEP, 0.05 * i)) for i in range(50)]
    assert choice(tmp_path, frames(50) + wheels + poses(50, topic="/robot_pose"))[POSE] == "/robot_pose"
    assert choice(tmp_path / "alone", frames(50) + wheels)[POSE] == "/odom"


def test_a_depth_camera_is_no_camera(tmp_path):
    depth = [
        ("/range", IMAGE, T0 + i * STEP, T[IMAGE](header(T0 + i * STEP), 8, 8, "16UC1", 0, 16, np.zeros(128, np.uint8)))
        for i in range(50)
    ]
    assert choice(tmp_path, depth + frames(50, topic="/front"))[CAMERA] == "/front"


def test_of_several_cameras_the_one_that_looks_ahead_is_taken(tmp_path):
    events = [each for side in ("left", "front", "rear") for each in frames(50, topic=f"/{side}/image_raw")]
    assert choice(tmp_path, events)[CAMERA] == "/front/image_raw"


def test_pictures_of_few_bits_in_sixteen_are_named(tmp_path):
    """A thermal camera counts from 22 000 to 23 500 of 65 535: of the high byte six levels are left."""

    def thermal(i):
        count_64 = np.random.default_rng(i).integers(22_000, 23_500, 64).astype("<u2")
        return T[IMAGE](header(T0 + i * STEP, "camera"), 8, 8, "mono16", 0, 16, count_64.view(np.uint8))

    events = [(CAMERA, IMAGE, T0 + i * STEP, thermal(i)) for i in range(40)]
    (note,) = account_of(write(tmp_path / "thermal", events)).notes
    assert "hold hardly any contrast, at most 6 of 256 levels" in note
    assert not account_of(write(tmp_path / "plain", frames(40))).notes


def test_what_the_graph_itself_says_is_no_action(tmp_path):
    latents = [("/latent", ARRAY, T0 + i * STEP, action(*range(32))) for i in range(50)]
    commands = [("/cmd_vel", "geometry_msgs/msg/Twist", T0 + i * STEP, twist(0.1 * i, 0.0)) for i in range(50)]
    assert choice(tmp_path, frames(50) + latents + commands)[ACTIONS] == "/cmd_vel"


@pytest.mark.parametrize(
    "events",
    [
        frames(50, topic="/one") + frames(50, topic="/two"),
        frames(50, topic="/front_left") + frames(50, topic="/front_right") + frames(50, topic="/rear"),
        frames(50) + poses(50, topic="/a") + poses(50, topic="/b"),
    ],
)
def test_between_two_equally_good_ones_nothing_is_guessed(tmp_path, events):
    with pytest.raises(BagError, match=r"equally good; name one with --"):
        choice(tmp_path, events)
    assert main(["bag", str(tmp_path / "bag"), str(tmp_path / "set")]) == 2


@pytest.mark.slow
def test_inspection_tells_what_would_feed_what_and_what_is_wanting(tmp_path, capsys):
    short = write(tmp_path / "short", drive(100))
    assert main(["inspect", str(short)]) == 1
    said = capsys.readouterr().out
    assert "/camera/image_raw (sensor_msgs/msg/Image): 100 messages, 20.0 Hz, largest gap 0.05 s" in said
    assert "/pose <- /pose" in said
    assert "it lasts 4.95 s, shorter than the 20 s after which a place is seen again" in said
    away = write(tmp_path / "away", drive(600))
    assert main(["inspect", str(away)]) == 1
    assert "no place is seen again" in capsys.readouterr().out
    circle = frames(600) + actions(600)
    for i in range(600):
        circle.append((POSE, POSE_TYPE, T0 + i * STEP, pose(T0 + i * STEP, 3.0 * np.sin(i / 30))))
    assert main(["inspect", str(write(tmp_path / "circle", circle))]) == 0
    assert "suffices to train" in capsys.readouterr().out


@pytest.mark.slow
def test_inspection_judges_as_conversion_does(tmp_path, capsys):
    """A circle of 30 s, with each kind of fault that leaves nothing, or too little, of it."""

    def circle(harm=lambda event, i: event):
        events = frames(600)
        events += [(POSE, POSE_TYPE, T0 + i * STEP, pose(T0 + i * STEP, 3.0 * np.sin(i / 30))) for i in range(600)]
        return [harm(event, i) for i, event in enumerate(events)]

    def unknown_encoding(every):
        def harm(event, i):
            if event[1] == IMAGE and i % every == 0:
                event[3].encoding = "martian"
            return event

        return harm

    def late_pose(event, i):
        if event[1] == POSE_TYPE:
            event[3].header.stamp = header(event[2] - 600_000_000).stamp
        return event

    def rewound(event, i):
        if event[2] >= T0 + 5_000_000_000:
            event[3].header.stamp = header(event[2] - 3_000_000_000).stamp
        return event

    twice = circle() + [("/a" + topic, kind, ns, msg) for topic, kind, ns, msg in circle() if kind == IMAGE]
    twice = [("/b" + topic if topic == "/camera/image_raw" else topic, *rest) for topic, *rest in twice]
    for name, events, code, said in (
        ("whole", circle(), 0, "600 kept"),
        ("some", circle(unknown_encoding(5)), 1, "lost: 120 frames, image-encoding"),
        ("none", circle(unknown_encoding(1)), 2, "nothing usable came of it"),
        ("late", circle(late_pose), 1, "poses on /pose lie 0.6 s before the frames: another clock?"),
        ("rewound", circle(rewound), 0, "it became 2 episodes"),
        ("twice", twice, 2, "equally good; name one with --image-topic"),
    ):
        bag = write(tmp_path / name, events)
        assert (name, main(["inspect", str(bag)])) == (name, code)
        told = capsys.readouterr().out
        assert said in told
        assert "is the camera stamped" not in told
        assert ("does not suffice to train" in told) == (code > 0)
        assert main(["bag", str(bag), str(tmp_path / f"{name}_set")]) == code


@pytest.mark.parametrize(("every", "kept"), [(4, "map"), (2, "map"), (1, "odom")])
def test_poses_of_two_frames_do_not_mix(tmp_path, every, kept):
    """Of 40 poses one in ``every`` is told in odom, a hundred metres off."""
    events = frames(40)
    for i in range(40):
        frame, x = ("odom", 100.0) if i % every == 0 else ("map", 0.0)
        events.append((POSE, POSE_TYPE, T0 + i * STEP, pose(T0 + i * STEP, x + i * 0.01, frame)))

    recording = read_recording(write(tmp_path / "bag", events))

    x_T = recording.episodes[0].pose_T4[:, 0]
    assert np.isfinite(x_T).sum() >= 38
    assert (np.nanmax(x_T) < 1.0) == (kept == "map")
    assert recording.account.poses.unusable["pose-frame"] == (0 if every == 1 else 40 // every)
    assert any(f"kept: '{kept}'" in note for note in recording.account.notes) == (every != 1)


def test_rates_are_measured_where_no_frame_can_be_used(tmp_path):
    events = [
        *frames(20, encoding="funny"),
        *((POSE, POSE_TYPE, T0 + i * STEP, pose(T0 + i * STEP, 0.0)) for i in range(20)),
    ]
    assert account_of(write(tmp_path / "bag", events)).poses.rate_hz == pytest.approx(20.0)


def test_stamps_that_stand_are_no_other_clock(tmp_path, capsys):
    poses = [(POSE, POSE_TYPE, T0 + i * STEP, pose(T0, 0.1 * i)) for i in range(40)]
    assert main(["inspect", str(write(tmp_path / "bag", [*frames(40), *poses]))]) == 1
    said = capsys.readouterr().out
    assert f"poses on /pose all carry one stamp, {T0 * 1e-9:.3f} s" in said
    assert "another clock" not in said


def test_one_moment_is_no_other_clock(tmp_path, capsys):
    bag = write(tmp_path / "bag", [*frames(1), (POSE, POSE_TYPE, T0 + 1, pose(T0 + 1, 0.0))])
    assert main(["inspect", str(bag)]) == 2
    said = capsys.readouterr().out
    assert "another clock" not in said
    assert "there is no camera" not in said
    assert "one picture shows no motion" in said
