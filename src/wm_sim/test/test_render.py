"""Pictures against geometry worked out by hand and against marching through the floor plan."""

import math

import cv2
import numpy as np
import pytest

from wm_sim import FIELD_OF_VIEW_DEG, WorldConfig, make_building
from wm_sim.building import CELL_M
from wm_sim.eye import Eye
from wm_sim.render import Renderer
from wm_sim.settings import DEFAULT_CAMERA
from wm_sim.things import make_things

EMPTY = WorldConfig(furniture_count=0, movable_count=0)
LIGHT = np.full((200, 200, 3), 128, np.uint8)
NOBODY = (np.zeros((0, 2)), np.zeros(0))


@pytest.fixture(scope="module")
def empty_building():
    return make_building(2, EMPTY)


def renderer_of(building, size=(64, 64)):
    return Renderer(building, make_things(building, EMPTY, 0), size)


def poses_in(building, count=12):
    rng = np.random.default_rng(0)
    for start, end in building.edges_E22[:count]:
        x, y = start + rng.uniform(0.1, 0.9) * (end - start)
        yield float(x), float(y), float(rng.uniform(-math.pi, math.pi))


def marched(building, x, y, angle, step_m=0.002):
    distance = 0.0
    while building.free_YX[int(y / CELL_M), int(x / CELL_M)]:
        x, y, distance = x + step_m * math.cos(angle), y + step_m * math.sin(angle), distance + step_m
    return distance


@pytest.mark.slow
def test_rays_end_where_marching_through_the_grid_ends(empty_building):
    renderer = renderer_of(empty_building)
    for x, y, yaw in poses_in(empty_building):
        angles = yaw + np.linspace(-0.6, 0.6, 9)
        rays = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        forward = np.array([math.cos(yaw), math.sin(yaw)])
        _, depth, share = renderer.cast(np.array([x, y]), forward, rays)
        expected = [marched(empty_building, x, y, angle) for angle in angles]
        assert depth == pytest.approx(expected, abs=0.05)
        assert ((share >= 0) & (share <= 1)).all()


@pytest.mark.slow
def test_depth_of_wall_floor_and_ceiling_by_hand(empty_building):
    renderer = renderer_of(empty_building)
    ways = np.diff(empty_building.edges_E22, axis=1)[:, 0]
    straight = next(i for i in range(len(ways) - 2) if np.allclose(ways[i], ways[i + 1]))
    x, y = empty_building.edges_E22[straight, 0]
    yaw = math.atan2(ways[straight, 1], ways[straight, 0])
    _, depth = renderer.render((x, y, yaw), LIGHT, *NOBODY, depth=True)
    # Rows look down by (row + 0.5 - 32) / 32 * tan(64.4 deg / 2): 0.6199 at the last one.
    assert depth[63, 32] == pytest.approx(0.7 / 0.6199, rel=1e-3)
    assert depth[0, 32] == pytest.approx(1.7 / 0.6199, rel=1e-3)
    wall = marched(empty_building, x, y, yaw + math.atan(-0.5 / 32 * math.tan(math.radians(40))))
    assert depth[31:33, 32] == pytest.approx([wall, wall], abs=0.05)


@pytest.mark.slow
def test_wall_that_faces_the_camera_is_equally_deep_all_over(empty_building):
    renderer = renderer_of(empty_building)
    start, end = empty_building.edges_E22[3]
    side = math.atan2(*(end - start)[::-1]) + math.pi / 2
    x, y = start + 0.5 * (end - start)
    _, depth = renderer.render((x, y, side), LIGHT, *NOBODY, depth=True)
    middle = depth[32, 20:44]
    expected = [marched(empty_building, x, y, side - math.atan(s)) * math.cos(math.atan(s)) for s in SLOPES[20:44]]
    assert middle == pytest.approx(expected, abs=0.06)


SLOPES = (np.arange(64) + 0.5 - 32) / 32 * math.tan(math.radians(40))


