from dataclasses import replace

import numpy as np
import pytest

from wm_core.se2 import Pose2
from wm_testing.artifacts import make_random_artifact
from world_model.errors import ObservationError
from world_model.evaluation.bank import MemoryBank
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.metrics import ErrorTracker, nmse
from world_model.runtime.predictor import Observation, Predictor
from world_model.runtime.retrieved import Memory, MemoryRequest

STEP_NS = 50_000_000


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    path = tmp_path_factory.mktemp("predictor")
    make_random_artifact(path)
    return Predictor(load_artifact(path))


def observation(step, seed=None, pose=True):
    latent_D = np.random.default_rng(step if seed is None else seed).normal(size=32).astype(np.float32)
    where = Pose2(0.05 * step, 0.0, 0.0, 0.0) if pose else None
    return Observation(step * STEP_NS, latent_D, where, np.array([1.0, 0.0], np.float32))


def episode(predictor, steps):
    predictor.reset()
    for step in steps:
        requests = predictor.observe(observation(step))
    return requests


def memory(id=7, x=1.0, stamp_ns=0):
    return Memory(id, stamp_ns, np.ones(32, np.float32), Pose2(x, 0.0, 0.0, 0.0), np.array([1.0, 0.0], np.float32))


def test_requests_ask_where_the_robot_will_be(predictor):
    one_step, one_second, present = episode(predictor, range(10))
    assert (one_step.horizon_s, one_second.horizon_s, present.horizon_s) == (0.05, 1.0, 0.0)
    assert one_step.pose.x == pytest.approx(0.45 + 0.05)
    assert one_second.pose.x == pytest.approx(0.45 + 1.0)
    assert (one_second.rank, present.rank) == ("pose", "latent")
    assert present.successors
    assert not one_second.successors
    assert one_second.exclude_recent_s == 20.0


def test_without_a_pose_nothing_is_asked_but_all_is_forecast(predictor):
    predictor.reset()
    assert predictor.observe(observation(0, pose=False)) == []
    prediction = predictor.predict(None)
    assert [forecast.horizon_s for forecast in prediction.forecasts] == [0.05, 1.0]
    assert prediction.forecasts[0].pose is None
    assert not prediction.forecasts[0].revisit


def test_what_the_pose_says_of_its_error_says_how_sure_the_expected_pose_is(predictor):
    told = {}
    for name, std_3 in (
        ("none", None),
        ("sure", (0.0, 0.0, 0.0)),
        ("not told", (np.nan, np.nan, np.nan)),
        ("x", (0.5, 0.1, 0.2)),
    ):
        predictor.reset()
        for step in range(10):
            predictor.observe(replace(observation(step), pose_std_3=None if std_3 is None else np.array(std_3)))
        copies = [memory(id=1, x=1.45), memory(id=2, x=2.2)]
        forecasts = predictor.predict([copies, copies, copies]).forecasts
        told[name] = np.stack([forecast.pose_std_3 for forecast in forecasts])
    np.testing.assert_array_equal(told["none"], told["sure"])
    np.testing.assert_array_equal(told["none"], told["not told"])
    np.testing.assert_allclose(told["x"][:, 0], np.hypot(told["none"][:, 0], 0.5))
    assert told["x"][1, 1] == pytest.approx(np.hypot(told["none"][1, 1], np.hypot(0.1, 0.2 * 1.0)))  # 1 m ahead


def test_a_fresh_network_gives_the_same_bits_with_and_without_memories(predictor):
    episode(predictor, range(10))
    without = predictor.predict(None)
    for answers in ([[], [], []], [[memory()], [memory(x=1.45)], [memory()]]):
        prediction = predictor.predict(answers)
        for first, second in zip(prediction.forecasts, without.forecasts):
            assert np.array_equal(first.latent_D, second.latent_D)
            assert np.array_equal(first.latent_D, first.without_memory_D)


def test_memories_are_named_and_make_a_revisit(predictor):
    episode(predictor, range(10))
    prediction = predictor.predict([[memory(3, x=9.0)], [memory(4, x=1.5), memory(5, x=2.0)], []])
    assert prediction.forecasts[0].memory_ids == (3,)
    assert not prediction.forecasts[0].revisit
    assert prediction.forecasts[1].memory_ids == (4, 5)
    assert prediction.forecasts[1].revisit
    assert prediction.stamp_ns == 9 * STEP_NS


@pytest.mark.parametrize("jump", [-5, 40])
def test_a_jump_in_time_starts_a_new_context(predictor, jump):
    episode(predictor, range(10))
    predictor.observe(observation(9 + jump, seed=1))
    after_jump = predictor.predict(None).forecasts[1].latent_D
    predictor.reset()
    predictor.observe(observation(9 + jump, seed=1))
    assert np.array_equal(after_jump, predictor.predict(None).forecasts[1].latent_D)


