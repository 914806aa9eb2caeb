"""Alignment against results worked out by hand, and against a late, noisy stream of poses."""

from __future__ import annotations

import numpy as np
import pytest

from wm_core.alignment import ActionStatus, ActionTrack, PoseStatus, PoseTrack
from wm_core.errors import AlignmentError
from wm_core.se3 import slerp
from wm_core.timeline import NS_PER_S, Pacer, Passage, Timeline

IDENTITY = np.array([0.0, 0.0, 0.0, 1.0])


def turned(yaw_rad: float) -> np.ndarray:
    return np.array([0.0, 0.0, np.sin(yaw_rad / 2), np.cos(yaw_rad / 2)])


def ns(time_s: float) -> int:
    return round(time_s * NS_PER_S)


def test_interpolates_position_and_turn():
    track = PoseTrack()
    track.insert(ns(1.0), np.array([0.0, 0.0, 0.0]), turned(0.0))
    track.insert(ns(1.1), np.array([1.0, 2.0, 0.0]), turned(0.4))
    pose = track.at(ns(1.025))
    assert pose.status == PoseStatus.INTERPOLATED
    np.testing.assert_allclose(pose.position, [0.25, 0.5, 0.0])
    np.testing.assert_allclose(pose.quaternion, turned(0.1), atol=1e-9)


def test_standard_errors_are_those_of_the_nearest_pose():
    track = PoseTrack()
    assert np.isnan(track.at(ns(1.0)).errors).all()
    for time_s, error_m in ((1.0, 0.1), (1.1, 0.4), (1.2, np.nan)):
        track.insert(ns(time_s), np.array([time_s, 0.0, 0.0]), turned(0.0), (error_m, 0.2))
    found = [track.at(ns(time_s)).errors[0] for time_s in (0.9, 1.0, 1.04, 1.06, 1.1, 1.14)]
    assert found == [0.1, 0.1, 0.1, 0.4, 0.4, 0.4]
    assert np.isnan(track.at(ns(1.3)).errors[0])


def test_turns_the_short_way_round():
    np.testing.assert_allclose(np.abs(slerp(turned(3.1), turned(-3.1), 0.5) @ turned(np.pi)), 1.0, atol=1e-9)


def test_extrapolates_over_a_baseline_so_that_noise_is_not_magnified():
    track = PoseTrack(baseline_s=0.05)
    for step in range(21):  # 200 Hz, 1 m/s, the newest pose 5 mm off
        offset = 0.005 if step == 20 else 0.0
        track.insert(ns(step * 0.005), np.array([step * 0.005 + offset, 0.0, 0.0]), IDENTITY)
    pose = track.at(ns(0.2))
    assert pose.status == PoseStatus.EXTRAPOLATED
    np.testing.assert_allclose(pose.position[0], 0.105 + 0.1 * (0.055 / 0.05), atol=1e-9)


def test_absent_and_too_old_carry_no_pose():
    track = PoseTrack(max_age_s=0.25)
    assert track.at(0).status == PoseStatus.ABSENT
    track.insert(ns(1.0), np.zeros(3), IDENTITY)
    assert track.at(ns(1.1)).status == PoseStatus.EXTRAPOLATED  # held: one pose has no velocity
    old = track.at(ns(1.26))
    assert old.status == PoseStatus.TOO_OLD
    assert old.position is None
    assert track.at(ns(0.7)).status == PoseStatus.TOO_OLD


def test_a_wide_gap_is_not_bridged():
    track = PoseTrack(max_gap_s=1.0)
    track.insert(ns(1.0), np.zeros(3), IDENTITY)
    track.insert(ns(2.5), np.ones(3), IDENTITY)
    assert track.at(ns(1.6)).status == PoseStatus.TOO_OLD


