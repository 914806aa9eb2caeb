"""How large a value from outside may be before it is believed: checked before anything is computed or allocated.

Beyond these a message is dropped by name; whatever is finite and within them is used, with limited influence where a
model was trained on less.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wm_core.errors import MessageError

LARGEST_ACTION = 1e6
"""Magnitude of an action, in its own unit."""
LARGEST_POSITION_M = 1e7
"""Distance from a map's origin along an axis [m]."""
LARGEST_LATENT_STDS = 1e3
"""Distance of a latent from the mean of its training set, in standard deviations."""
LARGEST_VALUE = 1e6
"""Magnitude of a latent, an embedding or another value of a vector, where no training set tells."""
MOST_VALUES = 65_536
"""Values of one vector."""
LONGEST_NAME = 256
"""Characters of a frame, session, encoder or network."""
LATEST_STAMP_S = 2**31 - 1 - 3600
"""Latest second that a frame may be stamped with: what is an hour ahead of it can still be written into a message."""
LONGEST_HORIZON_S = 60.0
"""Furthest that a model looks ahead [s]."""
SHORTEST_STEP_S = 1e-3
"""Shortest step of a model [s]."""
MOST_HORIZONS = 16
"""Horizons that a model forecasts."""

_SHOWN = 8


def bounded_vector(
    values: Sequence[float], name: str, size: int | None = None, largest: float = LARGEST_VALUE
) -> np.ndarray:
    """Returns values as float32 [size].

    Args:
        values: From a message.
        name: What they are; begins the reason of an error.
        size: How many there must be; None: any number up to ``MOST_VALUES``.
        largest: Magnitude that none may exceed.

    Raises:
        MessageError: ``NAME-length``, ``NAME-not-finite`` or ``NAME-too-large``.
    """
    count = len(values)
    if count > MOST_VALUES or (size is not None and count != size):
        expected = f"at most {MOST_VALUES}" if size in (None, count) else str(size)
        raise MessageError(f"{name}-length", f"{count} values, expected {expected}")
    with np.errstate(over="ignore"):
        vector = np.array(values, np.float32).ravel()
    if not np.isfinite(vector).all():
        raise MessageError(f"{name}-not-finite", shown(values))
    if count and max(float(vector.max()), -float(vector.min())) > largest:
        raise MessageError(f"{name}-too-large", f"{shown(values)}, expected at most {largest:g}")
    return vector


def checked_name(name: str, what: str) -> str:
    """Returns a name that may be kept.

    Raises:
        MessageError: ``name-too-long``.
    """
    if len(name) > LONGEST_NAME:
        raise MessageError("name-too-long", f"{what} of {len(name)} characters, at most {LONGEST_NAME} do")
    return name


def shown(values: Sequence[float]) -> str:
    """Returns the first few values in words, and how many there are."""
    few = ", ".join(f"{value:g}" for value in list(values[:_SHOWN]))
    return f"[{few}]" if len(values) <= _SHOWN else f"[{few}, ...] ({len(values)} values)"
