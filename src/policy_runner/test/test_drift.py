"""Poses that drifted since a way was driven: what is seen on it tells by how much, along it and where it turns."""

from __future__ import annotations

import math

import numpy as np
import pytest

from policy_runner.chunks import Chunk
from policy_runner.drift import Drift, DriftSettings, Known
from policy_runner.drives import Drives
from policy_runner.localised import Localised
from policy_runner.policies import MEMORIES, Frame, Memories, Observation

S = 1_000_000_000
SPEED = 1.0


def look(place_2):
    """What is seen changes with the place, another way along each axis."""
    x, y = place_2
    return np.array([math.sin(x), math.cos(x), math.sin(1.3 * y), math.cos(1.3 * y)])


def corner(time_s):
    """A way of 4 m ahead and then 4 m to the left."""
    return (min(SPEED * time_s, 4.0), max(0.0, SPEED * time_s - 4.0), 0.0 if SPEED * time_s < 4.0 else 0.5 * math.pi)


def remembered(count=80, step_s=0.1):
    times = step_s * np.arange(count)
    pose = np.array([corner(time_s) for time_s in times])
    stamps = np.round(times * S).astype(np.int64)
    latent = np.array([look(each) for each in pose[:, :2]])
    return Memories(stamps, np.zeros(count, int), pose, np.tile([SPEED, 0.0], (count, 1)), latent)


def frames(off_2, seconds, sees=look, begin_s=100.0, from_s=0.0):
    """The same way again, by poses that are off, seen from where the robot truly is."""
    made = []
    for number in range(round(seconds / 0.05)):
        x, y, yaw = corner(from_s + 0.05 * number)
        pose = np.array([x + off_2[0], y + off_2[1], yaw])
        made.append(Frame(round((begin_s + 0.05 * number) * S), sees((x, y)), pose_3=pose))
    return made


def told(frames_, memories=None, **settings):
    drift, drives = Drift(DriftSettings(**settings)), Drives(memories or remembered())
    for frame in frames_:
        drift.see(frame, drives)
    return drift


def test_the_way_ahead_tells_the_offset_along_it_and_no_other():
    drift = told(frames((0.1, 0.06), 3.5))
    assert drift.off_2[0] == pytest.approx(0.1, abs=0.02)
    assert drift.off_2[1] == pytest.approx(0.0, abs=0.005)
    spread = np.sqrt(np.diag(drift.offset.spread_22))
    assert spread[0] < 0.04
    assert spread[1] == pytest.approx(0.07, abs=0.005)


def test_round_the_corner_it_tells_the_other_too():
    drift = told(frames((0.1, 0.06), 7.0))
    np.testing.assert_allclose(drift.off_2, (0.1, 0.06), atol=0.04)


def test_poses_that_are_right_are_left_alone():
    np.testing.assert_allclose(told(frames((0.0, 0.0), 7.0)).off_2, 0.0, atol=0.01)


def test_one_look_counts_as_worked_out_by_hand():
    settings = DriftSettings(std_m=0.1, look_std_m=0.1, likeness=3.0)
    drift, drives = Drift(settings), Drives(remembered())
    frame = Frame(100 * S, look((2.0, 0.0)), pose_3=np.array([2.1, 0.0, 0.0]))
    drift.see(frame, drives)
    # 0.1 m behind where its pose is; known to 0.01 m^2, told to three times as much: a quarter of it is believed.
    assert drift.off_2[0] == pytest.approx(0.025, abs=0.001)
    assert drift.offset.spread_22[0, 0] == pytest.approx(0.01 * 0.75, rel=0.02)
    assert drift.offset.spread_22[1, 1] == pytest.approx(0.01)


def test_what_was_told_fades():
    drift = told(frames((0.1, 0.0), 3.5), time_s=10.0)
    before = drift.off_2[0]
    drift.see(Frame(round(113.45 * S), look((50.0, 50.0)), pose_3=np.array([50.0, 50.0, 0.0])), Drives(remembered()))
    assert drift.off_2[0] == pytest.approx(before * math.exp(-1.0), rel=0.02)


