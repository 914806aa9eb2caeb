"""The running graph's inputs as a recording: another process makes it, which a package above this one offers."""

from __future__ import annotations

import argparse
import math
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import entry_points
from pathlib import Path

from wm_core.standing_back import stand_back
from world_model.commands.common import check_folder
from world_model.commands.scratch import scratch_folder
from world_model.errors import ConfigError, DataError

# What is left to do stands back behind the graph that goes on meanwhile.
_NICENESS = 10
_GROUP, _NAME = "wm.recorders", "live"
# The recorder gets so long to complete what it has [s].
_PATIENCE_S = 30.0
_SCRATCH = ".recording-"


def add_live(parser: argparse.ArgumentParser) -> None:
    """Add the options of a recording that is made now."""
    parser.add_argument("--live", action="store_true", help="record the running graph's inputs first, beside it")
    parser.add_argument("--seconds", type=float, help="with --live: so long; default: until Ctrl-C")
    parser.add_argument("--keep", type=Path, help="with --live: new folder that keeps the recording")


def check_live(options: argparse.Namespace) -> None:
    """Refuse what of ``add_live`` cannot be, or would do nothing, before anything is recorded.

    Raises:
        ConfigError: Names the option.
        OSError: The recording cannot be kept there.
    """
    for name in ("seconds", "keep"):
        if getattr(options, name) is not None and not options.live:
            raise ConfigError(f"--{name} is of --live, and recordings are given")
    if options.seconds is not None and not 0.0 < options.seconds < math.inf:
        raise ConfigError(f"--seconds is {options.seconds}, expected more than 0, and finite")
    if options.keep is not None:
        if options.keep.exists():
            raise ConfigError(f"--keep {options.keep} exists already: a recording is never overwritten")
        check_folder(options.keep)


@contextmanager
def live_recording(options: argparse.Namespace, folder: Path, say: Callable[[str], None]) -> Iterator[Path]:
    """Give what is recorded of the running graph; it is thrown away afterwards unless it is to be kept.

    Args:
        options: Of ``add_live``, checked, with ``namespace`` and the topics.
        folder: Where it lies meanwhile.
        say: Told what happens.

    Raises:
        ConfigError: Nothing here can record.
        DataError: Nothing was recorded.
    """
    with scratch_folder(folder, _SCRATCH) as scratch:
        place = options.keep or scratch / "live"
        _record(_command(options, place), options.seconds, say)
        stand_back(_NICENESS)
        try:
            yield place
        except BaseException:
            if options.keep is None:
                say("the recording was thrown away; --keep FOLDER keeps it")
            raise


def _command(options: argparse.Namespace, place: Path) -> list[str]:
    """Return the recorder's command line."""
    found = [each for each in entry_points(group=_GROUP) if each.name == _NAME]
    if not found:
        raise ConfigError(
            "--live needs the workspace's package bag_player and ROS 2 (rclpy), and they are not installed here; "
            "record elsewhere and give the recording"
        )
    topics = {"camera": options.image_topic, "pose": options.pose_topic, "actions": options.action_topic}
    named = {name: topic for name, topic in topics.items() if topic}
    command: list[str] = found[0].load()(place, options.seconds, options.namespace, named)
    return command


def _record(command: list[str], seconds: float | None, say: Callable[[str], None]) -> None:
    """Let another process record until it is enough, or until Ctrl-C, which ends the recording only."""
    until = "Ctrl-C ends it" if seconds is None else f"{seconds:g} s; Ctrl-C ends it earlier"
    say(f"recording the running graph: {until}")
    started = time.monotonic()
    # In a session of its own, so that Ctrl-C reaches it once, from here.
    process = subprocess.Popen(command, start_new_session=True)
    try:
        process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE_S)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if process.returncode:
        raise DataError(f"nothing to learn from was recorded: the recorder ended with exit code {process.returncode}")
    say(f"recorded for {time.monotonic() - started:.0f} s")
