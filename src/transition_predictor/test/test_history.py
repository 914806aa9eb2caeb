"""When the visual history may be used."""

from __future__ import annotations

import numpy as np
import pytest

from transition_predictor.history import HistoryKeeper

NS = 1_000_000_000


@pytest.mark.parametrize(
    ("enabled", "count", "at_s", "reason"),
    [(False, 4, 10.0, "disabled"), (True, 0, 10.0, "absent"), (True, 4, 13.0, "stale"), (True, 4, 5.0, "stale")],
)
def test_why_not(enabled, count, at_s, reason):
    keeper = HistoryKeeper(enabled, 2.5)
    keeper.insert(10 * NS, np.ones(896, np.float32), count)
    usable = keeper.at(int(at_s * NS))
    assert (usable.values_N, usable.reason) == (None, reason)


def test_absent_before_the_first():
    assert HistoryKeeper(True, 2.5).at(0).reason == "absent"


def test_fresh_is_used():
    keeper = HistoryKeeper(True, 2.5)
    keeper.insert(10 * NS, np.ones(896, np.float32), 3)
    usable = keeper.at(12 * NS)
    assert (usable.values_N.sum(), usable.count, usable.reason) == (896, 3, "")


def test_a_history_of_another_timeline_is_forgotten():
    """After a step back of 2 s it would pass for fresh: the age alone does not tell."""
    keeper = HistoryKeeper(True, 2.5)
    keeper.insert(10 * NS, np.ones(896, np.float32), 3)
    assert keeper.at(8 * NS).values_N is not None
    keeper.clear()
    assert keeper.at(8 * NS).reason == "absent"