def test_late_poses_find_their_place_and_loops_restart():
    track = PoseTrack()
    for time_s in (1.0, 1.2, 1.1):
        track.insert(ns(time_s), np.array([time_s, 0.0, 0.0]), IDENTITY)
    np.testing.assert_allclose(track.at(ns(1.15)).position[0], 1.15)
    track.insert(ns(1.0) - 50 * NS_PER_S, np.zeros(3), IDENTITY)
    assert len(track) == 1


@pytest.mark.parametrize("wrong_s", [2_140_000_000, 0])
@pytest.mark.parametrize("every", [2, 5])
def test_poses_and_actions_of_another_age_leave_the_others_as_they_are(wrong_s, every):
    """Of a robot at 1 m/s each second or fifth message is stamped 1970 or 2037: all others count as without it."""
    track, actions, alone = PoseTrack(), ActionTrack(1), PoseTrack()
    for row in range(100):
        told_s = 1_800_000_000 + row / 20
        if row and row % every == 0:
            assert not track.insert(ns(wrong_s) + row, np.full(3, 1e3), IDENTITY)
            assert not actions.insert(ns(wrong_s) + row, np.full(1, 1e3))
        for each in (track, alone):
            assert each.insert(ns(told_s), np.array([row / 20, 0.0, 0.0]), IDENTITY)
        assert actions.insert(ns(told_s), np.full(1, row))
        asked = ns(told_s + 0.02)
        assert track.at(asked).status == alone.at(asked).status
        np.testing.assert_array_equal(track.at(asked).position, alone.at(asked).position)
        assert actions.at(asked).values == [row]


@pytest.mark.parametrize(
    ("position", "quaternion"),
    [
        ([np.nan, 0, 0], IDENTITY),
        ([0, 0, np.inf], IDENTITY),
        ([0, 0, 0], [0, 0, 0, 0]),
        ([0, 0, 0], [0, 0, 0, 1.1]),
        ([0, 0, 0], [0, 0, 0, np.nan]),
    ],
)
def test_impossible_poses_are_refused(position, quaternion):
    track = PoseTrack()
    with pytest.raises(AlignmentError, match="pose"):
        track.insert(0, np.array(position, float), np.array(quaternion, float))
    assert len(track) == 0


@pytest.mark.parametrize("rate_hz", [7.0, 50.0, 200.0])
@pytest.mark.parametrize("late_ms", [0, 30, 100])
def test_a_circle_is_followed_at_any_rate_and_lateness(rate_hz, late_ms):
    """A robot on a circle (1 m/s, radius 2 m); frames at 20 Hz ask 20 ms after their stamp, poses come late."""
    track, stamps = PoseTrack(), [ns(i / rate_hz) for i in range(int(3 * rate_hz))]
    inserted = 0
    worst = 0.0
    for frame in range(20, 50):
        asked = ns(frame * 0.05 + 0.02)
        while inserted < len(stamps) and stamps[inserted] + late_ms * 1_000_000 <= asked:
            angle = stamps[inserted] / NS_PER_S / 2.0
            track.insert(
                stamps[inserted], 2.0 * np.array([np.cos(angle), np.sin(angle), 0.0]), turned(angle + np.pi / 2)
            )
            inserted += 1
        pose = track.at(ns(frame * 0.05))
        newest_is_later = track.newest_ns >= ns(frame * 0.05)
        assert pose.status == (PoseStatus.INTERPOLATED if newest_is_later else PoseStatus.EXTRAPOLATED)
        angle = frame * 0.05 / 2.0
        worst = max(worst, float(np.linalg.norm(pose.position[:2] - 2.0 * np.array([np.cos(angle), np.sin(angle)]))))
    furthest_s = late_ms * 1e-3 + 1.0 / rate_hz
    # The chord of a circle strays by a (t + baseline) t / 2 when it is drawn on; a = v^2 / r = 0.5 m/s^2.
    assert worst <= 0.25 * furthest_s * (furthest_s + max(0.05, 1.0 / rate_hz)) + 0.25 / 8 / rate_hz**2 + 1e-3


