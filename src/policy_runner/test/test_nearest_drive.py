"""The nearest remembered drive, on ways whose right answer is known."""

import math
from dataclasses import replace

import numpy as np
import pytest

from policy_runner import drives as drives_module
from policy_runner.drift import Before, DriftSettings, Known
from policy_runner.drives import Drives
from policy_runner.localised import Localised
from policy_runner.nearest_drive import NOTHING, STEERING_ANGLE, NearestDrive, NearestDriveSettings
from policy_runner.policies import Memories, Observation, PolicyError

S = 1_000_000_000
STEP_S = 0.05
NOTHING_DECIDED = np.empty((0, 2))


def circle(radius_m=2.0, speed=1.0, count=120, session=0, begin_s=0.0, step_s=0.1):
    """A drive round a circle to the left: the command is its speed and its yaw rate."""
    times = step_s * np.arange(count)
    angle = speed * times / radius_m
    pose = np.column_stack([radius_m * np.sin(angle), radius_m * (1.0 - np.cos(angle)), angle])
    action = np.tile([speed, speed / radius_m], (count, 1))
    stamps = np.round((begin_s + times) * S).astype(np.int64)
    return Memories(stamps, np.full(count, session), pose, action)


def joined(*parts):
    return Memories(
        *(np.concatenate(each) for each in zip(*((p.stamp_N, p.session_N, p.pose_N3, p.action_NA) for p in parts)))
    )


def asked(memories, pose, speed=1.0, stamp_ns=0, decided=NOTHING_DECIDED):
    return Observation(stamp_ns, np.zeros(1), np.array(pose, float), speed, None, decided, memories)


def driven(policy, memories, pose, seconds, every_s=0.2):
    """A unicycle that does at once what the chunk says, asked anew every so often."""
    x, y, yaw = pose
    track = []
    for number in range(round(seconds / every_s)):
        chunk = policy.act(asked(memories, (x, y, yaw), stamp_ns=round(number * every_s * S)))
        for action in chunk.action_HA[: round(every_s / STEP_S)]:
            middle = yaw + 0.5 * action[1] * STEP_S
            x, y, yaw = (
                x + action[0] * math.cos(middle) * STEP_S,
                y + action[0] * math.sin(middle) * STEP_S,
                yaw + action[1] * STEP_S,
            )
            track.append((x, y, yaw))
    return np.array(track)


class LateRobot:
    """A unicycle that obeys 0.08 s late, with a lag of 0.12 s, told within an acceleration of 3 m/s^2."""

    def __init__(self, pose):
        self.pose, self.told = np.array(pose, float), [np.zeros(2)] * 9
        self.motion = np.zeros(2)

    def step(self, command, step_s=0.01):
        most = np.array([3.0, 12.0]) * step_s
        self.told.append(np.clip(command, self.told[-1] - most, self.told[-1] + most))
        self.motion = self.motion + (1.0 - math.exp(-step_s / 0.12)) * (self.told[-9] - self.motion)
        way_m, turn = self.motion * step_s
        middle = self.pose[2] + 0.5 * turn
        self.pose = self.pose + np.array([way_m * math.cos(middle), way_m * math.sin(middle), turn])


