"""Chunks by stamp: never an action of the past, the weights that were promised, no jump when a chunk comes."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy_runner.chunks import BLEND, ENSEMBLE, NEWEST, PREFIX, Chunk, ChunkBuffer, ChunkError, Combining
from policy_runner.latency import Latency

S = 1_000_000_000
chunks = st.builds(
    lambda stamp_ms, step_ms, values: Chunk(stamp_ms * 1_000_000, step_ms * 1e-3, np.array(values)[:, None]),
    st.integers(0, 3000),
    st.sampled_from([20, 50, 100]),
    st.lists(st.floats(-1.0, 1.0), min_size=1, max_size=12),
)


def reference(known, now_ns, how):
    """The plain way: every chunk that was there, one after another, oldest first."""
    said = []
    for chunk in sorted(known, key=lambda each: each.stamp_ns):
        place = (now_ns - chunk.stamp_ns) / (chunk.step_s * S)
        if place >= 0.0 and now_ns < chunk.end_ns:
            said.append(float(np.interp(place, np.arange(len(chunk.action_HA)), chunk.action_HA[:, 0])))
    if not said:
        return None
    if how == ENSEMBLE:
        weights = [math.exp(-0.01 * k) for k in range(len(said))]
        return sum(w * s for w, s in zip(weights, said)) / sum(weights)
    if how == BLEND:
        value = said[0]
        for each in said[1:]:
            value = 0.3 * value + 0.7 * each
        return value
    return said[-1]


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 200), chunks), max_size=8), st.sampled_from([ENSEMBLE, BLEND, NEWEST, PREFIX]))
def test_what_is_said_is_what_the_plain_way_says_and_never_of_the_past(arrivals, how):
    buffer, known = ChunkBuffer(Combining(how, seam_s=0.0)), []
    for tick in range(200):
        now_ns = tick * 20_000_000
        for chunk in (chunk for at, chunk in arrivals if at == tick):
            is_ahead = chunk.end_ns > now_ns
            assert buffer.add(chunk, now_ns) == is_ahead
            known += [chunk] if is_ahead else []
        said, expected = buffer.at(now_ns), reference(known, now_ns, how)
        assert (said is None) == (expected is None)
        assert said is None or said == pytest.approx([expected])
        assert all(chunk.end_ns > now_ns for chunk in buffer._chunks)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), chunks), max_size=6))
def test_nothing_jumps_by_more_than_its_own_slope_and_a_share_of_the_difference(arrivals):
    buffer, before, seam_s = ChunkBuffer(Combining(NEWEST, seam_s=0.5)), None, 0.5
    for tick in range(200):
        now_ns = tick * 20_000_000
        for chunk in (chunk for at, chunk in arrivals if at == tick):
            buffer.add(chunk, now_ns)
        said = buffer.at(now_ns)
        if said is not None and before is not None:
            slope = max(2.0 * 0.02 / chunk.step_s for chunk in buffer._chunks)
            # All that can be left of jumps is the sum of as many differences as chunks came.
            assert abs(said[0] - before[0]) <= slope + 2.0 * len(arrivals) * 0.02 / seam_s + 1e-9
        before = said


def test_remaining_time_counts_gaps_as_the_end():
    buffer = ChunkBuffer()
    buffer.add(Chunk(0, 0.1, np.zeros((5, 1))), 0)
    buffer.add(Chunk(S, 0.1, np.zeros((5, 1))), 0)
    assert buffer.remaining_s(0) == pytest.approx(0.5)
    buffer.add(Chunk(S // 2, 0.1, np.zeros((5, 1))), 0)
    assert buffer.remaining_s(0) == pytest.approx(1.5)
    assert buffer.at(2 * S) is None
    assert buffer.remaining_s(2 * S) == 0.0


@pytest.mark.parametrize(
    ("actions", "step_s"),
    [(np.empty((0, 1)), 0.1), (np.array([[np.nan]]), 0.1), (np.zeros((2, 1)), 0.0), (np.zeros(3), 0.1)],
)
def test_what_is_no_chunk_is_refused(actions, step_s):
    with pytest.raises(ChunkError):
        Chunk(0, step_s, actions)


@pytest.mark.parametrize(
    "changes",
    [
        {"path_H3": np.full((2, 3), np.nan)},
        {"facing_H": np.array([0.0, np.inf])},
        {"waits_s": np.nan},
        {"waits_s": -1.0},
        {"waits_s": 1e300},
        {"step_s": 1e300},
        {"step_s": np.nan},
        {"stamp_ns": None},
        {"stamp_ns": 0.5},
        {"action_HA": np.zeros((2, 1), complex)},
        {"action_HA": [["a"], ["b"]]},
        {"action_HA": [[1.0], [1.0, 2.0]]},
    ],
)
def test_what_would_break_whoever_executes_it_is_refused(changes):
    usual = {"stamp_ns": 0, "step_s": 0.1, "action_HA": np.zeros((2, 1)), "facing_H": np.zeros(2)}
    with pytest.raises(ChunkError):
        Chunk(**{**usual, **changes})


def test_who_made_a_chunk_may_use_its_arrays_again():
    action_HA = np.ones((2, 1), np.float32)
    chunk = Chunk(np.int64(5), 0.1, action_HA)
    action_HA[:] = np.nan
    assert chunk.action_HA.tolist() == [[1.0], [1.0]]
    assert type(chunk.stamp_ns) is int
    assert Chunk(0, 0.1, [[0.5]]).at(0) == 0.5


def test_who_may_not_be_as_fast_as_asked_for_turns_as_much_slower():
    chunk = Chunk(
        0, 0.1, np.array([[2.0, 1.0], [0.5, 1.0], [0.0, 1.0], [-1.0, 1.0], [-4.0, 1.0]]), facing_H=np.zeros(5)
    )
    slowed = chunk.slowed(-2.0, 1.0)
    assert slowed.action_HA.tolist() == [[1.0, 0.5], [0.5, 1.0], [0.0, 1.0], [-1.0, 1.0], [-2.0, 0.5]]
    assert slowed.facing_H is chunk.facing_H or (slowed.facing_H == chunk.facing_H).all()
    assert chunk.slowed(0.0, 2.0).action_HA.tolist()[3:] == [[0.0, 1.0], [0.0, 1.0]]
    assert chunk.slowed(-4.0, 2.0) is chunk


def test_actions_of_another_size_are_refused():
    buffer = ChunkBuffer()
    buffer.add(Chunk(0, 0.1, np.zeros((5, 1))), 0)
    with pytest.raises(ChunkError, match="values"):
        buffer.add(Chunk(0, 0.1, np.zeros((5, 2))), 0)


@pytest.mark.parametrize("values", [{"how": "mean"}, {"new_share": 1.5}, {"most": 0}])
def test_what_combines_nothing_is_refused(values):
    with pytest.raises(ValueError, match=r"cannot be|expected one of"):
        Combining(**values)


def test_what_latency_is_reckoned_with_is_told_without_reckoning():
    """It is asked for with each command. NumPy lets the interpreter go meanwhile, and gets it back late from others."""
    latency, values = Latency(0.5), np.random.default_rng(0).uniform(0.1, 0.4, 200)
    for count, value in enumerate(values, 1):
        latency.add(value)
        counted = [*values[max(0, count - 64) : count], *([0.5] if count < 20 else [])]
        latency._measured, kept = None, latency._measured
        assert latency.reckoned_s == np.quantile(counted, 0.95, method="higher")
        assert latency.usual_s == np.median(values[max(0, count - 3) : count])
        latency._measured = kept


def test_the_reckoned_latency_is_one_that_few_exceed():
    latency = Latency(0.5)
    assert latency.reckoned_s == 0.5
    for value in np.linspace(0.1, 0.2, 64):
        latency.add(value)
    assert np.quantile(np.linspace(0.1, 0.2, 64), 0.95) <= latency.reckoned_s <= 0.2
    assert latency.last_s == pytest.approx(0.2)
    assert latency.usual_s == pytest.approx(np.linspace(0.1, 0.2, 64)[-2])
