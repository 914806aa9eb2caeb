"""Poses at several rates that come late: each state goes out once, at once, and is kept with its measured pose.

Publisher and memory run as they do on a robot; messages come one after the other in the order in which they would
arrive, so nothing depends on how fast this machine is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from rclpy.parameter import Parameter

from latent_publisher.node import LatentPublisher
from spatial_memory.node import SpatialMemory
from wm_core.se2 import Pose2
from wm_interfaces.msg import LatentState
from wm_ros import stamp_ns
from wm_testing.inputs import START_NS, STEP_NS, Robot, posed
from wm_testing.nodes import ros_context, spin_until  # noqa: F401

pytestmark = pytest.mark.slow
FRAMES, SPEED = 14, 6.0
FIRST_NS = 4 * STEP_NS
"""Until then poses come alone."""


@dataclass
class Straight:
    """A motion model that knows the robot's speed, and how sure it is."""

    observed: list[int] = field(default_factory=list)

    def reset(self) -> None:
        """Forget nothing that matters."""

    def observe(self, stamp_ns: int, pose: Pose2, action_A: np.ndarray | None) -> None:
        """Take note of a pose."""
        self.observed.append(stamp_ns)

    def ahead(self, actions: object, span_s: float) -> tuple[np.ndarray, np.ndarray]:
        """Return how far it goes, and an error that grows."""
        return np.array([SPEED * span_s, 0.0, 0.0]), np.array([0.1, 0.05, 0.01]) * span_s


class Grey:
    """Stands for an encoder: the latent is the mean colour [3]."""

    encoder_id, z_dim, action_dim, step_s, wants_depth, proprioception_dim = "grey", 3, 2, 0.05, False, 0
    takes_any_actions = False
    fixed, horizons_s, top_k = None, (0.05, 1.0), 7

    def __init__(self) -> None:
        self.motion = Straight()

    def encode(self, image_HW3: np.ndarray, depth_HW: object = None, proprioception_P: object = None) -> np.ndarray:
        """Return the mean colour [3]."""
        return np.asarray(image_HW3.mean((0, 1)), np.float32)


class Graph(Robot):
    """Publisher, memory and a robot, spun together."""

    def __init__(self, memory: SpatialMemory) -> None:
        self.memory = memory
        super().__init__(LatentPublisher(Grey()))
        self.poses = self.publisher(PoseStamped, "/pose")
        self._warm_up()

    def _warm_up(self) -> None:
        """Send frames between two poses until states and measured poses arrive: readers learn of writers late."""
        begin_ns = START_NS - 2_000_000_000
        self.pose(begin_ns)
        self.pose(begin_ns + 1_000_000_000)
        for ns in range(begin_ns, begin_ns + 1_000_000_000, STEP_NS):
            self.frame(ns)
            ends = monotonic() + 2.0
            self.until(lambda ends=ends: self._is_heard() or monotonic() > ends)
            if self._is_heard():
                break
        assert self._is_heard()

    def _is_heard(self) -> bool:
        has_poses = len(self.memory._keeping._join._poses) > 0
        return has_poses and len(self.states) > 0 and self.remembered("states_received") > 0

    def told(self) -> list[LatentState]:
        """Return the states that went out since all of them hear each other."""
        return [state for state in self.states if stamp_ns(state.header.stamp) >= START_NS]

    def kept(self) -> list[float]:
        """Return where the memory keeps states since then: x of each, ascending."""
        return sorted(x for x in self.memory._memory.places(1000)[:, 0].tolist() if x > 0.0)

    def until(self, predicate: Callable[[], bool]) -> None:
        """Spin until something holds."""
        spin_until(predicate, self.node, self.listener, self.memory)

    def pose(self, ns: int) -> None:
        """Send a pose of the robot that goes straight on."""
        self.deliver(self.poses, posed(PoseStamped, ns, SPEED * (ns - START_NS) * 1e-9, 0.0), counter="poses_received")

    def remembered(self, name: str) -> int:
        """Return one of the memory's counters."""
        return int(self.memory._health.counted(name))

    def close(self) -> None:
        """End all of them."""
        self.memory.destroy_node()
        super().close()


@pytest.fixture
def make_graph(ros_context):  # noqa: F811
    """Makes a graph; it ends with the test."""
    graphs: list[Graph] = []

    def make(pose_join_s: float) -> Graph:
        params = {"db_path": ":memory:", "pose_join_s": pose_join_s, "store_distance_m": 0.2}
        given = [Parameter(name, value=value) for name, value in params.items()]
        graphs.append(Graph(SpatialMemory(parameter_overrides=given)))
        return graphs[-1]

    yield make
    for graph in graphs:
        graph.close()


