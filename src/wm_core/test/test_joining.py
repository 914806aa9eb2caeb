"""States and measured poses, joined by stamp, in whatever order they come."""

from hypothesis import given
from hypothesis import strategies as st

from wm_core.memory.joining import PoseJoin

MS = 1_000_000


def handed_out(join, steady_ns):
    return [(each.state, each.pose, each.is_late) for each in join.ready(steady_ns)]


def test_a_state_waits_for_its_pose_and_keeps_those_behind_it_in_order():
    join = PoseJoin(0.5)
    join.push(1, "predicted", waits=True, steady_ns=0)
    join.push(2, "measured", waits=False, steady_ns=0)
    assert handed_out(join, 100 * MS) == []
    join.pose(1, "pose", 100 * MS)
    assert handed_out(join, 100 * MS) == [("predicted", "pose", False), ("measured", None, False)]


def test_a_pose_that_comes_first_is_kept_for_its_state():
    join = PoseJoin(0.5)
    join.pose(7, "pose", 0)
    join.push(7, "state", waits=True, steady_ns=0)
    assert handed_out(join, 0) == [("state", "pose", False)]


def test_who_waited_long_enough_counts_as_without_pose():
    join = PoseJoin(0.5)
    join.push(1, "state", waits=True, steady_ns=0)
    assert handed_out(join, 499 * MS) == []
    assert handed_out(join, 500 * MS) == [("state", None, True)]
    join.pose(1, "too late", 501 * MS)
    assert handed_out(join, 501 * MS) == []


def test_no_more_wait_than_there_is_room_for():
    join = PoseJoin(10.0, most=3)
    for stamp in range(5):
        join.push(stamp, stamp, waits=True, steady_ns=0)
    assert handed_out(join, 0) == [(0, None, True), (1, None, True)]
    assert len(join) == 3


def test_poses_are_coming_until_even_the_widest_gap_is_over():
    join = PoseJoin(0.5)
    assert not join.are_coming(0)
    join.pose(1, "pose", 1000 * MS)
    assert join.are_coming(2500 * MS)
    assert not join.are_coming(2501 * MS)


@given(
    rate_hz=st.sampled_from([7.0, 50.0, 200.0]),
    late_s=st.floats(0.0, 0.1),
    drops=st.sets(st.integers(0, 39), max_size=5),
)
def test_each_state_gets_the_pose_of_its_stamp_or_none_in_order(rate_hz, late_s, drops):
    """Frames at 20 Hz; the pose at a frame is known once the next one of the rate was measured and came."""
    join = PoseJoin(0.5)
    events = []
    for frame in range(40):
        events.append((frame * 0.05, 1, frame))
        measured_s = -(-frame * 0.05 * rate_hz // 1) / rate_hz
        if frame not in drops:
            events.append((measured_s + late_s, 0, frame))
    got = []
    for now_s, is_state, frame in sorted(events):
        if is_state:
            join.push(frame, frame, waits=True, steady_ns=round(now_s * 1e9))
        else:
            join.pose(frame, frame, round(now_s * 1e9))
        got += list(join.ready(round(now_s * 1e9)))
    got += list(join.ready(10**12))
    assert [each.state for each in got] == list(range(40))
    for each in got:
        assert each.pose == (None if each.state in drops else each.state)
        assert each.is_late == (each.state in drops)
