"""From a wish to a way: what is known well enough, and what is not."""

import math

import numpy as np
import pytest
from latent_planner.goals import GoalError, GoalPose
from latent_planner.ground_settings import GroundSettings
from latent_planner.locate import FEATURE_SHARE, Wish, beside, check_alike, locate, moved, usual_difference
from latent_planner.remembered import Remembered

from latent_planner import ground
from wm_core.memory.recognition import SamePlace
from wm_core.memory.rows import Rows

AT_START = np.array([0.0, 0.0, 0.0])


def lane(count=40, spacing_m=0.25):
    return np.column_stack([spacing_m * np.arange(count), np.zeros(count), np.zeros(count)])


def remembered(pose_N3, look_ND=None):
    look_ND = np.random.default_rng(0).normal(size=(len(pose_N3), 16)) if look_ND is None else look_ND
    return Remembered(pose_N3, np.zeros(len(pose_N3), int), look_ND, np.arange(len(pose_N3)) + 100)


def refused(wish, **given):
    with pytest.raises(GoalError) as error:
        locate(wish, given.pop("remembered", remembered(lane())), AT_START, GroundSettings(), **given)
    return error.value.reason


def test_a_pose_has_a_way_and_a_field_that_leads_there():
    found = locate(Wish(pose=GoalPose(np.array([5.0, 0.1, 1.0]), 1.0)), remembered(lane()), AT_START, GroundSettings())
    assert found.goal.pose_3 == pytest.approx([5.0, 0.1, 1.0])
    assert found.way.length_m == pytest.approx(5.0, abs=0.05)
    costs = found.field.at(np.array([[[0.0, 0.0], [2.5, 0.0], [5.0, 0.1]]]))[0]
    assert costs == pytest.approx([5.0, 2.5, 0.0], abs=0.2)


def test_a_memory_is_known_by_its_id_and_a_region_by_its_nearest_place():
    by_id = locate(Wish(memory_id=108), remembered(lane()), AT_START, GroundSettings())
    assert (by_id.goal.pose_3[0], by_id.memory_id) == (2.0, 108)
    corner_C2 = np.array([[2.9, -1.0], [8.0, -1.0], [8.0, 1.0], [2.9, 1.0]])
    in_region = locate(Wish(corner_C2=corner_C2), remembered(lane()), AT_START, GroundSettings())
    assert in_region.goal.pose_3[0] == pytest.approx(3.0, abs=0.15)
    assert math.isnan(in_region.goal.pose_3[2])


def test_a_goal_beside_a_memory_goes_with_it():
    """0.1 m ahead and 0.05 m to the left of a memory that faces up."""
    there = np.column_stack([np.zeros(9), 0.25 * np.arange(9), np.full(9, 0.5 * math.pi)])
    offset = np.array([0.1, 0.05, 0.2])
    found = locate(Wish(memory_id=104, beside_3=offset), remembered(there), there[0], GroundSettings())
    assert found.goal.pose_3 == pytest.approx([-0.05, 1.1, 0.5 * math.pi + 0.2])
    assert beside(found.goal.pose_3, there[4]) == pytest.approx(offset)
    assert moved(there[4], None) == pytest.approx(there[4])


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        (Wish(pose=GoalPose(np.array([5.0, 4.0, 0.0]), 1.0)), "unreachable"),
        (Wish(corner_C2=np.array([[0.0, 5.0], [1.0, 5.0], [1.0, 6.0]])), "unreachable"),
        (Wish(memory_id=7), "missing"),
        (Wish(latent_D=np.zeros(3)), "foreign"),
        (Wish(latent_D=np.full(16, 40.0)), "unknown"),
    ],
)
def test_what_cannot_be_is_named(wish, reason):
    assert refused(wish) == reason
    assert refused(wish, remembered=remembered(lane(0))) == "empty"


def test_a_goal_off_the_ground_can_be_allowed_and_leads_through_a_field_that_reaches_it():
    wish = Wish(pose=GoalPose(np.array([5.0, 4.0, 0.0]), 1.0), may_leave=True)
    found = locate(wish, remembered(lane()), AT_START, GroundSettings())
    assert found.way.unknown_m == pytest.approx(4.0, abs=0.2)
    assert found.field.at(np.array([[[5.0, 4.0]]]))[0, 0] == pytest.approx(0.0, abs=0.1)


