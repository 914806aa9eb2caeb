"""``/stream-live``, ``/frames/...``, ``/status`` and ``/metrics``: what is happening now."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Query, Response
from pydantic import BaseModel, Field

from wm_api.errors import InvalidError, NotThereError
from wm_api.live import Cursor, News
from wm_api.schemas import REFUSALS
from wm_api.service import Json, Served, Service
from wm_api.streams import PING_S, EventStream, comment, event, retry
from wm_core.memory.record import MAX_ID

router = APIRouter(tags=["live"], responses=REFUSALS)

_JPEG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}, "description": "A picture."}
}
_EVENTS: dict[int | str, dict[str, Any]] = {
    # Of one event or of all, readers do not agree on what a schema here is of.
    200: {"content": {"text/event-stream": {}}, "description": "Server-sent events."}
}


class StatusAnswer(BaseModel):
    """What is served."""

    encoder_id: str
    artifact: str
    artifact_version: str
    mode: Literal["graph", "recording", "none"]
    z_dim: int
    action_dim: int
    image_size: int
    step_s: float
    horizon_s: float
    inputs: dict[str, int]
    has_decoder: bool
    has_memory: bool
    latent_mean: list[float]
    latent_std: list[float]
    longest_rollout_steps: int
    writable: bool
    can_drive: bool = Field(description="Whether goals are allowed, and somebody is there who drives.")


@router.get("/status", response_model=StatusAnswer)
async def status(served: Served) -> Response:
    """Tell what is served: the artifact's sizes, and where the present comes from."""
    world, manifest = served.world, served.world.models.manifest
    sizes = ("z_dim", "action_dim", "image_size", "step_s", "horizon_s", "inputs", "latent_mean")
    return Json({
        **world.models.identity(),
        **{name: getattr(manifest, name) for name in sizes},
        "latent_std": [value**0.5 for value in manifest.latent_variance],
        "mode": world.mode,
        "has_decoder": world.models.has_decoder,
        "has_memory": world.memory is not None,
        "longest_rollout_steps": world.longest_steps,
        "writable": served.settings.allow_writes,
        "can_drive": served.settings.allow_goals and world.goals is not None and world.goals.is_ready(),
    })  # fmt: skip


@router.get("/stream-live", response_class=Response, responses=_EVENTS)
async def stream_live(
    served: Served,
    last_event_id: Annotated[str, Header(max_length=40, description="Event that came last.")] = "",
    camera: Annotated[bool, Query(description="Whether pictures of the camera are looked at meanwhile.")] = False,
) -> Response:
    """Stream what is live: `frame` events, of which a slow client gets the newest, and events that none misses."""
    served.streams.require_room()
    if last_event_id and not (last_event_id.isascii() and last_event_id.isdigit()):
        raise InvalidError("last-event-id", "expected the number of an event")
    # The place is taken before the answer begins: whoever sees that a stream is open misses nothing from then on.
    cursor = served.world.live.cursor(int(last_event_id) if last_event_id else None)
    return EventStream(served.streams, _live(served, cursor, camera))


async def _live(served: Service, cursor: Cursor, is_looking: bool) -> AsyncGenerator[bytes, None]:
    live, metrics = served.world.live, served.metrics
    yield retry()
    for each in live.standing(cursor):
        yield event(each.data, name=each.kind, number=each.id)
    while True:
        if is_looking:
            served.world.wanted("camera")
        if not await live.changed(cursor, PING_S):
            yield comment("ping")
            continue
        news = live.take(cursor)
        if news.lost_count:
            metrics.lost_events.inc(news.lost_count)
            yield event({"lost": news.lost_count}, name="gap")
        for each in news.events:
            yield event(each.data, name=each.kind, number=each.id)
        if news.frame is not None:
            metrics.skipped.inc(news.skipped_count)
            yield _frame_event(served, news)


def _frame_event(served: Service, news: News) -> bytes:
    """Return a frame as it is sent; those who keep up get the same bytes, made once."""
    frame, skipped, made = served.last_frame
    if frame is not news.frame or skipped != news.skipped_count:
        assert news.frame is not None
        made = event({**news.frame, "skipped": news.skipped_count}, name="frame")
        served.last_frame = news.frame, news.skipped_count, made
    return made


@router.get("/frames/{name}.jpg", response_class=Response, responses=_JPEG)
async def frame(
    name: Annotated[Literal["camera", "imagined", "foreseen"], Path(description="Seen, imagined, or foreseen for now")],
    served: Served,
    if_none_match: Annotated[str, Header(max_length=100)] = "",
) -> Response:
    """Return the newest picture: what the camera sees, what is imagined next, or what had been foreseen for now."""
    gallery = served.world.gallery
    served.world.wanted(name)
    tag = f'"{name}-{gallery.number(name)}"'
    if gallery.number(name) and if_none_match == tag:
        return Response(status_code=304, headers={"etag": tag, "cache-control": "no-cache"})
    found = await served.files.run(gallery.newest, name)
    if found is None:
        raise NotThereError(f"there is no picture '{name}' yet", "name")
    headers = {"etag": f'"{name}-{found[0]}"', "cache-control": "no-cache"}
    return Response(found[1], media_type="image/jpeg", headers=headers)


@router.get("/frames/remembered/{record_id}.jpg", response_class=Response, responses=_JPEG)
async def remembered(record_id: Annotated[int, Path(ge=0, le=MAX_ID)], served: Served) -> Response:
    """Return what was seen where a memory was made, or what its latent decodes to."""
    jpeg = await served.inference.run(served.world.picture_of_memory, record_id)
    if jpeg is None:
        raise NotThereError(f"there is no picture of memory {record_id}", "id")
    return Response(jpeg, media_type="image/jpeg", headers={"cache-control": "max-age=60"})


@router.get("/frames/rollouts/{rollout}/{step}.jpg", response_class=Response, responses=_JPEG)
async def imagined(
    rollout: Annotated[str, Path(max_length=20, pattern="^[A-Za-z0-9_-]+$")],
    step: Annotated[int, Path(ge=1, le=1200)],
    served: Served,
) -> Response:
    """Return a step of a rollout that was asked for with `images: url`; the last two thousand are kept."""
    jpeg = served.world.gallery.imagined(rollout, step)
    if jpeg is None:
        raise NotThereError("that rollout is not kept any more", "rollout")
    return Response(jpeg, media_type="image/jpeg", headers={"cache-control": "max-age=600, immutable"})


@router.get(
    "/metrics", response_class=Response, responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
)
async def metrics(served: Served) -> Response:
    """Return counters and gauges as Prometheus reads them."""
    return Response(served.metrics.text(), media_type="text/plain; version=0.0.4")
