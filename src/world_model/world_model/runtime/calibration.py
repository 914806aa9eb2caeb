"""The motion model calibrates itself while the robot drives, and the one that foretold best lately is the one in use.

Shipped model, constant twist and what was fitted on the way, in this drive or a former one, are judged by the same
displacements, with the actions that followed known and with the last one held. What was fitted is judged on time that
it was not fitted to. All work is cut into pieces, a few of them after each observation, so a recording that is
evaluated learns at the same frames as the graph.

Shape suffixes: A = action size, M = starts, 3 = (forward [m], left [m], turn [rad]).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from wm_core.se2 import Pose2
from world_model.errors import ArtifactError, ProfileError
from world_model.runtime.motion_log import MotionLog
from world_model.runtime.motion_model import MotionModel
from world_model.runtime.motion_search import Target, Work, both_errors, loss, search, search_held, starts, target_of

SHIPPED, HELD, FITTED = "shipped", "constant twist", "fitted"
# Of what ``state`` returns, as a part of a profile.
STATE_VERSION = 1
KNOWN_FUTURE, HELD_FUTURE = "known", "held"
FUTURES = (KNOWN_FUTURE, HELD_FUTURE)
# A fit looks at so much of the past [s], and its newest part judges it.
WINDOW_S = 120.0
_HELD_OUT, _LEAST_HELD_OUT_S, _MOST_HELD_OUT_S = 0.2, 2.5, 16.0
# First fit after so much driving; then each time there is so much more, at most every ``_LONGEST_S``.
_FIRST_S, _GROWTH, _LONGEST_S = 6.0, 1.5, 60.0
# From so much data on a fit looks around the last one only, with the whole search now and then.
_SETTLED_S, _WHOLE_EVERY = 40.0, 4
_BLOCK_S, _BLOCKS = 2.0, 40
# What came in a block counts this much less with each that follows.
_KEEP = 0.95
# Another model takes over when its mean squared error is smaller by this share and by this many standard errors of the
# difference, block by block; a single block must say more.
_MARGIN, _SURE, _AT_ONCE = 0.03, 1.0, 0.5
# From the shipped model only by more: networks were trained on what it expects.
_SHIPPED_MARGIN = 0.1
# Least of what is called moving within a block: squared metres (1 rad counts as 1 m).
_STILL = 0.05**2
_STARTS_STRIDE = 2
# Rows of work after each observation; a row is about 0.04 us.
_PIECE = 6000
_SETTLING_STEPS = 60

_TINY = 1e-6

Piecework = Generator[int, None, None]


@dataclass(frozen=True)
class Block:
    """What a model missed from the starts of one block: for each future, true minus expected displacement, [M, 3]."""

    number: int
    missed: dict[str, np.ndarray]
    loss: dict[str, float]


@dataclass
class Candidate:
    """A motion model and the blocks that judge it."""

    model: MotionModel
    blocks: deque[Block] = field(default_factory=lambda: deque(maxlen=_BLOCKS))


@dataclass(frozen=True)
class Figures:
    """Root mean square error of the displacement over the last minutes of driving."""

    position_m: float
    turn_deg: float


class MotionCalibration:
    """Learns the motion model of the robot that is being observed.

    Which model is in use is decided for each kind of future on its own: a model may know best where actions lead, and
    another what becomes of an action that is held for want of a better guess.

    Args:
        shipped: The artifact's model, with the range of actions it was fitted to.
        step_s: Step of the model [s].
        action_dim: A.
        horizon_s: Time ahead to be good at [s].
        error_horizons_s: Times ahead at which errors are measured [s].

    Attributes:
        names: Future (``known`` or ``held``) -> which model is in use: shipped, constant twist or fitted.
        candidates: The models by these names.
        fits: How often models were fitted.
    """

    def __init__(
        self,
        shipped: MotionModel,
        step_s: float,
        action_dim: int,
        horizon_s: float,
        error_horizons_s: Sequence[float],
    ) -> None:
        self._step_s, self._action_dim = step_s, action_dim
        self._steps = max(round(horizon_s / step_s), 1)
        self._horizons_s = tuple(error_horizons_s)
        self._block = max(round(_BLOCK_S / step_s), 2 * _STARTS_STRIDE)
        self._log = MotionLog(step_s, action_dim, round(WINDOW_S / step_s))
        held = MotionModel(error_horizons_s=shipped.error_horizons_s, error_std=shipped.error_std)
        self.candidates = {SHIPPED: Candidate(shipped), HELD: Candidate(held)}
        self.names = dict.fromkeys(FUTURES, SHIPPED)
        self.fits = 0
        self._fit_at = round(_FIRST_S / step_s)
        self._moved_steps = self._judged = 0
        self._unlearned = False
        self._work: Piecework = self._labour()

    def model(self, future: str) -> MotionModel:
        """Return the model in use for a kind of future."""
        return self.candidates[self.names[future]].model

    def steered(self) -> MotionModel:
        """Return the model in use where actions are known; where that one follows no actions, another one that does."""
        candidates = (self.candidates[self.names[KNOWN_FUTURE]], self.candidates.get(FITTED), self.candidates[SHIPPED])
        return next((each.model for each in candidates if each and each.model.weights), self.model(KNOWN_FUTURE))

    def state(self) -> dict[str, Any]:
        """Return what a later start goes on from, JSON-ready."""
        learned = {name: each.model.to_manifest() for name, each in self.candidates.items() if name != SHIPPED}
        return {**self._fits_to(), "fits": self.fits, "names": dict(self.names), "models": learned}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state`` returned; a model that does badly now is left as any other.

        Raises:
            ProfileError: It is of another step or count of actions, or malformed.
        """
        if misfit := self.misfit(state):
            raise ProfileError(misfit)
        try:
            models = {str(name): MotionModel.from_manifest(entries) for name, entries in state["models"].items()}
            names = {future: str(state["names"][future]) for future in FUTURES}
        except (ArtifactError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise ProfileError(f"motion in the profile is malformed: {error!r}") from error
        known = {SHIPPED, HELD, FITTED}
        if not set(models) <= known - {SHIPPED} or not set(names.values()) <= {SHIPPED, *models}:
            raise ProfileError(f"motion in the profile names {sorted({*models, *names.values()} - known)}")
        self.candidates.update({name: Candidate(model) for name, model in models.items()})
        self.names = names

    def misfit(self, state: Mapping[str, Any]) -> str:
        """Return why a state of before cannot be gone on from, for another step or count of actions; empty: it can."""
        mine = self._fits_to()
        other = {key: state.get(key) for key, value in mine.items() if state.get(key) != value}
        if not other:
            return ""
        said = f"motion was learned with {other}, this model has {mine}"
        return f"{said}; ACTION_DIM says how many actions a robot has" if "action_dim" in other else said

    def _fits_to(self) -> dict[str, Any]:
        return {"step_s": self._step_s, "action_dim": self._action_dim}

    def restart(self) -> None:
        """Let what comes next not follow from what came before; what was learned stays."""
        self._log.restart()

    def observe(self, stamp_ns: int, pose: Pose2 | None, action_A: np.ndarray | None) -> None:
        """Take one observation; ``learn`` makes use of it."""
        self._log.append(stamp_ns, pose, action_A)
        self._unlearned = True

    def learn(self) -> None:
        """Do a piece of the work, once for each observation."""
        left, self._unlearned = _PIECE if self._unlearned else 0, False
        while left > 0:
            done = next(self._work)
            if not done:
                break
            left -= done

    def finish(self) -> None:
        """Do all the work that is due, and one last fit to everything that is known: the drive is over."""
        self._fit_at = min(self._fit_at, self._moved_steps)
        while next(self._work):
            pass

    def figures(self, name: str, future: str) -> Figures | None:
        """Return how a candidate did over the blocks that judge it and the shipped model; ``None`` before any."""
        common = {block.number for block in self.candidates[SHIPPED].blocks}
        errors = [block.missed[future] for block in self.candidates[name].blocks if block.number in common]
        if not errors:
            return None
        square_3 = np.square(np.concatenate(errors)).mean(axis=0)
        return Figures(math.sqrt(square_3[0] + square_3[1]), math.degrees(math.sqrt(square_3[2])))

    def _labour(self) -> Piecework:
        """Do what is due, piece by piece; 0 where nothing is."""
        while True:
            if self._log.total >= self._judged + self._block + self._steps:
                yield from self._judge_block()
            elif self._moved_steps >= self._fit_at:
                yield from self._fit()
            else:
                yield 0

    def _judge_block(self) -> Piecework:
        number = self._judged // self._block
        self._judged += self._block
        target = self._block_target(number)
        yield 3 * self._block
        if target is None:
            return
        self._moved_steps += self._block
        for candidate in tuple(self.candidates.values()):
            candidate.blocks.append(judged(candidate.model, number, target))
            yield 60 * self._block
        self._choose()

    def _block_target(self, number: int) -> Target | None:
        """Return the displacements that begin in a block; ``None`` where none is known or the robot stood still."""
        begin = number * self._block
        settling = min(begin, _SETTLING_STEPS)
        rows = self._log.rows(begin - settling, begin + self._block + self._steps)
        start_M = starts(rows, self._steps, driven=True)
        if not len(start_M):
            start_M = starts(rows, self._steps)
        start_M = start_M[start_M >= settling][::_STARTS_STRIDE]
        if len(start_M) < 2:
            return None
        moved_M3 = rows.pose_N3[start_M + self._steps] - rows.pose_N3[start_M]
        if np.square(moved_M3).sum(axis=1).mean() < _STILL:
            return None
        return Target(rows, np.zeros((0, 3)), np.zeros(0), start_M, self._step_s, self._steps)

    def _choose(self) -> None:
        """Put for each future the model into use that is surely better than the one in use, if there is one."""
        for future in FUTURES:
            for name, candidate in self.candidates.items():
                present = self.names[future]
                margin = _SHIPPED_MARGIN if present == SHIPPED else _MARGIN
                if name != present and surely_better(candidate.blocks, self.candidates[present].blocks, future, margin):
                    self.names[future] = name

    def _fit(self) -> Piecework:
        """Fit to the log less its newest part, and let that decide what becomes of it."""
        interval_s = min(self._moved_steps * self._step_s * (_GROWTH - 1.0), _LONGEST_S)
        self._fit_at = self._moved_steps + max(round(interval_s / self._step_s), self._block)
        count = min(self._log.total, round(WINDOW_S / self._step_s))
        held_out_s = min(_HELD_OUT * count * self._step_s, _MOST_HELD_OUT_S)
        end = self._log.total - self._steps - round(max(held_out_s, _LEAST_HELD_OUT_S) / self._step_s)
        rows = self._log.rows(self._log.total - count, end)
        near = self.candidates[FITTED].model if FITTED in self.candidates else None
        if count * self._step_s < _SETTLED_S or self.fits % _WHOLE_EVERY == 0:
            near = None
        self.fits += 1
        target = target_of(rows, self._step_s, self._steps, driven=False)
        yield 4 * len(rows)
        yield from self._try(HELD, search_held(target, self._horizons_s), end)
        target = target_of(rows, self._step_s, self._steps, driven=True)
        yield 4 * len(rows)
        yield from self._try(FITTED, search(target, near, self._horizons_s), end)

    def _try(self, name: str, work: Work, end: int) -> Piecework:
        """Judge what a search finds on the blocks that begin after ``end``; it replaces its former self if better."""
        model = yield from work
        if model is None:
            return
        candidate, former = Candidate(model), self.candidates.get(name)
        for number in range(-(-end // self._block), self._judged // self._block):
            target = self._block_target(number)
            if target is not None:
                candidate.blocks.append(judged(model, number, target))
            yield 60 * self._block
        if candidate.blocks and (former is None or better(candidate.blocks, former.blocks)):
            self.candidates[name] = candidate
            self._choose()


def judged(model: MotionModel, number: int, target: Target) -> Block:
    """Return what a model missed in a block."""
    if model.weights and np.isnan(target.rows.action_NA[target.start_M]).any():
        # Without actions a driven model holds the measured twist.
        model = replace(model, weights=(), residual_share=(1.0, 1.0, 1.0))
    missed = dict(zip(FUTURES, both_errors(target, model)))
    return Block(number, missed, {future: loss(errors_M3) for future, errors_M3 in missed.items()})


def better(one: Iterable[Block], other: Iterable[Block]) -> bool:
    """Return whether the product of both futures' losses is less for one model than for another, on common blocks."""
    pairs = [paired(one, other, future) for future in FUTURES]
    return sum(math.log(pair_B2[:, 0].sum() / pair_B2[:, 1].sum()) for pair_B2 in pairs if len(pair_B2)) < 0.0


def surely_better(one: Iterable[Block], other: Iterable[Block], future: str, margin: float) -> bool:
    """Return whether one model foretells so much better than another that it is to be used instead.

    Args:
        one: What judges the one.
        other: What judges the other.
        future: For which kind of future.
        margin: Share by which its mean squared error must be smaller.
    """
    pair_B2 = paired(one, other, future)
    if not len(pair_B2):
        return False
    weight_B = _KEEP ** np.arange(len(pair_B2) - 1.0, -1.0, -1.0)
    mine, theirs = map(float, weight_B @ pair_B2)
    if len(pair_B2) == 1:
        return mine < (1.0 - _AT_ONCE) * theirs
    less_B = weight_B * (pair_B2[:, 1] - pair_B2[:, 0])
    error = math.sqrt(float(np.square(less_B - less_B.mean()).sum()) * len(less_B) / (len(less_B) - 1))
    return mine < (1.0 - margin) * theirs and theirs - mine > _SURE * error


def paired(one: Iterable[Block], other: Iterable[Block], future: str) -> np.ndarray:
    """Return the losses of two models on the blocks that judge both, oldest first, [B, 2]."""
    theirs = {block.number: block.loss[future] for block in other}
    pairs = [(block.loss[future], theirs[block.number]) for block in one if block.number in theirs]
    return np.array(pairs).reshape(-1, 2) + _TINY
