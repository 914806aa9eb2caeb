"""Which moment ages are counted from."""

from __future__ import annotations

import numpy as np
import pytest

from wm_core.memory.present import newest_ns, present_ns

S = 10**9
DAY = 86_400 * S
NOW = 1_800_000_000 * S


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ([], 0),
        ([5], 5),
        ([1, 2, 3], 3),
        ([NOW - S, NOW], NOW),
        ([NOW - S, NOW + 59 * S], NOW + 59 * S),
        ([NOW - S, NOW + 61 * S], NOW - S),
        ([NOW - S, 2**63 - 1], NOW - S),
        ([-(2**63), 2**63 - 1], -(2**63)),
        ([10 * S, 11 * S, 11 * S + DAY], 11 * S + DAY),
        ([10 * S, 11 * S, 12 * S + DAY], 11 * S),
        ([10 * S, 12 * S + DAY, 12 * S + DAY], 12 * S + DAY),
        ([NOW + 2 * DAY, NOW + 2 * DAY + S], NOW + 2 * DAY + S),
    ],
)
def test_the_newest_stamp_that_can_be_believed(stamps, expected):
    stamp_N = np.random.default_rng(0).permutation(np.array(stamps, np.int64))
    assert present_ns(stamp_N, NOW) == expected


def test_the_machines_own_clock_counts_where_none_is_given():
    assert present_ns(np.array([1, 2, 2**62])) == 2


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ([], 0),
        ([-5], -5),
        ([NOW - S, NOW + 59 * S], NOW + 59 * S),
        ([NOW - S, NOW + 61 * S, 2**63 - 1], NOW - S),
        ([NOW + DAY, NOW + 2 * DAY], NOW + 2 * DAY),
        ([10 * S, 12 * S + DAY], 12 * S + DAY),
    ],
)
def test_the_newest_stamp_is_of_the_future_only_where_all_are(stamps, expected):
    stamp_N = np.random.default_rng(1).permutation(np.array(stamps, np.int64))
    assert newest_ns(stamp_N, NOW) == expected
