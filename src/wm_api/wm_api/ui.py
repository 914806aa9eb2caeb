"""The page alone, on another port or machine than the API's: files from here, everything else is passed on to the API.

So a browser talks to one address, the API needs to let no other site in, and what is passed on goes to the one address
that the operator named, whatever a request says.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx
from fastapi import FastAPI, Request, Response
from starlette.background import BackgroundTask
from starlette.responses import StreamingResponse

from wm_api import pages
from wm_api.errors import ApiError, SettingsError
from wm_api.listening import add_listening, listening
from wm_api.security import Guard, refusal
from wm_api.server import Server
from wm_api.settings import ApiSettings

DEFAULT_API, DEFAULT_PORT = "http://127.0.0.1:8080", 3000
EXIT_CONFIGURATION = 2
_METHODS = ["GET", "HEAD", "POST"]
_CONNECT_S = 5.0
# The first are of one connection; the API checks who calls it, and that is this process.
_OWN = frozenset(
    {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host", "origin", "content-length"}
)


class Passing:
    """Passes requests on to the API.

    Args:
        api: Its address.

    Raises:
        SettingsError: It is no address.
    """

    def __init__(self, api: str) -> None:
        try:
            self._api = httpx.URL(api)
        except httpx.InvalidURL as error:
            raise SettingsError(f"the API's address is '{api}': {error}") from error
        if self._api.scheme not in ("http", "https") or not self._api.host or self._api.path not in ("", "/"):
            raise SettingsError(f"the API's address is '{api}', expected http://HOST:PORT")
        timeout = httpx.Timeout(None, connect=_CONNECT_S)
        self._client = httpx.AsyncClient(timeout=timeout, trust_env=False, limits=httpx.Limits(max_connections=None))

    def end_streams(self) -> None:
        """Let streams end; the server cuts them off itself."""

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()

    async def answer(self, request: Request) -> Response:
        """Return what the API answers, as it comes."""
        scope = request.scope
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        headers = [(name, value) for name, value in request.headers.items() if name not in _OWN]
        asked = self._client.build_request(
            request.method, self._api.copy_with(raw_path=target), headers=headers, content=await request.body()
        )
        try:
            came = await self._client.send(asked, stream=True)
        except httpx.TransportError as error:
            away = ApiError(503, f"the API does not answer: {error}", retry_after_s=1)
            status, refused, body = refusal(away, scope["path"])
            return Response(body, status, {name.decode(): value.decode() for name, value in refused})
        answer = StreamingResponse(_read(came), came.status_code, background=BackgroundTask(came.aclose))
        kept = [
            (name.encode(), value.encode())
            for name, value in came.headers.multi_items()
            if name not in _OWN - {"content-length"}
        ]
        answer.raw_headers = kept
        return answer


async def _read(came: httpx.Response) -> AsyncIterator[bytes]:
    """Yields a body as it comes; one that breaks off ends, for nothing else can be told any more."""
    try:
        async for chunk in came.aiter_raw():
            yield chunk
    except httpx.TransportError:
        return
    finally:
        await came.aclose()


def create_ui(api: str, settings: ApiSettings, page_folders: Sequence[Path] = (pages.STATIC,)) -> FastAPI:
    """Return the application: page, health and what is passed on.

    Args:
        api: Address of the API.
        settings: How it is reached.
        page_folders: As for ``create_app``.

    Raises:
        SettingsError: The address is none.
    """
    passing = Passing(api)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, on_shutdown=[passing.close])
    app.state.service = passing
    app.state.files = pages.Files(page_folders)
    app.add_api_route("/", pages.index)
    app.add_api_route("/static/{name:path}", pages.static)
    app.add_api_route("/ui/health", _healthy)
    app.add_api_route("/{path:path}", passing.answer, methods=_METHODS)
    app.add_exception_handler(ApiError, _refused)
    app.add_middleware(Guard, settings=settings)
    return app


async def _healthy() -> Response:
    return Response(json.dumps({"live": True}), media_type="application/json")


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    status, headers, body = refusal(error, request.scope["path"])
    return Response(body, status, {name.decode(): value.decode() for name, value in headers})


def parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    options = argparse.ArgumentParser(prog="scripts/ui", description=__doc__)
    options.add_argument("--api", default=DEFAULT_API, help=f"address of the API; {DEFAULT_API} without it")
    add_listening(options, DEFAULT_PORT, "the page", token="the token, the same as the API's")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM and return the exit code: 0, or 2 where it cannot be configured."""
    given = parser().parse_args(arguments)
    try:
        settings = ApiSettings(**listening(given))
        app = create_ui(given.api, settings)
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return EXIT_CONFIGURATION
    scheme = "https" if settings.tls_certificate else "http"
    text = f"the page of {given.api} at {scheme}://{settings.host}"
    server = Server(app, settings, lambda port: print(f"{text}:{port}", flush=True))  # noqa: T201
    with contextlib.suppress(KeyboardInterrupt, SystemExit):
        server.run()
    return 0 if server.started else 1


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    raise SystemExit(main())
