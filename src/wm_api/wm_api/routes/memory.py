"""``/memory/...``: questions for everyone who may read, changes for who may write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from time import perf_counter
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Path, Query, Response

from wm_api.errors import ApiError, InvalidError, NotThereError, refusal_of_memory
from wm_api.memories import ServedMemory
from wm_api.memory_schemas import (
    BatchAnswer,
    BatchRequest,
    CellsAnswer,
    CountAnswer,
    DeleteRequest,
    FoundAnswer,
    InsertAnswer,
    InsertRequest,
    MatchesAnswer,
    OneRecordAnswer,
    PlaceAnswer,
    PlacesAnswer,
    QueryRequest,
    RecordAnswer,
    SnapshotRequest,
    StatsAnswer,
    TransformRequest,
)
from wm_api.models import vector
from wm_api.schemas import REFUSALS
from wm_api.service import Json, Served, Service, may_write
from wm_core.memory import query as queries
from wm_core.memory.errors import SpatialMemoryError
from wm_core.memory.protocol import Forget, Rigid
from wm_core.memory.query import MAX_K, Box, Matches
from wm_core.memory.record import MAX_ID

router = APIRouter(prefix="/memory", tags=["memory"], responses=REFUSALS)
T = TypeVar("T")
_MOST_ANSWERS = 65_536


async def _asked(served: Service, work: Callable[[ServedMemory], T], field: str) -> T:
    """Returns what comes of asking the memory, its refusals as those of the request."""
    memory = served.world.served_memory()
    try:
        return await served.files.run(work, memory)
    except SpatialMemoryError as error:
        raise refusal_of_memory(error, field) from error


def _query_of(served: Service, asked: QueryRequest) -> queries.Query:
    if asked.latent is None:
        return asked.to_query(None)
    if asked.latent == "now":
        present = served.world.present
        if present is None:
            raise ApiError(409, "nothing is live: give a latent", "latent")
        return asked.to_query(present.latent_D)
    return asked.to_query(vector(asked.latent, len(asked.latent), "latent"))


def _search(wanted: Sequence[queries.Query]) -> Callable[[ServedMemory], tuple[list[Matches], float]]:
    def work(memory: ServedMemory) -> tuple[list[Matches], float]:
        begin_s = perf_counter()
        found = memory.query_batch(wanted)
        return found, round((perf_counter() - begin_s) * 1e3, 3)

    return work


@router.post("/query", response_model=MatchesAnswer)
async def query(asked: QueryRequest, served: Served) -> MatchesAnswer:
    """Find memories by place, time and likeness, exactly."""
    (found,), ms = await _asked(served, _search([_query_of(served, asked)]), "query")
    return MatchesAnswer.of(found, ms, **served.world.models.identity())


@router.post("/query_batch", response_model=BatchAnswer)
async def query_batch(asked: BatchRequest, served: Served) -> BatchAnswer:
    """Answer several questions together."""
    if sum(each.k for each in asked.queries) > _MOST_ANSWERS:
        raise InvalidError("queries", f"more than {_MOST_ANSWERS} memories asked for at once (k is at most {MAX_K})")
    found, ms = await _asked(served, _search([_query_of(served, each) for each in asked.queries]), "queries")
    answers = [FoundAnswer.of(each, ms) for each in found]
    return BatchAnswer(answers=answers, ms=ms, **served.world.models.identity())


@router.get("/stats", response_model=StatsAnswer)
async def stats(served: Served) -> Response:
    """Tell how the memory is doing."""
    found = await _asked(served, lambda memory: memory.stats(), "memory")
    own: dict[str, Any] = {"source": served.world.served_memory().source, "writable": served.settings.allow_writes}
    return Json({**served.world.models.identity(), **asdict(found), "degraded": list(found.degraded), **own})


@router.get("/cells", response_model=CellsAnswer)
async def cells(served: Served, most: Annotated[int, Query(ge=1, le=20_000)] = 2000) -> Response:
    """Tell which cells of the map hold memories, the fullest first."""

    def work(memory: ServedMemory) -> dict[str, Any]:
        fullest, cell_count = memory.cells(most)
        found = memory.stats()
        entries = [
            {"cell": f"{each.cell:x}", "count": each.count, "outline": each.outline_C2.tolist()} for each in fullest
        ]
        return {
            **served.world.models.identity(),
            "cells": entries,
            "cell_count": cell_count,
            "memory_count": found.memory_count,
            "frame_id": found.frame_id,
        }

    return Json(await _asked(served, work, "cells"))


@router.get("/places", response_model=PlacesAnswer)
async def places(
    served: Served,
    ids: Annotated[str, Query(pattern=r"^\d{1,19}(,\d{1,19}){0,63}$", description="Separated by commas.")],
) -> PlacesAnswer:
    """Tell where memories were made; those that are not held are left out."""
    wanted = [int(each) for each in ids.split(",")]
    if max(wanted) > MAX_ID:
        raise InvalidError("ids", f"{max(wanted)} is no id")
    found = await _asked(served, lambda memory: memory.get(wanted), "ids")
    entries = [PlaceAnswer(id=each.id, x=each.x, y=each.y) for each in found]
    return PlacesAnswer(places=entries, **served.world.models.identity())


@router.get("/records/{record_id}", response_model=OneRecordAnswer)
async def record(record_id: Annotated[int, Path(ge=0, le=MAX_ID)], served: Served) -> OneRecordAnswer:
    """Return one memory."""
    found = await _asked(served, lambda memory: memory.get([record_id]), "id")
    if not found:
        raise NotThereError(f"no memory {record_id} is held", "id")
    entries = RecordAnswer.of(found[0]).model_dump()
    return OneRecordAnswer(**{**served.world.models.identity(), **entries})


writing = APIRouter(prefix="/memory", tags=["writing"], responses=REFUSALS, dependencies=[Depends(may_write)])


@writing.post("/insert", response_model=InsertAnswer)
async def insert(asked: InsertRequest, served: Served) -> InsertAnswer:
    """Keep memories, all or none."""
    world = served.world
    expected = world.models.manifest.encoder_id
    for at, each in enumerate(asked.records):
        vector(each.latent, world.models.manifest.z_dim, f"records.{at}.latent")
        if each.encoder_id not in ("", expected):
            raise ApiError(409, f"latent of encoder {each.encoder_id}, expected {expected}", f"records.{at}.encoder_id")
    records = [each.model_copy(update={"encoder_id": expected}).to_record() for each in asked.records]
    ids = await _asked(served, lambda memory: memory.insert(records), "records")
    return InsertAnswer(ids=ids, **world.models.identity())


@writing.post("/delete", response_model=CountAnswer)
async def delete(asked: DeleteRequest, served: Served) -> CountAnswer:
    """Forget what matches all that is given."""
    box = None if asked.box is None else Box(*asked.box)
    what = Forget(tuple(asked.ids), box, asked.session, asked.older_than_s, asked.frame_id)
    return _counted(served, await _asked(served, lambda memory: memory.delete(what), "body"))


@writing.post("/transform", response_model=CountAnswer)
async def transform(asked: TransformRequest, served: Served) -> CountAnswer:
    """Move the memories of a session, or all."""
    rigid = Rigid(asked.x, asked.y, asked.z, asked.yaw, asked.frame_id)
    return _counted(served, await _asked(served, lambda memory: memory.transform(rigid, asked.session), "body"))


@writing.post("/snapshot", response_model=CountAnswer)
async def snapshot(asked: SnapshotRequest, served: Served) -> CountAnswer:
    """Write a snapshot under a name, in the operator's folder."""
    return _counted(served, await _asked(served, lambda memory: memory.snapshot(asked.name), "name"))


@writing.post("/restore", response_model=CountAnswer)
async def restore(asked: SnapshotRequest, served: Served) -> CountAnswer:
    """Replace all memories by those of a snapshot."""
    count = await _asked(served, lambda memory: memory.restore(asked.name), "name")
    served.world.live.happened("memory", {"what": "restored", "count": count})
    return _counted(served, count)


def _counted(served: Service, count: int) -> CountAnswer:
    return CountAnswer(count=count, **served.world.models.identity())
