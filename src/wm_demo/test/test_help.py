"""``--help`` of every executable, and what an executable says when it cannot start."""

from __future__ import annotations

import subprocess

import pytest

from wm_demo.graph import executable

NODES = {
    "latent_planner": ("latent_planner_node", "drive"),
    "latent_publisher": ("latent_publisher_node", "publish_rate"),
    "transition_predictor": ("transition_predictor_node", "use_memory"),
    "spatial_memory": ("spatial_memory_node", "db_path"),
    "world_action": ("world_action_node", "tick_rate"),
    "wm_sim_ros": ("wm_sim_node", "seed"),
    "bag_player": ("bag_player_node", "--rate"),
    "wm_bringup": ("world_model", "--memory"),
    "wm_view": ("frame_broadcaster_node", "fixed_frame"),
}


def run(package: str, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*executable(package, name), *arguments], capture_output=True, text=True, timeout=120)


@pytest.mark.slow
@pytest.mark.parametrize("package", NODES)
def test_help_says_what_there_is(package: str):
    name, option = NODES[package]
    ended = run(package, name, "--help")
    assert ended.returncode == 0, ended.stderr
    assert option in ended.stdout


def test_a_recording_that_is_not_there_is_no_clean_end():
    ended = run("bag_player", "bag_player_node", "/nowhere")
    assert ended.returncode == 2
    assert ended.stderr.strip() == "bag_player: no recording at '/nowhere'"
