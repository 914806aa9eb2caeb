"""What a package imports, its manifest names, and pip's lists hold; and the other way round."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import pytest
import yaml

from scripts.lint.import_chains import imported_packages

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
OURS = sorted(path.parent.name for path in SOURCE.glob("*/package.xml"))


class Outside(NamedTuple):
    """A distribution of PyPI: rosdep's key, pip's name, and the extra it belongs to ("": always needed)."""

    key: str
    pip: str
    extra: str = ""


OUTSIDE = {
    "av": Outside("python3-av-pip", "av", "video"),
    "cv2": Outside("python3-opencv", "opencv-python-headless"),
    "diffusers": Outside("python3-diffusers-pip", "diffusers", "policy"),
    "faiss": Outside("python3-faiss-cpu-pip", "faiss-cpu"),
    "fastapi": Outside("python3-fastapi-pip", "fastapi"),
    "foxglove_schemas_protobuf": Outside("python3-foxglove-schemas-protobuf-pip", "foxglove-schemas-protobuf", "view"),
    "h3": Outside("python3-h3-pip", "h3"),
    "httpx": Outside("python3-httpx", "httpx"),
    "hypothesis": Outside("python3-hypothesis", "hypothesis"),
    "lightning_fabric": Outside("python3-lightning-fabric-pip", "lightning-fabric", "train"),
    "matplotlib": Outside("python3-matplotlib", "matplotlib"),
    "mcap": Outside("python3-mcap-pip", "mcap", "view"),
    "mcap_protobuf": Outside("python3-mcap-protobuf-support-pip", "mcap-protobuf-support", "view"),
    "msgpack": Outside("python3-msgpack", "msgpack", "policy"),
    "numpy": Outside("python3-numpy", "numpy"),
    "onnx": Outside("python3-onnx-pip", "onnx", "train"),
    "onnxruntime": Outside("python3-onnxruntime-pip", "onnxruntime"),
    "onnxscript": Outside("python3-onnxscript-pip", "onnxscript", "train"),
    "prometheus_client": Outside("python3-prometheus-client", "prometheus-client"),
    "peft": Outside("python3-peft-pip", "peft", "policy"),
    "psutil": Outside("python3-psutil", "psutil"),
    "pyarrow": Outside("python3-pyarrow-pip", "pyarrow", "lerobot"),
    "pydantic": Outside("python3-pydantic", "pydantic"),
    "pytest": Outside("python3-pytest", "pytest"),
    "qdrant_client": Outside("python3-qdrant-client-pip", "qdrant-client", "qdrant"),
    "rerun": Outside("python3-rerun-sdk-pip", "rerun-sdk", "view"),
    "rich": Outside("python3-rich", "rich"),
    "rosbags": Outside("python3-rosbags-pip", "rosbags"),
    "scipy": Outside("python3-scipy", "scipy"),
    "selenium": Outside("python3-selenium-pip", "selenium"),
    "sklearn": Outside("python3-sklearn", "scikit-learn", "train"),
    "starlette": Outside("python3-starlette-pip", "starlette"),
    "torch": Outside("python3-torch-pip", "torch"),
    "transformers": Outside("python3-transformers-pip", "transformers", "extras"),
    "tritonclient": Outside("python3-tritonclient-pip", "tritonclient"),
    "uvicorn": Outside("python3-uvicorn-pip", "uvicorn"),
    "yaml": Outside("python3-yaml", "PyYAML"),
    # What httpx brings along.
    "httpcore": Outside("python3-httpx", "httpx"),
    # What uvicorn brings along.
    "h11": Outside("python3-uvicorn-pip", "uvicorn"),
    # What rosbags brings along; Python 3.14 has the last one itself.
    "backports": Outside("python3-rosbags-pip", "rosbags"),
    "compression": Outside("python3-rosbags-pip", "rosbags"),
    "lz4": Outside("python3-rosbags-pip", "rosbags"),
    "ruamel": Outside("python3-rosbags-pip", "rosbags"),
}
"""{module: where it comes from}; every other import is a package of ROS or of ours, named as the module."""
IN_ROSDEP = {
    "python3-matplotlib", "python3-msgpack", "python3-numpy", "python3-opencv", "python3-psutil", "python3-pytest",
    "python3-scipy", "python3-sklearn", "python3-yaml",
}  # fmt: skip
"""Keys of rosdep's own lists; the rest are in rosdep.yaml."""
UNSEEN = {
    "wm_bringup": {"bag_player", "wm_sim_ros", "wm_view", "ros2bag", "rosbag2_storage_default_plugins", "rviz2"},
    "wm_ros": {"nav_msgs"},
    "wm_view": {"tf2_msgs"},
    "world_model": {"onnxscript", "pyarrow"},
}
"""{package: what it needs though it imports it nowhere}: launch files, a message or another library name it."""
TOOLS = {
    "compose-spec",
    "ruff",
    "mypy",
    "pytest-timeout",
    "pytest-cov",
    "pytest-xdist",
    "coverage",
    "types-psutil",
    "types-PyYAML",
}
"""In requirements/ without being imported."""
UNPINNED: set[str] = set()
"""Left to the user."""
CONDITION = {
    extra: f"$WM_{extra.upper()} == 1" for extra in ("train", "extras", "policy", "qdrant", "video", "view", "lerobot")
}


