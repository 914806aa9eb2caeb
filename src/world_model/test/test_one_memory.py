"""The node's recorder, what training remembers and what evaluation asks are one memory, whatever the stream does."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wm_core.memory.errors import RecordError
from wm_core.memory.keyframes import SESSION_GAP_S, Spacing, select_states
from wm_core.memory.query import Place, Query
from wm_core.memory.record import MemoryRecord, no_action
from wm_core.memory.recorder import Recorder, State
from wm_core.memory.reference import ReferenceMemory
from wm_core.memory.reference_batch import RecordedStates, nearest_states, remember
from wm_core.memory.scale import ScaleMeter
from wm_core.se2 import Pose2
from wm_testing.flat import FlatGrid
from wm_testing.histories import History, Kept, histories, plain_kept
from world_model.evaluation.bank import MemoryBank
from world_model.runtime.predictor import Observation
from world_model.runtime.retrieved import MemoryRequest

# Other random histories on every run, however long one takes.
RANDOM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def as_told(kept: list[Kept], history: History) -> list[tuple]:
    return [
        (int(history.stamp_T[each.row]), each.row, [(h, dt_ns / 1e9, row) for h, (row, dt_ns) in each.followed.items()])
        for each in kept
    ]


def records_of(records: list[MemoryRecord]) -> list[tuple]:
    return [
        (
            record.stamp_ns,
            int(record.latent_D[0]),
            [(each.horizon_s, each.dt_s, int(each.latent_D[0])) for each in record.successors],
        )
        for record in records
    ]


def live(history: History, spacing: Spacing | ScaleMeter) -> tuple[list[MemoryRecord], Recorder]:
    """Return what the node's recorder writes to the reference memory."""
    memory = ReferenceMemory(FlatGrid())
    recorder = Recorder(memory, "run", spacing, horizons_s=history.horizons_s, step_s=history.step_s)
    for stamp_ns, pose_4, latent_D, action_A in zip(
        history.stamp_T.tolist(), history.pose_T4.tolist(), history.latent_TD, history.action_TA
    ):
        place = Place(*pose_4) if np.isfinite(pose_4).all() else None
        action_A = action_A if np.isfinite(action_A).all() else no_action()
        with contextlib.suppress(RecordError):
            recorder.observe(State(stamp_ns, latent_D, "e", place, action_A))
    recorder.finish()
    return list(memory._records.values()), recorder


def evaluated(history: History, spacing: Spacing | None) -> MemoryBank:
    bank = MemoryBank(spacing, horizons_s=history.horizons_s, step_s=history.step_s)
    for row in range(len(history.stamp_T)):
        pose_4, action_A = history.pose_T4[row].tolist(), history.action_TA[row]
        pose = Pose2(*pose_4) if np.isfinite(pose_4).all() else None
        action_A = action_A if np.isfinite(action_A).all() else None
        bank.observe(Observation(int(history.stamp_T[row]), history.latent_TD[row], pose, action_A))
    bank.recorder.finish()
    return bank


@pytest.mark.slow
@RANDOM
@given(histories())
def test_node_training_and_evaluation_keep_the_same_states_and_successors(history):
    expected = plain_kept(history, Spacing(), SESSION_GAP_S)
    records, recorder = live(history, Spacing())
    told = as_told(expected, history)
    assert records_of(records) == told
    numbers = [int(record.session.rpartition("/")[2]) for record in records]
    assert numbers == [each.session for each in expected]

    rows = [each.row for each in expected]
    assert select_states(history.stamp_T, history.pose_T4).tolist() == rows
    table = remember(
        history.stamp_T, history.pose_T4, history.latent_TD, history.action_TA,
        spacing=Spacing(), horizons_s=history.horizons_s, step_s=history.step_s,
    )  # fmt: skip
    assert table.latent_ND[:, 0].tolist() == rows
    for column, horizon_s in enumerate(history.horizons_s):
        row_N, dt_N = table.successor_NHD[:, column, 0], table.successor_dt_NH[:, column]
        found = [each.followed.get(horizon_s) for each in expected]
        assert np.isnan(dt_N).tolist() == [each is None for each in found]
        there = [each for each in found if each]
        assert row_N[~np.isnan(dt_N)].tolist() == [row for row, _ in there]
        assert dt_N[~np.isnan(dt_N)] == pytest.approx([dt_ns / 1e9 for _, dt_ns in there])
        every = recorder.counts.linked[horizon_s], recorder.counts.missed[horizon_s], recorder.counts.cut[horizon_s]
        assert every[0] == len(there)
        assert sum(every) == len(records)

    bank = evaluated(history, Spacing())
    assert len(bank) == len(rows)
    everywhere = MemoryRequest(
        horizon_s=1.0, pose=Pose2(0.0, 0.0, 0.0, 0.0), latent_D=None, rank="pose", radius_m=1e9,
        yaw_tolerance_rad=np.pi, yaw_weight_m=1.0, k=max(len(rows), 1), exclude_recent_s=-1e9, stamp_ns=0,
        successors=True,
    )  # fmt: skip
    answered = bank.answer([everywhere])[0] if rows else []
    by_row = sorted(
        (int(m.latent_D[0]), m.stamp_ns, [(h, dt, int(z[0])) for h, dt, z in m.successors]) for m in answered
    )
    assert by_row == [(row, stamp_ns, followed) for stamp_ns, row, followed in told]


