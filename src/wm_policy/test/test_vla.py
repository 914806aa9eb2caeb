"""Models of vision, language and action, from tiny random weights."""

from __future__ import annotations

import pytest
import torch

from wm_policy.errors import InputError, PolicyError
from wm_policy.fusion import BevGrid
from wm_policy.models.vla import MultiSensorVLA, VLAModel
from wm_policy.registry import ENCODER_REGISTRY
from wm_policy.sensors.imu import ImuEncoder
from wm_policy.sensors.lidar import LidarEncoder
from wm_policy.sensors.radar import RadarEncoder

pytest.importorskip("transformers")
from wm_policy.encoders.language import LanguageBackbone

pytestmark = pytest.mark.training

TINY = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32}
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2,
         "intermediate_size": 48, "vocab_size": 60}  # fmt: skip


def vla(**changes) -> VLAModel:
    torch.manual_seed(0)
    tower = ENCODER_REGISTRY["siglip-base"](config=TINY)
    return VLAModel(tower, LanguageBackbone(config=SMALL), 3, **changes)


def inputs(batch: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    image_BHWC = torch.randint(0, 256, (batch, 32, 32, 3), dtype=torch.uint8)
    return image_BHWC, torch.tensor([[59, 59, 59, 59, 7, 8]]).expand(batch, -1)


@pytest.mark.parametrize("head", ["mlp", "gaussian", "flow", "transformer"])
def test_a_picture_and_words_give_a_chunk(head):
    model = vla(head=head).eval()
    with torch.no_grad():
        assert model(*inputs()).shape == (2, 16, 3)


def test_the_instruction_and_the_picture_both_matter_and_padding_does_not():
    model = vla().eval()
    image_BHWC, token_BL = inputs()
    with torch.no_grad():
        plain = model(image_BHWC, token_BL)
        other = token_BL.clone()
        other[:, 4] = 9
        assert not torch.allclose(plain, model(image_BHWC, other), atol=1e-6)
        assert not torch.allclose(plain, model(255 - image_BHWC, token_BL), atol=1e-6)
        padded = torch.cat([token_BL, torch.full((2, 2), 5)], dim=1)
        known_BL = (torch.arange(8) < 6).long().expand(2, -1)
        assert torch.allclose(plain, model(image_BHWC, padded, known_BL), atol=1e-5)


def test_only_adapters_are_trained_and_fresh_they_change_no_bit():
    pytest.importorskip("peft")
    model, given = vla().eval(), inputs()
    with torch.no_grad():
        before = model(*given)
        trained = model.enable_lora(r=2, alpha=4)
        assert torch.equal(before, model.eval()(*given))
    # Two layers, four projections of 32 x 32, of rank 2.
    assert trained == 2 * 4 * (32 * 2 + 2 * 32)
    names = [name for name, p in model.language.model.named_parameters() if p.requires_grad]
    assert all("lora_" in name for name in names)
    with pytest.raises(PolicyError, match="adapters already"):
        model.enable_lora()
    model.train().losses(*given, torch.ones(2, 16, 3))["action"].backward()
    found = [p.grad for name, p in model.language.model.named_parameters() if "lora_B" in name]
    assert all(grad is not None and grad.abs().sum() > 0 for grad in found)


def test_checkpointing_gives_the_same_gradients():
    given, gradients = inputs(), []
    for checkpointed in (False, True):
        model = vla().train()
        if checkpointed:
            model.enable_gradient_checkpointing()
        model.losses(*given, torch.zeros(2, 16, 3))["action"].backward()
        gradients.append([p.grad.clone() for p in model.language.model.parameters() if p.grad is not None])
    assert gradients[0]
    for one, other in zip(*gradients):
        assert torch.allclose(one, other, atol=1e-6)


def test_half_the_bits_give_about_the_same():
    model, given = vla().eval(), inputs()
    with torch.no_grad():
        whole = model(*given)
        model.to_bf16()
        half = model(*given)
    assert half.dtype == torch.float32
    assert torch.allclose(whole, half, atol=0.05)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_the_whole_model_may_be_of_another_type(dtype):
    model, given = vla(proprioception=4).eval(), inputs()
    with torch.no_grad():
        expected, found = model(*given), model.to(dtype)(*given)
    assert found.dtype == dtype
    assert torch.allclose(found.float(), expected, atol=0.05)


def test_arguments_of_another_batch_are_named():
    image_BHWC, token_BL = inputs()
    model = vla(proprioception=4)
    with pytest.raises(InputError, match=r"token_BL has shape \[2, 6\], expected \[1, L\]"):
        model(image_BHWC[:1], token_BL)
    with pytest.raises(InputError, match=r"state_BP has shape \[1, 4\], expected \[2, 4\]"):
        model(image_BHWC, token_BL, None, torch.zeros(1, 4))


def test_a_head_has_its_own_chunk_unless_another_is_asked_for():
    tower, language = ENCODER_REGISTRY["siglip-base"](config=TINY), LanguageBackbone(config=SMALL)
    with torch.no_grad():
        assert VLAModel(tower, language, 2, head="trajectory")(*inputs()).shape == (2, 64, 2)
        assert VLAModel(tower, language, 2, head="trajectory", chunk=30)(*inputs()).shape == (2, 30, 2)


def test_what_a_model_acts_by_it_is_trained_on():
    model = vla(proprioception=4).eval()
    image_BHWC, token_BL = inputs()
    padded = torch.cat([token_BL, torch.full((2, 2), 5)], dim=1)
    known_BL = (torch.arange(8) < 6).long().expand(2, -1)
    state_BP = torch.randn(2, 4)
    with torch.no_grad():
        acted = model(image_BHWC, padded, known_BL, state_BP)
        assert float(model.losses(image_BHWC, padded, acted, None, known_BL, state_BP)["action"]) < 1e-10
        assert float(model.losses(image_BHWC, padded, acted, None, known_BL, -state_BP)["action"]) > 1e-6
        # A state that is missing is no state of zeros.
        missing = model(image_BHWC, token_BL)
        assert not torch.allclose(missing, model(image_BHWC, token_BL, None, torch.zeros(2, 4)), atol=1e-6)
    model.losses(image_BHWC, token_BL, acted)["action"].backward()
    assert model.no_state.grad.abs().sum() > 0
    with pytest.raises(InputError, match="takes no state"):
        vla()(image_BHWC, token_BL, None, state_BP)


def many() -> tuple[MultiSensorVLA, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    sensors = {"lidar": LidarEncoder(64, (32, 8)), "radar": RadarEncoder(32), "imu": ImuEncoder(32)}
    tower = ENCODER_REGISTRY["dinov2-base"](config=TINY | {"patch_size": 16})
    model = MultiSensorVLA(sensors, tower, cameras=3, grid=BevGrid(2, 16, 8), width=32).eval()
    return model, {
        "cameras": torch.randint(0, 256, (2, 3, 32, 32, 3), dtype=torch.uint8), "lidar": torch.randn(2, 60, 4),
        "radar": torch.randn(2, 5, 5), "imu": torch.randn(2, 10, 6),
    }  # fmt: skip


def test_many_sensors_give_a_trajectory_and_any_may_be_missing():
    model, given = many()
    with torch.no_grad():
        path_B64_2 = model(given, speed_B=torch.ones(2))
        assert path_B64_2.shape == (2, 64, 2)
        absent = {"lidar": torch.tensor([True, False])}
        changed = given | {"lidar": torch.cat([given["lidar"][:1], torch.zeros(1, 60, 4)])}
        assert torch.allclose(model(given, absent), model(changed, absent), atol=1e-5)
        assert model({"imu": given["imu"]}).shape == (2, 64, 2)


def test_what_fills_a_scan_up_is_not_read_and_an_empty_one_is_missing():
    model, given = many()
    known_BN = torch.arange(60).expand(2, -1) < torch.tensor([[40], [0]])
    filled = given | {"lidar": torch.where(known_BN[..., None], given["lidar"], 0.0), "lidar_known": known_BN}
    with torch.no_grad():
        said = model(filled)
        assert torch.allclose(said, model(filled | {"lidar": filled["lidar"] + 9.0 * ~known_BN[..., None]}), atol=1e-5)
        first = {name: value[:1] for name, value in given.items()}
        assert torch.allclose(said[:1], model(first | {"lidar": first["lidar"][:, :40]}), atol=1e-5)
        second = {name: value[1:] for name, value in given.items() if name != "lidar"}
        assert torch.allclose(said[1:], model(second), atol=1e-5)
        for name, shape in {"lidar": (1, 0, 4), "radar": (1, 0, 5), "imu": (1, 0, 6)}.items():
            left = {each: value for each, value in first.items() if each != name}
            assert torch.equal(model(first | {name: torch.zeros(shape)}), model(left))
        assert torch.equal(LidarEncoder(8)(torch.zeros(2, 0, 4)), torch.zeros(2, 1, 8))
        assert torch.equal(RadarEncoder(8)(torch.zeros(2, 0, 5)), torch.zeros(2, 1, 8))


def test_points_that_are_no_numbers_are_missing():
    model, given = many()
    known_BN = torch.arange(60).expand(2, -1) < torch.tensor([[40], [0]])
    holes = given | {"lidar": torch.where(known_BN[..., None], given["lidar"], torch.nan)}
    filled = given | {"lidar_known": known_BN}
    moments_BT = torch.arange(10).expand(2, -1) > torch.tensor([[2], [9]])
    with torch.no_grad():
        assert torch.allclose(model(holes), model(filled), atol=1e-5)
        holes = given | {"imu": torch.where(moments_BT[..., None], given["imu"], torch.nan)}
        assert torch.allclose(model(holes), model(given | {"imu_known": moments_BT}), atol=1e-5)
        last = {name: value[1:] for name, value in given.items() if name != "imu"}
        assert torch.allclose(model(holes)[1:], model(last), atol=1e-5)


def test_inputs_of_another_shape_are_named():
    model, given = many()
    for cameras in (given["cameras"][:, :1], given["cameras"][:, :2], given["cameras"][:, 0]):
        with pytest.raises(InputError, match=r"inputs\['cameras'\] has shape .*, expected \[2, 3, H, W, 3\]"):
            model(given | {"cameras": cameras})
    with pytest.raises(InputError, match=r"present\['imu'\] has shape \[1\], expected \[2\]"):
        model(given, {"imu": torch.ones(1, dtype=torch.bool)})
    with pytest.raises(InputError, match=r"present\['cameras'\] has shape \[2, 2\], expected \[2, 3\]"):
        model(given, {"cameras": torch.ones(2, 2, dtype=torch.bool)})
    with pytest.raises(InputError, match=r"inputs\['imu'\] is ndarray"):
        model(given | {"imu": given["imu"].numpy()})
    with pytest.raises(InputError, match=r"path_BK2 has shape \[1, 64, 2\], expected \[2, 64, 2\]"):
        model.losses(given, torch.zeros(1, 64, 2))
    with pytest.raises(InputError, match="grid reads the points of a lidar"):
        MultiSensorVLA({"imu": ImuEncoder(8)}, grid=BevGrid(2, 16, 8))
    with pytest.raises(InputError, match="sensors are named cameras"):
        MultiSensorVLA({"cameras": ImuEncoder(8)})


def test_one_camera_of_several_may_be_missing():
    model, given = many()
    seen_BV = torch.tensor([[True, False, True], [False, False, False]])
    black = given | {"cameras": torch.where(seen_BV[:, :, None, None, None], given["cameras"], 0).to(torch.uint8)}
    with torch.no_grad():
        said = model(given, {"cameras": seen_BV})
        assert torch.allclose(said, model(black, {"cameras": seen_BV}), atol=1e-5)
        # A black picture is another thing than none.
        assert not torch.allclose(said[:1], model(black)[:1], atol=1e-6)
        gone = model(given, {"cameras": torch.tensor([True, False])})
        assert torch.allclose(said[1:], gone[1:], atol=1e-5)
    with pytest.raises(InputError, match="unknown sensors lidr"):
        model({"lidr": given["lidar"], "imu": given["imu"]})


def test_many_sensors_are_learned_from_by_where_the_robot_went():
    model, given = many()
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    path_B64_2 = torch.stack([0.1 * torch.arange(1, 65), torch.zeros(64)], dim=1).expand(2, -1, -1)
    losses = []
    for _ in range(20):
        loss = model.losses(given, path_B64_2, speed_B=torch.full((2,), 0.5))["action"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