def test_action_in_force_is_held_until_the_next():
    track = ActionTrack(2, max_age_s=0.5, tolerance_s=0.025)
    assert track.at(ns(1.0)).status == ActionStatus.ABSENT
    track.insert(ns(1.0), np.array([1.0, 0.0]))
    track.insert(ns(1.05), np.array([2.0, 0.0]))
    assert track.at(ns(1.02)).values[0] == 1.0
    assert track.at(ns(1.03)).values[0] == 2.0  # arrives 20 ms later: taken at this frame
    assert track.at(ns(1.5)).values[0] == 2.0
    assert track.at(ns(1.56)).status == ActionStatus.TOO_OLD
    assert track.at(ns(0.9)).status == ActionStatus.ABSENT


@pytest.mark.parametrize("values", [[1.0], [1.0, 2.0, 3.0], [np.nan, 0.0], []])
def test_wrong_actions_are_refused(values):
    with pytest.raises(AlignmentError, match="action"):
        ActionTrack(2).insert(0, np.array(values))


@pytest.mark.parametrize(("camera_hz", "expected"), [(10, 10), (20, 20), (30, 20), (60, 20), (100, 20)])
def test_pacer_keeps_the_rate(camera_hz, expected):
    pacer, jitter = Pacer(20.0), np.random.default_rng(0)
    stamps = [ns(i / camera_hz + jitter.uniform(-0.2, 0.2) / camera_hz) for i in range(100 * camera_hz)]
    assert sum(pacer.is_due(stamp) for stamp in stamps) == pytest.approx(100 * expected, abs=2)


@pytest.mark.parametrize(("camera_hz", "rate_hz"), [(40, 20.0), (20, 10.0), (60, 20.0), (100, 20.0), (20, 5.0)])
def test_pacer_keeps_even_gaps_at_a_multiple_of_the_rate(camera_hz, rate_hz):
    pacer, jitter, begin = Pacer(rate_hz), np.random.default_rng(1), 1_700_000_000 * NS_PER_S
    stamps = [begin + ns(i / camera_hz + jitter.uniform(-0.001, 0.001)) for i in range(20 * camera_hz)]
    gaps_s = np.diff([stamp for stamp in stamps if pacer.is_due(stamp)]) / NS_PER_S
    # The first turn may be taken by an earlier frame; from then on every n-th passes.
    assert np.abs(gaps_s[1:] - 1.0 / rate_hz).max() < 0.003


def test_pacer_survives_time_going_backwards():
    pacer = Pacer(20.0)
    assert pacer.is_due(ns(100.0))
    assert not pacer.is_due(ns(100.01))
    assert pacer.is_due(ns(5.0))
    assert pacer.is_due(ns(5.05))


def test_timeline_starts_anew_on_a_loop_and_doubts_one_broken_stamp():
    timeline = Timeline(ahead_s=5.0, back_s=1.0)
    assert timeline.check(ns(50.0), ns(0.0)) is Passage.FOLLOWS
    assert timeline.check(ns(3650.0), ns(0.05)) is Passage.AHEAD
    assert timeline.check(ns(50.1), ns(0.1)) is Passage.FOLLOWS
    assert timeline.check(ns(1.0), ns(0.15)) is Passage.JUMPS_BACK
    assert timeline.check(ns(1.05), ns(0.2)) is Passage.FOLLOWS
    assert timeline.check(ns(500.0), ns(0.25)) is Passage.AHEAD
    assert timeline.check(ns(500.05), ns(0.3)) is Passage.JUMPS_AHEAD
    assert timeline.check(ns(500.1), ns(0.35)) is Passage.FOLLOWS


def test_timeline_lets_a_silent_camera_come_back():
    timeline = Timeline(ahead_s=5.0)
    timeline.check(ns(1.0), ns(0.0))
    assert timeline.check(ns(61.0), ns(60.0)) is Passage.FOLLOWS
    assert timeline.check(ns(60.95), ns(60.1)) is Passage.OUT_OF_ORDER
    assert timeline.check(ns(61.0), ns(60.15)) is Passage.REPEATED
    assert timeline.check(ns(61.05), ns(60.2)) is Passage.FOLLOWS


