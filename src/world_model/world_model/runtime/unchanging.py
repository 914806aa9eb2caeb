"""What stands in a transition's place where an artifact has none, in arrays: nothing changes.

Shape suffixes: B = batch, C = state size, D = latent size, A = action size.
"""

from typing import Any

import numpy as np

from world_model.runtime.arrays import ObservedArrays, RetrievedArrays


class Unchanging:
    """A transition without weights; see ``world_model.runtime.served.ServedTransition``."""

    def initial(self, batch: int) -> np.ndarray:
        """Return an empty state, [B, 0]."""
        return np.zeros((batch, 0), np.float32)

    def repeated(self, state_1C: Any, count: int) -> np.ndarray:
        """Return as many empty states."""
        return self.initial(count)

    def observe(self, latent_BD: np.ndarray, action_BA: np.ndarray, state_BC: Any) -> np.ndarray:
        """Return an empty state."""
        return self.initial(len(latent_BD))

    def foresee_path(self, observed: ObservedArrays) -> np.ndarray:
        """Return that nothing is added to the expected displacement, nor is its standard error known, [B, H, 6]."""
        return np.zeros((*observed.motion.shape[:2], 6), np.float32)

    def forecast(
        self, observed: ObservedArrays, retrieved: RetrievedArrays
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the present latent twice, [B, H, D], and a gate of 0, [B, H]."""
        held_BHD = np.repeat(observed.latent[:, None], observed.horizon_s.shape[1], axis=1)
        return held_BHD, held_BHD, np.zeros(observed.horizon_s.shape, np.float32)

    def outcomes(self, state_BC: Any) -> np.ndarray:
        """Return that nothing is known of them, [B, 0]."""
        return self.initial(len(state_BC))
