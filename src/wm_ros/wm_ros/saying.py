"""What may be logged: short, on one line, and the same thing seldom."""

from __future__ import annotations

import traceback
from time import monotonic

MOST_CHARACTERS = 200
"""Of what comes from a message, a file or another node."""
SELDOM_S = 5.0
"""The same reason is said once in this time [s]."""
_MOST_REASONS = 256
_MOST_FRAMES = 12


def clipped(text: object, most: int = MOST_CHARACTERS) -> str:
    """Returns a text as it may be logged: control characters escaped, its middle left out where it is too long.

    Args:
        text: From wherever.
        most: Characters that are kept.
    """
    words = str(text)
    if len(words) > most:
        # Cut before escaping: what a peer sends may be megabytes.
        head, tail = words[: most - most // 3], words[-(most // 3) :]
        return f"{_escaped(head)[: most - most // 3]}…{_escaped(tail)[-(most // 3) :]} ({len(words)} characters)"
    return _escaped(words)[: most + most // 3]


def _escaped(words: str) -> str:
    if words.isprintable():
        return words
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in words)


class Seldom:
    """Tells when a reason may be said again, and how often it came meanwhile.

    Args:
        period_s: Least time between two sayings of one reason [s].
    """

    def __init__(self, period_s: float = SELDOM_S) -> None:
        self._period_s = period_s
        self._said: dict[str, tuple[float, int]] = {}

    def count(self, reason: str) -> int:
        """Returns how often a reason came since it was said last, this included; 0 while it is to be kept quiet."""
        now = monotonic()
        if reason not in self._said and len(self._said) >= _MOST_REASONS:
            reason = "others"
        said_s, quiet = self._said.get(reason, (-self._period_s, 0))
        if now - said_s < self._period_s:
            self._said[reason] = (said_s, quiet + 1)
            return 0
        self._said[reason] = (now, 0)
        return quiet + 1


def place_of(error: BaseException) -> str:
    """Returns where an error was raised: file and line."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "unknown place"


def traceback_of(error: BaseException) -> str:
    """Returns an error's traceback: all lines of code, and its text as far as a text may be logged."""
    frames = traceback.extract_tb(error.__traceback__)[-_MOST_FRAMES:]
    return "".join(traceback.format_list(frames)) + f"{type(error).__name__}: {clipped(error)}"
