"""Launch arguments that nobody declared: ``ros2 launch`` takes them without a word, so a misspelt one is named here."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from pathlib import Path

from wm_ros import ConfigurationError

# What ``launch`` itself reads, whatever a file declares.
_OF_LAUNCH = ("emulate_tty", "launch-prefix", "launch-prefix-filter", "sigkill_timeout", "sigterm_timeout")
_PACKAGE = "wm_bringup"


def refuse_unknown(argv: Sequence[str], declared: Collection[str]) -> None:
    """Refuses arguments of the command line that a launch file does not declare.

    Args:
        argv: What follows the launch file, ``name:=value`` each; other words are not looked at.
        declared: Names of the arguments that it takes.

    Raises:
        ConfigurationError: One of them is unknown; names each, and what it resembles.
    """
    names = dict.fromkeys(word.partition(":=")[0] for word in argv if ":=" in word)
    unknown = [name for name in names if name not in declared and name not in _OF_LAUNCH]
    if unknown:
        said = "; ".join(_say(name, declared) for name in unknown)
        raise ConfigurationError(f"{said}; --show-args lists what there is")


def _say(name: str, declared: Collection[str]) -> str:
    near = difflib.get_close_matches(name, sorted(declared), n=1, cutoff=0.6)
    return f"unknown argument {name[:60]}:=" + (f", did you mean {near[0]}:=?" if near else "")


def is_asked_for(command: Sequence[str], launch_file: Path) -> bool:
    """Returns whether a command line names a launch file, so that all its arguments are meant for that.

    A launch file of somebody else's that includes ours has arguments of its own, and they reach ours as well.

    Args:
        command: All words of the process.
        launch_file: The file that is being executed.
    """
    for before, word in zip(["", *command], command):
        if ":=" in word or Path(word).name != launch_file.name:
            continue
        is_path = Path(word).is_file() and Path(word).resolve() == launch_file.resolve()
        if is_path or (word == launch_file.name and before == _PACKAGE):
            return True
    return False
