import json

import pytest
import torch

from world_model.errors import ArtifactError
from world_model.extras.pretrained import load_pretrained

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "image_size": 32}
TEXT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 50}


def dinov2():
    return transformers.Dinov2Model(transformers.Dinov2Config(**{**TINY, "mlp_ratio": 2, "patch_size": 8}))


def vit():
    return transformers.ViTModel(transformers.ViTConfig(**TINY, patch_size=8))


def clip():
    return transformers.CLIPModel(
        transformers.CLIPConfig(text_config=TEXT, vision_config={**TINY, "patch_size": 8}, projection_dim=8)
    )


def siglip():
    return transformers.SiglipModel(
        transformers.SiglipConfig(text_config=TEXT, vision_config={**TINY, "patch_size": 8})
    )


def resnet():
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    return transformers.ResNetModel(config)


@pytest.mark.slow
@pytest.mark.parametrize("make", [dinov2, vit, clip, siglip, resnet])
def test_weights_from_disk_give_latents(make, tmp_path):
    torch.manual_seed(0)
    make().save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.5] * 3}))
    encoder = load_pretrained(tmp_path, 12).eval()
    image = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    with torch.no_grad():
        latent_BD = encoder(image, None, None)
        again_BD = load_pretrained(tmp_path, 12).eval().features(image)
    assert latent_BD.shape == (2, 12)
    assert torch.allclose(encoder.features(image), again_BD, atol=1e-6)
    assert not any(p.requires_grad for p in encoder.backbone.parameters())
    assert encoder.project.weight.requires_grad


@pytest.mark.slow
def test_what_is_not_a_backbone_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match=r"config\.json cannot be read"):
        load_pretrained(tmp_path, 12)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ArtifactError, match="holds a 'bert'"):
        load_pretrained(tmp_path, 12)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "dinov2"}))
    with pytest.raises(ArtifactError, match="cannot be loaded"):
        load_pretrained(tmp_path, 12)
