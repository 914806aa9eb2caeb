"""The executable's start: nothing else is imported before signals are heard."""

from __future__ import annotations

from wm_ros_start import start


def main() -> None:
    """Run the node."""
    start("policy_runner.node")
