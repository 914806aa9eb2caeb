from __future__ import annotations

import struct
from pathlib import Path
from types import SimpleNamespace

import pytest

from bag_player.node import TAKES, parse_remaps
from wm_core.bags import Bag, BagError, header_stamp_ns, match_topics
from wm_core.bags.survey import Wishes, choose_sources
from wm_core.bags.topics import Candidate, choose
from wm_testing.system import START_NS, STEP_NS, make_bag

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
POSE, ARRAY = "geometry_msgs/msg/PoseStamped", "std_msgs/msg/Float32MultiArray"


@pytest.mark.parametrize(
    ("storage", "compression", "jpeg"),
    [
        ("sqlite3", "", False),
        ("sqlite3", "file", False),
        ("sqlite3", "message", True),
        ("mcap", "", True),
        ("mcap", "file", False),
        ("mcap", "message", False),
        ("mcap", "storage", False),
    ],
)
def test_every_storage_gives_every_message_with_its_stamp(tmp_path: Path, storage: str, compression: str, jpeg: bool):
    bag = Bag(make_bag(tmp_path / "bag", 10, storage=storage, compression=compression, jpeg=jpeg))

    messages = list(bag.prefetched(["/camera/image_raw", "/pose", "/actions"]))

    assert bag.counts == {"/camera/image_raw": 10, "/pose": 10, "/actions": 10}
    assert bag.types["/camera/image_raw"] == (COMPRESSED if jpeg else IMAGE)
    assert len(messages) == 30
    frames = [m for m in messages if m.topic == "/camera/image_raw"]
    assert [header_stamp_ns(m.data) for m in frames] == [START_NS + i * STEP_NS for i in range(10)]
    assert [m.time_ns for m in frames] == [START_NS + i * STEP_NS for i in range(10)]


def test_a_single_file_is_a_recording_too(tmp_path: Path):
    path = make_bag(tmp_path / "bag", 3, storage="mcap")

    assert len(list(Bag(next(path.glob("*.mcap"))).messages(["/pose"]))) == 3


def test_prefetching_can_be_left_early(tmp_path: Path):
    bag = Bag(make_bag(tmp_path / "bag", 100))

    messages = bag.prefetched(["/pose", "/actions"])
    next(messages)
    messages.close()

    assert len(list(bag.prefetched(["/pose"]))) == 100


@pytest.mark.parametrize("kind", ["absent", "empty directory", "not a recording"])
def test_what_is_no_recording_is_named(tmp_path: Path, kind: str):
    path = tmp_path / "thing"
    if kind == "empty directory":
        path.mkdir()
    elif kind == "not a recording":
        path = tmp_path / "thing.db3"
        path.write_bytes(b"no database")

    with pytest.raises(BagError, match="thing"):
        Bag(path)


def test_stamps_of_both_byte_orders():
    assert header_stamp_ns(b"\0\1\0\0" + struct.pack("<iI", 7, 5)) == 7_000_000_005
    assert header_stamp_ns(b"\0\0\0\0" + struct.pack(">iI", 7, 5)) == 7_000_000_005
    with pytest.raises(BagError, match="4 bytes"):
        header_stamp_ns(b"\0\1\0\0")


@pytest.mark.parametrize(
    ("types", "remaps", "expected"),
    [
        (
            {"/camera/image_raw": IMAGE, "/b": IMAGE, "/pose": POSE},
            {},
            {"/camera/image_raw": "/camera/image_raw", "/pose": "/pose"},
        ),
        (
            {"/camera/image_raw/compressed": COMPRESSED, "/x": IMAGE},
            {},
            {"/camera/image_raw/compressed": "/camera/image_raw"},
        ),
        ({"/front": COMPRESSED, "/cmd": ARRAY}, {}, {"/front": "/camera/image_raw", "/cmd": "/actions"}),
        ({"/a": IMAGE, "/b": IMAGE}, {}, {}),
        ({"/a": IMAGE, "/b": IMAGE}, {"/b": "/camera/image_raw"}, {"/b": "/camera/image_raw"}),
        ({"/p": POSE, "/q": POSE, "/pose": POSE}, {"/q": "/pose"}, {"/q": "/pose"}),
    ],
)
def test_topics_are_matched_by_wish_then_name_then_type(types: dict, remaps: dict, expected: dict):
    assert match_topics(types, remaps, TAKES) == expected


