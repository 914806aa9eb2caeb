from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("launch_pytest", reason="replay.launch.py: ROS's launch_pytest is not installed")

import launch_pytest
from std_msgs.msg import Float32MultiArray

from wm_testing.launching import described, exit_codes
from wm_testing.system import listening, make_bag, wait_until

pytestmark = pytest.mark.slow


@launch_pytest.fixture()
def description(artifact: Path, tmp_path: Path):
    """A recording with a camera topic of another name."""
    bag = make_bag(tmp_path / "bag", 80, storage="mcap", jpeg=True, camera="/front/image")
    return described("replay", bag=bag, model_path=artifact, topics="/front/image:=/camera/image_raw")


@pytest.mark.launch(fixture=description)
def test_replay_launch(description, launch_context):
    """The recording goes through the graph, and its end ends the launch with 0."""
    with listening({"/latent": Float32MultiArray}) as (_, heard):
        wait_until(lambda: len(exit_codes(description)) == 2)
    assert heard["/latent"] >= 30
    yield
    assert set(exit_codes(description).values()) == {0}
