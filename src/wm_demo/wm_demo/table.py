"""The live table of a demo: rates, ages, memory, prediction error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from wm_demo.measurements import Measurements, percentiles

TOPICS = ("/latent", "/latent/state", "/latent_next", "/visual_history", "/prediction_error")
_RECENT = 200


def stream_rows(found: Measurements) -> list[tuple[str, str, str, str]]:
    """Returns (topic, rate, age, count) for every output, over the last seconds."""
    rows = []
    for topic in TOPICS:
        rate = found.rates[topic]
        age = percentiles(found.ages.ages_ms(topic, _RECENT))
        text = "" if age["p50"] is None else f"{age['p50']:.1f} / {age['p99']:.1f} / {age['max']:.1f}"
        rows.append((topic, f"{rate.recent_hz:.1f}", text, str(rate.count)))
    return rows


def error_rows(found: Measurements) -> list[tuple[str, ...]]:
    """Returns horizon, visit, errors (ours, without memory, nothing changes, running mean) and number of each kind."""
    return [
        (
            f"{horizon} s",
            visit,
            *(_number(row[key]) for key in ("ours", "without_memory", "persistence", "running_mean")),
            str(row["n"]),
        )
        for horizon, visits in found.error_table().items()
        for visit, row in visits.items()
    ]


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.3f}"


def state_line(found: Measurements, account: Mapping[str, Any], cpu_percent: float, rss_mb: float) -> str:
    """Returns frames, memory and costs on one line."""
    query = percentiles(found.query_ms[-_RECENT:])
    asked = "" if query["p50"] is None else f", asked in {query['p50']:.1f} / {query['p99']:.1f} ms"
    return (
        f"frames: {account['frames_sent']} sent, {account['frames_encoded']} encoded, "
        f"{sum(account['frames_skipped'].values())} skipped, {account['lost_in_transport']} lost or under way  |  "
        f"memory: {found.diagnostic('spatial_memory', 'memory_count'):.0f} states{asked}, "
        f"{found.degraded_predictions} predictions without  |  {cpu_percent:.0f} % of a core, {rss_mb:.0f} MB"
    )


def render(found: Measurements, line: str) -> Group:
    """Returns the tables for rich to draw."""
    streams = Table(title="topics", expand=True)
    for heading in ("topic", "rate [Hz]", "age p50 / p99 / max [ms]", "messages"):
        streams.add_column(heading, justify="left" if heading == "topic" else "right")
    for stream in stream_rows(found):
        streams.add_row(*stream)
    errors = Table(title="prediction error (NMSE, 1 = predicting the mean)", expand=True)
    for heading in ("ahead", "visit", "ours", "without memory", "nothing changes", "running mean", "forecasts"):
        errors.add_column(heading, justify="left" if heading in ("ahead", "visit") else "right")
    for error in error_rows(found):
        errors.add_row(*error)
    return Group(streams, errors, line)


class Screen:
    """Shows a run: a table that redraws itself on a terminal, a line now and then elsewhere.

    Args:
        plain: No table, whatever the output is.
        title: What runs.
    """

    _PLAIN_EVERY = 10

    def __init__(self, title: str, plain: bool = False) -> None:
        self._console = Console()
        self._live: Live | None = None
        self._shown = 0
        self._progress = Progress(
            TextColumn(title), BarColumn(None), TaskProgressColumn(), TimeElapsedColumn(), expand=True
        )
        self._task = self._progress.add_task(title, total=1.0)
        if self._console.is_terminal and not plain:
            self._live = Live(console=self._console, auto_refresh=False)

    def __enter__(self) -> Screen:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def say(self, text: str) -> None:
        """Prints a line that stays."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def show(self, found: Measurements, fraction: float, line: str) -> None:
        """Draws the present state."""
        if self._live:
            self._progress.update(self._task, completed=fraction)
            self._live.update(Group(render(found, line), self._progress), refresh=True)
        elif self._shown % self._PLAIN_EVERY == 0:
            rates = ", ".join(f"{topic} {rate} Hz" for topic, rate, _, _ in stream_rows(found)[:3])
            self.say(f"{fraction:4.0%}  {rates}  |  {line}")
        self._shown += 1
