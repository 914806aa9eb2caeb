from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from wm_bringup.configuration import NODES, OPTIONAL_NODES, config_directory, option_values, ros_arguments
from wm_ros import ConfigurationError
from wm_sim_ros.params import WmSimParams


def files_of(arguments: list[str]) -> list[Path]:
    """Returns the parameter files on a command line."""
    return [Path(arguments[i + 1]) for i, word in enumerate(arguments) if word == "--params-file"]


def test_shipped_files_come_first_and_sim_time_is_for_all(tmp_path: Path):
    arguments = ros_arguments(tmp_path, use_sim_time=True)

    assert [path.stem for path in files_of(arguments)] == list(NODES)
    assert arguments[0] == "--ros-args"
    assert arguments[-3:] == ["-p", "use_sim_time:=true", "--"]


def test_the_environment_comes_after_shipped_files_and_before_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TOPK", "5")
    monkeypatch.setenv("QDRANT_PORT", "7000")
    monkeypatch.setenv("WM_CHECKPOINT_PATH", "artifact://other")
    mine = tmp_path / "mine.yaml"
    mine.write_text("{}")

    files = files_of(ros_arguments(tmp_path, files=[mine], options={"device": "cpu"}))

    assert files[-2] == mine
    said = yaml.safe_load(files[-3].read_text())
    assert said["/**/transition_predictor"]["ros__parameters"]["top_k"] == 5
    assert said["/**/spatial_memory"]["ros__parameters"]["qdrant_port"] == 7000
    assert said["/**/world_action"]["ros__parameters"]["model_path"] == "artifact://other"


def test_an_environment_variable_of_the_wrong_type_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TOPK", "many")

    with pytest.raises(ConfigurationError, match="TOPK='many'"):
        ros_arguments(tmp_path)


def test_options_go_to_the_nodes_that_have_them(tmp_path: Path):
    given = yaml.safe_load(
        files_of(ros_arguments(tmp_path, options={"model_path": "/a b", "device": ""}))[-1].read_text()
    )

    assert given["/**/latent_publisher"] == {"ros__parameters": {"model_path": "/a b"}}
    assert given["/**/spatial_memory"] == {"ros__parameters": {"model_path": "/a b"}}
    assert option_values("spatial_memory", {"device": "x"}) == {}


def test_all_nodes_start_with_one_artifact():
    named = {}
    for node in (*NODES, *OPTIONAL_NODES):
        (entries,) = yaml.safe_load((config_directory() / f"{node}.yaml").read_text()).values()
        named[node] = entries["ros__parameters"].get("model_path")
    # It reads no artifact.
    assert named.pop("policy_runner") is None
    assert set(named.values()) == {"artifact://generic"}, named


def test_what_suits_the_source_comes_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WM_CHECKPOINT_PATH", "artifact://other")

    files = files_of(ros_arguments(tmp_path, defaults={"model_path": "artifact://tiny"}))

    suited, environment = (yaml.safe_load(path.read_text()) for path in files[-2:])
    for node in NODES:
        assert suited[f"/**/{node}"]["ros__parameters"] == {"model_path": "artifact://tiny"}
        assert environment[f"/**/{node}"]["ros__parameters"]["model_path"] == "artifact://other"


def test_every_node_has_a_shipped_file_that_names_it():
    for node in [*NODES, *OPTIONAL_NODES, "wm_sim"]:
        assert list(yaml.safe_load((config_directory() / f"{node}.yaml").read_text())) == [f"/**/{node}"]


@pytest.mark.parametrize(("node", "params"), [*{**NODES, **OPTIONAL_NODES, "wm_sim": WmSimParams}.items()])
def test_every_value_of_a_shipped_file_is_one_that_its_node_takes(node: str, params: type):
    (entries,) = yaml.safe_load((config_directory() / f"{node}.yaml").read_text()).values()
    fields = {field.name: field for field in dataclasses.fields(params)}

    for name, value in entries["ros__parameters"].items():
        of = fields[name].metadata
        assert of["low"] is None or value >= of["low"], f"{name} = {value} is below {of['low']}"
        assert of["high"] is None or value <= of["high"], f"{name} = {value} is above {of['high']}"
        assert not of["choices"] or value in of["choices"], f"{name} = {value} is none of {of['choices']}"


def test_the_profile_holds_large_images():
    text = (config_directory() / "fastdds_profiles.xml").read_text()

    assert "<segment_size>33554432</segment_size>" in text
