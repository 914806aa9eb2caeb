"""What a demo run says for itself in words: errors, what the memory was worth and cost, what was missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from wm_core.words import counted
from wm_demo.honesty import LEARNS_NOTHING, WORSE

_TELLING = 0.005
"""Least difference of errors that is worth a word: where nothing moves, both are 0."""
_LEAST = 20
"""Forecasts from which on a kind of visit is called worse: fewer are no evidence."""
_SAYING = {"persistence": "saying that nothing changes", "running_mean": "its running mean"}
_AT = {"revisit": "at places seen before", "first": "at first visits", "degraded": "where the memory did not answer"}


def verdict(summary: Mapping[str, Any]) -> list[str]:
    """Returns the lines that a run ends with, the memory's worth and cost last."""
    return [*_missing(summary), *_errors(summary), *_worse(summary), _worth(summary), _cost(summary)]


def _missing(summary: Mapping[str, Any]) -> Iterator[str]:
    sent = summary["sent"]
    if sent and not sent.get("/pose"):
        yield "no poses were sent: nothing could be remembered, every forecast was made without the memory"
    if sent and not sent.get("/actions"):
        yield "no actions were sent: where the robot will be was guessed from its poses alone"
    for node, texts in summary["degraded_modes"].items():
        for text in texts:
            yield f"{node}: {text}"
    for horizon, text in summary["not_scored"].items():
        yield f"{horizon} ahead: {text}"
    if summary["changes_of_basis"]:
        yield (
            "forecasts are judged from the robot's own projection on, which is fitted on its first frames in motion: "
            "before there is no unit of errors"
        )


def _errors(summary: Mapping[str, Any]) -> Iterator[str]:
    for horizon, visits in summary["prediction_error"].items():
        for visit, row in visits.items():
            if not row["n"]:
                continue
            ours = f"{row['ours']:.3f}" + ("" if visit == "degraded" else " with the memory")
            without = "" if visit == "degraded" else f", {row['without_memory']:.3f} without"
            error, name = _best(row)
            yield (
                f"error {horizon} s ahead {_AT[visit]}: {ours}{without}, {error:.3f} for the best that "
                f"learns nothing ({name}); {counted(row['n'], 'forecast')}"
            )


def _best(row: Mapping[str, Any]) -> tuple[float, str]:
    """Returns error and name of the best that learns nothing."""
    return min((row[key], name) for key, name in LEARNS_NOTHING.items() if row[key] is not None)


def _worse(summary: Mapping[str, Any]) -> Iterator[str]:
    for horizon, visits in summary["prediction_error"].items():
        for visit, row in visits.items():
            if row["n"] < _LEAST:
                continue
            for key in LEARNS_NOTHING:
                if row[key] is not None and row["ours"] > max(WORSE * row[key], row[key] + _TELLING):
                    yield (
                        f"{horizon} s ahead {_AT[visit]} the forecast is worse than {_SAYING[key]}: "
                        f"{row['ours']:.3f} against {row[key]:.3f}"
                    )


def _worth(summary: Mapping[str, Any]) -> str:
    far = summary["prediction_error"].get("1.0", {}).get("revisit", {"n": 0})
    if not far["n"]:
        return "what the memory is worth did not show: no place was seen again and judged 1 s ahead"
    ours, without = far["ours"], far["without_memory"]
    share = 1.0 - ours / without if without else 0.0
    if share <= 0.0:
        return f"the memory was worth nothing: 1 s ahead at places seen before the error is {-share:.0%} higher with it"
    return (
        f"the memory was worth {share:.0%} of the error 1 s ahead at places seen before ({without:.3f} to {ours:.3f})"
    )


def _cost(summary: Mapping[str, Any]) -> str:
    asked, states = summary["memory_query_ms"], f"{counted(summary['memory_count'], 'state')} kept"
    late = f"{summary['degraded_predictions']} of {summary['predictions']} forecasts were made without it"
    if asked["p50"] is None:
        return f"it cost nothing: it was never asked; {states}; {late}"
    return f"it cost {asked['p50']:.1f} ms a forecast ({asked['p99']:.1f} ms in one of a hundred); {states}; {late}"
