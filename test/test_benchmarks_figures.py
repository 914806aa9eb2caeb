"""Ratios over pairs of runs, and processes' cost."""

from __future__ import annotations

import os
import signal
import statistics
import sys
from math import comb
from pathlib import Path
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import interleave, interval, order, ratio, summary
from benchmarks.processes import Processes

BUSY = "x = 0\nwhile True: x += 1"
READY = "import signal, sys, time; {}; print('ready', flush=True); time.sleep(600)"


def wait_for(condition, longest_s=30.0):
    deadline = monotonic() + longest_s
    while not condition():
        assert monotonic() < deadline, "it did not come true"
        signal.sigtimedwait([], 0.02)


def test_sides_take_turns_at_being_first():
    assert [order(pair) for pair in range(4)] == [("ours", "theirs"), ("theirs", "ours")] * 2


def test_runs_of_a_pair_follow_one_another_and_keep_their_side():
    asked = []

    def run(side, case, pair):
        asked.append((pair, case, side))
        return f"{side} {case} {pair}"

    found = interleave(2, ["a", "b"], run)
    assert asked == [
        (0, "a", "ours"), (0, "a", "theirs"), (0, "b", "ours"), (0, "b", "theirs"),
        (1, "a", "theirs"), (1, "a", "ours"), (1, "b", "theirs"), (1, "b", "ours"),
    ]  # fmt: skip
    assert found["b"] == [["ours b 0", "theirs b 0"], ["ours b 1", "theirs b 1"]]


def test_ratio_is_of_each_pair_not_of_the_medians():
    pairs = [[{"ms": 2.0}, {"ms": 1.0}], [{"ms": 30.0}, {"ms": 10.0}], [{"ms": 4.0}, {"ms": 4.0}]]
    assert ratio(pairs, "ms") == {"median": 2.0, "low": 1.0, "high": 3.0}


def test_ratio_refuses_to_divide_by_nothing():
    with pytest.raises(ValueError, match=r"ms is 0\.0"):
        ratio([[{"ms": 2.0}, {"ms": 0.0}]], "ms")


@pytest.mark.parametrize(
    ("count", "left_out"),
    # Twice the sum of the first binomials over 2^n: 5 -> 2/32, 8 -> 18/256 but 74/256, 11 -> 134/2048 but 464/2048.
    [(1, 0), (4, 0), (5, 0), (7, 0), (8, 1), (11, 2)],
)
def test_interval_by_hand(count, left_out):
    assert interval(range(count)[::-1]) == (left_out, count - 1 - left_out)


@given(st.lists(st.floats(0.1, 10), min_size=5, max_size=40))
def test_interval_is_the_narrowest_that_holds_the_median_often_enough(values):
    def missed(left_out):
        return 2 * sum(comb(len(values), k) for k in range(left_out + 1)) / 2 ** len(values)

    expected = max(n for n in range(len(values) // 2) if missed(n) <= 0.1)
    ranked = sorted(values)
    low, high = interval(values)
    assert (low, high) == (ranked[expected], ranked[-1 - expected])
    assert low <= statistics.median(values) <= high


def test_nothing_to_summarise_is_said():
    with pytest.raises(ValueError, match="nothing came back"):
        summary([])
    with pytest.raises(ValueError, match="no values"):
        interval([])


@pytest.mark.slow
def test_processor_time_and_memory_are_those_of_the_processes(tmp_path):
    block = READY.format("block = bytearray(64_000_000)")
    with Processes({"busy": [sys.executable, "-c", BUSY]}, tmp_path) as busy:
        wait_for(lambda: busy.cpu_s() > 0.3)
        assert busy.trouble() is None
    with Processes({"big": [sys.executable, "-c", block]}, tmp_path) as big:
        wait_for(lambda: "ready" in big.log_paths["big"].read_text())
        assert big.rss_bytes() > 64_000_000
        assert big.cpu_s() < 10.0


def test_shared_memory_counts_once_for_all_that_have_it_mapped(tmp_path):
    shared = Path(f"/dev/shm/wm_test_{os.getpid()}")
    shared.write_bytes(bytes(3_000_000))
    try:
        mapping = f"import mmap, os; held = mmap.mmap(os.open({str(shared)!r}, os.O_RDWR), 0)"
        mapped = [sys.executable, "-c", READY.format(mapping)]
        with Processes({"one": mapped, "other": mapped}, tmp_path) as both:
            wait_for(lambda: all("ready" in path.read_text() for path in both.log_paths.values()))
            assert both.shared_bytes() == 3_000_000
    finally:
        shared.unlink()


def test_a_process_that_ended_is_named_with_its_last_words(tmp_path):
    with Processes({"gone": [sys.executable, "-c", "print('no camera'); raise SystemExit(3)"]}, tmp_path) as gone:
        wait_for(lambda: gone.trouble() is not None)
        assert gone.trouble() == "gone ended with exit code 3: no camera"


@pytest.mark.slow
def test_who_ignores_ctrl_c_is_killed(tmp_path):
    ignoring = READY.format("signal.signal(signal.SIGINT, signal.SIG_IGN)")
    polite = READY.format("signal.signal(signal.SIGINT, lambda *_: sys.exit(0))")
    commands = {name: [sys.executable, "-c", code] for name, code in (("rude", ignoring), ("polite", polite))}
    processes = Processes(commands, tmp_path)
    wait_for(lambda: all("ready" in path.read_text() for path in processes.log_paths.values()))
    assert processes.stop(longest_s=2.0) == {"rude": -signal.SIGKILL, "polite": 0}
