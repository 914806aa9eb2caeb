"""Whatever is wanted, what is sent keeps range, speed, acceleration and jerk, from rest and for ever."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wm_core.limits import Limiter, Limits

SPEEDS = Limits(low=(0.0, -2.0), high=(1.0, 2.0), rate=(3.0, 12.0), jerk=(60.0, 240.0))
JOINTS = Limits(low=(-1.0, 0.0), high=(1.0, 0.3), rate=(1.0, 0.5), jerk=(4.0, 2.0))


def wanted_by(seed, steps=120):
    """Return commands that jump, ramp, rest and are not finite now and then."""
    rng = np.random.default_rng(seed)
    wanted = np.repeat(rng.normal(0.0, rng.choice([0.1, 1.0, 50.0]), (steps // 6, 2)), 6, axis=0)
    wanted[rng.random(len(wanted)) < 0.05] = rng.choice([np.nan, np.inf, -np.inf, 0.0])
    return wanted


def sent_by(limiter, wanted):
    return np.array([limiter.value, *(limiter.step(each) for each in wanted)])


def assert_kept(sent, limits, step_s, third=None):
    orders = [limits.rate, limits.jerk, *([third] if third else [])]
    assert (sent >= np.array(limits.low) - 1e-7).all()
    assert (sent <= np.array(limits.high) + 1e-7).all()
    # At rest before the first command.
    change = np.concatenate([np.repeat(sent[:1], 3, axis=0), sent])
    for number, bound in enumerate(orders, 1):
        change = np.diff(change, axis=0)
        assert (np.abs(change) <= np.array(bound) * step_s**number + 1e-7).all(), number


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0.01, 0.02, 0.05]))
def test_speeds_keep_range_acceleration_and_jerk(seed, step_s):
    assert_kept(sent_by(Limiter(SPEEDS, step_s), wanted_by(seed)), SPEEDS, step_s)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0.01, 0.02, 0.05]))
def test_positions_keep_range_speed_acceleration_and_jerk(seed, step_s):
    third = (40.0, 20.0)
    assert_kept(sent_by(Limiter(JOINTS, step_s, third), wanted_by(seed)), JOINTS, step_s, third)


@pytest.mark.parametrize(("limits", "third"), [(SPEEDS, ()), (JOINTS, (40.0, 20.0))])
def test_what_stays_wanted_is_reached_without_swinging_past_it(limits, third):
    limiter = Limiter(limits, 0.02, third)
    wanted = np.array([0.5, 0.25])
    sent = sent_by(limiter, np.tile(wanted, (400, 1)))
    assert sent[-1] == pytest.approx(wanted, abs=1e-6)
    assert sent.max(axis=0) == pytest.approx(wanted, abs=1e-6)
    assert limiter.is_steady


def test_what_is_within_the_limits_is_sent_as_it_is():
    wanted = np.linspace(0.0, 0.3, 50)[1:, None] * np.ones(2)
    assert sent_by(Limiter(SPEEDS, 0.02), wanted)[1:] == pytest.approx(wanted)


def test_it_begins_where_it_is_told_to():
    limiter = Limiter(SPEEDS, 0.02)
    limiter.start(np.array([0.7, 9.0]))
    assert limiter.value == pytest.approx([0.7, 2.0])
    assert limiter.step(np.array([np.nan, np.nan])) == pytest.approx([0.7, 2.0])


@pytest.mark.parametrize(("step_s", "third"), [(0.0, ()), (0.02, (1.0,)), (0.02, (1.0, 0.0))])
def test_what_makes_no_sense_is_refused(step_s, third):
    with pytest.raises(ValueError, match=r"limiter|third"):
        Limiter(SPEEDS, step_s, third)


def test_what_comes_to_a_stand_together_stays_in_its_bend():
    """1.2 m/s take 0.4 s at 3 m/s^2; 1.8 rad/s alone would take 0.15 s, and the robot would leave the bend."""
    limiter = Limiter(Limits(low=(0.0, -2.0), high=(1.5, 2.0), rate=(3.0, 12.0), jerk=(1e6, 1e6)), 0.02)
    limiter.start(np.array([1.2, 1.8]))
    sent = [limiter.step(limiter.together(np.zeros(2))) for _ in range(21)]
    assert sent[0] == pytest.approx([1.14, 1.71])
    moving = [each for each in sent if each[0] > 1e-6]
    assert len(moving) == 19
    assert [each[1] / each[0] for each in moving] == pytest.approx([1.5] * 19)
    assert sent[-1] == pytest.approx([0.0, 0.0])
