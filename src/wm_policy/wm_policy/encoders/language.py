"""Language models of transformers, with vision features where image tokens stand.

Shape suffixes: B = batch, L = tokens, N = features, D = hidden size.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from wm_policy.encoders.published import check_names, is_missing_folder, published, quietly
from wm_policy.errors import InputError, PolicyError, PolicyFileError
from wm_policy.shapes import check_shapes

LANGUAGE_MODELS = ("qwen2-0.5b", "qwen2-1.5b", "qwen2-7b", "llama3-8b", "phi3-mini")


# It says nothing of its types.
_CAUSAL: Any = AutoModelForCausalLM


class LanguageBackbone(nn.Module):
    """A causal language model whose last hidden states come out.

    Args:
        name: One of ``LANGUAGE_MODELS``.
        source: Folder of a checkpoint, or its name on the hub; None: random weights.
        image_token: Id that stands for a vision feature; default: the last one of its vocabulary.
        config: Changes to the published configuration, of models that are not published; a checkpoint has its own.
        dtype: Of its weights, as ``torch.bfloat16``.

    Attributes:
        dim: D.

    Raises:
        PolicyError: No such name; the text lists those there are.
        PolicyFileError: The weights cannot be loaded, or are of another kind of model.
        InputError: The configuration has no such entry or stands beside a checkpoint, or there is no such image token.
    """

    def __init__(
        self,
        name: str = "qwen2-0.5b",
        source: str | Path | None = None,
        image_token: int | None = None,
        config: dict[str, Any] | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if name not in LANGUAGE_MODELS:
            raise PolicyError(f"no language model '{name}', expected one of {', '.join(LANGUAGE_MODELS)}")
        entries = dict(published(name)["config"]) | (config or {})
        kind = entries.pop("model_type")
        check_names(config or {}, AutoConfig.for_model(kind))
        if source is None:
            self.model: Any = _CAUSAL.from_config(AutoConfig.for_model(kind, **entries))
        else:
            if config:
                raise InputError(f"config is given beside {source}, which has its own")
            self.model = _loaded(source)
            if self.model.config.model_type != kind:
                raise PolicyFileError(f"{source}: a model of kind {self.model.config.model_type}, expected {kind}")
        if dtype is not None:
            self.model.to(dtype)
        self.dim: int = self.model.config.hidden_size
        words = int(self.model.config.vocab_size)
        self.image_token = words - 1 if image_token is None else image_token
        if not 0 <= self.image_token < words:
            raise InputError(f"image_token is {image_token}, expected one of the {words} words")

    def forward(self, token_BL: Tensor, feature_BND: Tensor | None = None, known_BL: Tensor | None = None) -> Tensor:
        """Return the last hidden states [B, L, D].

        Args:
            token_BL: Ids; as many image tokens as there are features.
            feature_BND: What stands in their place, in order.
            known_BL: Which tokens there are, 1 or 0; default: all.

        Raises:
            InputError: Not as many image tokens as features, or an argument has another shape.
        """
        check_shapes({"D": self.dim}, token_BL=token_BL, feature_BND=feature_BND, known_BL=known_BL)
        if not token_BL.size(1):
            raise InputError("token_BL has no word, expected one or more")
        embedded_BLD = self.model.get_input_embeddings()(token_BL)
        if feature_BND is not None:
            embedded_BLD = self._placed(token_BL, embedded_BLD, feature_BND)
        output = self.model.get_decoder()(inputs_embeds=embedded_BLD, attention_mask=known_BL, use_cache=False)
        result: Tensor = output.last_hidden_state
        return result

    def _placed(self, token_BL: Tensor, embedded_BLD: Tensor, feature_BND: Tensor) -> Tensor:
        is_image_BL = token_BL == self.image_token
        counts, expected = is_image_BL.sum(dim=1), feature_BND.size(1)
        if not token_BL.is_meta and not bool((counts == expected).all()):
            raise InputError(f"{counts.tolist()} image tokens, expected {expected} in each row, one for each feature")
        return embedded_BLD.masked_scatter(is_image_BL.unsqueeze(-1), feature_BND.to(embedded_BLD.dtype))


def _loaded(source: str | Path) -> Any:
    if is_missing_folder(source):
        raise PolicyFileError(f"{source}: no such folder")
    try:
        with quietly():
            return _CAUSAL.from_pretrained(source, local_files_only=Path(source).is_dir(), use_safetensors=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise PolicyFileError(f"{source}: weights cannot be loaded: {error}") from error
