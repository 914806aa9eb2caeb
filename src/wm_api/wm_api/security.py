"""Who may ask, and how much of it: checked before a body is read.

Pure ASGI, since streams pass through. No answer says what lies on the disk, and no log what the token is.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from http.cookies import CookieError, SimpleCookie
from time import monotonic
from typing import Any

from starlette.exceptions import HTTPException

from wm_api.errors import ApiError
from wm_api.settings import ApiSettings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "wm_session"
OPEN_PATHS = frozenset({"/", "/favicon.ico", "/login", "/v2/health/live"})
"""What beyond loopback is served without the token: the page, which holds no data, and where it hands the token in."""
LARGE_PATHS = re.compile(r"/encode|/v2/models/[^/]+(/versions/[^/]+)?/infer")
"""Paths whose bodies carry pictures or tensors."""
_INFERENCE = "/v2/"
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
_MOST_ADDRESSES = 4096
_SAFE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


def session_of(token: str) -> str:
    """Return what a browser keeps in the token's place: it opens this service, and does not tell the token."""
    return hmac.new(token.encode(), b"wm_api session", hashlib.sha256).hexdigest()


def refusal(error: ApiError, path: str) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Return status, headers and body of a request to a path that is refused."""
    entries = {"detail": error.detail, "field": error.field}
    if f"{path}/".startswith(_INFERENCE):
        # By this name the protocol's clients read it, and by no other.
        entries["error"] = f"{error.field}: {error.detail}" if error.field else error.detail
    body = json.dumps(entries).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if error.retry_after_s:
        headers.append((b"retry-after", str(error.retry_after_s).encode()))
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return error.status, headers, body


class Buckets:
    """Token buckets, one for each address, and no more of them than a bounded number.

    Args:
        rate_per_s: Requests that one may keep up; 0: any number.
        burst: Requests at once.
    """

    def __init__(self, rate_per_s: float, burst: int) -> None:
        self._rate_per_s, self._burst = rate_per_s, float(burst)
        self._held: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str, now_s: float) -> bool:
        """Return whether an address may ask once more."""
        if self._rate_per_s <= 0:
            return True
        left, then_s = self._held.pop(address, (self._burst, now_s))
        left = min(left + (now_s - then_s) * self._rate_per_s, self._burst)
        self._held[address] = max(left - 1.0, 0.0) if left >= 1.0 else left, now_s
        while len(self._held) > _MOST_ADDRESSES:
            self._held.popitem(last=False)
        return left >= 1.0


class Guard:
    """Checks host, origin, token, rate and length of a request, and counts its body as it comes.

    Args:
        app: What is guarded.
        settings: What is allowed.
    """

    def __init__(self, app: App, settings: ApiSettings) -> None:
        self._app, self._settings = app, settings
        self._buckets = Buckets(settings.rate_per_s, settings.burst)
        own = settings.host if ":" not in settings.host else f"[{settings.host}]"
        self._hosts = {name.lower() for name in (*_LOOPBACK_NAMES, own, *settings.allowed_hosts)}
        self._session = session_of(settings.token) if settings.token else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        counted = _Body(receive, self._most_bytes(scope["path"]))
        try:
            self._check(scope, headers)
            counted.check_declared(headers.get("content-length", ""))
        except ApiError as error:
            await _refuse(error, scope["path"], send)
            return
        await self._app(scope, counted.receive, _with_headers(send))

    def _check(self, scope: Scope, headers: Mapping[str, str]) -> None:
        self._check_host(headers)
        client = scope.get("client")
        if not self._buckets.take(client[0] if client else "", monotonic()):
            raise ApiError(429, "too many requests from this address", retry_after_s=1)
        if self._settings.wants_token and not is_open(scope["path"]) and not self._knows_token(headers):
            raise ApiError(401, "the token is missing or wrong", "authorization")
        packed = headers.get("content-encoding", "").strip().lower()
        if packed not in ("", "identity") and not scope["path"].startswith(_INFERENCE):
            raise ApiError(415, "only bodies of /v2 may be compressed", "content-encoding")

    def _check_host(self, headers: Mapping[str, str]) -> None:
        """Refuse names that are not ours: a page elsewhere can have its own name lead here."""
        host = headers.get("host", "")
        if _name_of(host) not in self._hosts and not self._is_own_address(_name_of(host)):
            raise ApiError(421, "this service is not called by that name", "host")
        origin = headers.get("origin", "")
        if origin and origin.partition("://")[2].lower() != host.lower():
            raise ApiError(403, "requests of other sites are not answered", "origin")

    def _is_own_address(self, name: str) -> bool:
        """Return whether a name is a plain address, where the service listens on all of them."""
        if self._settings.host not in ("0.0.0.0", "::"):
            return False
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True

    def _knows_token(self, headers: Mapping[str, str]) -> bool:
        if knows_token(headers.get("authorization", ""), self._settings.token):
            return True
        return bool(self._session) and hmac.compare_digest(
            _cookie(headers.get("cookie", "")).encode(), self._session.encode()
        )

    def _most_bytes(self, path: str) -> int:
        settings = self._settings
        return settings.most_image_bytes if LARGE_PATHS.fullmatch(path) else settings.most_json_bytes


class _Body:
    """Counts what a request carries and cuts it off beyond a limit."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive, self._most, self._count = receive, most, 0

    def check_declared(self, length: str) -> None:
        """Refuse a length that is too large, or none."""
        if length and not (length.isascii() and length.isdigit()):
            raise ApiError(400, "content-length is no number", "content-length")
        if length and int(length[:20]) > self._most:
            raise ApiError(413, self._told(), "body")

    async def receive(self) -> Message:
        """Return the next message; raises once there is too much."""
        message = await self._receive()
        self._count += len(message.get("body", b""))
        if self._count > self._most:
            # Of all errors this one passes through what parses bodies.
            raise HTTPException(413, self._told())
        return message

    def _told(self) -> str:
        return f"the body is larger than {self._most} bytes"


def is_open(path: str) -> bool:
    """Return whether a path is served without a token."""
    return path in OPEN_PATHS or path.startswith("/static/")


def knows_token(authorization: str, token: str) -> bool:
    """Return whether a request's header carries the token, in a time that does not tell how much of it is right."""
    kind, _, given = authorization.partition(" ")
    return bool(token) and kind.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())


def _cookie(text: str) -> str:
    try:
        held = SimpleCookie(text).get(COOKIE)
    except CookieError:
        return ""
    return held.value if held is not None else ""


def _name_of(host: str) -> str:
    name, separator, port = host.rpartition(":")
    return (name if separator and port.isdigit() else host).lower()


async def _refuse(error: ApiError, path: str, send: Send) -> None:
    status, headers, body = refusal(error, path)
    # What is left of the body is not read, so the connection cannot be used again.
    headers = [*headers, *_SAFE_HEADERS, (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = {name.lower() for name, _ in message["headers"]}
            message["headers"] = [*message["headers"], *(pair for pair in _SAFE_HEADERS if pair[0] not in given)]
        await send(message)

    return sending
