"""Sensors and their fusion: what is missing is named so, and neither order nor filling changes anything."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wm_policy.errors import InputError
from wm_policy.fusion import BevGrid, CrossModalFusion, HierarchicalFusion
from wm_policy.registry import SENSOR_REGISTRY
from wm_policy.sensors.lidar import LidarEncoder, farthest_points
from wm_policy.temporal import ActionChunker, HistoryEncoder

SIZES = {"lidar": 6, "radar": 4, "imu": 3}


def test_sizes_that_users_expect():
    assert SENSOR_REGISTRY["lidar"]()(torch.randn(2, 300, 4)).shape == (2, 1, 512)
    assert SENSOR_REGISTRY["imu"]()(torch.randn(2, 20, 6)).shape == (2, 1, 128)
    radar = SENSOR_REGISTRY["radar"](channels=2)
    assert radar(torch.randn(2, 2, 32, 48)).shape == radar(torch.randn(2, 7, 5)).shape == (2, 1, 128)
    with pytest.raises(InputError, match=r"radar has shape \[2, 7, 4\]"):
        radar(torch.randn(2, 7, 4))
    assert SENSOR_REGISTRY["imu"]().lstm.num_layers == 2


def test_farthest_points_by_hand():
    place_1N3 = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [10, 0, 0], [4, 0, 0], [99, 0, 0]]])
    known_1N = torch.tensor([[True, True, True, True, False]])
    assert farthest_points(place_1N3, known_1N, 3).tolist() == [[0, 2, 3]]


def test_a_scan_is_a_set_and_its_filling_is_nothing():
    torch.manual_seed(0)
    encoder = LidarEncoder(32, centres=(24, 8)).eval()
    point_1N4 = torch.randn(1, 40, 4)
    known_1N = torch.arange(40)[None] < 24
    filled_1N4 = torch.where(known_1N[..., None], point_1N4, torch.full_like(point_1N4, 55.0))
    with torch.no_grad():
        assert torch.allclose(encoder(point_1N4, known_1N), encoder(filled_1N4, known_1N), atol=1e-5)
        order = torch.cat([torch.tensor([0]), 1 + torch.randperm(23)])
        assert torch.allclose(encoder(point_1N4[:, :24]), encoder(point_1N4[:, order]), atol=1e-5)
        assert torch.equal(encoder(point_1N4, torch.zeros(1, 40, dtype=torch.bool)), torch.zeros(1, 1, 32))


def test_radar_points_that_are_not_there_are_not_read():
    torch.manual_seed(0)
    radar, point_1N5 = SENSOR_REGISTRY["radar"](), torch.randn(1, 6, 5)
    known_1N = torch.tensor([[True, False, True, True, False, False]])
    assert torch.allclose(radar(point_1N5, known_1N), radar(point_1N5[:, [0, 2, 3]]), atol=1e-5)


def fusions() -> list[torch.nn.Module]:
    torch.manual_seed(0)
    return [CrossModalFusion(SIZES, 16), HierarchicalFusion(SIZES, [["lidar", "radar"], ["imu"]], 16)]


@pytest.mark.parametrize("index", [0, 1])
def test_a_missing_sensor_is_not_zeros(index):
    fusion = fusions()[index].eval()
    tokens = {name: torch.randn(2, 3, size) for name, size in SIZES.items()}
    absent = {"radar": torch.tensor([False, True])}
    zeros = tokens | {"radar": torch.zeros(2, 3, 4)}
    noise = tokens | {"radar": 50 * torch.randn(2, 3, 4)}
    with torch.no_grad():
        whole, masked = fusion(tokens), fusion(tokens, absent)
        assert torch.allclose(masked[1], whole[1], atol=1e-6)
        assert not torch.allclose(masked[0], whole[0], atol=1e-4)
        assert not torch.allclose(masked[0], fusion(zeros)[0], atol=1e-4)
        # What stands where a sensor is missing is nothing.
        assert torch.allclose(masked[0], fusion(noise, absent)[0], atol=1e-5)
        without = {name: each for name, each in tokens.items() if name != "radar"}
        assert torch.allclose(fusion(without)[0], masked[0], atol=1e-5)


def test_wrong_sensors_are_refused():
    fusion = fusions()[0]
    with pytest.raises(InputError, match=r"sensors \['sonar'\], expected some of lidar, radar, imu"):
        fusion({"sonar": torch.zeros(1, 1, 2)})
    with pytest.raises(InputError, match="sensors none"):
        fusion({})
    with pytest.raises(InputError, match="expected each of"):
        HierarchicalFusion(SIZES, [["lidar", "radar"]], 16)


def test_points_fall_into_their_cells():
    grid = BevGrid(1, width=4, cells=4, extent_m=8.0)
    place_1P2 = torch.tensor([[[-3.9, -3.9], [0.1, 0.1], [3.9, -0.1], [9.0, 0.0]]])
    assert grid.cell_of(place_1P2).tolist() == [[0, 10, 13, -1]]
    made, held = grid.scatter(place_1P2, torch.ones(1, 4, 1), torch.tensor([[True, True, False, True]]))
    assert held.flatten().nonzero().flatten().tolist() == [0, 10]
    assert not made.flatten(2)[0, :, [1, 5, 13]].any()
    assert grid(place_1P2, torch.ones(1, 4, 1)).shape == (1, 16, 4)


def test_the_past_ends_with_the_newest_observation():
    torch.manual_seed(0)
    encoder = HistoryEncoder(5, 2).eval()
    assert len(encoder.blocks) == 2
    seen_BTO, done_BTA = torch.randn(2, 4, 5), torch.randn(2, 3, 2)
    with torch.no_grad():
        context_BW = encoder(seen_BTO, done_BTA)
        assert context_BW.shape == (2, 256)
        known_BT = torch.tensor([[False, True, True, True]]).expand(2, -1)
        masked_BW = encoder(seen_BTO, done_BTA, known_BT)
        seen_BTO[:, 0], done_BTA[:, 0] = 9.0, -9.0
        assert torch.allclose(masked_BW, encoder(seen_BTO, done_BTA, known_BT), atol=1e-5)
        assert not torch.allclose(context_BW, encoder(seen_BTO, done_BTA), atol=1e-3)
    with pytest.raises(InputError, match="4 observations and 4 actions"):
        encoder(seen_BTO, torch.zeros(2, 4, 2))


def test_chunks_that_overlap_by_hand():
    chunker = ActionChunker(3, decay=0.5)
    chunker.add(0, np.array([[0.0], [1.0], [2.0]]))
    chunker.add(1, np.array([[5.0], [6.0], [7.0]]))
    assert chunker.action(0) == pytest.approx([0.0])
    weight = np.exp(-0.5)
    assert chunker.action(1) == pytest.approx([(1.0 + weight * 5.0) / (1 + weight)])
    assert chunker.action(3) == pytest.approx([7.0])
    assert chunker.action(4) is None
    with pytest.raises(InputError, match="expected 3 finite actions"):
        chunker.add(4, np.array([[np.nan]] * 3))
    assert ActionChunker().chunk == 16
