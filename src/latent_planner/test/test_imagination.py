"""Plans imagined in one call are those that a plain caller of the transition would forecast one by one."""

import math

import numpy as np
import pytest
import torch
from latent_planner.imagination import TOP_K, Imagination, Standpoint
from latent_planner.on_gpu import OnGpu
from latent_planner.vehicle import Vehicle

from wm_core.memory.journal import Area, WindowUpdate
from wm_core.memory.packed import Packed
from wm_core.memory.record import MemoryRecord
from wm_core.memory.window import Window
from wm_core.se2 import Pose2
from wm_testing.repeated import Repeated
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.conditioning import motion_features
from world_model.runtime.motion_model import MotionModel, expected_error
from world_model.runtime.retrieved import Present, anticipated_arrays, appearance_arrays
from world_model.runtime.tensors import Observed, Retrieved

NOW_NS = 4_000_000_000_000
POSE_3 = np.array([1.0, 0.1, 0.2])


@pytest.fixture(scope="module")
def artifact():
    return load_artifact("artifact://tiny")


def window(encoder_id, count=120, seed=0):
    rng = np.random.default_rng(seed)
    records = [
        MemoryRecord(
            id=number + 1, stamp_ns=int(1e9 * 0.1 * number), latent_D=rng.normal(size=32).astype(np.float32),
            x=0.05 * number - 1.0, y=0.2 * rng.normal(), yaw=0.2 * rng.normal(), session="a", encoder_id=encoder_id,
            action_A=rng.normal(size=2).astype(np.float32),
        )
        for number in range(count)
    ]  # fmt: skip
    packed = Packed.of(records, encoder_id, "map", 32, 2)
    held, area = Window(), Area(0.0, 0.0, 100.0)
    newest_ns = max((record.stamp_ns for record in records), default=0)
    held.apply(WindowUpdate(1, 1, True, "first", area, newest_ns, None, True, packed, np.empty(0, np.int64)), area)
    return held


def begun(artifact, held, **settings):
    manifest = artifact.manifest
    vehicle = Vehicle(MotionModel.from_manifest(manifest.motion), manifest.step_s, 2)
    imagination = Imagination(artifact, vehicle, **settings)
    latent_D = np.random.default_rng(1).normal(size=32).astype(np.float32)
    imagination.begin(Standpoint(NOW_NS, POSE_3, latent_D), held)
    return imagination, latent_D


def exactly(imagination, plan_BSA):
    """What the processor imagines, rolled out in double precision as a GPU does."""
    # Where memories lie equally near but for single precision, others would be found.
    return imagination.imagine(plan_BSA.astype(np.float64))


def plainly(artifact, held, latent_D, action_A, pose, horizon_s):
    """One row as the live predictor makes it, without what followed what looks like the present."""
    manifest, transition = artifact.manifest, artifact.transition()
    imagination, _ = begun(artifact, held)
    retrieval = imagination.retrieval
    here = Pose2(*POSE_3[:2], 0.0, POSE_3[2])
    row_K = held.nearest_poses(
        np.array([[pose.x, pose.y, pose.yaw]]), TOP_K, radius_m=retrieval.radius_m,
        yaw_tolerance_rad=retrieval.yaw_tolerance_rad, yaw_weight_m=retrieval.yaw_weight_m,
    ).row_GK[0]  # fmt: skip
    found = held.neighbours(row_K[row_K >= 0])
    present = Present(NOW_NS, here, action_A)
    arrays = anticipated_arrays([found], [pose], present, TOP_K, 32, retrieval)
    arrays |= appearance_arrays(imagination._appearance, present, retrieval.appearance_k, 32, retrieval)
    arrays |= {"successor_latent": np.zeros((1, 1, 4, 32), np.float32), "successor_valid": np.zeros((1, 1, 4), bool)}
    dx, dy = pose.x - here.x, pose.y - here.y
    moved_3 = np.array([
        dx * math.cos(here.yaw) + dy * math.sin(here.yaw), dy * math.cos(here.yaw) - dx * math.sin(here.yaw),
        pose.yaw - here.yaw,
    ])  # fmt: skip
    std_3 = expected_error(MotionModel.from_manifest(manifest.motion), [horizon_s])[0]
    latent, action = torch.from_numpy(latent_D[None]), torch.from_numpy(action_A[None])
    observed = Observed(
        transition.observe(latent, action, transition.initial(1)), latent, action,
        torch.from_numpy(motion_features(moved_3, std_3, retrieval)[None, None]), torch.tensor([[horizon_s]]),
        torch.zeros(1, manifest.history_dim), torch.zeros(1, dtype=torch.int64),
    )  # fmt: skip
    with torch.inference_mode():
        forecast, _, gate = transition.forecast(
            observed, Retrieved(**{k: torch.from_numpy(v) for k, v in arrays.items()})
        )
    return forecast[0, 0].numpy(), float(gate[0, 0])


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_every_step_of_every_plan_is_what_one_row_alone_gives(artifact, threads):
    held = window(artifact.manifest.encoder_id)
    imagination, latent_D = begun(artifact, held, threads=threads)
    plan_BSA = np.random.default_rng(2).uniform((0.0, -1.0), (1.0, 1.0), (5, 4, 2)).astype(np.float32)
    imagined = imagination.imagine(plan_BSA)
    for plan, step in [(0, 0), (1, 3), (4, 2)]:
        x, y, yaw = imagined.pose_BS3[plan, step]
        expected_D, gate = plainly(artifact, held, latent_D, plan_BSA[plan, 0], Pose2(x, y, 0.0, yaw), 0.2 * (step + 1))
        assert imagined.latent_BSD[plan, step] == pytest.approx(expected_D, abs=1e-4)
        assert imagined.surprise_BS[plan, step] == pytest.approx(1.0 - gate, abs=1e-4)


