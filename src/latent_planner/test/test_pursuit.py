"""Where the robot is by now, what it is told, and how old what is known of it is."""

import math
from itertools import pairwise

import numpy as np
import pytest
from latent_planner.goals import GoalError
from latent_planner.ground import Ground
from latent_planner.ground_settings import GroundSettings
from latent_planner.limits import Limits
from latent_planner.mppi import MppiSettings
from latent_planner.planner import Planner
from latent_planner.pursuit import Pursuit, PursuitSettings, stepwise
from latent_planner.vehicle import Vehicle
from latent_planner.watch import Beat, InputWatch

from wm_core.se2 import Pose2
from world_model.runtime.motion_model import MotionModel
from world_model.runtime.own_motion import OwnMotion

STEP_S = 0.05
UNICYCLE = MotionModel(
    weights=((0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0)), delay_steps=2, lag_steps=2.4,
    residual_share=(0.0, 0.0, 0.0),
)  # fmt: skip
TRACK_N3 = np.column_stack([np.arange(0.0, 8.0, 0.2), np.zeros(40), np.zeros(40)])
FIELD = Ground(TRACK_N3, np.zeros(40, int), GroundSettings()).field(np.array([6.0, 0.0]))
FEW = MppiSettings(plans=200, steps=30)


def pursuit(model=UNICYCLE, *, judge=None, **given):
    motion = OwnMotion(model, STEP_S, 2, (STEP_S, 1.0), 1.0, calibrate=False)
    return Pursuit(motion, PursuitSettings(step_s=STEP_S, mppi=FEW, **{"is_obeyed": True, **given}), judge)


class Robot:
    """Does what it is told after the model's delay and lag, and is seen ``late`` steps later."""

    def __init__(self, late):
        self.body, self.pose = Vehicle(UNICYCLE, STEP_S, 2), Pose2(0.0, 0.0, 0.0, 0.0)
        self.seen, self.late, self.steps = [(0, self.pose, np.zeros(2))], late, 0

    def obey(self, command_A):
        moved_3 = self.body.roll_out(np.zeros(3), np.asarray(command_A, float)[None, None])[0, 0]
        self.body.told(command_A)
        self.pose, self.steps = self.pose.moved(moved_3), self.steps + 1
        self.seen[-1] = (*self.seen[-1][:2], np.asarray(command_A, float))
        self.seen.append((round(self.steps * STEP_S * 1e9), self.pose, np.asarray(command_A, float)))


@pytest.mark.parametrize("late", [0, 3])
def test_where_the_robot_is_by_now_follows_from_the_commands_since_its_last_frame(late):
    robot, driver = Robot(late), pursuit(replan_every=2)
    driver.observe(*robot.seen[0])
    driver.drive_to(np.array([6.0, 0.0, 0.0]), FIELD)
    missed = []
    for step in range(40):
        if step >= late:
            stamp_ns, pose, action_A = robot.seen[step - late]
            driver.observe(stamp_ns, pose, action_A)
        decision, pose_3 = driver.step(min(step, late) * STEP_S)
        missed.append(math.dist(pose_3[:2], (robot.pose.x, robot.pose.y)))
        robot.obey(decision.command_A)
    assert robot.pose.x > 0.8
    # Less than it drives in half a step.
    assert max(missed) < 0.025


def test_a_robot_that_stood_where_it_was_told_to_drive_can_still_be_planned_for():
    """A while without wheels: that nothing moves it foretells best then, and cannot be planned with."""
    motion = OwnMotion(UNICYCLE, STEP_S, 2, (STEP_S, 1.0), 1.0)
    driver = Pursuit(motion, PursuitSettings(step_s=STEP_S, mppi=FEW, is_obeyed=True))
    x_m = -14.0
    for step in range(600):
        # It rolls on as it did, whatever it is told.
        x_m += 0.5 * STEP_S
        turn = 1.0 if step // 20 % 2 else -1.0
        driver.observe(round(step * STEP_S * 1e9), Pose2(x_m, 0.0, 0.0, 0.0), np.array([0.0, turn]))
    assert motion.calibration is not None
    assert not motion.model.weights
    driver.check()
    driver.drive_to(np.array([6.0, 0.0, 0.0]), FIELD)
    assert driver.step(0.0)[0].command_A.shape == (2,)


