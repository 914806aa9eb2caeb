"""Whether arguments are what their names say: a name ends in a letter for each axis (``action_BKA``).

A letter is a size that is given, or the same for all arguments that have it; a digit is that size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from wm_policy.errors import InputError

# It says nothing of its types.
_JIT: Any = torch.jit


def check_shapes(sizes: Mapping[str, int] | None = None, **arguments: Any) -> dict[str, int]:
    """Refuse arguments whose shape is another than their name says; return the size of each letter.

    Args:
        sizes: Letter -> size, of those that are given.
        arguments: By name, in order: the first one with a letter says what it is for the others. None is left out.

    Raises:
        InputError: One is no tensor, or has another shape; the text names it.
    """
    found = dict(sizes or {})
    for name, value in arguments.items():
        if value is not None:
            check_shape(name, value, name.rpartition("_")[2], found)
    return found


def check_shape(name: str, value: Any, axes: str, sizes: dict[str, int]) -> None:
    """Refuse a value that has another shape than its axes say; note the sizes that it is the first to tell.

    Args:
        name: As an error says it.
        value: A tensor.
        axes: A letter or digit for each axis.
        sizes: Letter -> size; added to.

    Raises:
        InputError: It is no tensor, or has another shape.
    """
    if not isinstance(value, Tensor):
        raise InputError(f"{name} is a {type(value).__name__}, expected a tensor")
    if _JIT.is_tracing():
        # Sizes are constants of what is exported.
        return
    expected = [int(axis) if axis.isdigit() else sizes.get(axis, axis) for axis in axes]
    if value.dim() != len(axes) or any(
        isinstance(size, int) and size != found for size, found in zip(expected, value.shape)
    ):
        raise InputError(f"{name} has shape {list(value.shape)}, expected [{', '.join(map(str, expected))}]")
    sizes.update((axis, found) for axis, found in zip(axes, value.shape) if not axis.isdigit())


def check_flags(**arguments: Tensor | None) -> None:
    """Refuse masks that are not bool: a 0 or 1 would be read as another number.

    Raises:
        InputError: One is not; the text names it.
    """
    for name, value in arguments.items():
        if value is not None and value.dtype != torch.bool:
            raise InputError(f"{name} is {_words(value.dtype)}, expected bool")


def check_counts(**counts: Any) -> None:
    """Refuse sizes that are no whole numbers of 1 or more.

    Raises:
        InputError: One is not; the text names it.
    """
    for name, count in counts.items():
        if not isinstance(count, int) or count < 1:
            raise InputError(f"{name} is {count!r}, expected a whole number, 1 or more")


def check_pixels(name: str, image: Tensor) -> None:
    """Refuse pictures that are not uint8: brightness from 0 to 1 would be read as black.

    Raises:
        InputError: They are not.
    """
    if image.dtype != torch.uint8:
        raise InputError(f"{name} is {_words(image.dtype)}, expected uint8")


def only_known(value_BND: Tensor, known_BN: Tensor | None) -> Tensor:
    """Return the value with zeros where it is not known: what stands there may be no number, and no gradient passes."""
    if known_BN is None:
        return value_BND
    return torch.where(known_BN.unsqueeze(-1), value_BND, torch.zeros_like(value_BND))


def _words(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
