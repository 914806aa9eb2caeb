"""Whole runs: repeatable, coming back, changing between visits unless told not to."""

import itertools
import math

import numpy as np
import pytest

from wm_sim import EXACT, STILL, Driving, Simulation, make_building, simulate
from wm_sim.building import CELL_M, path_distance_m, wall_distance_m
from wm_sim.changes import LivingWorld
from wm_sim.driving import PathFollower
from wm_sim.settings import Changes, WorldConfig
from wm_sim.things import PATH_CLEARANCE_M, make_things

REVISIT_S, REVISIT_M, REVISIT_RAD = 20.0, 1.0, math.radians(30)


def driven(seed, duration_s, rate_hz=10.0, **driving):
    robot = PathFollower(make_building(seed), Driving(**driving), seed)
    poses = []
    for k in range(round(duration_s * rate_hz)):
        robot.advance(k / rate_hz)
        poses.append(robot.pose_at(k / rate_hz))
    return np.array(poses)


def near(poses, pose):
    distance = np.hypot(*(poses[:, :2] - pose[:2]).T)
    turn = np.abs((poses[:, 2] - pose[2] + math.pi) % (2 * math.pi) - math.pi)
    return (distance < REVISIT_M) & (turn < REVISIT_RAD)


@pytest.mark.slow
def test_same_seed_same_run_bit_for_bit():
    for one, other in zip(simulate(4, 3.0, depth=True), simulate(4, 3.0, depth=True)):
        assert np.array_equal(one.image_HWC, other.image_HWC)
        assert np.array_equal(one.depth_HW, other.depth_HW)
        assert (one.stamp_s, one.true_pose, one.pose) == (other.stamp_s, other.true_pose, other.pose)
        assert one.pose_arrival_s == other.pose_arrival_s
        assert np.array_equal(one.action_A, other.action_A)


@pytest.mark.slow
def test_other_seed_other_run():
    one, other = next(simulate(4, 1.0)), next(simulate(5, 1.0))
    assert not np.array_equal(one.image_HWC, other.image_HWC)


@pytest.mark.slow
def test_same_building_driven_twice_looks_the_same_but_is_driven_otherwise():
    one = list(simulate(1, 5.0, building_seed=9, changes=STILL))
    other = list(simulate(2, 5.0, building_seed=9, changes=STILL))
    assert np.abs(one[0].image_HWC.astype(int) - other[0].image_HWC).mean() < 5
    assert one[-1].true_pose != other[-1].true_pose


@pytest.mark.slow
def test_step_describes_the_frame():
    steps = list(simulate(0, 2.0, rate_hz=10.0, image_size=(48, 80), depth=True))
    assert len(steps) == 20
    assert [step.stamp_s for step in steps] == pytest.approx(np.arange(20) / 10)
    last = steps[-1]
    assert (last.image_HWC.shape, last.image_HWC.dtype) == ((48, 80, 3), np.uint8)
    assert (last.depth_HW.shape, last.depth_HW.dtype) == ((48, 80), np.float32)
    assert (last.action_A.shape, last.action_A.dtype) == ((2,), np.float32)
    assert next(simulate(0, 1.0)).depth_HW is None


@pytest.mark.slow
def test_motion_is_the_same_at_every_camera_rate_and_whatever_changes():
    slow = [step.true_pose for step in simulate(7, 4.0, rate_hz=10.0)]
    fast = [step.true_pose for step in simulate(7, 4.0, rate_hz=20.0, changes=STILL, pose_noise=EXACT)]
    assert np.array(slow) == pytest.approx(np.array(fast[::2]), abs=1e-9)


@pytest.mark.slow
def test_exact_poses_are_the_true_ones():
    assert all(step.pose == step.true_pose for step in simulate(3, 2.0, pose_noise=EXACT))


@pytest.mark.parametrize("seed", range(6))
def test_robot_comes_back_and_stays_clear_of_walls_and_things(seed):
    poses = driven(seed, 150.0)
    building = make_building(seed)
    clearance = wall_distance_m(building)[(poses[:, 1] / CELL_M).astype(int), (poses[:, 0] / CELL_M).astype(int)]
    assert clearance.min() > 0.3
    lap = next(i for i in range(150, len(poses)) if near(poses[[0]], poses[i]).any())
    assert 25.0 <= lap / 10 <= 45.0
    later = range(lap + 30, len(poses), 5)
    old = round(REVISIT_S * 10)
    revisits = [near(poses[: i - old], poses[i]).any() for i in later]
    assert np.mean(revisits) > 0.9


def test_detours_follow_their_probability():
    always, never = driven(0, 90.0, detour_probability=1.0), driven(0, 90.0, detour_probability=0.0)
    building = make_building(0)
    middle = building.ring_E2[list(building.shortcut)].mean(axis=0)
    assert np.hypot(*(always[:, :2] - middle).T).min() < 0.3
    assert np.hypot(*(never[:, :2] - middle).T).min() > 0.8


