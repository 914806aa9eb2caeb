"""What lies outside the range that a network was trained on: named, and its influence limited.

Shape suffixes: D = latent size, A = action size, ... = any leading dimensions.
"""

from dataclasses import replace

import numpy as np

from world_model.runtime.motion_model import MotionModel

ACTION_STDS = 3.0
LATENT_STDS = 6.0


class TrainingRange:
    """Limits of the actions and latents that a network is given.

    Actions are limited to 3 standard deviations of the training set around its mean; 0, which stands for "no command",
    is always inside. Latents are limited to 6.

    Args:
        action_mean_std: Mean and standard deviation of each action over the training set; ``None``: no limit.
        latent_mean_D: Mean of the latents over the training set.
        latent_variance_D: Their variance.
    """

    def __init__(
        self,
        action_mean_std: tuple[np.ndarray, np.ndarray] | None,
        latent_mean_D: np.ndarray,
        latent_variance_D: np.ndarray,
    ) -> None:
        self._action = action_mean_std
        if action_mean_std is not None:
            mean_A, std_A = action_mean_std
            self._least_A = np.minimum(mean_A - ACTION_STDS * std_A, 0.0).astype(np.float32)
            self._most_A = np.maximum(mean_A + ACTION_STDS * std_A, 0.0).astype(np.float32)
        self._mean_D, self._std_D = np.asarray(latent_mean_D), np.sqrt(latent_variance_D)
        self._precision_D = 1.0 / self._std_D
        self._least_D = (self._mean_D - LATENT_STDS * self._std_D).astype(np.float32)
        self._most_D = (self._mean_D + LATENT_STDS * self._std_D).astype(np.float32)

    def action(self, action_A: np.ndarray) -> np.ndarray:
        """Return actions within the limits, [..., A]; NaN stays NaN."""
        return action_A if self._action is None else np.clip(action_A, self._least_A, self._most_A)

    def limiting(self, model: MotionModel) -> MotionModel:
        """Return a motion model that was fitted to the same data, with the limits of its actions."""
        if self._action is None or model.least:
            return model
        return replace(model, least=tuple(self._least_A.tolist()), most=tuple(self._most_A.tolist()))

    def latent(self, latent_D: np.ndarray) -> np.ndarray:
        """Return latents within the limits, [..., D]."""
        limited_D: np.ndarray = np.minimum(np.maximum(latent_D, self._least_D), self._most_D)
        return limited_D

    def distance(self, latent_D: np.ndarray) -> float:
        """Return how many standard deviations a latent lies from the mean, in the dimension where it is furthest."""
        return float((np.abs(latent_D - self._mean_D) * self._precision_D).max())

    def outside(self, latent_D: np.ndarray, action_A: np.ndarray | None) -> tuple[str, ...]:
        """Return a sentence for each action, and one for the latent, that lies outside the limits."""
        said: list[str] = []
        if action_A is not None and self._action is not None:
            mean_A, std_A = self._action
            limits = zip(
                action_A.tolist(), mean_A.tolist(), std_A.tolist(), self._least_A.tolist(), self._most_A.tolist()
            )
            for index, (action, mean, std, least, most) in enumerate(limits):
                if not least <= action <= most:
                    said.append(
                        f"action {index} is {action:.3g}, {abs(action - mean) / std:.1f} standard deviations "
                        "from what the model was trained on: limited"
                    )
        far = self.distance(latent_D)
        if far > LATENT_STDS:
            said.append(f"latent is up to {far:.1f} standard deviations from what the model was trained on: limited")
        return tuple(said)
