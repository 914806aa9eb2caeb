"""The plots of a run: what stands where on them."""

from __future__ import annotations

from wm_demo import pictures
from wm_demo.measurements import Measurements, ScoredForecast

NS = 1_000_000_000


def test_all_plots_over_time_begin_with_the_run(tmp_path, monkeypatch):
    """The first forecast is judged long after: a peak is looked for in the film strip and the rates at its time."""
    shown = {}

    def save(figure, path):
        shown[path.stem] = [line.get_xdata() for axes in figure.axes for line in axes.lines]
        return path

    monkeypatch.setattr(pictures, "_save", save)
    found = Measurements()
    found.errors = [ScoredForecast(0, (130 + at) * NS, 1.0, at > 1, 0.1, 0.2, 0.3) for at in range(4)]
    pictures.draw(found, {"/latent": [(100 + at) * NS for at in range(40)], "/visual_history": []}, tmp_path)
    assert list(shown["prediction_error"][0]) == [30.0, 31.0, 32.0, 33.0]
    assert shown["rates"][0][0] == 0.0
