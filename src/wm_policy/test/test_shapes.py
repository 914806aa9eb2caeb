"""Arguments of another shape are refused by name, and what is not known changes nothing, whatever stands there."""

from __future__ import annotations

import math

import pytest
import torch

from wm_policy.errors import InputError
from wm_policy.fusion import BevGrid, CrossModalFusion, HierarchicalFusion
from wm_policy.heads.trajectory import TrajectoryHead
from wm_policy.heads.transformer import TransformerHead
from wm_policy.models.reactive import ReactiveConfig, ReactiveModel
from wm_policy.projectors import AttentionPooling
from wm_policy.registry import ACTION_HEAD_REGISTRY, PROJECTOR_REGISTRY, SENSOR_REGISTRY
from wm_policy.shapes import check_shapes
from wm_policy.temporal import ActionChunker, HistoryEncoder

HEADS = ["mlp", "gaussian", "diffusion", "flow", "transformer", "trajectory"]
POINTS = {"lidar": 4, "radar": 5, "imu": 6}
SIZES = {"lidar": 6, "radar": 4, "imu": 3}


def head_of(name: str, **sizes: int) -> torch.nn.Module:
    if name == "diffusion":
        pytest.importorskip("diffusers")
    torch.manual_seed(0)
    return ACTION_HEAD_REGISTRY[name](3, 2, **sizes).eval()


