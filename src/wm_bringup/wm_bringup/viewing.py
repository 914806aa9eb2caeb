"""The configuration of rviz, as it is shipped and as one robot needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import yaml

ROBOT_FRAME = "wm_robot"
"""The frame that the view follows, where nothing else is said."""
_FILE = "world_model.rviz"
_MESSAGES = {
    "Image": "sensor_msgs/msg/Image",
    "Map": "nav_msgs/msg/OccupancyGrid",
    "MarkerArray": "visualization_msgs/msg/MarkerArray",
    "Path": "nav_msgs/msg/Path",
    "PoseWithCovariance": "geometry_msgs/msg/PoseWithCovarianceStamped",
}


@dataclass(frozen=True)
class Shown:
    """One display of a topic: its name, the topic, the type it takes, and the quality of service that it asks for."""

    name: str
    topic: str
    type: str
    depth: int
    reliable: bool
    latched: bool


def displays(configuration: dict[str, Any]) -> Iterator[Shown]:
    """Yields the displays of a configuration that take a topic.

    Raises:
        KeyError: A display of a kind that is not known here.
    """
    for display in configuration["Visualization Manager"]["Displays"]:
        topic = display.get("Topic")
        if topic is not None:
            yield Shown(
                display["Name"],
                topic["Value"],
                _MESSAGES[display["Class"].rpartition("/")[2]],
                topic["Depth"],
                topic["Reliability Policy"] == "Reliable",
                topic["Durability Policy"] == "Transient Local",
            )


def adapted(
    configuration: dict[str, Any], fixed_frame: str, robot_frame: str, topic: Callable[[str], str]
) -> dict[str, Any]:
    """Returns a configuration for one robot.

    Args:
        configuration: As shipped.
        fixed_frame: What everything is shown in.
        robot_frame: What the view follows.
        topic: Returns the robot's own name of a topic of the graph.
    """
    made = deepcopy(configuration)
    manager = made["Visualization Manager"]
    manager["Global Options"]["Fixed Frame"] = fixed_frame
    manager["Views"]["Current"]["Target Frame"] = robot_frame
    for display in manager["Displays"]:
        if "Topic" in display:
            display["Topic"]["Value"] = topic(display["Topic"]["Value"])
    return made


def written(directory: Path, fixed_frame: str, robot_frame: str, topic: Callable[[str], str]) -> Path:
    """Returns the file that rviz is to open: the shipped one where it fits, else one made for this robot.

    Args:
        directory: Where the shipped one lies.
        fixed_frame: As for ``adapted``.
        robot_frame: As for ``adapted``.
        topic: As for ``adapted``.
    """
    shipped = directory / _FILE
    configuration = yaml.safe_load(shipped.read_text())
    made = adapted(configuration, fixed_frame, robot_frame, topic)
    if made == configuration:
        return shipped
    path = Path(mkdtemp(prefix="world_model_rviz_")) / _FILE
    path.write_text(yaml.safe_dump(made, sort_keys=False))
    return path
