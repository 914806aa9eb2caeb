"""Is a place recognised by its look alone? The states of one recording, looked for in those of another.

The first is remembered at the spacing of the memory, every state of the second that lies near a remembered one is
looked for there, by the rule of ``/spatial_memory/recognise``, and the best place is right where its memory lies within
the tolerances of the state's own pose. Nothing is smoothed over time.

Shape suffixes: T = states, N = remembered states, F = feature size, 4 = (x, y, z, yaw).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from wm_core.memory.array_search import ArraySearch
from wm_core.memory.keyframes import Spacing, select_states
from wm_core.memory.query import Query
from wm_core.memory.recognition import Ranked, Recognition, SamePlace, chord, recognise
from wm_core.memory.rows import Rows
from wm_core.se2 import wrap_angle
from world_model.errors import DataError
from world_model.evaluation.intervals import mean_interval, stretches


@dataclass(frozen=True)
class Seen:
    """States of a recording.

    Attributes:
        stamp_T: int64 nanoseconds, ascending.
        pose_T4: NaN where there is no pose.
        feature_TF: int8.
    """

    stamp_T: np.ndarray
    pose_T4: np.ndarray
    feature_TF: np.ndarray

    def with_pose(self) -> Seen:
        """Return the states whose pose is known."""
        known_T = np.isfinite(self.pose_T4).all(axis=1)
        return Seen(self.stamp_T[known_T], self.pose_T4[known_T], self.feature_TF[known_T])

    def kept(self, spacing: Spacing | None = None) -> Seen:
        """Return the states that a memory keeps."""
        which_N = select_states(self.stamp_T, self.pose_T4, spacing)
        return Seen(self.stamp_T[which_N], self.pose_T4[which_N], self.feature_TF[which_N])


@dataclass(frozen=True)
class Tolerance:
    """How near a place has to be found.

    Attributes:
        distance_m: Planar distance [m].
        turn_rad: Difference in yaw [rad].
    """

    distance_m: float = 0.5
    turn_rad: float = math.radians(20.0)

    def __post_init__(self) -> None:
        """Refuse what nothing can be within."""
        for what, value, unit in (("distance", self.distance_m, "m"), ("turn", self.turn_rad, "rad")):
            if not value >= 0.0:
                raise DataError(f"a tolerance of {value:g} {unit} in {what}, expected 0 or more")

    def holds(self, pose_N4: np.ndarray, pose_4: np.ndarray) -> np.ndarray:
        """Return which poses lie near one."""
        off_N4 = pose_N4 - pose_4
        turn_N = np.abs(wrap_angle(off_N4[:, 3]))
        near_N: np.ndarray = (np.hypot(off_N4[:, 0], off_N4[:, 1]) <= self.distance_m) & (turn_N <= self.turn_rad)
        return near_N


class Remembered:
    """States of a recording as a memory holds them, to be found by look."""

    def __init__(self, held: Seen, same: SamePlace | None = None) -> None:
        """Refuse with ``DataError`` where there is nothing to remember."""
        count = len(held.stamp_T)
        if not count:
            raise DataError("no state of the recording to be remembered has a pose")
        self.pose_N4 = held.pose_T4
        zeros_N, none_NA = np.zeros(count), np.empty((count, 0), np.float32)
        x_N, y_N, z_N, yaw_N = held.pose_T4.T
        rows = Rows(
            np.arange(1, count + 1), held.stamp_T, x_N, y_N, z_N, yaw_N.astype(np.float32), zeros_N.astype(np.int32),
            zeros_N.astype(np.float32), none_NA, none_NA, zeros_N.astype(np.uint64), np.zeros((count, 1), np.float32),
            held.feature_TF, np.ones(count, bool),
        )  # fmt: skip
        self._search = ArraySearch(rows)
        self._same = same

    def recognise(self, feature_F: np.ndarray) -> tuple[Recognition, np.ndarray]:
        """Return places, and the pose of the memory that is most alike at each [P, 4]."""
        found: list[np.ndarray] = []

        def nearest(k: int) -> Ranked:
            answer = self._search.query_batch([Query(k=k, feature_F=feature_F, rank_by="latent", metric="cosine")])[0]
            pose_K4 = self.pose_N4[answer.row_K]
            found.append(pose_K4)
            is_all = len(pose_K4) >= answer.candidate_count
            x_K, y_K, _, yaw_K = pose_K4.T
            return Ranked(x_K, y_K, yaw_K, None, chord(answer.latent_distances_K), is_all)

        recognition = recognise(nearest, same=self._same)
        return recognition, found[-1][[place.at for place in recognition.places]]


def measure(held: Seen, asked: Seen, tolerance: Tolerance, same: SamePlace | None = None) -> dict[str, Any]:
    """Return how often the best place is right.

    Args:
        held: What is remembered, all of it.
        asked: What is looked for; states that lie near nothing that is remembered are not judged.
        tolerance: How near is right.
        same: When two memories lie at one place.

    Returns:
        ``top1``: share that is right, those that are rejected counted as wrong; ``n``: how many were looked for;
        ``rejected``: for how many no place was found; ``interval``: of ``top1``, 95 %, whole blocks of 2 s drawn again;
        ``not_remembered``: states that were not looked for; ``ambiguous``: share whose answer says so; ``top1_sure``:
        of the others, None where there are none; ``confidence``: mean of the best places'.

    Raises:
        DataError: Nothing to remember, nothing to look for, or features of different sizes.
    """
    held, asked = held.with_pose().kept(), asked.with_pose()
    if held.feature_TF.shape[1] != asked.feature_TF.shape[1]:
        raise DataError(f"features of {held.feature_TF.shape[1]} and of {asked.feature_TF.shape[1]} values")
    memory = Remembered(held, same)
    right, sure, at_ns, confidence = [], [], [], []
    rejected = not_remembered = 0
    for stamp_ns, pose_4, feature_F in zip(asked.stamp_T.tolist(), asked.pose_T4, asked.feature_TF):
        if not tolerance.holds(memory.pose_N4, pose_4).any():
            not_remembered += 1
            continue
        recognition, pose_P4 = memory.recognise(feature_F)
        rejected += not recognition.places
        right.append(bool(recognition.places) and bool(tolerance.holds(pose_P4[:1], pose_4)[0]))
        sure.append(bool(recognition.places) and not recognition.ambiguity)
        confidence.append(recognition.places[0].confidence if recognition.places else 0.0)
        at_ns.append(stamp_ns)
    if not right:
        raise DataError("no state that is looked for lies near one that is remembered: is it the same place?")
    right_N, sure_N = np.array(right), np.array(sure)
    interval = mean_interval(right_N.astype(np.float64), np.ones(len(right), bool), stretches([np.array(at_ns)]))
    return {
        "top1": round(float(right_N.mean()), 5),
        "n": len(right),
        "rejected": rejected,
        "interval": [interval["low"], interval["high"]],
        "not_remembered": not_remembered,
        "remembered": len(memory.pose_N4),
        "ambiguous": round(float((~sure_N).mean()), 5),
        "top1_sure": round(float(right_N[sure_N].mean()), 5) if sure_N.any() else None,
        "confidence": round(float(np.mean(confidence)), 5),
    }
