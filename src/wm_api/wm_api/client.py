"""The service from Python: typed, over one kept connection.

with Client("http://127.0.0.1:8080") as client:
latent = client.encode(Path("frame.jpg").read_bytes())["latent"]
for step in client.stream_rollout(latent=latent, actions=[[0.5, 0.1]] * 20):
print(step["step"], step["gate"])
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, NamedTuple, TypedDict, cast

import httpx

from wm_api.errors import ApiError

Floats = Sequence[float]
Images = Literal["none", "data", "url"]
_PNG, _JPEG = b"\x89PNG", b"\xff\xd8"


class Identity(TypedDict):
    """Whom an answer is from."""

    encoder_id: str
    artifact: str
    artifact_version: str
    ms: float


class Encoded(Identity):
    """A latent."""

    latent: list[float]


class Forecast(TypedDict):
    """What is expected some time ahead."""

    horizon_s: float
    latent: list[float]
    without_memory: list[float]
    gate: float
    pose: dict[str, float] | None
    pose_std: list[float] | None
    revisit: bool
    memory_ids: list[int]


class Predicted(Identity):
    """Forecasts by horizon."""

    forecasts: list[Forecast]
    memory_used: bool
    outside: list[str]


class Step(Forecast):
    """One step of a rollout."""

    step: int
    frame: str | None
    frame_source: Literal["decoded", "remembered"] | None


class Rollout(Identity):
    """A rollout."""

    step_s: float
    memory_used: bool
    steps: list[Step]


class Event(NamedTuple):
    """A server-sent event: its name, its id (empty: none) and its data."""

    name: str
    id: str
    data: Any


class Client:
    """Asks a service.

    Args:
        url: Of the service.
        token: What it wants to know beyond loopback, and for writing.
        timeout_s: Longest wait for an answer [s]; streams may be silent for longer than that.
        transport: What carries the requests, for tests.

    All methods raise ``ApiError`` with the status, the field at fault and what the service said, and
    ``httpx.HTTPError`` where it does not answer.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        token: str = "",
        timeout_s: float = 10.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(
            base_url=url, headers=headers, timeout=timeout_s, transport=transport, trust_env=False
        )

    def __enter__(self) -> Client:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def status(self) -> dict[str, Any]:
        """Return what is served."""
        return cast("dict[str, Any]", self._json(self._http.get("/status")))

    def encode(self, image: bytes) -> Encoded:
        """Return the latent of an image file: JPEG, PNG, WebP, BMP or TIFF."""
        kind = "image/png" if image.startswith(_PNG) else "image/jpeg" if image.startswith(_JPEG) else "image/webp"
        return cast(Encoded, self._json(self._http.post("/encode", content=image, headers={"content-type": kind})))

    def encode_raw(self, pixels: bytes, width: int, height: int, encoding: str = "rgb8") -> Encoded:
        """Return the latent of pixels without padding."""
        params: dict[str, str | int] = {"width": width, "height": height, "encoding": encoding}
        headers = {"content-type": "application/octet-stream"}
        return cast(Encoded, self._json(self._http.post("/encode", content=pixels, params=params, headers=headers)))

    def predict(
        self,
        latent: Floats | None = None,
        action: Floats | None = None,
        pose: Mapping[str, float] | None = None,
        *,
        memory: bool = True,
    ) -> Predicted:
        """Return forecasts from a latent; None: from now."""
        body = _start(latent, action, pose, memory)
        return cast(Predicted, self._json(self._http.post("/predict", json=body)))

    def rollout(
        self,
        latent: Floats | None = None,
        actions: Sequence[Floats] | None = None,
        pose: Mapping[str, float] | None = None,
        *,
        horizon: int | None = None,
        memory: bool = True,
        images: Images = "none",
    ) -> Rollout:
        """Return what follows, step by step; None for the latent: from now."""
        body = _rollout(latent, actions, pose, horizon, memory, images)
        return cast(Rollout, self._json(self._http.post("/rollout", json=body)))

    def stream_rollout(
        self,
        latent: Floats | None = None,
        actions: Sequence[Floats] | None = None,
        pose: Mapping[str, float] | None = None,
        *,
        horizon: int | None = None,
        memory: bool = True,
        images: Images = "none",
        last_event_id: int = 0,
    ) -> Iterator[Step]:
        """Yield what follows as it is imagined; leaving the loop ends the imagining, too."""
        body = _rollout(latent, actions, pose, horizon, memory, images)
        headers = {"last-event-id": str(last_event_id)} if last_event_id else {}
        for event in self._events("POST", "/stream-rollout", headers, body):
            if event.name == "error":
                raise ApiError(503, event.data["detail"], event.data["field"])
            if event.name == "end":
                return
            yield cast(Step, event.data)

    def stream_live(self, last_event_id: str = "") -> Iterator[Event]:
        """Yield what is live: ``frame`` events, the newest ones, and every event that has an id."""
        headers = {"last-event-id": last_event_id} if last_event_id else {}
        yield from self._events("GET", "/stream-live", headers, None)

    def picture(self, name: str) -> bytes:
        """Return a picture: ``camera``, ``imagined``, ``foreseen`` or ``remembered/ID``."""
        return self._checked(self._http.get(f"/frames/{name}.jpg")).content

    def query(self, **query: Any) -> dict[str, Any]:
        """Return the memories that a query finds; its fields are those of ``POST /memory/query``."""
        return cast("dict[str, Any]", self._json(self._http.post("/memory/query", json=query)))

    def query_batch(self, queries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the answers to several queries."""
        body = {"queries": [dict(each) for each in queries]}
        return cast("dict[str, Any]", self._json(self._http.post("/memory/query_batch", json=body)))

    def memory_stats(self) -> dict[str, Any]:
        """Return how the memory is doing."""
        return cast("dict[str, Any]", self._json(self._http.get("/memory/stats")))

    def memory_cells(self, most: int = 2000) -> dict[str, Any]:
        """Return the fullest cells of the memory's map."""
        return cast("dict[str, Any]", self._json(self._http.get("/memory/cells", params={"most": most})))

    def record(self, record_id: int) -> dict[str, Any]:
        """Return one memory."""
        return cast("dict[str, Any]", self._json(self._http.get(f"/memory/records/{record_id}")))

    def write(
        self, what: Literal["insert", "delete", "transform", "snapshot", "restore"], **body: Any
    ) -> dict[str, Any]:
        """Change the memory, where the operator allowed it; the fields are those of ``POST /memory/WHAT``."""
        return cast("dict[str, Any]", self._json(self._http.post(f"/memory/{what}", json=body)))

    def _events(
        self, method: str, path: str, headers: Mapping[str, str], body: Mapping[str, Any] | None
    ) -> Iterator[Event]:
        timeout = httpx.Timeout(self._http.timeout.connect, read=None)
        with self._http.stream(method, path, headers=dict(headers), json=body, timeout=timeout) as response:
            if response.is_error:
                response.read()
            self._checked(response)
            yield from events_of(response.iter_lines())

    def _json(self, response: httpx.Response) -> Any:
        return self._checked(response).json()

    @staticmethod
    def _checked(response: httpx.Response) -> httpx.Response:
        if response.is_success:
            return response
        try:
            entries = response.json()
            detail, field = str(entries["detail"]), str(entries["field"])
        except (ValueError, KeyError, TypeError):
            detail, field = response.text[:200], ""
        retry_after = response.headers.get("retry-after", "")
        raise ApiError(response.status_code, detail, field, int(retry_after) if retry_after.isdigit() else 0)


def events_of(lines: Iterator[str]) -> Iterator[Event]:
    """Yield the events of a stream's lines."""
    name, number, data = "message", "", list[str]()
    for line in lines:
        key, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield Event(name, number, json.loads("\n".join(data)))
            name, number, data = "message", "", []
        elif key == "event":
            name = value
        elif key == "id":
            number = value
        elif key == "data":
            data.append(value)


def _start(
    latent: Floats | None, action: Floats | None, pose: Mapping[str, float] | None, memory: bool
) -> dict[str, Any]:
    body: dict[str, Any] = {"latent": "now" if latent is None else list(latent), "memory": memory}
    if action is not None:
        body["action"] = list(action)
    if pose is not None:
        body["pose"] = dict(pose)
    return body


def _rollout(
    latent: Floats | None,
    actions: Sequence[Floats] | None,
    pose: Mapping[str, float] | None,
    horizon: int | None,
    memory: bool,
    images: Images,
) -> dict[str, Any]:
    body = {**_start(latent, None, pose, memory), "images": images}
    if actions is not None:
        body["actions"] = [list(row) for row in actions]
    if horizon is not None:
        body["horizon"] = horizon
    return body
