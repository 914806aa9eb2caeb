"""A recording for Foxglove (MCAP with Foxglove's schemas), and its layout in a file beside it.

Shape suffixes: N = points, 3 = x, y, z [m].
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from foxglove_schemas_protobuf.FrameTransform_pb2 import FrameTransform
from foxglove_schemas_protobuf.Grid_pb2 import Grid
from foxglove_schemas_protobuf.LinePrimitive_pb2 import LinePrimitive
from foxglove_schemas_protobuf.PackedElementField_pb2 import PackedElementField
from foxglove_schemas_protobuf.SceneEntityDeletion_pb2 import SceneEntityDeletion
from foxglove_schemas_protobuf.SceneUpdate_pb2 import SceneUpdate
from mcap.well_known import MessageEncoding, SchemaEncoding
from mcap.writer import Writer
from mcap_protobuf.schema import build_file_descriptor_set

from wm_core.drawing import Color, Shape
from wm_view.recorder.layout import foxglove_layout
from wm_view.recorder.sink import Costs, Key, Placed, Stamped, blended

_ABOVE_M = 0.02
_NUMBER_OF_STD = 2.0
_CORNERS = 32


class McapSink:
    """Writes a recording for Foxglove.

    Args:
        path: File to write; the layout goes to ``NAME.layout.json`` beside it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb")
        self._writer = Writer(self._file)
        self._writer.start(profile="", library="world_model")
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}

    def picture(self, name: str, stamp_ns: int, jpeg: bytes) -> None:
        """Take a picture."""
        msg = CompressedImage(frame_id=name, data=jpeg, format="jpeg")
        msg.timestamp.FromNanoseconds(stamp_ns)
        self._write(f"/{name}", stamp_ns, msg)

    def pose(self, name: str, at: Stamped, placed: Placed, color: Color) -> None:
        """Take where something is; with standard errors, their ellipse of two."""
        frame = FrameTransform(parent_frame_id=at.frame_id, child_frame_id=name)
        frame.timestamp.FromNanoseconds(at.ns)
        _place(frame.translation, placed.position)
        _turn(frame.rotation, placed.quaternion)
        self._write("/tf", at.ns, frame)
        update, entity = _entity(at, name)
        arrow = entity.arrows.add(shaft_length=0.4, shaft_diameter=0.08, head_length=0.2, head_diameter=0.16)
        _place(arrow.pose.position, placed.position)
        _turn(arrow.pose.orientation, placed.quaternion)
        _paint(arrow.color, color)
        if max(placed.std_xy) > 0.0:
            angle_N = np.linspace(0.0, 2.0 * np.pi, _CORNERS, endpoint=False)
            x, y, z = placed.position
            line = entity.lines.add(type=LinePrimitive.LINE_LOOP, thickness=0.02)
            line.pose.orientation.w = 1.0
            _paint(line.color, color)
            for cosine, sine in zip(np.cos(angle_N).tolist(), np.sin(angle_N).tolist()):
                std_x, std_y = placed.std_xy
                line.points.add(x=x + _NUMBER_OF_STD * std_x * cosine, y=y + _NUMBER_OF_STD * std_y * sine, z=z)
        self._write(f"/scene/{name}", at.ns, update)

    def path(self, name: str, at: Stamped, point_N3: np.ndarray, color: Color) -> None:
        """Take a way; an empty one takes away the last."""
        update, entity = _entity(at, name)
        line = entity.lines.add(type=LinePrimitive.LINE_STRIP, thickness=0.05)
        line.pose.orientation.w = 1.0
        _paint(line.color, color)
        _add_points(line.points, point_N3)
        self._write(f"/scene/{name}", at.ns, update)

    def shapes(self, name: str, at: Stamped, changed: Sequence[Shape], gone: Sequence[Key]) -> None:
        """Take what of a drawing changed, and what is gone from it."""
        update = SceneUpdate()
        for group, number in gone:
            erased = update.deletions.add(type=SceneEntityDeletion.MATCHING_ID, id=f"{group}/{number}")
            erased.timestamp.FromNanoseconds(at.ns)
        for shape in changed:
            entity = update.entities.add(frame_id=at.frame_id, id=f"{shape.group}/{shape.number}", frame_locked=True)
            entity.timestamp.FromNanoseconds(at.ns)
            _draw(entity, shape)
        self._write(f"/scene/{name}", at.ns, update)

    def costs(self, name: str, at: Stamped, grid: Costs) -> None:
        """Take what each place costs."""
        color_HW4 = blended(grid.cost_HW)
        width = grid.cost_HW.shape[1]
        msg = Grid(frame_id=at.frame_id, column_count=width, row_stride=4 * width, cell_stride=4)
        msg.timestamp.FromNanoseconds(at.ns)
        _place(msg.pose.position, grid.origin.position)
        _turn(msg.pose.orientation, grid.origin.quaternion)
        msg.cell_size.x = msg.cell_size.y = grid.cell_m
        for offset, channel in enumerate(("red", "green", "blue", "alpha")):
            msg.fields.add(name=channel, offset=offset, type=PackedElementField.UINT8)
        msg.data = color_HW4.tobytes()
        self._write(f"/{name}", at.ns, msg)

    def numbers(self, name: str, stamp_ns: int, values: Mapping[str, float]) -> None:
        """Take some numbers; those that are not finite are left out."""
        finite = {key: value for key, value in values.items() if isfinite(value)}
        topic = f"/{name}"
        if topic not in self._channels:
            schema = json.dumps({"type": "object", "additionalProperties": {"type": "number"}}).encode()
            self._channels[topic] = self._writer.register_channel(
                topic=topic,
                message_encoding=MessageEncoding.JSON,
                schema_id=self._writer.register_schema(f"world_model.{name}", SchemaEncoding.JSONSchema, schema),
            )
        self._add(topic, stamp_ns, json.dumps(finite).encode())

    def close(self) -> list[Path]:
        """Finish, write the layout, and return the files."""
        self._writer.finish()  # type: ignore[no-untyped-call]
        self._file.close()
        layout = self._path.with_suffix(".layout.json")
        layout.write_text(json.dumps(foxglove_layout(sorted(self._channels)), indent=2) + "\n")
        return [self._path, layout]

    def _write(self, topic: str, stamp_ns: int, msg: Any) -> None:
        name = msg.DESCRIPTOR.full_name
        if name not in self._schemas:
            content = build_file_descriptor_set(type(msg)).SerializeToString()
            self._schemas[name] = self._writer.register_schema(name, SchemaEncoding.Protobuf, content)
        if topic not in self._channels:
            self._channels[topic] = self._writer.register_channel(
                topic=topic, message_encoding=MessageEncoding.Protobuf, schema_id=self._schemas[name]
            )
        self._add(topic, stamp_ns, msg.SerializeToString())

    def _add(self, topic: str, stamp_ns: int, content: bytes) -> None:
        self._writer.add_message(self._channels[topic], log_time=stamp_ns, publish_time=stamp_ns, data=content)