def test_a_wish_that_cannot_be_met_is_named():
    with pytest.raises(BagError, match=r"no topic '/odom'; it has: /pose"):
        match_topics({"/pose": POSE}, {"/odom": "/pose"}, TAKES)
    with pytest.raises(BagError, match=r"'/a' is a sensor_msgs/msg/Image, but '/pose' takes geometry_msgs"):
        match_topics({"/a": IMAGE}, {"/a": "/pose"}, TAKES)
    with pytest.raises(BagError, match="expected /RECORDED/TOPIC:=/GRAPH/TOPIC"):
        parse_remaps(["/a=/b"])


@pytest.mark.parametrize(
    ("target", "told", "chosen"),
    [
        ("/camera/image_raw", {"/zed/left/image": "rgb8", "/zed/right/image": "rgb8"}, "/zed/left/image"),
        (
            "/camera/image_raw",
            {
                "/right/image": "rgb8",
                "/right/image/compressed": "jpeg",
                "/left/image": "rgb8",
                "/left/image/compressed": "jpeg",
            },
            "/left/image",
        ),
        (
            "/camera/image_raw",
            {"/infra1": "640x480 mono8", "/infra2": "640x480 mono8", "/color": "640x480 rgb8"},
            "/color",
        ),
        ("/camera/image_raw", {"/grey": "mono8", "/left/c": "bgr8", "/right/c": "bgr8"}, "/left/c"),
        ("/camera/image_raw", {"/infra1": "mono8", "/infra2": "mono8"}, None),
        ("/camera/image_raw", {"/front": "rgb8", "/rear": "rgb8"}, "/front"),
        ("/camera/image_raw", {"/front_left": "rgb8", "/rear_right": "rgb8"}, None),
        ("/camera/image_raw", {"/front_left": "rgb8", "/front_right": "rgb8", "/rear": "rgb8"}, None),
        ("/pose", {"/wheel/odom": "in 'odom'", "/odometry/filtered": "in 'odom'"}, "/odometry/filtered"),
        ("/pose", {"/a/odometry/filtered": "in 'odom'", "/b/odometry/filtered": "in 'odom'"}, None),
        ("/actions", {"/cmd": "", "/odometry/filtered": ""}, None),
        ("/actions", {"/robot1/actions": "", "/robot1/state": ""}, "/robot1/actions"),
        (
            "/camera/image_raw",
            {"/r/camera/image_raw": "jpeg", "/r/x": "rgb8"},
            "/r/camera/image_raw",
        ),
        ("/pose", {"/robot1/pose": "", "/robot2/pose": ""}, None),
    ],
)
def test_custom_decides_between_equally_good_topics_or_nothing_does(target, told, chosen):
    found = choose(target, [Candidate(topic, 100, moves=True, told=text) for topic, text in told.items()])
    assert (found.topic, found.is_tie) == (chosen, chosen is None)
    assert {other.topic for other in found.others} == set(told) - {chosen}


@pytest.mark.parametrize("namespace", ["", "/robot1"])
def test_what_the_graph_itself_says_feeds_nothing_in_whatever_namespace(namespace):
    kinds = {
        "/camera/image_raw": IMAGE, "/imagination/image": IMAGE, "/camera/depth/image_raw": IMAGE,
        "/pose": POSE, "/latent/pose": "geometry_msgs/msg/PoseWithCovarianceStamped",
        "/actions": ARRAY, "/latent": ARRAY, "/visual_history": ARRAY, "/proprioception": ARRAY,
        "/planned_actions": ARRAY,
    }  # fmt: skip
    types = {namespace + topic: kind for topic, kind in kinds.items()}
    bag = SimpleNamespace(types=types, counts=dict.fromkeys(types, 100), unusable={})
    found = {target: choice.topic for target, choice in choose_sources(bag, Wishes(None, None, None)).items()}
    assert found == {target: namespace + target for target in ("/camera/image_raw", "/pose", "/actions")}


def test_the_reason_of_a_choice_is_true():
    odometry, localisation = Candidate("/odom", 4050, rank=2, moves=True), Candidate("/amcl_pose", 169, moves=True)
    still = Candidate("/dock", 4000, moves=False)
    assert choose("/pose", [odometry, localisation]).why.startswith("the others have hardly any messages")
    assert choose("/pose", [odometry, still]).why.startswith("it changes, the others do not")
    assert choose("/pose", [odometry, still, localisation]).why.startswith("the best of those")
