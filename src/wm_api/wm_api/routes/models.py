"""``/encode``, ``/predict``, ``/rollout`` and ``/stream-rollout``."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from time import perf_counter
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Query, Request, Response
from pydantic import ValidationError

from wm_api.bodies import EncodeInput, input_of_file, input_of_json
from wm_api.errors import ApiError, InvalidError
from wm_api.resuming import Begun
from wm_api.schemas import (
    REFUSALS,
    EncodeAnswer,
    EncodeRequest,
    Horizon,
    Pictures,
    PredictAnswer,
    PredictRequest,
    RolloutAnswer,
    RolloutRequest,
    pictures_of,
)
from wm_api.service import Json, Served, Service
from wm_api.streams import EventStream, event, retry
from wm_api.validation import invalid_of

router = APIRouter(tags=["models"], responses=REFUSALS)

_CHUNK = 5
_FROM_NOW = Body(description="Without a body: from now, the present action held.")
_IMAGES = ("image/jpeg", "image/png", "image/webp", "image/bmp", "image/tiff")
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/EncodeRequest"}},
            **{name: {"schema": {"type": "string", "format": "binary"}} for name in _IMAGES},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


@router.post("/encode", response_model=EncodeAnswer, openapi_extra=_BODY)
async def encode(
    request: Request,
    served: Served,
    encoding: Annotated[str, Query(max_length=32, description="Of raw pixels, as sensor_msgs/Image names it.")] = "",
    width: Annotated[int, Query(ge=0, le=65_535)] = 0,
    height: Annotated[int, Query(ge=0, le=65_535)] = 0,
    step: Annotated[int, Query(ge=0, lt=2**31, description="Bytes of a row; 0: no padding.")] = 0,
) -> Response:
    """Encode a picture: a file's bytes, raw pixels (`application/octet-stream` with sizes), or JSON with base64.

    Depth and proprioception, where the artifact takes them, go with JSON.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (*_IMAGES, "application/octet-stream", "application/json"):
        raise ApiError(415, f"content-type is {kind[:60]!r}, expected an image, octets or JSON", "content-type")
    body = await request.body()

    def work() -> bytes:
        if kind == "application/json":
            return _encoded(served, input_of_json(_encode_request(body)))
        raw = (encoding, width, height, step) if kind == "application/octet-stream" else None
        return _encoded(served, input_of_file(body, raw))

    return Response(await served.inference.run(work), media_type="application/json")


def _encode_request(body: bytes) -> EncodeRequest:
    try:
        return EncodeRequest.model_validate_json(body)
    except ValidationError as error:
        raise invalid_of(error.errors(include_url=False, include_context=False, include_input=False)) from error


def _encoded(served: Service, given: EncodeInput) -> bytes:
    models, begin_s = served.world.models, perf_counter()
    latent_D = models.encode(given.image_HW3, given.depth_HW, given.proprioception_P)
    ms = round((perf_counter() - begin_s) * 1e3, 3)
    return Json({**models.identity(), "latent": latent_D.tolist(), "ms": ms}).body  # type: ignore[return-value]


@router.post("/predict", response_model=PredictAnswer)
async def predict(served: Served, asked: Annotated[PredictRequest | None, _FROM_NOW] = None) -> Response:
    """Forecast one step and the artifact's horizon from a latent, or from now."""
    asked = asked or PredictRequest()
    world = served.world
    look = world.look(asked)
    return Json(await served.inference.run(world.predict, look))


@router.post("/rollout", response_model=RolloutAnswer)
async def rollout(served: Served, asked: Annotated[RolloutRequest | None, _FROM_NOW] = None) -> Response:
    """Imagine step by step from a latent, or from now."""
    asked = asked or RolloutRequest()
    world, begin_s = served.world, perf_counter()
    look = world.look(asked, asked.several)
    steps = world.steps_of(asked.horizon, asked.several)

    def work() -> bytes:
        imagined = world.imagine(look, steps)
        entries = world.step_entries(imagined, pictures_of(asked.images), _name())
        answer = {
            "step_s": world.models.manifest.step_s,
            "memory_used": any(each.memory_ids for each in imagined),
            "steps": entries,
            "ms": round((perf_counter() - begin_s) * 1e3, 3),
        }
        return Json({**world.models.identity(), **answer}).body  # type: ignore[return-value]

    return Response(await served.inference.run(work), media_type="application/json")


_EVENTS: dict[int | str, dict[str, Any]] = {
    # Of one event or of all, readers do not agree on what a schema here is of.
    200: {"content": {"text/event-stream": {}}, "description": "Server-sent events."}
}
LastEventId = Annotated[str, Header(max_length=40, description="Step that was received last.")]


@router.get("/stream-rollout", response_class=Response, responses=_EVENTS)
async def stream_rollout_from_now(
    request: Request,
    served: Served,
    horizon: Annotated[Horizon | None, Query()] = None,
    memory: bool = True,
    images: Annotated[Pictures, Query()] = "url",
    last_event_id: LastEventId = "",
) -> Response:
    """Imagine from now with the present action held: one event per step, its id the step; `event: end` at the end."""
    asked = RolloutRequest(horizon=horizon, memory=memory, images=pictures_of(images))
    return _stream(served, request, asked, _resumed(last_event_id))


@router.post("/stream-rollout", response_class=Response, responses=_EVENTS)
async def stream_rollout(
    request: Request,
    served: Served,
    asked: Annotated[RolloutRequest | None, _FROM_NOW] = None,
    last_event_id: LastEventId = "",
) -> Response:
    """Imagine as `/rollout` does: one event per step, its id the step; `event: end` at the end."""
    return _stream(served, request, asked or RolloutRequest(images="url"), _resumed(last_event_id))


def _resumed(last_event_id: str) -> int:
    if not last_event_id:
        return 0
    if not (last_event_id.isascii() and last_event_id.isdigit()):
        raise InvalidError("last-event-id", "expected the number of a step")
    return int(last_event_id)


def _stream(served: Service, request: Request, asked: RolloutRequest, after: int) -> Response:
    served.streams.require_room()
    world = served.world
    steps = world.steps_of(asked.horizon, asked.several)
    if after >= steps:
        # At this, and at nothing else, a browser stops to connect again.
        return Response(status_code=204)
    who, what = request.client.host if request.client else "", asked.model_dump_json()
    begun = served.rollouts.resume(who, what) if after else None
    if begun is None:
        begun = served.rollouts.begin(who, what, world.look(asked, asked.several), _name())
    return EventStream(served.streams, _steps(served, asked, begun, steps, after))


async def _steps(
    served: Service, asked: RolloutRequest, begun: Begun, steps: int, after: int
) -> AsyncGenerator[bytes, None]:
    """Yields the steps after one; computed a few at a time, so that a watcher who goes costs no more than those."""
    world = served.world
    yield retry()
    images = pictures_of(asked.images)
    try:
        if not begun.imagined:
            begun.imagined = await served.inference.run(world.imagine, begun.look, steps)
        imagined = begun.imagined[after:]
        at, size = 0, 1
        while at < len(imagined):
            some = imagined[at : at + size]
            for entry in await served.inference.run(world.step_entries, some, images, begun.name):
                yield event({**world.models.identity(), **entry}, name="step", number=entry["step"])
            at, size = at + size, _CHUNK
    except ApiError as error:
        yield event({"detail": error.detail, "field": error.field}, name="error")
    yield event({"steps": steps}, name="end")


def _name() -> str:
    return secrets.token_urlsafe(9)
