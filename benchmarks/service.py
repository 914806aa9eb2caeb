"""The HTTP service: what a request costs, what streams leave behind, and what clients cost the graph."""

from __future__ import annotations

import argparse
import gzip
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import psutil

from benchmarks import page
from benchmarks.figures import machine, summary
from benchmarks.processes import module_command
from wm_core.standing_back import stand_back
from wm_testing.browser import found_browser

_STARTS_WITHIN_S = 120.0
_CLIENTS = 20
_SETTLED = 100
_CLIENTS_AFTER_S = 5.0


@contextmanager
def service(*arguments: str) -> Iterator[tuple[psutil.Process, int]]:
    """Yields the process of a service, with a simulated robot that drives, and its port."""
    command = [sys.executable, "-m", "wm_api.serve", "--port", "0", *arguments]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not (found := re.search(r":(\d+)$", line.strip())):
            raise RuntimeError(f"the service did not start: {line!r}")
        port = int(found[1])
        _await_live(port)
        yield psutil.Process(process.pid), port
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
        process.stdout.close()


def _await_live(port: int) -> None:
    end_s = time.monotonic() + _STARTS_WITHIN_S
    while time.monotonic() < end_s:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
            connection.request("POST", "/predict", b"{}", {"content-type": "application/json"})
            if connection.getresponse().status == 200:
                return
        time.sleep(0.2)
    raise RuntimeError("nothing became live")


def asked_ms(port: int, times: int, path: str, body: bytes, kind: str) -> list[float]:
    """Return the times of some requests over one kept connection [ms], after a few that are not counted."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    taken = []
    for _ in range(times + 10):
        begin_s = time.perf_counter()
        connection.request("POST", path, body, {"content-type": kind})
        answer = connection.getresponse()
        answer.read()
        taken.append((time.perf_counter() - begin_s) * 1e3)
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status}")
    connection.close()
    return taken[10:]


def streamed_ms(port: int, times: int) -> tuple[list[float], list[float]]:
    """Return the times to the first event and to the last of rollouts of 20 steps with pictures [ms]."""
    first, last = [], []
    for _ in range(times):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        begin_s = time.perf_counter()
        connection.request("GET", "/stream-rollout?horizon=20&images=data")
        answer = connection.getresponse()
        came_s = 0.0
        for line in answer:
            if line.startswith(b"event: step") and not came_s:
                came_s = time.perf_counter()
            if line.startswith(b"event: end"):
                break
        first.append((came_s - begin_s) * 1e3)
        last.append((time.perf_counter() - begin_s) * 1e3)
        connection.close()
    return first, last


def connect_and_kill(port: int, times: int) -> None:
    """Open streams of either kind and hang up in the middle of them."""
    for number in range(times):
        path = "/stream-live" if number % 2 else "/stream-rollout?horizon=100&images=data"
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        connection.recv(1000)
        # Some go without a word, others break the connection off.
        if number % 3 == 0:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        connection.close()


def left_behind(process: psutil.Process, port: int, times: int) -> dict[str, float]:
    """Return by how much memory [MB] and file descriptors grow over some streams that are cut off."""
    connect_and_kill(port, _SETTLED)
    time.sleep(1.0)
    before = process.memory_info().rss, process.num_fds()
    connect_and_kill(port, times)
    end_s = time.monotonic() + 30.0
    while process.num_fds() > before[1] and time.monotonic() < end_s:
        time.sleep(0.1)
    after = process.memory_info().rss, process.num_fds()
    return {"rss_growth_mb": round((after[0] - before[0]) / 1e6, 2), "fds": after[1] - before[1]}


def wire_kb(port: int) -> float:
    """Return what the page and the files it names, directly or through one another, take over the wire [kB]."""
    waiting, seen, total = ["/"], set[str](), 0
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        size, text = _fetched(port, path)
        total += size
        folder = path.rpartition("/")[0]
        for name in re.findall(r"""(?:src=|href=|from\s*|import\s*|import\()["']([^"']+)["']""", text):
            waiting += [_joined(folder, name)] if re.match(r"(/static/|\./|\.\./)", name) else []
    return round(total / 1e3, 1)


def opened(port: int) -> dict[str, Any]:
    """Return what opening the page in a browser takes, as ``scripts/bench page`` does; nothing where there is none."""
    if found_browser() is None:
        print("first_paint_ms is not measured: no browser here, see scripts/setup --browser", file=sys.stderr)
        return {}
    return page.measure(f"http://127.0.0.1:{port}/", seconds=0.0)


def _fetched(port: int, path: str) -> tuple[int, str]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", path, headers={"accept-encoding": "gzip"})
        answer = connection.getresponse()
        body = answer.read()
    if answer.status != 200:
        return 0, ""
    plain = gzip.decompress(body) if answer.headers.get("content-encoding") == "gzip" else body
    is_text = answer.headers.get("content-type", "").startswith("text/")
    return len(body), plain.decode(errors="replace") if is_text else ""


def _joined(folder: str, name: str) -> str:
    return name if name.startswith("/") else os.path.normpath(f"{folder}/{name}")


class Load:
    """Clients that watch and ask: half hold streams, half ask over and over, four times a second each."""

    def __init__(self, port: int, clients: int = _CLIENTS) -> None:
        self._port, self._stop = port, threading.Event()
        self._threads = [
            threading.Thread(target=self._watch if number % 2 else self._ask, daemon=True) for number in range(clients)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End all of them."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _watch(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        connection.request("GET", "/stream-live")
        answer = connection.getresponse()
        while not self._stop.is_set():
            answer.readline()
        connection.close()

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        while not self._stop.wait(0.25):
            connection.request("POST", "/rollout", b'{"horizon": 20}', {"content-type": "application/json"})
            connection.getresponse().read()
        connection.close()


def loaded_main(port: int, seconds: float) -> None:
    """Be the clients for a while, standing back for everything else."""
    stand_back(19)
    _await_listening(port)
    load = Load(port)
    time.sleep(seconds)
    load.stop()


def graph_ratios(pairs: int, seconds: float, seed: int) -> dict[str, Any]:
    """Return the ages of ``/latent`` with clients over those without, medians over pairs of runs beside one another."""
    found: dict[str, list[dict[str, float]]] = {"with": [], "without": []}
    for pair in range(pairs):
        for side in ("with", "without") if pair % 2 == 0 else ("without", "with"):
            found[side].append(summary(graph_ages_ms(seconds, seed + pair, has_clients=side == "with")))
    ratios = {
        key: [one[key] / other[key] for one, other in zip(found["with"], found["without"])] for key in ("p50", "p99")
    }
    return {
        "latent_p50_ratio": round(float(np.median(ratios["p50"])), 3),
        "latent_p99_ratio": round(float(np.median(ratios["p99"])), 3),
        "latent_runs": found,
    }


def graph_ages_ms(seconds: float, seed: int, *, has_clients: bool) -> list[float]:
    """Return the ages of ``/latent`` [ms] in a graph with the service beside it."""
    # Who measures requests alone needs no ROS.
    from benchmarks.driver import SIZES, Driver, own_domain_id, ros
    from benchmarks.graph import episode_graph
    from wm_demo.graph import Graph, executable

    port = _free_port()
    with TemporaryDirectory(prefix="bench_service_") as folder, ros(own_domain_id()):
        scratch = Path(folder)
        memory = {"spatial_memory": {"ros__parameters": {"db_path": str(scratch / "memory.sqlite3")}}}
        (scratch / "bench.yaml").write_text(json.dumps(memory))
        world = [*executable("wm_bringup", "world_model"), "--params-file", str(scratch / "bench.yaml")]
        served = [*executable("wm_api", "wm_api_node"), "--ros-args", "-p", f"port:={port}"]
        driver = Driver(SIZES["160x120"], seed)
        graph = Graph({"world_model": world, "wm_api": served}, scratch)
        clients = _Late(lambda: _clients(port, seconds + 60.0)) if has_clients else None
        try:
            episode_graph(driver, graph, seconds)
        finally:
            if clients is not None:
                clients.stop()
            graph.stop()
        ages = driver.latent_ages_ms()
        driver.destroy_node()
    return ages


class _Late:
    """Clients that begin after the first seconds, which are discovery's and nobody's measurement."""

    def __init__(self, begin: Callable[[], subprocess.Popen[bytes]]) -> None:
        self._begin, self._ends = begin, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End them."""
        self._ends.set()
        self._thread.join()

    def _run(self) -> None:
        if self._ends.wait(_CLIENTS_AFTER_S):
            return
        process = self._begin()
        self._ends.wait()
        process.kill()
        process.wait()


def _clients(port: int, seconds: float) -> subprocess.Popen[bytes]:
    command = module_command("benchmarks.service", "--be-clients", str(port), "--seconds", str(seconds))
    # In a session of their own: within that of the one that measures, they would stand back for that one alone.
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)


