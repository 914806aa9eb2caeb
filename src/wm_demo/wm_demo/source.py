"""The demo's source of input: a child process that plays a recording or drives the simulated robot, and its log."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from threading import Thread

from bag_player.sent_log import SentFrame, read_items
from wm_demo.measurements import Measurements, rate_hz

_STOP_S = 5.0


class Source:
    """A child process that sends frames and says so through a pipe.

    Args:
        command: Its command line; ``--log-fd N`` is added.
        found: Learns of every frame sent.
        log_path: Where its output goes.
    """

    def __init__(self, command: Sequence[str], found: Measurements, log_path: Path) -> None:
        self.frames_sent = 0
        self.loops = 1
        self.progress: float | None = None
        self.sent: dict[str, int] = {}
        self._steady_ns: list[int] = []
        self._found = found
        self.log_path = log_path
        readable, writable = os.pipe()
        with log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "--log-fd", str(writable)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[writable],
                start_new_session=True,
            )
        os.close(writable)
        self._reader = Thread(target=self._read, args=(readable,), daemon=True, name="source_log")
        self._reader.start()

    @property
    def sent_hz(self) -> float:
        """Frames per second that were sent [Hz]."""
        return rate_hz(self._steady_ns)

    def running(self) -> bool:
        """Returns whether it still sends."""
        return self._process.poll() is None

    def stop(self) -> int:
        """Ends it if it still runs, reads its log to the end, and returns its exit code."""
        if self.running():
            self._process.terminate()
        try:
            code = self._process.wait(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._reader.join(timeout=_STOP_S)
        return code

    def last_line(self) -> str:
        """Returns the last line it wrote."""
        lines = self.log_path.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def _read(self, readable: int) -> None:
        with os.fdopen(readable, encoding="utf-8") as lines:
            for item in read_items(lines):
                if "frame" in item:
                    frame = SentFrame(*item["frame"])
                    self.frames_sent += 1
                    self._steady_ns.append(frame.steady_ns)
                    with self._found.lock:
                        self._found.ages.sent(frame)
                self.progress = item.get("progress", self.progress)
                self.loops = item.get("loops", self.loops)
                self.sent = item.get("sent", self.sent)
