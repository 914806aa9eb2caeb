"""Ticks from the frames' own time, against results worked out by hand."""

import numpy as np
import pytest

from world_action import FrameGate, ViewMatcher

MS = 1_000_000


def ticks_of(matcher: ViewMatcher, frames: list[tuple[str, int]]) -> list[tuple[int, tuple, tuple]]:
    """Offer (view, stamp in ms) one after the other; return (ms, frames, missing) of each tick."""
    formed = [matcher.offer(view, stamp * MS, f"{view}{stamp}") for view, stamp in frames]
    return [(tick.stamp_ns // MS, tick.frames, tick.missing) for tick in formed if tick is not None]


def test_one_tick_a_second_from_twenty_frames_a_second() -> None:
    matcher = ViewMatcher(["a"])
    ticks = ticks_of(matcher, [("a", 7 + 50 * n) for n in range(61)])
    assert [tick[0] for tick in ticks] == [7, 1007, 2007, 3007]
    assert ticks[1] == (1007, ("a1007",), ())


def test_the_grid_does_not_drift_when_frames_never_meet_it() -> None:
    matcher = ViewMatcher(["a"])
    ticks = ticks_of(matcher, [("a", 60 * n) for n in range(100)])
    assert [tick[0] for tick in ticks] == [0, 1020, 2040, 3000, 4020, 5040]


def test_a_camera_as_slow_as_the_ticks_gives_one_at_each_frame() -> None:
    rng = np.random.default_rng(0)
    for period_ms in (995, 1000, 1003):
        stamps = [period_ms * n + int(rng.integers(-20, 20)) for n in range(200)]
        seen = [tick[0] for tick in ticks_of(ViewMatcher(["a"]), [("a", stamp) for stamp in stamps])]
        assert seen[4:] == stamps[len(stamps) - len(seen) + 4 :]
        assert len(seen) >= len(stamps) - 4


def test_unread_frames_between_ticks_do_not_make_a_camera_slow() -> None:
    matcher = ViewMatcher(["a"])
    read = [("a", 1000 * tick + 50 * n) for tick in range(1, 12) for n in (-2, -1, 0)]
    assert [tick[0] for tick in ticks_of(matcher, [("a", 0), *read])] == [1000 * n for n in range(12)]


def test_a_pause_starts_a_new_grid() -> None:
    matcher = ViewMatcher(["a"])
    ticks = ticks_of(matcher, [("a", 0), ("a", 3700), ("a", 4000), ("a", 4650), ("a", 4700)])
    assert [tick[0] for tick in ticks] == [0, 3700, 4700]


def test_time_that_goes_back_starts_afresh() -> None:
    matcher = ViewMatcher(["a"])
    ticks = ticks_of(matcher, [("a", 60_000), ("a", 10), ("a", 500), ("a", 1010)])
    assert [tick[0] for tick in ticks] == [60_000, 10, 1010]


def test_a_frame_far_ahead_does_not_silence_what_follows() -> None:
    matcher = ViewMatcher(["a"])
    ticks = ticks_of(matcher, [("a", 0), ("a", 3_600_000), ("a", 1000), ("a", 2000)])
    assert [tick[0] for tick in ticks] == [0, 3_600_000, 1000, 2000]


def test_a_late_frame_is_ignored() -> None:
    matcher = ViewMatcher(["a"])
    assert [t[0] for t in ticks_of(matcher, [("a", 0), ("a", 900), ("a", 850), ("a", 1000)])] == [0, 1000]


def test_a_recording_shorter_than_a_period_may_loop() -> None:
    matcher = ViewMatcher(["a"])
    rounds = [("a", 50 * n) for _ in range(60) for n in range(16)]
    ticks = ticks_of(matcher, rounds)
    assert len(ticks) == 60
    assert {tick[0] for tick in ticks[1:]} == {50}


def test_views_are_matched_and_ordered() -> None:
    matcher = ViewMatcher(["a", "b"])
    ticks = ticks_of(matcher, [("b", 0), ("a", 30), ("b", 50), ("a", 80), ("a", 1030), ("b", 1040)])
    assert ticks == [(30, ("a30", "b0"), ()), (1040, ("a1030", "b1040"), ())]


def test_a_silent_view_is_named_after_the_wait() -> None:
    matcher = ViewMatcher(["a", "b"], wait_s=0.1)
    ticks = ticks_of(matcher, [("a", 0), ("b", 0), *(("a", 50 * n) for n in range(1, 25))])
    assert ticks == [(0, ("a0", "b0"), ()), (1100, ("a1100", None), ("b",))]


def test_a_view_that_comes_within_the_wait_is_used() -> None:
    matcher = ViewMatcher(["a", "b"])
    ticks = ticks_of(matcher, [("a", 0), ("b", 0), ("a", 1000), ("a", 1050), ("b", 1040)])
    assert ticks[1] == (1050, ("a1050", "b1040"), ())


def test_a_stale_view_is_masked() -> None:
    matcher = ViewMatcher(["a", "b"], tolerance_s=0.1, wait_s=0.0)
    ticks = ticks_of(matcher, [("b", 0), ("a", 0), ("b", 800), ("a", 1000)])
    assert ticks[-1] == (1000, ("a1000", None), ("b",))


@pytest.mark.parametrize("views", [[], ["a", "a"]])
def test_refuses_views_that_cannot_be_told_apart(views: list[str]) -> None:
    with pytest.raises(ValueError, match="views"):
        ViewMatcher(views)


def test_gate_closes_for_most_of_the_period() -> None:
    gate = FrameGate(period_s=1.0, early=0.1)
    assert gate.closed_for_s(0, 50.0) == 0.0  # the pace is not known yet
    assert gate.closed_for_s(1000 * MS, 51.0) == pytest.approx(0.9)


def test_gate_follows_a_recording_played_four_times_as_fast() -> None:
    gate = FrameGate(period_s=1.0, early=0.1)
    gate.closed_for_s(0, 50.0)
    assert gate.closed_for_s(1000 * MS, 50.25) == pytest.approx(0.225)


def test_gate_stays_open_when_time_goes_back_and_never_closes_for_longer_than_a_period() -> None:
    gate = FrameGate(period_s=1.0, early=0.1)
    gate.closed_for_s(5000 * MS, 50.0)
    assert gate.closed_for_s(0, 51.0) == 0.0
    assert gate.closed_for_s(1000 * MS, 60.0) == pytest.approx(0.9)  # the player was paused
