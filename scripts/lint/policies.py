#!/usr/bin/env python3
"""The SROS 2 policy of every node, written from the topics and services that the nodes really have.

``source scripts/env && python -m scripts.lint.policies`` writes ``config/security/world_model.policy.xml``;
``test/test_security.py`` compares. ``--namespace robot1`` prints the policy of a robot in that namespace.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

import rclpy
from geometry_msgs.msg import PoseWithCovarianceStamped
from latent_planner.node import LatentPlanner
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image

from policy_runner.node import PolicyRunner
from spatial_memory.node import SpatialMemory
from transition_predictor.node import TransitionPredictor
from wm_api.node import WmApi
from wm_bringup.composed import make_nodes
from wm_ros.domain import own_domain_id
from wm_sim_ros.node import SimulatedRobot
from wm_view.node import FrameBroadcaster
from wm_view.recorder.node import ViewRecorder

PATH = Path(__file__).resolve().parents[2] / "config" / "security" / "world_model.policy.xml"
ALL = "/world_model"
"""The enclave of the process that holds all nodes of the graph; each node has one of its own name, too."""
APART = frozenset({"wm_sim", "wm_api", "frame_broadcaster", "view_recorder"})
"""Nodes that never run in that process."""
_WRITTEN = (
    "Written by python -m scripts.lint.policies, which a test repeats: an enclave for each node, and one for all."
)
_KINDS = {
    ("topics", "publish"): "get_publisher_names_and_types_by_node",
    ("topics", "subscribe"): "get_subscriber_names_and_types_by_node",
    ("services", "reply"): "get_service_names_and_types_by_node",
    ("services", "request"): "get_client_names_and_types_by_node",
}
_SETTLED_S = 1.0
Endpoints = dict[tuple[str, str], set[str]]


def endpoints_of(node: Node) -> Endpoints:
    """Return the names of what a node publishes, hears, answers and asks, as ROS itself tells them."""
    whose = node.get_name(), node.get_namespace()
    return {kind: {name for name, _ in getattr(node, method)(*whose)} for kind, method in _KINDS.items()}


def _settled(nodes: Sequence[Node]) -> dict[str, Endpoints]:
    """Return what the nodes have once that no longer changes."""
    executor = SingleThreadedExecutor()
    for node in nodes:
        executor.add_node(node)
    found: dict[str, Endpoints] = {}
    since_s = time.monotonic()
    while time.monotonic() - since_s < _SETTLED_S:
        executor.spin_once(timeout_sec=0.05)
        now = {node.get_name(): endpoints_of(node) for node in nodes}
        if now != found:
            found, since_s = now, time.monotonic()
    executor.shutdown()
    return found


def real_endpoints() -> dict[str, Endpoints]:
    """Return {node: what it has}, of the graph in one process, of nodes that have more alone, and of the simulator.

    Every node follows ``/clock``, which is the most that it asks for. ROS must be up, under ``use_sim_time``.
    """
    found: dict[str, Endpoints] = {}
    # Pictures are made, and the camera is listened to for them, only while somebody looks.
    viewer = Node("viewer")
    viewer.create_subscription(Image, "imagination/image", lambda _: None, 1)
    makers: list[Callable[[], list[Node]]] = [
        lambda: [*make_nodes(), SimulatedRobot()],
        lambda: [TransitionPredictor(), _memory(), _planner(), _runner()],
        lambda: [SimulatedRobot(), _service()],
        lambda: [_Frames(), _Recorder()],
    ]
    for make in makers:
        nodes = make()
        for name, endpoints in _settled(nodes).items():
            mine = found.setdefault(name, {kind: set() for kind in _KINDS})
            for kind, names in endpoints.items():
                mine[kind] |= names
        for node in nodes:
            node.destroy_node()
    viewer.destroy_node()
    return found


def _memory() -> Node:
    """Return a memory that keeps pictures."""
    return SpatialMemory(
        parameter_overrides=[Parameter("store_thumbnails", value=True), Parameter("db_path", value=":memory:")]
    )


def _planner() -> Node:
    """Return a planner that has all that it may be told to have."""
    return LatentPlanner(parameter_overrides=[Parameter("drive", value=True)])


def _runner() -> Node:
    """Return a policy runner that acts."""
    return PolicyRunner(parameter_overrides=[Parameter("shadow", value=False)])


def _service() -> Node:
    """Return an HTTP service that may have the robot drive, and whose camera somebody looks at."""
    given = {"allow_goals": True, "port": 0}
    node = WmApi(parameter_overrides=[Parameter(name, value=value) for name, value in given.items()])
    node._on_wanted("camera")
    node._on_watch()
    return node


class _Frames(FrameBroadcaster):
    """A broadcaster of frames that needs no message of tf's: names alone count."""

    def prepare(self) -> None:
        """Take any message in its place."""
        self._message = PoseWithCovarianceStamped

    def _tell_fixed(self) -> None:
        """Publish nothing."""


