"""Bodies that nobody would send: whatever comes, no answer is a failure of the service, and refusals name a field.

A few of them run with the tests, thousands with ``scripts/fuzz`` (``WM_FUZZ_EXAMPLES``).
"""

from __future__ import annotations

import copy
import json
import os
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wm_api.memories import FileMemory
from wm_api.testing import TOKEN, Z_DIM, line_record, observe, running
from wm_api.world import World

EXAMPLES = int(os.environ.get("WM_FUZZ_EXAMPLES", "40"))
LATENT = [0.1] * Z_DIM
IMAGE = {"data": "AAAA", "encoding": "rgb8", "width": 1, "height": 1}
RECORD = {"stamp_ns": 1, "latent": LATENT, "pose": {"x": 0.0, "y": 0.0}, "action": [0.0, 0.0]}
TENSOR = {"name": "latent", "shape": [1, Z_DIM], "datatype": "FP32", "data": LATENT}
BODIES = {
    "/encode": {"image": IMAGE},
    "/predict": {"latent": LATENT, "action": [0.1, 0.2], "pose": {"x": 1.0, "y": 2.0, "z": 0.0, "yaw": 0.5}},
    "/rollout": {"latent": "now", "actions": [[0.1, 0.2]] * 3, "horizon": 5, "images": "url", "memory": True},
    "/stream-rollout": {"latent": LATENT, "horizon": 3, "images": "data"},
    "/memory/query": {"pose": {"x": 1.0, "y": 0.0}, "k": 3, "radius_m": 2.0, "box": [0, 0, 0, 1, 1, 1], "session": "a"},
    "/memory/query_batch": {"queries": [{"latent": "now"}, {"pose": {"x": 0, "y": 0}, "ring_count": 2}]},
    "/memory/insert": {"records": [RECORD]},
    "/memory/delete": {"ids": [1, 2], "older_than_s": 5.0},
    "/memory/transform": {"x": 1.0, "yaw": 0.1, "session": "before"},
    "/memory/snapshot": {"name": "fuzzed"},
    "/memory/restore": {"name": "fuzzed"},
    "/login": {"token": TOKEN},
    "/v2/models/decoder/infer": {"inputs": [TENSOR], "outputs": [{"name": "image"}], "id": "1"},
    "/v2/models/transition/infer": {
        "inputs": [TENSOR, {"name": "action", "shape": [1, 2, 2], "datatype": "FP32", "data": [0.0] * 4}]
    },
}
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 2**31, 2**63, 2**64, 10**400, 1e308, -1e308, 5e-324, float("nan"), float("inf"), ""]),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["\ud800", "\x00", "now", "../../etc/passwd", "x" * 10_000]),
)
JSON = st.recursive(
    ODD, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner), max_leaves=8
)


PATHS = ["/frames/{}.jpg", "/frames/remembered/{}.jpg", "/memory/records/{}", "/v2/models/{}", "/static/{}"]


def places(value, path=()):
    """Yields where something stands in a body."""
    yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(entries)[:5]:
        yield from places(inner, (*path, key))


@st.composite
def bodies(draw, path: str) -> bytes:
    """Draws a body of a path with some of it replaced, added, left out or cut off."""
    body = copy.deepcopy(BODIES[path])
    for _ in range(draw(st.integers(1, 3))):
        where = draw(st.sampled_from(list(places(body))))
        if not where:
            body = draw(JSON) if draw(st.integers(0, 9)) == 0 else body
            continue
        holder = body
        try:
            for key in where[:-1]:
                holder = holder[key]
            if draw(st.booleans()):
                holder[where[-1]] = draw(JSON)
            elif isinstance(holder, dict) and draw(st.booleans()):
                holder[draw(st.text(max_size=8))] = draw(JSON)
            else:
                del holder[where[-1]]
        except (KeyError, IndexError, TypeError):
            continue
    text = json.dumps(body).encode()
    return text[: draw(st.integers(0, len(text)))] if draw(st.integers(0, 9)) == 0 else text


