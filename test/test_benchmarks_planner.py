"""What the benchmark of planning compares: ways begun elsewhere, known and free ground, ranks, memories asked."""

from __future__ import annotations

import numpy as np
import pytest
from latent_planner.costs import GoalLatent, Imagined, TotalCost
from latent_planner.imagination import Imagination

from benchmarks.planner_agreement import clear, furthest_m, placed, ranked, summed_up
from benchmarks.planner_driven import tasks_of
from benchmarks.planner_loop import StepByStep
from benchmarks.planner_world import Seen, standpoint, vehicle_of, window_of
from wm_core.se2 import Pose2
from wm_sim import Simulation
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.retrieved import MemoryRequest, Present, appearance_arrays


def test_a_way_is_carried_along_with_where_it_begins():
    way_113 = np.array([[[2.0, 1.0, 0.5]]])
    moved = placed(way_113, np.array([1.0, 1.0, 0.0]), np.array([5.0, 5.0, np.pi / 2]))
    np.testing.assert_allclose(moved[0, 0], [5.0, 6.0, 0.5 + np.pi / 2])


def test_known_is_what_lies_and_faces_near_a_memory():
    memory_N3 = np.array([[0.0, 0.0, 3.1], [1.0, 0.0, 0.0]])
    ways = np.array([[[0.0, 0.3, -3.1]], [[1.0, 0.0, 1.0]]])
    np.testing.assert_allclose(furthest_m(ways, memory_N3), [0.3 + 2 * np.pi - 6.2, 1.0], atol=1e-6)


def test_clear_is_what_the_simulator_would_not_call_a_contact():
    run = Simulation(9500, image_size=(8, 8))
    x, y, yaw = run.step().true_pose
    at_wall = run.building.wall_start_S2[0]
    ways = np.array([[[x, y, yaw]], [[at_wall[0], at_wall[1], 0.0]]])
    assert clear(run, ways).tolist() == [True, False]
    body = run.bodies[0][0]
    assert not clear(run, np.array([[[body[0], body[1], 0.0]]]))[0]


class Costing:
    """A decision that costs what is seen at the last step."""

    def cost_of(self, imagined, latent_BSD):
        goal = GoalLatent(np.zeros(2), np.ones(2))
        return TotalCost([(1.0, goal)])(Imagined(imagined.plan_BSA, imagined.pose_BS3, latent_BSD))


def test_ranks_and_regrets_worked_out_by_hand():
    seen = np.arange(1.0, 5.0)[:, None, None] * np.ones((4, 1, 2))
    one, steps = seen + 0.1, seen[::-1].copy()
    imagined = Imagined(np.zeros((4, 1, 2)), np.zeros((4, 1, 3)))
    found = ranked(Costing(), imagined, {"one_call": one, "steps": steps}, seen, np.ones(2))
    assert found["one_call_and_truth"] == pytest.approx(1.0)
    assert found["steps_and_truth"] == found["one_call_and_steps"] == pytest.approx(-1.0)
    assert found["one_call_regret"] == 0.0
    assert found["steps_regret"] == pytest.approx(16.0 - 1.0)
    assert found["one_call_nmse"] == pytest.approx(0.01)
    told = summed_up([(1, found), (1, found), (2, found)])
    assert (told["places"], told["buildings"]) == (3, 2)
    assert told["one_call_less_steps_and_truth"]["interval"] == pytest.approx([2.0, 2.0])


@pytest.fixture(scope="module")
def place():
    artifact = load_artifact("artifact://tiny")
    rng = np.random.default_rng(0)
    along = np.arange(60) * 0.05
    pose_T3 = np.stack([along, 0.1 * np.sin(along), 0.1 * np.cos(along)], axis=1)
    seen = Seen(pose_T3, rng.normal(size=(60, 2)).astype(np.float32), rng.normal(size=(60, 32)).astype(np.float32))
    window = window_of([seen], artifact.manifest.encoder_id, artifact.manifest.step_s)
    begun = standpoint(artifact, seen, 20, window.newest_ns + 3_600_000_000_000)
    imagination = Imagination(artifact, vehicle_of(artifact, seen, 20))
    imagination.begin(begun, window)
    return artifact, window, begun, imagination


def test_step_by_step_reads_what_the_predictor_would_of_memories_that_look_alike(place):
    artifact, window, begun, imagination = place
    manifest, retrieval = artifact.manifest, imagination.retrieval
    # The last stands where nothing is remembered.
    here_B3 = np.array([[0.5, 0.0, 0.0], [2.0, 0.1, 0.3], [40.0, 0.0, 0.0]])
    rng = np.random.default_rng(1)
    latent_BD, action_BA = rng.normal(size=(3, 32)).astype(np.float32), rng.normal(size=(3, 2)).astype(np.float32)
    stepwise = StepByStep(artifact, imagination, window)
    ours = [value.numpy() for value in stepwise._appearance(begun.stamp_ns, here_B3, latent_BD, action_BA)]
    names = ("appearance_latent", "appearance_feature", "appearance_valid")
    for row, (x, y, yaw) in enumerate(here_B3.tolist()):
        pose = Pose2(x, y, 0.0, yaw)
        request = MemoryRequest(
            horizon_s=0.0, pose=pose, latent_D=latent_BD[row], rank="latent", radius_m=retrieval.radius_m,
            yaw_tolerance_rad=retrieval.yaw_tolerance_rad, yaw_weight_m=retrieval.yaw_weight_m,
            k=retrieval.appearance_k, exclude_recent_s=retrieval.exclude_recent_s, stamp_ns=begun.stamp_ns,
            successors=True,
        )  # fmt: skip
        found = window.neighbours(window.query_batch([request.to_query(manifest.encoder_id)])[0].row_K)
        present = Present(begun.stamp_ns, pose, action_BA[row])
        theirs = appearance_arrays(found, present, retrieval.appearance_k, manifest.z_dim, retrieval)
        for name, value in zip(names, ours):
            np.testing.assert_allclose(value[row], theirs[name][0], atol=1e-6, err_msg=name)
    assert ours[2].any(axis=1).tolist() == [True, True, False]


def test_the_first_step_is_the_same_in_one_call_and_step_by_step(place):
    artifact, window, begun, imagination = place
    plan_BSA = np.random.default_rng(2).uniform(0.0, 1.0, (5, 3, 2)).astype(np.float32)
    one = imagination.imagine(plan_BSA).latent_BSD
    steps = StepByStep(artifact, imagination, window).imagine(begun, plan_BSA)
    np.testing.assert_allclose(steps[:, 0], one[:, 0], atol=1e-4)
    assert np.abs(steps[:, 2] - one[:, 2]).max() > 1e-3


def test_goals_lie_ahead_of_where_a_drive_begins():
    for task in tasks_of(9501):
        assert task.goal != task.start
        assert 0.0 < task.length_m < 3.0
