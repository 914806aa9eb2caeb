"""Records side by side, one array per field: what a store, an index and a search hand each other.

Shape suffixes: N = records, A = action size, D = latent size.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

_ACTIONS = ("action", "previous_action")


@dataclass
class Rows:
    """Records side by side.

    ``action_NA`` and ``previous_action_NA`` are NaN where unknown. ``session_N`` numbers the memory's sessions.
    """

    id_N: np.ndarray
    stamp_N: np.ndarray
    x_N: np.ndarray
    y_N: np.ndarray
    z_N: np.ndarray
    yaw_N: np.ndarray
    session_N: np.ndarray
    surprise_N: np.ndarray
    action_NA: np.ndarray
    previous_action_NA: np.ndarray
    cell_N: np.ndarray
    latent_ND: np.ndarray

    def __len__(self) -> int:
        return len(self.id_N)

    def column(self, name: str) -> np.ndarray:
        """Return a column by its name without the shape suffix: ``x``, ``action``, ``latent``, ..."""
        column: np.ndarray = getattr(self, name + suffix_of(name))
        return column

    def take(self, which: np.ndarray | slice) -> Rows:
        """Return some of the rows."""
        return Rows(*(getattr(self, item.name)[which] for item in fields(self)))

    @staticmethod
    def concatenate(parts: list[Rows]) -> Rows:
        """Return the rows of all parts, in order."""
        return Rows(*(np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(Rows)))


def suffix_of(name: str) -> str:
    """Return the shape suffix of a column's name."""
    return "_ND" if name == "latent" else "_NA" if name in _ACTIONS else "_N"
