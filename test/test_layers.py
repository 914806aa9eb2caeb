"""The shape of the workspace: who may import whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.lint.import_chains import import_graph, imported_packages, longest_chain

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
OURS = {path.name for path in SOURCE.iterdir() if (path / "package.xml").is_file()}
FLOORS = [
    {"wm_interfaces", "wm_core"},
    {"wm_sim"},
    {"world_model"},
    {"wm_policy"},
    {"wm_ros"},
    {
        "latent_publisher",
        "transition_predictor",
        "spatial_memory",
        "world_action",
        "wm_sim_ros",
        "wm_view",
        "bag_player",
        "latent_planner",
        "policy_runner",
    },
    {"wm_api"},
    {"wm_bringup"},
    {"wm_demo"},
    {"wm_testing"},
]
"""Lowest floor first. A package imports from floors below its own, and nothing else of ours."""
BELOW = {package: set().union(*FLOORS[:number]) for number, floor in enumerate(FLOORS) for package in floor}
MOST_LINKS, MOST_IN_HALL = {"spatial_memory": 10, "wm_core": 10}, {"spatial_memory": 8}
NODE_PACKAGES = sorted(FLOORS[5] - {"bag_player"})
ROS_MODULES = {"node.py", "params.py", "messages.py"}
TRAINING_ONLY = {"lightning", "lightning_fabric", "onnx", "sklearn", "rosbags", "matplotlib", "wm_sim"}


def is_ros(name: str) -> bool:
    ours = ("rclpy", "rcl_interfaces", "builtin_interfaces", "wm_interfaces", "wm_ros")
    return name in ours or name.endswith("_msgs")


def modules(package: str) -> list[Path]:
    return sorted((SOURCE / package / package).rglob("*.py"))


def test_every_package_has_its_layer():
    assert set(BELOW) == OURS


@pytest.mark.parametrize("package", sorted(BELOW))
def test_imports_go_down(package):
    for path in modules(package):
        up = (imported_packages(path) & OURS) - BELOW[package] - {package}
        assert not up, f"{path.relative_to(ROOT)} imports {sorted(up)}"


@pytest.mark.parametrize("package", sorted(MOST_LINKS))
def test_imports_make_short_chains(package):
    chain = longest_chain(import_graph(SOURCE / package / package))
    assert len(chain) <= MOST_LINKS[package], " > ".join(chain)


@pytest.mark.parametrize("package", sorted(MOST_IN_HALL))
def test_the_hall_is_small(package):
    files = sorted(path.name for path in (SOURCE / package / package).glob("*.py"))
    assert len(files) <= MOST_IN_HALL[package], files


def test_chains_count_what_imports_one_another_as_one_link():
    graph = {"a": frozenset("b"), "b": frozenset("c"), "c": frozenset("bd"), "d": frozenset(), "e": frozenset("d")}
    assert longest_chain(graph) == ["a", "b", "c", "d"]
    assert longest_chain({}) == []


@pytest.mark.parametrize("package", NODE_PACKAGES)
def test_only_the_shell_knows_ros(package):
    for path in modules(package):
        if path.name not in ROS_MODULES:
            known = {name for name in imported_packages(path) if is_ros(name)}
            assert not known, f"{path.relative_to(ROOT)} imports {sorted(known)}"


@pytest.mark.parametrize("package", ["wm_core", "wm_sim", "world_model", "wm_policy"])
def test_libraries_know_no_ros(package):
    for path in modules(package):
        known = {name for name in imported_packages(path) if is_ros(name)}
        assert not known, f"{path.relative_to(ROOT)} imports {sorted(known)}"


def test_what_nodes_load_needs_no_training_dependencies():
    for path in sorted((SOURCE / "world_model" / "world_model" / "runtime").glob("*.py")):
        heavy = imported_packages(path) & TRAINING_ONLY
        assert not heavy, f"{path.relative_to(ROOT)} imports {sorted(heavy)}"


def test_launch_folder_is_no_package():
    assert not (ROOT / "launch" / "__init__.py").exists(), "it would shadow ROS's own launch"


@pytest.mark.parametrize("package", sorted(BELOW))
def test_manifests_name_a_valid_maintainer(package):
    # colcon treats a package with an invalid address as plain Python without a word, and ros2 cannot find it.
    text = (SOURCE / package / "package.xml").read_text()
    assert "<license>Apache-2.0</license>" in text
    assert '<maintainer email="maintainers@example.com">' in text
