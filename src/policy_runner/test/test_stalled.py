"""A robot that is held: when it counts as that, which way it turns, and that it comes past what it touched."""

from __future__ import annotations

import math

import numpy as np
import pytest

from policy_runner.drift import Known
from policy_runner.nearest_drive import NearestDrive, NearestDriveSettings
from policy_runner.policies import Frame, Memories, Observation
from policy_runner.stalled import Stalled, StalledSettings
from wm_sim import Driving
from wm_sim.vehicle import Vehicle

S = 1_000_000_000


def at(x, y=0.0, yaw=0.0):
    return np.array([x, y, yaw])


def seen(stalled, seconds, place=lambda time_s: at(0.0), told=1.0, left_m=0.1, begin_s=0.0, turns=1.0):
    """Returns what a robot that turns by a share of what it is told is told, ten times a second."""
    angles = [0.0]
    for tenth in range(round(10 * seconds) + 1):
        time_s = begin_s + tenth / 10
        angles.append(stalled.see(round(time_s * S), place(time_s), told, left_m, turns * angles[-1]))
    return angles[1:]


@pytest.mark.parametrize(("left_m", "sign"), [(0.1, -1.0), (-0.1, 1.0)])
def test_who_stands_though_told_to_go_turns_towards_its_way_and_then_farther(left_m, sign):
    stalled = Stalled()
    angles = seen(stalled, 2.8, left_m=left_m)
    assert angles[:4] == [0.0] * 4
    assert angles[5] == pytest.approx(sign * 0.4)
    assert angles[25] == pytest.approx(sign * (0.4 + 0.3 * 2.0))


def test_who_is_told_to_go_slowly_is_waited_for():
    """At a fifth of the speed a robot that moves takes five times as long for what counts as moving."""
    assert not any(seen(Stalled(), 1.0, told=0.25))
    assert any(seen(Stalled(), 1.6, told=0.25))


def test_an_estimate_that_falls_back_to_where_the_robot_is_held_is_not_the_robot_coming_free():
    """Told to go on it is expected 0.12 m ahead at first; from there on, going is seen late."""
    stalled = Stalled()
    seen(stalled, 1.0)
    for tenth in range(1, 7):
        angle = stalled.see(round((1.0 + tenth / 10) * S), at(-0.02 * tenth), 1.0, 0.1, 0.0)
        assert angle != 0.0
        assert not stalled.is_moving
    assert stalled.see(round(1.7 * S), at(-0.06), 1.0, 0.1, angle) != 0.0
    assert stalled.is_moving
    assert stalled.see(round(1.8 * S), at(-0.02), 1.0, 0.1, angle) == 0.0


def test_it_is_known_for_a_while_to_which_side_it_came_free():
    stalled = Stalled()
    last = seen(stalled, 1.0)[-1]
    assert not stalled.is_moving
    stalled.see(round(1.1 * S), at(0.06), 1.0, 0.1, last)
    assert stalled.is_moving
    assert stalled.taken_side() is None
    stalled.see(round(1.2 * S), at(0.2), 1.0, 0.1, last)
    assert not stalled.is_moving
    assert stalled.was_held(round(1.3 * S))
    assert not stalled.was_held(round(4.0 * S))
    assert (stalled.taken_side(), stalled.taken_side()) == (-1.0, None)


def test_who_has_not_turned_so_far_yet_is_not_told_to_turn_farther():
    """Answers are late: told by time alone it would be turned far beyond where it comes free."""
    assert set(np.abs(seen(Stalled(), 2.8, turns=0.2)[8:])) == {0.4}


def test_who_begins_to_move_turns_no_farther():
    stalled = Stalled()
    last = seen(stalled, 2.8)[-1]
    moved = [stalled.see(round((2.8 + n / 10) * S), at(0.06), 1.0, 0.1, 0.7 * last) for n in range(1, 5)]
    assert moved == pytest.approx([0.7 * last] * 4)


def test_after_some_time_it_tries_the_other_side():
    """Once it has faced as far off as it may: 0.5 s until it is held, 3 s to turn so far, 1 s there."""
    angles = seen(Stalled(), 8.0)
    assert {np.sign(angle) for angle in angles[6:45]} == {-1.0}
    assert np.abs(angles[40:50]).max() == pytest.approx(1.3)
    assert {np.sign(angle) for angle in angles[57:70]} == {1.0}


