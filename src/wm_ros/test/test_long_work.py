"""Work off the executor: what peers ask for is bounded, and what a node has to do itself is done all the same."""

from __future__ import annotations

from threading import Event

from wm_ros import LongWork
from wm_ros.errors import MessageError
from wm_ros.long_work import MOST_WAITING


def test_too_much_is_refused_at_once_but_for_the_nodes_own():
    let_go, done = Event(), Event()
    work = LongWork("worker", lambda: None, MessageError)
    futures = [work.later(lambda: let_go.wait(60.0)) for _ in range(MOST_WAITING)]
    refused = work.later(lambda: 1)
    assert refused.done()
    assert refused.result().reason == "busy"
    own = work.later(done.set, is_own=True)
    assert not own.done()
    let_go.set()
    assert done.wait(60.0)
    work.shutdown()
    assert all(future.done() for future in [*futures, own])


def test_what_is_given_up_is_told_to_who_waits_for_it_without_waiting():
    let_go, begun = Event(), Event()
    work = LongWork("worker", lambda: None, MessageError)
    under_way = work.later(lambda: (begun.set(), let_go.wait(60.0)))
    waiting = work.later(lambda: 1)
    assert begun.wait(60.0)
    work.give_up()
    assert waiting.result().reason == "stopped"
    assert not under_way.done()
    let_go.set()