def test_wrong_input_is_refused(predictor):
    predictor.reset()
    with pytest.raises(ObservationError, match="before any observation"):
        predictor.predict(None)
    with pytest.raises(ObservationError, match="latent"):
        predictor.observe(Observation(0, np.zeros(8, np.float32)))
    with pytest.raises(ObservationError, match="latent"):
        predictor.observe(Observation(0, np.full(32, np.nan, np.float32)))
    with pytest.raises(ObservationError, match="action"):
        predictor.observe(Observation(0, np.zeros(32, np.float32), None, np.zeros(3, np.float32)))
    predictor.observe(observation(0))
    with pytest.raises(ObservationError, match="answers"):
        predictor.predict([[], []])


def test_the_same_drive_gives_the_same_forecasts(predictor):
    results = []
    for _ in range(2):
        episode(predictor, range(20))
        results.append(predictor.predict(None).forecasts[1].latent_D)
    assert np.array_equal(*results)


def test_forecasts_are_judged_when_their_time_comes(predictor):
    predictor.reset()
    tracker, scored = ErrorTracker(np.ones(32)), []
    seen = [observation(step) for step in range(25)]
    for item in seen:
        scored += tracker.observe(item)
        predictor.observe(item)
        tracker.expect(predictor.predict(None))
    near = [s for s in scored if s.forecast.horizon_s == 0.05]
    far = [s for s in scored if s.forecast.horizon_s == 1.0]
    assert (len(near), len(far)) == (24, 5)
    assert far[0].predicted_from_ns == 0
    assert far[0].stamp_ns == 20 * STEP_NS
    assert far[0].error_persistence == pytest.approx(nmse(seen[0].latent_D - seen[20].latent_D, np.ones(32)))
    assert far[0].error == far[0].error_without_memory


def test_the_bank_keeps_links_and_finds_exactly():
    rng = np.random.default_rng(0)
    bank, kept = MemoryBank(), []
    for step in range(900):
        item = Observation(
            step * STEP_NS,
            rng.normal(size=4).astype(np.float32),
            Pose2(3.1 * np.cos(step / 60), 3.1 * np.sin(step / 60), 0.0, step / 60),
        )
        before = len(bank)
        bank.observe(item)
        if len(bank) > before:
            kept.append(item)
    assert kept[1].stamp_ns == 2 * STEP_NS  # 0.05 m a step: every second one is 0.1 m away
    request = MemoryRequest(
        horizon_s=1.0, pose=Pose2(3.0, 0.1, 0.0, 0.0), latent_D=None, rank="pose", radius_m=1.0,
        yaw_tolerance_rad=0.7, yaw_weight_m=1.0, k=5,
        exclude_recent_s=20.0, stamp_ns=899 * STEP_NS, successors=True,
    )  # fmt: skip
    found = bank.answer([request])[0]

    def distance(item):
        forward, left, turn = item.pose.relative_to(request.pose)
        near = np.hypot(forward, left) <= 1.0 and abs(turn) <= 0.7 and item.stamp_ns <= request.stamp_ns - 20e9
        return forward**2 + left**2 + turn**2 if near else np.inf

    expected = sorted((item for item in kept if np.isfinite(distance(item))), key=distance)[:5]
    assert [m.stamp_ns for m in found] == [item.stamp_ns for item in expected]
    assert [(s[0], round(s[1], 3)) for s in found[0].successors] == [(0.05, 0.05), (1.0, 1.0)]


def _circle(count, step_s):
    angle_T = np.arange(count) * step_s * 2 * np.pi / 10
    for step, angle in enumerate(angle_T):
        pose = Pose2(2 * np.sin(angle), 2 - 2 * np.cos(angle), 0.0, angle)
        yield Observation(round(step * step_s * 1e9), np.full(32, step % 7, np.float32), pose, np.zeros(2, np.float32))


@pytest.mark.slow
@pytest.mark.parametrize(("step_s", "horizon_s"), [(0.05, 1.0), (0.2, 2.0)])
def test_the_memory_of_an_artifact_keeps_the_successors_it_uses(tmp_path, step_s, horizon_s):
    manifest = make_random_artifact(tmp_path, step_s=step_s, horizon_s=horizon_s)
    predictor, bank = Predictor(load_artifact(tmp_path)), MemoryBank.of(manifest)
    other = MemoryBank(horizons_s=(0.4, 5.0), step_s=step_s)
    for item in _circle(round(40 / step_s), step_s):
        requests = predictor.observe(item)
        predictor.predict(bank.answer(requests))
        bank.observe(item)
        other.observe(item)
    assert predictor.successor_counts["used"] > 100
    assert predictor.successor_counts["outside"] == 0
    used = predictor.successor_counts["used"]
    predictor.predict(other.answer(requests))
    assert predictor.successor_counts["used"] == used
    assert predictor.successor_counts["outside"] == 2 * len(other.answer(requests)[-1]) > 0
