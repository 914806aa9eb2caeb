"""Sizes of published checkpoints on a device that holds nothing, and vision features placed among words."""

from __future__ import annotations

import logging

import pytest
import torch

from wm_policy.encoders.latent import LatentEncoder
from wm_policy.errors import InputError, PolicyError, PolicyFileError
from wm_policy.projectors import AttentionPooling, MlpProjector, Perceiver
from wm_policy.registry import ENCODER_REGISTRY

pytest.importorskip("transformers")
from wm_policy.encoders.language import LanguageBackbone
from wm_policy.encoders.published import published

pytestmark = pytest.mark.training

TOWERS = {
    # name: millions of weights, tokens, their size
    "siglip-base": (86, 196, 768),
    "siglip-large": (304, 256, 1024),
    "clip-base": (86, 196, 768),
    "clip-large": (304, 256, 1024),
    "dinov2-base": (86, 256, 768),
    "dinov2-large": (304, 256, 1024),
}
WORDS = {"qwen2-0.5b": 494e6, "qwen2-1.5b": 1.544e9, "qwen2-7b": 7.616e9, "llama3-8b": 8.030e9, "phi3-mini": 3.821e9}
TINY = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32}
SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2,
         "intermediate_size": 48, "vocab_size": 60}  # fmt: skip


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", sorted(TOWERS))
def test_towers_are_as_large_as_published(name):
    millions, tokens, dim = TOWERS[name]
    with torch.device("meta"):
        tower = ENCODER_REGISTRY[name]()
        token_BND = tower(torch.zeros(2, tower.image_size, tower.image_size, 3, dtype=torch.uint8))
    assert abs(count(tower) / 1e6 - millions) < 1.0
    assert token_BND.shape == (2, tokens, dim)
    assert not any(parameter.requires_grad for parameter in tower.parameters())


@pytest.mark.parametrize("name", sorted(WORDS))
def test_language_models_are_as_large_as_published(name):
    with torch.device("meta"):
        backbone = LanguageBackbone(name)
    assert count(backbone) == pytest.approx(WORDS[name], rel=1e-3)


@pytest.mark.parametrize("name", ["siglip-base", "clip-base", "dinov2-base"])
def test_a_tower_comes_back_from_a_folder(tmp_path, name):
    torch.manual_seed(0)
    made = ENCODER_REGISTRY[name](config=TINY, freeze=False)
    made.tower.save_pretrained(tmp_path)
    again = ENCODER_REGISTRY[name](tmp_path, config=TINY)
    image_BHWC = torch.randint(0, 256, (2, 40, 60, 3), dtype=torch.uint8)
    with torch.no_grad():
        token_BND = again(image_BHWC)
        assert torch.allclose(made.eval()(image_BHWC), token_BND, atol=1e-6)
    assert token_BND.shape == (2, again.token_count, 32)


def test_weights_that_are_missing_are_refused(tmp_path):
    with pytest.raises(PolicyFileError, match="weights cannot be loaded"):
        ENCODER_REGISTRY["clip-base"](tmp_path, config=TINY)
    with pytest.raises(PolicyError, match="expected one of clip-base"):
        published("vgg")


def test_weights_of_another_size_or_kind_are_named(tmp_path):
    ENCODER_REGISTRY["siglip-base"](config=TINY).tower.save_pretrained(tmp_path / "tower")
    with pytest.raises(PolicyFileError, match=r"embeddings.patch_embedding.bias has shape \[32\], expected \[768\]"):
        ENCODER_REGISTRY["siglip-base"](tmp_path / "tower")
    LanguageBackbone("llama3-8b", config=SMALL).model.save_pretrained(tmp_path / "words")
    assert LanguageBackbone("llama3-8b", tmp_path / "words").dim == 32
    with pytest.raises(PolicyFileError, match="a model of kind llama, expected qwen2"):
        LanguageBackbone("qwen2-0.5b", tmp_path / "words")
    with pytest.raises(InputError, match="config is given beside"):
        LanguageBackbone("llama3-8b", tmp_path / "words", config=SMALL)
    for make in (ENCODER_REGISTRY["siglip-base"], lambda source: LanguageBackbone("llama3-8b", source)):
        with pytest.raises(PolicyFileError, match="no such folder"):
            make(tmp_path / "nothing")


class Told(logging.Handler):
    """Keeps what is logged."""

    def __init__(self):
        super().__init__()
        self.texts = []

    def emit(self, record):
        self.texts.append(record.getMessage())


def test_what_a_checkpoint_has_besides_is_not_told_at_length(tmp_path):
    ENCODER_REGISTRY["siglip-base"](config=TINY | {"num_hidden_layers": 2}).tower.save_pretrained(tmp_path)
    told, logger = Told(), logging.getLogger("transformers")
    logger.addHandler(told)
    try:
        ENCODER_REGISTRY["siglip-base"](tmp_path, config=TINY)
        assert not told.texts
        logging.getLogger("transformers.any").warning("as loud as before")
        assert told.texts == ["as loud as before"]
    finally:
        logger.removeHandler(told)


