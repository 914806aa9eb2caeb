"""The FIFO against results worked out by hand."""

import numpy as np
import pytest

from world_model.runtime.history import HistoryBreak, VisualHistory

SECOND = 1_000_000_000


def embedding(value: float) -> np.ndarray:
    return np.array([value, -value], np.float32)


def filled(*values: float) -> VisualHistory:
    history = VisualHistory(capacity=4, embedding_dim=2)
    for index, value in enumerate(values):
        history.push(index * SECOND, embedding(value))
    return history


def test_is_left_padded_while_it_fills() -> None:
    history = filled(1.0, 2.0)
    assert history.count == 2
    np.testing.assert_array_equal(history.vector(), [0, 0, 0, 0, 1, -1, 2, -2])


def test_keeps_the_last_four_oldest_first() -> None:
    history = filled(1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    assert history.count == 4
    assert history.stamp_ns == 5 * SECOND
    np.testing.assert_array_equal(history.array(), [[3, -3], [4, -4], [5, -5], [6, -6]])


def test_default_size_is_896_values() -> None:
    assert VisualHistory().vector().shape == (896,)


def test_reset_leaves_only_padding() -> None:
    history = filled(1.0, 2.0)
    history.reset()
    assert (history.count, history.stamp_ns) == (0, None)
    assert not history.vector().any()


@pytest.mark.parametrize(
    ("stamp_s", "expected"),
    [
        (2.95, None),
        (3.49, None),
        (3.51, HistoryBreak.GAP),
        (3600.0, HistoryBreak.GAP),
        (2.0, HistoryBreak.BACKWARD),
        (0.5, HistoryBreak.BACKWARD),
    ],
)
def test_what_does_not_follow_the_newest_by_a_tick_begins_anew(stamp_s: float, expected: HistoryBreak | None) -> None:
    history = filled(1.0, 2.0, 3.0)  # newest at 2 s
    assert history.push(int(stamp_s * SECOND), embedding(9.0)) is expected
    if expected is None:
        np.testing.assert_array_equal(history.vector(), [1, -1, 2, -2, 3, -3, 9, -9])
    else:
        np.testing.assert_array_equal(history.vector(), [0, 0, 0, 0, 0, 0, 9, -9])
        assert history.count == 1


def test_goes_on_after_a_break() -> None:
    history = filled(1.0, 2.0, 3.0)
    history.push(100 * SECOND, embedding(8.0))
    assert history.push(101 * SECOND, embedding(9.0)) is None
    assert history.count == 2


def test_a_bad_embedding_changes_nothing() -> None:
    history = filled(1.0)
    with pytest.raises(ValueError, match="not finite"):
        history.push(SECOND, np.array([np.nan, 0.0]))
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        history.push(SECOND, np.zeros(3))
    assert history.count == 1
    np.testing.assert_array_equal(history.vector(), [0, 0, 0, 0, 0, 0, 1, -1])


def test_copies_do_not_let_the_caller_in() -> None:
    history = filled(1.0)
    history.array()[:] = 7.0
    history.vector()[:] = 7.0
    assert history.vector()[-2] == 1.0


@pytest.mark.parametrize("wrong", [{"capacity": 0}, {"embedding_dim": 0}, {"tick_s": 0.0}, {"gap_ticks": 0.5}])
def test_refuses_sizes_that_make_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        VisualHistory(**wrong)
