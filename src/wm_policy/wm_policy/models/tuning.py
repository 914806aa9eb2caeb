"""Fine-tuning of large models: adapters of low rank, less memory, fewer bits."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn

from wm_policy.errors import MissingDependencyError, PolicyError
from wm_policy.shapes import check_counts

_PROJECTIONS = {"q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj"}


class Tunable(nn.Module):
    """What models around a language model share.

    Attributes:
        language: Has ``model``, a model of transformers.
    """

    language: Any

    def enable_lora(self, r: int = 16, alpha: int = 32, dropout: float = 0.0) -> int:
        """Put adapters of low rank on the language model's attention, freeze the rest of it; return what is trained.

        Args:
            r: Rank.
            alpha: Scale, over ``r``.
            dropout: Of the adapters' input.

        Raises:
            MissingDependencyError: peft is not installed.
            PolicyError: There are adapters already.
            InputError: The rank is no whole number above 0.
        """
        check_counts(r=r)
        try:
            # Large, and only needed by who fine-tunes.
            from peft import LoraConfig, PeftModel, get_peft_model
        except ModuleNotFoundError as error:
            raise MissingDependencyError(
                f"enable_lora needs {error.name}, which is not installed: pip install -r requirements/policy.txt"
            ) from error
        if isinstance(self.language.model, PeftModel):
            raise PolicyError("there are adapters already")
        config = LoraConfig(
            r=r, lora_alpha=alpha, lora_dropout=dropout, target_modules=_attention_of(self.language.model),
            task_type="CAUSAL_LM",
        )  # fmt: skip
        with warnings.catch_warnings():
            # peft asks transformers by a name that is about to go.
            warnings.simplefilter("ignore", FutureWarning)
            self.language.model = get_peft_model(self.language.model, config)
        return sum(p.numel() for p in self.language.model.parameters() if p.requires_grad)

    def enable_gradient_checkpointing(self) -> None:
        """Compute activations again in the backward pass instead of keeping them."""
        self.language.model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})

    def to_bf16(self) -> None:
        """Hold the language model's weights in bfloat16; what stands around it stays as it is."""
        self.language.model.to(torch.bfloat16)


def _attention_of(model: Any) -> list[str]:
    """Return the names of a language model's projections; those of a vision tower beside it are called the same."""
    decoder = model.get_decoder()
    inside = {id(module) for module in decoder.modules()}
    return [
        name for name, module in model.named_modules()
        if id(module) in inside and name.rsplit(".", 1)[-1] in _PROJECTIONS
    ]  # fmt: skip
