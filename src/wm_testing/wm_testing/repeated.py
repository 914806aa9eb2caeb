"""A stand-in for the queue of a GPU and its graphs: the processor, which does the work again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


class Repeated:
    """Records work by keeping it, and replays it by doing it.

    Args:
        device_doubles: Whether tensors of doubles stand for what lies on the device.
        refusal: Why nothing can be recorded; empty: everything can.

    Attributes:
        said: What was done, in order.
        depth: How often the queue was entered and not left.
        recorded: Pieces of work.
    """

    device = torch.device("cpu")

    def __init__(self, device_doubles: bool = False, refusal: str = "") -> None:
        self.lock, self._doubles, self._refusal = threading.Lock(), device_doubles, refusal
        self.said: list[str] = []
        self.depth = self.recorded = 0

    def holds(self, tensor: Tensor) -> bool:
        """Return whether a tensor stands for one on the device."""
        return self._doubles and tensor.dtype == torch.float64

    def buffers(self, size: int) -> tuple[Tensor, Tensor]:
        """Return two lots of bytes."""
        return torch.zeros(size, dtype=torch.uint8), torch.zeros(size, dtype=torch.uint8)

    def enter(self, *, joins: bool) -> None:
        """Enter the queue."""
        self.depth += 1
        self.said.append("joined" if joins else "alone")

    def leave(self, given: Sequence[Tensor]) -> None:
        """Leave the queue."""
        self.depth -= 1
        self.said.append(f"gave {len(given)}")

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Return the work itself, unless it is refused."""
        assert self.depth == 1
        if self._refusal:
            raise RuntimeError(self._refusal)
        self.recorded += 1
        return work

    def mark(self) -> Callable[[], None]:
        """Return what notes that it was waited for."""
        return lambda: self.said.append("waited")

    def exact(self) -> AbstractContextManager[None]:
        """Return a context that changes nothing."""
        return nullcontext()
