"""Recordings as they come: damaged, cut off, without metadata; what is intact plays, the rest is named."""

from __future__ import annotations

import shutil
import sqlite3
import struct
from binascii import crc32
from pathlib import Path

import numpy as np
import pytest
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.enums import CompressionFormat, CompressionMode
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from ruamel.yaml import YAML

from wm_core.bags import Bag, BagError, BagMessage, find_bags, header_stamp_ns
from wm_core.bags.compression import unpack
from wm_core.bags.storage import in_time_order
from wm_core.errors import MessageError
from wm_testing.system import START_NS, STEP_NS, make_bag

TOPICS = ["/camera/image_raw", "/pose", "/actions"]
COUNT = 120


def noisy_bag(path: Path, storage: str = "mcap", compression: str = "") -> Path:
    """Writes images that do not compress, so that damage strikes a picture's own bytes; several mcap chunks."""
    store = get_typestore(Stores.ROS2_JAZZY)
    types, random = store.types, np.random.default_rng(0)
    writer = Writer(path, version=9, storage_plugin=StoragePlugin[storage.upper()])
    if compression:
        writer.set_compression(CompressionMode[compression.upper()], CompressionFormat.ZSTD)
    with writer:
        to = writer.add_connection("/camera/image_raw", "sensor_msgs/msg/Image", typestore=store)
        for i in range(COUNT):
            stamp = types["builtin_interfaces/msg/Time"](*divmod(START_NS + i * STEP_NS, 10**9))
            header = types["std_msgs/msg/Header"](stamp, "camera")
            data = random.integers(0, 256, 120 * 160 * 3, dtype=np.uint8)
            msg = types["sensor_msgs/msg/Image"](header, 120, 160, "rgb8", 0, 480, data)
            writer.write(to, START_NS + i * STEP_NS, store.serialize_cdr(msg, "sensor_msgs/msg/Image"))
    if storage == "mcap":
        add_checksums(the_file(path))
    return path


def chunks_of(file: Path) -> list[int]:
    """Returns where the chunks of an intact mcap file begin."""
    content, at, found = file.read_bytes(), 8, []
    while at < len(content) - 8:
        opcode, length = struct.unpack_from("<BQ", content, at)
        found += [at] if opcode == 6 else []
        at += 9 + length
    return found


def add_checksums(file: Path) -> None:
    """Gives each chunk the checksum that rosbag2 writes; without one, a damaged picture cannot be told."""
    content = bytearray(file.read_bytes())
    for at in chunks_of(file):
        name_bytes = struct.unpack_from("<I", content, at + 37)[0]
        name = content[at + 41 : at + 41 + name_bytes].decode()
        packed = struct.unpack_from("<Q", content, at + 41 + name_bytes)[0]
        body = at + 49 + name_bytes
        struct.pack_into("<I", content, at + 33, crc32(unpack(bytes(content[body : body + packed]), name)[0]))
    file.write_bytes(content)


def the_file(path: Path) -> Path:
    return next(file for file in path.iterdir() if file.name != "metadata.yaml")


def strike(file: Path, share: float, size: int = 4096) -> None:
    content = bytearray(file.read_bytes())
    at = int(len(content) * share)
    content[at : at + size] = bytes(size)
    file.write_bytes(content)


def read(bag: Bag) -> list[BagMessage]:
    return list(bag.prefetched(TOPICS))


def check_pictures(messages: list[BagMessage], source: Path) -> None:
    """What was read is byte for byte what was recorded, in its order."""
    recorded = {m.time_ns: m.data for m in Bag(source).messages(TOPICS)}
    assert [m.time_ns for m in messages] == sorted(m.time_ns for m in messages)
    assert all(recorded[m.time_ns] == m.data for m in messages)