def test_who_cannot_turn_so_far_tries_the_other_side_all_the_same():
    angles = seen(Stalled(StalledSettings(side_s=2.0)), 7.0, turns=0.2)
    assert {np.sign(angle) for angle in angles[6:44]} == {-1.0}
    assert {np.sign(angle) for angle in angles[46:60]} == {1.0}


def test_once_both_sides_were_of_no_use_it_turns_back():
    angles = np.abs(seen(Stalled(), 20.0))
    assert angles[:100].max() == pytest.approx(1.3)
    assert angles[110:].max() == pytest.approx(2.5, abs=0.1)


def test_who_moved_a_little_and_is_held_there_again_turns_farther():
    """Away from where it was held, but not free: it would face there for good."""
    stalled = Stalled()
    seen(stalled, 1.5)
    moved = np.abs(seen(stalled, 1.5, lambda _: at(0.07), begin_s=1.6))
    assert set(moved[1:8]) == {0.4}
    assert moved[-1] > 0.5


@pytest.mark.parametrize(
    ("place", "told"), [(lambda time_s: at(0.3 * time_s), 1.0), (lambda time_s: at(0.0), 0.1)], ids=["moves", "waits"]
)
def test_who_moves_or_is_told_to_stand_is_not_held(place, told):
    assert not any(seen(Stalled(), 5.0, place, told))


def test_who_has_come_away_is_free():
    stalled = Stalled()
    assert seen(stalled, 1.0)[-1] != 0.0
    assert not any(seen(stalled, 2.0, lambda time_s: at(0.3 + time_s), begin_s=1.1))


def test_time_that_goes_back_begins_anew():
    stalled = Stalled()
    seen(stalled, 1.0, begin_s=10.0)
    assert stalled.see(S, at(0.0), 1.0, 0.1, 0.0) == 0.0


def driven_past_a_post(beside_m, **settings):
    """Returns a robot that was driven for 40 s along a way that passes a post too closely."""
    times = 0.2 * np.arange(40)
    pose = np.column_stack([times, np.zeros((40, 2))])
    memories = Memories(np.round(times * S).astype(np.int64), np.zeros(40, int), pose, np.tile([1.0, 0.0], (40, 1)))
    vehicle = Vehicle((1.0, 0.0, 0.0), Driving(), lambda x, y: math.dist((x, y), (3.0, beside_m)) - 0.4)
    policy, last = NearestDrive(2, NearestDriveSettings(**settings)), 0.0
    for number in range(400):
        now_ns, here = round(0.1 * number * S), np.array(vehicle.pose_after(0.0))
        if here[0] > 4.0:
            break
        observation = Observation(now_ns, np.zeros(1), here, vehicle.speed_m_s, None, np.array([[last, 0.0]]), memories)
        chunk = policy.act(observation)
        for step in (1, 2):
            vehicle.obey(tuple(chunk.action_HA[step]))
            for _ in range(5):
                vehicle.step()
        last = float(chunk.action_HA[2][0])
    return vehicle


@pytest.mark.parametrize("beside_m", [-0.3, 0.3, 0.2])
def test_what_stands_beside_the_way_is_passed(beside_m):
    vehicle = driven_past_a_post(beside_m)
    assert vehicle.contact_count >= 1
    assert vehicle.pose_after(0.0)[0] > 4.0


def test_who_is_not_to_get_free_stands_before_it_for_good():
    assert driven_past_a_post(0.2, gets_free=False).pose_after(0.0)[0] < 3.0


