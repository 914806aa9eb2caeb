"""A mixture of forecasts that is never much worse than the best of them, whatever comes and however late it is known.

Each forecast is mixed by a learner that is free, and the learner is busy until the time of that forecast has come. So
every learner hears of one forecast before it mixes the next, and the bound without delay holds for each.

Shape suffixes: E = experts, D = latent size.
"""

import math
from typing import NamedTuple

import numpy as np

# In a round with a larger error (NMSE) all errors are scaled down to this: one broken frame must not undo all learning.
CLIP = 25.0
# No expert falls behind the best by more than this factor, so one that becomes good is found again in bounded time.
FLOOR = 1e-8
# Balance between the two terms of the bound; near its least for the weights that are used.
_BALANCE = 2.0


class Ticket(NamedTuple):
    """Who mixed a forecast, how, and at which rate."""

    learner: int
    weight_E: np.ndarray
    rate: float


class DelayedMixture:
    """Mixes experts by how well each did, without assumptions about what comes; see ``bound``.

    Weights are ``prior * exp(-rate * sum of errors)``; before anything is known the first expert speaks alone. The rate
    falls with what mixing cost so far beyond the soft minimum of the experts' errors. Squared errors are exp-concave,
    so it stops falling once it is under half the inverse of the largest error.

    Args:
        prior_E: Weights before anything is known; positive, they sum to 1.
        variance_D: Variance of the latents, the unit of errors.

    Attributes:
        largest: Largest error that an expert made, B.
        judged: Rounds whose outcome is known.

    Source: Vovk, A Game of Prediction with Expert Advice (1998); de Rooij, van Erven, Grünwald and Koolen, Follow the
        Leader If You Can, Hedge If You Must (2014); Weinberger and Ordentlich, On Delayed Prediction of Individual
        Sequences (2002).
    """

    def __init__(self, prior_E: np.ndarray, variance_D: np.ndarray) -> None:
        self._prior_E = np.asarray(prior_E, np.float64)
        self._precision_D = 1.0 / (np.asarray(variance_D, np.float64) * len(variance_D))
        self._first_E: np.ndarray = np.eye(1, len(self._prior_E))[0]
        self._lost: list[np.ndarray] = []
        self._free: list[int] = []
        self._gap = self._mixed = 0.0
        self._rate = math.inf
        self.largest = 0.0
        self.judged = 0

    @property
    def learner_count(self) -> int:
        """How many forecasts were ever waiting at once, and so how many learners there are."""
        return len(self._lost)

    def bound(self, expert: int) -> float:
        """Return how much more than one expert's sum of errors this mixture's can be by now.

        It depends on nothing that came but for B, the count of learners and, hardly, the count of rounds.
        """
        surprise = -math.log(self._prior_E[expert])
        slowest = (3.0 * _BALANCE + 1.0) / _BALANCE
        per_learner = 2.0 * _BALANCE + 2.0 + slowest * surprise
        floor = slowest * self.judged * FLOOR / float(self._prior_E.min())
        return self.largest * (self.learner_count * per_learner + floor)

    def take(self) -> Ticket:
        """Return a free learner with its weights; give it back with ``learn`` or ``release``."""
        if not self._free:
            self._free.append(len(self._lost))
            self._lost.append(np.zeros(len(self._prior_E)))
        learner = self._free.pop()
        if math.isinf(self._rate):
            return Ticket(learner, self._first_E, self._rate)
        # A learner that was free when the rate fell for the first time has what it lost without a floor.
        lost_E = self._lost[learner] = self._above_floor(self._lost[learner])
        weight_E = self._prior_E * np.exp(lost_E * -self._rate)
        return Ticket(learner, weight_E / sum(weight_E.tolist()), self._rate)

    def weights(self) -> np.ndarray:
        """Return the weights that the next forecast will be mixed with, [E]; no learner is taken for it."""
        if math.isinf(self._rate) or not self._lost:
            return self._first_E
        lost_E = self._above_floor(self._lost[self._free[-1]]) if self._free else np.zeros(len(self._prior_E))
        weight_E = self._prior_E * np.exp(lost_E * -self._rate)
        mixed_E: np.ndarray = weight_E / weight_E.sum()
        return mixed_E

    def release(self, ticket: Ticket) -> None:
        """Give back a learner whose forecast will not be judged."""
        self._free.append(ticket.learner)

    def learn(self, ticket: Ticket, expert_ED: np.ndarray, latent_D: np.ndarray) -> None:
        """Give back a learner with what its experts had said and what came."""
        missed_ED = expert_ED - latent_D
        error_E = (missed_ED * missed_ED) @ self._precision_D
        missed_D = ticket.weight_E @ missed_ED
        mixed = float((missed_D * missed_D) @ self._precision_D)
        # Python's own min, max and sum: for a few numbers NumPy's reductions cost ten times as much.
        errors = error_E.tolist()
        worst, least = max(errors), min(errors)
        if worst > CLIP:
            down = CLIP / worst
            error_E, mixed, least, worst = error_E * down, mixed * down, least * down, CLIP
        self.largest = max(self.largest, worst)
        self.judged += 1
        self._mixed += mixed
        if math.isfinite(ticket.rate):
            soft = least - math.log(float(ticket.weight_E @ np.exp((least - error_E) * ticket.rate))) / ticket.rate
            self._gap += max(mixed - soft, 0.0)
        slow = self._gap / self.learner_count + _BALANCE * self._mixed / self.judged
        if slow > 0.0:
            self._rate = min(self._rate, _BALANCE / slow)
        lost_E = self._lost[ticket.learner] + error_E
        lost_E -= min(lost_E.tolist())
        if math.isfinite(self._rate):
            lost_E = self._above_floor(lost_E)
        self._lost[ticket.learner] = lost_E
        self._free.append(ticket.learner)

    def _above_floor(self, lost_E: np.ndarray) -> np.ndarray:
        floored_E: np.ndarray = np.minimum(lost_E, -math.log(FLOOR) / self._rate)
        return floored_E
