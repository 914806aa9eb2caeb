"""What is made of poses that err and of commands, against the simulator's own robot and against plain cases."""

from __future__ import annotations

import math

import numpy as np
import pytest

from policy_runner.estimate import Estimate, EstimateSettings, twist_of
from policy_runner.nearest_drive import NOTHING, STEERING_ANGLE, YAW_RATE
from wm_sim import Driving, PoseNoise
from wm_sim.poses import PoseSensor
from wm_sim.vehicle import Vehicle

S = 1_000_000_000
WHITE = PoseNoise(drift_std_m=0.0, drift_std_rad=0.0, latency_s=0.0, latency_jitter_s=0.0)


def driven(seed, estimate, seconds=20.0):
    """Yields time [ns], true pose, measured pose and estimate, twenty times a second, of a robot driving a wave."""
    vehicle, sensor = Vehicle((0.0, 0.0, 0.0), Driving()), PoseSensor(WHITE, seed)
    rng = np.random.default_rng(seed)
    for number in range(round(seconds * 20)):
        now_s = number / 20
        true_3 = vehicle.pose_after(0.0)
        pose_3 = np.array(sensor.measure(now_s, true_3)[0])
        yield round(now_s * S), np.array(true_3), pose_3, estimate.measured(round(now_s * S), pose_3)
        command = np.array([1.0, 1.2 * math.sin(now_s) + 0.2 * rng.normal()])
        vehicle.obey(tuple(command))
        estimate.commanded(round(now_s * S), command)
        for _ in range(5):
            vehicle.step()


def off(some_3, other_3):
    return math.dist(some_3[:2], other_3[:2]), abs(math.remainder(some_3[2] - other_3[2], 2 * math.pi))


@pytest.mark.parametrize("seed", [3, 5])
def test_white_noise_becomes_less_than_half(seed):
    rows = [(off(true, told), off(true, pose)) for _, true, pose, told in driven(seed, Estimate())][40:]
    told_2, measured_2 = (np.sqrt(np.mean(np.square(column), axis=0)) for column in zip(*rows))
    assert (told_2 < 0.6 * measured_2).all(), (told_2, measured_2)


def test_where_it_will_be_when_a_command_acts_is_foreseen():
    """Against where the robot truly was then, beside taking it for still being where it was measured."""
    estimate, later_ns = Estimate(), S // 5
    foreseen, truth = {}, {}
    for now_ns, true, pose, _ in driven(4, estimate):
        truth[now_ns], foreseen[now_ns + later_ns] = true, (estimate.at(now_ns + later_ns), pose)
    rows = [
        (off(truth[t], said), off(truth[t], was)) for t, (said, was) in foreseen.items() if t in truth and t > 2 * S
    ]
    said_2, was_2 = (np.sqrt(np.mean(np.square(column), axis=0)) for column in zip(*rows))
    assert (said_2 < 0.5 * was_2).all(), (said_2, was_2)


def test_what_is_still_to_be_commanded_counts():
    estimate = Estimate(EstimateSettings(response_s=0.0))
    estimate.commanded(0, np.array([0.0, 0.0]))
    estimate.measured(0, np.zeros(3))
    assert estimate.at(S // 2)[0] == pytest.approx(0.0, abs=1e-6)
    assert estimate.at(S // 2, [(S // 10, np.array([1.0, 0.0]))])[0] == pytest.approx(0.4, abs=0.01)
    assert estimate.at(S // 2)[0] == pytest.approx(0.0, abs=1e-6)


def test_a_robot_that_is_held_is_soon_known_to_stand():
    """It is told to go on at 1 m/s and touches something: the poses win over the commands."""
    estimate = Estimate()
    for twentieth in range(40):
        estimate.commanded(twentieth * S // 20, np.array([1.0, 0.0]))
        told_3 = estimate.measured(twentieth * S // 20, np.zeros(3))
    assert abs(told_3[0]) < 0.1


@pytest.mark.parametrize("stamp_ns", [0, -S, 5 * S])
def test_time_that_goes_back_or_far_ahead_begins_anew(stamp_ns):
    estimate = Estimate()
    estimate.measured(0, np.array([1.0, 2.0, 0.5]))
    assert estimate.measured(stamp_ns, np.array([3.0, 2.0, 0.5])) == pytest.approx([3.0, 2.0, 0.5])
    assert estimate.at(stamp_ns) == pytest.approx([3.0, 2.0, 0.5])


def test_a_robot_that_is_found_elsewhere_is_there():
    estimate = Estimate()
    estimate.measured(0, np.zeros(3))
    assert estimate.measured(S // 20, np.array([5.0, 0.0, 0.0]))[0] == 5.0


def test_what_a_pose_tells_of_itself_counts():
    sure, unsure = Estimate(), Estimate()
    for estimate in (sure, unsure):
        for twentieth in range(20):
            estimate.measured(twentieth * S // 20, np.zeros(3))
    beside_3 = np.array([0.0, 0.1, 0.0])
    sure_m = sure.measured(S, beside_3, np.array([0.005, 0.005, 0.01]))[1]
    unsure_m = unsure.measured(S, beside_3, np.array([0.5, 0.5, 0.01]))[1]
    assert unsure_m < 0.01 < 0.05 < sure_m
    assert sure.measured(S + S // 20, beside_3, np.full(3, np.nan))[1] > unsure_m


def test_nothing_is_known_before_a_pose_or_long_after_it():
    estimate = Estimate()
    assert estimate.at(0) is None
    estimate.measured(0, np.zeros(3))
    assert estimate.at(2 * S) is None


def test_commands_mean_what_the_robot_takes_them_for():
    assert twist_of(YAW_RATE, 0.3)(np.array([1.0, 0.5]), 0.2) == (1.0, 0.5)
    speed, rate = twist_of(STEERING_ANGLE, 0.3)(np.array([1.0, 0.1]), 0.6)
    assert (speed, rate) == pytest.approx((1.0, 0.6 * math.tan(0.1) / 0.3))
    assert twist_of(NOTHING, 0.3)(np.array([1.0, 0.1]), 0.6) is None


def test_noise_that_is_none_is_refused():
    with pytest.raises(ValueError, match="above 0"):
        EstimateSettings(position_std_m=0.0)
