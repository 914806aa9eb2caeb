"""Settings: what cannot be is refused with its value and unit."""

import pytest

from wm_sim import STILL, Changes, Driving, PoseNoise, Simulation, WorldConfig, simulate


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PoseNoise(latency_s=-0.1), r"PoseNoise.latency_s is -0.1 s, expected 0.0 to 10.0 s"),
        (lambda: PoseNoise(drift_time_s=0.0), r"drift_time_s is 0.0 s"),
        (lambda: PoseNoise(position_std_m=float("nan")), r"position_std_m is nan m"),
        (lambda: Changes(daylight_swing=2.0), r"daylight_swing is 2.0, expected 0.0 to 0.6"),
        (lambda: Changes(walker_count=-1), r"walker_count is -1"),
        (lambda: Changes(walker_speed_m_s=9.0), r"walker_speed_m_s is 9.0 m/s"),
        (lambda: Driving(speed_m_s=3.0), r"speed_m_s is 3.0 m/s, expected 0.2 to 1.25 m/s"),
        (lambda: Driving(detour_probability=1.5), r"detour_probability is 1.5"),
        (lambda: WorldConfig(corridor_m=0.5), r"corridor_m is 0.5 m, expected 1.2 to 1.8 m"),
        (lambda: WorldConfig(movable_count=1000), r"movable_count is 1000"),
        (lambda: Simulation(-1), r"seed is -1"),
        (lambda: Simulation(1, rate_hz=0.0), r"rate_hz is 0.0 Hz, expected 0.1 to 100 Hz"),
        (lambda: Simulation(1, image_size=(2, 2)), r"image_size is \(2, 2\)"),
        (lambda: simulate(1, 0.0), r"duration_s is 0.0 s"),
        (lambda: simulate(1, float("nan")), r"duration_s is nan s"),
    ],
)
def test_impossible_values_are_named_with_their_unit(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_still_changes_nothing():
    assert (STILL.daylight_swing, STILL.lamp_std, STILL.walker_count, STILL.image_noise_std) == (0, 0, 0, 0)
    assert (STILL.lamp_switch_interval_s, STILL.move_interval_s) == (0, 0)
