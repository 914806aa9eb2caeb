"""Imagination: what a robot will see if it does something, with the memory asked at each place that it imagines.

Every step is forecast from the moment itself, as far as the network learned to look ahead and beyond that as if it
were so far; so an error of one step is no error of the next. What a memory says of a place stays true however far
ahead the place lies.

Shape suffixes: B = candidates, S = steps, D = latent size, A = action size, C = state size, K = memories, E = experts,
2 = (first visit, revisit), 3 = (forward, left, turn) or (x, y, yaw).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wm_core.memory.held import HeldPlaces
from world_model.errors import ImaginationError
from world_model.runtime.arrays import ObservedArrays, RetrievedArrays
from world_model.runtime.artifacts import Artifact
from world_model.runtime.conditioning import Retrieval, motion_features
from world_model.runtime.imagined import Imagined, Plan
from world_model.runtime.likeness import alike
from world_model.runtime.moment import Moment
from world_model.runtime.motion import MotionModel, pose_error
from world_model.runtime.motion_start import error_ahead
from world_model.runtime.ranges import TrainingRange
from world_model.runtime.recalled import Recalled, copies, recall
from world_model.runtime.served import OUTCOMES, served_transition

# Steps of all candidates that the network is given at once: more would only fill the cache.
_AT_ONCE = 4096
_USUAL_REACH_S = 2.0


@dataclass(frozen=True)
class _Course:
    """Where all candidates lead; computed once, before the first step is imagined."""

    moment: Moment
    plan: Plan
    places: HeldPlaces | None
    time_S: np.ndarray
    moved_BS3: np.ndarray
    std_BS3: np.ndarray
    pose_BS3: np.ndarray
    state_BC: Any


class Imagination:
    """Imagines with one artifact; holds its own network, so that any thread may run it beside the predictor.

    Args:
        artifact: Loaded artifact.
        top_k: Memories at each place; default: as trained.
    """

    def __init__(self, artifact: Artifact, top_k: int | None = None) -> None:
        manifest = artifact.manifest
        self.manifest = manifest
        self._has_network = artifact.has("transition")
        self._retrieval = Retrieval.from_manifest(manifest.memory)
        self._k = top_k or manifest.top_k
        variance_D = np.array(manifest.latent_variance)
        self._range = TrainingRange(
            artifact.action_statistics(),
            np.array(manifest.latent_mean),
            variance_D if self._has_network else np.full_like(variance_D, np.inf),
        )
        self._has_head = "reward" in _last_losses(manifest.training)
        self._transition = served_transition(artifact, further=(OUTCOMES,) if self._has_head else ())
        self._reach_s = _learned_reach_s(manifest.training, manifest.step_s)

    @property
    def motion_model(self) -> MotionModel:
        """The artifact's motion model, with the limits of its actions."""
        return self._range.limiting(MotionModel.from_manifest(self.manifest.motion))

    @property
    def radius_m(self) -> float:
        """How far around a place memories count [m]."""
        return self._retrieval.radius_m

    def where(self, moment: Moment, plan: Plan) -> np.ndarray:
        """Return where the robot will be after each step, [B, S, 3]; NaN where that is not known.

        Raises:
            ImaginationError: As ``imagine``.
        """
        return self._course(moment, plan, None).pose_BS3

    def imagine(self, moment: Moment, plan: Plan, places: HeldPlaces | None) -> Imagined:
        """Return what follows from a moment, all steps at once.

        Args:
            moment: From where.
            plan: What is done.
            places: The memories; ``None``: nothing is remembered.

        Raises:
            ImaginationError: ``latent-size`` or ``action-size``: moment or plan are another artifact's.
        """
        return Imagined.joined(list(self.steps(moment, plan, places, plan.steps)))

    def steps(self, moment: Moment, plan: Plan, places: HeldPlaces | None, at_once: int = 1) -> Iterator[Imagined]:
        """Yield what follows, some steps at a time, the same as ``imagine`` returns.

        Args:
            moment: From where.
            plan: What is done.
            places: The memories; ``None``: nothing is remembered.
            at_once: Steps at a time.

        Raises:
            ImaginationError: As ``imagine``.
        """
        course = self._course(moment, plan, places)
        state_BC = course.state_BC
        for first in range(0, plan.steps, at_once):
            part = self._part(course, slice(first, min(first + at_once, plan.steps)))
            if self._has_head:
                part, state_BC = self._with_outcomes(plan, first, part, state_BC)
            yield part

    # ---------------------------------------------------------------- where it leads

    def _course(self, moment: Moment, plan: Plan, places: HeldPlaces | None) -> _Course:
        size, action_dim = self.manifest.z_dim, self.manifest.action_dim
        if moment.latent_D.shape != (size,):
            raise ImaginationError("latent-size", f"a latent of {moment.latent_D.size} numbers, expected {size}")
        if plan.action_BSA.shape[2] != action_dim:
            raise ImaginationError("action-size", f"{plan.action_BSA.shape[2]} actions, expected {action_dim}")
        time_S = np.arange(1, plan.steps + 1) * self.manifest.step_s
        moved_BS3, std_BS3 = self._moved(moment, plan, time_S)
        pose_BS3 = np.full(moved_BS3.shape, np.nan) if moment.pose is None else _moved_from(moment, moved_BS3)
        state_BC = self._observed_state(moment, plan)
        return _Course(moment, plan, places, time_S, moved_BS3, std_BS3, pose_BS3, state_BC)

    def _moved(self, moment: Moment, plan: Plan, time_S: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return displacements and their standard errors in the present frame, [B, S, 3] each."""
        if plan.pose_BS3 is not None:
            if moment.pose is None:
                raise ImaginationError("no-pose", "a path begins where the robot is, and that is not known")
            moved_BS3 = _relative(plan.pose_BS3, moment)
            std_S3 = np.zeros((len(time_S), 3))
        else:
            known = moment.motion.displacements(self._range.action(plan.action_BSA))
            moved_BS3 = np.full((plan.count, plan.steps, 3), np.nan) if known is None else known
            std_S3 = error_ahead(moment.motion.model, time_S.tolist())
        own_X3 = pose_error(np.nan_to_num(moved_BS3.reshape(-1, 3)), moment.pose, moment.pose_std_3)
        return moved_BS3, np.hypot(std_S3, own_X3.reshape(moved_BS3.shape))

    def _observed_state(self, moment: Moment, plan: Plan) -> Any:
        """Return the transition's state after the present latent and each candidate's first action, [B, C]."""
        latent_BD = self._present(moment, plan.count)
        action_BA = _single(self._range.action(plan.action_BSA[:, 0]))
        before_1C = self._transition.initial(1) if moment.before_1C is None else moment.before_1C
        return self._transition.observe(latent_BD, action_BA, self._transition.repeated(before_1C, plan.count))

    def _with_outcomes(self, plan: Plan, first: int, part: Imagined, state_BC: Any) -> tuple[Imagined, Any]:
        """Return steps with what the heads expect of them, and the state after the last, as if all had been seen."""
        outcomes = []
        for at in range(len(part.time_S)):
            action_BA = self._range.action(plan.action_BSA[:, min(first + at + 1, plan.steps - 1)])
            latent_BD = _single(self._range.latent(part.latent_BSD[:, at]))
            state_BC = self._transition.observe(latent_BD, _single(action_BA), state_BC)
            outcomes.append(self._transition.outcomes(state_BC))
        return replace(part, outcome_BS2=np.stack(outcomes, axis=1)), state_BC

    # ---------------------------------------------------------------- what is seen there

    def _part(self, course: _Course, steps: slice) -> Imagined:
        moment, pose_BS3 = course.moment, course.pose_BS3[:, steps]
        recalled = recall(course.places, pose_BS3, self._k, self._retrieval, moment.stamp_ns, self.manifest.z_dim)
        std_BS3 = course.std_BS3[:, steps]
        copy_BS3D, spread_BSD = copies(recalled, std_BS3, self._retrieval)
        network_BSD, alone_BSD, said_BS = self._network(course, steps, recalled)
        if not self._has_network:
            # Where the robot was before, the first guess is what it saw there.
            trusted_BS = recalled.is_revisit
            network_BSD = np.where(trusted_BS[..., None], copy_BS3D[:, :, 0], network_BSD)
            said_BS = trusted_BS.astype(np.float32)
        latent_BSD, base_BSD, gate_BS = _combined(
            moment, course.time_S[steps], self._reach_s, recalled, network_BSD, alone_BSD, said_BS, copy_BS3D
        )
        any_BS1 = recalled.is_any[..., None]
        copied_BSD = np.where(any_BS1, copy_BS3D[:, :, 0], base_BSD)
        uncertainty_BS = _uncertainty(
            moment, course.time_S[steps], recalled, gate_BS, spread_BSD, copied_BSD - base_BSD
        )
        return Imagined(
            course.time_S[steps], latent_BSD, base_BSD, copied_BSD, pose_BS3, _turned(std_BS3, moment), gate_BS,
            recalled.is_revisit, uncertainty_BS, recalled.id_BSK, recalled.covered_BS,
        )  # fmt: skip

    def _network(self, course: _Course, steps: slice, recalled: Recalled) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what the network says with memories [B, S, D], without [B, S, D], and how much those said [B, S]."""
        count, length = recalled.valid_BSK.shape[:2]
        rows = max(1, _AT_ONCE // length)
        parts = []
        for first in range(0, count, rows):
            parts.append(self._forecast(course, steps, recalled, slice(first, min(first + rows, count))))
        said = [np.concatenate(each) for each in zip(*parts)]
        return said[0], said[1], said[2]

    def _forecast(
        self, course: _Course, steps: slice, recalled: Recalled, rows: slice
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what the network says of some candidates."""
        moved_BS3, std_BS3 = course.moved_BS3[rows, steps], course.std_BS3[rows, steps]
        count, length = moved_BS3.shape[:2]
        time_S = np.minimum(course.time_S[steps], self._reach_s)
        action_BA = self._range.action(course.plan.action_BSA[rows, 0])
        observed = ObservedArrays(
            course.state_BC[rows],
            self._present(course.moment, count),
            _single(action_BA),
            _single(motion_features(moved_BS3, std_BS3, self._retrieval)),
            _single(np.broadcast_to(time_S, (count, length))),
            np.zeros((count, self.manifest.history_dim), np.float32),
            np.zeros(count, np.int64),
        )
        arrays = {
            "anticipated_latent": self._range.latent(recalled.latent_BSKD[rows]),
            "anticipated_feature": recalled.feature_BSKF[rows],
            "anticipated_valid": recalled.valid_BSK[rows],
        }
        arrays |= alike(course.moment, action_BA, course.time_S[steps], self._retrieval, self.manifest.step_s)
        for name in ("appearance_latent", "successor_latent"):
            arrays[name] = self._range.latent(arrays[name])
        retrieved = RetrievedArrays(**{name: _single(array) for name, array in arrays.items()})
        return self._transition.forecast(observed, retrieved)

    def _present(self, moment: Moment, count: int) -> np.ndarray:
        return _single(np.repeat(self._range.latent(moment.latent_D)[None], count, axis=0))


def _single(array: np.ndarray) -> np.ndarray:
    """Return an array as the network takes it."""
    return np.ascontiguousarray(array, array.dtype if array.dtype == np.bool_ else np.float32)


def _last_losses(training: dict[str, Any]) -> dict[str, Any]:
    """Return what the transition's training ended with, by name: a head without a loss was never trained."""
    losses = training.get("last_losses")
    return losses if isinstance(losses, dict) else {}


def _learned_reach_s(training: dict[str, Any], step_s: float) -> float:
    """Return how far ahead the network learned to look [s]."""
    horizons = training.get("config", {}).get("horizons", []) if isinstance(training.get("config", {}), dict) else []
    is_known = isinstance(horizons, list) and horizons and all(type(step) is int and step > 0 for step in horizons)
    return max(horizons) * step_s if is_known else _USUAL_REACH_S


def _moved_from(moment: Moment, moved_BS3: np.ndarray) -> np.ndarray:
    """Return poses (x, y, yaw) that displacements lead to, [B, S, 3]."""
    pose = moment.pose
    assert pose is not None
    cosine, sine = math.cos(pose.yaw), math.sin(pose.yaw)
    x_BS = pose.x + cosine * moved_BS3[..., 0] - sine * moved_BS3[..., 1]
    y_BS = pose.y + sine * moved_BS3[..., 0] + cosine * moved_BS3[..., 1]
    yaw_BS = (pose.yaw + moved_BS3[..., 2] + np.pi) % (2.0 * np.pi) - np.pi
    return np.stack([x_BS, y_BS, yaw_BS], axis=-1)


def _relative(pose_BS3: np.ndarray, moment: Moment) -> np.ndarray:
    """Return poses in the frame of the moment's, [B, S, 3]."""
    pose = moment.pose
    assert pose is not None
    cosine, sine = math.cos(pose.yaw), math.sin(pose.yaw)
    dx_BS, dy_BS = pose_BS3[..., 0] - pose.x, pose_BS3[..., 1] - pose.y
    turn_BS = (pose_BS3[..., 2] - pose.yaw + np.pi) % (2.0 * np.pi) - np.pi
    return np.stack([dx_BS * cosine + dy_BS * sine, dy_BS * cosine - dx_BS * sine, turn_BS], axis=-1)


def _turned(std_BS3: np.ndarray, moment: Moment) -> np.ndarray:
    """Return standard errors (forward, left, turn) along x and y of the map."""
    if moment.pose is None:
        return std_BS3
    cosine, sine = abs(math.cos(moment.pose.yaw)), abs(math.sin(moment.pose.yaw))
    forward_BS, left_BS, turn_BS = np.moveaxis(std_BS3, -1, 0)
    along_BS = np.hypot(cosine * forward_BS, sine * left_BS), np.hypot(sine * forward_BS, cosine * left_BS)
    return np.stack([*along_BS, turn_BS], axis=-1)


def _combined(
    moment: Moment,
    time_S: np.ndarray,
    reach_s: float,
    recalled: Recalled,
    network_BSD: np.ndarray,
    alone_BSD: np.ndarray,
    said_BS: np.ndarray,
    copy_BS3D: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the forecast [B, S, D], the one without memories [B, S, D] and the share of memories in it [B, S]."""
    base_2SE, full_2SE = moment.blend.at(time_S, reach_s)
    kind_BS, step_S = recalled.is_revisit.astype(int), np.arange(len(time_S))
    base_BSE, full_BSE = (weight[kind_BS, step_S].astype(np.float32) for weight in (base_2SE, full_2SE))
    now_D, usual_D = moment.latent_D.astype(np.float32), moment.mean_D.astype(np.float32)
    # The regression is learned for single horizons: for the times between the network stands in.
    base_BSD = (
        (base_BSE[..., :1] + base_BSE[..., 3:]) * alone_BSD + base_BSE[..., 1:2] * now_D + base_BSE[..., 2:3] * usual_D
    )
    carried_BSD = network_BSD + (1.0 - said_BS[..., None]) * (base_BSD - alone_BSD)
    full_BSD = full_BSE[..., :1] * carried_BSD + (full_BSE[..., None, 1:4] @ copy_BS3D)[:, :, 0]
    full_BSD += (full_BSE[..., 4:5] + full_BSE[..., 7:]) * base_BSD
    full_BSD += full_BSE[..., 5:6] * now_D + full_BSE[..., 6:7] * usual_D
    gate_BS = full_BSE[..., 0] * said_BS + full_BSE[..., 1:4].sum(axis=-1)
    any_BS = recalled.is_any
    latent_BSD = np.where(any_BS[..., None], full_BSD, base_BSD).astype(np.float32)
    return latent_BSD, base_BSD.astype(np.float32), np.clip(np.where(any_BS, gate_BS, 0.0), 0.0, 1.0)


def _uncertainty(
    moment: Moment,
    time_S: np.ndarray,
    recalled: Recalled,
    gate_BS: np.ndarray,
    spread_BSD: np.ndarray,
    apart_BSD: np.ndarray,
) -> np.ndarray:
    """Return the squared error that is expected, in units of the latents' variance, [B, S].

    That of a mixture: what each part usually misses, how far memories lie apart, and how far they lie from the rest.
    """
    base_2S, full_2S = moment.blend.errors(time_S)
    kind_BS, step_S = recalled.is_revisit.astype(int), np.arange(len(time_S))
    spread_BS = np.mean(spread_BSD / moment.variance_D, axis=2)
    apart_BS = np.mean(np.square(apart_BSD) / moment.variance_D, axis=2)
    memories_BS = np.maximum(full_2S[kind_BS, step_S], spread_BS)
    mixed_BS = gate_BS * memories_BS + (1.0 - gate_BS) * base_2S[kind_BS, step_S]
    uncertainty_BS: np.ndarray = mixed_BS + gate_BS * (1.0 - gate_BS) * apart_BS
    return uncertainty_BS
