"""A server that speaks the part of Qdrant's REST protocol that is used here, and can be made to fail in many ways."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from qdrant_client import QdrantClient, models

NOT_JSON, ANOTHER_SHAPE = b"<html>it works</html>", b'{"result": {"points": 7}, "status": "ok", "time": 0.0}'


class StubQdrant:
    """Answers from a ``QdrantClient`` in memory.

    Attributes:
        mode: ``right``; ``slow``: not before ``awake`` is set; ``json``, ``shape``, ``empty``: wrong answers;
            ``status``: 500; ``halfway``: does what is asked and hangs up; ``hangup``: hangs up.
        asked: How many questions came.
    """

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
        wrong = {"json": NOT_JSON, "shape": ANOTHER_SHAPE, "empty": b"", "status": b'{"status": {"error": "broken"}}'}
        content = wrong[mode] if mode in wrong else json.dumps(answer).encode()
        handler.send_response(500 if mode == "status" else 200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

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