@pytest.mark.parametrize("frame_count", [2, 3, 5, 16])
def test_each_round_of_a_short_recording_is_a_timeline(frame_count):
    timeline, passages = Timeline(), []
    for index in range(20 * frame_count):
        passages.append(timeline.check(ns(100.0 + index % frame_count * 0.05), ns(index * 0.05)))
    # Of a round of two frames the first cannot be told from one that was overtaken.
    assert passages.count(Passage.OUT_OF_ORDER) <= (19 if frame_count < 6 else 0)
    if frame_count > 2:
        assert passages.count(Passage.JUMPS_BACK) == 19


def test_a_frame_that_was_overtaken_starts_no_timeline():
    timeline = Timeline()
    order = [0, 1, 2, 4, 3, 5, 6, 8, 9, 7, 10]
    passages = [timeline.check(ns(stamp * 0.05), ns(index * 0.05)) for index, stamp in enumerate(order)]
    assert [order[i] for i, p in enumerate(passages) if p is Passage.OUT_OF_ORDER] == [3, 7]
    assert Passage.JUMPS_BACK not in passages


@pytest.mark.parametrize("step_s", [1.5, 3.02, 4.9, 60.0])
def test_a_clock_that_steps_back_leaves_no_poses_and_actions_of_before(step_s):
    """A robot at 1 m/s whose clock steps back at 6 s: no pose of the old timeline is given for the new one."""
    track, actions = PoseTrack(), ActionTrack(1)
    for index in range(280):
        second = index / 20
        told = 100.0 + second - (step_s if second >= 6.0 else 0.0)
        assert track.insert(ns(told), np.array([second, 0.0, 0.0]), IDENTITY)
        actions.insert(ns(told), np.array([second]))
        pose, action = track.at(ns(told - 0.007)), actions.at(ns(told))
        if pose.position is not None:
            assert abs(pose.position[0] - second) < 0.1
        assert action.values[0] == pytest.approx(second)


def test_one_pose_far_ahead_is_left_out():
    track = PoseTrack()
    assert [track.insert(ns(t), np.array([t, 0, 0]), IDENTITY) for t in (1.0, 1.05, 3601.0, 1.1)] == [
        True,
        True,
        False,
        True,
    ]
    np.testing.assert_allclose(track.at(ns(1.075)).position[0], 1.075)
    assert not track.insert(ns(500.0), np.zeros(3), IDENTITY)
    assert track.insert(ns(500.05), np.zeros(3), IDENTITY)  # a second one agrees
    assert len(track) == 1


@pytest.mark.parametrize("silent_s", [4.0, 6.0, 3600.0])
def test_the_first_pose_and_action_after_a_silence_count(silent_s):
    """A localisation, or who drives, says nothing for a while; time passes meanwhile, so its stamp is not ahead."""
    track, actions = PoseTrack(), ActionTrack(1)
    for second in (1.0, 1.05, 1.05 + silent_s):
        arrival_ns = ns(50.0 + second)
        assert track.insert(ns(second), np.array([second, 0, 0]), IDENTITY, arrival_ns=arrival_ns)
        assert actions.insert(ns(second), np.array([second]), arrival_ns)
    assert track.at(ns(1.05 + silent_s)).position[0] == pytest.approx(1.05 + silent_s)
    assert actions.at(ns(1.05 + silent_s)).values[0] == pytest.approx(1.05 + silent_s)


def test_a_pose_stamped_ahead_of_the_time_that_passed_is_left_out():
    track = PoseTrack()
    told = [(1.0, 1.0), (1.05, 1.05), (3601.0, 1.1), (1.15, 1.15)]
    taken = [track.insert(ns(t), np.array([t, 0, 0]), IDENTITY, arrival_ns=ns(at)) for t, at in told]
    assert taken == [True, True, False, True]
