"""A world that is served, with a memory of a straight line."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from wm_api.memories import FileMemory
from wm_api.models import Models
from wm_api.testing import ACTION_DIM, LINE_COUNT, Z_DIM, Running, line_record, running
from wm_api.world import World
from wm_testing.artifacts import make_random_artifact
from world_model.runtime.artifacts import load_artifact


@pytest.fixture(scope="session")
def artifact(tmp_path_factory):
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("artifact")
    make_random_artifact(path, z_dim=Z_DIM, action_dim=ACTION_DIM)
    return load_artifact(path)


@pytest.fixture(scope="session")
def models(artifact):
    return Models(artifact)


@pytest.fixture(scope="session")
def served_once(models) -> Iterator[Running]:
    kept = FileMemory()
    encoder_id = models.manifest.encoder_id
    kept.insert([line_record(at, encoder_id) for at in range(1, LINE_COUNT + 1)])
    with running(World(models, kept)) as service:
        yield service


@pytest.fixture
def served(served_once) -> Running:
    """Reading leaves nothing behind but the present."""
    served_once.world.restart()
    return served_once


@pytest.fixture
def world(models) -> World:
    kept = FileMemory()
    kept.insert([line_record(at, models.manifest.encoder_id) for at in range(1, LINE_COUNT + 1)])
    return World(models, kept)