def test_plans_are_made_anew_as_often_as_asked_and_followed_in_between():
    driver = pursuit(replan_every=3)
    driver.observe(0, Pose2(0.0, 0.0, 0.0, 0.0), np.zeros(2))
    driver.drive_to(np.array([6.0, 0.0, 0.0]), FIELD)
    decisions = [driver.step(0.0)[0] for _ in range(7)]
    assert [len(each.sample_BS3) for each in decisions] == [16, 0, 0, 16, 0, 0, 16]
    for one, other in pairwise(decisions[:3]):
        assert other.command_A == pytest.approx(one.plan_SA[0], abs=1e-6)
    assert stepwise(10.0, 0.05) == 2
    assert stepwise(50.0, 0.05) == 1


def test_limits_hold_from_command_to_command_beginning_with_what_the_robot_does():
    limits = Limits(high=(1.0, 2.0), rate=(2.0, 6.0), jerk=(20.0, 60.0))
    driver = pursuit(limits=limits)
    driver.observe(0, Pose2(0.0, 0.0, 0.0, 0.0), np.array([0.5, 0.0]))
    driver.drive_to(np.array([6.0, 0.0, 0.0]), FIELD)
    command_SA = np.array([[0.5, 0.0], *(driver.step(0.0)[0].command_A for _ in range(30))])
    change_SA = np.diff(command_SA, axis=0)
    assert (np.abs(change_SA) <= np.array(limits.rate) * STEP_S + 1e-6).all()
    assert (np.abs(np.diff(change_SA, axis=0)) <= np.array(limits.jerk) * STEP_S**2 + 1e-6).all()
    assert command_SA[:, 0].max() <= 1.0 + 1e-6


def test_a_robot_that_is_not_obeying_is_planned_for_as_it_moves():
    driver = pursuit(is_obeyed=False)
    driver.observe(0, Pose2(0.0, 0.0, 0.0, 0.0), np.array([0.9, 0.0]))
    driver.drive_to(np.array([6.0, 0.0, 0.0]), FIELD)
    first, later = driver.step(0.0)[0], [driver.step(0.0)[0] for _ in range(5)][-1]
    for decision in (first, later):
        assert decision.command_A[0] == pytest.approx(0.9, abs=0.16)
        assert decision.path_S3[0, 0] == pytest.approx(0.9 * STEP_S, abs=0.01)


def test_a_robot_whose_motion_is_unknown_is_not_driven():
    driver = pursuit(MotionModel())
    with pytest.raises(GoalError, match="drive it by hand") as error:
        driver.drive_to(np.array([6.0, 0.0, 0.0]), FIELD)
    assert error.value.reason == "motion"
    assert not driver.is_driving
    with pytest.raises(ValueError, match="no goal"):
        driver.step(0.0)


def test_speed_is_the_slope_of_its_poses_whatever_their_noise():
    rng, driver = np.random.default_rng(0), pursuit()
    assert math.isnan(driver.speed_m_s())
    for at in range(40):
        x = 0.4 * at * STEP_S + rng.normal(0.0, 0.02)
        driver.observe(round(at * STEP_S * 1e9), Pose2(x, 0.0, 0.0, 0.0), np.array([0.4, 0.0]))
    assert driver.speed_m_s() == pytest.approx(0.4, abs=0.05)
    # Time that jumped back, or a frame once more.
    driver.observe(0, Pose2(0.0, 0.0, 0.0, 0.0), None)
    driver.observe(0, Pose2(9.0, 0.0, 0.0, 0.0), None)
    assert driver.pose_3.tolist() == [0.0, 0.0, 0.0]
    assert math.isnan(driver.speed_m_s())


