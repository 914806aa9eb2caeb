import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from wm_testing.episodes import circling_episode, circling_set
from world_model.commands.data import main, parse_seeds
from world_model.data.bags import BagOptions, episodes_as_taken, read_bag
from world_model.data.episodes import DatasetManifest, EpisodeSet, EpisodeWriter, split_places
from world_model.data.stream import ActionEvent, PoseEvent, align
from world_model.errors import DataError
from world_model.runtime.artifacts import load_artifact

STEP_NS = 50_000_000


def write_bag(path, storage, compressed=False, encoding="rgb8", count=20):
    """Write a bag whose frame i has red level i, pose x = i and action (i, -i)."""
    store = get_typestore(Stores.ROS2_JAZZY)
    types = store.types
    image_type = "sensor_msgs/msg/CompressedImage" if compressed else "sensor_msgs/msg/Image"
    with Writer(path, version=9, storage_plugin=storage) as writer:
        topics = {"/camera/image_raw": image_type, "/pose": "geometry_msgs/msg/PoseStamped"}
        topics["/actions"] = "std_msgs/msg/Float32MultiArray"
        connections = {t: writer.add_connection(t, kind, typestore=store) for t, kind in topics.items()}
        for i in range(count):
            stamp_ns = i * STEP_NS
            stamp = types["builtin_interfaces/msg/Time"](stamp_ns // 10**9, stamp_ns % 10**9)
            header = types["std_msgs/msg/Header"](stamp, "map")
            point = types["geometry_msgs/msg/Point"](float(i), 0.0, 0.0)
            pose = types["geometry_msgs/msg/Pose"](point, types["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0))
            layout = types["std_msgs/msg/MultiArrayLayout"]([], 0)
            messages = {
                "/pose": types["geometry_msgs/msg/PoseStamped"](header, pose),
                "/actions": types["std_msgs/msg/Float32MultiArray"](layout, np.float32([i, -i])),
                "/camera/image_raw": make_image(types, header, i, compressed, encoding),
            }
            for topic, message in messages.items():
                writer.write(connections[topic], stamp_ns, store.serialize_cdr(message, topics[topic]))
    return path


def make_image(types, header, level, compressed, encoding):
    import cv2

    rgb = np.zeros((8, 8, 3), np.uint8)
    rgb[..., 0] = level
    if compressed:
        data = cv2.imencode(".png", rgb[..., ::-1])[1].ravel()
        return types["sensor_msgs/msg/CompressedImage"](header, "png", data)
    pixels = rgb if encoding == "rgb8" else rgb[..., ::-1]
    padded = np.zeros((8, 32), np.uint8)
    padded[:, :24] = pixels.reshape(8, 24)
    return types["sensor_msgs/msg/Image"](header, 8, 8, encoding, 0, 32, padded.ravel())


def test_a_folder_of_recordings_is_all_of_them(tmp_path):
    for name in ("monday", "tuesday"):
        write_bag(tmp_path / "days" / name, StoragePlugin.SQLITE3)
    said: list[str] = []
    manifest = load_artifact("artifact://tiny").manifest
    episodes = episodes_as_taken(tmp_path / "days", manifest, BagOptions(), said.append)
    assert [episode.name for episode in episodes] == ["monday", "tuesday"]
    assert sum("20 frames read" in line for line in said) == 2


@pytest.mark.parametrize(
    ("storage", "compressed", "encoding"),
    [(StoragePlugin.SQLITE3, False, "rgb8"), (StoragePlugin.MCAP, False, "bgr8"), (StoragePlugin.MCAP, True, "")],
)
def test_a_recording_comes_back_frame_by_frame(tmp_path, storage, compressed, encoding):
    episode = read_bag(write_bag(tmp_path / "bag", storage, compressed, encoding), BagOptions(image_size=8))
    assert len(episode) == 20
    assert episode.image_TSSC[:, 3, 3].tolist() == [[i, 0, 0] for i in range(20)]
    assert episode.pose_T4[:, 0].tolist() == list(range(20))
    assert episode.action_TA[:, 1].tolist() == [-i for i in range(20)]


def test_a_lower_rate_takes_every_other_frame(tmp_path):
    bag = write_bag(tmp_path / "bag", StoragePlugin.SQLITE3)
    episode = read_bag(bag, BagOptions(image_size=8, rate_hz=10.0))
    assert episode.pose_T4[:, 0].tolist() == [2.0 * i for i in range(10)]


def test_a_missing_topic_is_named_with_those_there(tmp_path):
    bag = write_bag(tmp_path / "bag", StoragePlugin.SQLITE3)
    with pytest.raises(DataError, match=r"/front.*topics: /actions, /camera/image_raw, /pose"):
        read_bag(bag, BagOptions(image_topic="/front"))
    with pytest.raises(DataError, match=r"^no recording at '.*nothing'$|^'.*nothing' is not"):
        read_bag(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--rate-hz", "inf"], "rate inf Hz, expected more than 0, and finite"),
        (["--rate-hz", "nan"], "rate nan Hz"),
        (["--image-size", "0"], "images of 0 px"),
        (["--from-s", "nan"], "expected an end after the beginning"),
        (["--from-s", "0.6", "--to-s", "0.2"], "from 0.6 s to 0.2 s"),
        (["--depth-topic", "/pose"], "/pose is a geometry_msgs/msg/PoseStamped, expected one of sensor_msgs/msg/Image"),
        (["--proprioception-topic", "/pose"], "/pose is a geometry_msgs/msg/PoseStamped, expected one of std_msgs"),
    ],
)
def test_a_wrong_option_is_named_and_converts_nothing(tmp_path, capsys, options, said):
    bag = write_bag(tmp_path / "lap", StoragePlugin.SQLITE3)
    assert main(["bag", str(bag), str(tmp_path / "set"), *options]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "set").exists()


def test_a_set_that_cannot_be_written_is_named(tmp_path, capsys):
    bag = write_bag(tmp_path / "lap", StoragePlugin.SQLITE3)
    (tmp_path / "file").write_text("no folder\n")
    assert main(["bag", str(bag), str(tmp_path / "file"), "--image-size", "8"]) == 2
    assert "file/episodes: Not a directory" in capsys.readouterr().err


def test_the_command_line_converts_and_goes_on(tmp_path):
    bag = write_bag(tmp_path / "lap", StoragePlugin.SQLITE3)
    arguments = ["bag", str(bag), str(tmp_path / "set"), "--image-size", "8", "--to-s", "0.5"]
    assert main(arguments) == 0
    episode = next(EpisodeSet(tmp_path / "set").episodes("train"))
    assert (episode.name, len(episode)) == ("lap", 10)
    assert main(["bag", str(tmp_path / "none"), str(tmp_path / "set")]) == 2


def test_late_poses_are_extrapolated_as_the_node_does():
    stamp_T = np.arange(10) * STEP_NS
    poses = [PoseEvent(int(s) + 30_000_000, int(s), (float(i), 0.0, 0.0), (0, 0, 0, 1)) for i, s in enumerate(stamp_T)]
    actions = [ActionEvent(int(s), np.float32([i])) for i, s in enumerate(stamp_T)]
    aligned = align(stamp_T, stamp_T, poses, actions, 1)
    assert np.isnan(aligned.pose_T4[0]).all()
    assert aligned.pose_T4[2:, 0] == pytest.approx(np.arange(2, 10))
    assert aligned.action_TA[:, 0].tolist() == list(range(10))


def test_a_set_is_read_back_and_refuses_other_settings(tmp_path):
    circling_set(tmp_path, seconds=2.0)
    episodes = EpisodeSet(tmp_path)
    assert (episodes.names("train"), episodes.names("valid")) == (["a"], ["b"])
    assert np.array_equal(episodes.episode("b").image_TSSC, circling_episode("b", 2.0, seed=1).image_TSSC)
    with pytest.raises(DataError, match="image_size"):
        EpisodeWriter(tmp_path, DatasetManifest(image_size=32, step_s=0.05, action_dim=2))
    with pytest.raises(DataError, match="not a converted set"):
        EpisodeSet(tmp_path / "drives")


def test_places_are_never_split():
    splits = split_places(["a", "b", "a", "c", "d"], valid_share=0.25, test_share=0.25)
    assert splits == {"a": "train", "b": "train", "c": "valid", "d": "test"}
    with pytest.raises(DataError):
        split_places(["a"], 0.5, 0.6)


def test_seeds_are_numbers_and_ranges():
    assert parse_seeds("3-5,9") == [3, 4, 5, 9]
    with pytest.raises(DataError, match="expected numbers"):
        parse_seeds("a-b")
