"""What a demo run amounts to: the numbers of ``summary.json``, and whether the graph did its job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wm_core.words import counted
from wm_demo.graph import Exit
from wm_demo.honesty import against_nothing, in_words, is_worse
from wm_demo.measurements import Measurements, percentiles
from wm_demo.verdict import verdict

PUBLISH_RATE_HZ = 20.0
"""The graph's own pace: more than this is not expected of it."""

LEAST_RATE_SHARE = 0.8
LARGEST_LOSS_SHARE = 0.05
SHORT_RUN_S = 5.0


@dataclass
class Run:
    """What is known of a run besides the measurements."""

    source: str
    form: str
    executor: str
    distribution: str
    rmw: str
    sent: dict[str, int] = field(default_factory=dict)
    frames_sent: int = 0
    sent_hz: float = 0.0
    duration_s: float = 0.0
    loops: int = 1
    cpu_percent: float = 0.0
    rss_mb: float = 0.0
    exits: dict[str, Exit] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)


def frame_account(found: Measurements, frames_sent: int) -> dict[str, Any]:
    """Returns where every frame went: encoded, skipped for a named reason, lost in transport, or unaccounted for.

    Every count but the first is the encoder node's own.
    """
    received = int(found.diagnostic("latent_publisher", "frames_received"))
    encoded = int(found.diagnostic("latent_publisher", "frames_encoded"))
    dropped = found.counters("latent_publisher", "dropped/")
    # The node drops poses and actions too; a frame's reasons begin like this.
    skipped = {reason: n for reason, n in dropped.items() if reason.startswith(("image-", "frame-"))}
    skipped |= found.counters("latent_publisher", "skipped/")
    return {
        "frames_sent": frames_sent,
        "frames_received": received,
        "frames_encoded": encoded,
        "frames_skipped": skipped,
        "lost_in_transport": frames_sent - received,
        "frames_unaccounted": received - encoded - sum(skipped.values()),
    }


def summarise(found: Measurements, run: Run) -> dict[str, Any]:
    """Returns the content of ``summary.json``."""
    summary = frame_account(found, run.frames_sent)
    summary |= {
        "latent_hz": found.rates["/latent"].hz,
        "latent_age_ms": percentiles(found.ages.ages_ms("/latent")),
        "latent_state_age_ms": percentiles(found.ages.ages_ms("/latent/state")),
        "latent_next_hz": found.rates["/latent_next"].hz,
        "latent_next_age_ms": percentiles(found.ages.ages_ms("/latent_next")),
        "predictions": found.rates["/latent_next/state"].count,
        "degraded_predictions": found.degraded_predictions,
        "memory_count": int(found.diagnostic("spatial_memory", "memory_count")),
        "memory_query_ms": percentiles(found.query_ms, largest=False),
        "visual_history_hz": found.rates["/visual_history"].hz,
        "prediction_error": found.error_table(),
        "against_nothing": against_nothing(found.errors, found.path),
        "not_scored": not_scored(found),
        "changes_of_basis": int(found.diagnostic("transition_predictor", "changes_of_basis")),
        "degraded_modes": degraded_modes(found),
        "cpu_percent": run.cpu_percent,
        "rss_mb": run.rss_mb,
        "distribution": run.distribution,
        "rmw": run.rmw,
        "executor": run.executor,
        "form": run.form,
        "source": run.source,
        "sent": run.sent,
        "sent_hz": run.sent_hz,
        "loops": run.loops,
        "duration_s": run.duration_s,
        "dropped": {node: found.counters(node, "dropped/") for node in sorted(found.diagnostics)},
        "exit_codes": {name: ended.code for name, ended in run.exits.items()},
        "stop_s": max((ended.seconds for ended in run.exits.values()), default=None),
    }
    summary["verdict"] = verdict(summary)
    summary["failures"] = [*run.troubles, *judge(summary)]
    return summary


