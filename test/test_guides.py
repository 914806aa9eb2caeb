"""What the guides tell to write is written as it stands there, and works."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

GUIDES = Path(__file__).parents[1] / "docs/guides"


def blocks(page: str) -> list[str]:
    """Returns the Python of a page, block by block."""
    found = re.findall(r"^ *```python\n(.*?)^ *```", (GUIDES / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(block) for block in found]


def module(name: str, source: str, **known: object) -> ModuleType:
    """Returns a module of that source; what its place already knows is known to it."""
    made = ModuleType(name)
    made.__dict__.update(known)
    exec(compile(source, name, "exec"), made.__dict__)
    return made


def test_a_search_of_ones_own_finds_what_the_reference_finds(tmp_path):
    from spatial_memory import CellGrid, CellMemory, LocalMap, MemoryRecord, Place, Query, Store
    from wm_core.memory.reference import BruteMemory

    (source,) = blocks("own_backend.md")
    grid, rng = CellGrid(LocalMap(), 13), np.random.default_rng(0)
    records = [
        MemoryRecord(
            id=at + 1, stamp_ns=at + 1, latent_D=rng.normal(size=8).astype(np.float32), x=float(rng.uniform(-9, 9)),
            y=float(rng.uniform(-9, 9)), session="s", encoder_id="e",
        )
        for at in range(200)
    ]  # fmt: skip
    plain, twin = CellMemory(Store(), grid, backend=module("plain", source).PLAIN), BruteMemory(grid)
    assert plain.insert(records) == twin.insert(records)
    for x in (-5.0, 0.0, 4.0):
        query = Query(k=5, place=Place(x, 1.0), radius_m=3.0, rank_by="pose")
        found = [record.id for record in plain.query(query).records]
        assert len(found) == 5
        assert found == [record.id for record in twin.query_batch([query])[0].records]
    plain.close()


@pytest.mark.training
def test_an_encoder_of_ones_own_scripts_and_gives_latents(tmp_path):
    import torch

    from world_model.models import encoders
    from world_model.models.config import ModelConfig

    network, row = blocks("own_encoder.md")
    path = tmp_path / "patches.py"
    path.write_text(f"{Path(encoders.__file__).read_text()}\n\n{network}\n\nENCODERS = {{\n{row}}}\n")
    made = ModuleType("patches")
    exec(compile(path.read_text(), str(path), "exec"), made.__dict__)
    encoder = torch.jit.script(made.ENCODERS["patches"](ModelConfig(latent_dim=24), 32))
    assert encoder(torch.zeros(3, 32, 32, 3, dtype=torch.uint8), None, None).shape == (3, 24)


def test_a_node_of_ones_own_publishes_what_its_core_says(monkeypatch):
    import sys

    import rclpy

    from wm_interfaces.msg import LatentState

    core, params, node = (f"latent_change.{name}" for name in ("change", "params", "node"))
    for name, source in zip(("", core, params, node), ("", *blocks("add_a_node.md"))):
        made = ModuleType(name or "latent_change")
        monkeypatch.setitem(sys.modules, made.__name__, made)
        exec(compile(source, made.__name__, "exec"), made.__dict__)
    rclpy.init()
    try:
        ours = sys.modules[node].LatentChange()
        told: list[float] = []
        monkeypatch.setattr(ours._publisher, "publish", lambda msg: told.append(msg.data))
        for at, value in enumerate((0.0, 1.0, 3.0)):
            msg = LatentState(latent=[value] * 4)
            msg.header.stamp.sec = at + 1
            ours._on_state(msg)
        ours.destroy_node()
    finally:
        rclpy.try_shutdown()
    assert told == [1.0, 2.0]


def test_a_baseline_of_ones_own_goes_on_by_the_last_change():
    (source,) = blocks("add_a_baseline.md")
    latent_TD = np.array([[0.0], [1.0], [3.0]])
    made = module("straight", source.replace("|=", "="), np=np, latent_TD=latent_TD, horizons=(1, 2))
    assert made.forecast["straight on"][:, :, 0].tolist() == [[0.0, 0.0], [2.0, 3.0], [5.0, 7.0]]
