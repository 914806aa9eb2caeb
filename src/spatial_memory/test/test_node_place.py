"""A node is told where its memory lies, or says that none can lie there."""

from __future__ import annotations

from pathlib import Path

import pytest
from rclpy.parameter import Parameter

from spatial_memory.node import SpatialMemory
from wm_ros import ConfigurationError
from wm_testing.nodes import ros_context

__all__ = ["ros_context"]


@pytest.mark.parametrize("beside", [False, True])
def test_a_name_that_is_too_long_is_refused_by_name(ros_context: None, tmp_path: Path, beside: bool) -> None:
    given = [Parameter("db_path", value=str(tmp_path / ("m" * 300))), Parameter("model_path", value="artifact://tiny")]
    with pytest.raises(ConfigurationError, match="can never hold a memory: File name too long"):
        SpatialMemory(beside=beside, parameter_overrides=given)
