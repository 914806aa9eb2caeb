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


def test_a_registry_is_a_mapping_to_whoever_asks_for_what_is_not_there():
    class Mine(nn.Module):
        pass

    assert ENCODER_REGISTRY.get("mine") is None
    assert ENCODER_REGISTRY.get("mine", Mine) is Mine
    assert ENCODER_REGISTRY.pop("mine", None) is None
    try:
        assert ENCODER_REGISTRY.setdefault("mine", Mine) is Mine
        assert ENCODER_REGISTRY["mine"] is Mine
    finally:
        assert ENCODER_REGISTRY.pop("mine", None) is Mine
    for ask in (ENCODER_REGISTRY.__getitem__, ENCODER_REGISTRY.__delitem__, ENCODER_REGISTRY.pop):
        with pytest.raises(KeyError) as refused:
            ask("mine")
        assert isinstance(refused.value, PolicyError)
        assert str(refused.value).startswith("no encoder 'mine', expected one of clip-base")