class _Recorder(ViewRecorder):
    """A recorder for viewers that writes nothing."""

    def prepare(self) -> None:
        """Open no file."""

    def release(self) -> None:
        """Close none."""


def measured(namespace: str = "") -> dict[str, Endpoints]:
    """Return ``real_endpoints`` of a graph that is started for it, in a domain of its own."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["ROS_HOME"] = home
        where = ["-r", f"__ns:=/{namespace.strip('/')}"] if namespace.strip("/") else []
        rclpy.init(args=["--ros-args", "-p", "use_sim_time:=true", *where], domain_id=own_domain_id())
        try:
            return real_endpoints()
        finally:
            rclpy.try_shutdown()


def policy_xml(found: Mapping[str, Endpoints], namespace: str = "") -> str:
    """Return the policy that allows each node exactly what it has."""
    where = f"/{namespace.strip('/')}" if namespace.strip("/") else ""
    profiles = {name: _profile(name, where or "/", endpoints) for name, endpoints in sorted(found.items())}
    enclaves = [(f"{where}/{name}", profile) for name, profile in profiles.items()]
    together = "".join(profile for name, profile in profiles.items() if name not in APART)
    enclaves.insert(0, (f"{where}{ALL}", together))
    body = "".join(
        f"    <enclave path={quoteattr(path)}>\n      <profiles>\n{profile}      </profiles>\n    </enclave>\n"
        for path, profile in enclaves
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<!-- {_WRITTEN} -->\n<policy version="0.2.0">\n'
        f"  <enclaves>\n{body}  </enclaves>\n</policy>\n"
    )


def _profile(name: str, namespace: str, endpoints: Endpoints) -> str:
    lines = [f"        <profile ns={quoteattr(namespace)} node={quoteattr(name)}>"]
    for (kind, right), names in endpoints.items():
        if names:
            lines.append(f'          <{kind} {right}="ALLOW">')
            lines += [f"            <{kind[:-1]}>{each}</{kind[:-1]}>" for each in sorted(names)]
            lines.append(f"          </{kind}>")
    return "\n".join([*lines, "        </profile>", ""])


def allowed(text: str) -> dict[str, dict[str, Endpoints]]:
    """Return {enclave: {node: what it may}} of a policy."""
    found: dict[str, dict[str, Endpoints]] = {}
    for enclave in ElementTree.fromstring(text).iter("enclave"):
        nodes = found.setdefault(enclave.attrib["path"], {})
        for profile in enclave.iter("profile"):
            rights: Endpoints = {kind: set() for kind in _KINDS}
            for kind, right in _KINDS:
                for part in profile.findall(kind):
                    if part.attrib.get(right) == "ALLOW":
                        rights[kind, right] |= {str(each.text) for each in part}
            nodes[profile.attrib["node"]] = rights
    return found


def main() -> int:
    """Write the policy, or print that of a namespace."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--namespace", default="", help="print the policy of a robot in this namespace")
    options = parser.parse_args()
    text = policy_xml(measured(options.namespace), options.namespace)
    if options.namespace:
        print(text, end="")
    else:
        PATH.parent.mkdir(parents=True, exist_ok=True)
        PATH.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
