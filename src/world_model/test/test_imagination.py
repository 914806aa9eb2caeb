"""Imagination: the predictor's own forecasts at every step, many candidates as one by one, refusals by name."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wm_core.memory.held import HeldPlaces
from wm_core.memory.packed import Packed
from wm_core.memory.record import MemoryRecord
from wm_core.se2 import Pose2
from wm_testing.artifacts import make_random_artifact
from world_model.errors import ImaginationError, ObservationError
from world_model.models.config import ModelConfig
from world_model.models.factory import make_transition
from world_model.runtime.artifact_folder import add_part
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.conditioning import Retrieval
from world_model.runtime.experts import Experts, Said
from world_model.runtime.imagination import Imagination
from world_model.runtime.imagined import Plan
from world_model.runtime.motion import MotionTracker
from world_model.runtime.motion_model import MotionModel
from world_model.runtime.motion_start import MotionStart, error_ahead
from world_model.runtime.predictor import Observation, Predictor
from world_model.runtime.recalled import copies, recall
from world_model.runtime.retrieved import Memory, gathered, plain_copies
from world_model.runtime.switches import CALIBRATION, EVIDENCE

STEP_NS, STEP_S, DIM = 50_000_000, 0.05, 32
NOW, BEGIN_NS = 90, 40_000_000_000
HORIZONS_S = (0.05, 0.5, 1.0)


def seen(step):
    latent_D = np.random.default_rng(step).normal(size=DIM).astype(np.float32)
    action_A = np.array([0.6, 0.3 * np.sin(0.1 * step)], np.float32)
    return Observation(BEGIN_NS + step * STEP_NS, latent_D, Pose2(0.03 * (step - NOW), 0.0, 0.0, 0.0), action_A)


def remembered(count=80):
    rng = np.random.default_rng(5)
    return [
        MemoryRecord(
            id=at + 1, latent_D=rng.normal(size=DIM).astype(np.float32), x=float(rng.uniform(-1, 3)),
            y=float(rng.uniform(-1, 1)), z=0.0, yaw=float(rng.uniform(-0.5, 0.5)), stamp_ns=at * STEP_NS, session="s",
            encoder_id="e", frame_id="map",
        )
        for at in range(count)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    path = tmp_path_factory.mktemp("imagination")
    make_random_artifact(path)
    return load_artifact(path)


@pytest.fixture(scope="module")
def imagination(artifact):
    return Imagination(artifact)


@pytest.fixture(scope="module")
def places():
    return HeldPlaces.of(Packed.of(remembered(), "e", "map", DIM, 0).rows)


def answers(places, requests):
    """Return what the places remember, as the predictor is told."""
    told = []
    for request in requests[:-1]:
        pose_13 = np.array([[request.pose.x, request.pose.y, request.pose.yaw]])
        found = places.near(
            pose_13, request.k, radius_m=request.radius_m, yaw_tolerance_rad=request.yaw_tolerance_rad,
            yaw_weight_m=request.yaw_weight_m, newest_ns=request.stamp_ns - round(request.exclude_recent_s * 1e9),
        )  # fmt: skip
        told.append([
            Memory(int(i), int(s), z, Pose2(x, y, 0.0, yaw))
            for i, s, (x, y, yaw), z, ok in zip(*(each[0] for each in found)) if ok
        ])  # fmt: skip
    return [*told, told[0][:3]]


def predicted(artifact, places, plan_SA, without=(EVIDENCE, CALIBRATION)):
    """Return a predictor after its last forecast, and that."""
    predictor = Predictor(artifact, horizons_s=HORIZONS_S, without=without)
    for step in range(NOW):
        requests = predictor.observe(seen(step), plan_SA)
        prediction = predictor.predict(answers(places, requests) if step > 20 else None)
    return predictor, prediction


@pytest.mark.slow
def test_its_steps_are_what_the_predictor_forecasts(artifact, imagination, places):
    follow_SA = np.random.default_rng(1).normal(size=(19, 2)).astype(np.float32)
    predictor, prediction = predicted(artifact, places, follow_SA)
    action_SA = np.concatenate([seen(NOW - 1).action_A[None], follow_SA])
    got = imagination.imagine(predictor.moment(), Plan.of_actions(action_SA, 2, STEP_S), places)
    assert got.time_S == pytest.approx(np.arange(1, 21) * STEP_S)
    for forecast in prediction.forecasts:
        step = round(forecast.horizon_s / STEP_S) - 1
        np.testing.assert_allclose(got.latent_BSD[0, step], forecast.network_D, atol=2e-4)
        np.testing.assert_allclose(got.base_BSD[0, step], forecast.network_without_D, atol=2e-4)
        assert got.gate_BS[0, step] == pytest.approx(forecast.gate, abs=1e-4)
        assert got.id_BSK[0, step][got.id_BSK[0, step] > 0].tolist() == list(forecast.memory_ids)
        pose, std_3 = forecast.pose, forecast.pose_std_3
        assert got.pose_BS3[0, step] == pytest.approx([pose.x, pose.y, pose.yaw], abs=1e-9)
        assert got.std_BS3[0, step] == pytest.approx(std_3, rel=1e-6, abs=1e-9)
        assert got.revisit_BS[0, step] == forecast.revisit


def test_what_came_true_counts_as_in_the_predictor(artifact, imagination, places):
    predictor, prediction = predicted(artifact, places, np.tile(seen(0).action_A, (19, 1)), without=())
    action_SA = np.concatenate([seen(NOW - 1).action_A[None], np.tile(seen(0).action_A, (19, 1))])
    got = imagination.imagine(predictor.moment(), Plan.of_actions(action_SA, 2, STEP_S), places)
    forecast = prediction.forecasts[-1]
    # Latents here are noise: what is usual is the best forecast, and the network alone is far from it.
    wrong = np.abs(got.latent_BSD[0, -1] - forecast.latent_D).mean()
    assert wrong < 0.25 * np.abs(forecast.network_D - forecast.latent_D).mean()


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(count=st.integers(1, 5), steps=st.integers(1, 9), at_once=st.integers(1, 9), seed=st.integers(0, 1000))
def test_many_candidates_are_as_one_by_one_and_parts_as_the_whole(
    imagination, places, moment, count, steps, at_once, seed
):
    action_BSA = np.random.default_rng(seed).normal(size=(count, steps, 2)).astype(np.float32)
    whole = imagination.imagine(moment, Plan.of_actions(action_BSA, 2, STEP_S), places)
    assert whole.latent_BSD.shape == (count, steps, DIM)
    for row in range(count):
        plan = Plan.of_actions(action_BSA[row], 2, STEP_S)
        parts = [part.latent_BSD for part in imagination.steps(moment, plan, places, at_once)]
        np.testing.assert_allclose(np.concatenate(parts, axis=1)[0], whole.latent_BSD[row], atol=1e-4)
        one = imagination.imagine(moment, plan, places)
        for name in ("pose_BS3", "std_BS3", "gate_BS", "id_BSK", "uncertainty_BS"):
            np.testing.assert_allclose(getattr(one, name)[0], getattr(whole, name)[row], atol=1e-4)


@pytest.fixture(scope="module")
def moment(artifact, places):
    return predicted(artifact, places, None, without=())[0].moment()


@pytest.mark.slow
def test_a_moment_is_not_changed_by_what_comes_later(artifact, imagination, places):
    predictor, _ = predicted(artifact, places, None, without=())
    moment, plan = predictor.moment(), Plan.of_actions(np.full((8, 2), 0.4), 2, STEP_S)
    before = imagination.imagine(moment, plan, places)
    for step in range(NOW, NOW + 30):
        predictor.predict(answers(places, predictor.observe(seen(step))))
    after = imagination.imagine(moment, plan, places)
    np.testing.assert_array_equal(before.latent_BSD, after.latent_BSD)
    np.testing.assert_array_equal(before.pose_BS3, after.pose_BS3)


def test_actions_that_differ_lead_elsewhere_and_ask_elsewhere(imagination, places, moment):
    action_BSA = np.stack([np.tile([0.8, turn], (40, 1)) for turn in (-0.3, 0.3)])
    model = MotionModel(
        weights=((0, 1, 0, 0), (0, 0, 0, 0), (0, 0, 1, 0)), error_horizons_s=(1.0,), error_std=((0.1,) * 3,)
    )
    driven = replace(moment, motion=MotionStart(model, STEP_S))
    got = imagination.imagine(driven, Plan.of_actions(action_BSA, 2, STEP_S), places)
    assert got.pose_BS3[0, -1, 1] * got.pose_BS3[1, -1, 1] < 0.0
    assert (got.id_BSK[0, -1] != got.id_BSK[1, -1]).any()
    assert got.std_BS3[0, :, 2] == pytest.approx(0.1 * np.maximum(got.time_S, 1.0))


def test_a_held_action_and_a_path(imagination, places, moment):
    held = Plan.of_actions(np.array([0.5, 0.1]), 2, STEP_S, horizon_s=0.6)
    assert held.action_BSA.shape == (1, 12, 2)
    assert (held.action_BSA == np.array([0.5, 0.1], np.float32)).all()
    start_3 = np.array([moment.pose.x, moment.pose.y, moment.pose.yaw])
    path_P3 = start_3 + np.array([[1.0, 0.0, 0.2], [2.0, 0.5, 0.4]])
    plan = Plan.of_path(path_P3, 0.2, 2, STEP_S, start_3)
    got = imagination.imagine(moment, plan, places)
    assert got.pose_BS3[0, 3] == pytest.approx(path_P3[0])
    assert got.pose_BS3[0, 1] == pytest.approx((start_3 + path_P3[0]) / 2)
    assert got.pose_BS3[0, -1] == pytest.approx(path_P3[1])
    assert not got.std_BS3.any()
    # As far as asked: part of the way, or on beyond its end, where the robot stands.
    part, beyond = (Plan.of_path(path_P3, 0.2, 2, STEP_S, start_3, horizon_s).pose_BS3[0] for horizon_s in (0.1, 0.6))
    assert part == pytest.approx(plan.pose_BS3[0, :2])
    assert beyond[:8] == pytest.approx(plan.pose_BS3[0])
    assert beyond[8:] == pytest.approx(np.tile(path_P3[1], (4, 1)))


def test_without_memories_or_a_pose_nothing_is_recalled(imagination, places, moment):
    plan = Plan.of_actions(np.full((3, 2), 0.4), 2, STEP_S)
    without = imagination.imagine(moment, plan, None)
    assert not without.gate_BS.any()
    assert not without.covered_BS.any()
    np.testing.assert_array_equal(without.latent_BSD, without.base_BSD)
    nowhere = imagination.imagine(replace(moment, pose=None), plan, places)
    assert not nowhere.has_poses
    assert not nowhere.id_BSK.any()
    assert np.isfinite(nowhere.latent_BSD).all()


@pytest.mark.parametrize(
    ("reason", "make"),
    [
        ("action-size", lambda: Plan.of_actions(np.zeros((3, 3)), 2, STEP_S)),
        ("no-actions", lambda: Plan.of_actions(np.zeros((0, 2)), 2, STEP_S)),
        ("not-finite", lambda: Plan.of_actions(np.full((3, 2), np.nan), 2, STEP_S)),
        ("action-too-large", lambda: Plan.of_actions(np.array([[0.0, 0.0], [0.0, -1e30]]), 2, STEP_S)),
        ("pose-too-far", lambda: Plan.of_path(np.array([[1e30, 0.0, 0.0]]), 0.5, 2, STEP_S, np.zeros(3))),
        ("horizon", lambda: Plan.of_actions(np.zeros((101, 2)), 2, STEP_S)),
        ("horizon", lambda: Plan.of_actions(np.zeros(2), 2, STEP_S, horizon_s=5.1)),
        ("horizon", lambda: Plan.of_actions(np.zeros(2), 2, STEP_S, horizon_s=float("nan"))),
        ("horizon", lambda: Plan.of_actions(np.zeros(2), 2, STEP_S, horizon_s=0.01)),
        ("too-many", lambda: Plan.of_actions(np.zeros((1000, 100, 2)), 2, STEP_S)),
        ("no-path", lambda: Plan.of_path(np.zeros((0, 3)), 0.0, 2, STEP_S, np.zeros(3))),
        ("horizon", lambda: Plan.of_path(np.zeros((6, 3)), 1.0, 2, STEP_S, np.zeros(3))),
        ("horizon", lambda: Plan.of_path(np.zeros((6, 3)), -1.0, 2, STEP_S, np.zeros(3))),
        ("horizon", lambda: Plan.of_path(np.zeros((6, 3)), 0.1, 2, STEP_S, np.zeros(3), 5.1)),
        ("horizon", lambda: Plan.of_path(np.zeros((6, 3)), 0.1, 2, STEP_S, np.zeros(3), float("nan"))),
    ],
)
def test_what_cannot_be_imagined_is_refused_by_name(reason, make):
    with pytest.raises(ImaginationError) as caught:
        make()
    assert caught.value.reason == reason


def test_a_moment_of_another_size_is_refused(imagination, places, moment, artifact):
    plan = Plan.of_actions(np.zeros((2, 2)), 2, STEP_S)
    with pytest.raises(ImaginationError, match="latent-size"):
        imagination.imagine(replace(moment, latent_D=np.zeros(5, np.float32)), plan, places)
    with pytest.raises(ObservationError):
        Predictor(artifact).moment()


@settings(max_examples=60, deadline=None)
@given(
    delay=st.integers(0, 4), lag=st.floats(0.0, 6.0), share=st.floats(0.0, 1.0), seen_count=st.integers(0, 12),
    steps=st.integers(1, 30), seed=st.integers(0, 10**6),
)  # fmt: skip
def test_many_plans_lead_where_the_tracker_says(delay, lag, share, seen_count, steps, seed):
    rng = np.random.default_rng(seed)
    weights = tuple(map(tuple, rng.normal(size=(3, 4))))
    model = MotionModel(weights=weights, delay_steps=delay, lag_steps=lag, residual_share=(share,) * 3)
    tracker = MotionTracker(model, STEP_S, 2)
    for step in range(seen_count):
        tracker.update(step * STEP_NS, Pose2(*rng.normal(size=2), 0.0, float(rng.normal())), rng.normal(size=2))
    start = tracker.start()
    action_BSA = rng.normal(size=(3, steps, 2))
    got_BS3 = start.displacements(action_BSA)
    for row, action_SA in enumerate(action_BSA):
        twin = MotionTracker(model, STEP_S, 2)
        history = np.random.default_rng(seed)
        history.normal(size=(3, 4))
        for step in range(seen_count):
            pose = Pose2(*history.normal(size=2), 0.0, float(history.normal()))
            own_A = history.normal(size=2)
            twin.update(step * STEP_NS, pose, action_SA[0] if step == seen_count - 1 else own_A)
        if not seen_count:
            twin.update(0, None, action_SA[0])
        expected_S3 = twin.displacements(steps, action_SA[1:])
        np.testing.assert_allclose(got_BS3[row], expected_S3, atol=1e-9)


def test_standard_errors_go_on_beyond_the_last_time_measured():
    model = MotionModel(error_horizons_s=(0.5, 1.0), error_std=((0.1, 0.2, 0.1), (0.2, 0.2, 0.8)))
    got_S3 = error_ahead(model, [0.25, 0.75, 1.0, 2.0, 4.0])
    np.testing.assert_allclose(got_S3[:3], [[0.1, 0.2, 0.1], [0.15, 0.2, 0.45], [0.2, 0.2, 0.8]])
    # Doubled per doubling, at least by the root of two, and at most by 2 ** 1.5.
    np.testing.assert_allclose(got_S3[3], [0.4, 0.2 * 2**0.5, 0.8 * 2**1.5])
    np.testing.assert_allclose(got_S3[4], [0.8, 0.4, 0.8 * 8])
    assert not error_ahead(MotionModel(), [1.0, 5.0]).any()


def test_copies_are_those_of_the_predictor(places):
    retrieval, rng = Retrieval(), np.random.default_rng(2)
    pose_BS3 = rng.uniform((-1, -1, -0.5), (3, 1, 0.5), size=(3, 4, 3))
    std_3 = np.array([0.2, 0.1, 0.05])
    recalled = recall(places, pose_BS3, 6, retrieval, 10**12, DIM)
    copy_BS3D, _ = copies(recalled, np.broadcast_to(std_3, (3, 4, 3)), retrieval)
    rows = {record.id: record for record in remembered()}
    for at in np.ndindex(3, 4):
        found = [rows[i] for i in recalled.id_BSK[at].tolist() if i]
        memories = [Memory(r.id, r.stamp_ns, r.latent_D, Pose2(r.x, r.y, 0.0, r.yaw)) for r in found]
        expected_3D = plain_copies(
            gathered(memories, DIM, 2), Pose2(*pose_BS3[at][:2], 0.0, pose_BS3[at][2]), std_3, retrieval
        )
        np.testing.assert_allclose(copy_BS3D[at], expected_3D, atol=1e-4)


def test_weights_are_those_that_forecasts_are_combined_with():
    rng, experts = np.random.default_rng(3), Experts(1.0, STEP_S, np.ones(4), 4)
    for step in range(200):
        truth_D = np.sin(0.05 * step + np.arange(4))
        experts.observe(step * STEP_NS, truth_D)
        network_D, with_D, mean_D = (truth_D + rng.normal(size=4) for _ in range(3))
        copies_MD, revisit = truth_D + 0.3 * rng.normal(size=(3, 4)), bool(step % 3)
        weights = experts.weights(revisit)
        said = Said(step * STEP_NS, network_D, with_D, 0.6, truth_D, mean_D, truth_D, copies_MD, revisit)
        got = experts.combine(said)
        base_ED = np.stack([network_D, truth_D, mean_D, got.ridge_D])
        base_D = weights.base_E @ base_ED
        np.testing.assert_allclose(base_D, got.without_memory_D, atol=1e-5)
        carried_D = with_D + 0.4 * (base_D - network_D)
        full_ED = np.stack([carried_D, *copies_MD, base_D, *base_ED[1:]])
        np.testing.assert_allclose(weights.full_E @ full_ED, got.latent_D, atol=1e-5)
    assert weights.full_E[0] < 0.9
    assert weights.full_error > 0.0


@pytest.mark.slow
@pytest.mark.parametrize("is_trained", [True, False])
def test_rewards_are_told_where_the_head_was_trained(tmp_path, is_trained):
    torch.manual_seed(1)
    model = make_transition(
        ModelConfig(latent_dim=8, hidden_dim=16, width=16, memory_width=16, context="rssm"), 2
    ).eval()
    make_random_artifact(tmp_path, z_dim=8)
    losses = {"last_losses": {"reward": 0.1, "goes_on": 0.1}} if is_trained else {}
    add_part(tmp_path, "transition", torch.jit.script(model), training=losses, history_dim=model.history_dim)
    predictor = Predictor(load_artifact(tmp_path))
    for step in range(5):
        latent_D = np.random.default_rng(step).normal(size=8).astype(np.float32)
        predictor.observe(Observation(step * STEP_NS, latent_D, Pose2(0.0, 0.0, 0.0, 0.0), np.zeros(2, np.float32)))
    action_BSA = np.random.default_rng(9).normal(size=(2, 4, 2)).astype(np.float32) * 0.5
    moment, plan = predictor.moment(), Plan.of_actions(action_BSA, 2, STEP_S)
    imagination = Imagination(load_artifact(tmp_path))
    got = imagination.imagine(moment, plan, None)
    if not is_trained:
        assert got.outcome_BS2 is None
        return
    assert got.outcome_BS2.shape == (2, 4, 2)
    with torch.no_grad():
        latent_BD = torch.from_numpy(np.repeat(moment.latent_D[None], 2, axis=0))
        state_BC = model.observe(latent_BD, torch.from_numpy(action_BSA[:, 0]), moment.before_1C.expand(2, -1))
        for step in range(4):
            action_BA = torch.from_numpy(action_BSA[:, min(step + 1, 3)])
            state_BC = model.observe(torch.from_numpy(got.latent_BSD[:, step]), action_BA, state_BC)
            reward_B, logit_B = model.context.heads(state_BC[:, : model.context.state_dim])
            expected_B2 = torch.stack([reward_B, torch.sigmoid(logit_B)], dim=1).numpy()
            np.testing.assert_allclose(got.outcome_BS2[:, step], expected_B2, atol=1e-5)
    parts = list(imagination.steps(moment, plan, None, 3))
    np.testing.assert_allclose(np.concatenate([p.outcome_BS2 for p in parts], axis=1), got.outcome_BS2, atol=1e-6)
