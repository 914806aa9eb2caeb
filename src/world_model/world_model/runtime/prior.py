"""What was learned from many robots, for one that fits a projection of its own.

The network knows directions of the frozen features that are common to all robots, in each robot's unit and around its
mean. A robot's latents are turned into them and back; what lies outside them the network does not see.

Shape suffixes: B = batch, H = horizons, K = memories, D = a robot's latent size, Z = common directions, F = features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wm_core.projection import Projection
from world_model.errors import ArtifactError
from world_model.runtime.arrays import ObservedArrays, RetrievedArrays
from world_model.runtime.stepping import between_rows
from world_model.runtime.tensors import Observed, Retrieved

BASIS = "basis_ZF"
"""Buffer of a prior: the common directions, orthonormal rows."""
KEPT = "kept_2"
"""Buffer of a prior: how what it does not see fades: its share after a second, and the power of the time."""
SPEAKS_S = 30.0
"""How long a prior speaks [s]: later, what a robot learned itself does as well, or better."""
_CONTEXT_STEPS = 24
LARGEST = 12.0
"""Furthest that what a prior is given lies from the mean, in the robot's unit."""


def turning(projection: Projection, basis_ZF: np.ndarray, variance: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the matrices from a robot's latents to the common directions [D, Z] and back [Z, D].

    Args:
        projection: The robot's, with orthonormal components.
        basis_ZF: Common directions.
        variance: The robot's unit.
    """
    shared_DZ = projection.components.astype(np.float64) @ basis_ZF.T.astype(np.float64)
    std = float(np.sqrt(variance))
    return (shared_DZ / std).astype(np.float32), (shared_DZ.T * std).astype(np.float32)


class Prior:
    """A prior as one robot uses it, with the methods of a transition that forecast.

    Args:
        module: The network.
        buffers: What it holds besides its weights, ``BASIS`` and ``KEPT`` among it.
        projection: From features to this robot's latents.
        variance: The unit of errors of those.

    Raises:
        ArtifactError: The network knows directions of other features.
    """

    def __init__(self, module: Any, buffers: Mapping[str, Tensor], projection: Projection, variance: float) -> None:
        self._module, self._buffers = module, buffers
        basis_ZF, self._kept = buffers[BASIS].cpu().numpy(), buffers[KEPT].cpu()
        if basis_ZF.shape[1] != projection.space.size:
            raise ArtifactError(f"a prior of {basis_ZF.shape[1]} features, the network makes {projection.space.size}")
        self._action_dim = len(buffers["action_mean"])
        device = buffers[BASIS].device
        to_DZ, back_ZD = turning(projection, basis_ZF, variance)
        self._to_DZ, self._back_ZD = torch.from_numpy(to_DZ).to(device), torch.from_numpy(back_ZD).to(device)
        self._outside_DD = torch.eye(len(to_DZ), device=device) - self._to_DZ @ self._back_ZD

    def stream(self, step_s: float) -> PriorStream:
        """Return it along a stream of latents, which come so many seconds apart."""
        return PriorStream(self, step_s)

    def bound_to(self, projection: Projection, variance: float) -> Prior:
        """Return the same prior for another projection."""
        return Prior(self._module, self._buffers, projection, variance)

    def initial(self, batch: int) -> Tensor:
        """Return the state before anything was seen, [B, C]."""
        state_BC: Tensor = self._module.initial(batch)
        return state_BC

    def observe(self, latent_BD: Tensor, state_BC: Tensor) -> Tensor:
        """Return the state after one more latent."""
        state_BC = self._module.observe(self._turned(latent_BD), self._no_action(len(latent_BD)), state_BC)
        return state_BC

    def forecast(self, observed: Observed, retrieved: Retrieved, copied_BHD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the forecast with memories and without [B, H, D] each, and the gate [B, H].

        Args:
            observed: The present; actions and visual history are not read.
            retrieved: What the memory answered.
            copied_BHD: Plain copies of memories, for what the network does not see; the present latent without any.
        """
        count = len(observed.latent)
        z_BHZ, base_BHZ, gate_BH = self._module.forecast(
            observed._replace(
                latent=self._turned(observed.latent),
                action=self._no_action(count),
                history=torch.zeros(count, 1, device=observed.latent.device),
                history_count=torch.zeros(count, dtype=torch.int64, device=observed.latent.device),
            ),
            self._retrieved(retrieved),
        )
        share_H, power = self._kept[0], self._kept[1]
        kept_BH1 = (share_H ** (observed.horizon_s**power)).unsqueeze(2)
        outside_BHD = kept_BH1 * (observed.latent @ self._outside_DD).unsqueeze(1)
        gate_BH1 = gate_BH.unsqueeze(2)
        copied_BHD = outside_BHD + gate_BH1 * (copied_BHD @ self._outside_DD - outside_BHD)
        return z_BHZ @ self._back_ZD + copied_BHD, base_BHZ @ self._back_ZD + outside_BHD, gate_BH

    def _turned(self, latent_D: Tensor) -> Tensor:
        return (latent_D @ self._to_DZ).clamp(-LARGEST, LARGEST)

    def _no_action(self, batch: int) -> Tensor:
        # What an action means is each robot's own; what it leads to is told as expected motion.
        return torch.zeros(batch, self._action_dim, device=self._to_DZ.device)

    def _retrieved(self, retrieved: Retrieved) -> Retrieved:
        feature = retrieved.appearance_feature.clone()
        feature[..., -1] = 0.0
        return retrieved._replace(
            anticipated_latent=self._turned(retrieved.anticipated_latent),
            appearance_latent=self._turned(retrieved.appearance_latent),
            successor_latent=self._turned(retrieved.successor_latent),
            appearance_feature=feature,
        )


class PriorStream:
    """A prior along a stream of latents.

    It speaks while the robot has learned little itself, and is silent from then on.

    Args:
        prior: Of the projection that the first latents are in.
        step_s: Time between observations [s].
    """

    def __init__(self, prior: Prior, step_s: float) -> None:
        self._prior, self._most = prior, round(SPEAKS_S / step_s)
        self.begin()

    def begin(self) -> None:
        """Begin anew, with a robot that has learned nothing."""
        self._steps = 0
        self.restart()

    @property
    def speaks(self) -> bool:
        """Whether the robot has learned little itself."""
        return self._steps < self._most

    def restart(self) -> None:
        """Let what comes next not follow from what came before."""
        self._state_1C = self._before_1C = self._prior.initial(1)
        self._latent_1D: np.ndarray | None = None

    def advance(self, steps: int, latent_1D: np.ndarray) -> None:
        """Take the newest latent, so many steps after the last; with none it takes the last one's place."""
        self._steps += steps
        if not self.speaks:
            return
        last_1D = latent_1D if self._latent_1D is None else self._latent_1D
        with torch.inference_mode():
            state_1C = self._before_1C if steps == 0 else self._state_1C
            for step in range(1, steps):
                between_1D = between_rows(last_1D, latent_1D, step / steps)
                state_1C = self._prior.observe(torch.from_numpy(between_1D), state_1C)
            self._before_1C = state_1C
            self._state_1C, self._latent_1D = self._prior.observe(torch.from_numpy(latent_1D), state_1C), latent_1D

    def rebase(self, projection: Projection, variance: float, latent_ND: np.ndarray) -> None:
        """Go on in another basis.

        Args:
            projection: The other basis.
            variance: The unit of errors in it.
            latent_ND: The last latents in it, a step apart, the newest last; none are enough.
        """
        self._prior = self._prior.bound_to(projection, variance)
        self.restart()
        steps = self._steps
        for latent_D in latent_ND[-_CONTEXT_STEPS:]:
            self.advance(1, np.array(latent_D[None], np.float32))
        self._steps = steps

    def forecast(
        self, observed: ObservedArrays, retrieved: RetrievedArrays, copied_HD: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the forecast with memories and without [H, D] each, and the gate [H].

        Args:
            observed: The present; its state is not read.
            retrieved: What the memory answered.
            copied_HD: Plain copies of memories; the present latent without any.
        """
        with torch.inference_mode():
            copied_1HD = torch.from_numpy(np.array(copied_HD[None], np.float32)).to(self._state_1C.device)
            told = Observed(*map(torch.as_tensor, observed._replace(state=self._state_1C)))
            said = self._prior.forecast(told, Retrieved(*map(torch.from_numpy, retrieved)), copied_1HD)
        with_HD, without_HD, gate_H = (each[0].cpu().numpy() for each in said)
        return with_HD, without_HD, gate_H
