from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("launch_pytest", reason="world_model.launch.py: ROS's launch_pytest is not installed")

import launch_pytest
from std_msgs.msg import Float32MultiArray

from wm_bringup.launch_tests import described, exit_codes
from wm_bringup.sent_log import SentLog
from wm_bringup.testing import listening, make_bag, play, wait_until


@launch_pytest.fixture(params=["true", "false"], ids=["composed", "separate"])
def description(request: pytest.FixtureRequest, artifact: Path):
    """The graph in both forms."""
    return described("world_model", model_path=artifact, composed=request.param, use_sim_time="true")


@pytest.mark.launch(fixture=description)
def test_world_model_launch(description, launch_context, tmp_path: Path):
    """Frames go in, latents and forecasts come out, Ctrl-C ends it with 0."""
    with listening({"/latent": Float32MultiArray, "/latent_next": Float32MultiArray}) as (_, heard):
        log = play(make_bag(tmp_path / "bag", 40), SentLog())
        wait_until(lambda: heard["/latent"] >= 30 and heard["/latent_next"] >= 30)
    yield
    assert log.counts["/camera/image_raw"] == 40
    codes = exit_codes(description)
    assert len(codes) in (1, 4)
    assert set(codes.values()) == {0}
