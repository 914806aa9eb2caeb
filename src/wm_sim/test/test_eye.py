"""Tilted, exposed and balanced cameras, against geometry worked out by hand and against single rays."""

import math

import cv2
import numpy as np
import pytest

from wm_sim import Camera, Simulation, WorldConfig, make_building
from wm_sim.eye import Eye
from wm_sim.render import Renderer, tangents_of
from wm_sim.things import make_things

EMPTY = WorldConfig(furniture_count=0, movable_count=0)
LIGHT = np.full((200, 200, 3), 128, np.uint8)
NOBODY = (np.zeros((0, 2)), np.zeros(0))


@pytest.fixture(scope="module")
def empty_building():
    return make_building(2, EMPTY)


@pytest.fixture(scope="module")
def corridor(empty_building):
    """A place in a long corridor, looking along it."""
    ways = np.diff(empty_building.edges_E22, axis=1)[:, 0]
    straight = next(i for i in range(len(ways) - 2) if np.allclose(ways[i], ways[i + 1]))
    x, y = empty_building.edges_E22[straight, 0]
    return float(x), float(y), math.atan2(ways[straight, 1], ways[straight, 0])


def eye_of(building, camera, size=(64, 64)):
    return Eye(building, make_things(building, EMPTY, 0), size, None, camera)


@pytest.mark.slow
def test_the_usual_camera_gives_the_level_renderer_s_pictures_bit_for_bit(empty_building, corridor):
    plain = Renderer(empty_building, make_things(empty_building, EMPTY, 0), (64, 64))
    expected = plain.render(corridor, LIGHT, *NOBODY, depth=True)
    for array, same in zip(eye_of(empty_building, Camera()).render(corridor, LIGHT, *NOBODY, depth=True), expected):
        assert np.array_equal(array, same)


@pytest.mark.slow
@pytest.mark.parametrize(("height_m", "view_deg"), [(0.2, 90.0), (1.1, 60.0)])
def test_floor_and_ceiling_lie_where_height_and_field_of_view_put_them(empty_building, corridor, height_m, view_deg):
    camera = Camera(height_m=height_m, height_deg=view_deg)
    _, depth = eye_of(empty_building, camera).render(corridor, LIGHT, *NOBODY, depth=True)
    drop = 63 / 64 * math.tan(math.radians(view_deg / 2))
    assert depth[63, 32] == pytest.approx(height_m / drop, rel=1e-3)
    assert depth[0, 32] == pytest.approx((empty_building.ceiling_m - height_m) / drop, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("tilt_deg", [12.0, 25.0])
def test_the_floor_before_a_tilted_camera_is_as_far_as_the_triangle_says(empty_building, corridor, tilt_deg):
    camera = Camera(height_m=0.5, tilt_deg=tilt_deg)
    _, depth = eye_of(empty_building, camera, (128, 128)).render(corridor, LIGHT, *NOBODY, depth=True)
    for row in (80, 100, 127):
        below = ((row + 0.5) / 64 - 1.0) * math.tan(math.radians(64.4 / 2))
        angle = math.radians(tilt_deg) + math.atan(below)
        along_ray_m = 0.5 / math.sin(angle)
        # A row is as high as the next one's floor is nearer.
        assert depth[row, 64] == pytest.approx(along_ray_m * math.cos(math.atan(below)), rel=0.04)


@pytest.mark.slow
@pytest.mark.parametrize("tilt_deg", [-10.0, 20.0])
def test_a_tilted_picture_is_what_single_rays_see(empty_building, corridor, tilt_deg):
    x, y, yaw = corridor
    pose = (x, y, yaw + 0.3)
    tilted, _ = eye_of(empty_building, Camera(tilt_deg=tilt_deg)).render(pose, LIGHT, *NOBODY)
    wide = Renderer(
        empty_building, make_things(empty_building, EMPTY, 0), (512, 512), tangents=tangents_of(110.0, 110.0)
    )
    level = wide.render(pose, LIGHT, *NOBODY)[0]
    tilt, reach = math.radians(tilt_deg), math.tan(math.radians(55.0))
    expected = np.zeros_like(tilted)
    for row in range(64):
        for column in range(64):
            right = ((column + 0.5) / 32 - 1) * math.tan(math.radians(40.0))
            down = ((row + 0.5) / 32 - 1) * math.tan(math.radians(32.2))
            ahead, below = math.cos(tilt) - down * math.sin(tilt), math.sin(tilt) + down * math.cos(tilt)
            place = (np.array([below, right]) / ahead / reach + 1) * 256
            expected[row, column] = level[int(place[0]), int(place[1])]
    smooth = [cv2.GaussianBlur(image, (0, 0), 1.5).astype(float) for image in (tilted, expected)]
    level_64 = cv2.resize(level, (64, 64), interpolation=cv2.INTER_AREA).astype(float)
    assert np.abs(smooth[0] - smooth[1]).mean() < 4.0 < np.abs(smooth[0] - level_64).mean() / 2


@pytest.mark.slow
def test_exposure_and_white_balance_multiply_colours_up_to_white(empty_building, corridor):
    plain = eye_of(empty_building, Camera()).render(corridor, LIGHT, *NOBODY)[0].astype(float)
    camera = Camera(exposure=1.5, red=0.8, blue=1.2)
    image = eye_of(empty_building, camera).render(corridor, LIGHT, *NOBODY)[0]
    assert np.array_equal(image, np.minimum(np.rint(plain * [1.2, 1.5, 1.8]), 255))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Camera(width_deg=170.0), r"Camera.width_deg is 170.0 deg, expected 20.0 to 120.0 deg"),
        (lambda: Camera(height_m=0.0), r"Camera.height_m is 0.0 m, expected 0.05 to 1.9 m"),
        (lambda: Camera(tilt_deg=80.0), r"Camera.tilt_deg is 80.0 deg, expected -30.0 to 30.0 deg"),
        (lambda: Camera(exposure=0.0), r"Camera.exposure is 0.0, expected 0.1 to 10.0"),
        (lambda: Simulation(1, image_size=(4, 64), camera=Camera(tilt_deg=5.0)), r"image_size is \(4, 64\)"),
    ],
)
def test_impossible_cameras_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
