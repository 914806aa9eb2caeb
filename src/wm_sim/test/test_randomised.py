"""Random worlds: the same by seed, within their ranges, driven without leaving the corridors, told in other numbers."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wm_sim import RANGES, ActionMeaning, draw_world, make_building
from wm_sim.building import CELL_M
from wm_sim.driving import PathFollower
from wm_sim.randomised import FRAME_RATES_HZ, KINDS, POSE_RATES_HZ, STEERING, WHEELS

WORLDS = [draw_world(seed) for seed in range(300)]


def test_a_seed_gives_one_world_and_another_seed_another():
    assert [draw_world(seed) for seed in range(300)] == WORLDS
    assert len(set(map(str, WORLDS))) == 300
    with pytest.raises(ValueError, match="seed is -1"):
        draw_world(-1)


@pytest.mark.parametrize(
    ("name", "value_of"),
    [
        ("width_deg", lambda world: world.camera.width_deg),
        ("camera_height_m", lambda world: world.camera.height_m),
        ("tilt_deg", lambda world: world.camera.tilt_deg),
        ("exposure", lambda world: world.camera.exposure),
        ("white_balance", lambda world: world.camera.red),
        ("white_balance", lambda world: world.camera.blue),
        ("ceiling_m", lambda world: world.world.ceiling_m),
        ("speed_m_s", lambda world: world.driving.speed_m_s),
        ("latency_s", lambda world: world.pose_noise.latency_s),
        ("position_std_m", lambda world: world.pose_noise.position_std_m),
        ("image_noise_std", lambda world: world.changes.image_noise_std),
        ("action_scale", lambda world: abs(world.meaning.scale[0])),
        ("action_scale", lambda world: abs(world.meaning.scale[1])),
        ("wheelbase_m", lambda world: world.meaning.wheelbase_m),
    ],
)
def test_values_fill_their_range_and_stay_within_it(name, value_of):
    low, high = RANGES[name]
    values = np.array([value_of(world) for world in WORLDS])
    assert (low <= values).all()
    assert (values <= high).all()
    assert values.max() - values.min() > 0.9 * (high - low)


def test_everything_that_is_chosen_is_chosen_sometimes():
    assert {world.frame_rate_hz for world in WORLDS} == set(FRAME_RATES_HZ)
    assert {world.pose_rate_hz for world in WORLDS} == set(POSE_RATES_HZ)
    assert {(world.meaning.kind, world.meaning.swapped) for world in WORLDS} == {
        (kind, swapped) for kind in KINDS for swapped in (False, True)
    }
    assert {tuple(value > 0 for value in world.meaning.scale) for world in WORLDS} == {
        (first, second) for first in (False, True) for second in (False, True)
    }
    assert 0.7 < np.mean([world.texture_seed is not None for world in WORLDS]) < 0.9


def test_what_was_drawn_can_be_written_and_read():
    for world in WORLDS[:20]:
        assert json.loads(json.dumps(world.to_json())) == world.to_json()
    assert WORLDS[0].to_json()["camera"]["tilt_deg"] == WORLDS[0].camera.tilt_deg


@pytest.mark.slow
def test_robots_stay_in_the_corridors_however_late_they_obey():
    late = sorted(range(300), key=lambda seed: -WORLDS[seed].driving.delay_s - WORLDS[seed].driving.lag_s)[:8]
    for seed in late:
        building = make_building(seed, WORLDS[seed].world)
        robot = PathFollower(building, WORLDS[seed].driving, seed)
        for step in range(1, 1200):
            robot.advance(step * 0.05)
            x, y, _ = robot.pose_at(step * 0.05)
            assert building.free_YX[int(y / CELL_M), int(x / CELL_M)], (seed, step, WORLDS[seed].driving)


def test_meanings_by_hand():
    commands = np.array([[1.0, 0.5], [0.0, 0.3], [0.5, -1.0]])
    assert ActionMeaning().told(commands).tolist() == commands.astype(np.float32).tolist()
    swapped = ActionMeaning(scale=(2.0, -1.0), offset=(0.1, 0.0), swapped=True).told(commands)
    assert swapped == pytest.approx(np.array([[-0.5, 2.1], [-0.3, 0.1], [1.0, 1.1]]))
    wheels = ActionMeaning(WHEELS, wheelbase_m=0.4).told(commands)
    assert wheels == pytest.approx(np.array([[0.9, 1.1], [-0.06, 0.06], [0.7, 0.3]]))
    # Standing, the front wheels stay as they were.
    turned = [math.atan(0.4 * 0.5), math.atan(0.4 * 0.5), math.atan(-0.4 / 0.5)]
    assert ActionMeaning(STEERING, wheelbase_m=0.4).told(commands)[:, 1] == pytest.approx(turned)
    assert ActionMeaning(STEERING).told(commands[1:2]).tolist() == [[0.0, 0.0]]
    with pytest.raises(ValueError, match=r"kind is 'legs', expected twist, steering, wheels"):
        ActionMeaning("legs")
    with pytest.raises(ValueError, match=r"wheelbase_m is 0\.0 m"):
        ActionMeaning(wheelbase_m=0.0)


@given(st.integers(0, 10**6), st.lists(st.tuples(st.floats(0.1, 1.5), st.floats(-1.0, 1.0)), min_size=1, max_size=5))
def test_a_meaning_can_be_undone_wherever_the_robot_drives(seed, commands):
    meaning = draw_world(seed).meaning
    told_T2 = meaning.told(np.array(commands)).astype(float)
    first_T, second_T = (told_T2[:, ::-1] if meaning.swapped else told_T2).T
    one_T = (first_T - meaning.offset[0]) / meaning.scale[0]
    two_T = (second_T - meaning.offset[1]) / meaning.scale[1]
    speed_T, yaw_rate_T = one_T, two_T
    if meaning.kind == WHEELS:
        speed_T, yaw_rate_T = (one_T + two_T) / 2, (two_T - one_T) / meaning.wheelbase_m
    elif meaning.kind == STEERING:
        yaw_rate_T = one_T * np.tan(two_T) / meaning.wheelbase_m
    limited = meaning.kind == STEERING and (np.abs(two_T) > 0.89).any()
    assert speed_T == pytest.approx([speed for speed, _ in commands], abs=1e-5)
    assert limited or yaw_rate_T == pytest.approx([turn for _, turn in commands], abs=1e-4)
