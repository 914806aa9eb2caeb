"""Whatever comes from outside ends as a value or as an error by name; nothing else, and never for long.

``scripts/fuzz`` runs these for as long as it is told; ``WM_FUZZ_EXAMPLES`` sets how many examples each one tries.
"""

from __future__ import annotations

import json
import math
import os
import random
import struct
from pathlib import Path
from types import SimpleNamespace as Made

import cv2
import numpy as np
import pytest
from geometry_msgs.msg import Pose
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from latent_planner.messages import asked_from_goal

from policy_runner.messages import places_from_msg, seen_from_msg
from spatial_memory import CellGrid, CellMemory, LocalMap, Place, Query, Store
from spatial_memory.messages import query_from_msg, records_from_msgs, state_from_msg
from transition_predictor.imagining.messages import ask_from_msg
from wm_core.bags import Bag
from wm_core.bags.errors import BagError
from wm_core.errors import CoreError, MessageError
from wm_core.images import depth_from_msg, picture_from_msg
from wm_core.memory.errors import SpatialMemoryError
from wm_core.memory.record import MemoryRecord
from wm_core.sources import TransformBuffer, action_from_msg, pose_sample_from_msg
from wm_interfaces import msg as messages
from wm_interfaces.action import ExecutePolicy, Plan
from wm_ros.messages import floats, pose_from_msg
from wm_testing.hostile import hostile
from wm_testing.system import make_bag
from world_model.errors import ImaginationError
from world_model.runtime.conditioning import Retrieval
from world_model.runtime.imagined import MOST_CELLS
from world_model.runtime.imagined import Plan as ImaginedPlan
from world_model.runtime.manifest import Manifest
from world_model.runtime.motion import MotionModel, MotionTracker

