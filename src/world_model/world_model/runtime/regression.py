"""Learns online how the latent goes on: ridge regression on what is known now, and the robot's own mean latent.

Shape suffixes: N = examples, D = latent size, F = features.
"""

import math
from collections.abc import Mapping

import numpy as np

# Older examples count less, with this time constant [s].
FORGET_S = 120.0
# Evidence asked for before anything but "nothing changes" is forecast: a feature's variance, for so many seconds.
RIDGE_S = 2.0
# Weights are solved anew after this many examples: they change slowly, and solving is what costs.
SOLVE_EVERY = 10
# What is learned again in another basis, weights are solved anew after so much more of it: latents wait meanwhile.
_REPLAYED_SHARE = 1 / 32
# A feature counts as at most so many standard deviations from its mean: a jump of the pose is no motion.
_FARTHEST = 4.0
# No change of the latent beyond so many standard deviations is learned from or forecast.
_LARGEST = 10.0
# The robot's own mean follows with at most this time constant [s].
MEAN_S = 300.0


class RunningMean:
    """Mean of the latents seen so far, the last minutes of them; without any the training set's.

    Args:
        mean_D: What is said before anything was seen.
        step_s: Time between observations [s].
    """

    def __init__(self, mean_D: np.ndarray, step_s: float) -> None:
        self.mean_D = np.array(mean_D, np.float64)
        self._most = max(MEAN_S / step_s, 1.0)
        self._count = 0.0

    def rebase(self, latent_ND: np.ndarray) -> None:
        """Start from the mean of some latents in another basis, as many as have been seen at most."""
        self.mean_D = latent_ND.mean(axis=0, dtype=np.float64)
        self._count = min(max(self._count, 1.0), float(len(latent_ND)))

    def learned(self) -> np.ndarray:
        """Return the mean and, behind it, how many latents it is of, [D + 1]."""
        return np.append(self.mean_D, self._count)

    def begin(self, learned: np.ndarray, worth: float) -> None:
        """Go on from what ``learned`` returned, as if it were of only a part of these latents."""
        self.mean_D, self._count = learned[:-1].copy(), min(worth * float(learned[-1]), self._most)

    def update(self, latent_D: np.ndarray) -> None:
        """Take one more latent."""
        self._count = min(self._count + 1.0, self._most)
        self.mean_D = self.mean_D + (latent_D - self.mean_D) / self._count


