"""Pose errors: their size, their slowness, their latency."""

import numpy as np
import pytest

from wm_sim import EXACT, PoseNoise
from wm_sim.poses import PoseSensor

TRUE = (3.0, -2.0, 0.5)


def measured(noise, seed=1, count=4000, period_s=0.05):
    sensor = PoseSensor(noise, seed)
    readings = [sensor.measure(k * period_s, TRUE) for k in range(count)]
    times = np.arange(count) * period_s
    return np.array([pose for pose, _ in readings]) - TRUE, np.array([arrival for _, arrival in readings]) - times


def test_exact_is_exact_and_at_once():
    error, latency = measured(EXACT, count=50)
    assert (error == 0).all()
    assert (latency == 0).all()


def test_white_noise_has_its_standard_deviation_and_no_memory():
    error, _ = measured(PoseNoise(drift_std_m=0, drift_std_rad=0))
    assert error.std(axis=0) == pytest.approx([0.02, 0.02, 0.01], rel=0.05)
    assert abs(np.corrcoef(error[1:, 0], error[:-1, 0])[0, 1]) < 0.05


def test_drift_has_its_standard_deviation_and_forgets_in_its_time():
    noise = PoseNoise(position_std_m=0, yaw_std_rad=0, drift_std_m=0.5, drift_std_rad=0.1, drift_time_s=2.0)
    error, _ = measured(noise, count=40000)
    assert error.std(axis=0) == pytest.approx([0.5, 0.5, 0.1], rel=0.1)
    lag = round(noise.drift_time_s / 0.05)
    assert np.corrcoef(error[lag:, 1], error[:-lag, 1])[0, 1] == pytest.approx(np.exp(-1), abs=0.08)
    assert np.abs(np.diff(error[:, 0])).max() < 0.6


def test_drift_does_not_depend_on_the_rate_of_poses():
    noise = PoseNoise(position_std_m=0, yaw_std_rad=0, drift_std_m=0.5, drift_time_s=2.0)
    error, _ = measured(noise, count=20000, period_s=0.2)
    assert error[:, 0].std() == pytest.approx(0.5, rel=0.1)


def test_latency_is_as_stated_and_keeps_the_order():
    _, latency = measured(PoseNoise(latency_s=0.03, latency_jitter_s=0.005))
    assert latency.mean() == pytest.approx(0.03, abs=0.001)
    assert latency.std() == pytest.approx(0.005, rel=0.1)
    sensor = PoseSensor(PoseNoise(latency_s=0.01, latency_jitter_s=0.2), 3)
    arrivals = [sensor.measure(k * 0.02, TRUE)[1] for k in range(500)]
    assert (np.diff(arrivals) >= 0).all()
    assert all(arrival >= k * 0.02 for k, arrival in enumerate(arrivals))


def test_heading_stays_within_half_a_turn():
    sensor = PoseSensor(PoseNoise(yaw_std_rad=1.0), 1)
    yaws = [sensor.measure(k * 0.05, (0.0, 0.0, 3.1))[0][2] for k in range(200)]
    assert max(np.abs(yaws)) <= np.pi
