"""A node whose configuration fails ends with what was wrong, however little of it had begun."""

from __future__ import annotations

from importlib import import_module

import pytest
from rclpy.parameter import Parameter

from wm_testing.nodes import ros_context

__all__ = ["ros_context"]

NODES = {
    "latent_publisher": "LatentPublisher",
    "transition_predictor": "TransitionPredictor",
    "spatial_memory": "SpatialMemory",
    "world_action": "WorldAction",
    "latent_planner": "LatentPlanner",
    "policy_runner": "PolicyRunner",
}


class RefusedError(RuntimeError):
    """Of a name that ROS does not take, say."""


@pytest.mark.slow
@pytest.mark.parametrize("package", NODES)
def test_what_was_wrong_is_told_and_not_what_was_not_begun(ros_context, monkeypatch, tmp_path, package):
    kind = getattr(import_module(f"{package}.node"), NODES[package])
    given = {"model_path": "artifact://tiny", "db_path": str(tmp_path / "memory.sqlite3")}
    known = import_module(f"{package}.params")
    params = getattr(known, f"{NODES[package]}Params")
    overrides = [Parameter(name, value=value) for name, value in given.items() if name in params.__dataclass_fields__]
    usual = kind.create_publisher

    def refuse(node, msg_type, topic, *args, **kwargs):
        if topic in ("/diagnostics", "~/heartbeat") or topic.startswith("~/transition") or node._created is None:
            return usual(node, msg_type, topic, *args, **kwargs)
        raise RefusedError(topic)

    monkeypatch.setattr(kind, "create_publisher", refuse)
    with pytest.raises(RefusedError):
        kind(parameter_overrides=overrides)
