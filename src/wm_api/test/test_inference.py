"""The Open Inference Protocol: metadata, JSON and binary tensors, spoken by requests built by hand and by a client."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from wm_api.testing import Z_DIM

SIDE = 64


def infer(served, model: str, inputs, binary: bytes = b"", **entries):
    text = json.dumps({"inputs": inputs, **entries}).encode()
    headers = {"inference-header-content-length": str(len(text))} if binary else {}
    return served.http.post(f"/v2/models/{model}/infer", content=text + binary, headers=headers)


def tensor(name: str, array: np.ndarray, datatype: str, *, is_binary: bool = False) -> dict:
    entry = {"name": name, "datatype": datatype, "shape": list(array.shape)}
    if is_binary:
        return {**entry, "parameters": {"binary_data_size": array.nbytes}}
    return {**entry, "data": array.ravel().tolist()}


def outputs_of(answer) -> dict[str, np.ndarray]:
    """Returns the tensors of an answer."""
    length = int(answer.headers.get("inference-header-content-length", len(answer.content)))
    entries, rest = json.loads(answer.content[:length]), answer.content[length:]
    found = {}
    for entry in entries["outputs"]:
        dtype = {"FP32": np.float32, "UINT8": np.uint8}[entry["datatype"]]
        size = entry.get("parameters", {}).get("binary_data_size")
        if size is None:
            array = np.array(entry["data"], dtype)
        else:
            array, rest = np.frombuffer(rest[:size], dtype), rest[size:]
        found[entry["name"]] = array.reshape(entry["shape"])
    assert rest == b""
    return found


def images(count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 40, 50, 3), np.uint8)


def test_health_and_metadata(served):
    assert served.http.get("/v2/health/live").status_code == 200
    assert served.http.get("/v2/health/ready").status_code == 200
    assert "binary_tensor_data" in served.http.get("/v2").json()["extensions"]
    for model in ("encoder", "transition", "decoder"):
        assert served.http.get(f"/v2/models/{model}/ready").status_code == 200
        entry = served.http.get(f"/v2/models/{model}").json()
        assert entry["name"] == model
        assert entry["versions"] == ["1"]
    assert served.http.get("/v2/models/other").status_code == 404
    assert served.http.get("/v2/models/encoder/versions/2").status_code == 404


@pytest.mark.parametrize("is_binary", [False, True])
def test_the_encoder_gives_each_pictures_latent(served, models, is_binary):
    image_BHWC = images()
    entry = tensor("image", image_BHWC, "UINT8", is_binary=is_binary)
    wanted = [{"name": "latent", "parameters": {"binary_data": is_binary}}]
    answer = infer(served, "encoder", [entry], image_BHWC.tobytes() if is_binary else b"", outputs=wanted, id="7")
    assert answer.status_code == 200, answer.text
    latent_BD = outputs_of(answer)["latent"]
    np.testing.assert_array_equal(latent_BD, np.stack([models.encode(each) for each in image_BHWC]))
    head = json.loads(answer.content[: int(answer.headers.get("inference-header-content-length", 10**9))])
    assert (head["model_name"], head["id"]) == ("encoder", "7")
    assert head["parameters"]["encoder_id"] == models.manifest.encoder_id


def test_the_decoder_gives_pictures(served, models):
    latent_BD = np.random.default_rng(1).normal(size=(3, Z_DIM)).astype(np.float32)
    answer = infer(served, "decoder", [tensor("latent", latent_BD, "FP32")], parameters={"binary_data_output": True})
    image_BHWC = outputs_of(answer)["image"]
    assert image_BHWC.shape == (3, SIDE, SIDE, 3)
    np.testing.assert_array_equal(image_BHWC, models.decode(latent_BD))


def test_the_transition_is_the_rollout(served):
    latent_BD = np.linspace(-1, 1, 2 * Z_DIM, dtype=np.float32).reshape(2, Z_DIM)
    action_BSA = np.full((2, 5, 2), 0.3, np.float32)
    pose_B4 = np.array([[0.0, 0.0, 0.0, 0.0], [2.0, 0.0, 0.0, 0.0]], np.float32)
    use = {"name": "use_memory", "datatype": "BOOL", "shape": [1], "data": [False]}
    entries = [
        tensor("latent", latent_BD, "FP32"),
        tensor("action", action_BSA, "FP32"),
        tensor("pose", pose_B4, "FP32"),
    ]
    found = outputs_of(infer(served, "transition", [*entries, use]))
    assert found["latent_next"].shape == (2, 5, Z_DIM)
    assert (found["gate"] == 0).all()
    body = {"latent": latent_BD[1].tolist(), "actions": action_BSA[1].tolist(), "pose": {"x": 2.0, "y": 0.0}}
    steps = served.http.post("/rollout", json={**body, "memory": False}).json()["steps"]
    np.testing.assert_allclose(found["latent_next"][1], [step["latent"] for step in steps], rtol=1e-6)
    remembered = outputs_of(infer(served, "transition", entries))
    steps = served.http.post("/rollout", json=body).json()["steps"]
    np.testing.assert_allclose(remembered["latent_next"][1], [step["latent"] for step in steps], rtol=1e-6)


def test_packed_bodies_are_unpacked_up_to_a_limit(served):
    text = json.dumps({"inputs": [tensor("latent", np.zeros((1, Z_DIM), np.float32), "FP32")]}).encode()
    path = "/v2/models/decoder/infer"
    packed = served.http.post(path, content=gzip.compress(text), headers={"content-encoding": "gzip"})
    assert packed.status_code == 200
    bomb = gzip.compress(b" " * (served.settings.most_image_bytes + 1))
    assert served.http.post(path, content=bomb, headers={"content-encoding": "gzip"}).status_code == 413
    assert served.http.post(path, content=b"x", headers={"content-encoding": "gzip"}).status_code == 400
    assert served.http.post(path, content=text, headers={"content-encoding": "br"}).status_code == 415


LATENT = tensor("latent", np.zeros((1, Z_DIM), np.float32), "FP32")


@pytest.mark.parametrize(
    ("inputs", "entries", "field"),
    [
        ([], {}, "inputs"),
        ({}, {}, "inputs"),
        ([LATENT, LATENT], {}, "inputs.1.name"),
        ([{**LATENT, "name": "other"}], {}, "inputs.0.name"),
        ([{**LATENT, "datatype": "FP64"}], {}, "latent.datatype"),
        ([{**LATENT, "shape": [1, Z_DIM + 1]}], {}, "latent.shape"),
        ([{**LATENT, "shape": [1, "x"]}], {}, "latent.shape"),
        ([{**LATENT, "shape": [10**9, Z_DIM]}], {}, "latent.shape"),
        ([{**LATENT, "shape": [2, Z_DIM]}], {}, "latent.data"),
        ([{**LATENT, "data": ["x"] * Z_DIM}], {}, "latent.data"),
        ([{**LATENT, "data": [[1, 2], [3]]}], {}, "latent.data"),
        ([{**LATENT, "data": [1e39] * Z_DIM}], {}, "latent"),
        ([{**LATENT, "data": [float("nan")] * Z_DIM}], {}, "latent"),
        ([{**LATENT, "parameters": {"binary_data_size": 4 * Z_DIM}}], {}, "latent.data"),
        ([{**LATENT, "colour": 1}], {}, "inputs.0.colour"),
        ([LATENT], {"outputs": [{"name": "x"}]}, "outputs.0.name"),
        ([LATENT], {"outputs": []}, "outputs"),
        ([LATENT], {"colour": 1}, "colour"),
        ([LATENT], {"id": 7}, "id"),
    ],
)
def test_tensors_that_do_not_fit_are_refused_by_their_field(served, inputs, entries, field):
    answer = infer(served, "decoder", inputs, **entries)
    assert (answer.status_code, answer.json()["field"]) == (422, field), answer.text


def test_binary_data_that_do_not_fit_are_refused(served):
    array = np.zeros((1, Z_DIM), np.float32)
    entry = tensor("latent", array, "FP32", is_binary=True)
    for data in (array.tobytes()[:-1], array.tobytes() + b"x"):
        answer = infer(served, "decoder", [entry], data)
        assert answer.status_code == 422
    beyond = served.http.post(
        "/v2/models/decoder/infer", content=b"{}", headers={"inference-header-content-length": "99"}
    )
    assert (beyond.status_code, beyond.json()["field"]) == (400, "inference-header-content-length")
    no_number = np.full((1, Z_DIM), np.nan, np.float32)
    assert infer(served, "decoder", [entry], no_number.tobytes()).json()["field"] == "latent"


def test_refusals_are_errors_of_the_protocol(served):
    for answer in (
        served.http.get("/v2/models/none"),
        served.http.get("/v2/none"),
        served.http.put("/v2"),
        served.http.put("/v2/models/encoder"),
        infer(served, "decoder", []),
        served.http.get("/v2/models/encoder", headers={"host": "elsewhere"}),
        served.http.get("/v2/models/encoder", params={"colour": 1}),
    ):
        entries = answer.json()
        assert answer.status_code >= 400
        assert entries["error"] == f"{entries['field']}: {entries['detail']}"
    assert set(served.http.get("/memory/records/77").json()) == {"detail", "field"}


def test_tritons_client_works_unchanged(served, models):
    triton = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")
    client = triton.InferenceServerClient(f"127.0.0.1:{served.port}")
    try:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("encoder")
        assert client.get_model_metadata("decoder")["outputs"][0]["datatype"] == "UINT8"
        assert client.get_server_metadata()["name"] == "wm_api"
        assert client.get_model_config("encoder")["name"] == "encoder"
        image_BHWC = images()
        given = triton.InferInput("image", list(image_BHWC.shape), "UINT8")
        given.set_data_from_numpy(image_BHWC)
        expected = np.stack([models.encode(each) for each in image_BHWC])
        for is_binary in (True, False):
            wanted = [triton.InferRequestedOutput("latent", binary_data=is_binary)]
            found = client.infer("encoder", [given], outputs=wanted, request_id="1").as_numpy("latent")
            np.testing.assert_array_equal(found, expected)
        latent = triton.InferInput("latent", list(expected.shape), "FP32")
        latent.set_data_from_numpy(expected)
        packed = client.infer("decoder", [latent], request_compression_algorithm="gzip")
        np.testing.assert_array_equal(packed.as_numpy("image"), models.decode(expected))
        action = triton.InferInput("action", [2, 4, 2], "FP32")
        action.set_data_from_numpy(np.zeros((2, 4, 2), np.float32), binary_data=False)
        assert client.infer("transition", [latent, action]).as_numpy("gate").shape == (2, 4)
        # The client tells what the service said, not that it could not read it.
        with pytest.raises(Exception, match=r"^\[422\] latent.shape: is \[1, 3\]"):
            client.infer("decoder", [_wrong(triton)])
        with pytest.raises(Exception, match=r"^\[404\] model: there is no such model"):
            client.get_model_metadata("none")
    finally:
        client.close()


def _wrong(triton):
    latent = triton.InferInput("latent", [1, 3], "FP32")
    latent.set_data_from_numpy(np.zeros((1, 3), np.float32))
    return latent
