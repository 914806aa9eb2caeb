"""The forecasts of one horizon, combined by how each came true lately: everywhere, with memories and without.

Without memories: the network, persistence, the robot's own running mean and a ridge regression learned online. With
them: the network's forecast from memories, carried over to that better base, and plain copies of the memories. A prior
is one more of each kind, where there is one. Shares come from least squares; a mixture with a guarantee stands behind.

Shape suffixes: D = latent size, F = features, E = experts.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from world_model.runtime.evidence import Evidence, Missed
from world_model.runtime.guard import DelayedMixture, Ticket
from world_model.runtime.past import Example
from world_model.runtime.regression import OnlineRidge
from world_model.runtime.stepping import may_judge_between

# How much of the mixture is the least-squares combination before anything is known.
TRUST = 0.9
_SOLVE_EVERY = 4
# Of what is learned again in another basis, the shares of who needs no memory see one in so many: that is what costs.
_REPLAY_EVERY = 4
# Before anything came true: what the combination without memories misses, and what a copy of a place seen before does,
# over what the robot's own mean does.
UNKNOWN_BASE, UNKNOWN_COPY = 1.0, 0.3
_KINDS = {False: "near", True: "revisit"}
# A slow camera judges a forecast with the next frame, up to this share of the horizon late.
_LATE = 0.1
WITHOUT_MEMORY = ("network", "persistence", "running_mean", "ridge")
FROM_MEMORY = ("copy", "mean_of_four", "nearest")
WITH_MEMORY = ("network_with_memory", *FROM_MEMORY, "without_memory", *WITHOUT_MEMORY[1:])


@dataclass(frozen=True)
class Said:
    """What each forecaster says of one horizon at one moment.

    Attributes:
        stamp_ns: Now.
        network_D: The network without memories.
        with_memory_D: The network with them.
        gate: How much memories had to say in that (0..1).
        latent_D: The present latent.
        mean_D: The robot's own mean latent.
        feature_F: What the regression sees.
        copies_MD: Weighed copy, mean of the four nearest and nearest memory; ``None`` without memories.
        revisit: The place was seen before.
        prior_2D: What a prior says without memories and with them; ``None`` without one, or where it is silent: then
            what this robot learned itself speaks in its place.
        is_copied: What the network is given as saying with memories is a plain copy: there is no network.
    """

    stamp_ns: int
    network_D: np.ndarray
    with_memory_D: np.ndarray
    gate: float
    latent_D: np.ndarray
    mean_D: np.ndarray
    feature_F: np.ndarray
    copies_MD: np.ndarray | None
    revisit: bool
    prior_2D: np.ndarray | None = None
    is_copied: bool = False


@dataclass(frozen=True)
class Combined:
    """Forecasts of one horizon: with memories, without, what the regression says, and the share memories have."""

    latent_D: np.ndarray
    without_memory_D: np.ndarray
    ridge_D: np.ndarray
    gate: float


class Weights(NamedTuple):
    """How forecasts of one horizon are combined at present; weights sum to 1.

    Attributes:
        base_E: Weight of each of ``WITHOUT_MEMORY``; a prior's is shared out among them.
        full_E: Weight of each of ``WITH_MEMORY``, likewise.
        base_error: Error of the combination without memories lately (NMSE); NaN: not known.
        full_error: Error of the one with them.
    """

    base_E: np.ndarray
    full_E: np.ndarray
    base_error: float
    full_error: float


@dataclass(frozen=True)
class _Waiting:
    due_ns: int
    said: Said
    base_ED: np.ndarray
    base_learner: tuple[DelayedMixture, Ticket]
    full_ED: np.ndarray | None
    full_learner: tuple[DelayedMixture, Ticket] | None


class Experts:
    """Combines the forecasts of one horizon.

    Args:
        horizon_s: Time ahead [s].
        step_s: Time between observations [s].
        variance_D: Variance of the latents, the unit of errors.
        feature_count: F.
        has_prior: Whether a prior speaks too.
    """

    def __init__(
        self, horizon_s: float, step_s: float, variance_D: np.ndarray, feature_count: int, has_prior: bool = False
    ) -> None:
        self._base_count, self._full_count = len(WITHOUT_MEMORY) + has_prior, len(WITH_MEMORY) + has_prior
        self._has_prior = has_prior
        self._horizon_ns = round(horizon_s * 1e9)
        self._early_ns, self._late_ns = 0.5e9 * step_s, 1e9 * max(0.5 * step_s, _LATE * horizon_s)
        self._waiting: deque[_Waiting] = deque()
        self._variance_D = variance_D
        self._feature_count, self._step_s = feature_count, step_s
        self._ridge = OnlineRidge(feature_count, variance_D, step_s)
        self._base_evidence = Evidence(self._base_count - 1, variance_D, step_s, _SOLVE_EVERY)
        self._usual = Missed(variance_D, step_s)
        # What memories are worth where the place was seen before says nothing of where it was only near.
        self._evidence = {
            kind: Evidence(self._full_count - 1, variance_D, step_s, _SOLVE_EVERY) for kind in (False, True)
        }

        self._guard(variance_D)

    def _guard(self, variance_D: np.ndarray, learned: Mapping[str, np.ndarray] | None = None) -> None:
        """Put mixtures that know nothing yet behind both combinations, or half of what was learned of them."""

        def mixture(experts: int, weight_E: np.ndarray | None) -> DelayedMixture:
            plain_E = np.append(TRUST, np.full(experts, (1.0 - TRUST) / experts))
            return DelayedMixture(plain_E if weight_E is None else _half(plain_E, weight_E), variance_D)

        def weights(name: str) -> np.ndarray | list[None]:
            return [None, None] if learned is None else learned[name]

        kinds = (False, True)
        self.base_guard = {k: mixture(self._base_count, w) for k, w in zip(kinds, weights("base_guard"))}
        self.guard = {k: mixture(self._full_count, w) for k, w in zip(kinds, weights("guard"))}

    def learned(self) -> dict[str, np.ndarray]:
        """Return what ``begin`` goes on from, in this basis of the latents."""
        parts = {"ridge": self._ridge.learned(), "base": self._base_evidence.learned()}
        parts |= {_KINDS[kind]: evidence.learned() for kind, evidence in self._evidence.items()}
        arrays = {f"{part}.{name}": array.copy() for part, rows in parts.items() for name, array in rows.items()}
        for name, guards in (("base_guard", self.base_guard), ("guard", self.guard)):
            arrays[name] = np.stack([guards[kind].weights() for kind in (False, True)])
        return arrays

    def begin(self, learned: Mapping[str, np.ndarray], worth: float) -> None:
        """Begin with what ``learned`` returned, as if there were only a part of the evidence.

        Args:
            learned: All of it, of experts with these sizes in this basis.
            worth: That part.
        """

        def part(name: str) -> dict[str, np.ndarray]:
            return {key.split(".")[1]: array for key, array in learned.items() if key.startswith(f"{name}.")}

        self.forget_waiting()
        self._ridge.begin(part("ridge"), worth)
        self._base_evidence.begin(part("base"), worth)
        for kind, evidence in self._evidence.items():
            evidence.begin(part(_KINDS[kind]), worth)
        self._guard(self._variance_D, learned)

    def combine(self, said: Said) -> Combined:
        """Return the combined forecasts, and keep what was said until its time comes.

        Where nothing was remembered both are one array. A second call for the same moment replaces the first.
        """
        while self._waiting and self._waiting[-1].due_ns >= said.stamp_ns + self._horizon_ns:
            self._drop(self._waiting.pop())
        ridge_D = said.latent_D + self._ridge.forecast(said.feature_F)
        base_ED = np.empty((self._base_count + 1, len(ridge_D)))
        base_ED[1], base_ED[2], base_ED[3], base_ED[4] = said.network_D, said.latent_D, said.mean_D, ridge_D
        if self._has_prior:
            base_ED[5] = ridge_D if said.prior_2D is None else said.prior_2D[0]
        base_ED[0] = self._base_evidence.combine(base_ED[1], base_ED[2:])
        base_guard = self.base_guard[said.revisit]
        ticket = base_guard.take()
        base_D = ticket.weight_E @ base_ED
        waiting = said.stamp_ns + self._horizon_ns, said, base_ED, (base_guard, ticket)
        if said.copies_MD is None:
            self._waiting.append(_Waiting(*waiting, None, None))
            base_D = base_D.astype(np.float32)
            return Combined(base_D, base_D, ridge_D, 0.0)
        # The network's forecast stands on its own one without memories; as far as it does, the better one replaces it.
        memories = len(said.copies_MD)
        full_ED = np.empty((self._full_count + 1, len(ridge_D)))
        full_ED[1] = said.with_memory_D + (1.0 - said.gate) * (base_D - said.network_D)
        full_ED[2 : 2 + memories], full_ED[2 + memories], full_ED[3 + memories :] = said.copies_MD, base_D, base_ED[2:]
        if self._has_prior:
            full_ED[-1] = base_D if said.prior_2D is None else said.prior_2D[1]
        evidence, guard = self._evidence[said.revisit], self.guard[said.revisit]
        if said.is_copied:
            evidence.lean(memories, self._share_of_base())
        full_ED[0] = evidence.combine(full_ED[1], full_ED[2:])
        ticket = guard.take()
        weight_E = ticket.weight_E
        self._waiting.append(_Waiting(*waiting, full_ED, (guard, ticket)))
        shares, weights = evidence.share_C.tolist(), weight_E.tolist()
        least_gate = (1.0 - sum(shares)) * said.gate + sum(shares[:memories])
        gate = weights[0] * least_gate + weights[1] * said.gate + sum(weights[2 : 2 + memories])
        return Combined((weight_E @ full_ED).astype(np.float32), base_D.astype(np.float32), ridge_D, gate)

    def _share_of_base(self) -> float:
        """Return how much the base should have beside a copy whose errors are not known yet: as its own are lately.

        Of two independent forecasts the best mean weighs each by the other's error. Both are counted over that of the
        robot's own mean: before a projection is fitted the unit is of other pictures.
        """
        error, usual = self._base_evidence.error, self._usual.error
        ratio = error / usual if usual > 0.0 else UNKNOWN_BASE
        return UNKNOWN_COPY / (UNKNOWN_COPY + ratio)

    def weights(self, revisit: bool) -> Weights:
        """Return how the next forecast will be combined.

        Args:
            revisit: The place was seen before.
        """
        base_E = _effective(self._base_evidence.share_C, self.base_guard[revisit].weights())
        full_E = _effective(self._evidence[revisit].share_C, self.guard[revisit].weights())
        return Weights(
            _shared_out(base_E, len(WITHOUT_MEMORY)),
            _shared_out(full_E, len(WITH_MEMORY)),
            self._base_evidence.error,
            self._evidence[revisit].error,
        )

    def observe(self, stamp_ns: int, latent_D: np.ndarray) -> None:
        """Learn from the forecast for this time, up to half a step early or a tenth of the horizon late."""
        waiting = self._waiting
        while waiting and waiting[0].due_ns < stamp_ns - self._late_ns:
            self._drop(waiting.popleft())
        while len(waiting) > 1 and abs(waiting[1].due_ns - stamp_ns) <= abs(waiting[0].due_ns - stamp_ns):
            self._drop(waiting.popleft())
        if not waiting or waiting[0].due_ns > stamp_ns + self._early_ns:
            return
        made = self._waiting.popleft()
        said = made.said
        self._ridge.learn(said.feature_F, latent_D - said.latent_D)
        self._base_evidence.learn(made.base_ED[1], made.base_ED[2:], latent_D)
        self._usual.learn(said.mean_D, latent_D)
        guard, ticket = made.base_learner
        guard.learn(ticket, made.base_ED, latent_D)
        if made.full_ED is None or made.full_learner is None:
            return
        self._evidence[said.revisit].learn(made.full_ED[1], made.full_ED[2:], latent_D)
        guard, ticket = made.full_learner
        guard.learn(ticket, made.full_ED, latent_D)

    def due_between(self, before_ns: int, now_ns: int) -> list[int]:
        """Return the times between the last two frames for which forecasts wait that neither frame judges [ns]."""
        if not may_judge_between((now_ns - before_ns) * 1e-9, self._horizon_ns * 1e-9):
            return []
        first_ns, last_ns = before_ns + self._early_ns, now_ns - self._late_ns
        return [waiting.due_ns for waiting in self._waiting if first_ns < waiting.due_ns < last_ns]

    def rebase(self, variance_D: np.ndarray, example: Example, mean_D: np.ndarray) -> None:
        """Go on in another basis of the latents: what needs no memory learns from its examples anew.

        How far memories are trusted stays. The mixtures that stand behind start again: errors before count in another
        unit, so their bound holds from here on.

        Args:
            variance_D: The unit of errors from now on.
            example: What would have been learned from in the new basis.
            mean_D: The robot's own mean there.
        """
        self.forget_waiting()
        self._variance_D = variance_D
        self._ridge = OnlineRidge(self._feature_count, variance_D, self._step_s)
        self._base_evidence = Evidence(self._base_count - 1, variance_D, self._step_s, _SOLVE_EVERY)
        self._usual = Missed(variance_D, self._step_s)
        forecast_ND = self._ridge.replay(example.regressor_NR, example.change_ND)
        rows = zip(example.latent_ND[::_REPLAY_EVERY], example.change_ND[::_REPLAY_EVERY], forecast_ND[::_REPLAY_EVERY])
        for latent_D, change_D, forecast_D in rows:
            # What a prior would have said is not known: it stands for the present latent.
            others = [latent_D, mean_D, latent_D + forecast_D, latent_D]
            self._base_evidence.learn(latent_D, np.stack(others[: self._base_count - 1]), latent_D + change_D)
            self._usual.learn(mean_D, latent_D + change_D)
        for evidence in self._evidence.values():
            evidence.rescale(variance_D)
        self._guard(variance_D)

    def forget_waiting(self) -> None:
        """Drop forecasts whose time has not come; what was learned stays."""
        while self._waiting:
            self._drop(self._waiting.pop())

    def _drop(self, waiting: _Waiting) -> None:
        for guard, ticket in filter(None, (waiting.base_learner, waiting.full_learner)):
            guard.release(ticket)


def _shared_out(weight_E: np.ndarray, count: int) -> np.ndarray:
    """Return the weights of the first experts, which those of the others go to in proportion."""
    first_E = weight_E[:count]
    return first_E / first_E.sum() if len(weight_E) > count else first_E


def _half(plain_E: np.ndarray, weight_E: np.ndarray) -> np.ndarray:
    """Return weights between plain ones and learned ones: no expert has less than half of its plain weight."""
    learned_E = np.maximum(weight_E, 0.0)
    learned_E = learned_E / learned_E.sum() if learned_E.sum() > 0.0 else plain_E
    prior_E: np.ndarray = 0.5 * (plain_E + learned_E)
    return prior_E


def _effective(share_C: np.ndarray, weight_E: np.ndarray) -> np.ndarray:
    """Return what each expert's weight comes to: their combination by ``share_C`` is the first of those mixed."""
    effective_E: np.ndarray = weight_E[1:].copy()
    effective_E[0] += weight_E[0] * (1.0 - share_C.sum())
    effective_E[1:] += weight_E[0] * share_C
    return effective_E
