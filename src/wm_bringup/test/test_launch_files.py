"""Every launch file, run against stand-ins for launch: what would start, in which namespace, with which topics."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ament_index_python import packages

from wm_bringup.configuration import NODES
from wm_bringup.viewing import displays
from wm_ros import ConfigurationError
from wm_testing.launch_stubs import LogInfo, Node, stand_ins, started

FOLDER = Path(__file__).parents[3] / "launch"
FILES = sorted(FOLDER.glob("*.launch.py"))
NEEDED = {"replay.launch.py": {"bag": str(FOLDER)}}
GRAPH_FILES = [path for path in FILES if path.name not in ("record.launch.py", "monitor.launch.py")]


@pytest.fixture(autouse=True)
def rosbag2(monkeypatch: pytest.MonkeyPatch) -> None:
    """rosbag2 is installed, whether or not it is."""
    real = packages.get_package_prefix
    monkeypatch.setattr(packages, "get_package_prefix", lambda name: "/opt" if name == "ros2bag" else real(name))


def actions_of(path: Path, **arguments: str) -> list:
    """Returns what a launch file starts."""
    with stand_ins():
        return started(path, NEEDED.get(path.name, {}) | arguments)


def nodes_of(path: Path, **arguments: str) -> list[Node]:
    """Returns the nodes that a launch file starts."""
    return [action for action in actions_of(path, **arguments) if type(action).__name__ == "Node"]


def ids(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_it_starts_something_with_its_defaults(path: Path):
    assert actions_of(path)


@pytest.mark.parametrize("composed", ["true", "false"])
@pytest.mark.parametrize("path", GRAPH_FILES, ids=ids)
def test_all_nodes_stand_in_the_namespace_and_hear_the_robots_topics(path: Path, composed: str):
    nodes = nodes_of(path, namespace="/robot1/", composed=composed, camera="/front/image", pose="odom_pose")

    assert len(nodes) == (1 if composed == "true" else len(NODES)) + (path.name != "world_model.launch.py")
    for node in nodes:
        assert node.namespace == "robot1"
        assert node.remappings == [
            ("camera/image_raw", "/front/image"),
            ("camera/image_raw/compressed", "/front/image/compressed"),
            ("pose", "odom_pose"),
            ("pose/compressed", "odom_pose/compressed"),
        ]


@pytest.mark.parametrize("composed", ["true", "false"])
@pytest.mark.parametrize("path", GRAPH_FILES, ids=ids)
def test_the_planner_is_a_process_of_its_own_that_drives_only_where_it_is_told_to(path: Path, composed: str):
    def planners(**given: str) -> list[Node]:
        nodes = nodes_of(path, namespace="robot1", composed=composed, actions="cmd", **given)
        return [node for node in nodes if node.package == "latent_planner"]

    assert not planners()
    (shown,), (driving,) = planners(planner="true"), planners(planner="true", drive="true")
    assert (shown.executable, shown.name, shown.namespace) == ("latent_planner_node", "latent_planner", "robot1")
    assert ("actions", "cmd") in shown.remappings
    assert "drive" not in shown.parameters[-1]
    assert driving.parameters[-1]["drive"] is True
    with pytest.raises(ConfigurationError, match="needs planner:=true"):
        planners(drive="true")


@pytest.mark.parametrize("path", GRAPH_FILES, ids=ids)
def test_a_policy_is_a_process_of_its_own_that_acts_only_where_it_is_told_to(path: Path):
    def runners(**given: str) -> list[Node]:
        return [node for node in nodes_of(path, actions="cmd", **given) if node.package == "policy_runner"]

    assert not runners()
    (shown,), (acting,) = runners(policy="nearest_drive"), runners(policy="nearest_drive", drive="true")
    assert (shown.executable, shown.name) == ("policy_runner_node", "policy_runner")
    assert ("actions", "cmd") in shown.remappings
    assert shown.parameters[-1]["policy"] == "nearest_drive"
    assert "shadow" not in shown.parameters[-1]
    assert acting.parameters[-1]["shadow"] is False
    with pytest.raises(ConfigurationError, match="not both"):
        runners(policy="nearest_drive", planner="true", drive="true")


def test_the_simulated_robot_lets_the_planner_drive():
    def given_to_the_robot(**given: str) -> list:
        nodes = nodes_of(FOLDER / "simulate.launch.py", planner="true", **given)
        return next(node for node in nodes if node.package == "wm_sim_ros").parameters

    assert {"driven_by": "actions"} in given_to_the_robot(drive="true")
    assert {"driven_by": "actions"} not in given_to_the_robot()


@pytest.mark.parametrize("path", GRAPH_FILES, ids=ids)
def test_nothing_is_remapped_by_default(path: Path):
    assert all(node.remappings == [] and node.namespace == "" for node in nodes_of(path))


def test_recording_is_of_the_namespaces_topics():
    (recorder,) = actions_of(FOLDER / "record.launch.py", namespace="robot1", camera="/front/image", compressed="true")
    assert recorder.cmd[-6:] == [
        "/front/image/compressed", "/front/camera_info", "/robot1/pose", "/robot1/actions",
        "/robot1/camera/depth/image_raw", "/robot1/proprioception",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("world_model", {"params_file": "/nowhere.yaml"}, "no parameter file '/nowhere.yaml'"),
        ("world_model", {"params_file": "/nowhere.yaml", "composed": "false"}, "no parameter file '/nowhere.yaml'"),
        ("world_model", {"rviz": "maybe"}, "rviz:=maybe"),
        ("world_model", {"planner": "perhaps"}, "planner:=perhaps"),
        ("simulate", {"seed": "abc"}, "seed:=abc"),
        ("simulate", {"params_file": "/nowhere.yaml"}, "no parameter file '/nowhere.yaml'"),
        ("replay", {"slow_branch": "2"}, "slow_branch:=2"),
        ("replay", {"bag": "/nowhere"}, "no recording at '/nowhere'"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_starts(name: str, arguments: dict[str, str], said: str):
    with pytest.raises(ConfigurationError, match=said):
        actions_of(FOLDER / f"{name}.launch.py", **arguments)


def test_a_parameter_file_that_no_node_in_the_namespace_would_see_is_refused(tmp_path: Path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("latent_publisher:\n  ros__parameters: {publish_rate: 10.0}\n")
    assert actions_of(FOLDER / "world_model.launch.py", params_file=str(mine))
    with pytest.raises(ConfigurationError, match=r"write '/\*\*/latent_publisher'"):
        actions_of(FOLDER / "world_model.launch.py", params_file=str(mine), namespace="robot1")
    mine.write_text("/**/latent_publisher:\n  ros__parameters: {publish_rate: 10.0}\n")
    assert actions_of(FOLDER / "world_model.launch.py", params_file=str(mine), namespace="robot1")


@pytest.mark.parametrize(("name", "others"), [("world_model", 1), ("monitor", 0)])
def test_a_missing_rviz2_is_a_warning(name: str, others: int):
    if is_installed("rviz2"):
        pytest.skip("rviz2 is installed")
    actions = actions_of(FOLDER / f"{name}.launch.py", **({"rviz": "true"} if others else {}))
    said = [action.msg for action in actions if type(action).__name__ == LogInfo.__name__]
    assert len(actions) == others + 1
    assert "rviz2 is not installed" in said[0]


def is_installed(package: str) -> bool:
    try:
        packages.get_package_prefix(package)
    except packages.PackageNotFoundError:
        return False
    return True


@pytest.fixture
def rviz2(monkeypatch: pytest.MonkeyPatch) -> None:
    """rviz2 is installed, whether or not it is."""
    real = packages.get_package_prefix
    monkeypatch.setattr(packages, "get_package_prefix", lambda name: "/opt" if name == "rviz2" else real(name))


def shown(rviz: Node) -> dict:
    return yaml.safe_load(Path(rviz.arguments[rviz.arguments.index("-d") + 1]).read_text())


@pytest.mark.parametrize("path", [*GRAPH_FILES, FOLDER / "monitor.launch.py"], ids=ids)
def test_rviz_shows_the_shipped_configuration_and_its_frames_exist(path: Path, rviz2: None):
    nodes = nodes_of(path, **({} if path.name == "monitor.launch.py" else {"rviz": "true"}))
    (rviz,) = [node for node in nodes if node.package == "rviz2"]
    (frames,) = [node for node in nodes if node.package == "wm_view"]
    assert Path(rviz.arguments[1]).samefile(FOLDER.parent / "config" / "world_model.rviz")
    manager = shown(rviz)["Visualization Manager"]
    (given,) = frames.parameters
    assert manager["Global Options"]["Fixed Frame"] == given["fixed_frame"] == "map"
    assert manager["Views"]["Current"]["Target Frame"] == given["robot_frame"] == "wm_robot"


def test_rviz_hears_the_robots_own_topics_in_its_own_frames(rviz2: None):
    arguments = {"namespace": "/robot1/", "camera": "/front/image", "pose": "odom_pose", "fixed_frame": "odom"}
    nodes = nodes_of(FOLDER / "monitor.launch.py", compressed="true", **arguments)
    frames, rviz = nodes
    topics = {each.name: each.topic for each in displays(shown(rviz))}
    assert topics["Camera"] == "/front/image/compressed"
    assert topics["Memory"] == "/robot1/spatial_memory/markers"
    assert topics["Planned path"] == "/robot1/planned_path"
    assert {node.namespace for node in nodes} == {"robot1"}
    assert ("camera/image_raw", "/front/image") in rviz.remappings
    manager = shown(rviz)["Visualization Manager"]
    assert manager["Global Options"]["Fixed Frame"] == frames.parameters[0]["fixed_frame"] == "odom"
    assert manager["Views"]["Current"]["Target Frame"] == frames.parameters[0]["robot_frame"] == "robot1/wm_robot"


def test_a_robot_with_a_frame_of_its_own_is_followed_there(rviz2: None):
    (rviz,) = nodes_of(FOLDER / "monitor.launch.py", robot_frame="base_link")
    assert shown(rviz)["Visualization Manager"]["Views"]["Current"]["Target Frame"] == "base_link"


def test_a_configuration_of_ones_own_is_used_as_it_is(rviz2: None, tmp_path: Path):
    mine = tmp_path / "mine.rviz"
    with pytest.raises(ConfigurationError, match="no rviz configuration"):
        actions_of(FOLDER / "monitor.launch.py", rviz_config=str(mine))
    mine.write_text("Panels: []")
    _, rviz = nodes_of(FOLDER / "monitor.launch.py", rviz_config=str(mine), namespace="robot1")
    assert rviz.arguments == ["-d", str(mine)]


@pytest.mark.parametrize(("name", "memory"), [("world_model", ""), ("simulate", "simulated"), ("replay", "replay")])
def test_simulator_recordings_and_robot_have_memories_of_their_own(name: str, memory: str):
    graph = nodes_of(FOLDER / f"{name}.launch.py")[0]
    assert ("--memory" in graph.arguments) == bool(memory)
    assert not memory or graph.arguments[graph.arguments.index("--memory") + 1] == memory


def test_recording_without_rosbag2_is_refused(monkeypatch: pytest.MonkeyPatch):
    def missing(name: str) -> str:
        raise packages.PackageNotFoundError(name)

    monkeypatch.setattr(packages, "get_package_prefix", missing)
    with pytest.raises(ConfigurationError, match="package ros2bag is not installed"):
        actions_of(FOLDER / "record.launch.py")


@pytest.mark.parametrize("composed", ["true", "false"])
def test_what_ends_is_started_again_where_that_is_wanted(composed: str):
    path = FOLDER / "world_model.launch.py"
    ended = {node.package: node for node in nodes_of(path, composed=composed)}
    again = {node.package: node for node in nodes_of(path, composed=composed, respawn="true")}
    assert not any(node.respawn for node in ended.values())
    assert ended["wm_bringup" if composed == "true" else "latent_publisher"].on_exit
    assert all(node.respawn and node.respawn_delay < 1.0 and not node.on_exit for node in again.values())
