"""The camera as it is mounted and set: tilted, exposed and white balanced, around the level pictures of ``render``.

A camera that only turns sees the same rays: its picture is a level one of a wider view, looked up along them.

Shape suffixes: H W = picture rows and columns, N = bodies.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from wm_sim.building import Building
from wm_sim.render import Renderer, tangents_of
from wm_sim.settings import Camera
from wm_sim.things import Things


class Eye:
    """Pictures of one building through one camera.

    Args:
        building: The floor plan.
        things: Its bodies.
        image_size: Height and width [pixels].
        texture_seed: Random textures over everything; none without one.
        camera: How it is mounted and set.

    Raises:
        ValueError: The size is not 8 to 2160 pixels each way.
    """

    def __init__(
        self, building: Building, things: Things, image_size: tuple[int, int], texture_seed: int | None, camera: Camera
    ) -> None:
        if not all(8 <= side <= 2160 for side in image_size):
            raise ValueError(f"image_size is {tuple(image_size)}, expected (height, width) of 8 to 2160 pixels each")
        tangents = tangents_of(camera.width_deg, camera.height_deg)
        self._turned = _Turned(image_size, tangents, math.radians(camera.tilt_deg)) if camera.tilt_deg else None
        self._table = _colour_table(camera)
        if self._turned is not None:
            image_size, tangents = self._turned.level_size, self._turned.level_tangents
        self._level = Renderer(building, things, image_size, texture_seed, tangents=tangents, eye_m=camera.height_m)

    def render(
        self,
        pose: tuple[float, float, float],
        light_YX3: np.ndarray,
        position_N2: np.ndarray,
        yaw_N: np.ndarray,
        depth: bool = False,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return image [H, W, 3] and, on request, depth along the camera's axis [m]; arguments as of ``Renderer``."""
        image, depth_HW = self._level.render(pose, light_YX3, position_N2, yaw_N, depth)
        if self._turned is not None:
            image, depth_HW = self._turned.look(image, depth_HW)
        return (image if self._table is None else cv2.LUT(image, self._table)), depth_HW


class _Turned:
    """Where a tilted camera's pixels lie in a level picture that shows all that it sees."""

    def __init__(self, image_size: tuple[int, int], tangents: tuple[float, float], down_rad: float) -> None:
        height, width = image_size
        cosine, sine = math.cos(down_rad), math.sin(down_rad)
        right_1W = ((np.arange(width) + 0.5) / width * 2.0 - 1.0)[None] * tangents[0]
        down_H1 = ((np.arange(height) + 0.5) / height * 2.0 - 1.0)[:, None] * tangents[1]
        ahead_H1 = cosine - sine * down_H1
        slope_HW, drop_H1 = right_1W / ahead_H1, (sine + cosine * down_H1) / ahead_H1
        # As fine as the tilted picture is in its middle.
        half_width = math.ceil(np.abs(slope_HW).max() / tangents[0] * width / 2 + 1)
        half_height = math.ceil(np.abs(drop_H1).max() / tangents[1] * height / 2 + 1)
        self.level_size = 2 * half_height, 2 * half_width
        self.level_tangents = half_width * 2 / width * tangents[0], half_height * 2 / height * tangents[1]
        column_HW = (slope_HW / self.level_tangents[0] + 1.0) * half_width - 0.5
        row_HW = np.broadcast_to((drop_H1 / self.level_tangents[1] + 1.0) * half_height - 0.5, column_HW.shape)
        self._column_HW, self._row_HW = column_HW.astype(np.float32), row_HW.astype(np.float32)
        self._along_H1 = (cosine + sine * drop_H1).astype(np.float32)

    def look(self, image: np.ndarray, depth_HW: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the tilted camera's image and depth."""
        turned = cv2.remap(image, self._column_HW, self._row_HW, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        if depth_HW is None:
            return turned, None
        seen_HW = cv2.remap(depth_HW, self._column_HW, self._row_HW, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
        return turned, seen_HW * self._along_H1


def _colour_table(camera: Camera) -> np.ndarray | None:
    """Return what becomes of each value of each colour, uint8 [1, 256, 3]; None where nothing does."""
    gain_3 = np.array([camera.red, 1.0, camera.blue]) * camera.exposure
    if (gain_3 == 1.0).all():
        return None
    return np.minimum(np.rint(np.arange(256)[:, None] * gain_3), 255.0).astype(np.uint8)[None]
