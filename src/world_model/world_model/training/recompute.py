"""Activation checkpointing: what layers computed is computed again in the backward pass instead of kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint


@contextmanager
def recomputed(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Let modules compute their activations again in the backward pass while this context lasts.

    The modules are as before afterwards, so they can be scripted and pickled.
    """
    changed = list(modules)
    for module in changed:
        # Set on the instance: the class, and with it whatever else is made of it, stays as it is.
        module.forward = partial(_twice, module, module.forward)
    try:
        yield
    finally:
        for module in changed:
            del module.forward


def _twice(module: nn.Module, forward: Callable[..., Any], *inputs: Any) -> Any:
    if not module.training:
        return forward(*inputs)
    return checkpoint(forward, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), _second_pass(module)))


@contextmanager
def _uncounted(norms: list[nn.modules.batchnorm._BatchNorm]) -> Iterator[None]:
    """Let batch norms see a batch without counting it: the first pass has done so."""
    before = [(norm.momentum, {name: buffer.clone() for name, buffer in norm.named_buffers()}) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, buffers) in zip(norms, before):
            norm.momentum = momentum
            norm.load_state_dict(buffers, strict=False)


def _second_pass(module: nn.Module) -> AbstractContextManager[None]:
    kind = nn.modules.batchnorm._BatchNorm
    return _uncounted([part for part in module.modules() if isinstance(part, kind) and part.track_running_stats])
