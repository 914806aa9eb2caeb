"""Records side by side, one array per field: what a store, an index and a search hand each other.

Shape suffixes: N = records, A = action size, D = latent size, F = feature size, 4 = quaternion x, y, z, w.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

_ACTIONS = ("action", "previous_action")
_SUFFIXES = {"latent": "_ND", "feature": "_NF", "rotation": "_N4"}


@dataclass
class Rows:
    """Records side by side.

    ``action_NA`` and ``previous_action_NA`` are NaN where unknown. ``session_N`` numbers the memory's sessions.
    The last three are None where no record has any: ``rotation_N4`` is NaN where the yaw says it all, and
    ``feature_NF`` means nothing where ``has_feature_N`` is not set.
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
    feature_NF: np.ndarray | None = None
    has_feature_N: np.ndarray | None = None
    rotation_N4: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.id_N)

    def column(self, name: str) -> np.ndarray:
        """Return a column by its name without the shape suffix: ``x``, ``action``, ``latent``, ..."""
        column: np.ndarray = getattr(self, name + suffix_of(name))
        return column

    def take(self, which: np.ndarray | slice) -> Rows:
        """Return some of the rows."""
        columns = [getattr(self, item.name) for item in fields(self)]
        taken: list[Any] = [None if column is None else column[which] for column in columns]
        return Rows(*taken)

    @staticmethod
    def concatenate(parts: list[Rows]) -> Rows:
        """Return the rows of all parts, in order; all have the same columns."""
        columns = [[getattr(part, item.name) for part in parts] for item in fields(Rows)]
        joined: list[Any] = [None if column[0] is None else np.concatenate(column) for column in columns]
        return Rows(*joined)


def suffix_of(name: str) -> str:
    """Return the shape suffix of a column's name."""
    return "_NA" if name in _ACTIONS else _SUFFIXES.get(name, "_N")
