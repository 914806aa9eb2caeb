"""What goes wrong with recordings: an error where nothing can be read, a ``Damage`` where the rest still plays."""

from __future__ import annotations

from dataclasses import dataclass

from wm_core.errors import CoreError


class BagError(CoreError):
    """The recording cannot be read, or lacks what was asked for."""


@dataclass(frozen=True)
class Damage:
    """Something of a recording that could not be read, while the rest was.

    Attributes:
        text: What and where.
        repair: Command that repairs it, or "".
        lost_count: Messages that are known to be lost by it.
        topic: Whose promised messages did not come, where it says that.
    """

    text: str
    repair: str = ""
    lost_count: int = 0
    topic: str = ""

    def __str__(self) -> str:
        return f"{self.text} (repair: {self.repair})" if self.repair else self.text