BESIDE = {path.stem: path.parent.name for path in SOURCE.glob("*/*.py") if path.name != "setup.py"}
"""Modules beside packages, and whose they are."""


def imported(paths: list[Path]) -> set[str]:
    """Returns the packages, or top-level names, of all modules that files import, but for Python's own."""
    names = set().union(*map(imported_packages, paths)) - set(sys.stdlib_module_names)
    return {BESIDE.get(name, name) for name in names}


def imports_of(package: str) -> tuple[set[str], set[str]]:
    """Returns what a package imports at run time, and what only its tests import besides."""
    folder = SOURCE / package
    files = [path for path in folder.rglob("*.py") if path.name != "setup.py"]
    tests = [path for path in files if "test" in path.relative_to(folder).parts]
    scripts = [path for path in folder.glob("scripts/*") if path.is_file()]
    own = {package, "test"} | {path.stem for path in [*folder.glob("*.py"), *tests]}
    run = imported([path for path in files if path not in tests] + scripts) - own | UNSEEN.get(package, set())
    return run, imported(tests) - own - run


def declared(package: str, *tags: str) -> dict[str, str]:
    """Returns {dependency: condition} of some tags of a package's manifest."""
    root = ElementTree.parse(SOURCE / package / "package.xml").getroot()
    return {str(each.text): each.get("condition", "") for tag in tags for each in root.findall(tag)}


def key_of(module: str) -> str:
    return OUTSIDE[module].key if module in OUTSIDE else module


def requirements(name: str) -> set[str]:
    """Returns the distributions that a file of requirements/ names."""
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    return {re.split(r"[=\[;<> ]", line)[0] for line in lines if line and not line.startswith("#")}


def needed_by(package: str) -> set[str]:
    """Returns which of our packages a package needs to run, directly or through others."""
    found: set[str] = set()
    waiting = [package]
    while waiting:
        new = (imports_of(waiting.pop())[0] & set(OURS)) - found
        found |= new
        waiting += new
    return found


PYTHON = [name for name in OURS if name != "wm_interfaces"]


@pytest.mark.slow
@pytest.mark.parametrize("package", PYTHON)
def test_a_manifest_names_what_the_package_imports_and_nothing_else(package: str):
    run, _ = imports_of(package)
    assert set(declared(package, "depend", "exec_depend")) == {key_of(module) for module in run}


