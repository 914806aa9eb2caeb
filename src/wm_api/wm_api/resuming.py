"""Rollouts that a client may come back to: where they began is kept for a minute."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from time import monotonic

from wm_api.imagining import Imagined, Look

_MOST = 64
_KEPT_S = 60.0


@dataclass
class Begun:
    """A rollout that was begun.

    Attributes:
        look: Where from, and with which plan.
        name: In the URLs of its pictures.
        at_s: When, on the steady clock [s].
        imagined: What came of it; empty: nothing yet. Who comes back is told the rest of the same.
    """

    look: Look
    name: str
    at_s: float
    imagined: list[Imagined] = field(default_factory=list)


class Rollouts:
    """The rollouts begun in the last minute, by who asked for what; the oldest is forgotten first."""

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[str, str], Begun] = OrderedDict()

    def begin(self, who: str, what: str, look: Look, name: str) -> Begun:
        """Keep where a rollout begins."""
        begun = Begun(look, name, monotonic())
        self._held.pop((who, what), None)
        self._held[who, what] = begun
        while len(self._held) > _MOST:
            self._held.popitem(last=False)
        return begun

    def resume(self, who: str, what: str) -> Begun | None:
        """Return what the same client began by the same request, or None."""
        begun = self._held.get((who, what))
        return begun if begun is not None and monotonic() - begun.at_s < _KEPT_S else None
