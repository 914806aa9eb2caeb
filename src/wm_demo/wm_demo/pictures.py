"""The pictures of a demo run."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path

import matplotlib
import numpy as np

from wm_demo.measurements import Measurements, ScoredForecast

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

_HORIZON_S = 1.0
_SHOWN_PERCENT = 99.5


def draw(found: Measurements, receipts: dict[str, list[int]], directory: Path) -> list[Path]:
    """Writes trajectory, error over time, rates and ages as PNG and returns the paths.

    Args:
        found: The run.
        receipts: {topic: steady times of receipt [ns]}.
        directory: Where to.
    """
    begin_ns = min((times[0] for times in receipts.values() if times), default=0)
    return [
        _trajectory(found, directory / "trajectory.png"),
        _errors(found, begin_ns, directory / "prediction_error.png"),
        _rates(receipts, begin_ns, directory / "rates.png"),
        _ages(found, directory / "ages.png"),
    ]


def _far_ahead(found: Measurements) -> list[ScoredForecast]:
    return [e for e in found.errors if abs(e.horizon_s - _HORIZON_S) < 1e-3]


def _trajectory(found: Measurements, path: Path) -> Path:
    figure, axes = plt.subplots(figsize=(6.4, 5.5), constrained_layout=True)
    error_at = {e.stamp_ns: e.ours for e in _far_ahead(found)}
    if found.path:
        axes.plot([s.x for s in found.path], [s.y for s in found.path], color="0.85", linewidth=1, zorder=1)
    scored = [s for s in found.path if s.stamp_ns in error_at]
    if scored:
        values = np.array([error_at[s.stamp_ns] for s in scored])
        dots = axes.scatter(
            [s.x for s in scored],
            [s.y for s in scored],
            c=values,
            s=8,
            cmap="viridis",
            vmax=float(np.nanpercentile(values, 95)),
            zorder=2,
        )
        figure.colorbar(dots, label="prediction error 1 s ahead (NMSE)")
    axes.set(xlabel="x [m]", ylabel="y [m]", title="Where the robot was, coloured by how well it was foreseen")
    axes.set_aspect("equal", "datalim")
    return _save(figure, path)


def _errors(found: Measurements, begin_ns: int, path: Path) -> Path:
    figure, axes = plt.subplots(figsize=(6.4, 3.6), constrained_layout=True)
    errors = _far_ahead(found)
    if errors:
        seconds = (np.array([e.steady_ns for e in errors]) - begin_ns) / 1e9
        # At places never seen the first two are equal: dashes leave the one below in sight.
        for label, style, values in (
            ("ours", "-", [e.ours for e in errors]),
            ("without memory", "--", [e.without_memory for e in errors]),
            ("nothing changes", "-", [e.persistence for e in errors]),
        ):
            axes.plot(seconds, _smoothed(np.array(values)), style, label=label, linewidth=1.2)
        revisit = np.array([e.revisit for e in errors])
        if revisit.any():
            whole_height = axes.get_xaxis_transform()
            axes.fill_between(seconds, 0, 1, where=revisit, color="0.9", transform=whole_height, label="seen before")
        figure.legend(loc="outside lower center", ncols=4)
    axes.set(xlabel="time [s]", ylabel="NMSE, 1 s mean", title="Prediction error 1 s ahead", ylim=(0, None))
    return _save(figure, path)


def _smoothed(values: np.ndarray, window: int = 20) -> np.ndarray:
    """Returns the running mean over the last ``window`` values; NaN counts for nothing."""
    finite = np.where(np.isfinite(values), values, 0.0)
    weight = np.isfinite(values).astype(float)
    kernel = np.ones(min(window, len(values)))
    total = np.convolve(finite, kernel)[: len(values)]
    return total / np.maximum(np.convolve(weight, kernel)[: len(values)], 1.0)


def _rates(receipts: dict[str, list[int]], begin_ns: int, path: Path) -> Path:
    figure, axes = plt.subplots(figsize=(6.4, 3.6), constrained_layout=True)
    # One line may lie on another: what comes later is dashed, so that both are seen.
    for style, (topic, times) in zip(cycle(("-", "--", ":")), sorted(receipts.items())):
        seconds = (np.array(times) - begin_ns) / 1e9
        if len(seconds) > 1:
            edges = np.arange(0.0, seconds[-1] + 1.0, 1.0)
            counts, _ = np.histogram(seconds, bins=edges) if len(edges) > 1 else (np.array([]), edges)
            axes.step(edges[: len(counts)], counts, where="post", linestyle=style, label=topic)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside lower center", ncols=3)
    axes.set(xlabel="time [s]", ylabel="messages per second", title="Rates", ylim=(0, None))
    return _save(figure, path)


def _ages(found: Measurements, path: Path) -> Path:
    figure, axes = plt.subplots(figsize=(6.4, 3.6), constrained_layout=True)
    longest_ms = 0.0
    for topic in ("/latent", "/latent_next"):
        ages_ms = np.sort(found.ages.ages_ms(topic))
        if len(ages_ms):
            # One message that was late by far would squeeze all others into a corner.
            longest_ms = max(longest_ms, 1.2 * float(np.percentile(ages_ms, _SHOWN_PERCENT)))
            axes.plot(ages_ms, np.arange(1, len(ages_ms) + 1) / len(ages_ms), label=topic)
    if axes.get_legend_handles_labels()[0]:
        axes.set_xlim(0, longest_ms)
        axes.legend(loc="lower right")
    axes.set(xlabel="age [ms]", ylabel="share that is no older", title="Age since the frame was sent", ylim=(0, 1))
    return _save(figure, path)


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path