def arrivals(rate_hz: float, late_ms: float) -> list[tuple[int, bool, int]]:
    """Return (arrival, is a frame, stamp) in the order of arrival; poses go on until they surround the last frame."""
    frames_ns = [START_NS + FIRST_NS + row * STEP_NS for row in range(FRAMES)]
    gap_ns = round(1e9 / rate_hz)
    count = math.ceil((frames_ns[-1] - START_NS) / gap_ns) + 1
    poses = [(START_NS + at * gap_ns + round(late_ms * 1e6), False, START_NS + at * gap_ns) for at in range(count)]
    return sorted([*poses, *((ns, True, ns) for ns in frames_ns)])


@pytest.mark.parametrize("late_ms", [0, 50, 100])
@pytest.mark.parametrize("rate_hz", [7, 50, 200])
def test_each_state_goes_out_once_at_once_and_is_kept_with_its_measured_pose(make_graph, rate_hz, late_ms):
    graph, known, expected = make_graph(pose_join_s=60.0), [], {}
    for _, is_frame, ns in arrivals(rate_hz, late_ms):
        if not is_frame:
            graph.pose(ns)
            known.append(ns)
            continue
        graph.frame(ns)
        expected[ns] = LatentState.POSE_INTERPOLATED if known[-1] >= ns else LatentState.POSE_PREDICTED
        # No pose comes before it is out; and nobody's queue runs over because this test is in a hurry.
        graph.until(lambda: len(graph.told()) >= len(expected))
        graph.until(lambda: graph.remembered("states_received") >= len(graph.states))
    graph.until(lambda: len(graph.kept()) >= FRAMES)
    states = {stamp_ns(state.header.stamp): state for state in graph.told()}
    assert len(graph.told()) == len(states) == FRAMES
    assert {ns: state.pose_status for ns, state in states.items()} == expected
    for ns, state in states.items():
        assert state.pose.position.x == pytest.approx(SPEED * (ns - START_NS) * 1e-9, abs=1e-6)
        # Poses tell no errors of their own here: what is told is what the expectation may err.
        assert bool(state.pose_std) == (expected[ns] == LatentState.POSE_PREDICTED)
    if late_ms:
        assert set(expected.values()) == {LatentState.POSE_PREDICTED}
    assert graph.remembered("poses_late") == 0
    truth = [SPEED * (FIRST_NS + row * STEP_NS) * 1e-9 for row in range(FRAMES)]
    assert graph.kept() == pytest.approx(truth, abs=1e-6)


@pytest.mark.parametrize(("rate_hz", "late_ms"), [(7, 200), (50, 400)])
def test_a_state_that_went_out_without_a_pose_is_kept_with_the_one_that_is_measured_in_time(
    make_graph, rate_hz, late_ms
):
    """A slow localisation tells of frames later than any pose is expected for."""
    graph, told = make_graph(pose_join_s=60.0), 0
    for _, is_frame, ns in arrivals(rate_hz, late_ms):
        if not is_frame:
            graph.pose(ns)
            continue
        graph.frame(ns)
        told += 1
        graph.until(lambda told=told: len(graph.told()) >= told)
        graph.until(lambda: graph.remembered("states_received") >= len(graph.states))
    late = [state for state in graph.told() if not state.has_pose]
    assert {state.pose_status for state in late} == {LatentState.POSE_TOO_OLD}
    graph.until(lambda: len(graph.kept()) >= FRAMES)
    truth = [SPEED * (FIRST_NS + row * STEP_NS) * 1e-9 for row in range(FRAMES)]
    assert graph.kept() == pytest.approx(truth, abs=1e-6)
    assert graph.remembered("poses_late") == 0


def test_what_is_not_measured_in_time_is_counted_and_not_kept(make_graph):
    graph = make_graph(pose_join_s=0.05)
    for row in range(3):
        graph.pose(START_NS + row * STEP_NS)
    measured, expected = START_NS + STEP_NS + STEP_NS // 2, [START_NS + row * STEP_NS for row in (3, 4, 5)]
    for ns in (measured, *expected):
        graph.frame(ns)
    graph.until(lambda: len(graph.told()) == 4)
    graph.until(lambda: graph.remembered("poses_late") == len(expected))
    graph.until(lambda: graph.remembered("skipped/no-pose") >= len(expected))
    assert graph.kept() == pytest.approx([SPEED * 1.5 * STEP_NS * 1e-9], abs=1e-6)
