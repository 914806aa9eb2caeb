"""A server that speaks the part of Qdrant's REST protocol that is used here, and can be made to fail in many ways."""

from __future__ import annotations

import contextlib
import gzip
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from qdrant_client import QdrantClient, models

WRONG = {
    "json": b"<html>it works</html>", "shape": b'{"result": {"points": 7}, "status": "ok", "time": 0.0}', "empty": b"",
    "status": b'{"status": {"error": "broken"}}', "busy": b'{"status": {"error": "busy"}}',
    "deep": b"[" * 100_000 + b"]" * 100_000, "packed": gzip.compress(b" " * 10**7),
}  # fmt: skip


class StubQdrant:
    """Answers from a ``QdrantClient`` in memory.

    Attributes:
        mode: ``right``; ``slow``: not before ``awake`` is set; ``json``, ``shape``, ``empty``: wrong answers;
            ``status``: 500; ``halfway``: does what is asked and hangs up; ``hangup``: hangs up; ``trickle``: a byte now
            and then, without end; ``endless``: as many as are taken; ``deep``: lists in lists; ``packed``: what is a
            thousand times as large unpacked; ``busy``: 429.
        spoil: What becomes of an answer, called with it; None: it stays as it is.
        asked: How many questions came.
        sent: How many bytes of what is endless were taken.
    """

    spoil: Callable[[Any], None] | None = None
    sent = 0

    def __init__(self) -> None:
        self.mode, self.asked, self.awake = "right", 0, threading.Event()
        self.local = QdrantClient(":memory:")
        self._lock = threading.Lock()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def answer(self) -> None:
                stub.serve(self)

            do_GET = do_PUT = do_POST = answer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.awake.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def count(self) -> int:
        return sum(self.local.count(each.name).count for each in self.local.get_collections().collections)

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        mode, self.asked = self.mode, self.asked + 1
        if mode == "slow":
            self.awake.wait(30.0)
        if mode in ("right", "slow", "halfway"):
            with self._lock:
                answer = self._answer(handler.command, handler.path.split("?")[0], json.loads(body or b"{}"))
        if mode in ("halfway", "hangup"):
            handler.close_connection = True
            return
        elif mode in ("trickle", "endless"):
            self._go_on(handler, mode)
            return
        content = WRONG[mode] if mode in WRONG else json.dumps(answer).encode()
        handler.send_response({"status": 500, "busy": 429}.get(mode, 200))
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(content)))
        if mode == "packed":
            handler.send_header("Content-Encoding", "gzip")
        if mode == "busy":
            handler.send_header("Retry-After", "100000")
        handler.end_headers()
        handler.wfile.write(content)

    def _go_on(self, handler: BaseHTTPRequestHandler, mode: str) -> None:
        """Send an answer that never ends, until nobody takes it any more."""
        handler.send_response(200)
        handler.send_header("Content-Length", str(10**12))
        handler.end_headers()
        part, self.sent = b"[" if mode == "trickle" else b"[" * 2**20, 0
        with contextlib.suppress(OSError):
            while not self.awake.wait(0.1 if mode == "trickle" else 0.0) and self.sent < 2**30:
                handler.wfile.write(part)
                handler.wfile.flush()
                self.sent += len(part)
        handler.close_connection = True

    def _answer(self, method: str, path: str, body: dict) -> dict:
        words = path.strip("/").split("/")
        name = words[1] if len(words) > 1 else ""
        what = " ".join([method, *words[2:]])
        answers: dict[str, Callable[[], Any]] = {
            "GET": lambda: self.local.get_collection(name) if name else self.local.get_collections(),
            "GET exists": lambda: {"exists": self.local.collection_exists(name)},
            "PUT": lambda: self.local.create_collection(name, models.VectorParams(**body["vectors"])),
            "PUT index": lambda: {"operation_id": 0, "status": "completed"},
            "PUT points": lambda: self._upserted(name, body),
            "POST points": lambda: self.local.retrieve(name, body["ids"], with_payload=False),
            "POST points count": lambda: self.local.count(name, models.CountRequest(**body).filter),
            "POST points scroll": lambda: self._page(name, models.ScrollRequest(**body)),
            "POST points query": lambda: self._nearest(name, body),
            "POST points delete": lambda: self.local.delete(name, models.PointIdsList(points=body["points"])),
            "POST points payload": lambda: self.local.set_payload(name, body["payload"], points=body["points"]),
        }
        result = answers[what]()
        if isinstance(result, list):
            result = [each.model_dump(mode="json") for each in result]
        elif hasattr(result, "model_dump"):
            result = result.model_dump(mode="json")
        if self.spoil is not None:
            self.spoil(result)
        return {"result": result, "status": "ok", "time": 0.0}

    def _upserted(self, name: str, body: dict) -> Any:
        return self.local.upsert(name, [models.PointStruct(**each) for each in body["points"]])

    def _page(self, name: str, asked: models.ScrollRequest) -> dict:
        page, offset = self.local.scroll(
            name, asked.filter, limit=asked.limit or 10, offset=asked.offset, with_payload=asked.with_payload,
            with_vectors=bool(asked.with_vector),
        )  # fmt: skip
        return {"points": [each.model_dump(mode="json") for each in page], "next_page_offset": offset}

    def _nearest(self, name: str, body: dict) -> Any:
        asked = models.QueryRequest(**body)
        return self.local.query_points(
            name, query=asked.query, query_filter=asked.filter, limit=asked.limit or 10, with_payload=True,
            with_vectors=True,
        )  # fmt: skip