def test_a_configuration_has_only_entries_that_something_reads():
    with pytest.raises(InputError, match="unknown entries hiden_size"):
        ENCODER_REGISTRY["clip-base"](config=TINY | {"hiden_size": 8})
    with pytest.raises(InputError, match="unknown entries layers"):
        LanguageBackbone(config=SMALL | {"layers": 8})
    with pytest.raises(InputError, match="image_size is 48 px, expected 32"):
        ENCODER_REGISTRY["siglip-base"](config=TINY, image_size=48)
    with pytest.raises(InputError, match="image_token is 60, expected one of the 60 words"):
        LanguageBackbone(config=SMALL, image_token=60)


def test_pictures_that_are_none_are_refused():
    tower = ENCODER_REGISTRY["siglip-base"](config=TINY)
    with pytest.raises(InputError, match="image_BHWC is float32, expected uint8"):
        tower(torch.rand(1, 32, 32, 3))
    for shape in ((1, 3, 32, 32), (32, 32, 3), (1, 32, 32, 1)):
        with pytest.raises(InputError, match=r"image_BHWC has shape .*, expected \[B, H, W, 3\]"):
            tower(torch.zeros(shape, dtype=torch.uint8))


def test_features_of_another_size_are_not_spread_over_the_words():
    backbone, token_BL = LanguageBackbone(config=SMALL), torch.tensor([[3, 59, 59, 4], [59, 5, 6, 59]])
    with pytest.raises(InputError, match=r"feature_BND has shape \[2, 2, 33\], expected \[2, N, 32\]"):
        backbone(token_BL, torch.zeros(2, 2, 33))
    with pytest.raises(InputError, match=r"known_BL has shape \[2, 3\], expected \[2, 4\]"):
        backbone(token_BL, None, torch.ones(2, 3))
    with pytest.raises(InputError, match="token_BL has no word"):
        backbone(token_BL[:, :0])


def test_features_stand_where_image_tokens_do():
    torch.manual_seed(0)
    backbone = LanguageBackbone(config=SMALL).eval()
    token_BL = torch.tensor([[3, 59, 59, 4], [59, 5, 6, 59]])
    feature_BND = torch.randn(2, 2, 32)
    embedded = backbone._placed(token_BL, backbone.model.get_input_embeddings()(token_BL), feature_BND)
    assert torch.equal(embedded[0, 1:3], feature_BND[0])
    assert torch.equal(embedded[1, [0, 3]], feature_BND[1])
    words = backbone.model.get_input_embeddings()(token_BL)
    assert torch.equal(embedded[0, [0, 3]], words[0, [0, 3]])
    with torch.no_grad():
        state_BLD = backbone(token_BL, feature_BND)
        other_BLD = backbone(token_BL, feature_BND * 2)
    assert state_BLD.shape == (2, 4, 32)
    assert torch.equal(state_BLD[0, 0], other_BLD[0, 0])
    assert not torch.allclose(state_BLD[0, 1:], other_BLD[0, 1:])
    with pytest.raises(InputError, match=r"\[2, 2\] image tokens, expected 3"):
        backbone(token_BL, torch.randn(2, 3, 32))


def test_projectors_give_as_many_tokens_as_they_say():
    token_BND = torch.randn(2, 196, 24)
    assert MlpProjector(24, 16)(token_BND).shape == (2, 196, 16)
    assert AttentionPooling(24, 16)(token_BND).shape == (2, 64, 16)
    assert Perceiver(24, 16)(token_BND).shape == (2, 64, 16)
    assert len(Perceiver(24, 16).look) == 2


@pytest.mark.parametrize("kind", [AttentionPooling, Perceiver])
def test_tokens_that_are_not_known_are_not_looked_at(kind):
    torch.manual_seed(0)
    projector, token_BND = kind(8, 16, 4), torch.randn(1, 6, 8)
    known_BN = torch.tensor([[True, True, False, True, False, False]])
    changed_BND = torch.where(known_BN[..., None], token_BND, torch.full_like(token_BND, 100.0))
    assert torch.allclose(projector(token_BND, known_BN), projector(changed_BND, known_BN), atol=1e-5)


def test_a_latent_is_one_token_and_a_grid_many():
    encoder = LatentEncoder(5)
    assert encoder(torch.zeros(3, 5)).shape == (3, 1, 5)
    assert encoder(torch.zeros(3, 4, 6, 5)).shape == (3, 24, 5)
    with pytest.raises(InputError, match=r"latent has shape \[3, 4\], expected \[B, 5\]"):
        encoder(torch.zeros(3, 4))


def test_what_is_no_language_model_is_told():
    for name in ("siglip-base", "gpt"):
        with pytest.raises(PolicyError, match=f"no language model '{name}', expected one of qwen2-0.5b"):
            LanguageBackbone(name)
