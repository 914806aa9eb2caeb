"""When a robot that is to drive counts as standing."""

import pytest
from latent_planner.blocked import Blocked


def first(blocked, place, seconds=30.0):
    """Returns when it is told of first [s]; None: not at all."""
    for tick in range(round(seconds * 20)):
        if blocked.take(tick / 20, *place(tick / 20)):
            return tick / 20
    return None


def test_who_stands_is_named_once_the_time_is_over():
    assert first(Blocked(10.0, 1.0), lambda _: (3.0, 4.0)) == 10.0


def test_what_trembles_stands():
    assert first(Blocked(10.0, 1.0), lambda time_s: (0.05 * (-1) ** round(20 * time_s), 0.0)) == 10.0


@pytest.mark.parametrize("speed_m_s", [1.0, 0.05])
def test_who_gets_on_does_not_stand_however_slow_it_may_be(speed_m_s):
    assert first(Blocked(10.0, speed_m_s), lambda time_s: (0.3 * speed_m_s * time_s, 0.0)) is None


def test_who_got_free_has_all_the_time_again():
    assert first(Blocked(10.0, 1.0), lambda time_s: (0.0 if time_s < 9.0 else 1.0, 0.0)) == 19.0


def test_a_new_beginning_and_no_time_at_all():
    blocked = Blocked(10.0, 1.0)
    assert first(blocked, lambda _: (0.0, 0.0), 9.0) is None
    blocked.restart()
    assert not blocked.take(12.0, 0.0, 0.0)
    assert blocked.take(22.0, 0.0, 0.0)
    assert first(Blocked(0.0, 1.0), lambda _: (0.0, 0.0)) is None
