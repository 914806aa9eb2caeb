import math

import pytest
import torch

from world_model.extras.rssm_losses import balanced_kl
from world_model.training.losses import (
    covariance_loss,
    horizon_weights,
    magnitude_loss,
    prediction_loss,
    reconstruction_loss,
    total,
    variance_loss,
)


def test_predicting_the_mean_costs_one():
    torch.manual_seed(0)
    target_BHD = 3.0 * torch.randn(4000, 1, 8)
    loss = prediction_loss(torch.zeros_like(target_BHD), target_BHD, torch.full((8,), 9.0), torch.ones(1))
    assert loss.item() == pytest.approx(1.0, abs=0.02)


def test_horizon_weights_grow_and_average_one():
    weight_H = horizon_weights(3, 4.0)
    assert weight_H.tolist() == pytest.approx([3 / 7, 6 / 7, 12 / 7])
    assert horizon_weights(1, 4.0).tolist() == [1.0]


def test_collapse_costs_and_whitened_latents_do_not():
    torch.manual_seed(0)
    white_BD = torch.randn(5000, 4)
    assert variance_loss(white_BD).item() < 0.02
    assert covariance_loss(white_BD).item() < 0.01
    assert variance_loss(torch.ones(10, 4)).item() == pytest.approx(0.99, abs=1e-3)
    assert covariance_loss(white_BD[:, :1].expand(-1, 2)).item() == pytest.approx(1.0, abs=0.1)
    assert magnitude_loss(torch.full((3, 2), 2.0)).item() == 4.0


def test_reconstruction_is_the_mean_absolute_error():
    assert reconstruction_loss(torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.25)).item() == 0.25


def test_kl_of_known_categoricals_and_its_balance():
    posterior = torch.log(torch.tensor([[[0.9, 0.1]]])).requires_grad_()
    prior = torch.log(torch.tensor([[[0.5, 0.5]]])).requires_grad_()
    expected = 0.9 * math.log(1.8) + 0.1 * math.log(0.2)
    loss = balanced_kl(posterior, prior, share=0.8, free_nats=0.0)
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    loss.backward()
    assert prior.grad[0, 0, 0].item() == pytest.approx(0.8 * (0.5 - 0.9), abs=1e-5)
    assert balanced_kl(posterior, prior, free_nats=1.0).item() == pytest.approx(1.0)


def test_total_weights_terms_by_name():
    terms = {"prediction": torch.tensor(2.0), "kl": torch.tensor(10.0)}
    assert total(terms, {"kl": 0.1}).item() == pytest.approx(3.0)
