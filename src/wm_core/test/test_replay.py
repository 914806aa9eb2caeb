"""What a replay tells of each frame is what a fresh look at all that had arrived by then would tell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wm_core.alignment import (
    ActionEvent,
    ActionStatus,
    FrameAligner,
    FrameEvent,
    Kept,
    PoseEvent,
    PoseStatus,
    PoseTrack,
    Replay,
    Told,
    awaits_measured,
)
from wm_core.memory.joining import JOIN_S

MS, STEP_MS = 1_000_000, 50
START_NS = 10**18


def turn(yaw):
    return (0.0, 0.0, float(np.sin(yaw / 2)), float(np.cos(yaw / 2)))


@st.composite
def recordings(draw):
    """Frames at 20 Hz, and poses at 7, 50 or 200 Hz that come 0 to 600 ms late: jitter, gaps, repeats, other orders."""
    rate_hz, late_ms = draw(st.sampled_from([7, 50, 200])), draw(st.one_of(st.integers(0, 100), st.integers(100, 600)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    seconds, gap = 2.5, draw(st.tuples(st.floats(0.0, 2.0), st.floats(0.0, 1.3)))
    poses = []
    for index in range(int(seconds * rate_hz)):
        at_s = index / rate_hz + rng.normal() * 0.002
        if gap[0] < at_s < sum(gap):
            continue
        lag_ms = late_ms + rng.exponential(20.0) * (rng.random() < 0.3)
        stamp_ns = START_NS + int(at_s * 1e9)
        x, y = np.sin(at_s), np.cos(2.0 * at_s)
        event = PoseEvent(stamp_ns + int(lag_ms * MS), stamp_ns, (x, y, 0.0), turn(at_s), "map")
        poses += [event] * (1 + (rng.random() < 0.1))
    frames = [
        FrameEvent(START_NS + row * STEP_MS * MS + int(rng.exponential(3.0) * MS), START_NS + row * STEP_MS * MS)
        for row in range(int(seconds * 1000 / STEP_MS))
    ]
    return sorted(frames, key=lambda frame: frame.arrival_ns), poses


def replay(frames, poses):
    return list(Replay(frames, poses, (), FrameAligner(2, 0.05, None)))


def known_by(time_ns, poses, frame_id="map"):
    """The node's track as it was at a time."""
    track = PoseTrack()
    for pose in sorted(poses, key=lambda pose: pose.arrival_ns):
        if pose.arrival_ns <= time_ns:
            track.insert(pose.stamp_ns, np.array(pose.position), np.array(pose.quaternion))
    return track


def same(one, other):
    assert one.status is other.status
    if one.position is not None:
        np.testing.assert_array_equal(one.position, other.position)
        np.testing.assert_array_equal(one.quaternion, other.quaternion)


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(recordings())
def test_each_frame_is_told_by_what_had_arrived_and_kept_by_what_followed(recording):
    frames, poses = recording
    found = replay(frames, poses)
    told, kept = ([each for each in found if isinstance(each, kind)] for kind in (Told, Kept))
    assert [each.row for each in told] == [each.row for each in kept] == list(range(len(frames)))
    for each, later in zip(told, kept):
        stamp_ns = frames[each.row].stamp_ns
        assert each.at_ns == frames[each.row].arrival_ns
        same(each.pose, known_by(each.at_ns, poses).at(stamp_ns))
        if each.pose.status is PoseStatus.INTERPOLATED:
            same(later.pose, each.pose)
        elif later.pose is not None:
            assert awaits_measured(each.pose.status, are_coming=True)
            assert later.pose.status is PoseStatus.INTERPOLATED
        if later.pose is None and each.pose.status is not PoseStatus.TOO_OLD:
            assert later.is_late == awaits_measured(each.pose.status, are_coming=False)
        if later.is_late:  # nothing is given up before its time, but at the end of all
            assert later.at_ns - each.at_ns >= JOIN_S * 1e9


@settings(max_examples=15, deadline=None)
@given(recordings(), st.integers(5, 45))
def test_what_arrives_later_changes_nothing_that_was_told(recording, cut):
    frames, poses = recording
    end_ns = frames[cut].arrival_ns
    before = [pose for pose in poses if pose.arrival_ns <= end_ns]
    whole = [each for each in replay(frames, poses) if isinstance(each, Told)][: cut + 1]
    part = [each for each in replay(frames[: cut + 1], before) if isinstance(each, Told)]
    for one, other in zip(whole, part, strict=True):
        assert one.row == other.row
        same(one.pose, other.pose)


@pytest.mark.parametrize(
    ("rate_hz", "late_ms", "least", "most"),
    [(7, 150, 190, 200), (50, 300, 190, 200), (50, 400, 190, 200), (50, 600, 0, 0)],
)
def test_whatever_is_measured_in_time_is_kept_however_little_was_expected_of_it(rate_hz, late_ms, least, most):
    """A slow localisation: most poses come later than any is expected for, and within what the memory waits."""
    frames = [FrameEvent(START_NS + row * STEP_MS * MS, START_NS + row * STEP_MS * MS) for row in range(200)]
    stamps = [START_NS + round(at * 1e9 / rate_hz) for at in range(11 * rate_hz)]
    poses = [PoseEvent(ns + late_ms * MS, ns, ((ns - START_NS) * 1e-9, 0.0, 0.0), turn(0.0), "map") for ns in stamps]
    found = replay(frames, poses)
    assert {each.pose.status for each in found if isinstance(each, Told)} >= {PoseStatus.TOO_OLD}
    kept = [each for each in found if isinstance(each, Kept) and each.pose is not None]
    assert least <= len(kept) <= most
    for each in kept:
        assert each.pose.position[0] == pytest.approx(each.row * STEP_MS * 1e-3, abs=1e-6)
    assert sum(each.is_late for each in found if isinstance(each, Kept)) >= 180 * (not most)


def test_who_lost_its_poses_for_good_waits_for_none():
    """Where the localisation has stopped, states go on at once, though without a pose."""
    frames = [FrameEvent(START_NS + row * STEP_MS * MS, START_NS + row * STEP_MS * MS) for row in range(200)]
    poses = [PoseEvent(frame.stamp_ns + 1, frame.stamp_ns, (0.0, 0.0, 0.0), turn(0.0), "map") for frame in frames[:100]]
    kept = {each.row: each for each in replay(frames, poses) if isinstance(each, Kept)}
    assert kept[120].is_late
    assert not any(kept[row].is_late for row in range(132, 200))
    assert all(kept[row].at_ns == frames[row].arrival_ns for row in range(142, 199))


def test_poses_and_actions_that_come_again_after_a_silence_count_at_once():
    """Ten seconds of frames alone: the first pose and action after them are as good as any."""
    frames = [FrameEvent(START_NS + row * STEP_MS * MS, START_NS + row * STEP_MS * MS) for row in range(300)]
    heard = [frame.stamp_ns for frame in [*frames[:40], *frames[240:]]]
    poses = [PoseEvent(at_ns, at_ns, (at_ns * 1e-9 % 1e6, 0.0, 0.0), turn(0.0), "map") for at_ns in heard]
    actions = [ActionEvent(at_ns, np.array([0.5, 0.0])) for at_ns in heard]
    states = Replay(frames, poses, actions, FrameAligner(2, 0.05, None))
    told = {each.row: each for each in states if isinstance(each, Told)}
    assert (told[240].pose.status, told[240].action.status) == (PoseStatus.INTERPOLATED, ActionStatus.HELD)
    assert not states.pose_faults
