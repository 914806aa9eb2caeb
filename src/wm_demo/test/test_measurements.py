from __future__ import annotations

import json
import os

import pytest

from bag_player.sent_log import SentFrame, SentLog, read_items
from wm_demo.measurements import AgeMeter, Measurements, Rate, ScoredForecast, StampFinder, percentiles

MS = 1_000_000


def test_ages_match_by_stamp_whichever_is_reported_first():
    ages = AgeMeter()
    ages.received("/latent", 100, 7 * MS)
    assert len(ages.ages_ms("/latent")) == 0
    ages.sent(SentFrame(100, 2 * MS))
    ages.sent(SentFrame(200, 50 * MS))
    ages.received("/latent", 200, 59 * MS)

    assert ages.ages_ms("/latent").tolist() == [5.0, 9.0]
    assert ages.ages_ms("/latent", newest=1).tolist() == [9.0]


def test_the_same_stamp_in_a_second_loop_counts_from_its_own_publication():
    ages = AgeMeter()
    ages.sent(SentFrame(100, 0))
    ages.sent(SentFrame(100, 1000 * MS))
    ages.received("/latent", 100, 4 * MS)
    ages.received("/latent", 100, 1003 * MS)

    assert ages.ages_ms("/latent").tolist() == [4.0, 3.0]


@pytest.mark.parametrize("stamped_first", [True, False])
def test_a_message_without_stamp_finds_its_twin(stamped_first: bool):
    finder = StampFinder()
    first = finder.stamped(b"z", 42) if stamped_first else finder.plain(b"z", 7)
    second = finder.plain(b"z", 7) if stamped_first else finder.stamped(b"z", 42)

    assert first is None
    assert second == (42, 7)


def test_equal_values_pair_in_order():
    finder = StampFinder()
    assert [finder.plain(b"z", t) for t in (1, 2)] == [None, None]
    assert [finder.stamped(b"z", s) for s in (10, 20)] == [(10, 1), (20, 2)]


def test_rates():
    rate = Rate()
    assert rate.hz == rate.recent_hz == 0.0
    for i in range(201):
        rate.tick(i * 50 * MS)
    assert rate.hz == pytest.approx(20.0)
    assert rate.recent_hz == pytest.approx(20.0)
    assert rate.count == 201


def test_errors_are_averaged_by_horizon_and_visit():
    found = Measurements()
    found.errors = [
        ScoredForecast(1, 1, 1.0, True, 0.2, 0.8, 1.6, running_mean=1.2),
        ScoredForecast(2, 2, 1.0, True, 0.4, 1.0, 1.4, running_mean=1.0),
        ScoredForecast(3, 3, 1.0, False, 0.9, float("nan"), 1.5),
        ScoredForecast(4, 4, 0.05000000074, False, 0.1, 0.1, 0.2),
    ]
    table = found.error_table()

    assert set(table) == {"0.05", "1.0"}
    revisit = {
        "ours": pytest.approx(0.3),
        "without_memory": pytest.approx(0.9),
        "persistence": pytest.approx(1.5),
        "running_mean": pytest.approx(1.1),
        "n": 2,
    }
    assert table["1.0"]["revisit"] == revisit
    assert table["1.0"]["first"] == {
        "ours": 0.9,
        "without_memory": None,
        "persistence": 1.5,
        "running_mean": None,
        "n": 1,
    }
    assert table["0.05"]["revisit"] == dict.fromkeys(("ours", "without_memory", "persistence", "running_mean")) | {
        "n": 0
    }


def test_percentiles_of_nothing_are_none():
    assert percentiles([]) == {"p50": None, "p99": None, "max": None}
    assert percentiles([1.0, 3.0], largest=False) == {"p50": 2.0, "p99": pytest.approx(2.98)}


def test_diagnostics_are_read_as_numbers():
    found = Measurements()
    found.diagnostics = {"n": {"count": "3", "dropped/image-step": "2", "dropped/pose-length": "1", "word": "x"}}

    assert found.diagnostic("n", "count") == 3.0
    assert found.diagnostic("n", "word", 5.0) == 5.0
    assert found.diagnostic("absent", "count") == 0.0
    assert found.counters("n", "dropped/") == {"image-step": 2, "pose-length": 1}


def test_the_log_of_a_source_arrives_line_by_line():
    readable, writable = os.pipe()
    log = SentLog(writable)
    log.frame("/camera/image_raw", 5, 6)
    log.other("/pose")
    log.progress(0.5)
    log.close()
    os.write(writable, b'{"cut of')
    os.close(writable)

    with os.fdopen(readable) as lines:
        items = list(read_items(lines))
    assert items == [{"frame": [5, 6]}, {"progress": 0.5}, {"sent": {"/camera/image_raw": 1, "/pose": 1}}]
    assert json.dumps(items)


def test_a_source_outlives_its_listener():
    readable, writable = os.pipe()
    os.close(readable)
    log = SentLog(writable)
    log.frame("/camera/image_raw", 5, 6)
    log.close()
    os.close(writable)

    assert log.counts == {"/camera/image_raw": 1}