@pytest.mark.parametrize("package", PYTHON)
def test_a_manifest_names_what_the_tests_import(package: str):
    run, tests = imports_of(package)
    # colcon orders packages by these too: who is tested with the help of a package that needs it cannot name that one.
    nameable = {module for module in tests if module not in OURS or package not in needed_by(module)}
    keys = {key_of(module) for module in nameable} - {key_of(module) for module in run}
    named = set(declared(package, "test_depend"))
    assert keys <= named
    # Run by a build tool or by hand.
    assert named - {"ament_cmake_pytest", "python3-pytest"} <= keys


@pytest.mark.parametrize("package", PYTHON)
def test_optional_dependencies_are_conditions_in_the_manifest(package: str):
    conditions = declared(package, "exec_depend")
    run, _ = imports_of(package)
    for module in run:
        extra = OUTSIDE[module].extra if module in OUTSIDE else ""
        assert conditions[key_of(module)] == CONDITION.get(extra, ""), module


def test_dependencies_among_our_packages_have_an_order():
    left = {name: set(declared(name, "depend", "exec_depend", "test_depend")) & set(OURS) for name in OURS}
    while left:
        free = {name for name, needs in left.items() if not needs}
        assert free, f"these need one another: {sorted(left)}"
        left = {name: needs - free for name, needs in left.items() if name not in free}


def test_every_key_is_one_that_rosdep_knows():
    ours = set(yaml.safe_load((ROOT / "rosdep.yaml").read_text()))
    used = {key for name in PYTHON for key in declared(name, "depend", "exec_depend", "test_depend")}
    assert {key for key in used if key.startswith("python3-")} - IN_ROSDEP == ours


def test_rosdep_and_pip_name_the_same_distributions():
    ours = yaml.safe_load((ROOT / "rosdep.yaml").read_text())
    by_key = {each.key: each.pip for each in OUTSIDE.values()}
    for key, systems in ours.items():
        assert systems["debian"] == systems["ubuntu"], key
        if key.endswith("-pip"):
            assert systems["ubuntu"]["pip"]["packages"] == [by_key[key]]


def test_pip_installs_what_is_imported_and_nothing_else():
    always = requirements("common") | requirements("api") | requirements("numeric_wheels")
    names = ("train", "extras", "policy", "view", "test")
    train, extras, policy, view, tests = (requirements(name) for name in names)
    assert requirements("numeric_ros") == requirements("numeric_wheels")
    assert {each.pip for each in OUTSIDE.values()} | TOOLS == always | train | extras | policy | view | tests | UNPINNED
    run = {module for name in PYTHON if name != "wm_testing" for module in imports_of(name)[0]} & set(OUTSIDE)
    assert {OUTSIDE[module].pip for module in run if not OUTSIDE[module].extra} == always
    assert {OUTSIDE[module].pip for module in run if OUTSIDE[module].extra == "train"} == train
    assert {OUTSIDE[module].pip for module in run if OUTSIDE[module].extra == "extras"} == extras
    assert {OUTSIDE[module].pip for module in run if OUTSIDE[module].extra == "policy"} == policy
    assert {OUTSIDE[module].pip for module in run if OUTSIDE[module].extra == "view"} == view


@pytest.mark.parametrize("package", [name for name in PYTHON if (SOURCE / name / "setup.py").is_file()])
def test_setup_names_what_pip_can_install(package: str):
    # OpenCV goes by several names, and a distribution's own by none that pip knows.
    run = {OUTSIDE[module] for module in imports_of(package)[0] if module in OUTSIDE} - {OUTSIDE["cv2"]}
    given = _setup_arguments(package)
    assert set(given["install_requires"]) == {"setuptools"} | {each.pip for each in run if not each.extra}
    extras: dict[str, set[str]] = {}
    for each in run:
        if each.extra:
            extras.setdefault(each.extra, set()).add(each.pip)
    assert {name: set(names) for name, names in given["extras_require"].items() if name != "test"} == extras


def _setup_arguments(package: str) -> dict:
    tree = ast.parse((SOURCE / package / "setup.py").read_text())
    (call,) = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "setup"
    ]
    wanted = ("install_requires", "extras_require")
    return {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg in wanted}
