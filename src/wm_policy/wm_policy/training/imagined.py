"""Drives that never were: recorded ones with other actions, what would be seen imagined, the way back as the lesson.

A recorded drive shows nothing but what is seen on its way. Here the robot leaves it: the recorded actions are
disturbed, the motion model says where that leads, and the imagination what is seen there, with all of the recorded
drive as its memory. What is taught at such a place is how to come back to the driven way, without a jump of place or
velocity.

Shape suffixes: T = frames, B = drives imagined at a time, S = steps, N = samples, K = steps of a path, A = action size,
D = latent size, 2 = (x, y) or (forward, left) [m], 3 = (x, y, yaw), 5 = (unit [m], pose, expected error).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np

from wm_core.se2 import Pose2, wrap_angle
from wm_policy.models.reactive import FORESEEN_S
from wm_policy.runtime.observer import Observation, Observer
from wm_policy.training.samples import BURN_IN_S, SampleOptions, Samples, histories, joined
from wm_policy.training.way_back import DrivenWay, disturbed
from world_model.data.encoding import encode_episode
from world_model.data.episodes import Episode
from world_model.errors import DataError
from world_model.evaluation.bank import MemoryBank
from world_model.evaluation.horizons import plan_ahead
from world_model.runtime.artifacts import Artifact
from world_model.runtime.conditioning import Retrieval
from world_model.runtime.imagination import Imagination
from world_model.runtime.imagined import Imagined, Plan
from world_model.runtime.predictor import Observation as Seen
from world_model.runtime.predictor import Predictor
from world_model.training.displacement import pose_or_none

STRETCH_S = 3.0
"""So long an imagined drive goes its own way before it begins anew on the recorded one [s]."""
_NS = 1_000_000_000


@dataclass(frozen=True, eq=False)
class ImaginedSamples:
    """Samples of imagined drives, and the squared error expected of what is seen in each, in latents' variance, [N]."""

    samples: Samples
    uncertainty_N: np.ndarray

    def __len__(self) -> int:
        return len(self.samples)

    def kept(self, share: float) -> Samples:
        """Return so much of the samples (0..1), those with the least expected error."""
        if share >= 1.0:
            return self.samples
        return self.samples.rows(self.uncertainty_N <= np.quantile(self.uncertainty_N, share))


@dataclass(frozen=True, kw_only=True)
class Disturbance:
    """How far imagined drives leave the recorded ones.

    Attributes:
        drives: Imagined drives for each recorded one.
        of_std: Standard deviation of the disturbance, of that of the recorded actions.
        seed: Of what is drawn.
    """

    drives: int = 10
    of_std: float = 0.5
    seed: int = 0


def imagined_samples(
    artifact: Artifact, episodes: Sequence[Episode], options: SampleOptions, disturbance: Disturbance
) -> ImaginedSamples:
    """Return samples of drives imagined beside recorded ones; of each, as many times as many as ``samples_of`` makes.

    Args:
        artifact: Whose encoder sees, and whose transition imagines.
        episodes: Recorded drives.
        options: As of ``samples_of``.
        disturbance: How many, and how far off.

    Raises:
        DataError: None of the episodes has known poses and actions for long enough.
    """
    drives = [_Drive(artifact, episode, options, number) for number, episode in enumerate(episodes)]
    parts = [part for drive in drives for part in drive.imagined(disturbance)]
    if not parts:
        raise DataError(f"nothing can be imagined: no {STRETCH_S:g} s with known poses and actions")
    return ImaginedSamples(joined([part.samples for part in parts]), np.concatenate([p.uncertainty_N for p in parts]))


