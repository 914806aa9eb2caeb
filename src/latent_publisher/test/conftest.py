"""A latent publisher with an encoder that needs no weights, and a robot that talks to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from rclpy.parameter import Parameter

from latent_publisher.node import LatentPublisher
from wm_testing.inputs import Robot
from wm_testing.nodes import ros_context  # noqa: F401


class Grey:
    """Stands for an encoder: the latent is the mean colour [3]."""

    encoder_id, z_dim, action_dim, step_s, wants_depth, proprioception_dim = "grey", 3, 2, 0.05, False, 0
    takes_any_actions = False
    fixed = None
    horizons_s, top_k, motion = (0.05, 1.0), 7, None

    def encode(self, image_HW3: np.ndarray, depth_HW: Any = None, proprioception_P: Any = None) -> np.ndarray:
        """Return the mean colour [3]."""
        return np.asarray(image_HW3.mean((0, 1)), np.float32)


@pytest.fixture
def make_robot(ros_context):  # noqa: F811
    """Makes robots, each with a node of the parameters given; they end with the test."""
    robots: list[Robot] = []

    def make(has_camera: bool = True, **given: Any) -> Robot:
        given = {"pose_wait_s": 1.0, **given}
        overrides = [Parameter(name, value=value) for name, value in given.items()]
        robots.append(Robot(LatentPublisher(Grey(), parameter_overrides=overrides), has_camera))
        return robots[-1]

    yield make
    for robot in robots:
        robot.close()
