"""A clock that waits for the nodes that follow it, and a benchmark that ends when it has to."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic, sleep

_NS = 1_000_000_000
# As on a machine with nothing else to do: the newest frame, its late pose and a moment of work; a command's period.
STATE_LATE_S, COMMAND_LATE_S = 0.13, 0.025
# Some of its times may be lost on the way to a node.
_CLOCK_LATE_S, _GLANCE_S = 0.015, 0.0005


class Together:
    """Holds a clock while the nodes that follow it are farther behind than they are on a quiet machine.

    Nodes that a loaded machine makes late are late in real time alone. What does not come in all that time counts as
    come by then, so that who is dead makes the time slow and not endless.

    Args:
        patience_s: Longest that one time is held [real s]; 0: none is.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s, self._changed = patience_s, threading.Condition()
        self.held_s, self.in_vain = 0.0, 0
        self._clocks: tuple[Callable[[], int], ...] = ()
        self.begin()

    def begin(
        self,
        clocks: Sequence[Callable[[], int]] = (),
        *,
        is_commanded: bool = True,
        is_thinking: Callable[[], bool] = lambda: False,
    ) -> None:
        """Forget who is how far: another clock begins, or who commanded its robot does so no more.

        Args:
            clocks: Return the present of the nodes that follow it [ns]: who has not taken a time that was told has not
                taken what was sent before it either.
            is_commanded: Whether its robot waits for commands; one that drives by itself tells them as it likes.
            is_thinking: Returns whether an answer is being made: how long that takes is told otherwise.
        """
        with self._changed:
            self._is_thinking = is_thinking
            self._is_commanded, self._clocks = is_commanded, tuple(clocks)
            self._told_ns = 0
            self._state_ns: int | None = None
            self._command_ns: int | None = None

    def state(self, stamp_ns: int) -> None:
        """Take note of a state of a frame [ns] that was heard."""
        with self._changed:
            self._state_ns = max(stamp_ns, self._state_ns or stamp_ns)
            self._changed.notify_all()

    def command(self) -> None:
        """Take note of a command that was heard."""
        with self._changed:
            self._command_ns = (self._told_ns or None) if self._is_commanded else None
            self._changed.notify_all()

    def hold(self, time_ns: int) -> None:
        """Return when it may be this time [ns]."""
        if not self._patience_s:
            return
        begun_s = monotonic()
        while not (has_come_by := self._has_come_by()) and monotonic() - begun_s < self._patience_s:
            sleep(_GLANCE_S)
        self.in_vain += not has_come_by
        with self._changed:
            if not self._changed.wait_for(lambda: self._may_be(time_ns), self._patience_s):
                self.in_vain += 1
                self._state_ns = self._state_ns and max(self._state_ns, time_ns)
                self._command_ns = self._command_ns and max(self._command_ns, time_ns)
            self._told_ns = time_ns
            self.held_s += monotonic() - begun_s

    def _has_come_by(self) -> bool:
        """Return whether all have taken the last time, and nobody makes an answer."""
        told_ns, late_ns = self._told_ns, round(_CLOCK_LATE_S * _NS)
        return not (told_ns and any(told_ns - clock() > late_ns for clock in self._clocks)) and not self._is_thinking()

    def _may_be(self, time_ns: int) -> bool:
        heard = (self._state_ns, STATE_LATE_S), (self._command_ns, COMMAND_LATE_S)
        return all(heard_ns is None or time_ns - heard_ns <= round(late_s * _NS) for heard_ns, late_s in heard)


class Allowed:
    """Real time that something may take, unless somebody interrupts it before.

    Args:
        minutes: How long.
    """

    def __init__(self, minutes: float) -> None:
        self._end_s, self._interrupted = monotonic() + 60.0 * minutes, threading.Event()

    @property
    def is_interrupted(self) -> bool:
        """Whether somebody wants it to end."""
        return self._interrupted.is_set()

    @property
    def left_s(self) -> float:
        """What is left [s]."""
        return self._end_s - monotonic()

    @property
    def why_over(self) -> str:
        """Why it has to end; empty: it may go on."""
        if self.is_interrupted:
            return "interrupted"
        return "the time allowed is over" if self.left_s <= 0.0 else ""

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take an interrupt or a request to end as the end of the time; a second one is what it usually is."""
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def interrupt(number: int, _frame: object) -> None:
            self._interrupted.set()
            signal.signal(number, before[signal.Signals(number)])

        for number in before:
            signal.signal(number, interrupt)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