@pytest.mark.slow
def test_a_person_stands_where_they_should(empty_building):
    things = make_things(empty_building, EMPTY, 1)
    renderer = Renderer(empty_building, things, (120, 160))
    start, end = empty_building.edges_E22[0]
    way = (end - start) / np.linalg.norm(end - start)
    x, y = start
    right = np.array([way[1], -way[0]])
    person = start + 2.0 * way + 0.4 * right
    pose = (x, y, math.atan2(way[1], way[0]))
    _, without = renderer.render(pose, LIGHT, np.full((1, 2), -9.0), np.zeros(1), depth=True)
    _, depth = renderer.render(pose, LIGHT, person[None], np.zeros(1), depth=True)
    rows, columns = np.nonzero(depth != without)
    focal = 80 / math.tan(math.radians(FIELD_OF_VIEW_DEG[0] / 2))
    # 0.4 m to the right at 2 m is a fifth of the focal length right of the middle column.
    assert (columns.min() + columns.max()) / 2 == pytest.approx(79.5 + 0.2 * focal, abs=1.0)
    assert columns.max() - columns.min() + 1 == pytest.approx(2 * things.radius_N[0] / 2.0 * focal, abs=2.0)
    focal_v = 60 / math.tan(math.radians(FIELD_OF_VIEW_DEG[1] / 2))
    assert rows.max() == pytest.approx(59.5 + 0.35 * focal_v, abs=1.5)
    assert np.allclose(depth[rows, columns], 2.0)


@pytest.mark.slow
def test_nobody_is_seen_through_a_wall(empty_building):
    things = make_things(empty_building, EMPTY, 1)
    renderer = Renderer(empty_building, things, (64, 64))
    x, y = empty_building.edges_E22[0].mean(axis=0)
    for turn in np.linspace(0, 2 * math.pi, 8):
        distance = marched(empty_building, x, y, turn) + 0.3
        behind = np.array([[x + distance * math.cos(turn), y + distance * math.sin(turn)]])
        image, _ = renderer.render((x, y, turn), LIGHT, behind, np.zeros(1))
        nobody, _ = renderer.render((x, y, turn), LIGHT, np.full((1, 2), -9.0), np.zeros(1))
        changed = (image != nobody).any(axis=(0, 2))
        assert not changed[31:33].any()


@pytest.mark.slow
def test_small_picture_is_the_large_one_resized(empty_building):
    small, large = renderer_of(empty_building, (64, 64)), renderer_of(empty_building, (240, 320))
    for pose in poses_in(empty_building, 6):
        one, _ = small.render(pose, LIGHT, *NOBODY)
        other, _ = large.render(pose, LIGHT, *NOBODY)
        resized = cv2.resize(other, (64, 64), interpolation=cv2.INTER_AREA)
        assert np.abs(one.astype(int) - resized).mean() < 10


def test_light_brightens_and_colours_the_picture(empty_building):
    renderer = renderer_of(empty_building)
    pose = next(poses_in(empty_building))
    plain, _ = renderer.render(pose, LIGHT, *NOBODY)
    dim, _ = renderer.render(pose, (LIGHT * [0.5, 0.25, 1.0]).astype(np.uint8), *NOBODY)
    assert dim.mean(axis=(0, 1)) == pytest.approx(plain.mean(axis=(0, 1)) * [0.5, 0.25, 1.0], rel=0.02)


def test_places_look_different(empty_building):
    renderer = renderer_of(empty_building)
    images = []
    for start, end in empty_building.edges_E22:
        way = end - start
        images.append(renderer.render((*start, math.atan2(way[1], way[0])), LIGHT, *NOBODY)[0].astype(float))
    differences = [np.abs(a - b).mean() for i, a in enumerate(images) for b in images[:i]]
    assert min(differences) > 12


@pytest.mark.parametrize("size", [(4, 64), (64, 5000), (0, 0)])
def test_impossible_picture_size_is_refused(empty_building, size):
    things = make_things(empty_building, EMPTY, 0)
    with pytest.raises(ValueError, match="8 to 2160 pixels"):
        Eye(empty_building, things, size, None, DEFAULT_CAMERA)


@pytest.mark.slow
def test_random_textures_change_colours_and_not_geometry(empty_building):
    things = make_things(empty_building, EMPTY, 0)
    plain, *textured = (Renderer(empty_building, things, (64, 64), seed) for seed in (None, 1, 1, 2))
    for pose in poses_in(empty_building, 4):
        seen, depth = plain.render(pose, LIGHT, *NOBODY, depth=True)
        once, depth_textured = textured[0].render(pose, LIGHT, *NOBODY, depth=True)
        again, other = (renderer.render(pose, LIGHT, *NOBODY)[0] for renderer in textured[1:])
        np.testing.assert_array_equal(depth, depth_textured)
        np.testing.assert_array_equal(once, again)
        assert np.abs(once.astype(int) - seen).mean() > 10
        assert np.abs(once.astype(int) - other).mean() > 10
