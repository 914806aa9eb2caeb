"""Networks as TorchScript, in a process that has lived for long."""

from __future__ import annotations

import torch
from torch import nn
from torch.jit import _builtins


def script(module: nn.Module) -> torch.jit.ScriptModule:
    """Return a module as TorchScript.

    TorchScript knows operators by the address of their Python object, those that are gone too: an attribute that came
    to lie where one was is taken for it, and the module for one that cannot be scripted ("builtin cannot be used as a
    value"). Sequences, as a convolution's padding, are moved from there first. Source: ``torch/jit/_builtins.py``.

    Args:
        module: Whose attributes are replaced by equal ones where they have to be.
    """
    for part in module.modules():
        for name, value in list(vars(part).items()):
            if isinstance(value, tuple | list) and _is_taken_for_operator(value):
                setattr(part, name, _moved(value))
    scripted: torch.jit.ScriptModule = torch.jit.script(module)
    return scripted


def _is_taken_for_operator(value: object) -> bool:
    return _builtins._find_builtin(value) is not None


def _moved(value: tuple[object, ...] | list[object]) -> tuple[object, ...] | list[object]:
    """Return an equal sequence at another address."""
    # Held until there is a good one: else the next one would come to lie there again.
    tried = [value]
    while _is_taken_for_operator(tried[-1]):
        tried.append(type(value)([*value]))
    return tried[-1]
