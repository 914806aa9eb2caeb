"""How Foxglove is to arrange a recording."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

ERRORS = ("ours", "without_memory", "nothing_changes")
"""Numbers of ``/error`` that are drawn."""
COUNTS = ("held", "used")
"""Numbers of ``/memory`` that are drawn."""


def foxglove_layout(topics: Sequence[str]) -> dict[str, Any]:
    """Return a layout to import: the world from above, pictures, errors over time.

    Args:
        topics: Of the recording.
    """
    world = {
        "followTf": "robot",
        "followMode": "follow-position",
        "cameraState": {"perspective": False, "distance": 20, "phi": 0, "thetaOffset": 90},
        "layers": {"grid": {"layerId": "foxglove.Grid", "visible": True, "size": 40, "divisions": 40}},
        "topics": {topic: {"visible": True} for topic in topics if topic.startswith("/scene/") or topic == "/field"},
    }
    pictures = [
        ("seen", "/camera"),
        ("seen, foreseen, foreseen next", "/imagination"),
    ]
    return {
        "configById": {
            "3D!world": world,
            **{f"Image!{topic[1:]}": _image(title, topic) for title, topic in pictures},
            "Plot!error": _plot("error of the forecast (1: guessing the mean)", [f"/error.{each}" for each in ERRORS]),
            "Plot!memory": _plot("memories held and used", [f"/memory.{each}" for each in COUNTS]),
        },
        "globalVariables": {},
        "userNodes": {},
        "playbackConfig": {"speed": 1},
        "layout": _split(
            "column",
            _split("row", "3D!world", _split("column", "Image!camera", "Image!imagination", 50), 65),
            _split("row", "Plot!error", "Plot!memory", 50),
            65,
        ),
    }


def _split(direction: str, first: Any, second: Any, percent: int) -> dict[str, Any]:
    return {"direction": direction, "first": first, "second": second, "splitPercentage": percent}


def _image(title: str, topic: str) -> dict[str, Any]:
    return {"foxglovePanelTitle": title, "imageMode": {"imageTopic": topic}}


def _plot(title: str, values: Sequence[str]) -> dict[str, Any]:
    paths = [{"value": value, "enabled": True, "timestampMethod": "receiveTime"} for value in values]
    return {"foxglovePanelTitle": title, "paths": paths, "showLegend": True, "legendDisplay": "floating"}
