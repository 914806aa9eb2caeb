"""Nothing acknowledged is lost when the process is killed; ``crash.py`` does the same a hundred times."""

from __future__ import annotations

import pytest

from .crash import run

pytestmark = pytest.mark.slow


def test_kills_lose_nothing_acknowledged():
    outcomes = run(kills=10, seed=1)
    assert sum(each.acknowledged for each in outcomes) > 0
    assert [each.lost_acknowledged for each in outcomes] == [0] * 10
    assert [each.damaged for each in outcomes] == [0] * 10
    # 0.5 s is promised; a busy machine may pause the process for longer, and that is not a loss.
    assert max(each.lost_s for each in outcomes) < 5.0
