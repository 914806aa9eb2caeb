"""The node ``view_recorder``: what the graph says, in one file that a viewer opens without ROS."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import OccupancyGrid, Path
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from visualization_msgs.msg import MarkerArray

from wm_core.bounds import checked_name
from wm_core.drawing import Color
from wm_core.errors import CoreError
from wm_interfaces.msg import LatentPrediction, PredictionError
from wm_ros import (
    CameraSubscription,
    ManagedNode,
    MessageError,
    believable_stamp_ns,
    picture_from_msg,
    qos,
    run_node,
)
from wm_ros.health import name_within
from wm_ros.one_stream import OneStream
from wm_view.recorder import messages
from wm_view.recorder.opening import open_recording
from wm_view.recorder.params import ViewRecorderParams
from wm_view.recorder.sink import Sink, Stamped

_ANY = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
_POSES: tuple[tuple[str, str, Color], ...] = (
    ("latent/pose", "robot", (1.0, 0.47, 0.0, 1.0)),
    ("latent_next/pose", "expected", (0.2, 0.85, 0.95, 1.0)),
)
_PATHS: tuple[tuple[str, str, QoSProfile, Color], ...] = (
    ("planned_path", "planned", _ANY, (0.24, 0.9, 0.24, 1.0)),
    ("imagination/path", "imagined", qos.LATCHED, (0.9, 0.43, 0.9, 1.0)),
    ("latent_planner/route", "route", qos.LATCHED, (0.94, 0.94, 0.94, 0.6)),
)
_MARKERS: tuple[tuple[str, str, QoSProfile], ...] = (
    ("spatial_memory/markers", "memory", qos.DRAWN),
    ("transition_predictor/markers", "used", qos.DRAWN),
    ("latent_planner/markers", "planner", qos.DRAWN),
)
_FAR_S = 0.9


class ViewRecorder(ManagedNode[ViewRecorderParams]):
    """Write what the graph says into a file for a viewer, with its layout.

    Subscribes the camera, ``/imagination/image``, ``/latent/pose``, ``/latent_next/pose``, ``/latent_next/state``,
    ``/prediction_error``, ``/planned_path``, ``/imagination/path``, ``/latent_planner/{route,markers,field}``,
    ``/spatial_memory/markers``, ``/transition_predictor/markers`` and ``/diagnostics``; publishes nothing. The file is
    whole once the node has ended.
    """

    def __init__(self, **node_options: Any) -> None:
        super().__init__("view_recorder", ViewRecorderParams, **node_options)
        self.start()

    def prepare(self) -> None:
        """Open the file."""
        params = self._params
        self._sink: Sink = open_recording(params.file())
        self.get_logger().info(f"recording into {params.path}")
        self._markers = {name: messages.Markers() for _, name, _ in _MARKERS}
        self._paces = {name: messages.Paced(params.picture_rate) for name in ("camera", "imagination")}
        self._newest_ns = 0
        self._frame_id = "map"

    def release(self) -> None:
        """Finish the file."""
        self._sink.close()

    def activate(self) -> None:
        """Open the inputs."""
        self._camera = CameraSubscription(
            self, "camera/image_raw", partial(self._on_picture, "camera"), health=self._health
        )
        self._hear(Image, "imagination/image", _ANY, partial(self._on_picture, "imagination"))
        for topic, name, color in _POSES:
            self._hear(PoseWithCovarianceStamped, topic, qos.STREAM, partial(self._on_pose, name, color))
        for topic, name, profile, color in _PATHS:
            self._hear(Path, topic, profile, partial(self._on_path, name, color))
        for topic, name, profile in _MARKERS:
            self._hear(MarkerArray, topic, profile, partial(self._on_markers, name))
        self._hear(OccupancyGrid, "latent_planner/field", qos.LATCHED, self._on_field)
        self._hear(PredictionError, "prediction_error", qos.STREAM, self._on_error)
        self._hear(LatentPrediction, "latent_next/state", qos.STREAM, self._on_prediction)
        self._hear(DiagnosticArray, "/diagnostics", QoSProfile(depth=20), self._on_diagnostics)

    def _hear(self, kind: type, topic: str, profile: QoSProfile, take: Callable[[Any], None]) -> None:
        def heard(msg: Any) -> None:
            try:
                take(msg)
            except MessageError as error:
                self._health.drop(error.reason, error.detail)

        is_shared = kind is DiagnosticArray
        of_one = heard if is_shared else OneStream(self, topic, self._health).of(heard)
        self.create_subscription(kind, topic, of_one, profile)

    def _at(self, msg: Any) -> Stamped:
        """Return when and where something was; what has no stamp is of now."""
        self._newest_ns = _stamp_of(msg) or self._newest_ns
        return Stamped(self._newest_ns, checked_name(msg.header.frame_id, "frame_id") or self._frame_id)

    def _on_picture(self, name: str, msg: Image | CompressedImage) -> None:
        params = self._params
        try:
            ns = _stamp_of(msg)
            if not self._paces[name].lets(ns):
                return
            jpeg = messages.jpeg_of(picture_from_msg(msg), params.picture_width, params.picture_quality)
        except MessageError as error:
            self._health.drop(error.reason, error.detail)
            return
        except CoreError as error:
            self._health.drop("picture", str(error))
            return
        self._sink.picture(name, ns, jpeg)
        self._health.count(f"pictures_{name}")

    def _on_pose(self, name: str, color: Color, msg: PoseWithCovarianceStamped) -> None:
        placed, at = messages.placed_from_msg(msg), self._at(msg)
        self._frame_id = at.frame_id
        self._sink.pose(name, at, placed, color)
        self._health.count("poses")

    def _on_path(self, name: str, color: Color, msg: Path) -> None:
        self._sink.path(name, self._at(msg), messages.path_from_msg(msg), color)

    def _on_markers(self, name: str, msg: MarkerArray) -> None:
        changed, gone, frame_id = self._markers[name].taken(msg)
        if changed or gone:
            self._sink.shapes(name, Stamped(self._newest_ns, frame_id or self._frame_id), changed, gone)
        self._health.count("drawings")

    def _on_field(self, msg: OccupancyGrid) -> None:
        self._sink.costs("field", self._at(msg), messages.costs_from_msg(msg))

    def _on_error(self, msg: PredictionError) -> None:
        if msg.horizon_s < _FAR_S:
            return
        values = {
            "ours": float(msg.error),
            "without_memory": float(msg.error_without_memory),
            "nothing_changes": float(msg.error_persistence),
        }
        self._sink.numbers("error", _stamp_of(msg), values)
        self._health.count("errors")

    def _on_prediction(self, msg: LatentPrediction) -> None:
        self._newest_ns = _stamp_of(msg)
        if msg.forecasts:
            far = msg.forecasts[-1]
            values = {"used": float(len(far.memory_ids)), "gate": float(far.gate)}
            self._sink.numbers("memory", self._newest_ns, values)

    def _on_diagnostics(self, msg: DiagnosticArray) -> None:
        for status in msg.status:
            if name_within(self, status.name) is None:
                continue
            held = next((item.value for item in status.values if item.key == "memory_count"), None)
            if held is not None and self._newest_ns:
                self._sink.numbers("memory", self._newest_ns, {"held": float(held)})


def _stamp_of(msg: Any) -> int:
    """Return the stamp of a message [ns].

    Raises:
        MessageError: ``impossible-stamp``: no file of a viewer has such a time.
    """
    ns = believable_stamp_ns(msg.header.stamp)
    if ns < 0:
        raise MessageError("impossible-stamp", f"stamp of {msg.header.stamp.sec} s, expected 0 or more")
    return ns


def main() -> None:
    """Run the node until it is told to stop; exit code 2 when it cannot be configured."""
    raise SystemExit(run_node(ViewRecorder, describe=(ViewRecorder, ViewRecorderParams)))