def held_in_a_bend(policy, turns_rad, seconds=3.0):
    """Asks for a robot that stands where a drive of 1 m/s begins to bend by 3 rad/s, and turns to the left there."""
    times_s = 0.1 * np.arange(40)
    yaw = np.clip(3.0 * (times_s - 1.5), 0.0, 0.5 * math.pi)
    place_N2 = np.cumsum(0.1 * np.column_stack([np.cos(yaw), np.sin(yaw)]), axis=0)
    memories = Memories(
        np.round(times_s * S).astype(np.int64), np.zeros(40, int), np.column_stack([place_N2, yaw]),
        np.column_stack([np.ones(40), np.gradient(yaw, 0.1)]),
    )  # fmt: skip
    for tenth in range(round(10 * seconds)):
        pose_3 = np.array([1.7, 0.3, min(turns_rad * tenth / 10, 1.4)])
        policy.act(Observation(tenth * S // 10, np.zeros(1), pose_3, 0.0, None, np.array([[0.6, 0.0]]), memories))


def test_however_it_turns_where_it_is_held_it_is_where_it_came_to_stand():
    """Beside a bend it would be taken to be after it, and told to turn on from how the way faces there."""
    stands, turns = Known(), Known()
    held_in_a_bend(NearestDrive(2, known=stands), 0.0)
    held_in_a_bend(NearestDrive(2, known=turns), 1.0)
    assert turns.before.name == pytest.approx(stands.before.name, abs=0.2 * S)


def test_one_that_is_made_anew_goes_on_trying_where_the_one_before_was():
    known = Known()
    held_in_a_bend(NearestDrive(2, known=known), 0.0, 1.5)
    stalled = known.stalled
    assert stalled.stood_rad is not None
    held_in_a_bend(NearestDrive(2, known=known), 0.0, 0.1)
    assert known.stalled is stalled


def told_where_it_stands(curvature):
    """Returns the last chunk for a robot that stands 0.1 m to the right of a drive of 1 m/s, 3 m along it."""
    policy, along_m = NearestDrive(2), 0.1 * np.arange(80)
    yaw = curvature * along_m
    middle = curvature * (along_m + 0.05)
    place_N2 = np.cumsum(0.1 * np.column_stack([np.cos(middle), np.sin(middle)]), axis=0)
    memories = Memories(
        np.round(along_m * S).astype(np.int64), np.zeros(80, int), np.column_stack([place_N2, yaw]),
        np.tile([1.0, curvature], (80, 1)),
    )  # fmt: skip
    x, y, there = *place_N2[30], yaw[30]
    pose_3 = np.array([x + 0.1 * math.sin(there), y - 0.1 * math.cos(there), there])
    one = np.array([[1.0, 0.0]])
    return [policy.act(Observation(n * S // 10, np.zeros(1), pose_3, 0.0, None, one, memories)) for n in range(8)][-1]


def test_in_a_bend_it_turns_as_on_a_straight_and_is_not_driven_on_round_the_bend():
    """It does not come along the bend: what that takes would undo its turn to the other side for good."""
    straight, bent = told_where_it_stands(0.0), told_where_it_stands(1.0)
    np.testing.assert_allclose(bent.action_HA[1:8, 1], straight.action_HA[1:8, 1], atol=0.15)
    assert straight.action_HA[1, 1] > 0.5


def standing(left_m, measured_left_m=None, count=8):
    """Returns the last chunk of a robot that stands on a straight way, and is measured farther to the left of it."""
    times = 0.1 * np.arange(80)
    pose = np.column_stack([times, np.zeros((80, 2))])
    memories = Memories(np.round(times * S).astype(np.int64), np.zeros(80, int), pose, np.tile([1.0, 0.0], (80, 1)))
    policy, one, chunks = NearestDrive(2, NearestDriveSettings(steps=40)), np.array([[1.0, 0.0]]), []
    for tenth in range(count):
        stamp_ns, frames = tenth * S // 10, ()
        if measured_left_m is not None:
            frames = tuple(
                Frame(stamp_ns, np.zeros(1), pose_3=at(2.8, measured_left_m + noise)) for noise in (-0.02, 0.02)
            )
        chunks.append(
            policy.act(Observation(stamp_ns, np.zeros(1), at(3.0, left_m), 0.0, None, one, memories, frames=frames))
        )
    return chunks[-1]


@pytest.mark.parametrize(("left_m", "measured_left_m", "sign"), [(-0.05, 0.1, -1.0), (0.05, -0.1, 1.0)])
def test_it_turns_away_from_the_side_on_which_it_is_measured_to_stand(left_m, measured_left_m, sign):
    """It is expected ahead of where it is held, which in a bend is the other side of its way."""
    assert sign * standing(left_m, measured_left_m).action_HA[2, 1] > 0.5
    assert sign * standing(left_m).action_HA[2, 1] < -0.5
