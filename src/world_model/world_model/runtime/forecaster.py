"""From the present and what the memory answered to one forecast per horizon.

Shape suffixes: D = latent size, H = horizons, K = memories, M = plain copies of memories, N = history values.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wm_core.memory.packed import Neighbours
from wm_core.se2 import Pose2, turned_std
from world_model.runtime.arrays import ObservedArrays, RetrievedArrays
from world_model.runtime.conditioning import Retrieval
from world_model.runtime.context import Context, row
from world_model.runtime.experts import Combined
from world_model.runtime.manifest import Manifest
from world_model.runtime.panel import Networks, Panel
from world_model.runtime.prediction import Forecast, Observation, is_revisit
from world_model.runtime.ranges import TrainingRange
from world_model.runtime.retrieved import Present, anticipated_arrays, appearance_arrays, plain_copies, successor_arrays
from world_model.runtime.switches import EVIDENCE
from world_model.runtime.way import Way

if TYPE_CHECKING:  # it brings torch along
    from world_model.runtime.prior import PriorStream


class Now(NamedTuple):
    """What forecasts are made from, memories apart.

    Attributes:
        last: The newest observation, which the context took in.
        way: Where the robot will be.
        panel: The experts.
    """

    last: Observation
    way: Way
    panel: Panel


class Forecaster:
    """Has the network, the prior, plain copies of memories and the experts say their part.

    Args:
        manifest: Of the artifact.
        horizons_s: Times ahead, ascending [s].
        top_k: Memories per horizon.
        has_network: Whether the artifact has a transition.
        context: What the transition carries.
        prior: What was learned from many robots; ``None`` without it.
        training_range: What latents are limited to.
        off: Parts that are switched off.
    """

    def __init__(
        self,
        manifest: Manifest,
        horizons_s: Sequence[float],
        top_k: int,
        has_network: bool,
        context: Context,
        prior: PriorStream | None,
        training_range: TrainingRange,
        off: Collection[str],
    ) -> None:
        self._horizons_s, self._top_k, self._has_network = tuple(horizons_s), top_k, has_network
        self._z_dim, self._step_s = manifest.z_dim, manifest.step_s
        self._retrieval = Retrieval.from_manifest(manifest.memory)
        self._context, self._prior, self._range, self._off = context, prior, training_range, off

    def forecasts(
        self,
        now: Now,
        anticipated: list[Neighbours],
        appearance: Neighbours,
        history_N: np.ndarray | None,
        history_count: int,
    ) -> tuple[Forecast, ...]:
        """Return the forecast of each horizon.

        Args:
            now: What is known.
            anticipated: Memories of where the robot will be, by horizon.
            appearance: Memories that look like the present.
            history_N: Visual history, oldest first, left-padded; ``None`` without one.
            history_count: Real entries in it.
        """
        copies = [self._copies(index, now.way, found) for index, found in enumerate(anticipated)]
        held_HD = np.repeat(now.last.latent_D[None], len(self._horizons_s), axis=0)
        latent_HD, base_HD, gate_H = held_HD, held_HD, np.zeros(len(self._horizons_s))
        prior_H2D: Sequence[np.ndarray | None] = [None] * len(copies)
        speaking = self._prior if self._prior is not None and self._prior.speaks else None
        if self._has_network or speaking is not None:
            observed = self._context.moving(now.way.features())
            retrieved = self._retrieved(now, anticipated, appearance)
            if self._has_network:
                latent_HD, base_HD, gate_H = self._forward(observed, retrieved, history_N, history_count)
            if speaking is not None:
                copied_HD = np.stack([now.last.latent_D if copied is None else copied[0] for copied in copies])
                with_HD, without_HD, _ = speaking.forecast(observed, retrieved, copied_HD)
                prior_H2D = list(np.stack([without_HD, with_HD], axis=1))
        said = [Networks(base_HD[i], latent_HD[i], float(gate_H[i]), prior_H2D[i]) for i in range(len(copies))]
        return tuple(self._forecast(i, now, said[i], found, copies[i]) for i, found in enumerate(anticipated))

    def _forward(
        self, observed: ObservedArrays, retrieved: RetrievedArrays, history_N: np.ndarray | None, history_count: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what the network says with memories and without them, [H, D], and how much those had to say, [H]."""
        if history_N is not None and history_count > 0:
            observed = observed._replace(history=row(history_N), history_count=np.array([history_count], np.int64))
        latent_1HD, base_1HD, gate_1H = self._context.transition.forecast(observed, retrieved)
        return latent_1HD[0], base_1HD[0], gate_1H[0]

    def _retrieved(self, now: Now, anticipated: list[Neighbours], appearance: Neighbours) -> RetrievedArrays:
        last, way = now.last, now.way
        present = Present(last.stamp_ns, way.present, last.action_A)
        size, retrieval, width = self._z_dim, self._retrieval, self._retrieval.appearance_k
        expected = [way.pose(index) for index in range(len(anticipated))]
        arrays = anticipated_arrays(anticipated, expected, present, self._top_k, size, retrieval)
        arrays |= appearance_arrays(appearance, present, width, size, retrieval)
        arrays |= successor_arrays(appearance, present, self._horizons_s, self._step_s, width, size)
        for name in ("anticipated_latent", "appearance_latent", "successor_latent"):
            arrays[name] = self._range.latent(arrays[name])
        return RetrievedArrays(**arrays)

    def _copies(self, index: int, way: Way, found: Neighbours) -> np.ndarray | None:
        """Return the plain copies of the memories of one horizon, [M, D]; ``None`` without any."""
        pose = way.pose(index)
        if not len(found) or pose is None or EVIDENCE in self._off:
            return None
        return plain_copies(found, pose, way.std_H3[index], self._retrieval)

    def _forecast(
        self, index: int, now: Now, networks: Networks, found: Neighbours, copies_MD: np.ndarray | None
    ) -> Forecast:
        last, way, panel = now
        pose = way.pose(index)
        poses = tuple(Pose2(*pose_4) for pose_4 in found.pose_K4.tolist())
        revisit = pose is not None and is_revisit(pose, poses)
        latent_D, base_D = networks.with_D, networks.without_D
        networks = replace(networks, gate=networks.gate if len(found) else 0.0)
        if not self._has_network and revisit and copies_MD is not None:
            # Where the robot was before, the first guess is what it saw there, as far as that beats the base.
            networks = replace(networks, with_D=copies_MD[0], gate=1.0, is_copied=True)
        if EVIDENCE in self._off:
            combined = Combined(latent_D, base_D, last.latent_D, networks.gate)
        else:
            moved_3 = None if way.alone_H3 is None else way.alone_H3[index]
            combined = panel.combine(index, networks, moved_3, copies_MD, revisit)
        return Forecast(
            horizon_s=self._horizons_s[index],
            latent_D=combined.latent_D,
            network_D=latent_D if networks.prior_2D is None else networks.prior_2D[1],
            copied_D=None if copies_MD is None else copies_MD[0],
            without_memory_D=combined.without_memory_D,
            network_without_D=base_D if networks.prior_2D is None else networks.prior_2D[0],
            mean_D=panel.usual,
            ridge_D=combined.ridge_D,
            persistence_D=last.latent_D,
            gate=combined.gate,
            memory_ids=tuple(found.id_K.tolist()),
            memory_poses=poses,
            pose=pose,
            revisit=revisit,
            pose_std_3=None if pose is None else turned_std(way.std_H3[index], pose.yaw),
        )
