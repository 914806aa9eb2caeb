"""First-person pictures: rays against wall segments, floor and ceiling by depth, round bodies on top.

One texture look-up per frame: every pixel gets a place in the atlas and a place in the light grid, and OpenCV samples
both bilinearly. The picture covers the camera's field of view whatever its size, so a small picture is a large one
resized. The camera looks level here; ``eye`` tilts it.

Shape suffixes: H W = picture rows and columns, S = wall segments, N = bodies, 2 = x, y in metres.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from wm_sim.building import Building
from wm_sim.changes import LIGHT_CELLS_PER_M, LIGHT_UNIT
from wm_sim.decor import PIXELS_PER_M
from wm_sim.paint import SCALES, paint_atlas
from wm_sim.settings import DEFAULT_CAMERA
from wm_sim.things import SKIN_SIZE, Things

FIELD_OF_VIEW_DEG = (DEFAULT_CAMERA.width_deg, DEFAULT_CAMERA.height_deg)
CAMERA_HEIGHT_M = DEFAULT_CAMERA.height_m
NEAR_M, FAR_M = 0.15, 40.0
_LIGHT_GRID_PIXELS = 160


def tangents_of(width_deg: float, height_deg: float) -> tuple[float, float]:
    """Return the tangents of half the fields of view."""
    return math.tan(math.radians(width_deg / 2)), math.tan(math.radians(height_deg / 2))


class Renderer:
    """Pictures of one building at one size.

    Args:
        building: The floor plan.
        things: Its bodies.
        image_size: Height and width [pixels].
        texture_seed: Random textures over everything; none without one.
        tangents: Of half the fields of view, across and down.
        eye_m: Height of the camera [m].
    """

    def __init__(
        self,
        building: Building,
        things: Things,
        image_size: tuple[int, int],
        texture_seed: int | None = None,
        *,
        tangents: tuple[float, float] = tangents_of(*FIELD_OF_VIEW_DEG),
        eye_m: float = CAMERA_HEIGHT_M,
    ) -> None:
        self._height, self._width = (int(side) for side in image_size)
        self._eye_m = eye_m
        self._focal = (self._width / 2 / tangents[0], self._height / 2 / tangents[1])
        self._slope_W = (np.arange(self._width) + 0.5 - self._width / 2) / self._focal[0]
        self._drop_H = (np.arange(self._height) + 0.5 - self._height / 2) / self._focal[1]
        self._ceiling_m = building.ceiling_m
        self._start_S2, self._along_S2 = building.wall_start_S2, building.wall_end_S2 - building.wall_start_S2
        self._length_S = np.linalg.norm(self._along_S2, axis=1)
        self._things = things
        self._skins = _SkinScales(things.skin_NKK4)
        self._prepare_atlas(building, texture_seed)

    def _prepare_atlas(self, building: Building, texture_seed: int | None) -> None:
        self._atlas = paint_atlas(building, texture_seed)
        overhead_m = np.where(self._drop_H > 0, self._eye_m, building.ceiling_m - self._eye_m)
        with np.errstate(divide="ignore"):
            depth_H = np.minimum(overhead_m / np.abs(self._drop_H), FAR_M)
        self._plane_depth_H1 = depth_H.astype(np.float32)[:, None]
        # Floor pixels stretch away from the camera, so a coarser scale than the width alone would ask for.
        level_H = self._level(depth_H * 1.6)
        scale_H = PIXELS_PER_M * 0.5**level_H
        self._plane_scale_H1 = scale_H.astype(np.float32)[:, None]
        ceiling_H = np.where(self._drop_H > 0, 0, self._atlas.ceiling_column) * 0.5**level_H
        self._plane_column_H1 = (ceiling_H - 0.5).astype(np.float32)[:, None]
        self._plane_row_H1 = (self._atlas.row_of_level[level_H] - 0.5).astype(np.float32)[:, None]
        self._drop_H1 = self._drop_H.astype(np.float32)[:, None]

    def _level(self, depth: np.ndarray) -> np.ndarray:
        """Return the atlas scale for surfaces at a depth [m]."""
        footprint = depth * PIXELS_PER_M / min(self._focal)
        return np.clip(np.rint(np.log2(np.maximum(footprint, 1e-3))), 0, SCALES - 1).astype(np.int64)

    def render(
        self,
        pose: tuple[float, float, float],
        light_YX3: np.ndarray,
        position_N2: np.ndarray,
        yaw_N: np.ndarray,
        depth: bool = False,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return what the camera sees: RGB uint8 [H, W, 3] and, on request, depth along its axis [m], float32 [H, W].

        Args:
            pose: Camera x, y [m] and yaw [rad] in the map.
            light_YX3: Light grid, ``LIGHT_UNIT`` is plain.
            position_N2: Where the bodies are [m].
            yaw_N: Where they face [rad].
            depth: Whether the depth picture is wanted.
        """
        x, y, yaw = pose
        forward_2 = np.array([math.cos(yaw), math.sin(yaw)])
        right_2 = np.array([forward_2[1], -forward_2[0]])
        ray_W2 = forward_2 + self._slope_W[:, None] * right_2
        wall_W, depth_W, share_W = self.cast(np.array([x, y]), forward_2, ray_W2)
        depth_HW = np.minimum(depth_W.astype(np.float32), self._plane_depth_H1)
        spot_x_HW = depth_HW * ray_W2[:, 0].astype(np.float32)
        spot_x_HW += np.float32(x)
        spot_y_HW = depth_HW * ray_W2[:, 1].astype(np.float32)
        spot_y_HW += np.float32(y)
        light_HW3 = self._light(light_YX3, spot_x_HW, spot_y_HW)
        image = cv2.remap(
            self._atlas.image_HW3,
            *self._atlas_places(spot_x_HW, spot_y_HW, wall_W, depth_W, share_W),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        image = cv2.multiply(image, light_HW3, scale=1.0 / LIGHT_UNIT)
        self._draw_things(image, depth_HW, depth_W, pose, light_YX3, position_N2, yaw_N, depth)
        return image, (depth_HW if depth else None)

    def cast(
        self, origin_2: np.ndarray, forward_2: np.ndarray, ray_W2: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return per ray the wall hit, how many ray lengths away, and where along the wall (0 to 1)."""
        offset_S2, along_S2 = self._start_S2 - origin_2, self._along_S2
        facing_S = offset_S2[:, 0] * along_S2[:, 1] - offset_S2[:, 1] * along_S2[:, 0]
        ahead_S = np.maximum(offset_S2 @ forward_2, (offset_S2 + along_S2) @ forward_2)
        seen = np.flatnonzero((facing_S * self._front_sign > 0) & (ahead_S > 0))
        offset_S2, along_S2, facing_S = offset_S2[seen], along_S2[seen], facing_S[seen]
        cross_SW = along_S2[:, 1:] * ray_W2[:, 0] - along_S2[:, :1] * ray_W2[:, 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            inverse_SW = 1.0 / cross_SW
            share_SW = (offset_S2[:, :1] * ray_W2[:, 1] - offset_S2[:, 1:] * ray_W2[:, 0]) * inverse_SW
            depth_SW = facing_S[:, None] * inverse_SW
            hit_SW = (depth_SW > 0) & (np.abs(share_SW - 0.5) <= 0.5 + 1e-9)
        depth_SW = np.where(hit_SW, depth_SW, FAR_M)
        nearest_W = depth_SW.argmin(axis=0)
        every_W = np.arange(len(ray_W2))
        share_W = np.nan_to_num(share_SW[nearest_W, every_W], posinf=0.0, neginf=0.0)
        return seen[nearest_W], depth_SW[nearest_W, every_W], np.clip(share_W, 0.0, 1.0)

    # A wall's left end comes first as seen from its free side, which gives the sign of (start - eye) x (end - start).
    _front_sign = -1.0

    def _atlas_places(
        self, spot_x_HW: np.ndarray, spot_y_HW: np.ndarray, wall_W: np.ndarray, depth_W: np.ndarray, share_W: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return every pixel's column and row in the atlas; overwrites the spots."""
        level_W = self._level(depth_W)
        shrink_W = 0.5**level_W
        column_W = (
            self._atlas.wall_column_S[wall_W] + share_W * self._length_S[wall_W] * PIXELS_PER_M
        ) * shrink_W - 0.5
        eye_row_W = self._atlas.wall_row_S[wall_W] + (self._ceiling_m - self._eye_m) * PIXELS_PER_M
        row_W = (self._atlas.row_of_level[level_W] + eye_row_W * shrink_W - 0.5).astype(np.float32)
        rise_W = (depth_W * PIXELS_PER_M * shrink_W).astype(np.float32)
        is_wall_HW = depth_W.astype(np.float32) < self._plane_depth_H1
        spot_x_HW *= self._plane_scale_H1
        spot_x_HW += self._plane_column_H1
        spot_y_HW *= self._plane_scale_H1
        spot_y_HW += self._plane_row_H1
        np.copyto(spot_x_HW, column_W.astype(np.float32)[None], where=is_wall_HW)
        np.copyto(spot_y_HW, row_W + self._drop_H1 * rise_W, where=is_wall_HW)
        return spot_x_HW, spot_y_HW

    def _light(self, light_YX3: np.ndarray, spot_x_HW: np.ndarray, spot_y_HW: np.ndarray) -> np.ndarray:
        """Return the light at every pixel, looked up on a coarser grid when the picture is large: light is smooth."""
        step = max(1, self._width // _LIGHT_GRID_PIXELS)
        columns = spot_x_HW[::step, ::step] * LIGHT_CELLS_PER_M - np.float32(0.5)
        rows = spot_y_HW[::step, ::step] * LIGHT_CELLS_PER_M - np.float32(0.5)
        light = cv2.remap(light_YX3, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        if step > 1:
            light = cv2.resize(light, (self._width, self._height), interpolation=cv2.INTER_LINEAR)
        return light

    def _draw_things(
        self,
        image: np.ndarray,
        depth_HW: np.ndarray,
        depth_W: np.ndarray,
        pose: tuple[float, float, float],
        light_YX3: np.ndarray,
        position_N2: np.ndarray,
        yaw_N: np.ndarray,
        write_depth: bool,
    ) -> None:
        """Draw the bodies that are in view and not behind walls, the farthest first."""
        x, y, yaw = pose
        cosine, sine = math.cos(yaw), math.sin(yaw)
        ahead_N = (position_N2[:, 0] - x) * cosine + (position_N2[:, 1] - y) * sine
        aside_N = (position_N2[:, 0] - x) * sine - (position_N2[:, 1] - y) * cosine
        edge = self._slope_W[-1]
        radius_N = self._things.radius_N
        is_seen_N = (ahead_N > NEAR_M + radius_N) & (np.abs(aside_N) - radius_N * 1.3 < ahead_N * edge)
        for index in sorted(np.flatnonzero(is_seen_N), key=lambda body: -ahead_N[body]):
            ahead, aside, radius = float(ahead_N[index]), float(aside_N[index]), float(radius_N[index])
            left = math.ceil(((aside - radius) / ahead) * self._focal[0] + self._width / 2 - 0.5)
            right = math.floor(((aside + radius) / ahead) * self._focal[0] + self._width / 2 - 0.5)
            left, right = max(left, 0), min(right, self._width - 1)
            if left > right or depth_W[left : right + 1].max() < ahead:
                continue
            cell_y, cell_x = (int(value * LIGHT_CELLS_PER_M) for value in position_N2[index, ::-1])
            light_3 = light_YX3[min(cell_y, light_YX3.shape[0] - 1), min(cell_x, light_YX3.shape[1] - 1)]
            bearing = math.atan2(y - position_N2[index, 1], x - position_N2[index, 0]) - float(yaw_N[index])
            self._draw_body(image, depth_HW, (left, right), (ahead, aside, int(index)), bearing, light_3, write_depth)

    def _draw_body(
        self,
        image: np.ndarray,
        depth_HW: np.ndarray,
        columns: tuple[int, int],
        body: tuple[float, float, int],
        bearing: float,
        light_3: np.ndarray,
        write_depth: bool,
    ) -> None:
        """Draw one upright body of revolution; ``bearing`` is the camera's direction seen from its front [rad]."""
        ahead, aside, index = body
        radius, tall = self._things.radius_N[index], self._things.height_N[index]
        rows = [(self._eye_m - height) / ahead * self._focal[1] + self._height / 2 - 0.5 for height in (tall, 0.0)]
        top, bottom = max(math.ceil(rows[0]), 0), min(math.floor(rows[1]), self._height - 1)
        if top > bottom:
            return
        skin_KK4 = self._skins.at(index, (rows[1] - rows[0]))
        size = skin_KK4.shape[0]
        window = (slice(top, bottom + 1), slice(columns[0], columns[1] + 1))
        offset_W = ((self._slope_W[window[1]] * ahead - aside) / radius).astype(np.float32)
        down_H = (self._drop_H[window[0]] * ahead - (self._eye_m - tall)) / tall
        row_H = np.clip((down_H * size).astype(np.int64), 0, size - 1)
        outline_H1 = skin_KK4[row_H, 0, 3].astype(np.float32)[:, None] / np.float32(255.0)
        sine_HW = offset_W / outline_H1
        is_body_HW = (np.abs(sine_HW) <= 1.0) & (depth_HW[window] > ahead)
        turn_HW = np.arcsin(np.clip(sine_HW, -1.0, 1.0))
        column_HW = ((turn_HW + np.float32(bearing)) * np.float32(size / (2 * math.pi))).astype(np.int64) % size
        shade_HW = 0.55 + 0.45 * np.sqrt(np.maximum(1.0 - sine_HW * sine_HW, 0.0))
        gain_3 = light_3.astype(np.float32) / np.float32(LIGHT_UNIT)
        colour_HW3 = skin_KK4[row_H[:, None], column_HW, :3] * (shade_HW[..., None] * gain_3)
        np.copyto(image[window], np.minimum(colour_HW3, 255.0).astype(np.uint8), where=is_body_HW[..., None])
        if write_depth:
            np.copyto(depth_HW[window], np.float32(ahead), where=is_body_HW)


class _SkinScales:
    """Skins at halved sizes, so that a far body is averaged rather than flickering."""

    def __init__(self, skin_NKK4: np.ndarray) -> None:
        self._scales: list[list[np.ndarray]] = [
            [
                cv2.resize(skin, (SKIN_SIZE >> level, SKIN_SIZE >> level), interpolation=cv2.INTER_AREA)
                for level in range(3)
            ]
            for skin in skin_NKK4
        ]

    def at(self, index: int, height: float) -> np.ndarray:
        """Return the skin of a body that is ``height`` pixels high in the picture."""
        level = 0 if height >= SKIN_SIZE else 1 if height >= SKIN_SIZE / 2 else 2
        return self._scales[index][level]