class _Drive:
    """One recorded drive, and what is imagined beside it."""

    def __init__(self, artifact: Artifact, episode: Episode, options: SampleOptions, number: int) -> None:
        self._artifact, self._episode, self._options, self._number = artifact, episode, options, number
        self._stamp_T, self._pose_T4 = np.asarray(episode.stamp_T), np.asarray(episode.pose_T4)
        self._action_TA = np.asarray(episode.action_TA)
        self._latent_TD = encode_episode(artifact.encoder(), episode, artifact.manifest.inputs)
        self._way = DrivenWay(self._stamp_T, self._pose_T4)
        self._step_s = artifact.manifest.step_s
        self._steps = round(STRETCH_S / self._step_s)

    def imagined(self, disturbance: Disturbance) -> Iterator[ImaginedSamples]:
        """Yield the samples of each stretch."""
        if len(self._way) < 2:
            return
        manifest, action_dim = self._artifact.manifest, self._action_TA.shape[1]
        rng = np.random.default_rng((disturbance.seed, self._number))
        std_A, past = np.nanstd(self._action_TA, axis=0), histories(self._artifact, self._episode, self._options)
        # Whoever comes later remembers all of the drive.
        later_ns = int(self._stamp_T[-1]) + round((Retrieval.from_manifest(manifest.memory).exclude_recent_s + 1) * _NS)
        places, imagination = self._remembered().places(), Imagination(self._artifact)
        observer = Observer(self._options.settings, self._options.motion, self._latent_TD.shape[1], action_dim)
        predictor, bank = Predictor(self._artifact), MemoryBank.of(manifest)
        due_ns = int(self._stamp_T[0]) + round(BURN_IN_S * _NS)
        for row in range(len(self._stamp_T)):
            self._observe(row, observer, predictor, bank)
            action_SA = self._future(row) if self._stamp_T[row] >= due_ns else None
            if action_SA is None or observer.pose_3 is None:
                continue
            due_ns = int(self._stamp_T[row]) + round(STRETCH_S * _NS)
            action_BSA = disturbed(action_SA, std_A * disturbance.of_std, disturbance.drives, self._step_s, rng)
            action_BSA = np.clip(action_BSA, np.nanmin(self._action_TA, axis=0), np.nanmax(self._action_TA, axis=0))
            moved_BS3 = observer.motion_start().displacements(action_BSA)
            if moved_BS3 is None:
                continue
            plan = Plan(np.asarray(action_BSA, np.float32), _poses(observer.pose_3, moved_BS3))
            moment = replace(predictor.moment(), stamp_ns=later_ns, pose=_pose(observer.pose_3))
            found = imagination.imagine(moment, plan, places)
            yield self._samples(row, observer, plan, found, {name: values[row] for name, values in past.items()})

    def _remembered(self) -> MemoryBank:
        bank = MemoryBank.of(self._artifact.manifest)
        for row in range(len(self._stamp_T)):
            bank.observe(self._seen(row))
        return bank

    def _seen(self, row: int) -> Seen:
        return Seen(int(self._stamp_T[row]), self._latent_TD[row], pose_or_none(self._pose_T4[row]), self._action(row))

    def _action(self, row: int) -> np.ndarray | None:
        action_A = self._action_TA[row]
        return action_A if np.isfinite(action_A).all() else None

    def _observe(self, row: int, observer: Observer, predictor: Predictor, bank: MemoryBank) -> None:
        seen, action_A = self._seen(row), self._action(row)
        observer.observe(Observation(seen.stamp_ns, seen.latent_D, seen.pose, action_A))
        requests = predictor.observe(seen)
        predictor.predict(bank.answer(requests) if requests else None)
        bank.observe(seen)

    def _future(self, row: int) -> np.ndarray | None:
        """Return the actions taken now and afterwards, [S, A]; None where they are not known so far ahead."""
        follow_SA = plan_ahead(self._action_TA, self._stamp_T, row, self._steps, self._step_s)
        if follow_SA is None or len(follow_SA) + 1 < self._steps or self._action(row) is None:
            return None
        return np.concatenate([self._action_TA[row : row + 1], follow_SA])

    def _samples(
        self, row: int, observer: Observer, plan: Plan, found: Imagined, past: dict[str, np.ndarray]
    ) -> ImaginedSamples:
        """Return what is learned from all drives imagined from one frame."""
        assert plan.pose_BS3 is not None
        assert observer.pose_3 is not None
        stamp_S = self._stamp_T[row] + np.round(found.time_S * _NS).astype(np.int64)
        inputs, targets, about, trail = [], [], [], observer.trail()
        for drive in range(plan.count):
            here, pose_S3 = deepcopy(observer), plan.pose_BS3[drive]
            before_S3 = np.concatenate([observer.pose_3[None], pose_S3])
            for step in range(plan.steps):
                # An action is in force from its step's beginning on, and the next one at its end.
                action_A = np.asarray(plan.action_BSA[drive, min(step + 1, plan.steps - 1)], np.float64)
                here.observe(
                    Observation(int(stamp_S[step]), found.latent_BSD[drive, step], _pose(pose_S3[step]), action_A)
                )
                if (step + 1) % self._options.every or here.pose_3 is None:
                    continue
                inputs.append(here.inputs(trail) | past)
                velocity_2 = (pose_S3[step, :2] - before_S3[step, :2]) / self._step_s
                way_K2 = self._way.back(int(stamp_S[step]), pose_S3[step], velocity_2)
                targets.append(_seen_from(way_K2, here.pose_3) / here.unit_m)
                about.append((stamp_S[step], here.unit_m, *here.pose_3, found.uncertainty_BS[drive, step]))
        return self._stacked(inputs, np.stack(targets), about)

    def _stacked(
        self, inputs: list[dict[str, np.ndarray]], path_NK2: np.ndarray, about: list[tuple[float, ...]]
    ) -> ImaginedSamples:
        count, settings = len(about), self._options
        stamp_N = np.array([each[0] for each in about], np.int64)
        number_N5 = np.array([each[1:] for each in about], np.float64)
        size, dim = self._action_TA.shape[1], self._latent_TD.shape[1]
        targets = {
            "path": np.nan_to_num(path_NK2).astype(np.float32), "path_valid": np.isfinite(path_NK2).all(axis=2),
            # Which actions lead back, and what is seen on the way, nobody knows.
            "action": np.zeros((count, settings.action_steps, size)),
            "action_valid": np.zeros((count, settings.action_steps), bool),
            "future": np.zeros((count, len(FORESEEN_S), dim), np.float32),
            "future_valid": np.zeros((count, len(FORESEEN_S)), bool),
        }  # fmt: skip
        stacked = {name: np.stack([each[name] for each in inputs]) for name in inputs[0]}
        samples = Samples(stacked, targets, np.full(count, self._number), stamp_N, number_N5[:, 0], number_N5[:, 1:4])
        return ImaginedSamples(samples, number_N5[:, 4])


def _pose(pose_3: np.ndarray) -> Pose2:
    return Pose2(float(pose_3[0]), float(pose_3[1]), 0.0, float(pose_3[2]))


def _poses(start_3: np.ndarray, moved_BS3: np.ndarray) -> np.ndarray:
    """Return poses (x, y, yaw) that displacements lead to, [B, S, 3]."""
    cosine, sine = np.cos(start_3[2]), np.sin(start_3[2])
    x_BS = start_3[0] + cosine * moved_BS3[..., 0] - sine * moved_BS3[..., 1]
    y_BS = start_3[1] + sine * moved_BS3[..., 0] + cosine * moved_BS3[..., 1]
    return np.stack([x_BS, y_BS, wrap_angle(start_3[2] + moved_BS3[..., 2])], axis=-1)


def _seen_from(place_K2: np.ndarray, pose_3: np.ndarray) -> np.ndarray:
    """Return places forward and left of a pose, [K, 2]."""
    away_K2, cosine, sine = place_K2 - pose_3[:2], np.cos(pose_3[2]), np.sin(pose_3[2])
    forward_K, left_K = away_K2 @ np.array([cosine, sine]), away_K2 @ np.array([-sine, cosine])
    return np.stack([forward_K, left_K], axis=-1)
