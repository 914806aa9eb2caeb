"""A robot driven by the planner, in a building that it has seen once."""

import math

import numpy as np
import pytest
from latent_planner.goals import GoalError, look_up
from latent_planner.ground import Ground
from latent_planner.ground_settings import GroundSettings
from latent_planner.limits import Limits
from latent_planner.planner import Planner, State
from latent_planner.vehicle import Vehicle

from wm_sim import STILL, Simulation, make_building, make_task, simulate
from world_model.runtime.motion_model import MotionModel

STEP_S = 0.05
UNICYCLE = MotionModel(
    weights=((0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0)), delay_steps=2, lag_steps=2.4,
    residual_share=(0.0, 0.0, 0.0),
)  # fmt: skip


def drive(seed, task_seed):
    task = make_task("reach_image", make_building(seed), task_seed)
    lap = simulate(seed, 45.0, image_size=(8, 8), changes=STILL)
    pose_N3 = np.array([step.pose for step in lap])[::4]
    field = Ground(pose_N3, np.zeros(len(pose_N3), int), GroundSettings()).field(np.array(task.goal[:2]))
    planner = Planner(Vehicle(UNICYCLE, STEP_S, 2), Limits(high=(1.2, 2.0)))
    planner.drive_to(np.array(task.goal), field)
    run = Simulation(seed + 500, building_seed=seed, image_size=(8, 8), changes=STILL, driven_by="actions", task=task)
    step, decisions = run.step(), []
    while step.outcome.goes_on:
        decisions.append(planner.decide(np.array(step.pose), float(step.motion_2[0])))
        step = run.step(decisions[-1].command_A)
    return step, decisions


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "task_seed"), [(0, 0), (1, 1003), (5, 7)])
def test_the_goal_is_reached_in_time_without_contact(seed, task_seed):
    step, decisions = drive(seed, task_seed)
    assert step.outcome.has_succeeded
    assert step.contact_count == 0
    assert decisions[0].state is State.DRIVING
    assert decisions[0].sample_BS3.shape == (16, 56, 3)


def test_a_planner_without_goal_or_with_a_pose_that_is_none_is_refused():
    planner = Planner(Vehicle(UNICYCLE, STEP_S, 2), Limits())
    with pytest.raises(ValueError, match="no goal"):
        planner.decide(np.zeros(3), 0.0)
    track_N3 = np.column_stack([np.arange(0.0, 3.0, 0.2), np.zeros(15), np.zeros(15)])
    known = Ground(track_N3, np.zeros(15, int), GroundSettings())
    planner.drive_to(np.array([2.0, 0.0, 0.0]), known.field(np.array([2.0, 0.0])))
    with pytest.raises(ValueError, match="not finite"):
        planner.decide(np.array([0.0, math.nan, 0.0]), 0.0)


def circle(count=40, radius_m=5.0):
    angle_N = np.linspace(0.0, 2 * math.pi, count, endpoint=False)
    return np.column_stack([radius_m * np.cos(angle_N), radius_m * np.sin(angle_N), angle_N])


def test_a_picture_is_looked_up_where_it_was_seen():
    pose_N3, rng = circle(), np.random.default_rng(0)
    look_ND = np.repeat(rng.normal(size=(8, 16)), 5, axis=0) + 0.01 * rng.normal(size=(40, 16))
    found = look_up(look_ND[12], look_ND, pose_N3)
    assert found.memory == 12
    assert found.pose_3 == pytest.approx(pose_N3[12], abs=0.9)


def corridor(count=41, spacing_m=0.1):
    """Memories along a straight line whose look turns smoothly with the way, and the look at any place between."""
    x_N = spacing_m * np.arange(count)
    wave_2D = np.random.default_rng(0).normal(size=(2, 24)) * [[0.8], [0.0]]

    def look(x):
        return np.sin(np.multiply.outer(x, wave_2D[0]) + wave_2D[1] + np.arange(24.0)).astype(np.float32)

    return look(x_N), np.column_stack([x_N, np.zeros(count), np.zeros(count)]), look


