"""What a node tells of itself: counters, rates, ages and degraded modes, on ``/diagnostics`` once a second."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from wm_core.words import counted
from wm_ros.duplicates import DuplicateWatch
from wm_ros.misfits import MisfitWatch
from wm_ros.present import Moment, Present
from wm_ros.saying import SELDOM_S, Seldom, clipped

_WINDOW = 600
_RATE_WINDOW_S = 10.0
_FAULT_S = 60.0
_MOST_ADVICE = 400


@dataclass
class _Expected:
    """What should tick: at least each ``timeout_s``, since when, and who can say why it does not."""

    timeout_s: float
    since: Moment
    why: Callable[[], str | None] | None


@dataclass
class _Told:
    """What the log last said of a mode, when, and how often the mode has changed since."""

    cause: str | None
    at_s: float
    changes: int = 0


class Health:
    """Counts what happens in one node and publishes it as a ``diagnostic_msgs/DiagnosticArray``.

    Levels: OK; WARN while a mode is degraded, something expected stays away, or messages were dropped since the last
    report; ERROR for a minute after an unexpected error. Values are strings, keys as the methods say. What is said is
    escaped and cut short; the same reason is logged at most every 5 s, with a count. Rates are of real seconds; what
    stays away does so by the clock that the node follows.

    Args:
        node: Its name, with its namespace, becomes the status name.
        period_s: Time between reports [s], on the steady clock, so a paused simulation still reports.
        on_report: Called with each report.

    Attributes:
        misfits: Names peers whose quality of service does not fit; what is made with its callbacks is watched.
    """

    def __init__(self, node: Node, period_s: float = 1.0, on_report: Callable[[], None] = lambda: None) -> None:
        self._node, self._on_report = node, on_report
        self._counts: Counter[str] = Counter()
        self._drops: Counter[str] = Counter()
        self._drops_reported = 0
        self._seldom = Seldom()
        self._fault: tuple[float, str] | None = None
        self._is_paused = False
        self._present = Present(node)
        self._ticks: dict[str, deque[float]] = {}
        self._ticked: dict[str, Moment] = {}
        self._samples: dict[str, deque[float]] = {}
        self._gauges: dict[str, str] = {}
        self._degraded: dict[str, str] = {}
        self._causes: dict[str, str] = {}
        # When modes end that nobody ends.
        self._until_s: dict[str, float] = {}
        self._told: dict[str, _Told] = {}
        self._expected: dict[str, _Expected] = {}
        self._duplicates, self.misfits = DuplicateWatch(node), MisfitWatch(node)
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._timer = node.create_timer(period_s, self.report, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def count(self, name: str, n: int = 1) -> None:
        """Adds ``n`` to the counter ``name``."""
        self._counts[name] += n

    def counted(self, name: str) -> int:
        """Returns the counter ``name``; ``dropped/REASON`` for drops."""
        return self._drops[name[8:]] if name.startswith("dropped/") else self._counts[name]

    def drop(self, reason: str, detail: str = "") -> None:
        """Counts a message that could not be used under ``dropped/REASON`` and warns, at most every 5 s a reason."""
        self._drops[reason] += 1
        if self._seldom.count(reason):
            text = f"dropped ({reason}, {self._drops[reason]} so far): {clipped(detail or reason)}"
            self._node.get_logger().warning(text)

    def warn(self, reason: str, text: str) -> None:
        """Logs a warning, at most every 5 s a reason, and how often it came."""
        count = self._seldom.count(reason)
        if count:
            times = f" ({count} times)" if count > 1 else ""
            self._node.get_logger().warning(f"{clipped(text, _MOST_ADVICE)}{times}")

    def fault(self, text: str) -> None:
        """Counts an unexpected error; the level is ERROR for a minute."""
        self._counts["faults"] += 1
        self._fault = (monotonic(), clipped(text))

    def pause(self) -> None:
        """Expects nothing until ``resume``: the node is inactive."""
        self._is_paused = True
        for name in self._expected:
            self._degraded.pop(f"no_{name}", None)

    def resume(self) -> None:
        """Expects again, from now on, what was expected."""
        self._is_paused = False
        for expected in self._expected.values():
            expected.since = self._present.now()
        self._ticks.clear()
        self._ticked.clear()

    def forget(self) -> None:
        """Ends degraded modes and expectations: what they were about is gone."""
        self._degraded.clear()
        self._expected.clear()

    def skip(self, reason: str) -> None:
        """Counts a message that was left out on purpose under ``skipped/REASON``, without a warning."""
        self._counts[f"skipped/{reason}"] += 1

    def tick(self, name: str) -> None:
        """Marks one occurrence; reported as ``NAME_hz`` over the last 10 s."""
        now = self._present.now()
        self._ticks.setdefault(name, deque(maxlen=4096)).append(now.steady_s)
        self._ticked[name] = now

    def sample(self, name: str, value: float) -> None:
        """Adds a measurement; reported as ``NAME/p50``, ``/p99`` and ``/max`` over the last 600."""
        self._samples.setdefault(name, deque(maxlen=_WINDOW)).append(value)

    def gauge(self, name: str, value: object) -> None:
        """Sets a value that is reported as it is."""
        self._gauges[name] = str(value)

    def degrade(self, key: str, message: str | None, cause: str = "") -> None:
        """Sets or, with None, ends a degraded mode; its text is cut to 400 characters.

        The log tells when one begins, ends or has another cause, at most every 5 s a mode and then as it is by that
        time, with how often it changed in between.

        Args:
            key: Name of the mode.
            message: What does not work and what would help.
            cause: What of it is worth a line when it changes; numbers in ``message`` may change at each report.
        """
        before = self._causes.get(key) if key in self._degraded else None
        if message is None:
            self._degraded.pop(key, None)
        else:
            self._degraded[key], self._causes[key] = clipped(message, _MOST_ADVICE), cause
        now = self._causes[key] if key in self._degraded else None
        if now != before:
            self._told.setdefault(key, _Told(None, monotonic() - SELDOM_S)).changes += 1
            self._tell(key)

    def degrade_for(self, seconds: float, key: str, message: str) -> None:
        """Sets a degraded mode that ends by itself unless it is set again in time.

        Args:
            seconds: How long it lasts [s].
            key: Name of the mode.
            message: What does not work and what would help.
        """
        self._until_s[key] = monotonic() + seconds
        self.degrade(key, message)

    def _end_overdue(self) -> None:
        for key in [key for key, until_s in self._until_s.items() if monotonic() > until_s]:
            del self._until_s[key]
            self.degrade(key, None)

    def _tell(self, key: str) -> None:
        """Logs a mode whose last line is out of date, unless that line is too fresh."""
        told, now_s = self._told[key], monotonic()
        cause = self._causes[key] if key in self._degraded else None
        if now_s - told.at_s < SELDOM_S:
            return
        if cause == told.cause:
            return
        changes, told.changes = told.changes, 0
        told.cause, told.at_s = cause, now_s
        often = f" ({changes} changes since the last line)" if changes > 1 else ""
        if cause is None:
            self._node.get_logger().info(f"{key}: works again{often}")
        else:
            self._node.get_logger().warning(f"{key}: {self._degraded[key]}{often}")

    def expect(self, name: str, timeout_s: float, why: Callable[[], str | None] | None = None) -> None:
        """Degrades while ``tick(name)`` stays away for longer than ``timeout_s``.

        Args:
            name: As ``tick`` is called with.
            timeout_s: Silence that is a fault, by the clock that the node follows, if that goes on [s].
            why: Says why nothing comes and what would help, None where that is no fault; asked at each report.
        """
        self._expected[name] = _Expected(timeout_s, self._present.now(), why)

    def status(self) -> DiagnosticStatus:
        """Returns the present status, as it would be published."""
        self._check_expected()
        self._end_overdue()
        status = DiagnosticStatus(
            name=self._node.get_fully_qualified_name().lstrip("/"), hardware_id="world_model", message="ok"
        )
        dropped = sum(self._drops.values())
        notes = list(self._degraded.values())
        if dropped > self._drops_reported:
            notes.append(f"{counted(dropped - self._drops_reported, 'message')} dropped")
        status.level = DiagnosticStatus.WARN if notes else DiagnosticStatus.OK
        if self._fault is not None and monotonic() - self._fault[0] < _FAULT_S:
            status.level = DiagnosticStatus.ERROR
            notes.insert(0, f"unexpected error: {self._fault[1]}")
        if notes:
            status.message = "; ".join(notes)
        status.values = [KeyValue(key=key, value=value) for key, value in self._items()]
        return status

    def report(self) -> None:
        """Publishes the status now."""
        self.degrade("duplicates", self._duplicates.complaint())
        self.degrade("qos", self.misfits.complaint())
        self.degrade("clock", self._present.complaint())
        status = self.status()
        for key in self._told:
            self._tell(key)
        self._drops_reported = sum(self._drops.values())
        message = DiagnosticArray(status=[status])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)
        self._on_report()

    def _check_expected(self) -> None:
        self._present.look()
        if self._is_paused:
            return
        for name, expected in self._expected.items():
            silent_s = self._present.elapsed_s(self._ticked.get(name, expected.since))
            why = (expected.why() if expected.why else "") if silent_s > expected.timeout_s else None
            text = f"no {name} for {silent_s:.0f} s{f': {why}' if why else ''}"
            self.degrade(f"no_{name}", None if why is None else text, why or "")

    def _items(self) -> list[tuple[str, str]]:
        items = [(name, str(n)) for name, n in self._counts.items()]
        items += [(f"dropped/{name}", str(n)) for name, n in self._drops.items()]
        items += [(f"{name}_hz", f"{_rate(ticks):.2f}") for name, ticks in self._ticks.items()]
        for name, samples in self._samples.items():
            p50, p99, most = np.percentile(np.asarray(samples), [50, 99, 100])
            items += [(f"{name}/p50", f"{p50:.3f}"), (f"{name}/p99", f"{p99:.3f}"), (f"{name}/max", f"{most:.3f}")]
        items += list(self._gauges.items())
        items += [(f"degraded/{key}", message) for key, message in self._degraded.items()]
        return items


def _rate(ticks: deque[float]) -> float:
    """Returns occurrences per second over the last window [Hz], and forgets those before it."""
    now = monotonic()
    while ticks and now - ticks[0] > _RATE_WINDOW_S:
        ticks.popleft()
    if len(ticks) < 2:
        return 0.0
    span = max(ticks[-1] - ticks[0], now - ticks[-1])
    return (len(ticks) - 1) / span if span > 0 else 0.0


def name_within(node: Node, status_name: str) -> str | None:
    """Return who told a status of ``/diagnostics``, by its name in a node's own namespace; None: one of another.

    All robots of a domain share that topic.

    Args:
        node: Who hears.
        status_name: As ``Health`` makes it.
    """
    space, _, name = status_name.rpartition("/")
    return name if space == node.get_namespace().strip("/") else None
