"""Which tests are collected, and golden values that only the asked-for command renews."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

NEEDS_TRAINING = "pytestmark = pytest.mark.training"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option that writes golden files."""
    parser.addoption("--renew-golden", action="store_true", help="write golden files instead of comparing with them")


def pytest_configure(config: pytest.Config) -> None:
    """Gives each of several processes that share the tests a DDS domain of its own, beside that of the whole run."""
    if hasattr(config, "workerinput"):
        worker = int(config.workerinput["workerid"].removeprefix("gw"))
        os.environ["ROS_DOMAIN_ID"] = str(1 + (int(os.environ.get("ROS_DOMAIN_ID", "0")) + worker) % 100)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves out files of training tests where those are deselected: importing them may need what is not installed."""
    left_out = "not training" in config.option.markexpr and collection_path.name.startswith("test_")
    return True if left_out and NEEDS_TRAINING in collection_path.read_text() else None


def pytest_collection_finish(session: pytest.Session) -> None:
    """Leaves what all tests share out of every later search for garbage, which then takes milliseconds."""
    gc.collect()
    gc.freeze()
    # A program leaves its nodes out of the search, too: those of a test are to be found.
    gc.freeze = lambda: None


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish() -> None:
    """Lets the rest of the run, such as what prints its summary, find everything again."""
    gc.unfreeze()


@pytest.fixture(autouse=True, scope="module")
def _alone() -> None:
    """Finds the garbage of the module before: until then nodes in circles of references stay in ROS's graph."""
    gc.collect()


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Compares named values with a golden file beside the test, which must exist; ``--renew-golden`` writes it."""

    def compare(name: str, found: Mapping[str, float], **tolerance: float) -> None:
        path = request.path.parent / name
        if request.config.getoption("--renew-golden"):
            path.write_text(json.dumps({key: round(value, 4) for key, value in found.items()}, indent=1) + "\n")
            pytest.skip(f"wrote {name}; look at the difference before it is committed")
        assert dict(found) == pytest.approx(json.loads(path.read_text()), **tolerance)

    return compare
