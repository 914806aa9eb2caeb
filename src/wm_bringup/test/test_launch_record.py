from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("launch_pytest", reason="record.launch.py: ROS's launch_pytest is not installed")
pytest.importorskip("ros2bag", reason="record.launch.py: ROS's rosbag2 is not installed")

import launch_pytest

from bag_player.sent_log import SentLog
from wm_core.bags import Bag
from wm_testing.launching import described, exit_codes
from wm_testing.system import make_bag, play

pytestmark = pytest.mark.slow


@launch_pytest.fixture()
def description(tmp_path: Path):
    """The recorder, to a new directory."""
    return described("record", out=tmp_path / "recorded", camera="/camera/image_raw")


@pytest.mark.launch(fixture=description)
def test_record_launch(description, launch_context, tmp_path: Path):
    """What is played is recorded: every pose and action, and the camera."""
    play(make_bag(tmp_path / "bag", 40), SentLog())
    yield
    assert set(exit_codes(description).values()) == {0}
    counts = Bag(tmp_path / "recorded").counts
    assert counts["/pose"] == counts["/actions"] == 40
    assert counts["/camera/image_raw"] >= 36
