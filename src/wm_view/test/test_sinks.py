"""What goes into a recording is in the file, for rerun and for Foxglove, with its layout."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from wm_core.drawing import Shape
from wm_view.recorder import opening
from wm_view.recorder.opening import RecordingError, check_recording, open_recording
from wm_view.recorder.sink import Costs, Placed, Sink, Stamped, blended

WHITE = (1.0, 1.0, 1.0, 1.0)
BEGIN_NS = 1_700_000_000_000_000_000
TRIANGLE_N3 = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])


def jpeg() -> bytes:
    return cv2.imencode(".jpg", np.zeros((4, 6, 3), np.uint8))[1].tobytes()


def play(sink: Sink) -> list[Path]:
    """Records a bit of everything."""
    for step in range(3):
        at = Stamped(BEGIN_NS + step * 10**9, "odom")
        sink.picture("camera", at.ns, jpeg())
        sink.pose("robot", at, Placed((float(step), 2.0, 0.0), (0.0, 0.0, 0.0, 1.0)), WHITE)
        sink.pose("expected", at, Placed((step + 1.0, 2.0, 0.0), (0.0, 0.0, 0.0, 1.0), (0.1, 0.3)), WHITE)
        sink.numbers("error", at.ns, {"ours": 0.1 * step, "without_memory": float("nan")})
    at = Stamped(BEGIN_NS, "odom")
    sink.path("planned", at, np.array([[0.0, 0, 0], [1, 1, 0]]), WHITE)
    sink.path("planned", at, np.zeros((0, 3)), WHITE)
    colors_N4 = np.array([[1.0, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1]])
    shapes = [
        Shape("cells", 0, "triangles", TRIANGLE_N3, WHITE),
        Shape("memories", 1, "points", TRIANGLE_N3, WHITE, 0.1, colors_N4),
        Shape("trail", 2, "lines", TRIANGLE_N3[:2], WHITE, 0.1, colors_N4[:2]),
        Shape("retrieval", 3, "spheres", TRIANGLE_N3, WHITE, 0.1),
    ]
    sink.shapes("memory", at, shapes, [])
    sink.shapes("memory", at, [], [("cells", 0)])
    sink.costs(
        "field", at, Costs(np.array([[0, 50, 100], [255, 10, 90]], np.uint8), 0.05, Placed((1.0, 2, 0), (0, 0, 0, 1)))
    )
    return sink.close()


def test_rerun_holds_everything_and_a_layout(tmp_path: Path):
    pytest.importorskip("rerun", reason="rerun-sdk is not installed")
    from rerun.chunk import RrdReader

    (path,) = play(open_recording(tmp_path / "sub" / "view.rrd"))
    reader = RrdReader(path)
    assert len(reader.blueprints()) == 1
    rows: dict[str, int] = {}
    for chunk in reader.stream().to_chunks():
        rows[chunk.entity_path] = rows.get(chunk.entity_path, 0) + chunk.num_rows
    expected = {
        "/camera": 3, "/error/ours": 3, "/world/robot": 3, "/world/robot/arrow": 3, "/world/expected_errors": 3,
        "/world/planned": 2, "/world/field": 1, "/world/memory/cells/0": 2, "/world/memory/memories/1": 1,
        "/world/memory/trail/2": 1, "/world/memory/retrieval/3": 1,
    }  # fmt: skip
    assert {name: rows.get(name) for name in expected} == expected
    assert "/error/without_memory" not in rows


def test_mcap_holds_everything_by_foxgloves_schemas_and_a_layout(tmp_path: Path):
    pytest.importorskip("mcap", reason="mcap is not installed")
    decoding = pytest.importorskip("mcap_protobuf.decoder", reason="mcap-protobuf-support is not installed")
    from mcap.reader import make_reader

    path, layout = play(open_recording(tmp_path / "view.mcap"))
    with path.open("rb") as file:
        reader = make_reader(file, decoder_factories=[decoding.DecoderFactory()])
        found = [(schema, channel, msg) for schema, channel, msg in reader.iter_messages()]
        file.seek(0)
        decoded = [
            (channel.topic, msg)
            for _, channel, _, msg in make_reader(
                file, decoder_factories=[decoding.DecoderFactory()]
            ).iter_decoded_messages(topics=["/camera", "/tf", "/scene/memory", "/scene/expected", "/field"])
        ]
    counts: dict[tuple[str, str], int] = {}
    for schema, channel, _ in found:
        counts[channel.topic, schema.name] = counts.get((channel.topic, schema.name), 0) + 1
    assert counts == {
        ("/camera", "foxglove.CompressedImage"): 3, ("/tf", "foxglove.FrameTransform"): 6,
        ("/scene/robot", "foxglove.SceneUpdate"): 3, ("/scene/expected", "foxglove.SceneUpdate"): 3,
        ("/scene/planned", "foxglove.SceneUpdate"): 2, ("/scene/memory", "foxglove.SceneUpdate"): 2,
        ("/field", "foxglove.Grid"): 1, ("/error", "world_model.error"): 3,
    }  # fmt: skip
    messages: dict[str, list] = {}
    for topic, msg in decoded:
        messages.setdefault(topic, []).append(msg)
    assert cv2.imdecode(np.frombuffer(messages["/camera"][0].data, np.uint8), 1).shape == (4, 6, 3)
    assert {msg.parent_frame_id for msg in messages["/tf"]} == {"odom"}
    drawn, erased = messages["/scene/memory"]
    assert [entity.id for entity in drawn.entities] == ["cells/0", "memories/1", "trail/2", "retrieval/3"]
    assert [len(drawn.entities[0].triangles[0].points), len(drawn.entities[1].cubes)] == [3, 3]
    assert (drawn.entities[1].cubes[1].color.g, len(drawn.entities[3].spheres)) == (1.0, 3)
    assert [each.id for each in erased.deletions] == ["cells/0"]
    ellipse = messages["/scene/expected"][0].entities[0].lines[0]
    assert max(point.y for point in ellipse.points) == pytest.approx(2.6)
    grid = messages["/field"][0]
    assert (grid.column_count, grid.row_stride, len(grid.data), grid.pose.position.x) == (3, 12, 24, 1.0)
    numbers = [json.loads(msg.data) for _, channel, msg in found if channel.topic == "/error"]
    assert numbers == [{"ours": pytest.approx(0.1 * step)} for step in range(3)]
    panels = json.loads(layout.read_text())["configById"]
    assert set(panels) == {"3D!world", "Image!camera", "Image!imagination", "Plot!error", "Plot!memory"}
    assert set(panels["3D!world"]["topics"]) == {topic for topic, _ in counts if topic.startswith("/scene/")} | {
        "/field"
    }


def test_costs_become_colours():
    color_HW4 = blended(np.array([[0, 100], [255, 50]], np.uint8))
    assert color_HW4[0, 0].tolist() == [0, 200, 40, 110]
    assert color_HW4[0, 1].tolist() == [255, 0, 40, 110]
    assert color_HW4[1, 0, 3] == 0


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    with pytest.raises(RecordingError, match=r"expected a name that ends in \.rrd or \.mcap"):
        check_recording(tmp_path / "view.txt")
    monkeypatch.setattr(opening, "find_spec", lambda name: None)
    with pytest.raises(RecordingError, match=r"needs rerun-sdk, not installed here: scripts/setup --view"):
        check_recording(tmp_path / "view.rrd")
    with pytest.raises(RecordingError, match="mcap, mcap-protobuf-support, foxglove-schemas-protobuf"):
        open_recording(tmp_path / "view.mcap")


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path):
    pytest.importorskip("mcap", reason="mcap is not installed")
    (tmp_path / "no_folder").write_text("")
    with pytest.raises(RecordingError, match="cannot be written"):
        open_recording(tmp_path / "no_folder" / "view.mcap")
