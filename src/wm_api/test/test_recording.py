"""A recording, or the simulator, plays as if it were live: latents, errors, memories, pictures."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores, get_typestore

from wm_api.errors import SettingsError
from wm_api.memories import FileMemory
from wm_api.models import Models
from wm_api.own_basis import in_own_basis
from wm_api.recording import Player, Recorded
from wm_api.serve import EXIT_CONFIGURATION, main
from wm_api.sources import open_world
from wm_api.testing import running
from wm_api.world import World
from wm_core.images import prepare_image
from wm_testing.episodes import circling_episode
from wm_testing.features import make_feature_artifact
from world_model.errors import DataError
from world_model.evaluation.bases import see
from world_model.runtime.artifacts import load_artifact

CAR = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "donkeycar_laps" / "bag"
_DEADLINE_S = 120.0
SIDES = "ahead", "behind"
IMAGE = "sensor_msgs/msg/Image"


def until(predicate) -> None:
    end_s = time.monotonic() + _DEADLINE_S
    while not predicate():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def states(world: World) -> list[str]:
    return [event.data["state"] for event in world.live._events if event.kind == "source"]


@pytest.mark.slow
def test_a_robot_that_comes_back_is_seen_foreseen_and_remembered(models, monkeypatch):
    circles = circling_episode(seconds=26.0, size=64)
    monkeypatch.setattr("world_model.data.simulated.simulate_episode", lambda run: circles)
    world = World(models, kept := FileMemory())
    player = Player(world, Recorded(None, speed=100.0, is_repeated=False), kept)
    with running(world) as service:
        player.start()
        until(lambda: "ended" in states(world))
        assert states(world) == ["reading", "playing", "ended"]
        frame = world.live.newest
        assert frame["number"] == len(circles)
        assert frame["latent"] == pytest.approx(models.encode(np.asarray(circles.image_TSSC[-1])).tolist())
        assert frame["forecasts"][1]["memory_ids"], "the third lap passes places of the first"
        assert 50 < frame["memory"]["count"] <= kept.stats().memory_count
        expected, pose = frame["expected_pose"], frame["pose"]
        assert np.hypot(expected["x"] - pose["x"], expected["y"] - pose["y"]) < 0.5
        assert frame["errors"][-1]["horizon_s"] == 1.0
        said = {each.name: each for each in text_string_to_metric_families(service.http.get("/metrics").text)}
        assert all(name.startswith("wm_") for name in said)
        assert said["wm_latents"].samples[0].value == len(circles)
        kinds = [each.labels["kind"] for each in said["wm_prediction_error"].samples]
        assert kinds == ["error", "without_memory", "persistence"] * 2
        for name in ("camera", "imagined", "foreseen"):
            assert service.http.get(f"/frames/{name}.jpg").status_code == 200
        assert service.http.post("/predict", json={}).json()["memory_used"]
        (match,) = service.http.post("/memory/query", json={"latent": "now", "k": 1}).json()["matches"]
        # The picture of a memory is the one that its latent was made from.
        row = int(np.searchsorted(circles.stamp_T, match["record"]["stamp_ns"]))
        jpeg = service.http.get(f"/frames/remembered/{match['record']['id']}.jpg").content
        picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        assert np.abs(picture.astype(int) - circles.image_TSSC[row]).mean() < 6
        tag = service.http.get("/frames/camera.jpg").headers["etag"]
        assert service.http.get("/frames/camera.jpg", headers={"if-none-match": tag}).status_code == 304
    player.stop()
    assert not player.refused


@pytest.mark.slow
@pytest.mark.skipif(not CAR.is_dir(), reason="the recording of the RC car is not here: ../shared/data/donkeycar_laps")
def test_the_recorded_car_is_served_from_its_bag_alone():
    world, player = open_world("artifact://tiny", None, Recorded(CAR, speed=50.0))
    with running(world) as service:
        world.wanted("camera")
        player.start()
        until(lambda: world.live.frame_count > 100)
        large = cv2.imdecode(np.frombuffer(service.http.get("/frames/camera.jpg").content, np.uint8), cv2.IMREAD_COLOR)
        assert large.shape == (120, 160, 3), "in the camera's own size while somebody looks"
        assert service.http.get("/memory/stats").json()["memory_count"] > 10
        assert service.http.get("/memory/cells").json()["cell_count"] > 1
        steps = service.http.post("/rollout", json={"horizon": 20, "images": "data"}).json()["steps"]
        assert len(steps) == 20
        assert world.live.newest["pose"] is not None
    player.stop()
    assert not player.refused


def test_who_cannot_keep_up_leaves_nothing_out_and_tells_how_late_it_is(models, monkeypatch):
    circles = circling_episode(seconds=2.0, size=64)
    monkeypatch.setattr("world_model.data.simulated.simulate_episode", lambda run: circles)
    world = World(models)
    player = Player(world, Recorded(None, speed=100.0, is_repeated=False))
    encode = Player._encode
    monkeypatch.setattr(Player, "_encode", lambda *given: time.sleep(0.01) or encode(*given))
    player.start()
    until(lambda: "ended" in states(world))
    player.stop()
    frame = world.live.newest
    assert frame["number"] == len(circles)
    assert frame["missed"] == 0
    # Due after 20 ms, and each of them took ten.
    assert frame["ages_ms"]["prediction"] > 10 * len(circles) - 30


@pytest.mark.slow
def test_each_time_it_plays_is_as_the_first(models, monkeypatch):
    circles = circling_episode(seconds=2.0, size=64)
    monkeypatch.setattr("world_model.data.simulated.simulate_episode", lambda run: circles)
    world = World(models, kept := FileMemory())
    player = Player(world, Recorded(None, speed=100.0), kept)
    with running(world):
        player.start()
        until(lambda: states(world).count("restarted") >= 2)
        # Stamps begin anew, and what was remembered the time before is gone.
        assert kept.stats().memory_count <= len(circles)
        assert world.live.newest["stamp_ns"] <= circles.stamp_T[-1]
    player.stop()


@pytest.mark.slow
def test_it_plays_in_the_basis_that_its_robot_would_have_fitted(tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    make_feature_artifact(tmp_path)
    artifact, circles = load_artifact(tmp_path), circling_episode(seconds=12.0, size=64)
    live = see(artifact, circles, frames=100).stretches[1].projection
    monkeypatch.setattr("world_model.data.simulated.simulate_episode", lambda run: circles)
    monkeypatch.setattr("wm_api.recording.in_own_basis", partial(in_own_basis, frames=100))
    world = World(Models(artifact), kept := FileMemory())
    player = Player(world, Recorded(None, speed=100.0, is_repeated=False), kept)
    with running(world) as service:
        player.start()
        until(lambda: "ended" in states(world))
        assert states(world) == ["reading", "basis", "playing", "ended"]
        assert world.live.newest["encoder_id"] == live.encoder_id != artifact.manifest.encoder_id
        (match,) = service.http.post("/memory/query", json={"latent": "now", "k": 1}).json()["matches"]
        assert match["record"]["encoder_id"] == live.encoder_id
    player.stop()
    assert not player.refused
    assert in_own_basis(artifact, [circles], 10_000) is artifact, "too few"
    assert in_own_basis(load_artifact("artifact://tiny"), [circles], 100).projection is None


def test_a_robot_has_as_many_actions_as_the_environment_says(tmp_path, monkeypatch):
    make_feature_artifact(tmp_path)
    monkeypatch.setenv("ACTION_DIM", "3")
    world, _ = open_world(str(tmp_path), None, None)
    assert world.models.manifest.action_dim == 3
    monkeypatch.setenv("ACTION_DIM", "three")
    with pytest.raises(SettingsError, match="ACTION_DIM is 'three'"):
        open_world(str(tmp_path), None, None)


def test_a_recording_that_is_none_is_told_and_ends_nothing(models, tmp_path, caplog):
    broken = tmp_path / "broken.mcap"
    broken.write_bytes(b"no recording")
    world = World(models, FileMemory())
    player = Player(world, Recorded(broken))
    with running(world) as service:
        player.start()
        until(lambda: "failed" in states(world))
        assert service.http.get("/status").json()["mode"] == "recording"
        assert service.http.post("/predict", json={}).status_code == 409
        assert "cannot be played: 'broken.mcap" in caplog.text.replace(f"{tmp_path}/", "")
    player.stop()


@pytest.fixture
def two_cameras(tmp_path) -> Path:
    store = get_typestore(Stores.ROS2_HUMBLE)
    kinds = store.types
    with Writer(tmp_path / "stereo", version=9) as writer:
        sides = [writer.add_connection(f"/{side}/image_rect", IMAGE, typestore=store) for side in SIDES]
        for row in range(60):
            stamp = kinds["builtin_interfaces/msg/Time"](row // 20, row % 20 * 50_000_000)
            header = kinds["std_msgs/msg/Header"](stamp, "camera")
            for grey, side in zip((60, 200), sides):
                picture = np.full(48 * 64, grey + row % 4, np.uint8)
                msg = kinds[IMAGE](header, 48, 64, "mono8", 0, 64, picture)
                writer.write(side, row * 50_000_000 + 1, store.serialize_cdr(msg, IMAGE))
    return tmp_path / "stereo"


@pytest.mark.slow
def test_which_of_two_cameras_plays_can_be_told(models, two_cameras, caplog):
    caplog.set_level("INFO", "wm_api.recording")
    world = World(models, FileMemory())
    undecided = Player(world, Recorded(two_cameras))
    undecided.start()
    until(lambda: "failed" in states(world))
    assert "equally good; name one with --image-topic" in caplog.text
    undecided.stop()
    told = Player(
        world, Recorded(two_cameras, speed=100.0, is_repeated=False, topics={"image_topic": "/behind/image_rect"})
    )
    with running(world) as service:
        told.start()
        until(lambda: "ended" in states(world))
        seen = cv2.imdecode(np.frombuffer(service.http.get("/frames/camera.jpg").content, np.uint8), cv2.IMREAD_COLOR)
        assert abs(float(seen.mean()) - 203) < 3, "the one behind is the brighter"
    told.stop()
    assert "60 frames read on /behind/image_rect (as asked for" in caplog.text


def test_a_speed_that_makes_no_sense_is_refused():
    with pytest.raises(DataError):
        Recorded(None, speed=0.0)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--host", "0.0.0.0"],
        ["--allow-writes"],
        ["--artifact", "artifact://none"],
        ["--artifact", "artifact://tiny", "--memory", "/nowhere/memory.sqlite3"],
        ["--bag", "/nowhere"],
        ["--bag", "/tmp", "--simulate", "1"],
        ["--simulate", "1", "--image-topic", "/camera"],
        ["--token-file", "/nowhere"],
        ["--certificate", "/nowhere"],
    ],
)
def test_what_cannot_be_served_ends_with_one_line(arguments, capsys, monkeypatch):
    monkeypatch.delenv("WM_API_TOKEN", raising=False)
    assert main(arguments) == EXIT_CONFIGURATION
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_pictures_are_prepared_as_everywhere(models):
    image_HW3 = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    np.testing.assert_array_equal(models.prepared(image_HW3), prepare_image(image_HW3, 64))


def test_an_offset_of_the_camera_without_a_recording_is_refused_by_name(capsys):
    assert main(["--camera-offset-s", "arrival"]) == 2
    assert "--camera-offset-s is of a recording's camera, expected --bag, too" in capsys.readouterr().err
