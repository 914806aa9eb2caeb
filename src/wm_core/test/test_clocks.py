"""The offset of a camera's clock, as arrivals tell it."""

from __future__ import annotations

import numpy as np
import pytest

from wm_core.alignment import CameraClock, offset_by_arrival

S = 1_000_000_000
WALL_NS, GAP_NS = 1_790_000_000 * S, S // 20


def pairs(count: int, off_ns: int, delay_ns: int, seed: int = 0) -> list[tuple[int, int]]:
    """Return (stamp, arrival) of a stream on a clock that is off, whose messages come late and some of them very."""
    rng = np.random.default_rng(seed)
    late_N = np.abs(rng.normal(0.0, 4e6, count)) + np.where(rng.random(count) < 0.1, 3e8, 0.0)
    return [(WALL_NS + i * GAP_NS + off_ns, i * GAP_NS + delay_ns + int(late_N[i])) for i in range(count)]


@pytest.mark.parametrize("off_s", [-1_789_999_868.25, -3600.0, 0.0, 2.3, 7 * 3600.0])
def test_it_is_told_to_the_difference_of_the_delays(off_s):
    found = offset_by_arrival(pairs(200, round(off_s * S), 45_000_000), pairs(300, 0, 12_000_000, seed=1))
    assert found.ns * 1e-9 == pytest.approx(-off_s + 0.033, abs=0.002)
    assert found.spread_ns > 0


@pytest.mark.parametrize(("frames", "poses"), [(19, 300), (300, 19), (0, 0)])
def test_few_tell_nothing(frames, poses):
    assert offset_by_arrival(pairs(frames, 0, 0), pairs(poses, 0, 0)) is None


def test_as_stated_it_is_known_at_once_and_stays():
    clock = CameraClock(-2.5)
    for stamp_ns, arrival_ns in pairs(100, 0, 0):
        clock.frame(stamp_ns, arrival_ns)
        clock.pose(stamp_ns + 7 * S, arrival_ns)
    assert clock.on_cameras(10 * S) == 12.5 * S
    assert str(clock.offset) == "-2.500 s"


def drive(clock: CameraClock, off_at_i, first: int = 0, count: int = 400) -> None:
    """Let frames and poses come; ``off_at_i``: by how much the camera's clock is ahead at a frame [ns]."""
    for i in range(first, first + count):
        clock.pose(WALL_NS + i * GAP_NS, i * GAP_NS)
        clock.frame(WALL_NS + i * GAP_NS + off_at_i(i), i * GAP_NS)


def test_by_arrival_it_is_known_after_a_second_and_follows_a_drift():
    clock = CameraClock(by_arrival=True)
    drive(clock, lambda i: 5 * S, count=19)
    assert clock.on_cameras(0) is None
    drive(clock, lambda i: 5 * S, first=19, count=2)
    assert clock.on_cameras(0) == 5 * S
    # A tenth of a second within 100 s, and no step for less than two hundredths.
    taken = set()
    for first in range(21, 2021):
        drive(clock, lambda i: 5 * S + (i - 21) * 50_000, first=first, count=1)
        taken.add(clock.on_cameras(0))
    assert clock.on_cameras(0) == pytest.approx(5 * S + 2000 * 50_000, abs=26_000_000)
    assert len(taken) <= 6


def test_frames_that_jump_begin_anew():
    clock = CameraClock(by_arrival=True)
    drive(clock, lambda i: 0)
    clock.restart()
    assert clock.on_cameras(0) is None
    drive(clock, lambda i: -9 * S, first=400, count=30)
    assert clock.on_cameras(0) == -9 * S


def test_stamped_actions_tell_it_where_no_poses_come():
    clock = CameraClock(by_arrival=True)
    for i in range(30):
        clock.action(WALL_NS + i * GAP_NS, i * GAP_NS)
        clock.frame(i * GAP_NS, i * GAP_NS)
    assert clock.offset.ns == WALL_NS