EXAMPLES = int(os.environ.get("WM_FUZZ_EXAMPLES", "40"))
fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=5000,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
slow_fuzzed = settings(fuzzed, max_examples=max(EXAMPLES // 4, 10))

NUMBERS = st.floats(width=32) | st.sampled_from([math.nan, math.inf, -math.inf, 3.4e38, 1e20, 1e6, -1e-45, 0.0])
COUNTS = st.integers(0, 2**32 - 1) | st.sampled_from([0, 1, 2**31 - 1, 2**32 - 1])
TEXTS = st.text(max_size=20) | st.sampled_from(["", "map", "\n\x1b[2J", "x" * 300])
PICTURE = np.random.default_rng(0).integers(0, 255, (24, 32, 3)).astype(np.uint8)
FORMATS = (".png", ".jpg", ".webp", ".bmp", ".tiff")


@st.composite
def damaged(draw, whole: bytes, edits: int = 12) -> bytes:
    """Bytes of a file in which some are changed, repeated, or cut off."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(0, edits))):
        if not data:
            break
        at = draw(st.integers(0, len(data) - 1))
        kind = draw(st.sampled_from(("byte", "word", "cut", "repeat", "drop")))
        if kind == "byte":
            data[at] = draw(st.integers(0, 255))
        elif kind == "word":
            data[at : at + 4] = struct.pack("<I", draw(COUNTS))
        elif kind == "cut":
            del data[at:]
        elif kind == "repeat":
            data[at:at] = data[at : at + draw(st.integers(1, 64))] * draw(st.integers(1, 20))
        else:
            del data[at : at + draw(st.integers(1, 64))]
    return bytes(data)


@pytest.mark.parametrize("extension", FORMATS)
@fuzzed
@given(data=st.data())
def test_compressed_pictures(extension, data):
    content = data.draw(damaged(cv2.imencode(extension, PICTURE)[1].tobytes()))
    try:
        pixels = picture_from_msg(Made(format=extension, data=content))
    except MessageError:
        return
    assert pixels.dtype == np.uint8
    assert pixels.shape[2] == 3


@fuzzed
@given(st.binary(max_size=400), st.sampled_from(["16UC1; compressedDepth png", "32FC1; compressedDepth rvl", "x"]))
def test_compressed_depth(content, name):
    try:
        depth_HW = depth_from_msg(Made(format=name, data=content))
    except MessageError:
        return
    assert np.isfinite(depth_HW).all()


SIDES = st.integers(0, 40) | st.sampled_from([2**31, 2**32 - 1, 65_536])
ENCODINGS = st.sampled_from(["rgb8", "mono16", "32FC1", "bayer_rggb8", "nv12", "nv24", "yuv422", "16UC1", "weird", ""])


@fuzzed
@given(SIDES, SIDES, SIDES, ENCODINGS, st.binary(max_size=4096), st.integers(0, 255))
def test_raw_pictures(height, width, step, encoding, content, order):
    msg = Made(height=height, width=width, step=step, encoding=encoding, data=content, is_bigendian=order)
    for read in (picture_from_msg, depth_from_msg):
        try:
            pixels = read(msg)
        except MessageError:
            continue
        assert pixels.shape[:2] == (height, width)


@st.composite
def poses(draw) -> Pose:
    pose = Pose()
    for part, names in ((pose.position, "xyz"), (pose.orientation, "xyzw")):
        for name in names:
            setattr(part, name, draw(NUMBERS | st.sampled_from([0.0, 1.0])))
    return pose


@fuzzed
@given(poses(), TEXTS, st.lists(NUMBERS, min_size=36, max_size=36))
def test_poses(pose, name, covariance):
    header = Made(frame_id=name, stamp=Made(sec=1, nanosec=0))
    kinds = (
        Made(header=header, pose=pose),
        Made(header=header, pose=Made(pose=pose, covariance=covariance), child_frame_id=name),
        Made(header=header, child_frame_id=name, transform=Made(translation=pose.position, rotation=pose.orientation)),
    )
    for msg in kinds:
        try:
            sample = pose_sample_from_msg(msg)
        except MessageError:
            continue
        assert np.isfinite(sample.position).all()
        assert math.isclose(float(np.linalg.norm(sample.quaternion)), 1.0, abs_tol=1e-6)
        assert not math.isinf(sample.position_se_m)
        assert not math.isinf(sample.yaw_se_rad)
    try:
        TransformBuffer().insert(Made(transforms=[kinds[2]] * 3))
        pose_from_msg(pose)
    except MessageError:
        pass


@fuzzed
@given(st.lists(NUMBERS, max_size=20))
def test_actions(values):
    for msg in (Made(data=values), Made(axes=values), Made(velocity=[], position=values, effort=[])):
        try:
            sample = action_from_msg(msg)
        except MessageError:
            continue
        assert np.abs(sample.values).max() <= 1e6


@pytest.fixture
def memory():
    held = CellMemory(Store(), CellGrid(LocalMap(), 15))
    held.insert([_record(n) for n in range(20)])
    yield held
    held.close()


def _record(n: int) -> MemoryRecord:
    return MemoryRecord(1 + n, np.full(4, n, np.float32), n * 0.1, 0.0, session="s", encoder_id="e", frame_id="map")


RINGS = st.integers(-(2**31), 2**31 - 1) | st.integers(0, 9)
VECTORS = st.lists(NUMBERS, max_size=6).map(floats) | st.just(floats([1.0, 2.0, 3.0, 4.0]))


@fuzzed
@given(data=st.data())
def test_queries(memory, data):
    draw = data.draw
    msg = messages.MemoryQuery(
        rank_by=draw(st.integers(0, 255)), k=draw(COUNTS), has_pose=draw(st.booleans()), pose=draw(poses()),
        latent=draw(VECTORS), radius_m=draw(NUMBERS), ring_count=draw(RINGS),
        has_box=draw(st.booleans()), yaw_tolerance_rad=draw(NUMBERS), z_tolerance_m=draw(NUMBERS),
        exclude_recent_s=draw(NUMBERS), session=draw(TEXTS), action=draw(VECTORS), action_distance=draw(NUMBERS),
        yaw_weight_m=draw(NUMBERS), pose_weight=draw(NUMBERS), encoder_id=draw(TEXTS), frame_id=draw(TEXTS),
    )  # fmt: skip
    msg.box_min.x, msg.box_max.x = draw(NUMBERS), draw(NUMBERS)
    try:
        found = memory.query_batch([query_from_msg(msg, 8, 1.0, 1.0)])[0]
    except (MessageError, SpatialMemoryError):
        return
    assert not np.isinf(found.distances_K).any()
    assert not np.isnan(found.distances_K).any()


@fuzzed
@given(data=st.data())
def test_states_and_records(memory, data):
    draw = data.draw
    vectors, pose, name = draw(VECTORS), draw(poses()), draw(TEXTS)
    state = messages.LatentState(
        encoder_id=name, latent=vectors, has_pose=draw(st.booleans()), pose=pose, pose_frame_id=draw(TEXTS),
        has_action=True, action=draw(VECTORS), step_s=draw(NUMBERS), horizons_s=draw(st.lists(NUMBERS, max_size=20)),
    )  # fmt: skip
    record = messages.MemoryRecord(
        id=draw(st.integers(0, 2**64 - 1)), session=name, encoder_id=draw(st.sampled_from(["e", "x"])), latent=vectors,
        position=pose.position, orientation=pose.orientation, action=draw(VECTORS), surprise=draw(NUMBERS),
        successors=[messages.MemorySuccessor(horizon_s=draw(NUMBERS), dt_s=draw(NUMBERS), latent=vectors)],
    )  # fmt: skip
    before = len(memory)
    for take in (lambda: state_from_msg(state), lambda: memory.insert(records_from_msgs([record]))):
        try:
            take()
        except (MessageError, SpatialMemoryError):
            assert len(memory) == before
    answer = memory.query_batch([Query(k=50, place=Place(0.0, 0.0))])[0]
    assert np.isfinite(answer.distances_K).all()


@pytest.mark.slow
@slow_fuzzed
@given(data=st.data())
def test_snapshots(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("snapshots")
    source, target = CellMemory(Store(), CellGrid(LocalMap(), 15)), CellMemory(Store(), CellGrid(LocalMap(), 15))
    source.insert([_record(n) for n in range(30)])
    source.snapshot(folder / "whole.sqlite3")
    target.insert([_record(100)])
    (folder / "damaged.sqlite3").write_bytes(data.draw(damaged((folder / "whole.sqlite3").read_bytes())))
    try:
        target.restore(folder / "damaged.sqlite3")
    except SpatialMemoryError:
        assert [record.stamp_ns for record in target.everything()] == [101]
    else:
        assert len(target.everything()) == len(target)
    target.query_batch([Query(place=Place(0.0, 0.0))])
    source.close()
    target.close()


TINY = json.loads((Path(__file__).parents[1] / "src/world_model/world_model/shipped/tiny/manifest.json").read_text())
TINY.pop("digest")  # what is changed here is changed on purpose
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([10**30, -1, 1e-300]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@fuzzed
@given(st.dictionaries(st.sampled_from(sorted(TINY)), JSON, max_size=3))
def test_manifests(changes):
    try:
        manifest = Manifest.from_json(json.dumps({**TINY, **changes}))
        MotionTracker(MotionModel.from_manifest(manifest.motion), manifest.step_s, manifest.action_dim)
        Retrieval.from_manifest(manifest.memory)
    except CoreError:
        return


@fuzzed
@given(st.sampled_from(["motion", "memory"]), st.data())
def test_what_a_manifest_says_of_motion_and_retrieval(part, data):
    changes = data.draw(st.dictionaries(st.sampled_from(sorted(TINY[part])), JSON, min_size=1, max_size=2))
    try:
        MotionTracker(MotionModel.from_manifest({**TINY["motion"], **changes} if part == "motion" else {}), 0.05, 2)
        Retrieval.from_manifest({**TINY["memory"], **changes} if part == "memory" else TINY["memory"])
    except CoreError:
        return


@fuzzed
@given(st.text(max_size=50) | st.sampled_from(["[" * 100_000, '{"z_dim": 1' + "0" * 5000 + "}", "\ud800"]))
def test_texts_that_are_no_manifest(text):
    with pytest.raises(CoreError):
        Manifest.from_json(text)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bags")
    return [make_bag(folder / kind, 6, storage=kind, size=(8, 8)) for kind in ("sqlite3", "mcap")]


@slow_fuzzed
@given(data=st.data())
def test_recordings(recordings, tmp_path_factory, data):
    whole = data.draw(st.sampled_from(recordings))
    folder = tmp_path_factory.mktemp("damaged")
    hit = data.draw(st.sampled_from(sorted(file.name for file in whole.iterdir())))
    for file in whole.iterdir():
        content = file.read_bytes()
        (folder / file.name).write_bytes(data.draw(damaged(content)) if file.name == hit else content)
    try:
        bag = Bag(folder)
        for message in bag.messages(list(bag.types)):
            bag.decode(message)
    except (BagError, CoreError):
        return


@fuzzed
@given(seed=st.integers(0, 2**32), wildness=st.sampled_from([0.1, 0.3, 0.7]))
def test_goals_of_planner_and_policies(seed, wildness):
    rng = random.Random(seed)
    usual = {"frame_id": "map", "w": 1.0, "latent": floats([0.0] * 4)}
    for make in (
        lambda: asked_from_goal(hostile(Plan.Goal, rng, usual, wildness)),
        lambda: places_from_msg(hostile(ExecutePolicy.Goal, rng, usual, wildness)),
        lambda: seen_from_msg(hostile(messages.LatentState, rng, usual, wildness), 2),
    ):
        try:
            make()
        except MessageError:
            continue


@fuzzed
@given(seed=st.integers(0, 2**32), wildness=st.sampled_from([0.1, 0.3, 0.7]))
def test_what_is_to_be_imagined(seed, wildness):
    usual = {"actions": floats([1.0, 0.0] * 4), "w": 1.0, "horizon_s": 0.5}
    try:
        ask = ask_from_msg(hostile(messages.ImagineAsk, random.Random(seed), usual, wildness), 2)
        if ask.action_BSA is not None:
            plan = ImaginedPlan.of_actions(ask.action_BSA, 2, 0.05, ask.horizon_s)
        else:
            plan = ImaginedPlan.of_path(ask.path_P3, ask.spacing_s, 2, 0.05, np.zeros(3))
    except (ImaginationError, MessageError):
        return
    assert plan.count * plan.steps <= MOST_CELLS
    assert np.isfinite(plan.action_BSA).all() or np.isfinite(plan.pose_BS3).all()
