"""What the rooms offer by name, and what they load only when asked."""

import importlib
import subprocess
import sys

import pytest

from world_model import optional, runtime
from world_model.errors import ConfigError
from world_model.models.config import ModelConfig
from world_model.models.factory import make_transition


def test_every_public_name_of_the_runtime_is_there():
    assert all(getattr(runtime, name).__module__.startswith("world_model.runtime.") for name in runtime.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Oracle'"):
        _ = runtime.Oracle


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("from world_model.runtime import VisualHistory", ["torch"]),
        ("from world_model.runtime import Predictor", ["lightning_fabric", "matplotlib", "rosbags", "sklearn"]),
        ("import world_model.models, world_model.training.pipeline", ["transformers", "world_model.extras"]),
    ],
)
def test_what_an_import_does_not_load(statement, absent):
    script = f"import sys; {statement}; print([name for name in {absent} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"


def test_an_extra_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "world_model.extras.rssm", None)
    with pytest.raises(ConfigError, match=r"'rssm' is one of the extras"):
        make_transition(ModelConfig(context="rssm"), 2)
    with pytest.raises(ConfigError, match=r"'oracle'.*pip install '\.\[extras\]'"):
        optional.extra("oracle")


@pytest.mark.parametrize("name", ["", ".model", ".history", ".training", ".evaluation", ".export", ".ticks"])
def test_former_modules_of_the_slow_branch_are_still_found(name):
    sys.modules.pop(f"world_model.world_action{name}", None)
    with pytest.warns(FutureWarning, match="is now"):
        module = importlib.import_module(f"world_model.world_action{name}")
    assert module is sys.modules[module.__spec__.name]
    assert not module.__spec__.name.startswith("world_model.world_action")
