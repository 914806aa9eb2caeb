"""A chunk followed by where the robot is: where that is on its path, and what is put right."""

import math

import numpy as np
import pytest

from policy_runner.chunks import Chunk, ChunkError
from policy_runner.following import Following, FollowingSettings

S = 1_000_000_000


def straight(stamp_ns=0, count=60, speed=1.0, step_s=0.05):
    """Straight on along x."""
    path = np.zeros((count, 3))
    path[:, 0] = speed * step_s * np.arange(count)
    return Chunk(stamp_ns, step_s, np.tile([speed, 0.0], (count, 1)), path)


def at(x, y=0.0, yaw=0.0):
    return np.array([x, y, yaw])


def test_a_robot_that_is_slower_than_expected_is_behind():
    """At 0.8 of the pace it has come 2.4 m after 3 s: the command for that place is that of 0.6 s before."""
    following, chunk = Following(), straight(count=80)
    for tenth in range(31):
        following.see(chunk, tenth * S // 10, at(0.08 * tenth))
    assert following.shift_ns(chunk, 3 * S) == pytest.approx(-0.6 * S, abs=0.08 * S)
    assert following.against(chunk) == 0.0


def test_a_robot_that_stands_is_told_to_go_where_a_chunk_begins_with_a_stand():
    """A second of standing, then on: the robot's place is where the path leaves it, not where the chunk begins."""
    path = np.zeros((60, 3))
    path[20:, 0] = 0.05 * np.arange(40)
    action = np.zeros((60, 2))
    action[20:, 0] = 1.0
    following, chunk = Following(), Chunk(0, 0.05, action, path)
    told = []
    for tenth in range(26):
        now_ns = tenth * S // 10
        following.see(chunk, now_ns, at(0.0))
        told.append(chunk.at(now_ns + following.shift_ns(chunk, now_ns))[0])
    assert min(told[10:]) > 0.9


def test_a_robot_that_was_held_while_its_chunk_was_made_is_looked_for_where_it_is():
    """The chunk came 0.4 s after its stamp, and the robot has not moved since: its corner is still as far away."""
    following, chunk = Following(), straight()
    following.see(chunk, 4 * S // 10, at(0.0))
    assert following.shift_ns(chunk, 4 * S // 10) == pytest.approx(-0.4 * S, abs=0.05 * S)


def test_where_its_chunk_only_begins_to_move_a_robot_goes_by_time():
    """From a stand: at the place where it is the chunk has hardly a speed, and would keep it there."""
    speed = np.minimum(1.0, 0.1 * np.arange(60))
    path = np.zeros((60, 3))
    path[1:, 0] = np.cumsum(0.05 * speed[1:])
    following, chunk = Following(), Chunk(0, 0.05, np.column_stack([speed, np.zeros(60)]), path)
    following.see(chunk, 4 * S // 10, at(0.0))
    assert following.shift_ns(chunk, S) == 0


@pytest.mark.parametrize(("left_m", "yaw"), [(0.2, 0.0), (0.0, 0.3), (0.1, 0.1)])
def test_a_robot_off_its_path_is_brought_back(left_m, yaw):
    following, chunk = Following(), straight()
    following.see(chunk, S, at(1.0, left_m, yaw))
    assert following.against(chunk) == pytest.approx(-left_m - yaw)
    following.see(chunk, 2 * S, at(2.0, -left_m, -yaw))
    assert following.against(chunk) == pytest.approx(left_m + yaw)


def test_no_more_is_put_right_than_allowed():
    following, chunk = Following(FollowingSettings(most_rad_s=0.25)), straight()
    following.see(chunk, S, at(1.0, 0.5, 0.5))
    assert following.against(chunk) == -0.25


def test_another_chunk_begins_anew():
    following, first, second = Following(), straight(), straight(stamp_ns=S)
    following.see(first, S, at(0.6, 0.2))
    assert following.shift_ns(second, S) == 0
    assert following.against(second) == 0.0
    following.see(second, S, at(0.0))
    assert following.shift_ns(second, S) == 0


def test_a_way_that_crosses_itself_is_followed_where_the_robot_faces_along_it():
    """A figure of eight: the crossing is passed in two directions."""
    angle = np.linspace(0.0, 2.0 * math.pi, 241)
    x, y = np.sin(angle), np.sin(angle) * np.cos(angle)
    yaw = np.unwrap(np.arctan2(np.gradient(y), np.gradient(x)))
    chunk = Chunk(0, 0.05, np.tile([0.5, 0.0], (241, 1)), np.column_stack([x, y, yaw]))
    following = Following(FollowingSettings(reach_s=20.0))
    following.see(chunk, 6 * S, at(0.0, 0.0, float(yaw[120])))
    assert following.shift_ns(chunk, 6 * S) == pytest.approx(0, abs=0.1 * S)


def test_what_says_no_path_is_followed_by_time():
    following = Following()
    chunk = Chunk(0, 0.05, np.tile([1.0, 0.0], (60, 1)))
    following.see(chunk, S, at(0.6))
    following.see(None, S, at(0.6))
    assert following.shift_ns(chunk, S) == 0


def test_a_path_of_another_length_is_no_path():
    with pytest.raises(ChunkError, match="path of shape"):
        Chunk(0, 0.05, np.zeros((5, 2)), np.zeros((4, 3)))


def test_facing_of_another_length_is_no_facing():
    with pytest.raises(ChunkError, match="facing of shape"):
        Chunk(0, 0.05, np.zeros((5, 2)), facing_H=np.zeros(4))


@pytest.mark.parametrize(("yaw", "against"), [(0.3, -0.6), (-0.3, 0.6), (2.0, -1.8), (2.0 * math.pi + 0.1, -0.2)])
def test_a_robot_that_is_held_is_turned_as_it_is_to_face_wherever_it_stands(yaw, against):
    following, chunk = Following(), Chunk(0, 0.05, np.tile([0.3, 0.0], (60, 1)), facing_H=np.zeros(60))
    following.see(chunk, S, at(3.0, 2.0, yaw))
    assert following.against(chunk) == pytest.approx(against)
    assert following.shift_ns(chunk, S) == 0


def test_who_comes_free_is_counted_from_where_an_estimate_has_fallen_back_to():
    following, chunk = Following(), Chunk(0, 0.05, np.tile([0.3, 0.0], (60, 1)), facing_H=np.zeros(60), waits_s=0.5)
    for x, waits in ((0.1, True), (0.0, True), (0.08, True), (0.1, False), (0.0, False)):
        following.see(chunk, S, at(x))
        assert following.waits(chunk, S) == waits
    assert following.shift_ns(chunk, 2 * S) == -0.3 * S


def test_a_chunk_made_before_it_came_free_goes_on_turning_it_back():
    """It would turn the robot off its way once more; one made later has seen that it is held again."""
    chunks = [
        Chunk(tenths * S // 10, 0.05, np.zeros((60, 2)), facing_H=np.zeros(60), waits_s=0.5) for tenths in (0, 6, 9)
    ]
    following = Following()
    following.see(chunks[0], 5 * S // 10, at(0.0))
    following.see(chunks[0], S, at(0.1))
    following.see(chunks[1], 11 * S // 10, at(0.1))
    assert not following.waits(chunks[1], 2 * S)
    assert following.shift_ns(chunks[1], 2 * S) == 0.3 * S
    following.see(chunks[2], 12 * S // 10, at(0.0))
    assert following.waits(chunks[2], 2 * S)
