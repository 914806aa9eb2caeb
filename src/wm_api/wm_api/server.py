"""The HTTP server around the application: where it listens, and how it ends."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from fastapi import FastAPI

from wm_api.patience import PatientProtocol
from wm_api.settings import ApiSettings

_GRACE_S = 3
_KEEP_ALIVE_S = 20
# asyncio takes so many at once, and lets go of those that are too many three rounds later: beside
# patience.MOST_CONNECTIONS four times as many files may be open.
_BACKLOG = 64


class Server(uvicorn.Server):
    """Serves an application; streams end first when it is to end, and whoever waits for it to listen is told.

    Args:
        app: From ``create_app``.
        settings: The same that it was made with.
        listening: Called with the port once requests are answered.
    """

    def __init__(self, app: FastAPI, settings: ApiSettings, listening: Callable[[int], None] | None = None) -> None:
        config = uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            # An access log would keep whatever callers put into their URLs.
            access_log=False,
            log_level="warning",
            server_header=False,
            date_header=False,
            http=PatientProtocol,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_GRACE_S,
            # Whoever is in front may say anything; addresses are those of the connections.
            proxy_headers=False,
            ssl_certfile=settings.tls_certificate,
            ssl_keyfile=settings.tls_key,
        )
        super().__init__(config)
        self._service, self._listening = app.state.service, listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        if self.started and self._listening is not None:
            self._listening(self.port)

    @property
    def port(self) -> int:
        """Port that it listens on."""
        number: int = self.servers[0].sockets[0].getsockname()[1]
        return number

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> Any:
        """End streams, let what runs come to an end, and close."""
        self._service.end_streams()
        await super().shutdown(sockets)