class OnlineRidge:
    """Forecasts the change of the latent over one horizon, linearly in given features, from examples as they come true.

    Minimises the squared error over the latents' variance, with a ridge towards "nothing changes": without
    examples that is what it says. Features are centred and scaled by their own running moments.

    Args:
        feature_count: F.
        variance_D: Variance of the latents.
        step_s: Time that each example counts [s].

    Source: Hoerl and Kennard, Ridge Regression (1970), with exponential forgetting as in recursive least squares.
    """

    def __init__(self, feature_count: int, variance_D: np.ndarray, step_s: float) -> None:
        latent_dim = len(variance_D)
        self._largest_D = _LARGEST * np.sqrt(np.asarray(variance_D, np.float64))
        self._step_s = step_s
        self._keep = math.exp(-step_s / FORGET_S)
        # The last row and column belong to the constant.
        self._gram_FF = np.zeros((feature_count + 1, feature_count + 1))
        self._moment_FD = np.zeros((feature_count + 1, latent_dim))
        self._weight_FD = np.zeros((feature_count + 1, latent_dim))
        self._low_F = np.full(feature_count, -np.inf)
        self._high_F = np.full(feature_count, np.inf)
        self._unlearned: list[tuple[np.ndarray, np.ndarray]] = []

    def learned(self) -> dict[str, np.ndarray]:
        """Return what ``begin`` goes on from: the moments of all examples but the newest few."""
        return {"gram": self._gram_FF, "moment": self._moment_FD}

    def begin(self, learned: Mapping[str, np.ndarray], worth: float) -> None:
        """Go on from what ``learned`` returned in this basis, as if there were only a part of the examples.

        Args:
            learned: All of it.
            worth: That part.
        """
        self._unlearned.clear()
        self._gram_FF, self._moment_FD = worth * learned["gram"], worth * learned["moment"]
        if self._gram_FF[-1, -1] > 0.0:
            self._solve()

    def forecast(self, feature_F: np.ndarray) -> np.ndarray:
        """Return the change to expect, [..., D], where features are [..., F]."""
        seen_F = np.minimum(np.maximum(feature_F, self._low_F), self._high_F)
        change_D = seen_F @ self._weight_FD[:-1] + self._weight_FD[-1]
        return self._limited(change_D)

    def learn(self, feature_F: np.ndarray, change_D: np.ndarray) -> None:
        """Take what was known when a forecast was made, and how the latent had changed when its time came."""
        self._unlearned.append((feature_F, change_D))
        if len(self._unlearned) >= SOLVE_EVERY:
            feature_NF, change_ND = map(np.stack, zip(*self._unlearned))
            self._unlearned.clear()
            self._add_up(feature_NF, change_ND)
            self._solve()

    def replay(self, feature_NF: np.ndarray, change_ND: np.ndarray) -> np.ndarray:
        """Learn from many examples in their order and return what was forecast of each before, [N, D]."""
        forecast_ND, at = np.empty_like(change_ND), 0
        while at < len(feature_NF):
            part = slice(at, at + max(SOLVE_EVERY, round(_REPLAYED_SHARE * at)))
            forecast_ND[part] = self.forecast(feature_NF[part])
            self._add_up(feature_NF[part], change_ND[part])
            self._solve()
            at = part.stop
        return forecast_ND

    def _limited(self, change_D: np.ndarray) -> np.ndarray:
        limited_D: np.ndarray = np.minimum(np.maximum(change_D, -self._largest_D), self._largest_D)
        return limited_D

    def _add_up(self, feature_NF: np.ndarray, change_ND: np.ndarray) -> None:
        """Add examples to the moments."""
        count = len(feature_NF)
        feature_NF = np.minimum(np.maximum(feature_NF, self._low_F), self._high_F)
        feature_NF = np.column_stack([feature_NF, np.ones(count)])
        change_ND = self._limited(change_ND)
        weighed_NF = feature_NF * (self._step_s * self._keep ** np.arange(count - 1.0, -1.0, -1.0))[:, None]
        keep = self._keep**count
        self._gram_FF = keep * self._gram_FF + weighed_NF.T @ feature_NF
        self._moment_FD = keep * self._moment_FD + weighed_NF.T @ change_ND

    def _solve(self) -> None:
        """Solve the centred normal equations: the ridge must not hold back the mean change."""
        seconds = self._gram_FF[-1, -1]
        mean_F, change_D = self._gram_FF[:-1, -1] / seconds, self._moment_FD[-1] / seconds
        gram_FF = self._gram_FF[:-1, :-1] - seconds * np.outer(mean_F, mean_F)
        moment_FD = self._moment_FD[:-1] - seconds * np.outer(mean_F, change_D)
        spread_F = np.sqrt(np.maximum(np.diag(gram_FF), 0.0) / seconds) + 1e-6
        gram_FF = gram_FF / np.outer(spread_F, spread_F)
        gram_FF[np.diag_indices_from(gram_FF)] += RIDGE_S
        solved_FD = np.linalg.solve(gram_FF, moment_FD / spread_F[:, None]) / spread_F[:, None]
        # The mean change is believed as any other feature: little while little was seen.
        believed_D = change_D * seconds / (seconds + RIDGE_S)
        self._weight_FD[:-1], self._weight_FD[-1] = solved_FD, believed_D - mean_F @ solved_FD
        self._low_F, self._high_F = mean_F - _FARTHEST * spread_F, mean_F + _FARTHEST * spread_F
