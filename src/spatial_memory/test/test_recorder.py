"""From the dense stream to spaced records: spacing, successors with their real times, sessions, surprise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from spatial_memory import EncoderMismatchError, Place, RecordError
from wm_core.memory.keyframes import Spacing
from wm_core.memory.recorder import Recorder, State
from wm_core.memory.reference import BruteMemory

STEP_NS = 50_000_000
START_NS = 10**12


@pytest.fixture
def memory(grid) -> BruteMemory:
    return BruteMemory(grid)


@pytest.fixture
def recorder(memory) -> Recorder:
    return Recorder(memory, "run")


def state(number: float, x: float = 0.0, **fields: object) -> State:
    """Return the state ``number`` steps after the start, whose latent and action tell the number."""
    values: dict = {
        "stamp_ns": START_NS + round(number * STEP_NS),
        "latent_D": np.full(2, number, np.float32),
        "encoder_id": "e",
        "place": Place(x, 0.0),
        "action_A": np.array([number], np.float32),
    }
    return State(**{**values, **fields})


def records(memory: BruteMemory) -> list:
    return list(memory._records.values())


def test_spacing_by_distance_turn_and_time(memory):
    recorder = Recorder(memory, "run", Spacing(0.1, math.radians(10.0), 1.0))
    stored = [recorder.observe(state(number, x=0.04 * number)) is not None for number in range(7)]
    assert stored == [True, False, False, True, False, False, True]
    assert recorder.observe(state(7, place=Place(0.24, 0.0, 0.0, math.radians(9.0)))) is None
    assert recorder.observe(state(8, place=Place(0.24, 0.0, 0.0, math.radians(11.0)))) is not None
    assert recorder.observe(state(27.9, x=0.24, place=Place(0.24, 0.0, 0.0, math.radians(11.0)))) is None
    assert recorder.observe(state(28, x=0.24, place=Place(0.24, 0.0, 0.0, math.radians(11.0)))) is not None


def test_turning_across_pi_is_a_small_turn(memory):
    recorder = Recorder(memory, "run")
    recorder.observe(state(0, place=Place(0.0, 0.0, 0.0, math.pi - 0.01)))
    assert recorder.observe(state(1, place=Place(0.0, 0.0, 0.0, -math.pi + 0.01))) is None


def test_successors_come_from_the_dense_stream_with_their_real_times(memory, recorder):
    for number in range(25):
        recorder.observe(state(number * 1.02, x=0.0 if number else -5.0))
    first = records(memory)[0]
    assert [(s.horizon_s, round(s.dt_s, 4)) for s in first.successors] == [(0.05, 0.051), (1.0, 1.02)]
    assert [s.latent_D[0] for s in first.successors] == pytest.approx([1.02, 20.4])


def test_a_gap_leaves_its_horizon_empty(memory, recorder):
    for number in [0, 3, *range(18, 30)]:
        recorder.observe(state(number))
    first = records(memory)[0]
    assert [(s.horizon_s, s.latent_D[0]) for s in first.successors] == [(1.0, 20.0)]
    recorder.observe(state(100, x=9.0))
    recorder.observe(state(130, x=9.0))
    assert [record.successors for record in records(memory)[-2:]] == [(), ()]


def test_states_without_a_pose_are_successors_but_not_stored(memory, recorder):
    recorder.observe(state(0))
    with pytest.raises(RecordError) as error:
        recorder.observe(state(1, place=None))
    assert error.value.reason == "no-pose"
    assert len(records(memory)) == 1
    assert records(memory)[0].successors[0].latent_D[0] == 1.0


@pytest.mark.parametrize("jump", [-1, -500, 700])
def test_time_jumps_start_a_session_and_link_nothing_across(memory, recorder, jump):
    recorder.observe(state(0, x=-1.0))
    recorder.observe(state(1, x=0.0))
    first_session = recorder.session
    recorder.observe(state(1 + jump, x=1.0))
    recorder.observe(state(2 + jump, x=2.0))
    assert recorder.session != first_session
    held = records(memory)
    assert [record.session == first_session for record in held] == [True, True, False, False]
    assert [len(record.successors) for record in held] == [1, 0, 1, 0]
    assert held[2].previous_action_A.size == 0


def test_a_repeated_stamp_is_named(memory, recorder):
    recorder.observe(state(0))
    with pytest.raises(RecordError) as error:
        recorder.observe(state(0, x=5.0))
    assert error.value.reason == "repeated-stamp"
    recorder.observe(state(1, x=5.0))
    assert {record.session for record in records(memory)} == {recorder.session}


def test_actions_are_what_led_here_and_what_was_taken(memory, recorder):
    recorder.observe(state(0))
    recorder.observe(state(1))
    recorder.observe(state(2, x=1.0))
    recorder.observe(state(9, x=2.0))
    held = records(memory)
    assert [record.action_A.tolist() for record in held] == [[0.0], [2.0], [9.0]]
    assert [record.previous_action_A.tolist() for record in held] == [[], [1.0], []]


def test_surprise_joins_by_stamp_before_and_after(memory, recorder):
    recorder.observe(state(0))
    recorder.observe_error(state(0).stamp_ns, 1.5)
    recorder.observe_error(state(1).stamp_ns, 2.5)
    recorder.observe(state(1, x=1.0))
    recorder.observe_error(state(99).stamp_ns, 9.0)
    assert [record.surprise for record in records(memory)] == [1.5, 2.5]


def test_another_encoder_is_refused_and_never_a_successor(memory, recorder):
    recorder.observe(state(0))
    with pytest.raises(EncoderMismatchError):
        recorder.observe(state(1, x=1.0, encoder_id="f"))
    assert records(memory)[0].successors == ()
    recorder.observe(state(1, x=1.0))
    assert len(records(memory)) == 2


def test_bad_latents_are_refused_before_they_are_linked(memory, recorder):
    recorder.observe(state(0))
    with pytest.raises(RecordError):
        recorder.observe(state(1, latent_D=np.array([np.nan, 0.0], np.float32)))
    assert records(memory)[0].successors == ()


def test_the_nearer_of_two_states_is_the_successor_whichever_comes_first(memory, recorder):
    for number, x in ((0, 0.0), (0.8, 0.0), (1.1, 1.0), (1.6, 1.0), (2.5, 1.0)):
        recorder.observe(state(number, x=x))
    first, second = records(memory)
    assert [(s.horizon_s, s.dt_s) for s in first.successors] == [(0.05, 0.055)]
    assert [(s.horizon_s, s.dt_s) for s in second.successors] == [(0.05, 0.07)]
    assert second.successors[0].latent_D[0] == pytest.approx(2.5)


def test_a_camera_of_10_hz_has_nothing_to_say_of_one_step_and_everything_of_a_second(memory, recorder):
    for number in range(0, 201, 2):
        recorder.observe(state(number, x=0.1 * number))
    recorder.finish()
    held = records(memory)
    assert [[s.horizon_s for s in record.successors] for record in held[:91]] == [[1.0]] * 91
    assert recorder.counts.at(0.05) == {"linked": 0, "missed": 100, "cut": 1}
    assert recorder.counts.at(1.0) == {"linked": 91, "missed": 0, "cut": 10}


def test_the_end_of_a_session_links_what_is_nearest_so_far(memory, recorder):
    for number in (0, 19.5, 700):
        recorder.observe(state(number))
    assert [(s.horizon_s, s.dt_s) for s in records(memory)[0].successors] == [(1.0, 0.975)]
    assert recorder.counts.at(0.05) == {"linked": 0, "missed": 1, "cut": 0}


def test_a_model_with_other_horizons_starts_a_session_and_keeps_what_is_stored(memory, recorder):
    for number in range(60):
        recorder.observe(state(number))
    before = recorder.session
    for number in range(60, 200):
        recorder.observe(state(number, step_s=0.2, horizons_s=(2.0, 0.2)))
    assert recorder.session != before
    assert (recorder.step_s, recorder.horizons_s) == (0.2, (0.2, 2.0))
    first, last = records(memory)[0], records(memory)[-4]
    assert [(s.horizon_s, s.dt_s) for s in first.successors] == [(0.05, 0.05), (1.0, 1.0)]
    assert [(s.horizon_s, s.dt_s) for s in last.successors] == [(0.2, 0.2), (2.0, 2.0)]
    # Of the last one of the former session, what is nearest in it.
    third = records(memory)[2]
    assert third.session == before
    assert [(s.horizon_s, s.dt_s) for s in third.successors] == [(0.05, 0.05), (1.0, 0.95)]


@pytest.mark.parametrize("horizons_s", [(0.0, 1.0), (math.nan,), (-1.0,)])
def test_impossible_horizons_are_named(recorder, horizons_s):
    with pytest.raises(RecordError) as error:
        recorder.observe(state(0, step_s=0.05, horizons_s=horizons_s))
    assert error.value.reason == "impossible-horizons"


def test_an_emptied_memory_takes_another_encoder_in_a_session_of_its_own(memory, recorder):
    recorder.observe(state(0))
    before = recorder.session
    memory.clear()
    recorder.observe(state(1, x=1.0, encoder_id="f"))
    recorder.observe(state(2, x=2.0, encoder_id="f"))
    assert recorder.session != before
    assert [(record.session, len(record.successors)) for record in records(memory)] == [
        (recorder.session, 1),
        (recorder.session, 0),
    ]
