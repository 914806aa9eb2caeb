"""A part of an artifact on a GPU behind the methods it has on the processor, each recorded as CUDA graphs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from world_model.runtime.captured import Captured, Recorder
from world_model.runtime.cuda_graphs import CudaGraphs

_STAYS = frozenset({"observe"})
"""What gives back a state, which only the next call reads."""


class CapturedModule:
    """A module whose methods take tensors from anywhere: see ``Captured``; states stay on the GPU.

    Args:
        module: It lies on the device.
        part: What to call it in a message.
        methods: Those that are recorded, as far as the module has them.
        recorder: Where it runs.
        fuses: As for ``Captured``.
    """

    def __init__(
        self, module: Any, part: str, methods: tuple[str, ...], recorder: Recorder, *, fuses: bool = False
    ) -> None:
        self._module = module
        self._methods: Mapping[str, Captured] = {
            name: Captured(f"{part}.{name}", getattr(module, name), recorder, stays=name in _STAYS, fuses=fuses)
            for name in methods
            if hasattr(module, name)
        }

    def __call__(self, *arguments: Any) -> Any:
        """Return what ``forward`` does."""
        return self._methods["forward"](*arguments)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        captured = self._methods.get(name)
        return getattr(self._module, name) if captured is None else captured

    @property
    def captured(self) -> Mapping[str, Captured]:
        """The recorded methods."""
        return self._methods

    def parameters(self) -> Iterator[Tensor]:
        """Yield the parameters that freezing has left."""
        parameters: Iterator[Tensor] = self._module.parameters()
        return parameters

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the parameters that freezing has left, with their names."""
        named: Iterator[tuple[str, nn.Parameter]] = self._module.named_parameters()
        return named

    def state_dict(self) -> dict[str, Tensor]:
        """Return what freezing has left of the weights and buffers."""
        state: dict[str, Tensor] = self._module.state_dict()
        return state


def on_device(module: Any, part: str, methods: tuple[str, ...], device: str) -> Any:
    """Return a module as it runs fastest where it lies: on a GPU recorded, elsewhere as it is."""
    if torch.device(device).type != "cuda":
        return module
    return CapturedModule(module, part, methods, CudaGraphs(device))
