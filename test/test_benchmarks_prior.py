"""What a prior is worth: cells worked out by hand."""

import numpy as np
import pytest

pytest.importorskip("lightning_fabric", reason="the training extra, requirements/train.txt, is not installed")

from benchmarks.prior import OURS, PARTS, SINGLES, WITHOUT, _cell, lines
from world_model.evaluation.scores import Scores

pytestmark = pytest.mark.training


def scores_of(ours: float, without: float, count: int = 200) -> Scores:
    """Returns errors of one horizon: revisits first, then as many first visits with twice the errors."""
    revisit_N1 = np.arange(2 * count)[:, None] < count
    factor_N1 = np.where(revisit_N1, 1.0, 2.0)
    values = {OURS: ours, WITHOUT: without, **dict.fromkeys((*SINGLES, *PARTS.values()), 1.0), "online ridge": 0.8}
    error = {"latent": {name: value * factor_N1 for name, value in values.items()}}
    return Scores(error, revisit_N1, np.arange(2 * count) // 40, np.zeros((2 * count, 1)))


@pytest.mark.parametrize("revisit", [True, False])
def test_a_cell_by_hand(revisit):
    cell = _cell(scores_of(0.4, 0.5), 0, revisit)
    assert (cell["n"], cell["best_single"]) == (200, "online ridge")
    assert cell["ours"] == pytest.approx(0.4 if revisit else 0.8)
    assert cell["ratio"] == pytest.approx(0.8)
    assert cell["interval"] == pytest.approx([0.8, 0.8])
    assert cell["to_best"] == pytest.approx(0.5)


def test_too_few_frames_give_no_figures():
    cell = _cell(scores_of(0.4, 0.5, count=99), 0, True)
    assert cell == {"n": 99}
    assert lines("set", {"held": {"1.0": {"revisits": cell}}}) == ["set held 1.0 s revisits n 99"]