def conclusion(summary: Mapping[str, Any]) -> list[str]:
    """Returns what a person wants to know at the end, in lines: every frame's fate, and the verdict."""
    skipped = ", ".join(f"{count} {reason}" for reason, count in summary["frames_skipped"].items()) or "0 skipped"
    fate = (
        f"{counted(summary['frames_sent'], 'frame')} sent: {summary['frames_encoded']} encoded, {skipped}, "
        f"{summary['lost_in_transport']} lost in transport, {summary['frames_unaccounted']} unaccounted for; "
        f"{counted(summary['memory_count'], 'state')} remembered"
    )
    return [fate, *summary["verdict"]]


def not_scored(found: Measurements) -> dict[str, str]:
    """Returns {time ahead: why no forecast for it can be judged}, as the predictor says."""
    values = found.diagnostics.get("transition_predictor", {})
    said = {key.removeprefix("forecast_"): text for key, text in values.items() if key.startswith("forecast_")}
    unpublished = values.get("errors", "")
    if unpublished.startswith("not published"):
        return dict.fromkeys(said or ["any time"], unpublished)
    # What the predictor says last is of the last frames: a horizon that was judged before is no secret.
    judged = {f"{error.horizon_s:g}s" for error in found.errors}
    return {at: text for at, text in said.items() if text.startswith("not scored") and at not in judged}


def degraded_modes(found: Measurements) -> dict[str, list[str]]:
    """Returns {node: what it named as wrong in its last report}; the end of the input is none."""
    modes = {}
    for node, values in sorted(found.diagnostics.items()):
        texts = [
            text for key, text in values.items() if key.startswith("degraded/") and not key.startswith("degraded/no_")
        ]
        if texts:
            modes[node] = texts
    return modes


def judge(summary: Mapping[str, Any]) -> list[str]:
    """Returns why the graph did not do its job, one reason each; empty when it did."""
    return [*_judge_frames(summary), *_judge_outputs(summary), *_judge_forecasts(summary), *_judge_ends(summary)]


def _judge_frames(summary: Mapping[str, Any]) -> list[str]:
    sent, lost = summary["frames_sent"], summary["lost_in_transport"]
    if not sent:
        return ["no camera frame was sent"]
    reasons = []
    if summary["frames_unaccounted"]:
        reasons.append(f"{summary['frames_unaccounted']} frames were received, but neither encoded nor skipped")
    if not -1e-9 <= lost / sent <= LARGEST_LOSS_SHARE:
        reasons.append(f"{lost} of {sent} frames were lost in transport, at most {LARGEST_LOSS_SHARE:.0%} may be")
    return reasons


def _judge_outputs(summary: Mapping[str, Any]) -> list[str]:
    if not summary["latent_hz"]:
        return ["no latents came out"]
    reasons = []
    expected_hz = min(PUBLISH_RATE_HZ, summary["sent_hz"])
    for name in ("latent", "latent_next"):
        if summary[f"{name}_hz"] < LEAST_RATE_SHARE * expected_hz:
            reasons.append(f"/{name} came at {summary[f'{name}_hz']:.1f} Hz, expected {expected_hz:.1f} Hz")
    if summary["sent"].get("/pose") and not summary["memory_count"]:
        why = "; ".join(summary["degraded_modes"].get("latent_publisher", []))
        reasons.append("the memory is empty although there were poses" + (f": {why}" if why else ""))
    if summary["duration_s"] < SHORT_RUN_S:
        return reasons
    if not summary["visual_history_hz"]:
        reasons.append("no visual history came out")
    scored = sum(visit["n"] for horizon in summary["prediction_error"].values() for visit in horizon.values())
    if not scored and not summary["not_scored"]:
        reasons.append("no prediction error came out")
    if summary["sent"].get("/pose") and summary["degraded_predictions"] > summary["predictions"] / 2:
        reasons.append(f"{summary['degraded_predictions']} of {summary['predictions']} predictions lacked the memory")
    return reasons


def _judge_forecasts(summary: Mapping[str, Any]) -> list[str]:
    compared = summary["against_nothing"]
    return [in_words(compared, "persistence")] if is_worse(compared) else []


def _judge_ends(summary: Mapping[str, Any]) -> list[str]:
    # How long stopping took is in the summary; who takes too long is killed, which shows in the exit code.
    return [f"{name} ended with exit code {code}" for name, code in summary["exit_codes"].items() if code]
