"""One episode, imagined from now and then with the actions that really followed, beside what the graph would forecast.

Shape suffixes: T = frames, N = moments that were imagined from, H = times ahead, D = latent size, A = action size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wm_core.memory.held import HeldPlaces
from world_model.data.episodes import Episode
from world_model.errors import DataError
from world_model.evaluation.bank import MemoryBank
from world_model.evaluation.bases import SeenEpisode, see
from world_model.evaluation.horizons import between_rows, plan_ahead, targets
from world_model.evaluation.online import kept_observation, known_to, told_observation
from world_model.runtime.artifacts import Artifact
from world_model.runtime.imagination import Imagination
from world_model.runtime.imagined import Imagined, Plan
from world_model.runtime.metrics import nmse
from world_model.runtime.predictor import Predictor

WITH_MEMORY, WITHOUT_MEMORY, COPY, NOTHING, HONEST_BASE = (
    "imagined with memory", "imagined without memory", "plain copy", "nothing changes", "honest base",
)  # fmt: skip
METHODS = (WITH_MEMORY, WITHOUT_MEMORY, COPY, NOTHING, HONEST_BASE)


@dataclass
class ImaginedEpisode:
    """What was imagined from some moments of an episode and what came; NaN where no frame shows it.

    Attributes:
        row_N: Frames of those moments.
        target_NH: Frames that show what was imagined, -1 where none does.
        error: Method -> errors (NMSE) [N, H].
        revisit_NH: Whether the place had been seen before.
        uncertainty_NH: The error that was expected.
        missed_NH2: Distance from where the robot really was [m], and the standard error that was told [m].
        gate_NH: How much memories had to say.
        latent: Method -> latents [N, H, D], of what pictures are made of.
        remembered_NH: Frame that the nearest memory was made of, -1 where there is none.
    """

    row_N: np.ndarray
    target_NH: np.ndarray
    error: dict[str, np.ndarray]
    revisit_NH: np.ndarray
    uncertainty_NH: np.ndarray
    missed_NH2: np.ndarray
    gate_NH: np.ndarray
    latent: dict[str, np.ndarray]
    remembered_NH: np.ndarray


@dataclass
class _Lists:
    """Parts of an ``ImaginedEpisode``, moment by moment."""

    rows: list[int] = field(default_factory=list)
    parts: list[dict[str, np.ndarray]] = field(default_factory=list)


def imagine_episode(
    episode: Episode,
    artifact: Artifact,
    steps: Sequence[int],
    *,
    every_s: float = 0.5,
    start_s: float = 20.0,
    motion_state: Mapping[str, Any] | None = None,
) -> ImaginedEpisode:
    """Return what was imagined along an episode and how it came true.

    The moments are the graph's own: a predictor of one step and of the artifact's far horizon, to which nothing of the
    future is told. The honest base is told the same actions as the imagination, and judged horizon by horizon.

    Args:
        episode: Aligned episode.
        artifact: Whose network.
        steps: How far ahead is judged, ascending.
        every_s: Time between two moments [s].
        start_s: Before this nothing is imagined [s].
        motion_state: What a profile knows of the robot's motion.

    Raises:
        DataError: The episode has no moment that can be imagined from.
    """
    seen, manifest = see(artifact, episode), artifact.manifest
    run = _Run(episode, seen, artifact, steps, motion_state)
    stamp_T, found = np.asarray(episode.stamp_T), _Lists()
    next_ns = int(stamp_T[0]) + round(start_s * 1e9)
    for t in run.known.order:
        if t < 0:
            run.keep(~t)
            continue
        run.observe(t)
        action_SA = run.future(t)
        if stamp_T[t] >= next_ns and action_SA is not None and run.unit is not None:
            next_ns = int(stamp_T[t]) + round(every_s * 1e9)
            found.rows.append(t)
            found.parts.append(run.imagine(t, action_SA))
    if not found.rows:
        raise DataError(f"episode {episode.name}: no moment with known actions for {max(steps) * manifest.step_s:g} s")
    arrays = {name: np.stack([part[name] for part in found.parts]) for name in found.parts[0]}
    named = {kind: {m: arrays.pop(f"{kind} {m}") for m in METHODS if f"{kind} {m}" in arrays}
             for kind in ("error", "latent")}  # fmt: skip
    row_N = np.array(found.rows)
    return ImaginedEpisode(row_N, run.target_TH[row_N], named["error"], latent=named["latent"], **arrays)


class _Run:
    """Predictors, memory and imagination along one episode."""

    def __init__(
        self,
        episode: Episode,
        seen: SeenEpisode,
        artifact: Artifact,
        steps: Sequence[int],
        motion_state: Mapping[str, Any] | None,
    ) -> None:
        self._episode, self._seen, self._steps = episode, seen, np.array(steps)
        manifest, self.known = artifact.manifest, known_to(artifact, episode)
        self._step_s, self._action_dim = manifest.step_s, manifest.action_dim
        self._base = Predictor(artifact, horizons_s=[step * manifest.step_s for step in steps])
        self._live = Predictor(artifact)
        if motion_state is not None:
            self._base.motion.restore(motion_state)
            self._live.motion.restore(motion_state)
        self._imagination, self.bank = Imagination(artifact), MemoryBank.of(manifest)
        self._action_TA, self._stamp_T = np.asarray(episode.action_TA), np.asarray(episode.stamp_T)
        self.target_TH, self._part_TH = targets(self._stamp_T, steps, manifest.step_s)
        self._row_of = {int(stamp): row for row, stamp in enumerate(self._stamp_T)}
        self._stretch = seen.stretches[0]

    @property
    def unit(self) -> np.ndarray | None:
        """The unit of errors at present, [D]; None: there is none yet."""
        return self._stretch.variance_D

    def keep(self, t: int) -> None:
        """Let the memory take in a frame, with its measured pose."""
        self.bank.observe(kept_observation(self._episode, self.known, self._seen, self._stretch.latent_TD, t))

    def observe(self, t: int) -> None:
        """Let the predictors see a frame and forecast from it."""
        for stretch in self._seen.stretches[1:]:
            if stretch.first == t and stretch.projection is not None:
                self._stretch = stretch
                for predictor in (self._base, self._live):
                    predictor.rebase(stretch.projection)
                self.bank.reproject(stretch.projection)
        observation = told_observation(self._episode, self.known, self._seen, self._stretch.latent_TD, t)
        follow_SA = plan_ahead(self._action_TA, self._stamp_T, t, int(self._steps.max()), self._step_s)
        for predictor, plan_SA in ((self._base, follow_SA), (self._live, None)):
            requests = predictor.observe(observation, plan_SA)
            prediction = predictor.predict(self.bank.answer(requests) if requests else None)
            if predictor is self._base:
                self._forecasts = prediction.forecasts

    def future(self, t: int) -> np.ndarray | None:
        """Return the actions taken now and afterwards, [S, A]; None where they are not known so far ahead."""
        most = int(self._steps.max())
        follow_SA = plan_ahead(self._action_TA, self._stamp_T, t, most, self._step_s)
        if follow_SA is None or len(follow_SA) + 1 < most or not np.isfinite(self._action_TA[t]).all():
            return None
        return np.concatenate([self._action_TA[t : t + 1], follow_SA])

    def imagine(self, t: int, action_SA: np.ndarray) -> dict[str, np.ndarray]:
        """Return errors and the rest of one moment, by what they are called."""
        moment, places = self._live.moment(), self.bank.places()
        plan = Plan.of_actions(action_SA, self._action_dim, self._step_s)
        at_H = self._steps - 1
        told = self._imagination.imagine(moment, plan, places)
        without = self._imagination.imagine(moment, plan, None)
        latent_D = self._stretch.latent_TD[t]
        said = {
            WITH_MEMORY: told.latent_BSD[0, at_H],
            WITHOUT_MEMORY: without.latent_BSD[0, at_H],
            COPY: told.copied_BSD[0, at_H],
            NOTHING: np.repeat(latent_D[None], len(at_H), axis=0),
            HONEST_BASE: np.stack([forecast.without_memory_D for forecast in self._forecasts]),
        }
        target_HD = self._target(t)
        assert self.unit is not None
        parts = {f"error {name}": nmse(value_HD - target_HD, self.unit) for name, value_HD in said.items()}
        parts |= {f"latent {name}": said[name] for name in (WITH_MEMORY, WITHOUT_MEMORY)}
        return parts | self._told(t, told, at_H, places)

    def _target(self, t: int) -> np.ndarray:
        """Return what really came, [H, D]; NaN where no frame in the same basis shows it."""
        row_H, part_H = self.target_TH[t], self._part_TH[t]
        shown_H = (row_H >= 0) & (row_H + (part_H > 0) < self._stretch.end)
        target_HD = between_rows(self._stretch.latent_TD, row_H[None], part_H[None])[0]
        return np.where(shown_H[:, None], target_HD, np.nan)

    def _told(self, t: int, told: Imagined, at_H: np.ndarray, places: HeldPlaces) -> dict[str, np.ndarray]:
        there_H4 = np.asarray(self._episode.pose_T4)[self.target_TH[t]]
        off_H2 = told.pose_BS3[0, at_H, :2] - there_H4[:, :2]
        missed_H = np.where(self.target_TH[t] >= 0, np.hypot(*off_H2.T), np.nan)
        std_H = np.hypot(*told.std_BS3[0, at_H, :2].T)
        nearest_H = told.id_BSK[0, at_H, 0]
        stamp_N = self.bank.stamps()
        rows = [self._row_of[int(stamp_N[each - 1])] if each else -1 for each in nearest_H.tolist()]
        return {
            "revisit_NH": told.revisit_BS[0, at_H],
            "uncertainty_NH": told.uncertainty_BS[0, at_H],
            "missed_NH2": np.stack([missed_H, std_H], axis=1),
            "gate_NH": told.gate_BS[0, at_H],
            "remembered_NH": np.array(rows),
        }
