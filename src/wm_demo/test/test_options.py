"""What the demo's options become on the nodes' command lines."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from wm_demo.demo import graph_commands
from wm_ros import ConfigurationError


def arguments(tmp_path: Path, camera_offset_s: str = "0", **given: object) -> list[str]:
    options = {
        "bag": [tmp_path], "model_path": "", "device": "", "params_file": [], "composed": True, "executor": "single",
        "camera_offset_s": camera_offset_s, "view": None, **given,
    }  # fmt: skip
    return graph_commands(argparse.Namespace(**options), tmp_path)["world_model"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("0", "latent_publisher:camera_offset_s:=0.0"),
        ("-3600", "latent_publisher:camera_offset_s:=-3600.0"),
        ("1699999868.25", "latent_publisher:camera_offset_s:=1699999868.25"),
        ("arrival", "latent_publisher:camera_offset_by_arrival:=true"),
    ],
)
def test_the_offset_of_the_cameras_clock_reaches_the_node_that_joins_poses(tmp_path, given, said):
    assert said in arguments(tmp_path, given)


def test_what_is_no_offset_is_refused_by_name(tmp_path):
    with pytest.raises(ConfigurationError, match="--camera-offset-s soon: expected seconds, or arrival"):
        arguments(tmp_path, "soon")


def usual(tmp_path: Path, name: str, **given: object) -> str:
    scratch = tmp_path / name
    scratch.mkdir()
    arguments(scratch, **given)
    path = scratch / "world_model" / "defaults.yaml"
    return path.read_text() if path.is_file() else ""


def test_a_recording_for_viewers_shows_remembered_pictures_unless_a_file_says_how_the_memory_is(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("spatial_memory:\n  ros__parameters:\n    backend: qdrant\n")
    assert "store_thumbnails: true" in usual(tmp_path, "viewed", view="rrd")
    assert "store_thumbnails" not in usual(tmp_path, "not_viewed")
    assert "store_thumbnails" not in usual(tmp_path, "with_a_file", view="rrd", params_file=[mine])
