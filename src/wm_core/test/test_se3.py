"""Rotations whose quaternion changes its sign, and half turns, against results worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from wm_core.se3 import quaternion_of, rotate, rotation_angle, slerp, yaw_of

# Between the axes east, north, up and north, east, down: half a turn about the diagonal of the first two.
ENU_TO_NED = np.array([0.5**0.5, 0.5**0.5, 0.0, 0.0])
EARLY, LATE = np.array(quaternion_of(0.2)), np.array(quaternion_of(0.6))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_quaternion_of_the_other_sign_is_the_same_turn(sign):
    assert yaw_of(sign * EARLY) == pytest.approx(0.2, abs=1e-12)
    assert rotation_angle(EARLY, sign * EARLY) == pytest.approx(0.0, abs=1e-12)
    assert rotation_angle(EARLY, sign * LATE) == pytest.approx(0.4, abs=1e-12)
    assert yaw_of(slerp(EARLY, sign * LATE, 0.5)) == pytest.approx(0.4, abs=1e-12)
    turned_3 = rotate(sign * EARLY, np.array([1.0, 0.0, 3.0]))
    np.testing.assert_allclose(turned_3, [np.cos(0.2), np.sin(0.2), 3.0], atol=1e-12)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_half_a_turn_about_a_diagonal_is_kept(sign):
    half = sign * ENU_TO_NED
    np.testing.assert_allclose(rotate(half, np.array([1.0, 2.0, 3.0])), [2.0, 1.0, -3.0], atol=1e-12)
    assert rotation_angle(half, np.array([0.0, 0.0, 0.0, 1.0])) == pytest.approx(np.pi, abs=1e-12)
