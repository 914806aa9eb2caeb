"""Pictures through the node: kept with the record of their frame, told by id, never asked for by a query."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image

from spatial_memory.album.frames import SIDE_PX, FrameRing
from spatial_memory.embedded.memory import CellMemory
from spatial_memory.geometry.cells import CellGrid
from spatial_memory.geometry.maps import LocalMap
from spatial_memory.node import SpatialMemory
from spatial_memory.store.store import Store
from spatial_memory.store.thumbnails import read_thumbnail
from wm_interfaces.srv import QueryMemory, RecallMemory
from wm_ros import ConfigurationError, image_to_msg, qos, stamp_msg
from wm_testing.nodes import ros_context, spin_until

from .node_graph import STEP_NS, Graph, at, state

__all__ = ["ros_context"]
BEGIN_NS = 10**9


def colour(number: int) -> np.ndarray:
    picture_HW3 = np.zeros((96, 128, 3), np.uint8)
    picture_HW3[:] = (40 * number % 256, 255 - 30 * number % 256, 20 * number % 256)
    return picture_HW3


def read(jpeg: bytes) -> np.ndarray:
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


@pytest.fixture
def make_graph(ros_context, monkeypatch, tmp_path):
    monkeypatch.setenv("ROS_HOME", str(tmp_path))
    made = []

    def make(**given) -> Graph:
        made.append(Graph(**given))
        return made[-1]

    yield make
    for graph in made:
        graph.close()


def see(graph: Graph, count: int) -> None:
    """Drive with a camera; the memory takes both in."""
    camera = graph.talker.create_publisher(Image, "/camera/image_raw", qos.SENSOR)
    spin_until(lambda: camera.get_subscription_count() > 0, graph.talker, graph.memory)
    for number in range(count):
        stamp_ns = BEGIN_NS + number * STEP_NS
        camera.publish(image_to_msg(colour(number), stamp_msg(stamp_ns), "camera"))
        graph.states.publish(state(stamp_ns, 0.2 * number))
        wanted = number + 1
        spin_until(lambda wanted=wanted: graph.counted("thumbnails_kept") >= wanted, graph.talker, graph.memory)
    graph.memory._memory.flush()


def test_a_record_s_picture_is_that_of_its_frame(make_graph, tmp_path):
    path = tmp_path / "memory.sqlite3"
    graph = make_graph(store_thumbnails=True, db_path=str(path))
    see(graph, 4)
    found = graph.call(QueryMemory, "query", QueryMemory.Request(query=at(0.4, k=1))).matches.records[0]
    answer = graph.call(RecallMemory, "recall", RecallMemory.Request(ids=[found.id, 999], pictures=True))
    assert answer.success, answer.message
    assert ([record.id for record in answer.records], list(answer.unknown_ids)) == ([found.id], [999])
    assert answer.records[0].position.x == pytest.approx(0.4)
    jpeg = bytes(answer.pictures_of[0].data)
    assert read(jpeg).shape == (SIDE_PX, SIDE_PX, 3)
    np.testing.assert_allclose(read(jpeg).mean(axis=(0, 1)), colour(2)[0, 0], atol=4)
    assert read_thumbnail(path, found.id) == jpeg
    without = graph.call(RecallMemory, "recall", RecallMemory.Request(ids=[found.id]))
    assert not without.pictures_of


def test_without_it_the_camera_is_not_listened_to_and_records_are_told_all_the_same(make_graph):
    graph = make_graph()
    graph.drive(3)
    assert graph.memory.count_subscribers("/camera/image_raw") == 0
    answer = graph.call(RecallMemory, "recall", RecallMemory.Request(ids=[1, 2], pictures=True))
    assert [len(picture.data) for picture in answer.pictures_of] == [0, 0]
    many = graph.call(RecallMemory, "recall", RecallMemory.Request(ids=list(range(1, 400))))
    assert (many.success, "at most 256" in many.message) == (False, True)


def test_a_memory_that_keeps_no_pictures_refuses_to_be_asked_to(ros_context):
    class Pictureless:
        """A memory that keeps everything else."""

        def __init__(self) -> None:
            self._memory = CellMemory(Store(), CellGrid(LocalMap(), 15))

        def __getattr__(self, name):
            if name == "thumbnails":
                raise AttributeError(name)
            return getattr(self._memory, name)

    with pytest.raises(ConfigurationError, match="keeps no pictures"):
        SpatialMemory(Pictureless(), parameter_overrides=[Parameter("store_thumbnails", value=True)])


def test_frames_and_records_find_one_another_in_any_order():
    ring = FrameRing()
    assert ring.frame(1, colour(1)) == {}
    assert list(ring.record(7, 1)) == [7]
    assert ring.record(8, 2) == {}
    assert list(ring.frame(2, colour(2))) == [8]
    assert ring.frame(2, colour(2)) == {}


def test_only_so_many_are_waited_for():
    ring = FrameRing()
    for number in range(205):
        ring.record(number + 1, number)
        ring.frame(10_000 + number, colour(1))
    assert ring.missed == 5
    assert ring.frame(0, colour(1)) == {}
    assert list(ring.frame(204, colour(1))) == [205]
    assert ring.record(999, 10_000) == {}