def test_a_clock_that_is_set_back_begins_anew():
    drift = told(frames((0.1, 0.0), 3.5))
    drift.see(Frame(S, look((50.0, 50.0)), pose_3=np.array([50.0, 50.0, 0.0])), Drives(remembered()))
    assert not drift.off_2.any()


def test_a_robot_that_stands_says_the_same_again_and_again_and_is_believed_once():
    there = [Frame((100 + at) * S // 10, look((2.0, 0.0)), pose_3=np.array([2.1, 0.0, 0.0])) for at in range(100)]
    assert abs(told(there).off_2[0]) < 0.03


def test_never_put_right_by_more_than_is_allowed():
    drift = told(frames((0.14, 0.0), 3.5), most_m=0.05)
    assert np.hypot(*drift.off_2) <= 0.05 + 1e-9
    assert drift.off_2[0] > 0.04


@pytest.mark.parametrize(
    "sees",
    [lambda place: np.full(4, 9.0), lambda place: np.zeros(3), lambda place: look((place[0] + 2.0, place[1]))],
    ids=["unlike anything", "another encoder's", "another place"],
)
def test_a_view_that_does_not_fit_moves_nothing_far(sees):
    assert np.hypot(*told(frames((0.0, 0.0), 7.0, sees)).off_2) < 0.08


def test_a_way_that_looks_the_same_everywhere_tells_nothing():
    memories = remembered()
    blank = Memories(memories.stamp_N, memories.session_N, memories.pose_N3, memories.action_NA, np.ones((80, 4)))
    drift = told(frames((0.1, 0.1), 7.0, lambda place: np.ones(4)), blank)
    assert not drift.off_2.any()


def test_a_pose_that_is_none_or_no_number_is_passed_over():
    for pose in (None, np.array([math.nan, 0.0, 0.0])):
        assert told([Frame(S, look((0.0, 0.0)), pose_3=pose)]).offset is None


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="cannot be"):
        DriftSettings(std_m=0.0)


class _Notes:
    takes = frozenset({MEMORIES})
    action_dim, step_s = 2, 0.05

    def act(self, observation):
        self.asked = observation
        return Chunk(observation.stamp_ns, 0.05, np.zeros((3, 2)), np.tile(observation.pose_3, (3, 1)))


def asked(policy, seen, memories):
    last = seen[-1]
    return policy.act(Observation(last.stamp_ns, last.latent_D, last.pose_3, memories=memories, frames=tuple(seen)))


def test_a_policy_is_asked_with_poses_put_right_and_its_path_is_given_back_in_measured_ones():
    inner, known = _Notes(), Known()
    seen, memories = frames((0.1, 0.06), 7.0), remembered()
    chunk = asked(Localised(inner, DriftSettings(), known), seen, memories)
    np.testing.assert_allclose(inner.asked.pose_3[:2], seen[-1].pose_3[:2] - (0.1, 0.06), atol=0.04)
    np.testing.assert_allclose(inner.asked.frames[0].pose_3, seen[0].pose_3 - [*known.offset.off_2, 0.0])
    np.testing.assert_allclose(chunk.path_H3, np.tile(seen[-1].pose_3, (3, 1)))
    assert known.text.startswith("0.")


def test_one_that_is_made_anew_goes_on_from_what_was_known():
    known, memories = Known(), remembered()
    assert known.text == "not known"
    asked(Localised(_Notes(), DriftSettings(), known), frames((0.1, 0.06), 7.0), memories)
    anew = _Notes()
    asked(Localised(anew, DriftSettings(), known), frames((0.1, 0.06), 0.1, begin_s=107.0, from_s=7.0), memories)
    np.testing.assert_allclose(known.offset.off_2, (0.1, 0.06), atol=0.04)


def test_without_what_was_seen_nothing_is_put_right():
    inner, memories = _Notes(), remembered()
    blind = Memories(memories.stamp_N, memories.session_N, memories.pose_N3, memories.action_NA)
    seen = frames((0.1, 0.06), 7.0)
    asked(Localised(inner, DriftSettings(), Known()), seen, blind)
    np.testing.assert_allclose(inner.asked.pose_3, seen[-1].pose_3)
