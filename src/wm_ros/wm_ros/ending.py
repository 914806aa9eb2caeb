"""The end of a process that was told to end: it comes, and where it does not, the process says what it hangs in."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Longer than closing a memory of a million states takes on a loaded machine, shorter than service managers wait.
GRACE_S = 25.0


class Ending:
    """What is done when the first signal comes, whatever the main thread is doing, on a thread of its own."""

    def __init__(self) -> None:
        self.begin: Callable[[], None] = lambda: None


@contextmanager
def ending_in_time(grace_s: float = GRACE_S) -> Iterator[Ending]:
    """From SIGINT or SIGTERM on, gives the body some time to end; then ends the process with exit code 1.

    Libraries below can wait for good for what another process will never give back, one that was killed for example.
    Where every thread stands then goes to stderr. What nodes acknowledged is on disk already.

    For the main thread, with handlers of the process's own for both signals.

    Args:
        grace_s: How long the body may go on after the first of them [s].
    """
    here, there = os.pipe()
    os.set_blocking(there, False)
    before = signal.set_wakeup_fd(there, warn_on_full_buffer=False)
    ending = Ending()
    watching = Thread(target=_arm, args=(here, grace_s, ending), name="ending", daemon=True)
    watching.start()
    try:
        yield ending
    finally:
        signal.set_wakeup_fd(before)
        os.close(there)
        watching.join()
        os.close(here)
        faulthandler.cancel_dump_traceback_later()


def _arm(here: int, grace_s: float, ending: Ending) -> None:
    """Waits for a signal's number, which comes whatever the main thread is doing; a closed pipe ends it."""
    while numbers := os.read(here, 16):
        if set(numbers) & set(SIGNALS):
            faulthandler.dump_traceback_later(grace_s, exit=True, file=sys.__stderr__ or 2)
            ending.begin()
            return
