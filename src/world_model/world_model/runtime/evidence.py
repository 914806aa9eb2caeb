"""Weighs what memories say by how well it came true lately.

A network learns how far to trust memories from the episodes it was trained on; on another robot, with another camera
and another localisation, something else may be right. Beside its forecast stand plain candidates; those that would
have made the forecasts whose time has come better get a share of the next one.

Shape suffixes: C = candidates, D = latent size.
"""

import math
from collections.abc import Mapping

import numpy as np

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
    most 1. They minimise the squared error over the latents' variance, all dimensions alike, with a ridge towards 0, or
    towards what ``lean`` says: without evidence the forecast stays as it is, or as that makes it.

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
        self._lean_C = np.zeros(candidates)
        self._seconds = self._left = 0.0
        self._solve_every, self._unsolved = solve_every, 0

    @property
    def error(self) -> float:
        """How large the combination's error was lately (NMSE); NaN before anything came true."""
        return self._left / self._seconds if self._seconds > 0.0 else math.nan

    def lean(self, candidate: int, share: float) -> None:
        """Expect that a candidate deserves a share, until there is evidence.

        Args:
            candidate: Which.
            share: Its share (0..1).
        """
        self._lean_C[candidate] = share
        if not self._seconds:
            self.share_C = self._lean_C.copy()

    def rescale(self, variance_D: np.ndarray) -> None:
        """Count errors in another unit from now on: latents changed their basis. Shares are of no basis and stay."""
        self._scale_D = 1.0 / np.sqrt(np.asarray(variance_D, np.float64))

    def learned(self) -> dict[str, np.ndarray]:
        """Return what ``begin`` goes on from: moments, and the error of late with the time that it is of."""
        return {"gram": self._gram_CC, "moment": self._moment_C, "error": np.array([self._left, self._seconds])}

    def begin(self, learned: Mapping[str, np.ndarray], worth: float) -> None:
        """Go on from what ``learned`` returned, in any basis, as if there were only a part of it.

        Args:
            learned: All of it.
            worth: That part.
        """
        self._gram_CC, self._moment_C = worth * learned["gram"], worth * learned["moment"]
        self._left, self._seconds = (worth * learned["error"]).tolist()
        if self._seconds > 0.0:
            self._solve()

    def combine(self, forecast_D: np.ndarray, candidate_CD: np.ndarray) -> np.ndarray:
        """Return the forecast with each candidate's share in it, [D]."""
        if not any(self.share_C.tolist()):
            return forecast_D
        combined_D: np.ndarray = (forecast_D + self.share_C @ (candidate_CD - forecast_D)).astype(np.float32)
        return combined_D

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
            self._solve()

    def _solve(self) -> None:
        self._unsolved = 0
        caution = CAUTION_S * self._left / self._seconds + _TINY
        self.share_C = shares(self._gram_CC, self._moment_C + caution * self._lean_C, caution, self.share_C)


class Missed:
    """How much one forecaster missed lately (NMSE).

    Args:
        variance_D: The unit of errors.
        step_s: Time between forecasts [s].
    """

    def __init__(self, variance_D: np.ndarray, step_s: float) -> None:
        self._precision_D = 1.0 / (np.asarray(variance_D, np.float64) * len(variance_D))
        self._keep = math.exp(-step_s / FORGET_S)
        self._sum = self._weight = 0.0

    @property
    def error(self) -> float:
        """The mean; 0 before anything came true."""
        return self._sum / self._weight if self._weight else 0.0

    def learn(self, forecast_D: np.ndarray, latent_D: np.ndarray) -> None:
        """Take a forecast whose time has come."""
        missed_D = latent_D - forecast_D
        self._sum = self._keep * self._sum + float((missed_D * missed_D) @ self._precision_D)
        self._weight = self._keep * self._weight + 1.0


def shares(gram_CC: np.ndarray, moment_C: np.ndarray, ridge: float, former_C: np.ndarray | None = None) -> np.ndarray:
    """Return the non-negative least-squares solution with a ridge, scaled down to a sum of at most 1, [C].

    Args:
        gram_CC: Products of the candidates.
        moment_C: Their products with what is to be explained.
        ridge: Added to the diagonal.
        former_C: An earlier solution; where the same candidates have a share now, one small system is all there is.

    Raises:
        np.linalg.LinAlgError: The normal equations are not positive definite.

    Source: Lawson and Hanson, Solving Least Squares Problems (1974), chapter 23, on the normal equations. SciPy's would
    take a sixth of the time until a predictor is imported.
    """
    normal_CC = gram_CC.copy()
    normal_CC.flat[:: len(moment_C) + 1] += ridge
    share_C = None if former_C is None else _with_shares(normal_CC, moment_C, former_C > 0.0)
    if share_C is None:
        if not np.isfinite(normal_CC).all():
            raise np.linalg.LinAlgError(f"the normal equations are not finite: ridge {ridge}")
        np.linalg.cholesky(normal_CC)  # refuses what has no single solution
        share_C = _active_set(normal_CC, moment_C)
    share_C /= max(float(share_C.sum()), 1.0)
    return share_C


def _with_shares(normal_CC: np.ndarray, moment_C: np.ndarray, chosen_C: np.ndarray) -> np.ndarray | None:
    """Return the solution if just these candidates have a share in it, else None."""
    share_C = np.zeros(len(moment_C))
    share_C[chosen_C] = _solved(normal_CC, moment_C, chosen_C)
    promise_C = moment_C - normal_CC @ share_C
    promise_C[chosen_C] = 0.0
    # Written so that what is no number is no solution either.
    return share_C if share_C.min() >= 0.0 and promise_C.max() <= _slack(moment_C) else None


def _active_set(normal_CC: np.ndarray, moment_C: np.ndarray) -> np.ndarray:
    """Return the solution, from nobody having a share: the one that promises most gets one, who would owe loses it."""
    share_C, chosen_C = np.zeros(len(moment_C)), np.zeros(len(moment_C), bool)
    # Each round lowers the error, so no choice comes twice; rounding alone could make one.
    for _ in range(3 * len(moment_C)):
        promise_C = np.where(chosen_C, -np.inf, moment_C - normal_CC @ share_C)
        if promise_C.max() <= _slack(moment_C):
            break
        chosen_C[promise_C.argmax()] = True
        while chosen_C.any():
            wanted_C = np.zeros_like(share_C)
            wanted_C[chosen_C] = _solved(normal_CC, moment_C, chosen_C)
            owing_C = chosen_C & (wanted_C <= 0.0)
            if not owing_C.any():
                share_C = wanted_C
                break
            part_C = share_C[owing_C] / (share_C[owing_C] - wanted_C[owing_C] + _TINY**2)
            share_C = share_C + part_C.min() * (wanted_C - share_C)
            chosen_C[np.flatnonzero(owing_C)[part_C.argmin()]] = False
            share_C[~chosen_C] = 0.0
    return share_C


def _solved(normal_CC: np.ndarray, moment_C: np.ndarray, chosen_C: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.solve(normal_CC[chosen_C][:, chosen_C], moment_C[chosen_C]))


def _slack(moment_C: np.ndarray) -> float:
    return 1e-12 * float(np.abs(moment_C).max())