def circle(radius_m: float, seconds: float, jitter_s: float, seed: int) -> History:
    """Return a stream of 20 Hz of a robot that goes round a circle every 10 s."""
    rng = np.random.default_rng(seed)
    count = round(seconds * 20)
    time_T = 100.0 + (np.arange(count) + rng.uniform(-jitter_s, jitter_s, count) / 0.05) * 0.05
    angle_T = time_T * 2 * np.pi / 10
    x_T, y_T, yaw_T = radius_m * np.cos(angle_T), radius_m * np.sin(angle_T), 0.01 * time_T
    pose_T4 = np.column_stack([x_T, y_T, np.zeros(count), yaw_T])
    latent_TD = np.column_stack([np.arange(count), rng.normal(size=(count, 2))]).astype(np.float32)
    stamp_T = np.round(time_T * 1e9).astype(np.int64)
    return History(stamp_T, pose_T4, latent_TD, rng.normal(size=(count, 2)).astype(np.float32), 0.05, (0.05, 1.0))


@pytest.mark.parametrize(("radius_m", "least", "most"), [(0.5, 2.0, 4.0), (12.0, 0.5, 0.9)])
def test_a_small_and_a_fast_world_are_kept_at_the_same_spacing_by_node_training_and_evaluation(radius_m, least, most):
    history = circle(radius_m, 60.0, 0.015, seed=3)
    records, _ = live(history, ScaleMeter())
    table = remember(history.stamp_T, history.pose_T4, history.latent_TD, history.action_TA)
    bank = evaluated(history, None)
    assert table.latent_ND[:, 0].tolist() == [int(record.latent_D[0]) for record in records]
    assert bank.stamps().tolist() == [record.stamp_ns for record in records]
    in_a_building = len(live(history, Spacing())[0])
    assert least < len(records) / in_a_building < most


@RANDOM
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.booleans())
def test_the_batch_finds_what_the_reference_finds(seed, count, by_latent):
    rng = np.random.default_rng(seed)
    reference, states = ReferenceMemory(FlatGrid()), RecordedStates()
    for number in range(count):
        x, y = np.round(rng.uniform(-2.0, 2.0, 2), 1)
        yaw = float(np.float32(rng.uniform(-np.pi, np.pi)))
        record = MemoryRecord(number * 1_000_000_000, rng.normal(size=4).astype(np.float32), x, y, 0.0, yaw)
        reference.insert([record])
        states.insert([record])
    k, age_s = int(rng.integers(1, 8)), float(rng.integers(0, count + 1))
    radius_m, tolerance = float(rng.choice([0.5, 1.0, 3.0])), float(rng.uniform(0.3, 3.0))
    pose_3 = np.append(np.round(rng.uniform(-2.0, 2.0, 2), 1), rng.uniform(-np.pi, np.pi))
    latent_D = rng.normal(size=4).astype(np.float32) if by_latent else None
    now_ns = count * 1_000_000_000
    query = Query(
        k=k, place=Place(pose_3[0], pose_3[1], 0.0, pose_3[2]), latent_D=latent_D,
        rank_by="latent" if by_latent else "pose", radius_m=radius_m, yaw_tolerance_rad=tolerance,
        exclude_recent_s=age_s, stamp_ns=now_ns,
    )  # fmt: skip
    [wanted] = reference.query_batch([query])
    found = nearest_states(
        states.columns(), pose_3[None], np.array([now_ns]), k, radius_m=radius_m, yaw_tolerance_rad=tolerance,
        yaw_weight_m=1.0, exclude_recent_s=age_s, latent_QD=None if latent_D is None else latent_D[None],
    )  # fmt: skip
    real_K = found.index_QK[0] >= 0
    assert found.distance_QK[0][real_K] == pytest.approx(wanted.distances_K, rel=1e-5, abs=1e-5)
    # Equally near ones may come in any order.
    if len(set(np.round(wanted.distances_K, 5))) == len(wanted.distances_K):
        passing = {record.id - 1 for record in wanted.records[:-1]}
        assert passing <= set(found.index_QK[0][real_K].tolist())
