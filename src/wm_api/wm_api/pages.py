"""Files of the page, read once so that no path of a request is ever opened, and the documentation of the API."""

from __future__ import annotations

import gzip
import hashlib
import html
import mimetypes
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response

from wm_api.errors import NotThereError
from wm_api.service import Served

STATIC = Path(__file__).parent / "static"
"""The page of this package."""
_PACKED = ("text/", "application/json", "application/javascript", "image/svg")
_LEAST_PACKED = 1024
_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
_ABSENT = """<!doctype html><html lang="en"><meta charset="utf-8"><title>World model</title>
<p>The API runs; see <a href="/docs">/docs</a>. The page is not installed here.</p></html>
"""

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class File:
    """A file as it is served."""

    content: bytes
    packed: bytes | None
    media_type: str
    tag: str


class Files:
    """What lies in some folders, by its path in them; what comes later takes the place of what came before.

    Args:
        folders: Read at once and never again.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self._held: dict[str, File] = {}
        for folder in folders:
            for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
                if path.is_file():
                    self._held[path.relative_to(folder).as_posix()] = _file(path)

    def get(self, name: str) -> File | None:
        """Return a file, or None."""
        return self._held.get(name)


def _file(path: Path) -> File:
    content = path.read_bytes()
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    if path.suffix in (".js", ".mjs"):
        media_type = "text/javascript"
    packed = None
    if media_type.startswith(_PACKED) and len(content) >= _LEAST_PACKED:
        packed = gzip.compress(content, 9, mtime=0)
    return File(content, packed, media_type, f'"{hashlib.sha256(content).hexdigest()[:16]}"')


def _answer(request: Request, file: File) -> Response:
    headers = {"etag": file.tag, "cache-control": "no-cache", "content-security-policy": _POLICY}
    if request.headers.get("if-none-match") == file.tag:
        return Response(status_code=304, headers=headers)
    content = file.content
    if file.packed is not None:
        headers["vary"] = "accept-encoding"
        if "gzip" in request.headers.get("accept-encoding", ""):
            content, headers["content-encoding"] = file.packed, "gzip"
    return Response(content, media_type=file.media_type, headers=headers)


@router.get("/")
async def index(request: Request) -> Response:
    """Return the page."""
    file = request.app.state.files.get("index.html")
    if file is None:
        return Response(_ABSENT, media_type="text/html", headers={"content-security-policy": _POLICY})
    return _answer(request, file)


@router.get("/static/{name:path}")
async def static(name: str, request: Request) -> Response:
    """Return a file of the page."""
    file = request.app.state.files.get(name)
    if file is None:
        raise NotThereError("there is no such file")
    return _answer(request, file)


@router.get("/docs")
async def docs(request: Request, served: Served) -> Response:
    """Return the documentation of the API, made here: nothing comes from elsewhere."""
    headers = {"content-security-policy": _POLICY}
    return Response(docs_page(request.app.openapi()), media_type="text/html", headers=headers)


def docs_page(schema: Mapping[str, Any]) -> str:
    """Return an OpenAPI description as one page."""
    info = schema["info"]
    parts = [_HEAD.format(title=html.escape(info["title"]), text=html.escape(info["description"]))]
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            parts.append(_operation(method, path, operation))
    parts.append("<h2>Schemas</h2>")
    for name, entry in schema.get("components", {}).get("schemas", {}).items():
        parts.append(_schema(name, entry))
    return "".join([*parts, "</main></html>\n"])


_HEAD = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>body{{font:16px/1.5 system-ui,sans-serif;color-scheme:light dark}}
main{{max-width:60rem;margin:auto;padding:1rem}}
code{{font-size:.9em}}table{{border-collapse:collapse}}td,th{{text-align:left;padding:.1rem 1rem .1rem 0;
vertical-align:top}}</style><main><h1>{title}</h1><p>{text}</p>
<p>As a description for programs: <a href="/openapi.json">/openapi.json</a>.</p>
"""


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    rows = [
        (each["name"], each["in"], _kind(each.get("schema", {})), each.get("description", ""))
        for each in operation.get("parameters", ())
    ]
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        rows.append(("body", media, _kind(content.get("schema", {})), ""))
    for status, answer in operation.get("responses", {}).items():
        kinds = [f"{media}: {_kind(content.get('schema', {}))}" for media, content in answer.get("content", {}).items()]
        rows.append((status, "answer", ", ".join(kinds), answer.get("description", "")))
    text = html.escape(operation.get("description", "") or operation.get("summary", ""))
    return f"<h2><code>{method.upper()} {html.escape(path)}</code></h2><p>{text}</p>{_table(rows)}"


def _schema(name: str, entry: Mapping[str, Any]) -> str:
    required = entry.get("required", ())
    rows = [
        (field, "required" if field in required else "", _kind(each), each.get("description", ""))
        for field, each in entry.get("properties", {}).items()
    ]
    text = html.escape(entry.get("description", ""))
    return f'<h3 id="{html.escape(name)}"><code>{html.escape(name)}</code></h3><p>{text}</p>{_table(rows)}'


def _table(rows: Iterable[tuple[str, ...]]) -> str:
    # Kinds link to schemas and are escaped where they are made.
    lines = [
        f"<tr><td><code>{html.escape(name)}</code><td>{html.escape(where)}<td>{kind}<td>{html.escape(text)}"
        for name, where, kind, text in rows
    ]
    return f"<table>{''.join(lines)}</table>"


def _kind(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = html.escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return html.escape(", ".join(map(str, schema.get("enum", [schema.get("const")]))))
    if schema.get("type") == "array":
        return f"[{_kind(schema.get('items', {}))}]"
    return html.escape(str(schema.get("type", "")))
