"""Plans along remembered ground are kept, and such as leave it refused, by what the memory has to say there."""

from __future__ import annotations

import numpy as np
import pytest
from latent_planner.ground import Ground
from latent_planner.ground_settings import GroundSettings
from latent_planner.judging import SurpriseJudge
from latent_planner.limits import Limits
from latent_planner.planner import Planner
from latent_planner.vehicle import Vehicle

from wm_core.memory.journal import Area, WindowUpdate
from wm_core.memory.packed import Packed
from wm_core.memory.record import MemoryRecord, Successor
from wm_core.memory.window import Window
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.motion_model import MotionModel

STEP_S, STAMP_NS = 0.05, 1_000_000_000_000


def track(encoder_id, count=60, radius_m=100.0, has_actions=True):
    """Returns a window of memories each 0.2 m along x, a minute old."""
    action_A = np.array([1.0, 0.0] if has_actions else [], np.float32)
    rng = np.random.default_rng(0)
    look_ND = np.cumsum(rng.normal(0.0, 0.1, (count, 32)), axis=0).astype(np.float32)
    records = [
        MemoryRecord(STAMP_NS - 60_000_000_000 + at * 200_000_000, look_D, 0.2 * at, 0.0, id=at + 1, yaw=0.0,
                     encoder_id=encoder_id, session="one", action_A=action_A,
                     successors=(Successor(1.0, 1.0, look_ND[min(at + 5, count - 1)]),))
        for at, look_D in enumerate(look_ND)
    ]  # fmt: skip
    window, area = Window(), Area(0.0, 0.0, radius_m)
    packed = Packed.of(records, encoder_id, "map", 32, len(action_A))
    newest_ns = records[-1].stamp_ns
    window.apply(
        WindowUpdate(1, 1, True, "first", area, newest_ns, None, radius_m > 10.0, packed, np.empty(0, int)), area
    )
    return window, look_ND


def plans(sideways_m):
    """Returns plans that go 1 m/s ahead and drift aside, [B, 56, 2] and [B, 56, 3]."""
    x_S = STEP_S * np.arange(1, 57)
    pose_BS3 = np.stack([np.column_stack([x_S, aside * x_S / x_S[-1], np.zeros(56)]) for aside in sideways_m])
    return np.tile([1.0, 0.0], (len(pose_BS3), 56, 1)), pose_BS3


@pytest.fixture(scope="module")
def artifact():
    return load_artifact("artifact://tiny")


def test_plans_that_leave_what_is_remembered_are_refused(artifact):
    window, look_ND = track(artifact.manifest.encoder_id)
    judge = SurpriseJudge(artifact, STEP_S, margin=0.05)
    judge.begin(STAMP_NS, np.zeros(3), look_ND[0], window)
    plan_BSA, pose_BS3 = plans([0.0, 0.05, 30.0, -40.0])
    assert judge(np.zeros(3), plan_BSA, pose_BS3).tolist() == [True, True, False, False]
    assert judge.refused_count == 2


def test_one_always_passes_and_none_is_refused_where_nothing_is_known(artifact):
    window, look_ND = track(artifact.manifest.encoder_id)
    judge = SurpriseJudge(artifact, STEP_S, margin=0.0)
    plan_BSA, pose_BS3 = plans([30.0, 40.0])
    assert judge(np.zeros(3), plan_BSA, pose_BS3).all()
    judge.begin(STAMP_NS, np.zeros(3), look_ND[0], window)
    assert judge(np.zeros(3), plan_BSA, pose_BS3).any()
    for other in (None, Window(), track("another")[0]):
        judge.begin(STAMP_NS, np.zeros(3), look_ND[0], other)
        assert judge(np.zeros(3), plan_BSA, pose_BS3).all()


def turning():
    """Returns a plan that stands and one that turns round where it is, [2, 56, 2] and [2, 56, 3]."""
    plan_BSA, pose_BS3 = np.zeros((2, 56, 2)), np.zeros((2, 56, 3))
    plan_BSA[1, :, 1] = 1.0
    pose_BS3[1, :, 2] = STEP_S * np.arange(1, 57)
    return plan_BSA, pose_BS3


def test_who_stands_or_turns_round_is_not_refused_and_no_measure_for_who_drives(artifact):
    window, look_ND = track(artifact.manifest.encoder_id)
    judge = SurpriseJudge(artifact, STEP_S, margin=0.05)
    judge.begin(STAMP_NS, np.zeros(3), look_ND[0], window)
    both = [np.concatenate(each) for each in zip(turning(), plans([30.0, 30.5]))]
    assert judge(np.zeros(3), *both).all()
    three = [np.concatenate(each) for each in zip(turning(), plans([0.0, 30.0]))]
    assert judge(np.zeros(3), *three).tolist() == [True, True, True, False]
    assert judge(np.zeros(3), *turning()).all()


@pytest.mark.slow
def test_a_robot_whose_goal_lies_behind_it_turns_round(artifact):
    """It has been here looking ahead, and never looked back: what it sees there nobody can foresee."""
    window, look_ND = track(artifact.manifest.encoder_id)
    judge, manifest = SurpriseJudge(artifact, STEP_S, margin=0.05), artifact.manifest
    model = MotionModel.from_manifest(manifest.motion)
    pose_N3 = np.column_stack([0.2 * np.arange(60), np.zeros(60), np.zeros(60)])
    planner = Planner(Vehicle(model, STEP_S, 2), Limits(), judge=judge)
    planner.drive_to(
        np.array([1.0, 0.0, np.nan]), Ground(pose_N3, np.zeros(60, int), GroundSettings()).field(np.array([1.0, 0.0]))
    )
    body, pose_3 = Vehicle(model, STEP_S, 2), np.array([6.0, 0.0, 0.0])
    for step in range(100):
        judge.begin(STAMP_NS + step * 50_000_000, pose_3, look_ND[30], window)
        command_A = planner.decide(pose_3, 0.5, replan=step % 2 == 0).command_A
        pose_3 = body.roll_out(pose_3, np.asarray(command_A, float)[None, None])[0, 0]
        body.told(command_A)
    assert np.cos(pose_3[2]) < -0.8
    assert pose_3[0] < 5.5


def test_plans_that_lead_out_of_the_window_and_memories_without_actions_are_no_fault(artifact):
    judge = SurpriseJudge(artifact, STEP_S, margin=0.05)
    plan_BSA, pose_BS3 = plans([0.0, 0.05, 30.0, -40.0])
    near, look_ND = track(artifact.manifest.encoder_id, radius_m=5.0)
    judge.begin(STAMP_NS, np.zeros(3), look_ND[0], near)
    assert judge(np.zeros(3), plan_BSA, pose_BS3).all()
    judge.begin(STAMP_NS, np.zeros(3), look_ND[0], track(artifact.manifest.encoder_id, has_actions=False)[0])
    assert judge(np.zeros(3), plan_BSA, pose_BS3).tolist() == [True, True, False, False]
