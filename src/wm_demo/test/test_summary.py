from __future__ import annotations

import pytest

from bag_player.sent_log import SentFrame
from wm_demo.graph import Exit
from wm_demo.measurements import Measurements, ScoredForecast
from wm_demo.summary import Run, conclusion, summarise

MS = 1_000_000
KEYS = [
    "frames_sent",
    "frames_received",
    "frames_encoded",
    "frames_skipped",
    "lost_in_transport",
    "latent_hz",
    "latent_age_ms",
    "latent_next_hz",
    "latent_next_age_ms",
    "degraded_predictions",
    "memory_count",
    "memory_query_ms",
    "visual_history_hz",
    "prediction_error",
    "cpu_percent",
    "rss_mb",
    "distribution",
    "rmw",
    "executor",
]


def good_run() -> tuple[Measurements, Run]:
    """Ten seconds in which 200 frames were sent, 199 came through and 4 of them were skipped."""
    found = Measurements()
    for i in range(200):
        found.ages.sent(SentFrame(i, i * 50 * MS))
        for topic, age_ms in (("/latent", 5), ("/latent_next", 9)):
            found.ages.received(topic, i, (i * 50 + age_ms) * MS)
            found.rates[topic].tick((i * 50 + age_ms) * MS)
        found.rates["/latent_next/state"].tick(i * 50 * MS)
    for i in range(10):
        found.rates["/visual_history"].tick(i * 1000 * MS)
    found.errors = [ScoredForecast(1, 1, 1.0, False, 0.5, 0.6, 1.5)]
    found.query_ms = [1.0, 3.0]
    found.diagnostics = {
        "latent_publisher": {
            "frames_received": "199",
            "frames_encoded": "195",
            "dropped/image-encoding": "1",
            "dropped/pose-not-finite": "7",
            "skipped/paced": "3",
        },
        "spatial_memory": {"memory_count": "12"},
    }
    run = Run(
        "bag", "composed", "SingleThreadedExecutor", "kilted", "rmw_fastrtps_cpp", {"/pose": 200}, 200, 20.0, 10.0
    )
    run.exits = {"world_model": Exit(0, 0.5)}
    return found, run


def test_a_good_run_has_no_failures_and_every_number():
    summary = summarise(*good_run())

    assert summary["failures"] == []
    assert set(KEYS) <= set(summary)
    assert summary["frames_skipped"] == {"image-encoding": 1, "paced": 3}
    assert summary["lost_in_transport"] == 1
    assert summary["frames_unaccounted"] == 0
    assert summary["latent_hz"] == pytest.approx(20.0)
    assert summary["latent_age_ms"] == {"p50": 5.0, "p99": 5.0, "max": 5.0}
    assert summary["latent_next_age_ms"]["p50"] == 9.0
    assert summary["memory_query_ms"]["p50"] == 2.0
    assert summary["visual_history_hz"] == pytest.approx(1.0)
    assert summary["prediction_error"]["1.0"]["first"]["n"] == 1


def _no_latents(found: Measurements, run: Run) -> None:
    found.rates["/latent"].times_ns = []


def _slow(found: Measurements, run: Run) -> None:
    found.rates["/latent"].times_ns = found.rates["/latent"].times_ns[::2]


def _unaccounted(found: Measurements, run: Run) -> None:
    found.diagnostics["latent_publisher"]["frames_encoded"] = "190"


def _lossy(found: Measurements, run: Run) -> None:
    run.frames_sent = 300


def _forgetful(found: Measurements, run: Run) -> None:
    found.diagnostics["spatial_memory"]["memory_count"] = "0"


def _died(found: Measurements, run: Run) -> None:
    run.exits["world_model"] = Exit(-11, 0.1)


def _no_history(found: Measurements, run: Run) -> None:
    found.rates["/visual_history"].times_ns = []


def _no_errors(found: Measurements, run: Run) -> None:
    found.errors = []


def _degraded(found: Measurements, run: Run) -> None:
    found.degraded_predictions = 150


def _nothing_sent(found: Measurements, run: Run) -> None:
    run.frames_sent = 0


def _troubled(found: Measurements, run: Run) -> None:
    run.troubles.append("the source ended with exit code 1: boom")


def test_the_end_of_a_run_is_told_in_three_lines():
    found, run = good_run()

    assert conclusion(summarise(found, run)) == [
        "200 frames sent: 195 encoded, 1 image-encoding, 3 paced, 1 lost in transport, 0 unaccounted for; "
        "12 states remembered",
        "error 1 s ahead at places never seen: 0.50; without memory 0.60, if nothing changed 1.50",
        "error 1 s ahead at places seen before: none was due",
    ]


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (_no_latents, "no latents came out"),
        (_slow, "/latent came at 10.0 Hz, expected 20.0 Hz"),
        (_unaccounted, "5 frames were received, but neither encoded nor skipped"),
        (_lossy, "101 of 300 frames were lost in transport"),
        (_forgetful, "the memory is empty"),
        (_died, "world_model ended with exit code -11"),
        (_no_history, "no visual history"),
        (_no_errors, "no prediction error"),
        (_degraded, "150 of 200 predictions lacked the memory"),
        (_nothing_sent, "no camera frame was sent"),
        (_troubled, "boom"),
    ],
)
def test_each_way_of_failing_is_named(harm, reason: str):
    found, run = good_run()
    harm(found, run)

    assert any(reason in failure for failure in summarise(found, run)["failures"])
