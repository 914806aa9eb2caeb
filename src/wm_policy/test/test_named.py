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


def tiny(words: int = 320, image_token: int = IMAGE) -> SmolVLMForConditionalGeneration:
    torch.manual_seed(0)
    config = SmolVLMConfig(
        image_token_id=image_token, scale_factor=2, pad_token_id=0,
        vision_config={"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
                       "image_size": 16, "patch_size": 4},
        text_config={"model_type": "llama", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                     "num_key_value_heads": 2, "intermediate_size": 16, "vocab_size": words, "pad_token_id": 0},
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


# As SmolVLM-256M-Instruct and OpenVLA-7B are published: words of the language, then pictures, turns and padding.
@pytest.mark.parametrize(
    ("name", "count", "image", "last"),
    [("smolvlm-256m", 49_280, 49_190, 49_151), ("openvla-7b", 32_064, 32_001, 31_999), ("smolvlm-256m", 320, 300, 299)],
)
def test_no_action_is_a_word_that_means_something_else(name, count, image, last):
    model = NamedModel(name, model=tiny(count, image))
    every = model.words.words(torch.linspace(-1.0, 1.0, 600)[None]).unique()
    assert (int(every.min()), int(every.max()), len(every)) == (last - 255, last, 256)
    token_BL, pictures = torch.tensor([[image] * 4 + [5, 6]]), given()[1]
    for value in torch.linspace(-1.0, 1.0, 256).split(64):
        action_BA = value[None]
        assert model.losses(token_BL, action_BA, **pictures)["action"].isfinite()


def test_adapters_are_on_the_language_alone():
    pytest.importorskip("peft")
    model = NamedModel("smolvlm-256m", model=tiny())
    trained = model.enable_lora(r=2, alpha=4)
    # One layer, four projections of 16 x 16, of rank 2.
    assert trained == 4 * (16 * 2 + 2 * 16)
    assert all("vision" not in name for name, p in model.named_parameters() if p.requires_grad)


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
    with pytest.raises(PolicyFileError, match="no such folder"):
        NamedModel("smolvlm-256m", tmp_path / "nothing")


def test_no_word_stands_for_what_is_no_number():
    words = ActionWords(300)
    assert words.actions(words.words(torch.tensor([[float("inf"), -9.0]]))).tolist() == [[0.99609375, -0.99609375]]
    with pytest.raises(PolicyError, match="no numbers"):
        words.words(torch.tensor([[0.5, float("nan")]]))
