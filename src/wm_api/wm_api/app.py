"""The application: what is served, behind its guard and its counters."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException

from wm_api import pages
from wm_api.errors import ApiError, refusal_of_memory
from wm_api.metrics import Counted
from wm_api.routes import goals, inference, live, login, memory, models
from wm_api.schemas import EncodeRequest
from wm_api.security import Guard, refusal
from wm_api.service import Service
from wm_api.settings import ApiSettings
from wm_api.validation import invalid_of, known_query
from wm_api.world import World
from wm_core.memory.errors import SpatialMemoryError

_TEXT = "Latents, forecasts and memories of a robot's world model. Every refusal names the field that is at fault."
# The framework would send its own measurements wherever the environment says.
_SILENT: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}


def create_app(world: World, settings: ApiSettings, page_folders: Sequence[Path] = (pages.STATIC,)) -> FastAPI:
    """Return the application.

    Args:
        world: What is served.
        settings: How.
        page_folders: Folders of the page; the later one wins. ``index.html`` is served at ``/``, all files below
            ``/static/``.
    """
    service = Service(world, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.end_streams()
        service.close()

    app = FastAPI(
        title="World model", description=_TEXT, version=world.models.version(), docs_url=None, redoc_url=None,
        lifespan=lifespan, openapi_url="/openapi.json", telemetry=_SILENT,
    )  # fmt: skip
    app.state.service = service
    app.state.files = pages.Files(page_folders)
    for router in (models.router, memory.router, memory.writing, live.router, goals.router, inference.router):
        app.include_router(router, dependencies=[Depends(known_query)])
    for router in (login.router, pages.router):
        app.include_router(router)
    app.openapi = _openapi(app)  # type: ignore[method-assign]
    app.add_exception_handler(ApiError, _refused)
    app.add_exception_handler(SpatialMemoryError, _of_memory)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _failed)
    # The last one added is the first one asked.
    app.add_middleware(Guard, settings=settings)
    app.add_middleware(Counted, metrics=service.metrics)
    return app


def _openapi(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """Returns what describes the API, with the bodies that routes read themselves."""
    usual = app.openapi

    def described() -> dict[str, Any]:
        is_new = app.openapi_schema is None
        schema = usual()
        if is_new:
            own = EncodeRequest.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas = schema["components"]["schemas"]
            schemas.update(own.pop("$defs"))
            schemas["EncodeRequest"] = own
        return schema

    return described


def _refused(request: Request, error: Any) -> Response:
    status, headers, body = refusal(error, request.scope["path"])
    return Response(body, status, {name.decode(): value.decode() for name, value in headers})


def _of_memory(request: Request, error: Any) -> Response:
    return _refused(request, refusal_of_memory(error))


def _invalid(request: Request, error: Any) -> Response:
    return _refused(request, invalid_of(error.errors()))


def _failed(request: Request, error: Any) -> Response:
    field = {400: "body", 413: "body", 404: "path", 405: "method"}.get(error.status_code, "")
    response = _refused(request, ApiError(error.status_code, str(error.detail), field))
    response.headers.update(error.headers or {})
    return response
