"""Encoding, forecasts and rollouts over HTTP say what the artifact says itself."""

from __future__ import annotations

import base64

import cv2
import numpy as np
import pytest

from wm_api.schemas import Start
from wm_api.testing import ACTION_DIM, STEP_NS, Z_DIM, observe
from world_model.runtime.prediction import Observation
from world_model.runtime.predictor import Predictor


def picture(seed: int = 0, height: int = 48, width: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def png(image_HW3: np.ndarray) -> bytes:
    return cv2.imencode(".png", image_HW3[..., ::-1])[1].tobytes()


def test_a_file_and_its_pixels_give_the_latent_that_the_encoder_gives(served, models):
    image_HW3 = picture()
    expected = models.encode(image_HW3).tolist()
    as_file = served.http.post("/encode", content=png(image_HW3), headers={"content-type": "image/png"})
    assert as_file.status_code == 200
    assert as_file.json()["latent"] == expected
    assert as_file.json()["encoder_id"] == models.manifest.encoder_id
    raw = served.http.post(
        "/encode",
        params={"encoding": "bgr8", "width": 64, "height": 48},
        content=np.ascontiguousarray(image_HW3[..., ::-1]).tobytes(),
        headers={"content-type": "application/octet-stream"},
    )
    assert raw.json()["latent"] == expected
    small_HW3 = picture(height=64)
    as_it_is = served.http.post(
        "/encode",
        params={"encoding": "rgb8", "width": 64, "height": 64},
        content=small_HW3.tobytes(),
        headers={"content-type": "application/octet-stream"},
    )
    assert as_it_is.json()["latent"] == models.encode(small_HW3).tolist()
    in_json = served.http.post("/encode", json={"image": {"data": base64.b64encode(png(image_HW3)).decode()}})
    assert in_json.json()["latent"] == expected


@pytest.mark.parametrize(
    ("kind", "params", "content", "status", "field"),
    [
        ("image/png", {}, b"", 422, "image"),
        ("image/png", {}, b"no picture", 422, "image"),
        ("image/jpeg", {}, png(picture())[:200], 422, "image"),
        ("text/plain", {}, b"x", 415, "content-type"),
        ("application/octet-stream", {"encoding": "rgb8", "width": 4, "height": 4}, b"short", 422, "image"),
        ("application/octet-stream", {"encoding": "odd", "width": 4, "height": 4}, b"x" * 48, 422, "encoding"),
        ("application/octet-stream", {"encoding": "rgb8"}, b"x", 422, "width"),
        ("application/octet-stream", {"encoding": "rgb8", "width": 4}, b"x", 422, "height"),
        ("application/octet-stream", {"encoding": "rgb8", "width": -1}, b"x", 422, "width"),
        ("application/json", {}, b"{", 400, "body"),
        ("application/json", {}, b"[" * 100_000, 400, "body"),
        ("application/json", {}, b'{"image": {"data": "%%%"}}', 422, "image.data"),
        ("application/json", {}, b'{"image": {"data": ""}, "depth": {"data": ""}}', 422, "image"),
        ("application/json", {}, b'{"image": {"data": "", "colour": 1}}', 422, "image.colour"),
    ],
)
def test_a_picture_that_cannot_be_read_is_refused_by_its_field(served, kind, params, content, status, field):
    answer = served.http.post("/encode", params=params, content=content, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["field"]) == (status, field), answer.text


def test_depth_that_the_artifact_does_not_take_is_refused(served):
    data = base64.b64encode(png(picture())).decode()
    depth = {"data": base64.b64encode(np.ones((2, 2), "<u2").tobytes()).decode(), "encoding": "16UC1"}
    answer = served.http.post("/encode", json={"image": {"data": data}, "depth": {**depth, "width": 2, "height": 2}})
    assert (answer.status_code, answer.json()["field"]) == (422, "depth")


def test_forecasts_from_a_latent_are_the_predictors(served, artifact):
    latent_D = np.linspace(-1.0, 1.0, Z_DIM).astype(np.float32)
    body = {"latent": latent_D.tolist(), "action": [0.5, 0.1], "memory": False}
    answer = served.http.post("/predict", json=body).json()
    predictor = Predictor(artifact)
    action_A = np.array([0.5, 0.1], np.float32)
    predictor.observe(Observation(0, latent_D, None, action_A), action_A[None])
    expected = predictor.predict(None).forecasts
    assert [each["horizon_s"] for each in answer["forecasts"]] == [0.05, 1.0]
    for found, wanted in zip(answer["forecasts"], expected):
        np.testing.assert_allclose(found["latent"], wanted.latent_D, rtol=1e-6)
    assert not answer["memory_used"]
    assert answer["artifact"] == artifact.manifest.name


def test_now_uses_memories_of_where_the_robot_will_be(served):
    observe(served.world)
    answer = served.http.post("/predict", json={}).json()
    near, far = answer["forecasts"]
    assert answer["memory_used"]
    # It drives at 1 m/s from x = 0.15: after a second the nearest of the places that lie 0.1 m apart are around 1.15.
    assert far["pose"]["x"] == pytest.approx(1.15, abs=0.06)
    found = served.http.get(f"/memory/records/{far['memory_ids'][0]}").json()
    assert found["pose"]["x"] == pytest.approx(far["pose"]["x"], abs=0.06)
    assert near["pose"]["x"] == pytest.approx(0.2, abs=0.02)
    without = served.http.post("/predict", json={"memory": False}).json()
    assert not without["memory_used"]
    assert without["forecasts"][1]["memory_ids"] == []


def test_without_anything_live_now_is_refused(served):
    for path, body in (("/predict", {}), ("/rollout", {}), ("/memory/query", {"latent": "now"})):
        answer = served.http.post(path, json=body)
        assert (answer.status_code, answer.json()["field"]) == (409, "latent")


def test_a_rollout_is_one_forecast_per_step_and_follows_its_actions(served):
    observe(served.world)
    straight = served.http.post("/rollout", json={"actions": [[1.0, 0.0]], "horizon": 20}).json()
    turning = served.http.post("/rollout", json={"actions": [[1.0, 1.0]] * 20, "memory": False}).json()
    assert [each["step"] for each in straight["steps"]] == list(range(1, 21))
    assert straight["steps"][-1]["horizon_s"] == pytest.approx(1.0)
    assert straight["steps"][-1]["pose"]["yaw"] == pytest.approx(0.0, abs=0.1)
    assert turning["steps"][-1]["pose"]["yaw"] > 0.5
    assert straight["memory_used"]
    assert not turning["memory_used"]


@pytest.mark.parametrize("path", ["/predict", "/rollout"])
def test_without_a_body_it_is_from_now(served, path):
    observe(served.world)
    assert compared(served.http.post(path)) == compared(served.http.post(path, json={}))


def compared(answer) -> dict:
    assert answer.status_code == 200, answer.text
    return {name: value for name, value in answer.json().items() if name != "ms"}


def test_one_action_is_held_and_names_mean_the_same(served):
    latent = [0.1] * Z_DIM
    one = served.http.post("/rollout", json={"latent": latent, "action": [1.0, 0.5], "images": "data", "memory": False})
    for body in (
        {"latent": latent, "actions": [1.0, 0.5], "images": True, "memory": False},
        {"start": latent, "actions": [1, 0.5], "images": True, "memory": False},
    ):
        assert compared(served.http.post("/rollout", json=body)) == compared(one)
    assert len(one.json()["steps"]) == 20
    assert served.http.post("/rollout", json={"latent": latent, "images": False}).json()["steps"][0]["frame"] is None


def test_a_rollout_with_pictures_decodes_its_latents(served, models):
    body = {"latent": [0.1] * Z_DIM, "horizon": 3, "memory": False}
    shown = served.http.post("/rollout", json={**body, "images": "data"}).json()["steps"]
    linked = served.http.post("/rollout", json={**body, "images": "url"}).json()["steps"]
    for step, by_url in zip(shown, linked):
        assert step["frame_source"] == "decoded"
        jpeg = base64.b64decode(step["frame"])
        assert served.http.get(by_url["frame"]).content == jpeg
        expected = models.decode(np.array(step["latent"], np.float32)[None])[0]
        seen = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        assert np.abs(seen.astype(int) - expected).mean() < 12


NAN = b'{"latent": [' + b",".join([b"NaN"] * Z_DIM) + b"]}"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (NAN, "latent"),
        (b'{"latent": [1e999]}', "latent"),
        ({"latent": [0.0] * (Z_DIM - 1)}, "latent"),
        ({"latent": "then"}, "latent"),
        ({"latent": [0.0] * Z_DIM, "action": [0.0] * (ACTION_DIM + 1)}, "action"),
        ({"latent": [0.0] * Z_DIM, "pose": {"x": 0.0}}, "pose.y"),
        ({"latent": [0.0] * Z_DIM, "colour": 1}, "colour"),
        ({"latent": [0.0] * Z_DIM, "stamp_ns": 2**70}, "stamp_ns"),
        ({"latent": [0.0, None]}, "latent.1"),
        ([], "body"),
    ],
)
def test_a_start_that_does_not_fit_is_refused_by_its_field(served, body, field):
    given = {"content": body} if isinstance(body, bytes) else {"json": body}
    answer = served.http.post("/predict", **given, headers={"content-type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert answer.json()["field"].startswith(field)
    assert "[" not in answer.json()["field"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"horizon": 101}, "horizon"),
        ({"horizon": 0}, "horizon"),
        ({"actions": [[0.0, 0.0], [0.0]]}, "actions.1"),
        ({"actions": [[0.0, 0.0]] * 3, "horizon": 2}, "actions"),
        ({"actions": [[0.0, 0.0]], "action": [0.0, 0.0]}, "action"),
        ({"images": "all"}, "images"),
        ({"start": "now"}, "start"),
        ({"actions": [0.0, 0.0], "action": [0.0, 0.0]}, "action"),
        ({"actions": [0.0]}, "action"),
        ({"actions": [[0.0, "x"]]}, "actions.0.1"),
        ({"bool": 1}, "bool"),
    ],
)
def test_a_rollout_that_does_not_fit_is_refused_by_its_field(served, body, field):
    answer = served.http.post("/rollout", json={"latent": [0.0] * Z_DIM, **body})
    assert (answer.status_code, answer.json()["field"]) == (422, field), answer.text


def test_time_that_goes_back_starts_the_present_anew(world):
    observe(world, 3)
    world.observe(Observation(STEP_NS, np.zeros(Z_DIM, np.float32)))
    assert world.present is not None
    assert world.present.stamp_ns == STEP_NS
    assert len(world.look(Start()).past) == 1


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/stream-rollout?horizen=3", "images"),
        ("/memory/cells?most=3&resolution=9", "most"),
        ("/metrics?a=1", "none"),
        ("/frames/camera.jpg?N=1", "none"),
        ("/v2/health/live?x", "none"),
    ],
)
def test_a_misspelt_option_behind_the_path_is_refused_by_name(served, path, expected):
    answer = served.http.get(path)
    assert answer.status_code == 422
    assert answer.json()["field"] == path.split("?")[1].split("&")[-1].split("=")[0]
    assert expected in answer.json()["detail"]


def test_a_number_that_asks_for_a_newer_picture_is_known(served):
    assert served.http.get("/frames/camera.jpg?n=3").status_code in (200, 404)
