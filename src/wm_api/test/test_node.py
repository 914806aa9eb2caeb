"""Beside a graph: what it says is served, its memory is asked, and its silence is told."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path as FilePath

import httpx
import numpy as np
import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Path
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image

from spatial_memory.embedded.memory import CellMemory
from spatial_memory.node import SpatialMemory
from wm_api.client import events_of
from wm_api.node import WmApi
from wm_api.params import WmApiParams
from wm_api.pictures import jpeg_of
from wm_api.testing import START_NS, STEP_NS, Z_DIM, line_record
from wm_core.memory.errors import QueryError
from wm_core.memory.protocol import Forget
from wm_core.se3 import quaternion_of
from wm_interfaces.msg import LatentForecast, LatentPrediction, LatentState, PredictionError
from wm_ros import floats, pose_to_msg, qos, stamp_msg
from wm_testing.nodes import ros_context, spin_until

__all__ = ["ros_context"]

_PACE_S = 0.1


class Graph:
    """The node under test with a memory beside it, and a peer that says what the other nodes would."""

    def __init__(self, artifact) -> None:
        overrides = {"port": 0, "rate_per_s": 0.0, "silent_after_s": 0.3, "memory_wait_s": 20.0}
        given = [Parameter(name, value=value) for name, value in overrides.items()]
        self.encoder_id = artifact.manifest.encoder_id
        self._said_s, self._said_count = -_PACE_S, 0
        self.node = WmApi(artifact, parameter_overrides=given)
        self.memory = SpatialMemory(parameter_overrides=[Parameter("db_path", value=":memory:")])
        self.peer = Node("peer")
        self.states = self.peer.create_publisher(LatentState, "latent/state", qos.STREAM)
        self.predictions = self.peer.create_publisher(LatentPrediction, "latent_next/state", qos.STREAM)
        self.errors = self.peer.create_publisher(PredictionError, "prediction_error", qos.STREAM)
        self.diagnostics = self.peer.create_publisher(DiagnosticArray, "/diagnostics", qos.STREAM)
        self.camera = self.peer.create_publisher(Image, "camera/image_raw", qos.SENSOR)
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.node.port}", timeout=60.0, trust_env=False)
        heard = (self.states, self.predictions, self.errors, self.diagnostics)
        self.until(lambda: all(each.get_subscription_count() for each in heard))
        self.until(lambda: all(each.service_is_ready() for each in self.node.world.memory._clients.values()))

    def until(self, predicate) -> None:
        spin_until(predicate, self.node, self.memory, self.peer, timeout_s=90.0)

    def ask(self, method: str, path: str, **given) -> httpx.Response:
        """Asks while the nodes spin: what is asked of the memory is answered by one of them."""
        answers: list[httpx.Response] = []
        thread = threading.Thread(target=lambda: answers.append(self.http.request(method, path, **given)))
        thread.start()
        self.until(lambda: bool(answers))
        thread.join()
        return answers[0]

    def talk(self) -> None:
        """Says the next latent, as often as a slow robot: faster than it is heard, halves of frames would be lost."""
        if time.monotonic() - self._said_s > _PACE_S:
            self._said_s = time.monotonic()
            self.say(self._said_count)
            self._said_count += 1

    def say(self, at: int) -> None:
        """Says a latent, its forecasts and an error."""
        stamp = stamp_msg(START_NS + at * STEP_NS)
        pose = pose_to_msg((0.05 * at, 0.0, 0.0), quaternion_of(0.0))
        state = LatentState(encoder_id=self.encoder_id, latent=floats(np.full(Z_DIM, 0.1)))
        state.header.stamp, state.has_pose, state.pose, state.pose_frame_id = stamp, True, pose, "map"
        state.has_action, state.action = True, floats([1.0, 0.0])
        self.states.publish(state)
        prediction = LatentPrediction(encoder_id=self.encoder_id, step_s=0.05)
        prediction.header.stamp = stamp
        near = LatentForecast(horizon_s=0.05, latent=floats(np.full(Z_DIM, 0.2)), gate=0.25, memory_ids=[7])
        far = LatentForecast(horizon_s=1.0, latent=floats(np.full(Z_DIM, 0.3)), gate=0.5, has_pose=True)
        far.pose = pose_to_msg((0.05 * at + 1.0, 0.0, 0.0), quaternion_of(0.0))
        prediction.forecasts = [near, far]
        self.predictions.publish(prediction)
        error = PredictionError(encoder_id=self.encoder_id, horizon_s=1.0, error=0.5, error_without_memory=float("nan"))
        error.header.stamp = stamp
        self.errors.publish(error)

    def close(self) -> None:
        self.http.close()
        for node in (self.node, self.memory, self.peer):
            node.destroy_node()


@pytest.fixture
def graph(ros_context, artifact):
    made = Graph(artifact)
    yield made
    made.close()


@pytest.mark.slow
def test_latents_forecasts_and_errors_become_frames(graph):
    assert graph.http.get("/status").json()["mode"] == "graph"
    assert graph.http.post("/predict", json={}).status_code == 409
    live = graph.node.world.live

    def seen() -> bool:
        graph.talk()
        newest = live.newest
        return newest is not None and bool(newest["forecasts"]) and bool(newest["errors"])

    graph.until(seen)
    frame = live.newest
    assert frame["latent"] == pytest.approx([0.1] * Z_DIM)
    assert frame["frame_id"] == "map"
    assert [each["horizon_s"] for each in frame["forecasts"]] == [0.05, 1.0]
    assert frame["forecasts"][0]["memory_ids"] == [7]
    assert frame["forecasts"][1]["pose"]["x"] == pytest.approx(frame["pose"]["x"] + 1.0)
    assert frame["errors"][0]["error"] == 0.5
    assert frame["errors"][0]["without_memory"] is None
    assert frame["surprise"] == 0.5
    answer = graph.ask("POST", "/predict", json={"memory": False})
    assert answer.json()["forecasts"][1]["pose"]["x"] > frame["pose"]["x"]
    assert graph.http.get("/frames/imagined.jpg").status_code == 200


@pytest.mark.slow
def test_the_memory_of_the_graph_answers(graph):
    records = [line_record(at, graph.encoder_id) for at in range(1, 21)]
    memory: CellMemory = graph.memory._memory
    memory.insert(records)
    asked = {"pose": {"x": 1.0, "y": 0.0}, "k": 3, "rank_by": "pose", "successors": True, "yaw_weight_m": 0.0}
    found = graph.ask("POST", "/memory/query", json=asked).json()["matches"]
    first = found[0]["record"]
    assert first["pose"]["x"] == pytest.approx(1.0)
    assert (first["session"], len(first["successors"])) == ("before", 2)
    held = graph.ask("GET", f"/memory/records/{first['id']}").json()
    assert "pose" in held, held
    assert held["pose"] == pytest.approx(first["pose"])
    assert held["successors"][1]["latent"] == pytest.approx(first["successors"][1]["latent"])
    # Whatever was looked at before: the memory itself is asked for an id.
    (late,) = memory.insert([line_record(21, graph.encoder_id)])
    assert graph.ask("GET", f"/memory/records/{late}").json()["h3_cell"] == f"{memory.get([late])[0].h3_cell:x}"
    memory.delete(Forget(ids=(late,)))
    assert graph.ask("GET", f"/memory/records/{late}").status_code == 404
    stats = graph.ask("GET", "/memory/stats").json()
    assert (stats["memory_count"], stats["source"], stats["encoder_id"]) == (20, "graph", graph.encoder_id)
    assert graph.ask("GET", "/memory/cells").json()["memory_count"] == 20
    body = {"latent": [0.1] * Z_DIM, "pose": {"x": 0.0, "y": 0.0}, "action": [1.0, 0.0]}
    assert graph.ask("POST", "/predict", json=body).json()["memory_used"]
    # Who looks ahead holds a window: the thread that serves the graph is not asked for a hundred records each time.
    clients = graph.node.world.memory._clients
    asked_for = clients.pop("query_batch")
    rollout = graph.ask("POST", "/rollout", json={**body, "horizon": 20}).json()
    assert rollout["memory_used"]
    assert set(rollout["steps"][-1]["memory_ids"]) <= set(range(1, 21))
    clients["query_batch"] = asked_for
    wrong = graph.ask("POST", "/memory/query", json={"latent": [0.0]})
    assert (wrong.status_code, wrong.json()["field"]) == (422, "query")
    graph.memory.destroy_node()
    graph.memory = Node("nobody")
    graph.until(lambda: not graph.node.world.memory._clients["stats"].service_is_ready())
    away = graph.ask("GET", "/memory/stats")
    assert away.status_code == 503
    assert "retry-after" in away.headers


@pytest.mark.slow
def test_what_the_graph_s_memory_keeps_of_a_place_is_shown(graph):
    memory: CellMemory = graph.memory._memory
    kept, other = memory.insert([line_record(at, graph.encoder_id) for at in (1, 2)])
    jpeg = jpeg_of(np.full((64, 64, 3), 200, np.uint8))
    memory.thumbnails.keep({kept: jpeg})
    graph.until(lambda: memory.thumbnails.get([kept]))
    shown = graph.ask("GET", f"/frames/remembered/{kept}.jpg")
    assert shown.status_code == 200
    assert shown.content == jpeg
    # Of the other nothing is kept: it looks as its latent decodes.
    assert graph.ask("GET", f"/frames/remembered/{other}.jpg").content not in (jpeg, b"")
    found = {}
    asking = threading.Thread(target=lambda: found.update(graph.node.world.memory.pictures([other, kept, 10**9])))
    asking.start()
    graph.until(lambda: not asking.is_alive())
    assert found == {kept: jpeg}


@pytest.mark.slow
def test_a_memory_that_does_not_tell_what_it_holds_is_away(graph, monkeypatch):
    def refuse(*_):
        raise QueryError("not now")

    assert graph.ask("GET", "/memory/cells").status_code == 200
    monkeypatch.setattr(graph.node.world.memory, "_refresh", refuse)
    answer = graph.ask("GET", "/memory/cells")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "not now" in answer.json()["detail"]


@pytest.mark.slow
def test_silence_and_health_are_events(graph):
    events: list = []

    def watch() -> None:
        # It is closed while it is read.
        with suppress(httpx.HTTPError), graph.http.stream("GET", "/stream-live") as answer:
            for each in events_of(answer.iter_lines()):
                events.append(each)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    status = DiagnosticStatus(name="camera_driver", level=DiagnosticStatus.WARN, message="too warm")

    def said(name: str, **data) -> bool:
        return any(each.name == name and data.items() <= each.data.items() for each in list(events))

    def talk() -> bool:
        graph.talk()
        graph.diagnostics.publish(DiagnosticArray(status=[status]))
        is_told = said("diagnostics", node="camera_driver", level=1, message="too warm")
        return is_told and said("source", state="live") and said("frame")

    graph.until(talk)
    count = sum(each.name == "diagnostics" and each.data["node"] == "camera_driver" for each in events)
    assert count == 1
    graph.until(lambda: said("source", state="silent"))
    silent = next(each for each in events if each.name == "source" and each.data["state"] == "silent")
    assert "sends nothing" in silent.data["detail"]
    graph.peer.destroy_publisher(graph.states)
    graph.until(lambda: any(each.name == "source" and "nobody publishes" in each.data["detail"] for each in events))
    # Who does not speak of its health any more is not well any more.
    assert not said("diagnostics", node="camera_driver", level=3)
    graph.node._told_s["camera_driver"] -= 100.0
    graph.until(lambda: said("diagnostics", node="camera_driver", level=3))


@pytest.mark.slow
def test_where_a_planner_would_go_is_shown_while_it_says_so(graph):
    def path(count: int) -> Path:
        places = [PoseStamped(pose=pose_to_msg((0.1 * at, 2.0, 0.0), quaternion_of(0.0))) for at in range(count)]
        return Path(poses=places)

    paths = graph.peer.create_publisher(Path, "planned_path", qos.STREAM)
    routes = graph.peer.create_publisher(Path, "latent_planner/route", qos.LATCHED)
    routes.publish(path(1001))
    live = graph.node.world.live

    def shown() -> bool:
        paths.publish(path(57))
        graph.talk()
        return live.newest is not None and len(live.newest["planned"]) == 57

    graph.until(shown)
    assert live.newest["planned"][3] == [0.3, 2.0]
    graph.until(lambda: any(each.kind == "route" for each in live.standing(live.cursor(None))))
    (route,) = [each for each in live.standing(live.cursor(None)) if each.kind == "route"]
    assert 90 <= len(route.data["points"]) <= 102
    assert (route.data["points"][0], route.data["points"][-1]) == ([0.0, 2.0], [100.0, 2.0])
    # It was killed while it drove.
    graph.until(lambda: graph.talk() or live.newest["planned"] == [])


@pytest.mark.slow
def test_ages_are_those_of_the_frames_where_their_clock_is_this_one(graph):
    live, ages = graph.node.world.live, {"latent", "forecast"}
    graph.until(lambda: graph.talk() or (live.newest is not None and bool(live.newest["forecasts"])))
    # Its stamps are of another time.
    assert not ages & set(live.newest["ages_ms"])
    msg = LatentState()
    msg.header.stamp = stamp_msg(graph.node.get_clock().now().nanoseconds - 50_000_000)
    graph.node._take_age("latent", msg)
    assert 50.0 <= graph.node._showing.ages["latent"] < 10_000.0


@pytest.mark.slow
def test_the_camera_is_listened_to_while_somebody_looks(graph):
    assert graph.camera.get_subscription_count() == 0
    assert graph.http.get("/frames/camera.jpg").status_code == 404
    image = Image(height=4, width=6, encoding="rgb8", step=18, data=bytes(range(72)))

    def shown() -> bool:
        graph.camera.publish(image)
        return graph.node.world.gallery.number("camera") > 0

    graph.until(shown)
    assert graph.http.get("/frames/camera.jpg").content[:2] == b"\xff\xd8"
    graph.node._looked_at_s = time.monotonic() - 100.0
    graph.until(lambda: graph.camera.get_subscription_count() == 0)


@pytest.mark.slow
def test_a_latent_of_another_encoder_is_dropped_by_name(graph):
    graph.encoder_id = "another"
    graph.until(lambda: graph.talk() or graph.node._health.counted("dropped/encoder-mismatch") > 0)
    assert graph.node.world.live.newest is None


def test_the_shipped_parameters_name_all_there_are():
    path = FilePath(__file__).parents[3] / "config" / "wm_api.yaml"
    (entries,) = yaml.safe_load(path.read_text()).values()
    given = entries["ros__parameters"]
    params = WmApiParams()
    assert {name: type(value) for name, value in given.items()} == {
        name: type(getattr(params, name)) for name in WmApiParams.__dataclass_fields__
    }
