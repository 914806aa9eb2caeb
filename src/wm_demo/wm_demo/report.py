"""The report of a demo run: one HTML file that needs nothing besides itself."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from wm_demo.strip import Foreseen, Strip
from wm_demo.summary import conclusion

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --good: #1a7f37; --bad: #c62828; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; border-bottom: 1px solid var(--line); }
.good { color: var(--good); } .bad { color: var(--bad); } .quiet { opacity: .75; }
table { border-collapse: collapse; margin: .6rem 0; }
td, th { padding: .25rem .7rem; border-bottom: 1px solid var(--line); }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; } th { text-align: left; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)); gap: 1rem; }
.plots img { width: 100%; background: #fff; border-radius: 4px; }
.strip { overflow-x: auto; } .strip img { width: 96px; height: 96px; image-rendering: pixelated; display: block; }
.strip td { padding: 2px; border: 0; text-align: center; font-size: .8rem; }
.strip th { padding-right: .8rem; border: 0; }
.none { width: 96px; height: 96px; display: grid; place-items: center; background: #8882; font-size: .75rem; }
pre { overflow-x: auto; background: #8881; padding: .8rem; border-radius: 4px; font-size: .8rem; }
"""
_PLOTS = {
    "trajectory.png": "Where the robot was, coloured by how well it was foreseen",
    "prediction_error.png": "Error of the forecast 1 s ahead over time",
    "rates.png": "Messages per second",
    "ages.png": "How old what comes out is",
}
_AHEAD = ("ours", "without_memory", "persistence", "running_mean")
_VISITS = {"revisit": "seen before", "first": "first visit", "degraded": "memory did not answer"}


def write_report(path: Path, summary: Mapping[str, Any], pictures: Sequence[Path], strip: Strip) -> Path:
    """Write the report and return its path.

    Args:
        path: File to write.
        summary: As in ``summary.json``.
        pictures: PNG files to take in.
        strip: The film strip.
    """
    job = "the graph did NOT do its job" if summary["failures"] else "the graph did its job"
    kind = "bad" if summary["failures"] else "good"
    parts = [
        "<h1>World model: demo</h1>",
        f'<p class="{kind}"><strong>{job}</strong>: {escape(summary["source"])}</p>',
        _list(summary["failures"], "bad"),
        _list(conclusion(summary)),
        "<h2>Foreseen and real</h2>",
        _film(strip),
        "<h2>How well it was foreseen</h2>",
        _errors(summary["prediction_error"]),
        "<h2>Plots</h2>",
        _plots(pictures),
        "<h2>What ran, and what it cost</h2>",
        _costs(summary),
        "<details><summary>everything measured</summary>",
        f"<pre>{escape(json.dumps(summary, indent=2))}</pre></details>",
    ]
    wide = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    head = f"{wide}<title>World model: demo</title><style>{_STYLE}</style>"
    body = "\n".join(part for part in parts if part)
    path.write_text(f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n')
    return path


def _list(lines: Iterable[str], kind: str = "") -> str:
    items = "".join(f'<li class="{kind}">{escape(line)}</li>' for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def _film(strip: Strip) -> str:
    """Return the film strip as a table: a column is a moment."""
    if not strip.stills:
        return "<p>No forecast 1 s ahead came together with the picture it was for, so there is nothing to compare.</p>"
    rows = [
        ("seen when it was foreseen", [_foreseen(still.seen) for still in strip.stills]),
        ("foreseen: decoded", [_foreseen(still.decoded) for still in strip.stills]),
        ("foreseen: remembered", [_foreseen(still.remembered) for still in strip.stills]),
        ("seen 1 s later", [_picture(still.real_SSC) for still in strip.stills]),
        ("", [f"{still.after_s:.1f} s" for still in strip.stills]),
    ]
    if strip.not_decoded:
        del rows[1]
    body = "".join(f"<tr><th>{name}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>" for name, cells in rows)
    note = (
        "Decoded: the latent that was foreseen, made a picture. Remembered: what had been seen before at the place "
        "where the robot was expected. Below each, its peak signal-to-noise ratio against what came [dB]; higher is "
        "nearer, and the first row is what &ldquo;nothing changes&rdquo; foresees."
    )
    why = f" Nothing is decoded: {escape(strip.not_decoded)}." if strip.not_decoded else ""
    return f'<div class="strip"><table>{body}</table></div><p class="quiet">{note}{why}</p>'


def _foreseen(foreseen: Foreseen | None) -> str:
    if foreseen is None:
        return '<div class="none">nothing</div>&ndash;'
    value = "same" if math.isinf(foreseen.near_db) else f"{foreseen.near_db:.1f} dB"
    return f"{_picture(foreseen.image_SSC)}{value}"


def _picture(image_SSC: np.ndarray) -> str:
    return _inline(cv2.imencode(".png", image_SSC[..., ::-1])[1].tobytes(), "")


def _inline(png: bytes, text: str) -> str:
    return f'<img alt="{escape(text)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def _plots(pictures: Sequence[Path]) -> str:
    shown = "".join(
        f"<figure>{_inline(path.read_bytes(), _PLOTS.get(path.name, path.stem))}</figure>" for path in pictures
    )
    return f'<div class="plots">{shown}</div>'


def _errors(table: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Return the errors as a table."""
    titles = ("ahead", "place", "ours", "without memory", "nothing changes", "running mean", "forecasts")
    head = "".join(f'<th class="{"number" if at > 1 else ""}">{title}</th>' for at, title in enumerate(titles))
    rows = []
    for horizon, visits in table.items():
        for visit, row in visits.items():
            if row["n"]:
                numbers = [_number(row[name]) for name in _AHEAD] + [str(row["n"])]
                cells = "".join(f'<td class="number">{number}</td>' for number in numbers)
                rows.append(f"<tr><td>{escape(horizon)} s</td><td>{_VISITS[visit]}</td>{cells}</tr>")
    if not rows:
        return "<p>No forecast was judged.</p>"
    note = '<p class="quiet">NMSE: 0 is perfect, 1 is guessing the mean.</p>'
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>{note}"


def _number(value: float | None) -> str:
    return "&ndash;" if value is None else f"{value:.3f}"


def _costs(summary: Mapping[str, Any]) -> str:
    """Return what ran and what it took."""
    rows = [
        ("frames sent, encoded", f"{summary['frames_sent']}, {summary['frames_encoded']}"),
        ("a frame is a latent after", _age(summary["latent_age_ms"])),
        ("and a prediction after", _age(summary["latent_next_age_ms"])),
        ("the memory answers in", _age(summary["memory_query_ms"])),
        ("states remembered", str(summary["memory_count"])),
        ("processor, memory", f"{summary['cpu_percent']:.0f} % of one core, {summary['rss_mb']:.0f} MB"),
        ("duration", f"{summary['duration_s']:.0f} s"),
        ("ROS 2", f"{summary['distribution']}, {summary['rmw']}, {summary['executor']}, {summary['form']}"),
    ]
    return f"<table>{''.join(f'<tr><th>{name}</th><td>{escape(value)}</td></tr>' for name, value in rows)}</table>"


def _age(found: Mapping[str, float | None]) -> str:
    if found["p50"] is None:
        return "not measured"
    return f"{found['p50']:.1f} ms (median), {found['p99']:.1f} ms (one of a hundred is later)"
