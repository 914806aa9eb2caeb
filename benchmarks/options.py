"""What is taken for the value of an option: what is none is refused by the option's name, before any work."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path


def whole(least: int) -> Callable[[str], int]:
    """Return what reads a whole number of at least so much."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise ArgumentTypeError(f"'{text}', expected a whole number of {least} or more")
        return value

    return read


def real(least: float) -> Callable[[str], float]:
    """Return what reads a number of at least so much that is not infinite."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value < math.inf:
            raise ArgumentTypeError(f"'{text}', expected a number of {least:g} or more")
        return value

    return read


def output(text: str) -> Path:
    """Return a file that can be written; its folder is made.

    Raises:
        ArgumentTypeError: It cannot.
    """
    path = Path(text)
    is_there = path.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab"):
            pass
    except OSError as error:
        raise ArgumentTypeError(f"'{text}' cannot be written: {error.strerror}") from error
    if not is_there:
        path.unlink()
    return path
