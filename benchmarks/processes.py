"""Processes that a benchmark starts: by what command, at which cost, ended how."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import IO

import psutil

ROOT = Path(__file__).resolve().parents[1]
STOP_S = 10.0

# The folder of the benchmarks comes last: nothing beside them may pass for a module that is installed.
_BOOT = (
    "import runpy, sys; sys.path[:1] = []; sys.path.append(sys.argv.pop(1)); "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


def module_command(module: str, *arguments: object, python: str | Path = sys.executable) -> list[str]:
    """Return the command that runs one of these modules, in whatever folder, environment and interpreter.

    Args:
        module: Full name, such as ``benchmarks.memory``.
        arguments: For the module.
        python: The interpreter.
    """
    return [str(python), "-c", _BOOT, str(ROOT), module, *map(str, arguments)]


class Processes:
    """Some processes that belong together, each with a log file; a context that stops them at its end.

    Args:
        commands: Name -> command line.
        logs: Folder for ``NAME.log``.
        environment: What they see; None: as this process.
    """

    def __init__(
        self, commands: Mapping[str, Sequence[str]], logs: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._logs: dict[str, IO[bytes]] = {}
        self._running: dict[str, psutil.Popen] = {}
        self.log_paths = {name: logs / f"{name}.log" for name in commands}
        for name, command in commands.items():
            self._logs[name] = self.log_paths[name].open("wb")
            self._running[name] = psutil.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=self._logs[name],
                stderr=subprocess.STDOUT,
                env=dict(environment) if environment is not None else None,
                start_new_session=True,  # a terminal's Ctrl-C is for the benchmark, which then stops these
            )

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def trouble(self) -> str | None:
        """Return which process has ended, with the last line it wrote, or None."""
        for name, process in self._running.items():
            if process.poll() is not None:
                return f"{name} ended with exit code {process.returncode}: {last_line(self.log_paths[name])}"
        return None

    def cpu_s(self) -> float:
        """Return the processor time of all processes so far, user and system [s]."""
        return cpu_s(self._running.values())

    def rss_bytes(self) -> int:
        """Return the resident memory of all processes [bytes]."""
        return sum(process.memory_info().rss for process in self._running.values() if process.poll() is None)

    def shared_bytes(self) -> int:
        """Return what the files in shared memory take that any of the processes has mapped [bytes]."""
        paths: set[str] = set()
        for process in self._running.values():
            with contextlib.suppress(psutil.Error):
                paths |= {each.path for each in process.memory_maps() if each.path.startswith("/dev/shm/")}
        return sum(Path(path).stat().st_size for path in paths if Path(path).exists())

    def kill(self, name: str) -> None:
        """Send SIGKILL to one process and wait for its end."""
        self._running[name].kill()
        self._running[name].wait()

    def stop(self, longest_s: float = STOP_S) -> dict[str, int]:
        """Send SIGINT, as Ctrl-C does, and return the exit codes; who does not end in time is killed."""
        deadline = monotonic() + longest_s
        for process in self._running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        codes = {name: _exit_code(process, deadline) for name, process in self._running.items()}
        for log in self._logs.values():
            log.close()
        return codes


def cpu_s(processes: Iterable[psutil.Process]) -> float:
    """Return the processor time of processes, user and system [s]; one that is gone counts nothing."""
    total = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
    return total


def last_line(log: Path) -> str:
    """Return the last line of a log file."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _exit_code(process: psutil.Popen, deadline: float) -> int:
    try:
        return int(process.wait(timeout=max(0.1, deadline - monotonic())))
    except psutil.TimeoutExpired:
        process.kill()
        return int(process.wait())
