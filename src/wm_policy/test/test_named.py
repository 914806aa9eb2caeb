"""Published models by name, here as tiny random ones of the same kind."""

from __future__ import annotations

import pytest
import torch

from wm_policy.errors import PolicyError, PolicyFileError

pytest.importorskip("transformers")
from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

from wm_policy.models.named import ActionWords, NamedModel

pytestmark = pytest.mark.training

IMAGE = 300


def tiny() -> SmolVLMForConditionalGeneration:
    torch.manual_seed(0)
    config = SmolVLMConfig(
        image_token_id=IMAGE, scale_factor=2, pad_token_id=0,
        vision_config={"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
                       "image_size": 16, "patch_size": 4},
        text_config={"model_type": "llama", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                     "num_key_value_heads": 2, "intermediate_size": 16, "vocab_size": 320, "pad_token_id": 0},
    )  # fmt: skip
    return SmolVLMForConditionalGeneration(config)


def given() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    token_BL = torch.tensor([[IMAGE] * 4 + [5, 6]])
    return token_BL, {"pixel_values": torch.randn(1, 1, 3, 16, 16)}


def test_actions_are_the_last_words_and_come_back():
    words = ActionWords(320)
    action = torch.linspace(-1.0, 1.0, 301)[None]
    assert (words.words(action) >= 320 - 256).all()
    assert (words.actions(words.words(action)) - action).abs().max() <= 1 / 256 + 1e-6
    assert words.words(torch.tensor([[-1.0, 1.0]])).tolist() == [[319, 64]]
    with pytest.raises(PolicyError, match="none of an action"):
        words.actions(torch.tensor([[3]]))


def test_a_model_is_tuned_by_its_adapters_alone():
    pytest.importorskip("peft")
    model = NamedModel("smolvlm-256m", model=tiny())
    token_BL, pictures = given()
    before = model.act(token_BL, 2, **pictures)
    assert before.shape == (1, 2)
    model.enable_lora(r=4, alpha=8)
    wanted = torch.tensor([[0.5, -0.25]])
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(trained, lr=0.05)
    losses = []
    for _ in range(25):
        loss = model.losses(token_BL, wanted, **pictures)["action"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.2


def test_names_that_cannot_be_had_are_told(tmp_path):
    with pytest.raises(PolicyError, match="expected one of openvla-7b, smolvlm-256m"):
        NamedModel("gpt")
    with pytest.raises(PolicyError, match="code of its own"):
        NamedModel("openvla-7b")
    with pytest.raises(PolicyFileError, match="weights cannot be loaded"):
        NamedModel("smolvlm-256m", tmp_path)
