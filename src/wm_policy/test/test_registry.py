"""Registries list all names at once, load nothing before it is asked for, and take classes of one's own."""

from __future__ import annotations

import subprocess
import sys

import pytest
from torch import nn

from wm_policy.errors import PolicyError
from wm_policy.registry import ACTION_HEAD_REGISTRY, ENCODER_REGISTRY, SENSOR_REGISTRY


def test_names_that_ship():
    assert set(ACTION_HEAD_REGISTRY) >= {"mlp", "gaussian", "diffusion", "flow", "transformer", "trajectory"}
    assert set(SENSOR_REGISTRY) >= {"lidar", "radar", "imu"}
    towers = {f"{family}-{size}" for family in ("siglip", "clip", "dinov2") for size in ("base", "large")}
    assert set(ENCODER_REGISTRY) >= towers | {"latent"}


def test_listing_loads_no_heavy_library():
    code = (
        "import sys, wm_policy; names = [*wm_policy.ENCODER_REGISTRY, *wm_policy.ACTION_HEAD_REGISTRY];"
        "print(len(names), sorted({'torch', 'transformers', 'diffusers', 'peft'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=1)[1].strip() == "[]"


def test_a_class_of_ones_own_joins_by_assignment():
    class Mine(nn.Module):
        pass

    ACTION_HEAD_REGISTRY["mine"] = Mine
    try:
        assert ACTION_HEAD_REGISTRY["mine"] is Mine
        assert "mine" in ACTION_HEAD_REGISTRY
    finally:
        del ACTION_HEAD_REGISTRY["mine"]
    with pytest.raises(PolicyError, match="no action head 'mine', expected one of diffusion, flow"):
        ACTION_HEAD_REGISTRY["mine"]
    with pytest.raises(PolicyError, match="expected a class"):
        ACTION_HEAD_REGISTRY["mine"] = 3
