"""What Prometheus reads at ``/metrics``; every name begins with ``wm_``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import perf_counter

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from wm_api.live import Live
from wm_api.security import App, Message, Receive, Scope, Send

_BUCKETS_S = (0.002, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_ERROR_KINDS = ("error", "without_memory", "persistence")


class Metrics:
    """Counters and gauges of one service, in a registry of their own.

    Args:
        live: What its source says.
    """

    def __init__(self, live: Live) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        own = self.registry
        self.requests = Counter("wm_http_requests", "Requests answered.", ["method", "route", "status"], registry=own)
        self.seconds = Histogram(
            "wm_http_request_seconds", "Time to the end of an answer; streams are left out.", ["route"],
            buckets=_BUCKETS_S, registry=own,
        )  # fmt: skip
        self.skipped = Counter("wm_stream_frames_skipped", "Frames that slow watchers did not get.", registry=own)
        self.lost_events = Counter(
            "wm_stream_events_lost", "Events that left the ring before a watcher came.", registry=own
        )
        self.count("wm_latents", "Latents that came from the source.", lambda: live.frame_count)
        own.register(_Errors(live))
        ProcessCollector(namespace="wm", registry=own)

    def watch(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Add a gauge that is read when somebody asks."""
        Gauge(name, text, registry=self.registry).set_function(read)

    def count(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Add a counter that is read when somebody asks."""
        self.registry.register(_Count(name, text, read))

    def text(self) -> bytes:
        """Return all of it as Prometheus reads it."""
        return generate_latest(self.registry)


class _Count(Collector):
    def __init__(self, name: str, text: str, read: Callable[[], float]) -> None:
        self._name, self._text, self._read = name, text, read

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily(self._name, self._text, self._read())


class _Errors(Collector):
    """Those of the newest frame, whoever brings it: a graph, a recording or the simulator."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def collect(self) -> Iterator[Metric]:
        errors = GaugeMetricFamily(
            "wm_prediction_error", "Newest error of a forecast [NMSE].", labels=["horizon_s", "kind"]
        )
        for entry in (self._live.newest or {}).get("errors", ()):
            for kind in _ERROR_KINDS:
                if entry[kind] is not None:
                    errors.add_metric([f"{entry['horizon_s']:g}", kind], entry[kind])
        yield errors


class Counted:
    """Counts the requests that pass.

    Args:
        app: What answers them.
        metrics: Where they are counted.
    """

    def __init__(self, app: App, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count what became of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, is_stream, begin_s = 0, False, perf_counter()

        async def sending(message: Message) -> None:
            nonlocal status, is_stream
            if message["type"] == "http.response.start":
                status = message["status"]
                is_stream = any(value.startswith(b"text/event-stream") for _, value in message["headers"])
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            # The pattern of the path, never the path: who asks for a million paths must not make a million series.
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.requests.labels(_method(scope["method"]), route, str(status)).inc()
            if not is_stream:
                self._metrics.seconds.labels(route).observe(perf_counter() - begin_s)


def _method(method: str) -> str:
    return method if method in ("GET", "POST", "HEAD", "OPTIONS") else "other"
