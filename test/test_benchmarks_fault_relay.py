"""What a robot sends goes on by another clock, late, again or in another order, and afterwards as it comes."""

from __future__ import annotations

import random

import pytest
from sensor_msgs.msg import Image

from benchmarks.fault_relay import Relay
from wm_ros import stamp_msg, stamp_ns


class World:
    """A relay, and the stamps that came out of it [s]."""

    def __init__(self) -> None:
        self.relay, self.sent = Relay(random.Random(1)), list[float]()

    def send(self, *stamps_s: float) -> list[float]:
        """Return what comes out for these messages."""
        self.sent.clear()
        for stamp_s in stamps_s:
            msg = Image()
            msg.header.stamp = stamp_msg(round(stamp_s * 1e9))
            self.relay.take(lambda msg: self.sent.append(stamp_ns(msg.header.stamp) * 1e-9), msg)
        return list(self.sent)


@pytest.fixture
def world():
    return World()


def test_a_clock_that_is_set(world):
    assert world.send(1.0, 2.0) == [1.0, 2.0]
    world.relay.offset_ns = -500_000_000
    assert world.send(3.0) == [2.5]


def test_a_delay_ends_in_a_burst(world):
    world.relay.delay()
    assert world.send(1.0, 2.0) == []
    world.relay.straight()
    assert world.sent == [1.0, 2.0]
    assert world.send(3.0) == [3.0]


def test_a_loop_plays_what_was_sent_before(world):
    world.relay.loop()
    assert world.send(1.0, 2.0) == [1.0, 2.0]  # nothing to play yet
    world.relay.loop()
    assert world.send(3.0, 4.0, 5.0) == [1.0, 2.0, 1.0]
    world.relay.straight()
    assert world.send(6.0) == [6.0]


def test_another_order_sends_everything_twice(world):
    world.relay.shuffle()
    sent = world.send(*range(1, 8))
    world.relay.straight()
    assert sent != sorted(sent)
    assert sorted(world.sent) == [each for each in range(1, 8) for _ in range(2)]