@pytest.mark.parametrize(("other", "is_refused"), [(0.9, False), (0.96, True)])
def test_five_memories_that_agree_outweigh_a_place_that_looks_nearly_alike(other, is_refused):
    """By hand: ten memories at unit distance from the picture at one place, ten a little further at another."""
    pose_N3 = np.zeros((20, 3))
    pose_N3[:, 0] = np.tile(np.linspace(0.0, 0.2, 10), 2) + np.repeat([0.0, 9.0], 10)
    look_ND = np.eye(20) * np.repeat([1.0, 1.0 / other], 10)
    look_ND[0] *= 0.999
    if is_refused:
        with pytest.raises(GoalError, match=r"ratio 0\.96"):
            look_up(np.zeros(20), look_ND, pose_N3)
    else:
        assert look_up(np.zeros(20), look_ND, pose_N3).memory == 0


@pytest.mark.parametrize("x", [1.05, 2.0, 2.03, 2.98])
def test_the_pose_of_a_picture_lies_between_the_memories_and_not_on_one(x):
    look_ND, pose_N3, look = corridor()
    found = look_up(look(x), look_ND, pose_N3)
    assert found.pose_3 == pytest.approx([x, 0.0, 0.0], abs=0.03)


def test_a_pose_is_refined_across_half_a_turn():
    look_ND, pose_N3, look = corridor()
    pose_N3[:, 2] = np.where(np.arange(41) % 2, np.pi - 0.02, -np.pi + 0.02)
    found = look_up(look(2.05), look_ND, pose_N3)
    assert abs(abs(found.pose_3[2]) - np.pi) < 0.05


def test_a_memory_that_stands_alone_gives_its_own_pose():
    look_ND, pose_N3, look = corridor(count=3, spacing_m=5.0)
    assert look_up(look(5.0), look_ND, pose_N3).pose_3 == pytest.approx(pose_N3[1])


def test_places_that_all_look_the_same_give_the_best_one_s_own_pose():
    pose_N3 = np.column_stack([0.1 * np.arange(5), np.zeros(5), np.zeros(5)])
    assert look_up(np.ones(8), np.ones((5, 8)), pose_N3).pose_3 == pytest.approx(pose_N3[0])


def test_places_that_look_alike_are_named_and_not_guessed():
    look_ND = np.tile(np.repeat(np.random.default_rng(0).normal(size=(4, 16)), 5, axis=0), (2, 1))
    with pytest.raises(GoalError, match="nearly as much like it") as error:
        look_up(look_ND[3], look_ND, circle())
    assert error.value.reason == "ambiguous"


@pytest.mark.parametrize("wanted_D", [np.zeros(3), np.full(16, np.nan)])
def test_foreign_looks_are_refused(wanted_D):
    with pytest.raises(GoalError) as error:
        look_up(wanted_D, np.zeros((4, 16)), circle(4))
    assert error.value.reason == "foreign"


def test_an_empty_memory_is_named():
    with pytest.raises(GoalError, match="empty"):
        look_up(np.zeros(16), np.zeros((0, 16)), np.zeros((0, 3)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_robot_that_faces_away_turns_round(seed):
    """Turning left and turning right cost the same; the mean of both would creep on straight away from the goal."""
    track_N3 = np.column_stack([np.arange(0.0, 10.0, 0.2), np.zeros(50), np.zeros(50)])
    field = Ground(track_N3, np.zeros(50, int), GroundSettings()).field(np.array([9.0, 0.0]))
    planner = Planner(Vehicle(UNICYCLE, STEP_S, 2), Limits(high=(1.2, 2.0)), seed=seed)
    planner.drive_to(np.array([9.0, 0.0, 0.0]), field)
    x, y, yaw = 5.0, 0.0, math.pi
    for step in range(60):
        speed_m_s, turn_rad_s = planner.decide(np.array([x, y, yaw]), 0.0, replan=step % 2 == 0).command_A
        yaw += turn_rad_s * STEP_S
        x, y = x + speed_m_s * STEP_S * math.cos(yaw), y + speed_m_s * STEP_S * math.sin(yaw)
    assert abs(math.remainder(yaw, 2 * math.pi)) < 1.0
    assert x > 5.2