def a_corner():
    """What a drive straight on, round a narrow corner to the left and on again leaves: poses and commands in force."""
    robot, kept = LateRobot((0.0, 0.0, 0.0)), []
    for number in range(600):
        at_s = number / 100
        command = np.array([0.65, 1.8 if 2.5 <= at_s < 2.5 + 0.5 * math.pi / 1.8 else 0.0])
        robot.step(command)
        if number % 15 == 0 and number > 60:
            kept.append((number * S // 100, robot.pose, command))
    stamp, pose, action = (np.array(column) for column in zip(*kept))
    return Memories(stamp, np.zeros(len(stamp), int), pose, action)


@pytest.mark.parametrize("begin", [6, 8, 10, 12])
def test_from_a_stand_it_turns_where_the_drive_turned(begin):
    """The drive gave its commands before the places that they were for, as far before as it was fast."""
    memories = a_corner()
    policy, robot, track, sent = NearestDrive(2, NearestDriveSettings(most_rate=3.0)), None, [], [np.zeros(2)]
    robot = LateRobot(memories.pose_N3[begin])
    before = [robot.pose] * 41
    for number in range(250):
        if number % 10 == 0:
            speed = math.dist(before[-1][:2], before[-41][:2]) / 0.4
            chunk = policy.act(asked(memories, robot.pose, speed, number * S // 100, np.array(sent[-1:])))
        robot.step(chunk.at(number * S // 100))
        sent.append(robot.told[-1])
        before.append(robot.pose)
        track.append(robot.pose)
    fine_P2 = np.concatenate(
        [np.linspace(a, b, 20) for a, b in zip(memories.pose_N3[:-1, :2], memories.pose_N3[1:, :2])]
    )
    off_S = np.hypot(*(np.array(track)[:, None, :2] - fine_P2).transpose(2, 0, 1)).min(axis=1)
    assert off_S.max() < 0.1
    assert np.abs(track[-1][2] - 0.5 * math.pi) < 0.3


def test_on_the_way_it_gives_the_commands_of_the_way():
    chunk = NearestDrive(2).act(asked(circle(), (0.0, 0.0, 0.0)))
    assert chunk.action_HA == pytest.approx(np.tile([1.0, 0.5], (20, 1)), abs=0.03)


@pytest.mark.parametrize("left_m", [-0.3, 0.3])
def test_beside_the_way_it_comes_back(left_m):
    policy = NearestDrive(2, NearestDriveSettings(response_s=0.0))
    track = driven(policy, circle(), (0.0, left_m, 0.2), 6.0)
    off = np.abs(np.hypot(track[:, 0], track[:, 1] - 2.0) - 2.0)
    assert off.max() < 0.45
    assert off[-20:].max() < 0.03


@pytest.mark.parametrize(("yaw", "share"), [(0.0, 1.0), (0.2, 1.0), (0.6, 0.5), (-0.6, 0.5), (1.0, 0.3)])
def test_facing_off_the_way_it_is_slow(yaw, share):
    policy = NearestDrive(2, NearestDriveSettings(response_s=0.0, steps=1))
    chunk = policy.act(asked(circle(), (0.0, 0.0, yaw)))
    assert chunk.action_HA[0, 0] == pytest.approx(share, abs=0.03)


def test_what_is_decided_stays_and_the_rest_follows_from_it():
    decided = np.tile([1.0, 0.9], (5, 1))
    chunk = NearestDrive(2).act(asked(circle(), (0.0, 0.0, 0.0), decided=decided))
    assert chunk.action_HA[:5] == pytest.approx(decided)
    # Turned too far to the left by then: it steers to the right of the way.
    assert chunk.action_HA[6, 1] < 0.5


def test_a_steering_angle_gives_the_curvature_of_the_way():
    memories = circle()
    memories.action_NA[:, 1] = math.atan(0.3 / 2.0)
    policy = NearestDrive(2, NearestDriveSettings(steering=STEERING_ANGLE))
    chunk = policy.act(asked(memories, (0.0, 0.0, 0.0)))
    assert chunk.action_HA[:, 1] == pytest.approx(np.full(20, math.atan(0.15)), abs=0.02)
    right = policy.act(asked(memories, (0.0, 0.3, 0.0)))
    assert right.action_HA[0, 1] < math.atan(0.15)


def test_commands_of_unknown_meaning_are_given_as_they_were():
    chunk = NearestDrive(2, NearestDriveSettings(steering=NOTHING)).act(asked(circle(), (0.0, 0.3, 0.2)))
    assert chunk.action_HA == pytest.approx(np.tile([1.0, 0.5], (20, 1)))


def test_one_that_is_made_anew_while_turned_off_its_way_turns_back():
    known, memories = Known(), circle(count=40)
    turned = (0.0, 0.0, -1.5)
    with pytest.raises(PolicyError, match="faces the same way"):
        NearestDrive(2).act(asked(memories, turned))
    NearestDrive(2, known=known).act(asked(memories, (0.0, 0.0, 0.0)))
    chunk = NearestDrive(2, known=known).act(asked(memories, turned, stamp_ns=S))
    assert chunk.action_HA[0, 1] > 0.5


def test_a_stand_on_the_way_does_not_stop_it():
    first, rest = circle(count=30), circle(count=60, begin_s=0.0)
    at = 30
    stands = Memories(
        rest.stamp_N[at] + S * np.arange(1, 4), np.zeros(3, int), np.tile(rest.pose_N3[at], (3, 1)), np.zeros((3, 2))
    )
    later = Memories(rest.stamp_N[at:] + 4 * S, rest.session_N[at:], rest.pose_N3[at:], rest.action_NA[at:])
    memories = joined(first, stands, later)
    memories.action_NA[27:34] = 0.0  # the command to stop comes before the stand
    assert (Drives(memories).action_LA[:, 0] > 0.9).all()
    track = driven(NearestDrive(2), memories, (0.0, 0.0, 0.0), 5.0)
    assert np.hypot(track[-1, 0], track[-1, 1] - 2.0) == pytest.approx(2.0, abs=0.1)
    assert track[-1, 2] > 2.0


def test_where_a_drive_ends_another_goes_on():
    """One lap ends where it began, so that there is no end."""
    lap = circle(count=round(2 * math.pi * 2.0 / 0.1) + 4)
    track = driven(NearestDrive(2), lap, (0.0, 0.0, 0.0), 30.0)
    assert np.abs(np.hypot(track[:, 0], track[:, 1] - 2.0) - 2.0).max() < 0.15
    assert track[-1, 2] > 4.0 * math.pi


def test_a_way_that_ends_is_told():
    policy = NearestDrive(2)
    memories = circle(count=30)
    short = policy.act(asked(memories, memories.pose_N3[24]))
    assert len(short.action_HA) < 20
    with pytest.raises(PolicyError, match="ends here"):
        policy.act(asked(memories, memories.pose_N3[24], decided=np.tile([1.0, 0.5], (20, 1))))


@pytest.mark.parametrize(
    ("memories", "pose", "why"),
    [
        (None, (0.0, 0.0, 0.0), "nothing is remembered"),
        (circle(), None, "place"),
        (circle(), (0.0, 0.0, math.pi), "faces the same way"),
        (circle(), (9.0, 9.0, 0.0), "within 1 m"),
    ],
)
def test_what_cannot_be_driven_is_told(memories, pose, why):
    observation = Observation(0, np.zeros(1), None if pose is None else np.array(pose), memories=memories)
    with pytest.raises(PolicyError, match=why):
        NearestDrive(2).act(observation)


def test_memories_with_other_commands_are_refused():
    with pytest.raises(PolicyError, match="2 values"):
        NearestDrive(3).act(asked(circle(), (0.0, 0.0, 0.0)))


def test_memories_without_commands_make_no_drive():
    memories = circle(count=10)
    memories.action_NA[:] = np.nan
    assert len(Drives(memories)) == 0
    with pytest.raises(PolicyError):
        NearestDrive(2).act(asked(memories, (0.0, 0.0, 0.0)))


def test_it_says_where_it_expects_to_be():
    """On the way of a circle, at its pace: a metre a second."""
    chunk = NearestDrive(2).act(asked(circle(), (0.0, 0.0, 0.0), decided=np.array([[1.0, 0.5]])))
    angle = 0.5 * STEP_S * np.arange(20)
    expected = np.column_stack([2.0 * np.sin(angle), 2.0 * (1.0 - np.cos(angle)), angle])
    assert chunk.path_H3 == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("pose", [(0.0, 0.2, 0.1), (0.0, -0.2, -0.1)])
def test_where_it_expects_to_be_is_where_a_robot_comes(pose):
    memories, policy = a_corner(), NearestDrive(2, NearestDriveSettings(most_rate=3.0, steps=40))
    begin = memories.pose_N3[4] + np.array(pose)
    robot = LateRobot(begin)
    robot.told, robot.motion = [np.array([0.65, 0.0])] * 9, np.array([0.65, 0.0])
    chunk = policy.act(asked(memories, begin, 0.65, 0, np.array([[0.65, 0.0]])))
    came = []
    for number in range(200):
        if number % 5 == 0:
            came.append(robot.pose)
        robot.step(chunk.at(number * S // 100))
    away_H = np.hypot(*(np.array(came) - chunk.path_H3)[:, :2].T)
    assert away_H[:20].max() < 0.08
    assert away_H.max() < 0.25


def round_a_corner(leg_m=4.0):
    """A drive of 1 m/s to the south, and round a narrow corner to the east."""
    along_m = np.arange(0.0, 2.0 * leg_m, 0.1)
    turned = np.clip((along_m - leg_m) / 0.4, 0.0, 1.0)
    yaw = 0.5 * math.pi * (turned - 1.0)
    step_2 = 0.1 * np.column_stack([np.cos(yaw), np.sin(yaw)])
    pose = np.column_stack([np.cumsum(step_2, axis=0), yaw])
    action = np.column_stack([np.ones(len(yaw)), np.where((turned > 0.0) & (turned < 1.0), 0.5 * math.pi / 0.4, 0.0)])
    return Memories(np.round(along_m * S).astype(np.int64), np.zeros(len(yaw), int), pose, action)


def test_who_is_turned_off_its_way_beside_another_part_of_it_stays_where_it_is_on_it():
    """0.6 m past the corner and 0.7 m beside the way it faces as the way did before the corner, 0.6 m from there."""
    memories = round_a_corner()
    corner_2, known = memories.pose_N3[42, :2], Known()
    known.before = Before(0, (0, int(memories.stamp_N[46])))
    begin = (corner_2[0] + 0.6, corner_2[1] + 0.7, -0.5 * math.pi)
    policy = NearestDrive(2, NearestDriveSettings(response_s=0.0), known)
    track = driven(policy, memories, begin, 3.0)
    assert known.before.name[1] > memories.stamp_N[46]
    # South of the way it would come out if it drove on beside the part before the corner.
    assert track[:, 1].min() > memories.pose_N3[-1, 1] - 0.2
    assert abs(track[-1, 1] - memories.pose_N3[-1, 1]) < 0.1


@pytest.mark.parametrize(("begun_ns", "is_past_the_corner"), [(0, True), (7, False)])
def test_with_a_new_goal_it_begins_where_it_is_and_not_where_it_was(begun_ns, is_past_the_corner):
    """Beside the part after the corner, yet facing as the way did before it."""
    memories = round_a_corner()
    corner_2, known = memories.pose_N3[42, :2], Known()
    known.before = Before(0, (0, int(memories.stamp_N[52])))
    begin = (corner_2[0] + 0.8, corner_2[1] + 0.4, -0.5 * math.pi)
    policy = NearestDrive(2, NearestDriveSettings(response_s=0.0), known)
    policy.act(replace(asked(memories, begin), begun_ns=begun_ns))
    assert known.before.begun_ns == begun_ns
    assert (known.before.name[1] > memories.stamp_N[42]) == is_past_the_corner


def test_the_drives_of_memories_are_made_once_for_all_who_go_by_them(monkeypatch):
    made = []
    monkeypatch.setattr(drives_module, "Drives", lambda *given: made.append(given) or Drives(*given))
    one, other = (replace(circle(), latent_ND=np.zeros((120, 2))) for _ in range(2))
    known = Known()
    policy = Localised(NearestDrive(2, known=known), DriftSettings(), known)
    for memories in (one, one, other):
        policy.act(asked(memories, (0.0, 0.0, 0.0)))
    assert [given[0] for given in made] == [one, other]


def test_who_is_held_is_told_to_go_slowly_and_how_to_face():
    """Steered by a path, what gets it free would be turned back; how it faces follows from what it is told."""
    policy, memories = NearestDrive(2), circle()
    one = np.array([[1.0, 0.5]])
    chunks = [policy.act(asked(memories, (0.0, -0.1, 0.0), 0.0, round(0.1 * number * S), one)) for number in range(10)]
    assert chunks[0].path_H3 is not None
    assert chunks[0].facing_H is None
    assert chunks[-1].path_H3 is None
    assert chunks[-1].waits_s == pytest.approx(0.4, abs=0.06)
    turned_H = np.diff(chunks[-1].facing_H[4:13])
    np.testing.assert_allclose(turned_H, STEP_S * chunks[-1].action_HA[:8, 1], atol=0.001)
    assert chunks[-1].action_HA[1:, 0].max() == pytest.approx(0.4, abs=0.01)


@pytest.mark.parametrize("yaw", [0.0, 0.5, 1.0])
def test_its_path_leads_where_a_robot_goes_that_faces_off_the_way(yaw):
    """Expected as far along the way as one that faces it, the robot counted as late, and was turned back late."""
    memories, speed = circle(radius_m=1e4), 0.3
    decided = np.tile([speed, 1e-4], (12, 1))
    chunk = NearestDrive(2).act(asked(memories, (2.0, 0.0, yaw), speed, decided=decided))
    moved = chunk.path_H3[12] - chunk.path_H3[4]
    way_m = speed * 8 * STEP_S
    assert moved == pytest.approx([way_m * math.cos(yaw), way_m * math.sin(yaw), 0.0], abs=0.012)
