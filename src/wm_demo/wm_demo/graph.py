"""The graph's processes: start, watch, stop, and what they cost."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import IO

import psutil
from ament_index_python.packages import get_package_prefix

STOP_S = 10.0


@dataclass(frozen=True)
class Exit:
    """How a process ended: its code (negative: killed by that signal) and how long that took [s]."""

    code: int
    seconds: float


class Graph:
    """Some processes that belong together, each with a log file.

    Args:
        commands: {name: command line}.
        logs: Directory for ``NAME.log``.
    """

    def __init__(self, commands: Mapping[str, Sequence[str]], logs: Path) -> None:
        self._logs: dict[str, IO[bytes]] = {}
        self._processes: dict[str, psutil.Popen] = {}
        self._cpu_started_s = 0.0
        self._measured_from_s = 0.0
        self.log_paths = {name: logs / f"{name}.log" for name in commands}
        for name, command in commands.items():
            self._logs[name] = self.log_paths[name].open("wb")
            self._processes[name] = psutil.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=self._logs[name],
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a terminal's Ctrl-C is for the demo, which then stops these in order
            )
        for process in self._processes.values():
            process.cpu_times()

    def trouble(self) -> str | None:
        """Returns which process has ended, with its last line, or None."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                return f"{name} ended with exit code {process.returncode}: {self.last_line(name)}"
        return None

    def last_line(self, name: str) -> str:
        """Returns the last line that a process wrote."""
        lines = self.log_paths[name].read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def start_measuring(self) -> None:
        """From here on processor time counts."""
        self._cpu_started_s, self._measured_from_s = self._cpu_s(), monotonic()

    def cpu_percent(self) -> float:
        """Returns the processor time of all processes together since ``start_measuring`` [% of one core]."""
        elapsed_s = monotonic() - self._measured_from_s
        return 100.0 * (self._cpu_s() - self._cpu_started_s) / elapsed_s if elapsed_s > 0 else 0.0

    def rss_mb(self) -> float:
        """Returns the resident memory of all processes together [MB]."""
        return float(sum(p.memory_info().rss for p in self._processes.values() if p.is_running())) / 1e6

    def stop(self) -> dict[str, Exit]:
        """Sends SIGINT, as Ctrl-C does, and returns how each process ended; who does not is killed."""
        started = monotonic()
        for process in self._processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        exits = {name: self._await_exit(process, started) for name, process in self._processes.items()}
        for log in self._logs.values():
            log.close()
        return exits

    @staticmethod
    def _await_exit(process: psutil.Popen, started: float) -> Exit:
        try:
            code = process.wait(timeout=max(0.1, STOP_S - (monotonic() - started)))
        except psutil.TimeoutExpired:
            process.kill()
            code = process.wait()
        return Exit(code, monotonic() - started)

    def _cpu_s(self) -> float:
        total = 0.0
        for process in self._processes.values():
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue
            total += times.user + times.system
        return total


def executable(package: str, name: str) -> list[str]:
    """Returns the command that ``ros2 run PACKAGE NAME`` would start, in this interpreter."""
    return [sys.executable, str(Path(get_package_prefix(package)) / "lib" / package / name)]
