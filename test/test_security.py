"""Security on paper is what the nodes do; one that is asked for and cannot be had stops the start."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.lint import policies
from wm_ros import ConfigurationError
from wm_ros.security import check_security

pytestmark = pytest.mark.training
ROOT = Path(__file__).parents[1]


LOOK = """
import json
from scripts.lint import policies
settled, unfiltered = policies._settled, {}
def looked(nodes):
    found = settled(nodes)
    for node in nodes:
        heard = [each for each in node.subscriptions if "OneStream" not in each.callback.__qualname__]
        unfiltered.setdefault(node.get_name(), set()).update(each.topic_name for each in heard)
    return found
policies._settled = looked
measured = policies.measured()
print("FOUND", json.dumps({node: {" ".join(kind): sorted(names) for kind, names in found.items()}
      for node, found in measured.items()}))
print("UNFILTERED", json.dumps({node: sorted(topics) for node, topics in unfiltered.items()}))
"""


@pytest.fixture(scope="module")
def looked() -> dict[str, dict]:
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, timeout=120, cwd=ROOT)
    lines = [line.split(" ", 1) for line in done.stdout.splitlines() if line.startswith(("FOUND ", "UNFILTERED "))]
    return {name: json.loads(text) for name, text in lines}


@pytest.fixture(scope="module")
def real(looked) -> dict[str, policies.Endpoints]:
    return {
        node: {tuple(kind.split()): set(names) for kind, names in found.items()}
        for node, found in looked["FOUND"].items()
    }


def test_no_node_mixes_what_several_publish_but_where_each_says_something_of_its_own(looked):
    # Time and transforms are everybody's; of projections each is asked for by the encoder that a state names.
    shared = {"/clock", "/tf", "/tf_static", "/diagnostics", "/latent/projection"}
    mixed = {node: set(topics) - shared for node, topics in looked["UNFILTERED"].items()}
    assert looked["UNFILTERED"].keys() == looked["FOUND"].keys()
    assert not any(mixed.values()), mixed


def test_every_node_may_exactly_what_it_does(real):
    enclaves = policies.allowed(policies.PATH.read_text())
    assert enclaves.keys() == {policies.ALL, *(f"/{name}" for name in real)}
    for name, endpoints in real.items():
        assert enclaves[f"/{name}"] == {name: endpoints}
    assert enclaves[policies.ALL] == {name: each for name, each in real.items() if name not in policies.APART}


def test_the_nodes_are_all_there_and_their_topics_too(real):
    graph = {"latent_publisher", "spatial_memory", "transition_predictor", "world_action", "wm_sim"}
    assert real.keys() == graph | {"latent_planner", "policy_runner", "wm_api", "frame_broadcaster", "view_recorder"}
    for action in ("latent_planner/plan", "policy_runner/execute", "transition_predictor/imagine_stream"):
        assert {f"/{action}/_action/{part}" for part in ("send_goal", "cancel_goal", "get_result")} <= real[
            action.split("/", maxsplit=1)[0]
        ]["services", "reply"]
    assert "/latent_planner/plan/_action/send_goal" in real["wm_api"]["services", "request"]
    assert any("camera" in name for name in real["wm_api"]["topics", "subscribe"])
    assert "/latent" in real["latent_publisher"]["topics", "publish"]
    assert "/spatial_memory/undo" in real["spatial_memory"]["services", "reply"]
    assert "/rosout" in real["wm_sim"]["topics", "publish"]
    assert any("/spatial_memory/" in name for name in real["transition_predictor"]["services", "request"])


def test_no_node_of_the_workspace_is_without_a_policy(real):
    """What plays or records a bag, and the demo, stand in for sensors and users: they run where nothing is enforced."""
    elsewhere = {"bag_player", "bag_recorder", "demo_monitor", "demo_film"}
    named = re.compile(r'super\(\).__init__\("([a-z_]+)"(?:,|\))')
    files = [each for each in (ROOT / "src").glob("*/*/**/*.py") if "wm_testing" not in each.parts]
    texts = [each.read_text() for each in files if "/test/" not in str(each)]
    nodes = {name for text in texts if "Node" in text for name in named.findall(text)}
    assert nodes - elsewhere == set(real)


def test_a_right_more_or_less_would_show(real):
    text = policies.PATH.read_text()
    assert policies.policy_xml(real) == text
    line = "            <topic>/latent/state</topic>\n"
    for wrong in (text.replace(line, "", 1), text.replace(line, line + "            <topic>/other</topic>\n", 1)):
        assert policies.allowed(wrong) != policies.allowed(text)


def test_a_namespace_has_a_policy_of_its_own():
    mine = {"a_node": {("topics", "publish"): {"/r1/latent"}, **{kind: set() for kind in list(policies._KINDS)[1:]}}}
    assert policies.allowed(policies.policy_xml(mine, "r1")).keys() == {"/r1/world_model", "/r1/a_node"}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"ROS_SECURITY_STRATEGY": "enforce", "ROS_SECURITY_ENABLE": "true"}, "only 'Enforce' enforces"),
        ({"ROS_SECURITY_STRATEGY": "Enforce"}, "ROS_SECURITY_ENABLE is ''"),
        ({"ROS_SECURITY_STRATEGY": "Enforce", "ROS_SECURITY_ENABLE": "1"}, "ROS_SECURITY_ENABLE is '1'"),
        ({"ROS_SECURITY_STRATEGY": "Enforce", "ROS_SECURITY_ENABLE": "true"}, "holds no keystore"),
    ],
)
def test_what_would_start_without_security_is_refused(given, text):
    with pytest.raises(ConfigurationError, match=text):
        check_security(given)


def test_what_asks_for_nothing_or_is_right_passes(tmp_path):
    (tmp_path / "enclaves").mkdir()
    check_security({})
    check_security({"ROS_SECURITY_STRATEGY": "Permissive", "ROS_SECURITY_ENABLE": "true"})
    right = {"ROS_SECURITY_STRATEGY": "Enforce", "ROS_SECURITY_ENABLE": "true", "ROS_SECURITY_KEYSTORE": str(tmp_path)}
    check_security(right)


@pytest.mark.slow
def test_a_graph_that_cannot_enforce_refuses_to_start(tmp_path):
    enclave = tmp_path / "enclaves" / "spatial_memory"
    enclave.mkdir(parents=True)
    for name in (
        "identity_ca.cert.pem",
        "cert.pem",
        "key.pem",
        "permissions_ca.cert.pem",
        "governance.p7s",
        "permissions.p7s",
    ):
        (enclave / name).write_text("")
    environment = {
        **os.environ, "ROS_SECURITY_STRATEGY": "Enforce", "ROS_SECURITY_ENABLE": "true",
        "ROS_SECURITY_KEYSTORE": str(tmp_path), "ROS_HOME": str(tmp_path),
    }  # fmt: skip
    command = [sys.executable, "-m", "spatial_memory.node", "--ros-args", "--enclave", "/spatial_memory"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "security is to be enforced, and cannot be" in done.stderr
