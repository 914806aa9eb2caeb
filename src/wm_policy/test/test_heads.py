"""Every head learns a task with two equally good answers as its kind should, and gives chunks of the shape it says."""

from __future__ import annotations

import math

import pytest
import torch

from wm_policy.errors import InputError
from wm_policy.heads.regression import GaussianHead
from wm_policy.heads.trajectory import TrajectoryHead, bernstein, unicycle
from wm_policy.registry import ACTION_HEAD_REGISTRY

DRAWS = ["diffusion", "flow", "transformer"]
ANSWERS = ["mlp", "gaussian"]
MODE = 0.5


def head_of(name: str, **sizes: int) -> torch.nn.Module:
    if name == "diffusion":
        pytest.importorskip("diffusers")
    torch.manual_seed(0)
    return ACTION_HEAD_REGISTRY[name](**sizes)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*DRAWS, *ANSWERS])
def test_chunk_in_and_chunk_out(name):
    head = head_of(name, condition_dim=5, action_dim=3)
    condition_BC, action_BKA = torch.randn(4, 5), torch.rand(4, 16, 3) * 2 - 1
    losses = head.losses(condition_BC, action_BKA)
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in head.parameters())
    noise_BKA = torch.randn(4, 16, 3)
    with torch.no_grad():
        assert head(condition_BC, noise_BKA).shape == (4, 16, 3)
        assert torch.equal(head(condition_BC, noise_BKA), head(condition_BC, noise_BKA))


@pytest.mark.parametrize("name", [*DRAWS, *ANSWERS])
def test_steps_that_are_not_known_change_nothing(name):
    head = head_of(name, condition_dim=2, action_dim=2)
    condition_BC, action_BKA = torch.randn(3, 2), torch.rand(3, 16, 2) * 2 - 1
    valid_BK = torch.arange(16).expand(3, -1) < 9
    values = []
    for unknown in (0.3, math.nan):
        torch.manual_seed(1)
        values.append(head.losses(condition_BC, torch.where(valid_BK[..., None], action_BKA, unknown), valid_BK))
    assert torch.isfinite(values[1]["action"])
    assert torch.equal(values[0]["action"], values[1]["action"])


def shares(name: str, steps: int) -> tuple[float, float, float]:
    """Returns which shares of 1000 samples lie near each of two modes, at every step, and between them."""
    # Value by value costs most: fewer of them.
    chunk, action_dim = (4, 1) if name == "transformer" else (16, 2)
    sizes = {"hidden": 96} if name in DRAWS else {}
    head = head_of(name, condition_dim=4, action_dim=action_dim, chunk=chunk, **sizes)
    optimiser = torch.optim.AdamW(head.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    condition_BC = torch.ones(64, 4)
    for _ in range(steps):
        side_B = torch.randint(2, (64, 1, 1)) * 2 - 1
        loss = head.losses(condition_BC, (MODE * side_B).expand(-1, chunk, action_dim).float())["action"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        sample_BX = head.sample(torch.ones(1000, 4), torch.Generator().manual_seed(3)).flatten(1)
    near = [float(((sample_BX - mode).abs().amax(dim=1) < 0.1).float().mean()) for mode in (-MODE, MODE)]
    between = float((sample_BX.mean(dim=1).abs() < MODE - 0.1).float().mean())
    return near[0], near[1], between


@pytest.mark.slow
@pytest.mark.parametrize(("name", "steps"), [("diffusion", 300), ("flow", 300), ("transformer", 150)])
def test_heads_that_draw_find_both_modes(name, steps):
    low, high, between = shares(name, steps)
    assert low >= 0.3, (low, high, between)
    assert high >= 0.3, (low, high, between)
    assert between <= 0.05, (low, high, between)


@pytest.mark.slow
@pytest.mark.parametrize("name", ANSWERS)
def test_heads_of_one_answer_do_not(name):
    low, high, between = shares(name, 200)
    assert min(low, high) < 0.3
    assert between > 0.05


def test_log_std_is_limited():
    head = GaussianHead(1, 1)
    with torch.no_grad():
        head.network[-1].bias.fill_(1e3)
        assert float(head.distribution(torch.zeros(1, 1))[1].max()) == 2.0
        head.network[-1].bias.fill_(-1e3)
        assert float(head.distribution(torch.zeros(1, 1))[1].min()) == -20.0


def test_transformer_sees_no_value_before_it_is_drawn():
    head = head_of("transformer", condition_dim=2, action_dim=2)
    index_BL = torch.randint(256, (1, 31))
    other_BL = index_BL.clone()
    other_BL[:, 20:] = 7
    with torch.no_grad():
        before, after = head._logits(torch.ones(1, 2), index_BL), head._logits(torch.ones(1, 2), other_BL)
    assert torch.allclose(before[:, :21], after[:, :21], atol=1e-6)
    assert not torch.allclose(before[:, 21:], after[:, 21:], atol=1e-3)


def test_bins_are_half_a_bin_from_what_they_hold():
    head = head_of("transformer", condition_dim=1, action_dim=1)
    value = torch.linspace(-1.0, 1.0, 1001)
    assert float((head.value_of(head.bin_of(value)) - value).abs().max()) <= 1.0 / 256 + 1e-6


def test_noise_of_another_shape_is_refused():
    with pytest.raises(InputError, match=r"noise_BKA has shape \[1, 3, 1\], expected \[1, 16, 1\]"):
        GaussianHead(2, 1)(torch.zeros(1, 2), torch.zeros(1, 3, 1))


def test_a_unicycle_at_constant_curvature_drives_a_circle():
    steps, speed, radius = 640, 2.0, 5.0
    path_1K2, twist_1K2 = unicycle(
        torch.tensor([speed]), torch.zeros(1, steps), torch.full((1, steps), 1.0 / radius), 0.01
    )
    turn = speed * steps * 0.01 / radius
    expected = torch.tensor([radius * math.sin(turn), radius * (1.0 - math.cos(turn))])
    assert torch.allclose(path_1K2[0, -1], expected, atol=1e-3)
    assert torch.allclose(twist_1K2[0, 0], torch.tensor([speed, speed / radius]))


def test_a_constant_acceleration_covers_half_its_square_of_time():
    path_1K2, _ = unicycle(torch.zeros(1), torch.full((1, 64), 0.5), torch.zeros(1, 64), 0.1)
    assert torch.allclose(path_1K2[0, -1], torch.tensor([0.25 * 6.4**2, 0.0]), atol=1e-4)


def test_bezier_weights_sum_to_one_and_trajectory_is_64_by_2():
    assert torch.allclose(bernstein(64, 5).sum(dim=1), torch.ones(64))
    head = TrajectoryHead(7)
    assert head(torch.randn(3, 7)).shape == (3, 64, 2)
    path_BK2, twist_BK2 = head.drive(torch.randn(3, 7), torch.tensor([0.0, 1.0, 2.0]))
    assert path_BK2.shape == twist_BK2.shape == (3, 64, 2)
