import pytest

from wm_core.words import counted


@pytest.mark.parametrize(
    ("count", "noun", "said"),
    [
        (1, "forecast", "1 forecast"),
        (0, "forecast", "0 forecasts"),
        (2, "memory", "2 memories"),
        (1, "memory", "1 memory"),
    ],
)
def test_one_is_singular(count, noun, said):
    assert counted(count, noun) == said
