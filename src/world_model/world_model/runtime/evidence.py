"""Weighs what memories say by how well it came true lately.

A network learns how far to trust memories from the episodes it was trained on; on another robot, with another camera
and another localisation, something else may be right. Beside its forecast stand plain candidates; those that would
have made the forecasts whose time has come better get a share of the next one.

Shape suffixes: C = candidates, D = latent size.
"""

import math

import numpy as np
from scipy.linalg.lapack import dpotrf, dtrtrs
from scipy.optimize import nnls

# Older forecasts count less, with this time constant: long enough to learn a few numbers, short enough to follow.
FORGET_S = 40.0
# How much evidence is asked for before a share departs from 0: what error is left lately, for so many seconds.
CAUTION_S = 0.2
_ERROR_S = 5.0
# Squared errors (over the variance) above this count as this.
_LARGEST = 25.0
_TINY = 1e-9


class Evidence:
    """Combines the forecasts of one horizon with candidates, by how well each did on forecasts whose time has come.

    The combination is ``forecast + sum_c w_c (candidate_c - forecast)`` with shares that are not negative and sum to at
    most 1. They minimise the squared error over the latents' variance, all dimensions alike, with a ridge towards 0:
    without evidence the forecast stays as it is.

    Args:
        candidates: C.
        variance_D: Variance of the latents, the unit of errors.
        step_s: Time between observations, which is what each forecast counts [s].
        solve_every: Forecasts after which shares are solved anew; they change slowly, and solving is what costs.

    Source: Bates and Granger, The Combination of Forecasts (1969); least squares with a forgetting factor.
    """

    def __init__(self, candidates: int, variance_D: np.ndarray, step_s: float, solve_every: int = 1) -> None:
        self._scale_D = 1.0 / np.sqrt(np.asarray(variance_D, np.float64))
        self._missed_ED = np.empty((candidates + 1, len(self._scale_D)))
        self._step_s = step_s
        self._keep, self._keep_error = math.exp(-step_s / FORGET_S), math.exp(-step_s / _ERROR_S)
        self._gram_CC = np.zeros((candidates, candidates))
        self._moment_C = np.zeros(candidates)
        self.share_C = np.zeros(candidates)
        self._seconds = self._left = 0.0
        self._solve_every, self._unsolved = solve_every, 0

    def rescale(self, variance_D: np.ndarray) -> None:
        """Count errors in another unit from now on: latents changed their basis. Shares are of no basis and stay."""
        self._scale_D = 1.0 / np.sqrt(np.asarray(variance_D, np.float64))

    def combine(self, forecast_D: np.ndarray, candidate_CD: np.ndarray) -> np.ndarray:
        """Return the forecast with each candidate's share in it, [D]."""
        if not any(self.share_C.tolist()):
            return forecast_D
        return (forecast_D + self.share_C @ (candidate_CD - forecast_D)).astype(np.float32)

    def learn(self, forecast_D: np.ndarray, candidate_CD: np.ndarray, latent_D: np.ndarray) -> None:
        """Learn from a forecast, before it was combined, whose time has come."""
        # What was missed is one more row beside the candidates: one product gives all their moments.
        missed_ED = self._missed_ED
        np.subtract(candidate_CD, forecast_D, out=missed_ED[:-1])
        np.subtract(latent_D, forecast_D, out=missed_ED[-1])
        missed_ED *= self._scale_D
        gram_EE = missed_ED @ missed_ED.T
        gram_EE /= len(latent_D)
        weight = self._step_s * min(1.0, _LARGEST / max(*gram_EE.diagonal().tolist(), _TINY))
        left_D = missed_ED[-1] - self.share_C @ missed_ED[:-1]
        self._seconds = self._keep_error * self._seconds + weight
        self._left = self._keep_error * self._left + weight * float(left_D @ left_D) / len(left_D)
        gram_EE *= weight
        self._gram_CC *= self._keep
        self._gram_CC += gram_EE[:-1, :-1]
        self._moment_C *= self._keep
        self._moment_C += gram_EE[-1, :-1]
        self._unsolved += 1
        if self._unsolved >= self._solve_every:
            self._unsolved = 0
            caution = CAUTION_S * self._left / self._seconds + _TINY
            self.share_C = shares(self._gram_CC, self._moment_C, caution)


def shares(gram_CC: np.ndarray, moment_C: np.ndarray, ridge: float) -> np.ndarray:
    """Return the non-negative least-squares solution with a ridge, scaled down to a sum of at most 1, [C].

    Source: Lawson and Hanson's active set (SciPy), on the Cholesky factor of the normal equations.
    """
    # LAPACK itself: around matrices this small NumPy's checks cost several times as much.
    factor_CC, failed = dpotrf(gram_CC + ridge * np.eye(len(moment_C)), lower=True)
    if failed:
        raise np.linalg.LinAlgError(f"the normal equations are not positive definite: ridge {ridge}")
    goal_C, _ = dtrtrs(factor_CC, moment_C, lower=True)
    share_C, _ = nnls(factor_CC.T, goal_C)
    share_C /= max(float(share_C.sum()), 1.0)
    return share_C
