"""A recording for rerun (.rrd), with its layout inside.

Shape suffixes: N = points, 3 = x, y, z [m].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import rerun as rr
import rerun.blueprint as rrb

from wm_core.drawing import Color, Shape
from wm_view.recorder.sink import Costs, Key, Placed, Stamped, blended

_APPLICATION = "world_model"
_ARROW_M, _ABOVE_M = 0.5, 0.02
_NUMBER_OF_STD = 2.0


class RerunSink:
    """Writes a recording for rerun.

    Args:
        path: File to write.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream = rr.RecordingStream(_APPLICATION, send_properties=True)
        self._stream.save(path, default_blueprint=blueprint())
        self._stream.log("world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)

    def picture(self, name: str, stamp_ns: int, jpeg: bytes) -> None:
        """Take a picture."""
        self._log(name, stamp_ns, rr.EncodedImage(contents=jpeg, media_type="image/jpeg"))

    def pose(self, name: str, at: Stamped, placed: Placed, color: Color) -> None:
        """Take where something is; with standard errors, their ellipse of two."""
        turn = rr.Quaternion(xyzw=placed.quaternion)
        self._log(f"world/{name}", at.ns, rr.Transform3D(translation=placed.position, quaternion=turn))
        arrow = rr.Arrows3D(vectors=[(_ARROW_M, 0.0, 0.0)], colors=[_bytes(color)], radii=[0.04])
        self._log(f"world/{name}/arrow", at.ns, arrow)
        if max(placed.std_xy) > 0.0:
            half_m = [_NUMBER_OF_STD * placed.std_xy[0], _NUMBER_OF_STD * placed.std_xy[1], _ABOVE_M]
            ellipse = rr.Ellipsoids3D(
                centers=[placed.position], half_sizes=[half_m], colors=[_bytes(color, 0.3)], fill_mode="solid"
            )
            self._log(f"world/{name}_errors", at.ns, ellipse)

    def path(self, name: str, at: Stamped, point_N3: np.ndarray, color: Color) -> None:
        """Take a way; an empty one takes away the last."""
        strips = [point_N3] if len(point_N3) > 1 else []
        self._log(f"world/{name}", at.ns, rr.LineStrips3D(strips, colors=[_bytes(color)], radii=[0.03]))

    def shapes(self, name: str, at: Stamped, changed: Sequence[Shape], gone: Sequence[Key]) -> None:
        """Take what of a drawing changed, and what is gone from it."""
        for group, number in gone:
            self._log(f"world/{name}/{group}/{number}", at.ns, rr.Clear(recursive=True))
        for shape in changed:
            self._log(f"world/{name}/{shape.group}/{shape.number}", at.ns, archetype_of(shape))

    def costs(self, name: str, at: Stamped, grid: Costs) -> None:
        """Take what each place costs."""
        color_HW4 = np.flipud(blended(grid.cost_HW))  # a picture's first row is its upper one
        height, width = grid.cost_HW.shape
        made = rr.GridMap(
            data=color_HW4.tobytes(),
            format=rr.components.ImageFormat(width=width, height=height, color_model="RGBA", channel_datatype="U8"),
            cell_size=grid.cell_m,
            translation=grid.origin.position,
            quaternion=rr.Quaternion(xyzw=grid.origin.quaternion),
        )
        self._log(f"world/{name}", at.ns, made)

    def numbers(self, name: str, stamp_ns: int, values: Mapping[str, float]) -> None:
        """Take some numbers; those that are not finite are left out."""
        for key, value in values.items():
            if isfinite(value):
                self._log(f"{name}/{key}", stamp_ns, rr.Scalars(value))

    def close(self) -> list[Path]:
        """Finish, and return the file."""
        self._stream.flush()
        self._stream.disconnect()
        return [self._path]

    def _log(self, entity: str, stamp_ns: int, what: Any) -> None:
        # Whole numbers would be read as seconds or nanoseconds by their size.
        self._stream.set_time("stamp", timestamp=np.datetime64(stamp_ns, "ns"))
        self._stream.log(entity, what)


def archetype_of(shape: Shape) -> Any:
    """Return a shape as rerun draws it."""
    color = [_bytes(shape.color)] if shape.color_N4 is None else np.round(255 * shape.color_N4).astype(np.uint8)
    point_N3 = shape.point_N3
    if shape.kind == "triangles":
        return rr.Mesh3D(vertex_positions=point_N3, vertex_colors=np.tile(_bytes(shape.color), (len(point_N3), 1)))
    if shape.kind == "lines":
        each = color if shape.color_N4 is None else color[1::2]
        return rr.LineStrips3D(point_N3.reshape(-1, 2, 3), colors=each, radii=[shape.size_m / 2])
    return rr.Points3D(point_N3, colors=color, radii=[shape.size_m / 2])


def blueprint() -> rrb.Blueprint:
    """Return the layout: the world from above, pictures, errors over time."""
    eye = rrb.EyeControls3D(kind=rrb.Eye3DKind.Orbital, tracking_entity="world/robot")
    world = rrb.Spatial3DView(origin="world", name="what the robot remembers, expects and plans", eye_controls=eye)
    pictures = rrb.Vertical(
        rrb.Spatial2DView(origin="camera", name="seen"),
        rrb.Spatial2DView(origin="imagination", name="seen, foreseen, foreseen next"),
    )
    error = rrb.TimeSeriesView(origin="error", name="error of the forecast (1: guessing the mean)")
    memory = rrb.TimeSeriesView(origin="memory", name="memories held and used")
    return rrb.Blueprint(
        rrb.Vertical(
            rrb.Horizontal(world, pictures, column_shares=[2, 1]),
            rrb.Horizontal(error, memory),
            row_shares=[2, 1],
        ),
        auto_views=False,
        collapse_panels=True,
    )


def _bytes(color: Color, share: float = 1.0) -> list[int]:
    red, green, blue, alpha = color
    return [round(255 * value) for value in (red, green, blue, alpha * share)]
