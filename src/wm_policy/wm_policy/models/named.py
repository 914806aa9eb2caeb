"""Published models of vision and language by name, and how they are fine-tuned: actions are words of their own.

Shape suffixes: B = batch, L = words, A = action size.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForImageTextToText

from wm_policy.encoders.published import is_missing_folder, quietly
from wm_policy.errors import PolicyError, PolicyFileError
from wm_policy.models.tuning import Tunable

NAMED_MODELS = {"smolvlm-256m": "HuggingFaceTB/SmolVLM-256M-Instruct", "openvla-7b": "openvla/openvla-7b"}
"""Name -> where it is published."""
_WORDS = {"smolvlm-256m": 49_152, "openvla-7b": 32_000}
"""Name -> words of its language. What comes after them stands for pictures and turns, or for nothing."""
_OWN_CODE = {"openvla-7b"}
_AUTO: Any = AutoModelForImageTextToText
_IGNORED = -100
_SPECIAL = ("image_token_id", "image_token_index", "pad_token_id", "bos_token_id", "eos_token_id")


class ActionWords:
    """Actions in -1..1 as the last words of a language, 256 for each value.

    Args:
        vocabulary: Words in all, without those that mean something else.
        bins: Of them for actions.

    Source: Brohan et al. 2023, "RT-2"; Kim et al. 2024, "OpenVLA".
    """

    def __init__(self, vocabulary: int, bins: int = 256) -> None:
        if not 1 < bins <= vocabulary:
            raise PolicyError(f"{bins} bins of {vocabulary} words, expected 2 or more and no more than there are")
        self.vocabulary, self.bins = vocabulary, bins

    def words(self, action_BA: Tensor) -> Tensor:
        """Return the word of each value; beyond -1..1 the outermost, [B, A].

        Raises:
            PolicyError: A value is no number.
        """
        if bool(action_BA.isnan().any()):
            raise PolicyError("action_BA has values that are no numbers")
        index_BA = ((action_BA + 1.0) * (0.5 * self.bins)).floor().clamp(0, self.bins - 1).long()
        return self.vocabulary - 1 - index_BA

    def actions(self, word_BA: Tensor) -> Tensor:
        """Return the value in the middle of each word's bin, [B, A].

        Raises:
            PolicyError: A word is none of an action.
        """
        index_BA = self.vocabulary - 1 - word_BA
        if bool(((index_BA < 0) | (index_BA >= self.bins)).any()):
            raise PolicyError("a word that is none of an action")
        return (index_BA.float() + 0.5) * (2.0 / self.bins) - 1.0


class NamedModel(Tunable):
    """A published model, ready to be fine-tuned on actions.

    Args:
        name: One of ``NAMED_MODELS``.
        source: Folder of its checkpoint; default: as published, from the hub.
        model: The model itself, instead of a checkpoint.

    Raises:
        PolicyError: An unknown name, or a model that brings code of its own: that runs in an environment of its own
            (``wm_policy.adapters.server``).
        PolicyFileError: The weights cannot be loaded.
    """

    def __init__(self, name: str, source: str | Path | None = None, model: Any = None) -> None:
        super().__init__()
        if name not in NAMED_MODELS:
            raise PolicyError(f"no model '{name}', expected one of {', '.join(sorted(NAMED_MODELS))}")
        if name in _OWN_CODE and model is None:
            raise PolicyError(
                f"'{name}' brings code of its own: serve it by wm_policy.adapters.server, and ask it there"
            )
        self.network = _loaded(source or NAMED_MODELS[name]) if model is None else model
        self.words = ActionWords(_words_of(self.network, _WORDS[name]))

    @property
    def language(self) -> Any:
        """The model that adapters are put on."""
        return _Held(self)

    def losses(self, token_BL: Tensor, action_BA: Tensor, **pictures: Tensor) -> dict[str, Tensor]:
        """Return the cross-entropy of an action's words after an instruction, as ``action``.

        Args:
            token_BL: The instruction, with its image tokens.
            action_BA: What was done, in -1..1.
            pictures: As the model's own processor gives them (``pixel_values``, ...).
        """
        word_BA = self.words.words(action_BA)
        label_BL = torch.cat([torch.full_like(token_BL, _IGNORED), word_BA], dim=1)
        output = self.network(input_ids=torch.cat([token_BL, word_BA], dim=1), labels=label_BL, **pictures)
        return {"action": output.loss}

    @torch.no_grad()
    def act(self, token_BL: Tensor, action_dim: int, **pictures: Tensor) -> Tensor:
        """Return the likeliest action after an instruction, value by value, [B, A]."""
        first, count = self.words.vocabulary - self.words.bins, token_BL.size(1)
        for _ in range(action_dim):
            logit_BV = self.network(input_ids=token_BL, use_cache=False, **pictures).logits[:, -1]
            word_B = logit_BV[:, first : self.words.vocabulary].argmax(dim=1) + first
            token_BL = torch.cat([token_BL, word_B.unsqueeze(1)], dim=1)
        return self.words.actions(token_BL[:, count:])


class _Held:
    """Lets ``Tunable`` see and change a model's network as ``model``."""

    def __init__(self, owner: NamedModel) -> None:
        self._owner = owner

    @property
    def model(self) -> Any:
        return self._owner.network

    @model.setter
    def model(self, network: Any) -> None:
        self._owner.network = network


def _words_of(network: Any, most: int) -> int:
    """Return how many words come before the first one that cannot stand for an action."""
    parts = [network.config, network.config.get_text_config()]
    special = {getattr(part, name, None) for part in parts for name in _SPECIAL}
    count = min(most, int(network.get_input_embeddings().num_embeddings))
    # Many languages begin with some; those leave no room before them.
    return min([count, *(each for each in special if isinstance(each, int) and each >= count // 2)])


def _loaded(source: str | Path) -> Any:
    if is_missing_folder(source):
        raise PolicyFileError(f"{source}: no such folder")
    try:
        with quietly():
            return _AUTO.from_pretrained(source, local_files_only=Path(source).is_dir(), use_safetensors=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise PolicyFileError(f"{source}: weights cannot be loaded: {error}") from error
