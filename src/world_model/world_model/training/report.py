"""How a run tells its caller where it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


def _ignore(*_: object) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Report:
    """Who hears of a run.

    Attributes:
        say: Told what happens, line by line.
        advance: Told (stage, done, total) when a stage gets on.
    """

    say: Callable[[str], None] = _ignore
    advance: Callable[[str, int, int], None] = _ignore

    def step(self, stage: str, done: int, total: int, terms: Mapping[str, float], say_every: int = 1) -> None:
        """Tell where a stage is, and every so many steps its losses."""
        self.advance(stage, done, total)
        if done % say_every == 0 or done == total:
            words = " ".join(f"{name} {value:.3f}" for name, value in terms.items())
            self.say(f"{stage} {done}/{total} {words}")


QUIET = Report()
