"""The reference is true: pages that are written from the code, and the tables of topics and services."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rclpy.action.graph import get_action_server_names_and_types_by_node

from scripts.lint import reference
from wm_bringup.composed import make_nodes
from wm_core.sources import OWN_TOPICS
from wm_core.sources.actions import ACTION_TYPES
from wm_core.sources.poses import POSE_TYPES
from wm_ros.camera import IMAGE_TYPES
from wm_testing.nodes import ros_context

__all__ = ["ros_context"]

pytestmark = pytest.mark.training

ROOT = Path(__file__).parents[1]
INTERFACES = (ROOT / "docs" / "reference" / "interfaces.md").read_text()
ROS_OWN = re.compile(
    r"/parameter_events|/rosout|/clock|.*/(get|set|list|describe)_\w*parameter\w*|.*/get_type_description"
    r"|.*/(change_state|get_state|get_available_\w+|get_transition_graph)"
)


def type_name(kind: type) -> str:
    """Returns a message or service type as the page writes it, ``std_msgs/Float32``."""
    return f"{kind.__module__.split('.')[0]}/{kind.__name__}"


def rows_of(name: str) -> list[str]:
    return [line for line in INTERFACES.splitlines() if line.startswith("|") and f"`{name}`" in line.split("|")[1]]


def table_names(title: str) -> set[str]:
    """Returns the names in the first column of a section's table."""
    section = INTERFACES.split(f"\n## {title}\n")[1].split("\n## ")[0]
    firsts = [line.split("|")[1] for line in section.splitlines() if line.startswith("|")]
    return {name for first in firsts for name in re.findall(r"`(/[\w/]+)`", first)}


@pytest.fixture
def graph(ros_context):
    nodes = make_nodes()
    yield nodes
    for node in nodes:
        node.destroy_node()


@pytest.mark.parametrize("page", reference.PAGES)
def test_written_pages_are_what_the_code_says(page: str):
    assert (ROOT / page).read_text() == reference.PAGES[page](), "python -m scripts.lint.reference writes it again"


def test_every_topic_and_service_of_the_nodes_is_in_the_tables_with_its_type(graph):
    published = {p.topic_name: p.msg_type for node in graph for p in node.publishers}
    heard = {s.topic_name: s.msg_type for node in graph for s in node.subscriptions}
    served = {node.resolve_service_name(s.srv_name): s.srv_type for node in graph for s in node.services}

    for name, kind in {**published, **heard, **served}.items():
        if not ROS_OWN.fullmatch(name):
            assert any(kind.__name__ in row for row in rows_of(name)), f"{name} ({type_name(kind)}) has no row"


def actions(graph):
    """Returns the actions that nodes serve."""
    found = (get_action_server_names_and_types_by_node(node, node.get_name(), node.get_namespace()) for node in graph)
    return {name for each in found for name, _ in each}


def test_no_topic_or_service_is_promised_that_no_node_has(graph):
    published = {p.topic_name for node in graph for p in node.publishers}
    served = {node.resolve_service_name(s.srv_name) for node in graph for s in node.services}

    assert table_names("Out") <= published
    assert table_names("Services") <= served | actions(graph)


def test_a_wrong_table_would_show():
    assert rows_of("/latent/state")
    assert not rows_of("/latent/stat")
    assert {"/latent", "/diagnostics"} <= table_names("Out")


def rows_of_section(title: str) -> list[list[str]]:
    """Returns the cells of each row of a section's tables, from the names on."""
    section = INTERFACES.split(f"\n## {title}\n")[1].split("\n## ")[0]
    return [line.split("|")[1:] for line in section.splitlines() if line.startswith("| `")]


def test_whoever_lacks_an_input_is_not_told_to_take_what_the_graph_says_itself():
    types = {kind.replace("/msg/", "/") for kind in (*POSE_TYPES, *ACTION_TYPES, *IMAGE_TYPES)}
    taken = re.compile("|".join(rf"\b{kind}\b" for kind in types) + "|as `output` says")
    rows = [row for title in ("Out", "Planner") for row in rows_of_section(title)]
    said = {name for names, kind, *_ in rows for name in re.findall(r"`(/[\w/]+)`", names) if taken.search(kind)}
    # Taken by the frame, not as a picture or an action of their own.
    beside = next(set(re.findall(r"`(/[\w/]+)`", row[0])) for row in rows_of_section("In") if "depth" in row[0])
    assert said - {"/actions"} | beside == set(OWN_TOPICS)


PLACE = re.compile(r"`((?:src|config|docs|test|launch|benchmarks|scripts)/[\w./-]+)`(?:: `([^`]+)`)?")
WHERE_THINGS_GO = ROOT / "docs" / "internals" / "where_things_go.md"


def missing_places(text: str) -> list[str]:
    """Returns what a page names in the repository that is not there: files, and names that should stand in them."""
    missing = []
    for path, name in PLACE.findall(text):
        if not (ROOT / path).exists():
            missing.append(path)
        elif name and (ROOT / path).is_file() and name not in (ROOT / path).read_text():
            missing.append(f"{name} in {path}")
    return missing


def test_where_things_go_is_where_they_are():
    assert missing_places(WHERE_THINGS_GO.read_text()) == []


def test_a_place_that_is_not_there_is_named():
    assert missing_places("`src/nowhere.py` and `test/test_layers.py`: `no_such_name`") == [
        "src/nowhere.py",
        "no_such_name in test/test_layers.py",
    ]
