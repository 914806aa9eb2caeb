"""Who brakes while its clock cannot be heard brakes at the pace at which it commanded."""

import pytest

from policy_runner import pace as module
from policy_runner.pace import Pace


@pytest.mark.parametrize("real_s", [0.002, 0.02, 0.2])
def test_a_clock_that_is_slow_or_fast_makes_the_pace_that(monkeypatch, real_s):
    now_s = [0.0]
    monkeypatch.setattr(module, "monotonic", lambda: now_s[0])
    pace = Pace(0.02)
    assert pace.period_s == 0.02
    for number in range(40):
        # One that was held up in between makes no difference.
        now_s[0] += real_s if number % 7 else 3.0 * real_s
        pace.tick()
    assert pace.period_s == pytest.approx(real_s)


def test_a_clock_that_stood_still_makes_nobody_wait_for_long(monkeypatch):
    now_s = [0.0]
    monkeypatch.setattr(module, "monotonic", lambda: now_s[0])
    pace = Pace(0.02)
    for _ in range(10):
        now_s[0] += 60.0
        pace.tick()
    assert pace.period_s == 1.0
