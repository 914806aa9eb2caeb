"""The demo's ear: subscribes what the graph says and fills ``Measurements``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from math import isfinite
from threading import Thread
from time import monotonic, monotonic_ns, sleep
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import Float32MultiArray

from wm_core.se3 import yaw_of
from wm_demo.measurements import Measurements, ScoredForecast, Spot, StampFinder
from wm_interfaces.msg import LatentPrediction, LatentState, PredictionError
from wm_ros import qos, stamp_ns
from wm_ros.health import name_within
from wm_ros.one_stream import OneStream

OUTPUTS = ("latent", "latent/state", "latent_next", "latent_next/state", "prediction_error", "visual_history")
"""What the graph publishes once it is up."""

MEMORY_SERVICE = "spatial_memory/query"


class Monitor(Node):
    """Listens to the graph's outputs and times them on the steady clock.

    Args:
        measurements: What to fill.
        **node_options: Passed to ``rclpy.node.Node``.
    """

    def __init__(self, measurements: Measurements, **node_options: Any) -> None:
        super().__init__("demo_monitor", **node_options)
        self._out = measurements
        self._latents, self._forecasts = StampFinder(), StampFinder()
        states: OneStream | None = None
        listen: list[tuple[type, str, Callable[[Any], None]]] = [
            (LatentState, "latent/state", self._on_state),
            (Float32MultiArray, "latent", self._on_latent),
            (Float32MultiArray, "latent_next", self._on_next),
            (LatentPrediction, "latent_next/state", self._on_prediction),
            (PredictionError, "prediction_error", self._on_error),
            (Float32MultiArray, "visual_history", self._on_history),
        ]
        for kind, topic, callback in listen:
            stream = OneStream(self, topic, beside=states)
            states = states or stream
            self.create_subscription(kind, topic, stream.of(callback), qos.STREAM)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 50)

    def missing(self) -> list[str]:
        """Returns the outputs that nobody offers yet."""
        missing = [topic for topic in OUTPUTS if self.count_publishers(topic) == 0]
        services = {name for name, _ in self.get_service_names_and_types()}
        missing += [] if self.resolve_service_name(MEMORY_SERVICE) in services else [MEMORY_SERVICE]
        return [self.resolve_topic_name(name) for name in missing]

    def _on_latent(self, msg: Float32MultiArray) -> None:
        now = monotonic_ns()
        with self._out.lock:
            self._out.rates["/latent"].tick(now)
            self._note("/latent", self._latents.plain(msg.data.tobytes(), now))

    def _on_state(self, msg: LatentState) -> None:
        now, stamp = monotonic_ns(), stamp_ns(msg.header.stamp)
        with self._out.lock:
            self._out.rates["/latent/state"].tick(now)
            self._out.ages.received("/latent/state", stamp, now)
            self._note("/latent", self._latents.stamped(msg.latent.tobytes(), stamp))
            if msg.has_pose:
                turn = msg.pose.orientation
                yaw = yaw_of((turn.x, turn.y, turn.z, turn.w))
                self._out.path.append(Spot(stamp, msg.pose.position.x, msg.pose.position.y, yaw))

    def _on_next(self, msg: Float32MultiArray) -> None:
        now = monotonic_ns()
        with self._out.lock:
            self._out.rates["/latent_next"].tick(now)
            self._note("/latent_next", self._forecasts.plain(msg.data.tobytes(), now))

    def _on_prediction(self, msg: LatentPrediction) -> None:
        now, stamp = monotonic_ns(), stamp_ns(msg.header.stamp)
        with self._out.lock:
            self._out.rates["/latent_next/state"].tick(now)
            self._out.degraded_predictions += msg.degraded
            if isfinite(msg.memory_query_ms):
                self._out.query_ms.append(msg.memory_query_ms)
            if msg.forecasts:
                self._note("/latent_next", self._forecasts.stamped(msg.forecasts[0].latent.tobytes(), stamp))

    def _on_error(self, msg: PredictionError) -> None:
        scored = ScoredForecast(
            stamp_ns(msg.header.stamp),
            monotonic_ns(),
            float(msg.horizon_s),
            msg.revisit,
            float(msg.error),
            float(msg.error_without_memory),
            float(msg.error_persistence),
            bool(msg.degraded),
            float(msg.error_running_mean),
        )
        with self._out.lock:
            self._out.rates["/prediction_error"].tick(scored.steady_ns)
            self._out.errors.append(scored)

    def _on_history(self, msg: Float32MultiArray) -> None:
        with self._out.lock:
            self._out.rates["/visual_history"].tick(monotonic_ns())

    def _on_diagnostics(self, msg: DiagnosticArray) -> None:
        with self._out.lock:
            for status in msg.status:
                if (name := name_within(self, status.name)) is not None:
                    self._out.diagnostics[name] = {item.key: item.value for item in status.values}
                    self._out.diagnostics_ns[name] = monotonic_ns()

    def _note(self, topic: str, pair: tuple[int, int] | None) -> None:
        if pair is not None:
            self._out.ages.received(topic, *pair)


class MonitorThread:
    """Spins a monitor, and what else listens, on a thread of its own while the caller draws.

    Args:
        node: The monitor.
        others: What else listens.
    """

    def __init__(self, node: Monitor, *others: Node) -> None:
        self.node, self._others = node, others
        self._executor = SingleThreadedExecutor()
        for each in (node, *others):
            self._executor.add_node(each)
        self._thread = Thread(target=self._spin, daemon=True, name="demo_monitor")
        self._thread.start()

    def wait_for_graph(self, timeout_s: float, alive: Callable[[], str | None]) -> str | None:
        """Waits until every output is there.

        Args:
            timeout_s: How long [s].
            alive: Returns why waiting is pointless, or None.

        Returns:
            None when the graph is up, else why not.
        """
        deadline = monotonic() + timeout_s
        while missing := self.node.missing():
            if trouble := alive():
                return trouble
            if monotonic() > deadline:
                return f"after {timeout_s:.0f} s nobody offers {', '.join(missing)}"
            sleep(0.1)
        return None

    def stop(self) -> None:
        """Ends the thread and the node."""
        self._executor.shutdown()
        self._thread.join()
        for each in (self.node, *self._others):
            each.destroy_node()

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            self._executor.spin()
