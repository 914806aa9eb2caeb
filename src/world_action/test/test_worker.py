"""The worker takes the newest item only and never makes the caller wait."""

from threading import Event

import pytest

from world_action import LatestWorker

DEADLINE_S = 10.0


def test_results_come_in_order_on_another_thread() -> None:
    ready = Event()
    worker = LatestWorker(lambda item: item * 2, ready.set)
    worker.submit(21)
    assert ready.wait(DEADLINE_S)
    assert worker.collect() == [42]
    assert worker.collect() == []
    worker.stop()


def test_the_newest_waiting_item_replaces_the_older() -> None:
    begun, go_on, done = Event(), Event(), Event()
    seen: list[int] = []

    def work(item: int) -> int:
        begun.set()
        assert go_on.wait(DEADLINE_S)
        seen.append(item)
        if item == 3:
            done.set()
        return item

    worker = LatestWorker(work, lambda: None)
    assert worker.submit(1) is False
    assert begun.wait(DEADLINE_S)
    assert worker.submit(2) is False
    assert worker.submit(3) is True  # without waiting for 1
    go_on.set()
    assert done.wait(DEADLINE_S)
    worker.stop()
    assert seen == [1, 3]


def test_an_unexpected_error_reaches_the_collector() -> None:
    ready = Event()

    def work(item: int) -> int:
        raise ZeroDivisionError(f"bug with {item}")

    worker = LatestWorker(work, ready.set)
    worker.submit(5)
    assert ready.wait(DEADLINE_S)
    with pytest.raises(ZeroDivisionError, match="bug with 5"):
        worker.collect()
    worker.stop()


def test_stop_ends_the_thread_although_nothing_came() -> None:
    prepared = Event()
    worker = LatestWorker(lambda item: item, lambda: None, prepare=prepared.set)
    assert prepared.wait(DEADLINE_S)
    worker.stop()
    assert not worker._thread.is_alive()
