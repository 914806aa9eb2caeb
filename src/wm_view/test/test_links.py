"""Which frames belong together: others' transforms count, one's own do not."""

from __future__ import annotations

from wm_view.links import Links


def test_poses_in_a_frame_of_nobody_are_tied_after_a_while():
    links = Links("map", 2.0)
    assert not links.is_to_tie("odom", 10.0)
    assert not links.is_to_tie("odom", 11.9)
    assert links.is_to_tie("odom", 12.0)
    assert links.complaint("odom") is None


def test_poses_in_the_fixed_frame_need_no_tie():
    assert not Links("map", 0.0).is_to_tie("map", 0.0)


def test_who_says_where_the_frame_lies_has_the_last_word_whenever_it_comes():
    links = Links("map", 0.0)
    assert links.is_to_tie("odom", 0.0)
    links.heard(5, "/map", "odom")
    assert not links.is_to_tie("odom", 1.0)
    assert links.complaint("odom") is None


def test_what_was_published_here_says_nothing():
    links = Links("map", 0.0)
    links.sent(5, "map", "odom")
    links.heard(5, "map", "odom")
    assert links.is_to_tie("odom", 0.0)
    links.heard(6, "map", "odom")
    assert not links.is_to_tie("odom", 0.0)


def test_a_tree_the_other_way_round_is_no_loop():
    links = Links("map", 0.0)
    links.heard(0, "odom", "map")
    assert not links.is_to_tie("odom", 0.0)
    assert links.complaint("odom") is None


def test_a_tree_without_the_fixed_frame_is_named():
    links = Links("map", 0.0)
    links.heard(0, "world", "odom")
    assert not links.is_to_tie("odom", 0.0)
    assert links.complaint("odom") == (
        "poses are in odom, which hangs under world, not map: start with fixed_frame:=world"
    )
    links.heard(0, "world", "map")
    assert links.complaint("odom") is None


def test_a_loop_that_others_make_ends():
    links = Links("map", 0.0)
    links.heard(0, "a", "b")
    links.heard(0, "b", "a")
    links.complaint("a")
    assert not links.is_to_tie("a", 0.0)
