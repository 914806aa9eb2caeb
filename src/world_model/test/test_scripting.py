"""Networks as TorchScript where an attribute lies at the address of an operator that is gone."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.jit import _builtins

from world_model.export.scripting import script


def test_a_padding_where_an_operator_was_is_still_a_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    convolution = nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular").eval()
    padding = convolution._reversed_padding_repeated_twice
    monkeypatch.setitem(_builtins._get_builtin_table(), id(padding), "aten::abs")
    with pytest.raises(RuntimeError, match="builtin cannot be used as a value"):
        torch.jit.script(convolution)
    image = torch.rand(1, 3, 8, 8)
    assert torch.equal(script(convolution)(image), convolution(image))
    assert convolution._reversed_padding_repeated_twice == padding