def test_steps_are_rolled_out_as_commands_held_at_the_vehicle_s_own_rate(artifact):
    imagination, _ = begun(artifact, window(artifact.manifest.encoder_id))
    plan_BSA = np.random.default_rng(3).uniform((0.0, -1.0), (1.0, 1.0), (3, 5, 2)).astype(np.float32)
    manifest = artifact.manifest
    vehicle = Vehicle(MotionModel.from_manifest(manifest.motion), manifest.step_s, 2)
    fine_BT3 = vehicle.roll_out(POSE_3, np.repeat(plan_BSA, 4, axis=1).astype(np.float64))
    assert imagination.imagine(plan_BSA).pose_BS3 == pytest.approx(fine_BT3[:, 3::4], abs=1e-5)


@pytest.mark.parametrize("held", [None, Window()])
def test_without_memories_it_is_all_surprise(artifact, held):
    imagination, _ = begun(artifact, held)
    imagined = imagination.imagine(np.zeros((2, 3, 2), np.float32))
    assert imagined.surprise_BS == pytest.approx(1.0)
    assert np.isfinite(imagined.latent_BSD).all()


def test_it_is_refused_where_it_makes_no_sense(artifact):
    manifest = artifact.manifest
    vehicle = Vehicle(MotionModel.from_manifest(manifest.motion), manifest.step_s, 2)
    with pytest.raises(ValueError, match="multiple"):
        Imagination(artifact, vehicle, decision_s=0.07)
    with pytest.raises(ValueError, match="begin"):
        Imagination(artifact, vehicle).imagine(np.zeros((1, 1, 2)))


@pytest.mark.parametrize("count", [120, 3, 0])
def test_what_a_gpu_does_is_what_the_processor_does(artifact, count, monkeypatch):
    """With a stand-in for the graphs of the GPU; the state before is handed on, and begun anew from another place."""
    held = window(artifact.manifest.encoder_id, count)
    plain, latent_D = begun(artifact, held)
    monkeypatch.setattr(
        Imagination, "_gpu", lambda self, artifact: OnGpu(artifact, self.retrieval, self._k, Repeated())
    )
    ours, _ = begun(artifact, held)
    rng = np.random.default_rng(5)
    with torch.inference_mode():
        state_1C = plain.transition.observe(torch.zeros(1, 32), torch.ones(1, 2), plain.transition.initial(1))
    for turn in range(4):
        plan_BSA = rng.normal(size=(9, 6, 2)).astype(np.float32)
        for each in (plain, ours):
            away_3 = np.array([0.4, 0.2, 3.0]) * turn
            each.begin(
                Standpoint(NOW_NS + turn * 10**9, POSE_3 + away_3, latent_D, state_1C if turn % 2 else None), held
            )
        mine, theirs = ours.imagine(plan_BSA), exactly(plain, plan_BSA)
        np.testing.assert_allclose(mine.pose_BS3, theirs.pose_BS3, atol=1e-9)
        np.testing.assert_allclose(mine.latent_BSD, theirs.latent_BSD, atol=2e-5)
        np.testing.assert_allclose(mine.surprise_BS, theirs.surprise_BS, atol=2e-5)
        at_hand = ours.on_gpu.at_hand(theirs.pose_BS3)
        found = ours.on_gpu.look_up(torch.from_numpy(theirs.pose_BS3), at_hand).numpy()
        np.testing.assert_array_equal(found, plain.look_up(theirs.pose_BS3))


def test_plans_that_lead_further_than_any_before_find_what_lies_there(artifact, monkeypatch):
    """The furthest plans are the second; some lead nowhere."""
    held = window(artifact.manifest.encoder_id)
    plain, _ = begun(artifact, held)
    monkeypatch.setattr(
        Imagination, "_gpu", lambda self, artifact: OnGpu(artifact, self.retrieval, self._k, Repeated())
    )
    ours, _ = begun(artifact, held)
    for speed in (0.1, 2.0, 0.1):
        plan_BSA = np.zeros((4, 10, 2), np.float32)
        plan_BSA[..., 0] = speed
        plan_BSA[3] = np.nan
        mine, theirs = ours.imagine(plan_BSA), exactly(plain, plan_BSA)
        np.testing.assert_allclose(mine.latent_BSD[:3], theirs.latent_BSD[:3], atol=2e-5)
        np.testing.assert_allclose(mine.surprise_BS[:3], theirs.surprise_BS[:3], atol=2e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_plans_on_a_gpu_are_those_on_the_processor(artifact):
    held = window(artifact.manifest.encoder_id)
    plain, _ = begun(artifact, held)
    ours, _ = begun(load_artifact("artifact://tiny", "cuda"), held)
    rng = np.random.default_rng(6)
    for _ in range(4):
        plan_BSA = rng.normal(size=(256, 10, 2)).astype(np.float32)
        mine, theirs = ours.imagine(plan_BSA), exactly(plain, plan_BSA)
        np.testing.assert_allclose(mine.latent_BSD, theirs.latent_BSD, atol=1e-4)
        found = ours.on_gpu.look_up(torch.from_numpy(theirs.pose_BS3), ours.on_gpu.at_hand(theirs.pose_BS3))
        np.testing.assert_array_equal(found.cpu().numpy(), plain.look_up(theirs.pose_BS3))
    assert ours.on_gpu.refused == ""