def _entity(at: Stamped, name: str) -> tuple[SceneUpdate, Any]:
    update = SceneUpdate()
    entity = update.entities.add(frame_id=at.frame_id, id=name)
    entity.timestamp.FromNanoseconds(at.ns)
    return update, entity


def _draw(entity: Any, shape: Shape) -> None:
    """Add a shape to a scene's entity."""
    if shape.kind == "spheres":
        for at, point in enumerate(shape.point_N3):
            sphere = entity.spheres.add()
            _place(sphere.pose.position, point.tolist())
            sphere.pose.orientation.w = 1.0
            sphere.size.x = sphere.size.y = sphere.size.z = shape.size_m
            _paint(sphere.color, shape.color if shape.color_N4 is None else shape.color_N4[at].tolist())
        return
    if shape.kind == "points":
        for at, point in enumerate(shape.point_N3):
            cube = entity.cubes.add()
            _place(cube.pose.position, point.tolist())
            cube.pose.orientation.w = 1.0
            cube.size.x = cube.size.y = cube.size.z = shape.size_m
            _paint(cube.color, shape.color if shape.color_N4 is None else shape.color_N4[at].tolist())
        return
    if shape.kind == "triangles":
        part = entity.triangles.add()
    else:
        part = entity.lines.add(type=LinePrimitive.LINE_LIST, thickness=shape.size_m)
    part.pose.orientation.w = 1.0
    _paint(part.color, shape.color)
    _add_points(part.points, shape.point_N3)
    for color in () if shape.color_N4 is None else shape.color_N4.tolist():
        _paint(part.colors.add(), color)


def _add_points(points: Any, point_N3: np.ndarray) -> None:
    for x, y, z in point_N3.tolist():
        points.add(x=x, y=y, z=z)


def _place(vector: Any, values: Sequence[float]) -> None:
    vector.x, vector.y, vector.z = (float(value) for value in values)


def _turn(quaternion: Any, values: Sequence[float]) -> None:
    quaternion.x, quaternion.y, quaternion.z, quaternion.w = (float(value) for value in values)


def _paint(color: Any, values: Sequence[float]) -> None:
    color.r, color.g, color.b, color.a = (float(value) for value in values)
