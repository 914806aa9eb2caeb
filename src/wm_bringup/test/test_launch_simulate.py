from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("launch_pytest", reason="simulate.launch.py: ROS's launch_pytest is not installed")

import launch_pytest
from geometry_msgs.msg import PoseStamped
from std_msgs.msg import Float32MultiArray

from wm_testing.launching import described, exit_codes
from wm_testing.system import listening, wait_until

pytestmark = pytest.mark.slow


@launch_pytest.fixture()
def description(artifact: Path):
    """The simulated robot in building 3."""
    return described("simulate", model_path=artifact, seed="3")


@pytest.mark.launch(fixture=description)
def test_simulate_launch(description, launch_context):
    """The robot drives, latents come out, Ctrl-C ends everything with 0."""
    with listening({"/latent_next": Float32MultiArray, "/pose": PoseStamped}) as (_, heard):
        wait_until(lambda: heard["/latent_next"] >= 20 and heard["/pose"] >= 20)
    yield
    codes = exit_codes(description)
    assert len(codes) == 2
    assert set(codes.values()) == {0}