def sensor_of(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    options = {"centres": (8, 4)} if name == "lidar" else {}
    return SENSOR_REGISTRY[name](16, **options).eval()


def test_a_letter_is_one_size_and_a_digit_that_size():
    assert check_shapes({"C": 3}, condition_BC=torch.zeros(2, 3), speed_B=torch.zeros(2), left=None) == {"C": 3, "B": 2}
    with pytest.raises(InputError, match=r"path_BK2 has shape \[2, 7, 3\], expected \[2, K, 2\]"):
        check_shapes(speed_B=torch.zeros(2), path_BK2=torch.zeros(2, 7, 3))
    with pytest.raises(InputError, match="speed_B is a float, expected a tensor"):
        check_shapes(speed_B=1.0)


@pytest.mark.parametrize("name", HEADS)
def test_a_head_refuses_what_would_be_spread_over_the_batch(name):
    head = head_of(name)
    condition_BC, action_BKA = torch.zeros(4, 3), torch.zeros(4, head.chunk, 2)
    valid_BK = torch.ones(4, head.chunk, dtype=torch.bool)
    for wrong, named in (
        (action_BKA[:1], "action_BKA has shape"), (action_BKA[..., :1], "action_BKA has shape"),
        (action_BKA[:, 1:], "action_BKA has shape"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=named):
            head.losses(condition_BC, wrong)
    with pytest.raises(InputError, match=r"valid_BK has shape \[1,"):
        head.losses(condition_BC, action_BKA, valid_BK[:1])
    with pytest.raises(InputError, match="valid_BK is float32, expected bool"):
        head.losses(condition_BC, action_BKA, valid_BK.float())
    for wrong in (torch.zeros(4, 2), torch.zeros(3), torch.zeros(4, 1, 3)):
        with pytest.raises(InputError, match=r"condition_BC has shape .*, expected \[B, 3\]"):
            head(wrong)
    with pytest.raises(InputError, match="noise_BKA has shape"):
        head(condition_BC, torch.zeros(1, head.chunk, 2))
    with pytest.raises(InputError, match=r"action_dim is 2\.5, expected a whole number"):
        ACTION_HEAD_REGISTRY[name](3, 2.5)


def test_sizes_that_make_no_head_are_refused():
    pytest.importorskip("diffusers")
    with pytest.raises(InputError, match="sampled is 10, expected no more than the 5 steps"):
        ACTION_HEAD_REGISTRY["diffusion"](3, 2, steps=5)
    with pytest.raises(InputError, match="steps is 0"):
        ACTION_HEAD_REGISTRY["flow"](3, 2, steps=0)
    with pytest.raises(InputError, match="step_s is 0"):
        TrajectoryHead(3, step_s=0.0)
    with pytest.raises(InputError, match=r"speed_B has shape \[2, 1\], expected \[2\]"):
        TrajectoryHead(3).drive(torch.zeros(2, 3), torch.zeros(2, 1))


@pytest.mark.parametrize("name", HEADS)
def test_no_gradient_comes_from_steps_that_are_not_known(name):
    head = head_of(name)
    valid_BK = (torch.arange(head.chunk) < 5).expand(2, -1)
    action_BKA = torch.where(valid_BK.unsqueeze(-1), torch.full((2, head.chunk, 2), 0.3), math.nan)
    head.losses(torch.randn(2, 3), action_BKA, valid_BK)["action"].backward()
    assert all(p.grad.isfinite().all() for p in head.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", HEADS)
def test_what_is_no_number_becomes_no_action(name):
    head = head_of(name)
    condition_BC = torch.tensor([[0.1, 0.2, 0.3], [0.1, math.nan, 0.3]])
    with torch.no_grad():
        chunk_BKA = head(condition_BC)
        assert chunk_BKA[0].isfinite().all()
        assert chunk_BKA[1].isnan().all()
        assert head.losses(condition_BC[:1], torch.full((1, head.chunk, 2), math.nan))["action"].isnan()


def test_bins_of_what_lies_beyond_and_of_half_the_bits():
    head = TransformerHead(3, 1, 1)
    assert head.bin_of(torch.tensor([-math.inf, -1.0, 0.999, 1.0, math.inf])).tolist() == [0, 0, 255, 255, 255]
    with torch.no_grad():
        head.logits.weight.zero_(), head.logits.bias.zero_()
        share_X = torch.tensor([0.1, 0.5, 0.9, 0.99])
        noise_BKA = torch.erfinv(2.0 * share_X - 1.0)[:, None, None] * math.sqrt(2.0)
        for dtype in (torch.float32, torch.bfloat16):
            value_B = head.to(dtype)(torch.zeros(4, 3, dtype=dtype), noise_BKA.to(dtype)).flatten()
            assert torch.allclose(value_B.float(), 2.0 * share_X - 1.0, atol=0.01)


@pytest.mark.parametrize("name", sorted(PROJECTOR_REGISTRY))
def test_projectors_read_only_tokens_that_are_known(name):
    torch.manual_seed(0)
    projector, token_BND = PROJECTOR_REGISTRY[name](12, 16).eval(), torch.randn(2, 7, 12)
    known_BN = (torch.arange(7) < 4).expand(2, -1)
    with torch.no_grad():
        found = projector(torch.where(known_BN.unsqueeze(-1), token_BND, math.nan), known_BN)
        assert torch.equal(found, projector(torch.where(known_BN.unsqueeze(-1), token_BND, 9.0), known_BN))
    with pytest.raises(InputError, match=r"token_BND has shape \[2, 7, 11\], expected \[B, N, 12\]"):
        projector(token_BND[..., 1:])
    with pytest.raises(InputError, match=r"known_BN has shape \[2, 6\], expected \[2, 7\]"):
        projector(token_BND, known_BN[:, 1:])
    with pytest.raises(InputError, match="known_BN is int64, expected bool"):
        projector(token_BND, known_BN.long())
    with pytest.raises(InputError, match="queries is 0"):
        AttentionPooling(12, 16, 0)


@pytest.mark.parametrize("name", sorted(POINTS))
def test_points_that_are_no_numbers_are_not_there(name):
    encoder, value_BNX = sensor_of(name), torch.randn(2, 9, POINTS[name])
    holes_BNX = value_BNX.clone()
    holes_BNX[:, 3, 1], holes_BNX[0, 7] = math.nan, math.inf
    known_BN = holes_BNX.isfinite().all(dim=2)
    token_B1D = encoder(holes_BNX)
    left = [encoder(value_BNX[row : row + 1, known_BN[row]]) for row in (0, 1)]
    assert torch.allclose(token_B1D, torch.cat(left), atol=1e-5)
    assert torch.allclose(token_B1D, encoder(torch.where(known_BN.unsqueeze(-1), value_BNX, 5.0), known_BN), atol=1e-5)
    token_B1D.sum().backward()
    assert all(p.grad.isfinite().all() for p in encoder.parameters() if p.grad is not None)
    none = torch.full_like(value_BNX, math.nan)
    assert torch.equal(encoder(none), torch.zeros(2, 1, 16))
    assert torch.equal(encoder(value_BNX[:, :0]), torch.zeros(2, 1, 16))
    assert encoder(value_BNX[:0]).shape == (0, 1, 16)
    with pytest.raises(InputError, match=f"has shape .*{POINTS[name]}"):
        encoder(value_BNX[..., 1:])
    with pytest.raises(InputError, match=r"known_B[NT] has shape \[2, 8\], expected \[2, 9\]"):
        encoder(value_BNX, known_BN[:, 1:])


@pytest.mark.parametrize("name", sorted(POINTS))
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_sensors_count_in_any_type(name, dtype):
    encoder, value_BNX = sensor_of(name), torch.randn(2, 9, POINTS[name])
    known_BN = torch.tensor([[True] * 9, [False] * 9])
    with torch.no_grad():
        expected = encoder(value_BNX, known_BN)
        found = encoder.to(dtype)(value_BNX.to(dtype), known_BN)
    assert found.dtype == dtype
    assert torch.allclose(found.float(), expected, atol=0.1)


def test_a_map_has_no_points_that_are_known():
    with pytest.raises(InputError, match="known_BN says which points"):
        sensor_of("radar")(torch.zeros(2, 1, 8, 8), torch.ones(2, 8, dtype=torch.bool))


def fusions() -> list[torch.nn.Module]:
    torch.manual_seed(0)
    return [CrossModalFusion(SIZES, 16), HierarchicalFusion(SIZES, [["lidar"], ["radar", "imu"]], 16)]


@pytest.mark.parametrize("index", [0, 1])
def test_a_sensor_that_is_not_there_is_the_same_however_it_is_told(index):
    fusion = fusions()[index].eval()
    tokens = {name: torch.randn(2, 3, size) for name, size in SIZES.items()}
    absent = {"lidar": torch.zeros(2, dtype=torch.bool)}
    left_out = fusion({name: each for name, each in tokens.items() if name != "lidar"})
    assert torch.allclose(fusion(tokens, absent), left_out, atol=1e-6)
    assert torch.allclose(fusion(tokens | {"lidar": tokens["lidar"][:, :0]}), left_out, atol=1e-6)
    told = fusion(tokens | {"lidar": torch.full((2, 3, 6), math.nan)}, absent)
    assert torch.allclose(told, left_out, atol=1e-6)
    told.sum().backward()
    assert all(p.grad.isfinite().all() for p in fusion.parameters() if p.grad is not None)


@pytest.mark.parametrize("index", [0, 1])
def test_wrong_tokens_and_sensors_are_named(index):
    fusion = fusions()[index]
    tokens = {name: torch.randn(2, 3, size) for name, size in SIZES.items()}
    there_B = torch.ones(2, dtype=torch.bool)
    with pytest.raises(InputError, match=r"sensors \['sonar'\]"):
        fusion(tokens, {"sonar": there_B})
    with pytest.raises(InputError, match=r"tokens\['radar'\] has shape \[2, 3, 5\], expected \[.*, N, 4\]"):
        fusion(tokens | {"radar": torch.zeros(2, 3, 5)})
    with pytest.raises(InputError, match=r"present\['imu'\] has shape \[1\], expected \[2\]"):
        fusion(tokens, {"imu": there_B[:1]})
    with pytest.raises(InputError, match=r"present\['imu'\] is float32, expected bool"):
        fusion(tokens, {"imu": there_B.float()})
    with pytest.raises(InputError, match=r"present\['imu'\] is a bool, expected a tensor"):
        fusion(tokens, {"imu": False})
    with pytest.raises(InputError, match="no sensor"):
        CrossModalFusion({}, 16)


def test_a_grid_takes_only_points_that_are_numbers():
    grid = BevGrid(1, 4, 4, 8.0)
    place_BP2, feature_BPC = torch.tensor([[[0.1, 0.1], [math.nan, 0.0]]]), torch.tensor([[[1.0], [1.0]]])
    found = grid(place_BP2, feature_BPC)
    assert torch.allclose(found, grid(place_BP2[:, :1], feature_BPC[:, :1]))
    found.sum().backward()
    assert all(p.grad.isfinite().all() for p in grid.parameters())
    with pytest.raises(InputError, match=r"feature_BPC has shape \[1, 1, 1\], expected \[1, 2, 1\]"):
        grid(place_BP2, feature_BPC[:, :1])
    with pytest.raises(InputError, match="extent_m is -1"):
        BevGrid(1, 4, 4, -1.0)


def test_a_past_that_is_not_known_may_hold_anything():
    torch.manual_seed(0)
    encoder, seen_BTO, done_BTA = HistoryEncoder(5, 2).eval(), torch.randn(2, 3, 5), torch.randn(2, 2, 2)
    known_BT = torch.tensor([[False, True, True]]).expand(2, -1)
    with torch.no_grad():
        expected = encoder(seen_BTO, done_BTA, known_BT)
        seen_BTO[:, 0], done_BTA[:, 0] = math.nan, math.nan
        assert torch.equal(encoder(seen_BTO, done_BTA, known_BT), expected)
    with pytest.raises(InputError, match=r"action_BTA has shape \[2, 2, 1\], expected \[2, T, 2\]"):
        encoder(seen_BTO, done_BTA[..., :1])
    with pytest.raises(InputError, match=r"known_BT has shape \[2, 2\], expected \[2, 3\]"):
        encoder(seen_BTO, done_BTA, known_BT[:, 1:])


def test_chunks_of_another_size_are_refused():
    chunker = ActionChunker(2)
    chunker.add(0, torch.zeros(2, 3).numpy())
    with pytest.raises(InputError, match="those before it"):
        chunker.add(1, torch.zeros(2, 1).numpy())
    with pytest.raises(InputError, match="decay is nan"):
        ActionChunker(2, math.nan)


def test_inputs_of_a_reactive_model_are_named():
    model = ReactiveModel(ReactiveConfig(latent_dim=4, width=8, layers=1, memory_numbers=3))
    given = {name: torch.zeros(2, *shape) for name, shape in model.config.shapes().items()}
    given |= {name: given[name].bool() for name in ("view_known", "memory_latent_known", "memory_valid")}
    assert model.propose(given)[0].shape == (2, 64, 2)
    with pytest.raises(InputError, match=r"inputs\['speed'\] has shape \[2\], expected \[2, 1\]"):
        model.propose(given | {"speed": torch.zeros(2)})
    with pytest.raises(InputError, match=r"inputs\['memory'\] has shape \[1, 6, 3\], expected \[2, 6, 3\]"):
        model.propose(given | {"memory": given["memory"][:1]})
    with pytest.raises(InputError, match=r"inputs\['view_known'\] is float32, expected bool"):
        model.propose(given | {"view_known": given["view_known"].float()})
