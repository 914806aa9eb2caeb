"""The slow branch's networks: shapes, masks, padding, compression, targets, losses and the watch for collapse."""

import numpy as np
import pytest
import torch

from world_model.errors import ConfigError
from world_model.models.map_compressor import FeatureCompressor
from world_model.models.target_encoder import TargetEncoder
from world_model.models.world_action import (
    EmbeddingPredictor,
    MapPredictor,
    WorldActionConfig,
    WorldActionEncoder,
    pool_views,
    real_ticks,
)
from world_model.training.collapse import CollapseWatch, Spread, spread
from world_model.training.losses import forecast_loss

SMALL = WorldActionConfig(image_size=32, embedding_dim=16, width=8, hidden=24, projected_channels=6)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def pictures(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, (*shape, 32, 32, 3), dtype=torch.uint8)


def test_embedding_is_the_mean_of_the_standardised_maps() -> None:
    encoder = WorldActionEncoder(SMALL)
    encoder.mean.fill_(0.5)
    encoder.scale.fill_(2.0)
    image, valid = pictures(3, 2), torch.ones(3, 2, dtype=torch.bool)
    maps = encoder.maps(image)
    assert maps.shape == (3, 2, 16, 2, 2)
    torch.testing.assert_close(encoder(image, valid), maps.mean((1, 3, 4)))


def test_a_view_that_is_not_valid_changes_nothing() -> None:
    encoder = WorldActionEncoder(SMALL)
    image = pictures(1, 2)
    other = image.clone()
    other[:, 1] = 0
    valid = torch.tensor([[True, False]])
    assert torch.equal(encoder(image, valid), encoder(other, valid))
    torch.testing.assert_close(encoder(image, valid), encoder(image[:, :1], valid[:, :1]))
    assert not torch.allclose(encoder(image, valid), encoder(image, torch.tensor([[True, True]])))


def test_pooling_by_hand() -> None:
    maps = torch.tensor([[[[[1.0, 3.0]]], [[[10.0, 30.0]]]]])  # one batch, two views, one channel, 1 x 2
    assert pool_views(maps, torch.tensor([[True, True]])).item() == 11.0
    assert pool_views(maps, torch.tensor([[True, False]])).item() == 2.0
    assert pool_views(maps, torch.tensor([[False, False]])).item() == 0.0


def test_real_ticks_are_the_last() -> None:
    assert real_ticks(torch.tensor([0, 1, 4]), 4).tolist() == [[False] * 4, [False] * 3 + [True], [True] * 4]


@pytest.mark.parametrize("residual", [False, True])
def test_padding_may_hold_anything(residual: bool) -> None:
    config = WorldActionConfig(**{**SMALL.to_dict(), "residual": residual})
    count = torch.tensor([1, 3])
    for predictor, history in (
        (EmbeddingPredictor(config), torch.randn(2, 4, 16)),
        (MapPredictor(config, channels=6), torch.randn(2, 4, 6, 2, 2)),
    ):
        other = history.clone()
        other[0, :3] = 99.0
        other[1, :1] = -99.0
        foreseen = predictor(history, count)
        assert foreseen.shape == history.shape
        assert torch.equal(foreseen, predictor(other, count))


def test_future_need_not_be_as_long_as_the_past() -> None:
    config = WorldActionConfig(**{**SMALL.to_dict(), "future": 7})
    assert EmbeddingPredictor(config)(torch.randn(2, 4, 16), torch.tensor([4, 4])).shape == (2, 7, 16)
    assert MapPredictor(config, 6)(torch.randn(2, 4, 6, 2, 2), torch.tensor([4, 4])).shape == (2, 7, 6, 2, 2)


@pytest.mark.parametrize(
    ("kind", "stride", "shape"),
    [
        ("full", 1, (5, 16, 4, 4)),
        ("full", 2, (5, 16, 2, 2)),
        ("projected", 1, (5, 6, 4, 4)),
        ("projected", 4, (5, 6, 1, 1)),
        ("occupancy", 2, (5, 1, 2, 2)),
    ],
)
def test_compressor_shapes(kind: str, stride: int, shape: tuple[int, ...]) -> None:
    maps = torch.randn(5, 16, 4, 4)
    compressed = FeatureCompressor(kind, 16, projected=6, stride=stride).fit(maps)(maps)
    assert compressed.shape == shape
    if kind == "occupancy":
        assert 0.0 <= float(compressed.min()) <= float(compressed.max()) <= 1.0


def test_projection_keeps_the_directions_that_vary_and_is_never_trained() -> None:
    maps = torch.zeros(50, 16, 1, 1)
    maps[:, 3] = 5.0 * torch.randn(50, 1, 1)
    maps[:, 9] = 2.0 * torch.randn(50, 1, 1)
    compressor = FeatureCompressor("projected", 16, projected=2).fit(maps)
    np.testing.assert_allclose(np.abs(compressor.basis.numpy()[:, [3, 9]]), np.eye(2), atol=0.1)
    torch.testing.assert_close(compressor.basis @ compressor.basis.T, torch.eye(2))
    assert list(compressor.parameters()) == []