def test_plans_that_the_judge_refuses_do_not_count():
    def left_only(pose_3, plan_BSA, pose_BS3):
        asked.append((pose_3, plan_BSA.shape, pose_BS3.shape))
        return pose_BS3[:, -1, 1] > 0.0

    asked = []
    vehicle = Vehicle(UNICYCLE, STEP_S, 2)
    planner = Planner(vehicle, Limits(), mppi=FEW, judge=left_only)
    planner.drive_to(np.array([6.0, 0.0, 0.0]), FIELD)
    decision = planner.decide(np.zeros(3), 0.0)
    assert asked[0][1:] == ((16, 30, 2), (16, 30, 3))
    assert decision.path_S3[-1, 1] > 0.0
    standing = Planner(vehicle, Limits(), mppi=FEW, judge=lambda pose_3, plan_BSA, pose_BS3: np.zeros(16, bool))
    standing.drive_to(np.array([6.0, 0.0, 0.0]), FIELD)
    assert not any(standing.decide(np.zeros(3), 0.0).command_A)


def test_the_age_of_inputs_is_that_of_their_frames_whatever_clock_stamps_them():
    for offset_s in (0.0, -3600.0, 3600.0):
        watch = InputWatch(0.5)
        assert watch.is_stale(0.0)
        assert math.isinf(watch.lag_s(0.0))
        for at in range(20):
            watch.take(round((at * 0.05 + offset_s) * 1e9), round((at * 0.05 + 0.06) * 1e9), at * 0.05 + 0.06)
        now_s = 19 * 0.05 + 0.06
        assert watch.lag_s(now_s) == pytest.approx(0.06 if offset_s == 0.0 else 0.0, abs=1e-6)
        assert not watch.is_stale(now_s + 0.49)
        assert watch.is_stale(now_s + 0.51)
        # Frames that come, but ever later.
        watch.take(round((20 * 0.05 + offset_s) * 1e9), round((20 * 0.05 + 0.06 + 0.6) * 1e9), now_s + 0.65)
        assert watch.is_stale(now_s + 0.65)


def test_the_same_frame_again_is_nothing_new_and_a_clock_set_back_is_a_new_one():
    watch = InputWatch(0.5)
    watch.take(10**9, 10**9, 0.0)
    watch.take(10**9, 2 * 10**9, 1.0)
    assert watch.is_stale(1.0)
    watch.take(5 * 10**8, 3 * 10**9, 2.0)
    assert not watch.is_stale(2.0)


def test_a_frame_that_comes_before_its_clock_makes_the_next_ones_no_later():
    """A simulator that is started anew goes on a minute later: its first frame came by the clock of the former."""
    watch, now_s = InputWatch(0.5), 0.0
    for at in range(5):
        now_s = 0.05 * at
        watch.take(round(now_s * 1e9), round((now_s + 0.01) * 1e9), now_s)
    watch.take(60 * 10**9, round((now_s + 0.01) * 1e9), now_s + 10.0)
    watch.take(round(60.05 * 1e9), round(60.06 * 1e9), now_s + 10.05)
    assert not watch.is_stale(now_s + 10.1)
    # What is held up on the way is late all the same.
    watch.take(round(60.1 * 1e9), round(61.8 * 1e9), now_s + 11.79)
    assert watch.is_stale(now_s + 11.79)


@pytest.mark.parametrize("slower", [1.0, 1.7, 5.0, 20.0])
def test_steps_are_taken_as_often_as_the_clock_says(slower):
    beat, tick_s = Beat(STEP_S), STEP_S / slower
    # Ticks come late now and then, never early.
    late_N = np.random.default_rng(0).choice([0.0, 0.4 * tick_s], 2000, p=[0.9, 0.1])
    due_s = np.array([now_s for now_s in (np.arange(2000) * tick_s + late_N).tolist() if beat.is_due(now_s)])
    assert len(due_s) == pytest.approx(2000 / slower, rel=0.01, abs=1)
    assert (due_s[4:] - due_s[:-4]).min() >= 3 * STEP_S


def test_who_was_held_up_owes_no_more_than_the_next_step_and_a_late_tick_takes_none_away():
    beat = Beat(STEP_S)
    assert beat.is_due(0.0)
    assert beat.is_due(10.0)
    assert [beat.is_due(10.0 + 0.01 * at) for at in range(1, 11)].count(True) == 2
    beat = Beat(STEP_S)
    assert all(beat.is_due(now_s) for now_s in (0.0, 0.09, 0.1, 0.19, 0.2, 0.29, 0.3))
