"""The limits have the last word, whatever is wanted; the noise that is sampled is of the stated size and colour."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from latent_planner.limits import Limits
from latent_planner.mppi import coloured

STEP_S = 0.05
LIMITS = Limits(low=(0.0, -2.0), high=(1.0, 2.0), rate=(3.0, 12.0), jerk=(60.0, 240.0))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.1, 100.0))
def test_range_acceleration_and_jerk_are_kept(seed, spread):
    wanted = np.random.default_rng(seed).normal(0.0, spread, (60, 4, 2))
    sent = LIMITS.bounded(wanted, np.zeros(2), np.zeros(2), STEP_S)
    change = np.diff(sent, axis=0, prepend=np.zeros((1, 4, 2)))
    jerk = np.diff(change, axis=0, prepend=np.zeros((1, 4, 2)))
    assert (sent >= np.array(LIMITS.low) - 1e-9).all()
    assert (sent <= np.array(LIMITS.high) + 1e-9).all()
    assert (np.abs(change) <= np.array(LIMITS.rate) * STEP_S + 1e-9).all()
    assert (np.abs(jerk) <= np.array(LIMITS.jerk) * STEP_S**2 + 1e-9).all()


def test_what_is_within_the_limits_is_sent_as_it_is():
    wanted = np.linspace(0.0, 0.3, 20)[:, None, None] * np.ones((1, 1, 2))
    assert LIMITS.bounded(wanted, np.zeros(2), np.zeros(2), STEP_S) == pytest.approx(wanted)


@pytest.mark.parametrize("values", [{"low": (2.0, 0.0)}, {"rate": (0.0, 1.0)}, {"jerk": (1.0,)}])
def test_limits_that_leave_nothing_are_refused(values):
    with pytest.raises(ValueError, match="limits"):
        Limits(**values)


@pytest.mark.parametrize("steps", [1, 2, 3, 56])
@pytest.mark.parametrize("colour", [0.0, 1.0, 2.0])
def test_noise_has_unit_variance_at_any_length(steps, colour):
    noise = coloured(np.random.default_rng(0), (steps, 20_000, 1), colour)
    assert noise.var(axis=1) == pytest.approx(1.0, rel=0.06)


def test_noise_of_a_colour_changes_slowly():
    slow, white = (coloured(np.random.default_rng(0), (56, 4000, 1), colour) for colour in (2.0, 0.0))
    assert (slow[:-1] * slow[1:]).mean() > 0.85
    assert abs((white[:-1] * white[1:]).mean()) < 0.02