@pytest.fixture(scope="module")
def open_service(models, tmp_path_factory):
    """Who knows the token may do everything here; of what is written little is left."""
    kept = FileMemory(None, tmp_path_factory.mktemp("snapshots"))
    kept.insert([line_record(at, models.manifest.encoder_id) for at in range(1, 20)])
    world = World(models, kept)
    observe(world)
    with running(world, token=TOKEN, allow_writes=True) as service:
        yield service


def check(answer) -> None:
    assert answer.status_code < 500, (answer.status_code, answer.text)
    if answer.status_code >= 400:
        said = {"error"} if answer.request.url.path.startswith("/v2/") else set()
        assert set(answer.json()) == {"detail", "field"} | said


def others(value) -> list:
    """Returns what might be taken for a value and is of another type."""
    if isinstance(value, bool):
        return [int(value), str(value).lower(), "on"]
    return [True, str(value), [value]] if isinstance(value, (int, float)) else []


@pytest.mark.parametrize("path", sorted(BODIES))
def test_what_is_of_another_type_is_refused_and_not_converted(open_service, path):
    headers = {"authorization": f"Bearer {TOKEN}"}
    for where in places(BODIES[path]):
        *way, last = where or (None,)
        holder = found = body = copy.deepcopy(BODIES[path])
        for key in way:
            holder = holder[key]
        found = holder[last] if where else body
        for other in others(found):
            holder[last] = other
            answer = open_service.http.post(path, json=body, headers=headers)
            assert answer.status_code == 422, (where, other)
            assert answer.json()["field"], (where, other)


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(BODIES))
@settings(max_examples=EXAMPLES // 2, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_bodies_of_json(open_service, path, data):
    headers = {"content-type": "application/json", "authorization": f"Bearer {TOKEN}"}
    check(open_service.http.post(path, content=data.draw(bodies(path)), headers=headers))


@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    content=st.binary(max_size=200),
    kind=st.sampled_from(["image/jpeg", "image/png", "application/octet-stream", "application/json", "text/plain", ""]),
    start=st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF", b"BM"]),
    encoding=st.sampled_from(["", "rgb8", "bayer_rggb8", "nv12", "yuv422", "16UC1", "32FC1"]),
    sides=st.tuples(st.integers(0, 70_000), st.integers(0, 70_000)),
    step=st.integers(0, 2**31),
)
def test_pictures(open_service, content, kind, start, encoding, sides, step):
    params = {"encoding": encoding, "width": sides[0], "height": sides[1], "step": step}
    headers = {"content-type": kind}
    check(open_service.http.post("/encode", content=start + content, params=params, headers=headers))


@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    length=st.integers(-5, 400),
    shape=st.lists(st.integers(-1, 70), max_size=4),
    size=st.integers(-1, 300),
    data=st.binary(max_size=300),
)
def test_binary_tensors(open_service, length, shape, size, data):
    entry = {"name": "latent", "datatype": "FP32", "shape": shape, "parameters": {"binary_data_size": size}}
    text = json.dumps({"inputs": [entry]}).encode()
    headers = {"inference-header-content-length": str(len(text) if length < 100 else length)}
    check(open_service.http.post("/v2/models/decoder/infer", content=text + data, headers=headers))


@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    path=st.sampled_from(
        ["/frames/{}.jpg", "/frames/remembered/{}.jpg", "/memory/records/{}", "/v2/models/{}", "/static/{}"]
    ),
    name=st.text(alphabet=st.characters(codec="ascii", exclude_characters="?#\r\n"), min_size=1, max_size=12),
    number=st.integers(-(2**70), 2**70),
    header=st.sampled_from(["last-event-id", "if-none-match", "cookie", "range", "x-forwarded-for"]),
    value=st.text(alphabet=st.characters(codec="ascii", min_codepoint=33), max_size=20),
)
def test_paths_and_headers(open_service, path, name, number, header, value):
    for each in (name, str(number)):
        check(open_service.http.get(path.format(quote(each, safe="/%.")), headers={header: value}))


def test_the_memory_is_still_one_after_all_that(open_service):
    memory = open_service.world.memory
    for record in memory.get(memory.memory.held_ids()):
        assert np.isfinite(record.latent_D).all()
        assert len(record.latent_D) == Z_DIM
