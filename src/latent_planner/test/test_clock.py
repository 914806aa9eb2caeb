"""The planner under a clock that is not real time's: a goal's time, and how fast what it commands may change."""

from __future__ import annotations

import pytest
from rosgraph_msgs.msg import Clock

from wm_interfaces.msg import LatentState
from wm_ros import stamp_msg
from wm_testing.goals import STEP_S, pose_goal

from .conftest import World, lane

NS = 1_000_000_000
SLOWER = 5
pytestmark = pytest.mark.slow


class SlowWorld(World):
    """A world that goes five times slower than real time; its robot moves and is seen by that time."""

    def __init__(self, artifact, poses, **given):
        self.now_ns, self.times = 1000 * NS, []
        super().__init__(artifact, poses, use_sim_time=True, **given)

    def spin(self):
        self._clock = self.peer.create_publisher(Clock, "/clock", 10)
        self._ticks = 0
        super().spin()

    def _move(self):
        """Twenty times a second go on by a hundredth of a second; the camera sees each fifth."""
        self._ticks += 1
        self.now_ns += round(STEP_S / SLOWER * NS)
        self._clock.publish(Clock(clock=stamp_msg(self.now_ns)))
        if self._ticks % SLOWER == 0:
            self.advance()
            self.changes = {"header": self._header()}
            if self.is_sending:
                self.send()

    def obey(self, msg):
        super().obey(msg)
        self.times.append(self.now_ns * 1e-9)

    def _header(self):
        header = LatentState().header
        header.stamp = stamp_msg(self.now_ns)
        return header


@pytest.fixture
def slow_world(ros_context, artifact):
    worlds = []

    def make(**given):
        worlds.append(SlowWorld(artifact, lane(), **given))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


def test_a_goal_lasts_as_long_as_its_time_by_the_clock_that_is_followed(slow_world):
    world = slow_world(drive=True)
    begin_ns = world.now_ns
    result = world.run(pose=pose_goal(9.0), time_limit_s=0.6).result
    assert (result.name, result.message) == ("TIMED_OUT", "not reached within 0.6 s")
    assert result.time_s >= 0.6
    assert (world.now_ns - begin_ns) * 1e-9 > 0.9 * 0.6


def test_commands_change_no_faster_than_the_robot_may_by_its_own_time(slow_world):
    world = slow_world(drive=True, max_acceleration_m_s2=2.0)
    world.drive(pose=pose_goal(9.0))
    world.until(lambda: world.commands[-1][0] > 0.5)
    told = [(time_s, speed) for time_s, (speed, _) in zip(world.times, world.commands)]
    # By two steps it may have come sooner or later.
    late_s = 2 * STEP_S
    assert all(
        later - sooner <= 2.0 * (later_s - sooner_s + late_s)
        for at, (sooner_s, sooner) in enumerate(told)
        for later_s, later in told[at:]
    )


def test_a_robot_that_moves_as_slowly_as_its_clock_goes_is_not_taken_for_one_that_is_held(slow_world):
    world = slow_world(drive=True, blocked_timeout_s=1.5, max_acceleration_m_s2=0.5)
    result = world.start(pose=pose_goal(9.0))[1]
    world.until(lambda: result.done() or world.x > 0.2)
    assert not result.done(), result.result().result
