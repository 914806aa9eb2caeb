from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("launch_pytest", reason="world_model.launch.py: ROS's launch_pytest is not installed")

import launch_pytest
from std_msgs.msg import Float32MultiArray

from bag_player.sent_log import SentLog
from wm_testing.launching import described, exit_codes
from wm_testing.system import listening, make_bag, play

pytestmark = pytest.mark.slow


@launch_pytest.fixture(params=["true", "false"], ids=["composed", "separate"])
def description(request: pytest.FixtureRequest, artifact: Path):
    """The graph in both forms."""
    return described("world_model", model_path=artifact, composed=request.param, use_sim_time="true")


@pytest.mark.launch(fixture=description)
def test_world_model_launch(description, launch_context, tmp_path: Path):
    """Frames go in, latents and forecasts come out, Ctrl-C ends it with 0."""
    with listening({"/latent": Float32MultiArray, "/latent_next": Float32MultiArray}) as (_, heard):
        bag, log = make_bag(tmp_path / "bag", 40), SentLog()
        # The predictor may be up later than the encoder: what it missed comes again.
        while min(heard["/latent"], heard["/latent_next"]) < 30 and log.counts["/camera/image_raw"] < 400:
            play(bag, log, camera_count=2)
    yield
    assert min(heard["/latent"], heard["/latent_next"]) >= 30
    codes = exit_codes(description)
    assert len(codes) in (1, 4)
    assert set(codes.values()) == {0}
