"""Inputs that arrive and cannot be used are named; those that can are left alone."""

import re

import numpy as np
import pytest

from latent_publisher.diagnosis import InputDoctor
from wm_core.alignment import ActionStatus, ActionTrack, Jump, Kind, PoseStatus, PoseTrack

S = 1_000_000_000
BOOT_S = 1.7e9


def run(
    rate_hz: float = 20.0,
    pose_hz: float = 20.0,
    pose_off_s: float = 0.0,
    pose_until_s: float = 1e9,
    frames: tuple[str, ...] = ("map",),
    action_off_s: float = 0.0,
    seconds: float = 8.0,
    standing: str = "",
    is_stamped: bool = True,
) -> dict[str, str | None]:
    """What the doctor says at the end of a drive: everything arrives at its own time and carries these offsets."""
    doctor, poses, actions = InputDoctor(0.25, 0.5), PoseTrack(max_age_s=0.25), ActionTrack(2)
    start_ns = int(BOOT_S * S)
    events = [(i / rate_hz, "frame", i) for i in range(int(seconds * rate_hz))]
    events += [(i / pose_hz, "pose", i) for i in range(int(min(seconds, pose_until_s) * pose_hz))]
    events += [(i / 20.0, "action", i) for i in range(int(seconds * 20))]
    order = {"pose": 0, "action": 1, "frame": 2}
    for second, kind, i in sorted(events, key=lambda event: (event[0], order[event[1]])):
        now_ns = start_ns + int(second * S)
        if kind == "pose":
            stamp_ns = start_ns + S if standing == "poses" else now_ns + int(pose_off_s * S)
            poses.insert(stamp_ns, np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]))
            doctor.pose(stamp_ns, now_ns, frames[i % len(frames)])
        elif kind == "action":
            stamp_ns = start_ns + S if standing == "actions" else now_ns + int(action_off_s * S)
            actions.insert(stamp_ns, np.zeros(2))
            doctor.action(stamp_ns, now_ns, is_stamped)
        else:
            doctor.frame(now_ns, usable=True)
            doctor.state(poses.at(now_ns).status, actions.at(now_ns).status)
    return doctor.findings(start_ns + int(seconds * S))


@pytest.mark.parametrize("rate_hz", [5, 7, 10, 15, 30, 60, 120])
@pytest.mark.parametrize("pose_hz", [7, 50, 200])
def test_inputs_that_can_be_used_are_left_alone(rate_hz, pose_hz):
    assert set(run(rate_hz, pose_hz).values()) == {None}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pose_off_s": -BOOT_S + 5}, r"poses lie 1\.7e\+09 s before the frames: another clock\? Synchronise"),
        ({"pose_off_s": 3600.0}, r"poses lie 3\.6e\+03 s after the frames: another clock"),
        ({"frames": ("map", "f" * 200)}, "poses come in turns in the frames 'f{60}' and 'map': two publishers"),
        (
            {"pose_off_s": 2.0},
            r"poses lie 2\.05 s after the frames that came with them: another clock",
        ),
        ({"pose_off_s": -0.6}, r"poses lie 0\.5\d* s before the frames, more than pose_max_age_s 0\.25 s.*raise"),
        ({"pose_until_s": 3.0}, "poses have stopped"),
        ({"pose_hz": 0.8}, r"poses come each 1\.25 s, too seldom for pose_max_age_s 0\.25 s"),
        ({"standing": "poses"}, r"stamps of poses do not move \(1700000001\.000 s\): .*fill header\.stamp"),
        ({"frames": ("map", "odom")}, "poses come in turns in the frames 'map' and 'odom': two publishers"),
    ],
)
def test_poses_of_no_use_are_named_with_the_cause_and_the_remedy(changes, said):
    found = run(**changes)
    assert found["pose_input"] is not None
    assert re.search(said, found["pose_input"])
    assert found["action_input"] is None


def test_actions_of_another_clock_are_named():
    found = run(action_off_s=-60.0)
    assert found["action_input"] is not None
    assert "actions lie 60 s before the frames: another clock?" in found["action_input"]
    assert found["pose_input"] is None


def test_actions_whose_stamps_stand_are_no_other_clock():
    found = run(standing="actions")
    assert "stamps of actions do not move (1700000001.000 s)" in (found["action_input"] or "")
    found = run(standing="actions", is_stamped=False)
    assert "does not move (1700000001.000 s): does /clock, for use_sim_time?" in (found["action_input"] or "")
    assert found["pose_input"] is None


def test_a_localisation_that_is_not_initialised_is_named():
    doctor = InputDoctor(0.25, 0.5)
    for _ in range(30):
        doctor.refused_pose("length 0.0000 of [0.0, 0.0, 0.0, 0.0], expected 1")
    said = doctor.findings(0)["pose_input"]
    assert said is not None
    assert "is the localisation initialised?" in said
    for i in range(40):
        doctor.pose(i, i, "map")
    assert doctor.findings(0)["pose_input"] is None


@pytest.mark.parametrize(("stamp_ns", "said"), [(0, "stamp 0"), (5 * S, "the stamp of the frame before")])
def test_a_camera_that_does_not_stamp_is_named(stamp_ns, said):
    doctor = InputDoctor(0.25, 0.5)
    doctor.frame(stamp_ns, usable=True)
    for _ in range(30):
        doctor.frame(stamp_ns, usable=False)
    assert said in (doctor.findings(0)["camera_input"] or "")


def test_a_jump_of_time_is_no_other_clock():
    doctor = InputDoctor(0.25, 0.5)
    for i in range(40):
        doctor.frame(i * S // 20, usable=True)
        doctor.state(PoseStatus.TOO_OLD, ActionStatus.HELD)
        doctor.pose(-100 * S, i * S // 20, "map")
    assert doctor.findings(2 * S)["pose_input"] is not None
    doctor.restart()
    assert doctor.findings(2 * S)["pose_input"] is None


def test_jumps_of_poses_are_named_as_long_as_they_matter():
    doctor = InputDoctor(0.25, 0.5)

    def named(kind: Kind, later_s: float = 0.0) -> dict[str, str | None]:
        doctor.jumped(Jump(5 * S, kind, 3.0, 1.0, 0.05), 100 * S)
        found = doctor.findings(100 * S + round(later_s * S))
        return {key: text for key, text in found.items() if text is not None}

    assert list(named(Kind.CORRECTED)) == ["pose_jump"]
    assert named(Kind.CORRECTED, 11.0) == {}
    assert "the odometry began again" in named(Kind.RESTARTED, 3600.0)["pose_frame"]
    assert named(Kind.RETURNED, 11.0) == {}
    assert "by 3.0 m and 57 degrees within 0.05 s" in named(Kind.RESTARTED_UNKNOWN, 3600.0)["pose_frame"]
    doctor.restart()
    assert set(doctor.findings(4000 * S).values()) == {None}
