"""How sure an expected pose is: against robots whose errors are known."""

import numpy as np
import pytest

from wm_core.se2 import Pose2
from world_model.runtime.foresight import PathTrust

NS, RATE_HZ, HORIZON_S = 10**9, 20.0, 1.0
NOTHING_13 = np.zeros((1, 3))


def expected(trust, second, moved_13, std_13):
    here = Pose2(second, 0.0, 0.0, 0.0)
    return trust.expect(round(second * NS), here, moved_13, NOTHING_13, std_13, NOTHING_13)[1][0]


def drive(trust, seconds, std_13, left_m):
    """A robot that drives ahead at 1 m/s is expected to, and is each time so far aside as drawn."""
    random, moved_13 = np.random.default_rng(0), np.array([[1.0, 0.0, 0.0]])
    for number in range(round(seconds * RATE_HZ)):
        second = number / RATE_HZ
        trust.observe(round(second * NS), Pose2(second, left_m * random.normal(), 0.0, 0.0))
        told_3 = expected(trust, second, moved_13, std_13)
    return told_3


@pytest.mark.parametrize("moved_m", [0.0, 1.0, 20.0])
def test_of_a_motion_that_was_never_judged_nothing_is_sure(moved_m):
    told_3 = expected(PathTrust([HORIZON_S], 1.0 / RATE_HZ), 0.0, np.array([[moved_m, 0.0, 0.0]]), NOTHING_13)
    assert (told_3 >= max(moved_m, 0.2)).all()


def test_errors_that_are_not_told_are_those_that_came_true():
    told_3 = drive(PathTrust([HORIZON_S], 1.0 / RATE_HZ), 60.0, NOTHING_13, left_m=0.3)
    assert told_3[1] == pytest.approx(0.3, rel=0.25)
    assert told_3[0] < 0.15 < 0.2 < told_3[1]


def test_errors_that_are_told_and_come_true_stay_as_they_are():
    told_13 = np.array([[0.3, 0.3, 0.3]])
    np.testing.assert_array_equal(expected(PathTrust([HORIZON_S], 0.05), 0.0, np.ones((1, 3)), told_13), told_13[0])
    told_3 = drive(PathTrust([HORIZON_S], 1.0 / RATE_HZ), 60.0, told_13, left_m=0.3)
    assert told_3[1] == pytest.approx(0.3, rel=1e-9)
