"""A robot that is driven: obeys late, within limits, stops at a touch or when told nothing, is judged by its task."""

import math

import numpy as np
import pytest

from wm_sim import STILL, TASKS, Driving, Simulation, make_building, make_task, simulate
from wm_sim.contact import ROBOT_RADIUS_M, Surroundings
from wm_sim.driving import SPEED_LIMIT_M_S, YAW_RATE_LIMIT_RAD_S
from wm_sim.pilot import Pilot
from wm_sim.settings import WorldConfig
from wm_sim.tasks import CONTACT_COST_M, Judge, Task

# Taken from runs of the former robot, that only drove by itself.
UNSTEERED = {
    0: (3.2, 8.4, 0.0, 1.1944706439971924, -0.04515096917748451),
    100: (8.503466177039412, 8.663346731501514, 1.2622989727000338, 0.8501304388046265, 1.361041784286499),
    599: (4.155036091295073, 3.1767911847814303, -3.0600901566046086, 1.0329967737197876, -0.1907816380262375),
}


def driven(seed=0, **options):
    return Simulation(seed, changes=STILL, image_size=(16, 16), driven_by="actions", **options)


@pytest.mark.slow
def test_robot_that_drives_by_itself_goes_where_it_always_went():
    for frame, step in enumerate(simulate(4, 30.0, image_size=(16, 16))):
        if frame in UNSTEERED:
            assert (*step.true_pose, *step.action_A) == pytest.approx(UNSTEERED[frame], abs=1e-6)


@pytest.mark.slow
def test_robot_that_drives_by_itself_takes_no_actions():
    with pytest.raises(ValueError, match="driven_by=actions"):
        Simulation(0).step((0.5, 0.0))


@pytest.mark.slow
@pytest.mark.parametrize("action", [(math.nan, 0.0), (0.0, math.inf), (1.0,), (1.0, 2.0, 3.0)])
def test_actions_that_are_none_are_refused(action):
    with pytest.raises(ValueError, match="action"):
        driven().step(action)


@pytest.mark.slow
def test_command_is_obeyed_after_its_delay_and_with_its_lag():
    simulation = driven(driving=Driving(delay_s=0.2, lag_s=0.1))
    simulation.step((0.5, 0.0))
    speeds = [simulation.step((0.5, 0.0)).motion_2[0] for _ in range(8)]
    expected = [0.5 * (1 - math.exp(-max(0.0, 0.05 * k - 0.2) / 0.1)) for k in range(1, 9)]
    assert speeds == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
def test_commands_beyond_the_limits_are_carried_out_at_the_limits():
    step = driven().step((1e6, -1e6))
    assert step.action_A == pytest.approx((SPEED_LIMIT_M_S, -YAW_RATE_LIMIT_RAD_S))


@pytest.mark.slow
def test_robot_that_is_told_nothing_for_half_a_second_stops():
    simulation = driven(driving=Driving(delay_s=0.0, lag_s=0.0))
    simulation.step((0.3, 0.0))
    speeds = [simulation.step().motion_2[0] for _ in range(14)]
    assert speeds[:9] == pytest.approx([0.3] * 9)
    assert speeds[10:] == [0.0] * 4


@pytest.mark.slow
def test_wall_is_touched_once_and_stops_the_robot_until_it_turns_away():
    bare = WorldConfig(furniture_count=0, movable_count=0)
    simulation = driven(driving=Driving(delay_s=0.0, lag_s=0.0), world=bare)
    for _ in range(25):
        simulation.step((0.0, math.pi / 2 / 1.25))
    for _ in range(400):
        step = simulation.step((0.5, 0.0))
    assert step.contact_count == 1
    assert step.motion_2[0] == 0.0
    clearance = Surroundings(simulation.building, np.zeros(0), lambda: np.zeros((0, 2))).clearance_m
    assert 0.0 <= clearance(*step.true_pose[:2]) < 0.02
    for _ in range(10):
        step = simulation.step((-0.5, 0.0))
    assert step.contact_count == 1
    assert clearance(*step.true_pose[:2]) > 0.2
    for _ in range(30):
        step = simulation.step((0.5, 0.0))
    assert step.contact_count == 2


def test_clearance_is_that_of_a_disc_among_walls_and_bodies():
    building = make_building(3)
    x, y = building.ring_E2[0] * 0.5 + building.ring_E2[1] * 0.5
    body_2 = np.array([[x + 0.5, y]])
    clearance = Surroundings(building, np.array([0.1]), lambda: body_2).clearance_m
    assert clearance(x, y) == pytest.approx(0.5 - 0.1 - ROBOT_RADIUS_M)
    start_2, end_2 = building.wall_start_S2[0], building.wall_end_S2[0]
    on_wall = clearance(*(0.5 * (start_2 + end_2)))
    assert on_wall == pytest.approx(-ROBOT_RADIUS_M)


@pytest.mark.slow
def test_people_give_way_to_a_standing_robot():
    nearest_m = []
    for seed in range(3):
        standing = Simulation(seed, driven_by="actions", image_size=(8, 8), rate_hz=2.0)
        steps = [(standing.step(), standing.bodies[0][-3:].copy()) for _ in range(400)]
        assert max(step.contact_count for step, _ in steps) == 0
        nearest_m += [np.hypot(*(people_N2 - step.true_pose[:2]).T).min() for step, people_N2 in steps]
    assert 0.4 < min(nearest_m) < 1.0


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("seed", range(3))
def test_the_pilot_does_every_task_in_time_without_contact(name, seed):
    building = make_building(seed)
    task = make_task(name, building, seed)
    simulation = driven(seed, task=task)
    pilot, rewards, action = Pilot(simulation, task), [], None
    while True:
        step = simulation.step(action)
        rewards.append(step.outcome.reward)
        if not step.outcome.goes_on:
            break
        action = pilot.steer(step)
    assert step.outcome.has_succeeded
    assert step.contact_count == 0
    assert sum(rewards) == pytest.approx(Judge(task, building).left_m, abs=0.6)


def test_judge_takes_a_contact_off_and_ends_at_the_time_limit():
    building = make_building(0)
    (ax, ay), (bx, by) = building.ring_E2[:2]
    yaw = math.atan2(by - ay, bx - ax)
    task = Task("reach_image", (ax, ay, yaw), ((bx, by, yaw),), math.dist((ax, ay), (bx, by)), 3.0)
    judge = Judge(task, building)
    halfway = (0.5 * (ax + bx), 0.5 * (ay + by), yaw)
    outcome = judge.judge(1.0, halfway, 1.0, 1)
    assert outcome.reward == pytest.approx(0.5 * task.length_m - CONTACT_COST_M, abs=0.15)
    assert outcome.goes_on
    assert not judge.judge(6.1, halfway, 1.0, 1).goes_on
    there = judge.judge(5.0, (bx, by, yaw), 0.0, 1)
    assert (there.goes_on, there.has_succeeded) == (False, False)


def test_task_of_no_name_is_refused():
    with pytest.raises(ValueError, match="reach_image"):
        make_task("fly", make_building(0), 0)


def test_tasks_lie_apart_as_stated_and_differ_by_seed():
    building = make_building(1)
    tasks = [make_task("reach_image", building, seed) for seed in range(20)]
    assert all(3.0 <= task.length_m <= 20.0 for task in tasks)
    assert len({task.goal for task in tasks}) == 20