def test_a_latent_is_looked_up_with_the_confidence_that_is_asked_for():
    memory = remembered(lane())
    found = locate(Wish(latent_D=memory.latent_ND[8], least_confidence=0.9), memory, AT_START, GroundSettings())
    assert (found.memory_id, found.goal.confidence > 0.9) == (108, True)
    assert refused(Wish(latent_D=memory.latent_ND[8], least_confidence=1.1), remembered=memory) == "unsure"


def test_places_differ_as_a_plain_search_says():
    rng = np.random.default_rng(3)
    pose_N3 = np.column_stack([rng.uniform(0, 20, (50, 2)), rng.uniform(-9, 9, 50)])
    look_ND = rng.normal(size=(50, 8))
    same = SamePlace(1.0, math.radians(30.0))
    nearest = []
    for one, look_D in zip(pose_N3, look_ND):
        turn_N = np.abs([math.remainder(one[2] - other[2], 2 * math.pi) for other in pose_N3])
        apart_N = np.hypot(*(pose_N3[:, :2] - one[:2]).T)
        elsewhere_N = (apart_N > 2.0) | (turn_N > math.radians(60.0))
        nearest.append(np.linalg.norm(look_ND - look_D, axis=1)[elsewhere_N].min())
    assert usual_difference(look_ND, pose_N3, same) == pytest.approx(np.median(nearest), rel=1e-4)
    assert usual_difference(look_ND[:1], pose_N3[:1], same) == math.inf
    with pytest.raises(GoalError, match="nothing remembered"):
        check_alike(1.1, 1.0)
    check_alike(1.0, 1.0)
    with pytest.raises(GoalError, match=r"at most 0\.8 of that"):
        check_alike(0.81, 1.0, FEATURE_SHARE)
    check_alike(0.79, 1.0, FEATURE_SHARE)


def test_memories_are_put_in_the_order_in_which_they_were_made():
    stamp_N, session_N = np.array([3, 1, 2, 9]), np.array([0, 0, 1, 1], np.int32)
    x_N, nothing = np.array([0.3, 0.1, 1.2, 1.9]), np.zeros(4)
    rows = Rows(np.array([7, 5, 6, 8]), stamp_N, x_N, nothing, nothing, nothing, session_N, nothing, np.zeros((4, 2)),
                np.zeros((4, 2)), nothing, np.zeros((4, 3)))  # fmt: skip
    memories = Remembered.of(rows, "encoder", "map")
    assert memories.id_N.tolist() == [5, 7, 6, 8]
    assert memories.pose_N3[:, 0].tolist() == [0.1, 0.3, 1.2, 1.9]
    assert (memories.row(6), memories.row(4711)) == (2, -1)


@pytest.mark.parametrize("far_m", [1e3, 1e5, 9e6])
def test_one_memory_far_away_costs_nothing(far_m):
    """Somebody's record a thousand kilometres off would be a grid of terabytes."""
    pose_N3 = np.concatenate([lane(), [[far_m, -far_m, 0.0]]])
    goal = Wish(pose=GoalPose(np.array([5.0, 0.0, 0.0]), 1.0))
    found = locate(goal, remembered(pose_N3), AT_START, GroundSettings())
    assert found.field.ground.known_YX.size < 1e6
    alone = locate(goal, remembered(lane()), AT_START, GroundSettings())
    places = np.array([[[0.0, 0.0], [2.5, 0.2], [5.0, 0.1]]])
    assert found.field.at(places) == pytest.approx(alone.field.at(places), abs=0.1)


@pytest.mark.parametrize("far_m", [2e3, 9e6])
def test_a_goal_that_is_too_far_away_is_refused_before_anything_is_made(far_m):
    pose = GoalPose(np.array([far_m, far_m, 0.0]), 1.0)
    assert refused(Wish(pose=pose, may_leave=True)) == "unreachable"
    both = remembered(np.concatenate([lane(), [[far_m, far_m, 0.0]]]))
    corner_C2 = far_m + np.array([[-1.0, -1.0], [1.0, -1.0], [0.0, 1.0]])
    assert refused(Wish(corner_C2=corner_C2, may_leave=True), remembered=both) == "unreachable"


def test_a_long_way_has_larger_cells(monkeypatch):
    monkeypatch.setattr(ground, "MOST_CELLS", 2**17)
    goal = Wish(pose=GoalPose(np.array([25.0, 20.0, 0.0]), 1.0), may_leave=True)
    field = locate(goal, remembered(lane()), AT_START, GroundSettings()).field
    assert 0.05 < field.ground.cell_m <= 0.25
    assert field.ground.known_YX.size < 1.1 * 2**17
    assert field.at(np.array([[[25.0, 20.0]]])) == pytest.approx(0.0, abs=1.0)
