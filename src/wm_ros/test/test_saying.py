"""What is logged is short, on one line, and the same thing seldom."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wm_ros import saying
from wm_ros.saying import Seldom, clipped, place_of, traceback_of


@given(st.text(max_size=2000), st.integers(12, 300))
def test_a_text_is_cut_and_escaped(text, most):
    said = clipped(text, most)
    assert said.isprintable()
    assert len(said) <= most + most // 3 + len(f"… ({len(text)} characters)")
    if len(text) <= most and text.isprintable():
        assert said == text


def test_megabytes_are_cut_before_they_are_escaped():
    said = clipped("\n" * 10_000_000)
    assert len(said) < 300
    assert said.endswith("(10000000 characters)")


def test_control_characters_are_escaped():
    assert clipped("a\nb\x1b[31mc\udc80") == "a\\nb\\x1b[31mc\\udc80"


def test_a_reason_is_said_seldom_and_with_its_count(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(saying, "monotonic", lambda: now[0])
    seldom = Seldom(5.0)
    assert [seldom.count("a"), seldom.count("a"), seldom.count("b"), seldom.count("a")] == [1, 0, 1, 0]
    now[0] += 5.0
    assert seldom.count("a") == 3
    assert seldom.count("a") == 0


def test_reasons_that_a_peer_makes_up_do_not_fill_the_memory():
    seldom = Seldom(1e9)
    said = sum(seldom.count(f"reason {i}") > 0 for i in range(5000))
    assert said <= 257
    assert len(seldom._said) <= 257


def test_a_traceback_names_places_and_cuts_the_text():
    with pytest.raises(ValueError, match="x") as caught:
        raise ValueError("x" * 10_000)
    told = traceback_of(caught.value)
    assert "test_saying.py" in told
    assert len(told) < 1500
    assert "test_saying.py" in place_of(caught.value)
