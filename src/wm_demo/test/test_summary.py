from __future__ import annotations

import math
from dataclasses import replace

import pytest

from bag_player.sent_log import SentFrame
from wm_demo.demo import _DEFAULT_S, _DEFAULT_SEED
from wm_demo.graph import Exit
from wm_demo.honesty import against_nothing
from wm_demo.measurements import Measurements, ScoredForecast, Spot
from wm_demo.summary import Run, conclusion, judge, summarise
from wm_sim.building import make_building
from wm_sim.driving import PathFollower
from wm_sim.settings import Driving, WorldConfig

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


def test_the_end_of_a_run_begins_with_the_fate_of_every_frame():
    summary = summarise(*good_run())

    assert conclusion(summary) == [
        "200 frames sent: 195 encoded, 1 image-encoding, 3 paced, 1 lost in transport, 0 unaccounted for; "
        "12 states remembered",
        *summary["verdict"],
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


def said(found, run) -> str:
    return "\n".join(summarise(found, run)["verdict"])


def scored(ours, without, persistence, revisit=True, degraded=False, horizon_s=1.0):
    return ScoredForecast(1, 1, horizon_s, revisit, ours, without, persistence, degraded)


def test_the_last_lines_say_what_the_memory_was_worth_and_what_it_cost():
    found, run = good_run()
    found.errors = [scored(0.25, 1.0, 2.0), scored(0.35, 1.0, 2.0)]
    worth, cost = summarise(found, run)["verdict"][-2:]
    assert worth == "the memory was worth 70% of the error 1 s ahead at places seen before (1.000 to 0.300)"
    assert cost.startswith("it cost 2.0 ms a forecast")
    assert "12 states kept" in cost


def test_a_run_without_revisits_says_so():
    assert "no place was seen again" in said(*good_run())


def test_a_memory_that_harms_is_no_worth():
    found, run = good_run()
    found.errors = [scored(1.2, 1.0, 2.0)]
    assert "the memory was worth nothing: 1 s ahead at places seen before the error is 20% higher" in said(found, run)


def test_worse_than_nothing_changes_is_said_in_words():
    found, run = good_run()
    found.errors = [scored(1.1, 1.5, 1.0, revisit=False), scored(1.01, 1.5, 1.0, horizon_s=0.05)] * 20
    text = said(found, run)
    assert "1.0 s ahead at first visits the forecast is worse than saying that nothing changes: 1.100 against" in text
    assert "0.05 s ahead at places seen before the forecast is worse" not in text
    found.errors = [scored(0.0004, 0.0004, 0.0)] * 20
    assert "worse" not in said(found, run)
    assert summarise(found, run)["failures"] == []


def test_a_few_forecasts_are_not_called_worse():
    found, run = good_run()
    found.errors = [scored(0.018, 0.018, 0.001, degraded=True)] * 19
    assert "worse" not in said(found, run)
    found.errors.append(found.errors[0])
    assert "where the memory did not answer the forecast is worse than saying that nothing changes" in said(found, run)


def test_a_run_that_ends_before_there_is_a_unit_of_errors_says_so_and_does_not_fail():
    found, run = good_run()
    found.errors = []
    assert "no prediction error came out" in summarise(found, run)["failures"]
    why = "not published: latents are in a fixed basis until this robot's own is fitted"
    found.diagnostics["transition_predictor"] = {"errors": why, "forecast_0.05s": "scored", "forecast_1s": "scored"}
    summary = summarise(found, run)
    assert summary["failures"] == []
    assert summary["not_scored"] == {"0.05s": why, "1s": why}
    assert f"1s ahead: {why}" in summary["verdict"]


def test_a_time_ahead_that_was_judged_is_not_called_not_scored():
    found, run = good_run()
    why = "not scored: camera too slow, a latent each 0.078 s"
    found.diagnostics["transition_predictor"] = {"forecast_1s": why, "forecast_3s": why}
    assert {error.horizon_s for error in found.errors} == {1.0}
    assert summarise(found, run)["not_scored"] == {"3s": why}


def test_a_change_of_basis_explains_what_was_not_judged_before():
    found, run = good_run()
    assert "own projection" not in said(found, run)
    found.diagnostics["transition_predictor"] = {"changes_of_basis": "1", "errors": "published"}
    assert "forecasts are judged from the robot's own projection on" in said(found, run)


def moved(found: Measurements, ours: float, nothing: float, mean: float, metres: float, seconds: int = 40) -> None:
    """Lets a robot drive evenly at 20 Hz, with errors that vary by a tenth."""
    for i in range(seconds * 20):
        ns = i * 50 * MS
        found.path.append(Spot(ns, metres * i / 20, 0.0))
        if i >= 20:
            noise = 1.0 + 0.1 * math.sin(i)
            found.errors.append(
                ScoredForecast(ns, ns, 1.0, False, ours * noise, 9.0, nothing / noise, running_mean=mean)
            )


def failures(**of) -> list[str]:
    found, run = good_run()
    found.errors = []
    moved(found, **of)
    return summarise(found, run)["failures"]


def test_a_moving_robots_forecast_that_is_surely_worse_than_nothing_changes_fails():
    (reason,) = failures(ours=1.1, nothing=1.0, mean=2.0, metres=0.5)
    assert reason.startswith("1 s ahead, while the robot moves, the forecast is worse than nothing changes: 1.")
    assert failures(ours=0.99, nothing=1.0, mean=2.0, metres=0.5) == []
    assert failures(ours=1.1, nothing=1.0, mean=2.0, metres=0.0) == []  # it stands
    assert failures(ours=1.1, nothing=1.0, mean=2.0, metres=0.5, seconds=12) == []  # too short to be sure
    assert failures(ours=1.1, nothing=2.0, mean=1.0, metres=0.5) == []  # said, below


def test_a_few_bad_seconds_are_not_sure_enough_to_fail():
    found, run = good_run()
    found.errors = []
    moved(found, ours=0.95, nothing=1.0, mean=2.0, metres=0.5)
    for row in range(100):  # 5 s of 39
        found.errors[row] = replace(found.errors[row], ours=1.9)
    assert against_nothing(found.errors, found.path)["persistence"]["ratio"] > 1.02
    assert summarise(found, run)["failures"] == []


def test_without_poses_what_it_sees_tells_whether_the_robot_moves():
    found, run = good_run()
    found.errors = []
    moved(found, ours=1.1, nothing=1.0, mean=2.0, metres=0.5)
    found.path = []
    assert summarise(found, run)["failures"]
    found.errors = [replace(error, ours=0.011, persistence=0.01) for error in found.errors]
    assert summarise(found, run)["failures"] == []


def test_the_best_that_learns_nothing_is_named():
    found, run = good_run()
    found.errors = [ScoredForecast(1, 1, 1.0, False, 0.9, 1.0, 1.5, running_mean=0.8)] * 20
    text = said(found, run)
    assert "0.900 with the memory, 1.000 without, 0.800 for the best that learns nothing (its running mean)" in text
    assert "1.0 s ahead at first visits the forecast is worse than its running mean: 0.900 against 0.800" in text


def test_degraded_forecasts_are_counted_apart():
    found, run = good_run()
    found.errors = [scored(0.2, 1.0, 2.0), scored(0.9, 0.9, 2.0, degraded=True)]
    table = summarise(found, run)["prediction_error"]["1.0"]
    assert (table["revisit"]["n"], table["degraded"]["n"], table["revisit"]["ours"]) == (1, 1, pytest.approx(0.2))
    assert "where the memory did not answer: 0.900, 2.000 for the best" in said(found, run)


def test_a_recording_without_poses_is_no_failure_and_says_what_is_missing():
    found, run = good_run()
    run.sent = {"/camera/image_raw": 200}
    found.degraded_predictions = 200
    found.diagnostics["spatial_memory"]["memory_count"] = "0"
    summary = summarise(found, run)
    assert summary["failures"] == []
    assert any(line.startswith("no poses were sent") for line in summary["verdict"])
    assert any(line.startswith("no actions were sent") for line in summary["verdict"])


def test_poses_of_another_clock_are_named_in_the_verdict_and_the_failure():
    found, run = good_run()
    why = "poses lie 1.7e+09 s before the frames: another clock?"
    found.diagnostics["latent_publisher"]["degraded/pose_input"] = why
    found.diagnostics["spatial_memory"]["memory_count"] = "0"
    summary = summarise(found, run)
    assert f"latent_publisher: {why}" in summary["verdict"]
    assert f"the memory is empty although there were poses: {why}" in summary["failures"]


def test_a_camera_too_slow_to_judge_by_is_said_and_no_failure():
    found, run = good_run()
    found.errors = []
    for horizon in ("0.05", "1"):
        found.diagnostics.setdefault("transition_predictor", {})[f"forecast_{horizon}s"] = "not scored: camera too slow"
    summary = summarise(found, run)
    assert "0.05s ahead: not scored: camera too slow" in summary["verdict"]
    assert not [reason for reason in judge(summary) if "prediction error" in reason]


def test_errors_that_no_basis_allows_yet_are_said_and_no_failure():
    found, run = good_run()
    found.errors = []
    found.diagnostics.setdefault("transition_predictor", {})["errors"] = "not published: latents are in a fixed basis"
    summary = summarise(found, run)
    assert "any time ahead: not published: latents are in a fixed basis" in summary["verdict"]
    assert not [reason for reason in judge(summary) if "prediction error" in reason]
    found.diagnostics["transition_predictor"]["errors"] = "published"
    assert "no prediction error came out" in judge(summarise(found, run))


def test_the_default_robot_comes_back_to_places_within_its_first_minute():
    robot = PathFollower(make_building(_DEFAULT_SEED, WorldConfig()), Driving(), _DEFAULT_SEED)
    poses, back_s = [], []
    for tick in range(round(_DEFAULT_S / 0.25)):
        robot.advance(0.25 * tick)
        poses.append(robot.pose_at(0.25 * tick))
        x, y, yaw = poses[-1]
        for other in poses[: max(tick - 80, 0)]:
            turn = (other[2] - yaw + math.pi) % (2 * math.pi) - math.pi
            if math.hypot(other[0] - x, other[1] - y) < 1.0 and abs(turn) < math.radians(30):
                back_s.append(0.25 * tick)
                break
    assert back_s[0] < 40.0
    assert 0.25 * len(back_s) > 20.0