def test_pooling_and_projecting_commute() -> None:
    maps = torch.randn(30, 16, 4, 4)
    compressor = FeatureCompressor("projected", 16, projected=6).fit(maps)
    torch.testing.assert_close(
        compressor(maps).mean((2, 3)), compressor.compress_pooled(maps.mean((2, 3))), atol=1e-5, rtol=1e-5
    )


def test_a_frozen_target_stays_and_a_moving_one_follows_by_its_momentum() -> None:
    encoder = WorldActionEncoder(SMALL)
    frozen = TargetEncoder(encoder, "frozen")
    moving = TargetEncoder(encoder, "ema", momentum=(0.9, 0.9))
    before = [p.clone() for p in encoder.parameters()]
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(1.0)
    frozen.update(encoder)
    moving.update(encoder)
    for start, still, moved in zip(before, frozen.copy.parameters(), moving.copy.parameters()):
        assert torch.equal(still, start)
        torch.testing.assert_close(moved, start + 0.1)


def test_momentum_rises_along_a_cosine() -> None:
    target = TargetEncoder(WorldActionEncoder(SMALL), "ema", momentum=(0.9, 1.0), steps=2)
    seen = []
    for _ in range(4):
        seen.append(target.momentum)
        target.update(WorldActionEncoder(SMALL))
    assert seen == pytest.approx([0.9, 0.95, 1.0, 1.0])


@pytest.mark.parametrize("kind", ["frozen", "ema"])
def test_the_target_never_receives_a_gradient(kind: str) -> None:
    encoder = WorldActionEncoder(SMALL)
    target, predictor = TargetEncoder(encoder, kind), EmbeddingPredictor(SMALL)
    image, valid = pictures(6, 1), torch.ones(6, 1, dtype=torch.bool)
    history = encoder(image, valid)[:, None].repeat(1, 4, 1)
    seen = target(image, valid)[:, None].repeat(1, 4, 1)
    forecast_loss(predictor(history, torch.full((6,), 4)), seen, torch.ones(6, 4, dtype=torch.bool)).backward()
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in target.parameters())
    assert all(parameter.grad is not None for parameter in encoder.parameters())


@pytest.mark.parametrize(("norm", "expected"), [("l1", 2.0), ("l2", 5.0)])
def test_loss_by_hand(norm: str, expected: float) -> None:
    foreseen = torch.tensor([[[1.0, 3.0], [50.0, 50.0]]])
    loss = forecast_loss(foreseen, torch.zeros(1, 2, 2), torch.tensor([[True, False]]), norm)
    assert loss.item() == expected


def test_no_gradient_into_the_target() -> None:
    foreseen = torch.tensor([[[1.0], [4.0]]])
    target = torch.zeros(1, 2, 1, requires_grad=True)
    foreseen.requires_grad_(True)
    loss = forecast_loss(foreseen, target, torch.ones(1, 2, dtype=torch.bool), "l1")
    loss.backward()
    assert loss.item() == pytest.approx((1 + 4) / 2)
    assert target.grad is None


def test_loss_without_any_target_is_zero() -> None:
    assert forecast_loss(torch.ones(1, 2, 3), torch.zeros(1, 2, 3), torch.zeros(1, 2, dtype=torch.bool)).item() == 0.0


def test_spread_by_hand() -> None:
    one = torch.zeros(100, 8)
    one[:, 0] = torch.arange(100.0)
    assert spread(one).rank == pytest.approx(1.0)
    even = torch.cat([torch.eye(4), -torch.eye(4)]).repeat(10, 1)
    assert spread(even) == Spread(pytest.approx(0.25), pytest.approx(4.0))
    assert spread(torch.ones(5, 3)) == Spread(0.0, 0.0)


def test_the_watch_names_what_collapsed() -> None:
    watch = CollapseWatch(Spread(variance=1.0, rank=30.0))
    assert watch.verdict(Spread(0.8, 25.0)) is None
    assert "variance" in str(watch.verdict(Spread(0.01, 25.0)))
    assert "rank" in str(watch.verdict(Spread(0.8, 1.5)))


@pytest.mark.slow
def test_the_watch_sees_a_training_that_collapses() -> None:
    """An encoder that is only asked to agree with itself ends up saying nothing."""
    encoder = WorldActionEncoder(SMALL)
    image, valid = pictures(16, 1), torch.ones(16, 1, dtype=torch.bool)
    watch = CollapseWatch(spread(encoder(image, valid)))
    assert watch.verdict(spread(encoder(image, valid))) is None
    optimiser = torch.optim.Adam(encoder.parameters(), lr=1e-2)
    for _ in range(60):
        embedding = encoder(image, valid)
        loss = (embedding - embedding[torch.randperm(16)]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert watch.verdict(spread(encoder(image, valid))) is not None


@pytest.mark.parametrize(
    "wrong",
    [{"image_size": 40}, {"compression": "zip"}, {"granularity": "pixels"}, {"tick_s": 0.0}, {"history": 0}],
)
def test_refuses_what_no_network_can_be(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        WorldActionConfig(**wrong)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="norm"):
        forecast_loss(torch.zeros(1, 1, 1), torch.zeros(1, 1, 1), torch.ones(1, 1, dtype=torch.bool), "l3")
    with pytest.raises(ConfigError, match="target"):
        TargetEncoder(WorldActionEncoder(SMALL), "random")
    with pytest.raises(ConfigError, match="compression"):
        FeatureCompressor("zip", 16)
