import pytest
import torch
from torch.nn import functional

from world_model.errors import ArtifactError, ConfigError
from world_model.extras.perceptual import PerceptualLoss, load_perceptual
from world_model.training.config import LossConfig

ALEXNET = {0: (4, 3, 11), 3: (6, 4, 5), 6: (6, 6, 3), 8: (5, 6, 3), 10: (4, 5, 3)}
VGG = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
# Where the published networks have their layers; the widths here are tiny.
KINDS = {"alexnet": ALEXNET, "vgg16": {index: (3, 3, 3) for index in VGG}}
TAPS = {"alexnet": [0, 3, 6, 8, 10], "vgg16": [2, 7, 14, 21, 28]}


def weights(kind):
    torch.manual_seed(0)
    backbone = {}
    for index, (after, before, side) in KINDS[kind].items():
        backbone[f"features.{index}.weight"] = torch.randn(after, before, side, side) / side
        backbone[f"features.{index}.bias"] = torch.randn(after)
    backbone["classifier.1.weight"] = torch.zeros(1)
    lin = {f"lin{k}.model.1.weight": torch.rand(1, KINDS[kind][tap][0], 1, 1) for k, tap in enumerate(TAPS[kind])}
    return backbone, lin


def pictures():
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(2, 3, 64, 64, generator=generator) * 2 - 1 for _ in range(2)]


def alexnet_by_hand(picture, backbone, lin, other):
    """Straight from the paper and the published layer list, with nothing shared with the code under test."""
    total, values = 0.0, [picture, other]
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    values = [(v - shift[:, None, None]) / scale[:, None, None] for v in values]
    for k, (index, stride, padding) in enumerate([(0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1)]):
        if index in (3, 6):
            values = [functional.max_pool2d(v, 3, 2) for v in values]
        kernel, bias = backbone[f"features.{index}.weight"], backbone[f"features.{index}.bias"]
        values = [functional.relu(functional.conv2d(v, kernel, bias, stride, padding)) for v in values]
        unit = [v / (v.norm(dim=1, keepdim=True) + 1e-10) for v in values]
        total += ((unit[0] - unit[1]) ** 2 * lin[f"lin{k}.model.1.weight"]).sum(dim=1).mean()
    return total


def test_it_is_the_published_sum_over_layers():
    backbone, lin = weights("alexnet")
    first, second = pictures()
    expected = alexnet_by_hand(first, backbone, lin, second)
    assert PerceptualLoss(backbone, lin)(first, second).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_weights_from_disk_tell_pictures_apart_and_have_no_gradient(kind, tmp_path):
    for name, content in zip(("backbone", "lin"), weights(kind)):
        torch.save(content, tmp_path / f"{name}.pth")
    loss = load_perceptual(tmp_path)
    first, second = pictures()
    assert loss(first, first).item() == 0.0
    assert loss(first, second).item() == pytest.approx(loss(second, first).item())
    first.requires_grad_()
    loss(first, second).backward()
    assert first.grad.abs().sum() > 0
    assert not list(loss.parameters())


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(ArtifactError, match=r"backbone\.pth cannot be read"):
        load_perceptual(tmp_path)
    backbone, lin = weights("alexnet")
    del lin["lin2.model.1.weight"]
    with pytest.raises(ArtifactError, match=r"lack lin2\.model\.1\.weight"):
        PerceptualLoss(backbone, lin)
    with pytest.raises(ArtifactError, match="side is 7"):
        PerceptualLoss({"features.0.weight": torch.zeros(1, 3, 7, 7)}, lin)
    with pytest.raises(ConfigError, match="perceptual_path"):
        LossConfig(perceptual=1.0)
