"""The bases that a memory was told of: one takes effect with the first state in it, of the robot that is followed."""

from __future__ import annotations

from wm_core.projection import Projection

_MOST_BASES = 16


class ToldBases:
    """Knows which projections were told of, and which of them a state asks for.

    A projection alone says nothing: it is latched, and may be of another robot's graph in the same domain.
    """

    def __init__(self) -> None:
        self._told: dict[str, Projection] = {}
        self._applied = ""

    def tell(self, projection: Projection) -> None:
        """Take note of a basis; it takes effect with the first state in it."""
        self._told.pop(projection.encoder_id, None)
        self._told[projection.encoder_id] = projection
        for old in [each for each in self._told if each != self._applied][:-_MOST_BASES]:
            del self._told[old]

    def asked_for(self, encoder_id: str) -> Projection | None:
        """Return the basis that a state in it asks the memory to change to; None: it did, or nobody told of it."""
        return None if encoder_id == self._applied else self._told.get(encoder_id)

    def apply(self, projection: Projection) -> None:
        """Take note that the memory was asked to change; it is asked once, whether it can or not."""
        self._applied = projection.encoder_id
