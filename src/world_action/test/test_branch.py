"""One look after the other with a model whose numbers are known."""

import math

import numpy as np
import pytest

from wm_core.errors import FrameError
from world_action import SlowBranch
from world_model.errors import ArtifactError
from world_model.runtime.history import HistoryBreak

SECOND = 1_000_000_000
SIZES = {"image_size": 4, "embedding_dim": 2, "history": 3, "future": 2, "tick_s": 1.0}


class MeanColour:
    """Embedding: mean red and mean green of the valid views; foreseen: red plus 1 a tick."""

    def embed(self, image_BVHWC: np.ndarray, valid_BV: np.ndarray) -> np.ndarray:
        mean_BV3 = image_BVHWC.mean((2, 3), dtype=np.float32)
        weight_BV1 = valid_BV.astype(np.float32)[..., None]
        return ((mean_BV3 * weight_BV1).sum(1) / weight_BV1.sum(1))[:, :2]

    def foresee(self, history_BNE: np.ndarray, count_B: np.ndarray) -> np.ndarray:
        step = np.array([1.0, 0.0], np.float32)
        return np.stack([history_BNE[:, -1] + step, history_BNE[:, -1] + 2 * step], 1)


def picture(red: int, green: int = 0) -> np.ndarray:
    return np.full((8, 6, 3), (red, green, 0), np.uint8)


def test_history_prediction_and_surprise() -> None:
    branch = SlowBranch(MeanColour(), SIZES)
    first = branch.look(0, [picture(10, 4)])
    assert math.isnan(first.surprise)
    np.testing.assert_array_equal(first.history, [[0, 0], [0, 0], [10, 4]])
    np.testing.assert_array_equal(first.predicted, [[11, 4], [12, 4]])
    second = branch.look(SECOND, [picture(14, 4)])  # 11 was foreseen: ((14 - 11)^2 + 0) / 2
    assert second.surprise == pytest.approx(4.5)
    assert (second.count, second.broken) == (2, None)


def test_a_gap_begins_a_new_history_without_surprise() -> None:
    branch = SlowBranch(MeanColour(), SIZES)
    branch.look(0, [picture(10)])
    look = branch.look(5 * SECOND, [picture(200)])
    assert look.broken is HistoryBreak.GAP
    assert look.count == 1
    assert math.isnan(look.surprise)


def test_a_missing_view_is_masked() -> None:
    branch = SlowBranch(MeanColour(), SIZES)
    np.testing.assert_array_equal(branch.look(0, [None, picture(30)]).history[-1], [30, 0])
    np.testing.assert_array_equal(branch.look(SECOND, [picture(10), picture(30)]).history[-1], [20, 0])


def test_no_view_at_all_is_refused() -> None:
    with pytest.raises(FrameError, match="no view"):
        SlowBranch(MeanColour(), SIZES).look(0, [None, None])


def test_a_manifest_without_sizes_is_refused() -> None:
    with pytest.raises(ArtifactError, match="history, tick_s"):
        SlowBranch(MeanColour(), {"image_size": 4, "embedding_dim": 2})


def test_the_tick_decides_what_a_gap_is() -> None:
    branch = SlowBranch(MeanColour(), SIZES, tick_s=4.0)
    branch.look(0, [picture(1)])
    assert branch.look(5 * SECOND, [picture(2)]).broken is None


def test_warming_up_leaves_no_trace() -> None:
    branch = SlowBranch(MeanColour(), SIZES)
    branch.warm_up(2)
    look = branch.look(0, [picture(10)])
    assert look.count == 1
    assert math.isnan(look.surprise)