@pytest.mark.parametrize("compression", ["", "storage"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_a_damaged_block_of_an_mcap_costs_its_chunk(tmp_path: Path, compression: str, share: float):
    path = noisy_bag(tmp_path / "bag", "mcap", compression)
    shutil.copytree(path, tmp_path / "damaged")
    strike(the_file(tmp_path / "damaged"), share)

    bag = Bag(tmp_path / "damaged")
    messages = read(bag)

    assert COUNT - 45 <= len(messages) < COUNT  # a chunk holds 1 MiB: 18 pictures
    assert messages[-1].time_ns == START_NS + (COUNT - 1) * STEP_NS
    check_pictures(messages, path)
    said = "; ".join(map(str, bag.damages))
    assert "is damaged" in said or "no record is readable" in said
    assert "mcap recover" in said
    assert f"120 messages were promised on /camera/image_raw, {len(messages)} could be read" in said


@pytest.mark.parametrize("compression", ["", "storage"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.97])
def test_an_mcap_that_was_cut_off_plays_to_the_cut(tmp_path: Path, compression: str, share: float):
    path = noisy_bag(tmp_path / "bag", "mcap", compression)
    cut = tmp_path / "cut.mcap"
    content = the_file(path).read_bytes()
    cut.write_bytes(content[: int(len(content) * share)])

    bag = Bag(cut)
    messages = read(bag)

    assert len(messages) == pytest.approx(share * COUNT, abs=3)
    check_pictures(messages, path)
    assert "without a footer" in str(bag.damages[0])


def test_damage_between_chunks_is_passed_over(tmp_path: Path):
    path = noisy_bag(tmp_path / "bag", "mcap")
    shutil.copytree(path, tmp_path / "damaged")
    file = the_file(tmp_path / "damaged")
    content = bytearray(file.read_bytes())
    second = chunks_of(file)[2]
    content[second - 200 : second + 60] = b"\xff" * 260
    file.write_bytes(content)

    messages = read(Bag(tmp_path / "damaged"))

    assert len(messages) >= COUNT - 45
    assert messages[-1].time_ns == START_NS + (COUNT - 1) * STEP_NS
    check_pictures(messages, path)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_damaged_page_of_a_database_costs_its_messages(tmp_path: Path, share: float):
    path = noisy_bag(tmp_path / "bag", "sqlite3")
    shutil.copytree(path, tmp_path / "damaged")
    file = the_file(tmp_path / "damaged")
    content = bytearray(file.read_bytes())
    at = int(len(content) * share) // 4096 * 4096
    content[at : at + 3 * 4096] = b"\xff" * 3 * 4096
    file.write_bytes(content)

    bag = Bag(tmp_path / "damaged")
    messages = read(bag)

    assert COUNT - 10 <= len(messages) < COUNT + 1
    assert [m.time_ns for m in messages] == sorted(m.time_ns for m in messages)
    if len(messages) < COUNT:
        assert ".recover" in "; ".join(map(str, bag.damages))


def test_a_database_that_was_cut_off_plays_what_is_left(tmp_path: Path):
    path = noisy_bag(tmp_path / "bag", "sqlite3")
    file = the_file(path)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2 // 4096 * 4096])

    bag = Bag(path)
    messages = read(bag)

    assert len(messages) >= COUNT // 3
    assert bag.damages


def test_one_damaged_packed_message_costs_itself(tmp_path: Path):
    path = make_bag(tmp_path / "bag", COUNT, compression="message")
    database = sqlite3.connect(the_file(path))
    key, data = database.execute("SELECT id, data FROM messages LIMIT 1 OFFSET 180").fetchone()
    database.execute("UPDATE messages SET data = ? WHERE id = ?", (bytes(4) + data[4:], key))
    database.commit()
    database.close()

    bag = Bag(path)

    assert len(read(bag)) == 3 * COUNT - 1
    assert sum(damage.lost_count for damage in bag.damages if "damaged" in damage.text) == 1


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
@pytest.mark.parametrize("compression", ["", "file", "message"])
@pytest.mark.parametrize("metadata", [None, "rosbag2_bagfile_information:\n  version: [", "nothing: here\n"])
def test_a_folder_without_usable_metadata_is_read_by_its_files(tmp_path, storage, compression, metadata):
    path = make_bag(tmp_path / "bag", 10, storage=storage, compression=compression)
    (path / "metadata.yaml").unlink()
    if metadata is not None:
        (path / "metadata.yaml").write_text(metadata)

    bag = Bag(path)

    assert len(read(bag)) == 30
    assert "ros2 bag reindex" in str(bag.damages[0])


def test_a_missing_part_is_named_and_the_others_play(tmp_path: Path):
    path = make_bag(tmp_path / "bag", 10)
    yaml = YAML()
    content = yaml.load(path / "metadata.yaml")
    content["rosbag2_bagfile_information"]["relative_file_paths"].append("bag_1.db3")
    yaml.dump(content, path / "metadata.yaml")

    bag = Bag(path)

    assert len(read(bag)) == 30
    assert "names bag_1.db3, not there" in str(bag.damages[0])


def test_parts_are_read_in_the_order_of_their_times(tmp_path: Path):
    """Ten parts and more, as a recorder that splits names them, without metadata."""
    folder = tmp_path / "split"
    folder.mkdir()
    for part in range(12):
        path = make_bag(tmp_path / f"part{part}", 2)
        database = sqlite3.connect(the_file(path))
        database.execute("UPDATE messages SET timestamp = timestamp + ?", (part * 2 * STEP_NS,))
        database.commit()
        database.close()
        shutil.copy(the_file(path), folder / f"split_{part}.db3")

    messages = read(Bag(folder))

    assert len(messages) == 72
    assert [m.time_ns for m in messages] == sorted(m.time_ns for m in messages)
    assert find_bags([folder]) == [folder]


def test_other_qualities_of_service_in_the_metadata_cost_nothing(tmp_path: Path):
    never = QosTime(0, 0)
    sensor = Qos(
        QosHistory.KEEP_LAST, 5, QosReliability.BEST_EFFORT, QosDurability.VOLATILE, never, never,
        QosLiveliness.AUTOMATIC, never, False,
    )  # fmt: skip
    store = get_typestore(Stores.ROS2_JAZZY)
    path = tmp_path / "bag"
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        kind = "std_msgs/msg/String"
        to = writer.add_connection("/pose", kind, typestore=store, offered_qos_profiles=[sensor])
        writer.write(to, 5, store.serialize_cdr(store.types[kind]("here"), kind))
    yaml = YAML()
    content = yaml.load(path / "metadata.yaml")
    content["rosbag2_bagfile_information"]["topics_with_message_count"][0]["topic_metadata"][
        "offered_qos_profiles"
    ] = []
    yaml.dump(content, path / "metadata.yaml")

    bag = Bag(path)

    assert [bag.decode(message).data for message in bag.messages(["/pose"])] == ["here"]


@pytest.mark.parametrize(
    "change",
    [
        "encoded_message_definition = '', encoding = ''",
        "encoded_message_definition = 'float32 battery' || char(10) || 'my_robot_msgs/Cell[] cells' || char(10)",
        "encoded_message_definition = 'this is no definition ((('",
        "encoding = 'something'",
    ],
)
def test_a_type_without_a_usable_definition_costs_its_own_topic(tmp_path: Path, change: str):
    store, kind = get_typestore(Stores.ROS2_JAZZY), "my_robot_msgs/msg/Status"
    store.register(get_types_from_msg("float32 battery\n", kind))
    path = tmp_path / "bag"
    with Writer(path, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        to = {
            "/status": (writer.add_connection("/status", kind, typestore=store), kind),
            "/text": (writer.add_connection("/text", "std_msgs/msg/String", typestore=store), "std_msgs/msg/String"),
        }
        for topic, fields in (("/status", 1.0), ("/text", "a")):
            writer.write(to[topic][0], 5, store.serialize_cdr(store.types[to[topic][1]](fields), to[topic][1]))
    database = sqlite3.connect(the_file(path))
    database.execute(f"UPDATE message_definitions SET {change} WHERE topic_type = ?", (kind,))
    database.commit()
    database.close()

    bag = Bag(path)
    status, text = bag.messages(["/status", "/text"])

    assert bag.counts == {"/status": 1, "/text": 1}
    assert bag.decode(text).data == "a"
    if "something" in change:
        assert bag.decode(status).battery == 1.0
    else:
        with pytest.raises(MessageError, match="no-definition: my_robot_msgs/msg/Status"):
            bag.decode(status)


def test_a_common_type_without_definition_is_still_read(tmp_path: Path):
    path = make_bag(tmp_path / "bag", 3)
    database = sqlite3.connect(the_file(path))
    database.execute("DELETE FROM message_definitions")
    database.commit()
    database.close()

    bag = Bag(path)

    assert [bag.decode(message).header.frame_id for message in bag.messages(["/pose"])] == ["map"] * 3


@pytest.mark.slow
@pytest.mark.parametrize("compression", [None, "lz4", "bz2"])
def test_a_ros_1_recording_reads_as_one_of_ros_2(tmp_path: Path, compression: str | None):
    store = get_typestore(Stores.ROS1_NOETIC)
    types, kind = store.types, "geometry_msgs/msg/PoseStamped"
    path = tmp_path / "old.bag"
    writer = Writer1(path)
    if compression:
        writer.set_compression(Writer1.CompressionFormat[compression.upper()])
    with writer:
        to = writer.add_connection("/pose", kind, typestore=store)
        for i in range(5):
            header = types["std_msgs/msg/Header"](i, types["builtin_interfaces/msg/Time"](i, 7), "map")
            point = types["geometry_msgs/msg/Point"](float(i), 2.0, 3.0)
            pose = types["geometry_msgs/msg/Pose"](point, types["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0))
            message = types[kind](header, pose)
            writer.write(to, i * 10**9 + 9, store.serialize_ros1(message, kind))

    bag = Bag(path)
    messages = list(bag.messages(["/pose"]))

    assert bag.counts == {"/pose": 5}
    assert (bag.start_ns, bag.end_ns) == (9, 4 * 10**9 + 10)
    assert [header_stamp_ns(m.data) for m in messages] == [i * 10**9 + 7 for i in range(5)]
    assert [bag.decode(m).pose.position.x for m in messages] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert bag.decode(messages[0]).header.frame_id == "map"


def test_folders_and_lists_of_recordings_are_found(tmp_path: Path):
    first, second = make_bag(tmp_path / "day" / "one", 2), make_bag(tmp_path / "day" / "two", 2, storage="mcap")
    assert find_bags([tmp_path / "day", first]) == [first, second, first]
    for name in ("monday.mcap", "tuesday.mcap"):
        shutil.copy(the_file(second), tmp_path / "day" / name)
    assert find_bags([tmp_path / "day"]) == [tmp_path / "day/monday.mcap", tmp_path / "day/tuesday.mcap", first, second]
    with pytest.raises(BagError, match="nowhere"):
        find_bags([tmp_path / "nowhere"])


def test_equal_times_keep_the_order_of_writing(tmp_path: Path):
    sources = [
        (0, lambda: iter([(0, "a"), (2, "a")])),
        (0, lambda: iter([(0, "b"), (1, "b")])),
        (2, lambda: iter([(2, "c")])),
    ]
    assert list(in_time_order(sources, lambda item: item[0])) == [(0, "a"), (0, "b"), (1, "b"), (2, "a"), (2, "c")]


@pytest.mark.parametrize("content", [b"", b"\x89MCAP0\r\n", b"no recording at all", bytes(5000)])
@pytest.mark.parametrize("ending", [".mcap", ".db3", ".bag", ".db3.zstd"])
def test_what_is_no_recording_ends_in_one_error(tmp_path: Path, content: bytes, ending: str):
    file = tmp_path / f"thing{ending}"
    file.write_bytes(content)
    try:
        found = Bag(file).counts
    except BagError as error:
        found, said = {}, str(error)
        assert "thing" in said
    assert found == {}