def test_action_leads_to_motion_after_delay_and_lag():
    robot = PathFollower(make_building(0), Driving(delay_s=0.2, lag_s=0.1), 0)
    robot.advance(0.19)
    assert robot.speed_m_s == 0.0
    command = robot.command[0]
    assert command > 0.5
    robot.advance(0.3)
    assert 0.3 * command < robot.speed_m_s < 0.9 * command
    instant = PathFollower(make_building(0), Driving(delay_s=0.0, lag_s=0.0), 0)
    instant.advance(0.01)
    assert instant.speed_m_s > 0.5


def test_pose_between_steps_continues_the_arc():
    robot = PathFollower(make_building(0), Driving(), 0)
    robot.advance(5.004)
    between = robot.pose_at(5.004)
    whole = robot.pose_at(robot.time_s)
    moved = math.hypot(between[0] - whole[0], between[1] - whole[1])
    assert moved == pytest.approx(0.004 * robot.speed_m_s, rel=1e-3)


def frame_at(seed, pose, times_s, changes):
    simulation = Simulation(seed, changes=changes, image_size=(64, 64))
    world, renderer = simulation._world, simulation._renderer
    images = []
    for time_s in times_s:
        world.advance(time_s, (-50.0, -50.0))
        images.append(renderer.render(pose, world.light_YX3, world.position_N2, world.yaw_N)[0].astype(int))
    return images


@pytest.mark.slow
def test_places_look_different_on_the_second_visit_unless_still():
    x, y = make_building(0).ring_E2[0]
    way = make_building(0).ring_E2[1] - (x, y)
    pose = (x, y, math.atan2(way[1], way[0]))
    first, second = frame_at(0, pose, (0.0, 45.0), STILL)
    assert np.array_equal(first, second)
    first, second = frame_at(0, pose, (0.0, 45.0), Changes())
    difference = np.abs(first - second).mean()
    assert 1.0 < difference < 60.0


def world_of(changes, seed=0):
    building = make_building(seed)
    things = make_things(building, WorldConfig(), changes.walker_count)
    return building, things, LivingWorld(building, things, changes, seed)


@pytest.mark.slow
def test_objects_move_only_far_from_the_robot_and_never_into_its_way():
    changes = Changes(move_interval_s=2.0, walker_count=0)
    building, things, world = world_of(changes)
    robot = tuple(building.ring_E2[0])
    before = world.position_N2.copy()
    for second in range(1, 60):
        old = world.position_N2.copy()
        world.advance(float(second), robot)
        moved = np.flatnonzero((world.position_N2 != old).any(axis=1))
        assert all(math.dist(place[i], robot) > 5.0 for i in moved for place in (old, world.position_N2))
    moved = (world.position_N2 != before).any(axis=1)
    assert moved.any()
    assert not moved[: things.furniture_count].any()
    assert path_distance_m(building.edges_E22, world.position_N2).min() >= PATH_CLEARANCE_M - 1e-9


@pytest.mark.slow
def test_walkers_walk_at_their_speed_beside_the_middle_of_the_corridors():
    building, things, world = world_of(Changes(walker_count=4, walker_speed_m_s=0.6))
    first = things.furniture_count + things.movable_count
    track = []
    for k in range(600):
        world.advance(k * 0.1, (-50.0, -50.0))
        track.append(world.position_N2[first:].copy())
        assert all(building.free_YX[int(y / CELL_M), int(x / CELL_M)] for x, y in track[-1])
    steps = np.linalg.norm(np.diff(track, axis=0), axis=-1)
    assert steps.max() <= 0.06 + 1e-9
    assert np.median(steps) == pytest.approx(0.06)


@pytest.mark.slow
def test_light_changes_slowly_and_stays_when_still():
    _, _, still = world_of(STILL)
    _, _, lively = world_of(Changes(lamp_switch_interval_s=0.0))
    start, start_lively = still.light_YX3.copy(), lively.light_YX3.astype(int)
    largest = 0
    for k in range(1, 1200):
        still.advance(k * 0.1, (0.0, 0.0))
        before = lively.light_YX3.astype(int)
        lively.advance(k * 0.1, (0.0, 0.0))
        largest = max(largest, np.abs(lively.light_YX3 - before).max())
    assert np.array_equal(still.light_YX3, start)
    assert largest <= 8
    assert np.abs(lively.light_YX3 - start_lively).max() > 10


def test_lamps_go_off_and_on_again():
    _, _, world = world_of(Changes(daylight_swing=0.0, lamp_std=0.0, lamp_switch_interval_s=20.0))
    full = world.light_YX3.astype(int)
    sums = []
    for second in range(1, 120):
        world.advance(float(second), (0.0, 0.0))
        sums.append(world.light_YX3.astype(int).sum())
    assert min(sums) < 0.95 * full.sum()
    assert any(b > a for a, b in itertools.pairwise(sums))
