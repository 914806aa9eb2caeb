"""Fixtures of the tests that start the graph as processes: an artifact, and a domain and a home of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from wm_ros import own_domain_id
from wm_testing.system import make_artifact


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact with random weights, slow branch included."""
    return make_artifact(tmp_path_factory.mktemp("artifacts") / "random")


@pytest.fixture(autouse=True)
def own_domain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Child processes live in this process's own DDS domain and keep no memory between tests."""
    monkeypatch.setenv("ROS_DOMAIN_ID", str(own_domain_id()))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    monkeypatch.setenv("ROS_HOME", str(tmp_path / "ros"))
    for name in ("TOPK", "USE_TINY_MODELS", "QDRANT_HOST", "QDRANT_PORT", "WM_CHECKPOINT_PATH", "Z_DIM", "ACTION_DIM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("IMAGE_SIZE", raising=False)
