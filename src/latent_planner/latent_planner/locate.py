"""From a wish to a pose, the way to it and the field that leads there: what is done once per goal, on a worker thread.

Shape suffixes: N = memories, M = some of them, D = latent or feature size, C = corners, R = points of a way,
2 = x, y [m], 3 = (x, y, yaw).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from latent_planner.goals import GoalError, GoalPose, look_up
from latent_planner.ground import Field, Ground, TooLargeError, cell_for
from latent_planner.ground_settings import GroundSettings
from latent_planner.remembered import Remembered, inside
from latent_planner.route import RouteGraph, Way, densified
from wm_core.memory.recognition import SamePlace

_COMPARED = 64
# Ground further from the way than a plan leads away from it does not count; what lies beyond may be anywhere.
_AROUND_M = 20.0
FEATURE_SHARE = 0.8
"""Of features: 94 of 96 pictures of a robot's own differ by less of what places do; of other buildings' 398 of 400 by
more, and all textures and noise: docs/reports/2026-11-27-execution/README.md."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is wanted; one of the first four is given.

    Attributes:
        pose: A pose, given or recognised.
        latent_D: What the encoder shall see.
        memory_id: Where this memory was made.
        beside_3: And so far from there: forward, left [m], yaw [rad]; None: right there.
        corner_C2: Corners of a region.
        anchor: A memory beside which a pose or a region's place was found to lie: as long as that is there, it moves
            with it.
        anchor_3: And how: forward, left [m], yaw [rad].
        any_yaw: The yaw does not count.
        may_leave: A way over ground never driven is allowed.
        least_confidence: A latent recognised with less is no goal.
    """

    pose: GoalPose | None = None
    latent_D: np.ndarray | None = None
    memory_id: int | None = None
    beside_3: np.ndarray | None = None
    corner_C2: np.ndarray | None = None
    anchor: int = 0
    anchor_3: np.ndarray | None = None
    any_yaw: bool = False
    may_leave: bool = False
    least_confidence: float = 0.0


@dataclass(frozen=True)
class Located:
    """A goal with the way and the field that lead to it.

    Attributes:
        goal: Its pose; the yaw is NaN where any will do. ``memory`` is a row of the memories asked.
        way: Over what was driven.
        field: Cost of every cell of the ground.
        memory_id: The memory that looks most like it, or was named; 0: none.
    """

    goal: GoalPose
    way: Way
    field: Field
    memory_id: int


def locate(
    wish: Wish,
    remembered: Remembered,
    from_3: np.ndarray,
    settings: GroundSettings,
    same: SamePlace | None = None,
) -> Located:
    """Return where a wish leads, and how.

    Args:
        wish: What is wanted.
        remembered: The memories.
        from_3: Where the robot is: x, y [m], yaw [rad].
        settings: What counts as known ground.
        same: When two memories lie at one place.

    Raises:
        GoalError: ``empty``, ``ambiguous``, ``unknown``: looks like nothing remembered, ``unsure``, ``missing``: no
            such memory, ``unreachable``, or ``foreign``: of another size.
    """
    if not len(remembered):
        raise GoalError("empty", "the memory holds nothing yet: drive the robot round first")
    graph = RouteGraph(remembered.pose_N3, remembered.session_N, settings)
    found = _sought(wish, remembered, same or SamePlace())
    goal_G3 = remembered.pose_N3[_within(wish, remembered)] if found is None else found.pose_3[None]
    way = graph.way(from_3[:2], goal_G3[:, :2], may_leave=wish.may_leave)
    if way is None:
        raise GoalError("unreachable", _why_not(remembered, from_3, goal_G3, settings))
    pose_3 = goal_G3[way.goal].copy()
    if wish.any_yaw or found is None:
        pose_3[2] = math.nan
    field = _ground(remembered, way, settings).field(pose_3[:2])
    confidence, row = (1.0, -1) if found is None else (found.confidence, found.memory)
    memory_id = int(remembered.id_N[row]) if row >= 0 else 0
    return Located(GoalPose(pose_3, confidence, row), way, field, memory_id)


def _sought(wish: Wish, remembered: Remembered, same: SamePlace) -> GoalPose | None:
    """Return the one pose that is wanted; None where any in a region will do."""
    anchor = remembered.row(wish.anchor) if wish.anchor else -1
    if anchor >= 0:
        pose_3 = moved(remembered.pose_N3[anchor], wish.anchor_3)
        return GoalPose(pose_3, 1.0 if wish.pose is None else wish.pose.confidence)
    if wish.pose is not None:
        return wish.pose
    if wish.memory_id is not None:
        row = remembered.row(wish.memory_id)
        if row < 0:
            raise GoalError("missing", f"no memory has the id {wish.memory_id}, or it lies too far away to be held")
        return GoalPose(moved(remembered.pose_N3[row], wish.beside_3), 1.0, row)
    if wish.latent_D is None:
        return None
    _check_known(wish.latent_D, remembered, same)
    found = look_up(wish.latent_D, remembered.latent_ND, remembered.pose_N3, same)
    check_confidence(found.confidence, wish.least_confidence)
    return found


def anchored(wish: Wish, located: Located, remembered: Remembered) -> Wish:
    """Return a wish that goes with what it was found by, wherever that is moved to.

    A picture or latent becomes its memory; a pose or a region's place is kept by the memory nearest to it.

    Args:
        wish: What is wanted.
        located: Where it was found.
        remembered: By these.
    """
    if located.memory_id:
        return replace(wish, pose=None, latent_D=None, memory_id=located.memory_id)
    pose_3 = located.goal.pose_3.copy()
    is_any = bool(np.isnan(pose_3[2]))
    pose_3[2] = 0.0 if is_any else pose_3[2]
    nearest = int(np.hypot(*(remembered.pose_N3[:, :2] - pose_3[:2]).T).argmin())
    anchor_3 = beside(pose_3, remembered.pose_N3[nearest])
    return replace(wish, anchor=int(remembered.id_N[nearest]), anchor_3=anchor_3, any_yaw=wish.any_yaw or is_any)


def moved(pose_3: np.ndarray, beside_3: np.ndarray | None) -> np.ndarray:
    """Return the pose that lies beside another: so far forward and left [m], turned by so much [rad]."""
    if beside_3 is None:
        return pose_3
    cosine, sine = math.cos(pose_3[2]), math.sin(pose_3[2])
    forward, left, turn = beside_3
    x, y, yaw = pose_3
    return np.array(
        [x + forward * cosine - left * sine, y + forward * sine + left * cosine, math.remainder(yaw + turn, math.tau)]
    )


def beside(pose_3: np.ndarray, of_3: np.ndarray) -> np.ndarray:
    """Return how a pose lies beside another: forward, left [m], yaw [rad]."""
    cosine, sine = math.cos(of_3[2]), math.sin(of_3[2])
    x, y = pose_3[:2] - of_3[:2]
    turn = math.remainder(pose_3[2] - of_3[2], math.tau)
    return np.array([x * cosine + y * sine, y * cosine - x * sine, turn])


def check_confidence(confidence: float, least: float) -> None:
    """Refuse a place that is not recognised surely enough.

    Raises:
        GoalError: ``unsure``.
    """
    if confidence < least:
        raise GoalError("unsure", f"recognised with confidence {confidence:.2f}, at least {least:.2f} is asked for")


def _check_known(wanted_D: np.ndarray, remembered: Remembered, same: SamePlace) -> None:
    look_ND = remembered.latent_ND
    if wanted_D.shape != look_ND.shape[1:]:
        return
    distance = float(np.linalg.norm(look_ND - wanted_D, axis=1).min())
    usual = usual_difference(look_ND, remembered.pose_N3, same)
    check_alike(distance, usual)


def check_alike(distance: float, usual: float, share: float = 1.0) -> None:
    """Refuse what differs from all that is remembered by more than places differ from one another.

    Args:
        distance: From the memory that looks most like it.
        usual: As ``usual_difference``.
        share: Of that, how much it may differ.

    Raises:
        GoalError: ``unknown``.
    """
    if distance > share * usual:
        text = f"differs from the memory most like it by {distance:.3g}, one place from another by {usual:.3g}"
        text += f", at most {share:g} of that is allowed" if share < 1.0 else ""
        raise GoalError("unknown", f"looks like nothing remembered: {text}")


def usual_difference(look_ND: np.ndarray, pose_N3: np.ndarray, same: SamePlace) -> float:
    """Return by how much a place usually differs in look from the one most like it elsewhere; infinite: there is none.

    The median over some of the memories, spread evenly.
    """
    some = np.unique(np.linspace(0, len(look_ND) - 1, _COMPARED).round().astype(int))
    look_ND = look_ND.astype(np.float32)
    square_N = np.einsum("nd,nd->n", look_ND, look_ND)
    distance2_MN = square_N[some, None] + square_N - 2.0 * look_ND[some] @ look_ND.T
    x_N, y_N, yaw_N = (pose_N3 - pose_N3[0]).T.astype(np.float32)
    away2_MN = (x_N[some, None] - x_N) ** 2 + (y_N[some, None] - y_N) ** 2
    facing_N2 = np.stack([np.cos(yaw_N), np.sin(yaw_N)], axis=1)
    twice = same.twice()
    # By cosines: an angle for each pair would take most of the time.
    is_elsewhere_MN = (away2_MN > twice.radius_m**2) | (facing_N2[some] @ facing_N2.T < math.cos(twice.rotation_rad))
    nearest_M = np.where(is_elsewhere_MN, np.maximum(distance2_MN, 0.0), np.inf).min(axis=1)
    known_M = nearest_M[np.isfinite(nearest_M)]
    return float(np.sqrt(np.median(known_M))) if len(known_M) else math.inf


def _within(wish: Wish, remembered: Remembered) -> np.ndarray:
    """Return the rows of the memories in a region."""
    assert wish.corner_C2 is not None
    is_in_N = inside(remembered.pose_N3[:, :2], wish.corner_C2)
    if not is_in_N.any():
        raise GoalError("unreachable", "the robot has never been in the region")
    return np.flatnonzero(is_in_N)


def _why_not(remembered: Remembered, from_3: np.ndarray, goal_G3: np.ndarray, settings: GroundSettings) -> str:
    place_N2 = remembered.pose_N3[:, :2]
    robot_m = float(np.hypot(*(place_N2 - from_3[:2]).T).min())
    goal_m = min(float(np.hypot(*(place_N2 - goal_3[:2]).T).min()) for goal_3 in goal_G3)
    if robot_m > settings.gap_m:
        return f"the robot is {robot_m:.1f} m away from where it has ever been"
    if goal_m > settings.gap_m:
        return f"the goal is {goal_m:.1f} m away from where the robot has ever been"
    return "no drive leads from where the robot is to the goal"


def _ground(remembered: Remembered, way: Way, settings: GroundSettings) -> Ground:
    """Return the known ground around a way, and the way as one more drive: its ends may lie beside what was driven.

    Raises:
        GoalError: ``unreachable``: it spans more than can be planned over.
    """
    least_2, most_2 = way.point_R2.min(axis=0) - _AROUND_M, way.point_R2.max(axis=0) + _AROUND_M
    try:
        cell_for(np.stack([least_2, most_2]), settings)
    except TooLargeError as error:
        raise GoalError("unreachable", f"the goal is too far away: {error}") from error
    place_N2 = remembered.pose_N3[:, :2]
    near_N = ((place_N2 >= least_2) & (place_N2 <= most_2)).all(axis=1)
    point_R2 = densified(way.point_R2)
    drive_R3 = np.column_stack([point_R2, np.zeros(len(point_R2))])
    session_R = np.full(len(drive_R3), remembered.session_N.max() + 1)
    pose_N3 = np.concatenate([remembered.pose_N3[near_N], drive_R3])
    return Ground(pose_N3, np.concatenate([remembered.session_N[near_N], session_R]), settings)
