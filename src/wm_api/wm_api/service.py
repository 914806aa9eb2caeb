"""What the routes share: the world, the workers in front of it, the streams and the counters."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Response

from wm_api.errors import ApiError
from wm_api.metrics import Metrics
from wm_api.resuming import Rollouts
from wm_api.security import knows_token
from wm_api.settings import ApiSettings
from wm_api.streams import Streams
from wm_api.worker import Worker
from wm_api.world import World

_FILE_THREADS = 2


class Service:
    """One service.

    Args:
        world: What is served.
        settings: How.

    Attributes:
        inference: Where models run, one computation at a time.
        files: Where the memory is asked and pictures are made.
    """

    def __init__(self, world: World, settings: ApiSettings) -> None:
        self.world, self.settings = world, settings
        self.inference = Worker("inference", settings.queue_size)
        self.files = Worker("memory", settings.queue_size, _FILE_THREADS)
        self.streams = Streams(settings.most_streams)
        self.rollouts = Rollouts()
        self.last_frame: tuple[Any, int, bytes] = (None, 0, b"")
        self.metrics = Metrics(world.live)
        self.metrics.watch("wm_inference_queue", "Computations that wait or run.", lambda: self.inference.held_count)
        self.metrics.count("wm_inference_refused", "Computations refused so far.", lambda: self.inference.refused_count)
        self.metrics.watch("wm_streams_open", "Event streams open.", lambda: self.streams.open_count)

    def end_streams(self) -> None:
        """Have all streams end; they would keep the server from ending."""
        self.streams.ends.set()

    def close(self) -> None:
        """Let the workers and the memory go."""
        self.inference.close()
        self.files.close()
        if self.world.memory is not None:
            self.world.memory.close()


def service_of(request: Request) -> Service:
    """Return the service that a request is for."""
    found: Service = request.app.state.service
    return found


Served = Annotated[Service, Depends(service_of)]


def may_write(served: Served, authorization: Annotated[str, Header()] = "") -> None:
    """Refuse to change the memory for who may not.

    Raises:
        ApiError: 403: the operator allows nobody; 401: the token is missing or wrong. A cookie is not enough: a page
            elsewhere could have a browser send it.
    """
    if not served.settings.allow_writes:
        raise ApiError(403, "writing is off here: the operator has to allow it when the service starts")
    if not knows_token(authorization, served.settings.token):
        raise ApiError(401, "the token is missing or wrong", "authorization")


class Json(Response):
    """JSON as compact bytes; text that is no Unicode is escaped."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the bytes."""
        return json.dumps(content, separators=(",", ":"), allow_nan=False).encode("ascii")