def _await_listening(port: int) -> None:
    end_s = time.monotonic() + _STARTS_WITHIN_S
    while time.monotonic() < end_s:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise RuntimeError(f"nobody listens on port {port}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return what is measured, by the names that reports use."""
    picture = np.random.default_rng(options.seed).integers(0, 256, (120, 160, 3), np.uint8)
    jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
    with service("--artifact", options.artifact, "--simulate", str(options.seed)) as (process, port):
        encode = summary(asked_ms(port, options.repeat, "/encode", jpeg, "image/jpeg"))
        predict = summary(asked_ms(port, options.repeat, "/predict", b"{}", "application/json"))
        first, last = (summary(values) for values in streamed_ms(port, max(options.repeat // 5, 5)))
        shown = opened(port)
        found = {
            "encode_ms": encode["p50"],
            "predict_ms": predict["p50"],
            "rollout_first_event_ms": first["p50"],
            "rollout_20_ms": last["p50"],
            "latent_p99_ratio": None,
            **left_behind(process, port, options.cycles),
            "first_paint_ms": shown.get("first_paint_ms"),
            "wire_kb": wire_kb(port),
            "details": {"encode": encode, "predict": predict, "rollout_first_event": first, "rollout_20": last}
            | {"page": shown},
        }
    if options.pairs:
        found.update(graph_ratios(options.pairs, options.seconds, options.seed))
    return found


def main() -> None:
    """Measure and print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artifact", default=os.environ.get("WM_CHECKPOINT_PATH", "artifact://tiny"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeat", type=int, default=200)
    parser.add_argument("--cycles", type=int, default=1000, help="streams that are cut off")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of runs beside the graph; 0: none")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each of those runs")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--be-clients", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.be_clients:
        loaded_main(options.be_clients, options.seconds)
        return
    found = {**measure(options), "machine": machine()}
    print(json.dumps(found, indent=2))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
