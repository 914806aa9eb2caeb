"""The experts of all horizons over one stream: what they share is kept once.

Shape suffixes: D = latent size, A = action size, F = features, H = horizons, M = plain copies of memories.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wm_core.projection import Projection
from world_model.runtime.experts import Combined, Experts, Said
from world_model.runtime.past import Past
from world_model.runtime.regression import RunningMean

# A longer latent is seen by the regression through so many fixed random directions, so that its cost stays bounded.
WIDEST = 32


@dataclass(frozen=True)
class Networks:
    """What the network says of one horizon: without memories, with them, and how much those had to say (0..1).

    ``prior_2D`` is what a prior says without memories and with them; ``None`` without one. ``is_copied``: what is said
    with memories is a plain copy of one, for want of a network.
    """

    without_D: np.ndarray
    with_D: np.ndarray
    gate: float
    prior_2D: np.ndarray | None = None
    is_copied: bool = False


class Panel:
    """Runs one ``Experts`` per horizon along a stream of latents.

    Args:
        horizons_s: Times ahead [s].
        step_s: Time between observations [s].
        mean_D: Mean of the latents over the training set: what is usual before anything was seen.
        variance_D: Their variance, the unit of errors.
        action_dim: A.
        has_prior: Whether a prior speaks too.

    Attributes:
        horizons_s: Times ahead [s].
        action_dim: A.
        has_prior: Whether a prior speaks too.
        experts: Of each horizon.
    """

    def __init__(
        self,
        horizons_s: Sequence[float],
        step_s: float,
        mean_D: np.ndarray,
        variance_D: np.ndarray,
        action_dim: int,
        has_prior: bool = False,
    ) -> None:
        size = len(variance_D)
        self._mean, self.horizons_s = RunningMean(mean_D, step_s), tuple(horizons_s)
        self._view_DW = None if size <= WIDEST else _directions(size)
        self.action_dim, self._latent_D = action_dim, np.zeros(size)
        # Latent and its change, action, displacement and whether that is known.
        feature_count = 2 * min(size, WIDEST) + action_dim + 4
        self.experts = [Experts(each_s, step_s, variance_D, feature_count, has_prior) for each_s in horizons_s]
        self.has_prior = has_prior
        self._is_unlearned = False
        self._earlier: tuple[int, np.ndarray] | None = None
        self.restart()

    @property
    def usual(self) -> np.ndarray:
        """The robot's own mean latent so far, [D]."""
        return self._mean.mean_D

    def learned_mean(self) -> np.ndarray:
        """Return the robot's own mean and how many latents it is of, [D + 1]."""
        return self._mean.learned()

    def begin_with_mean(self, learned: np.ndarray, worth: float) -> None:
        """Begin with a mean of a former drive, as if it were of only a part of its latents."""
        self._mean.begin(learned, worth)

    def restart(self) -> None:
        """Let what comes next not follow from what came before; what was learned stays."""
        self.learn()
        self._stamp_ns = 0
        self._before_W: np.ndarray | None = None
        for experts in self.experts:
            experts.forget_waiting()

    def rebase(self, projection: Projection, past: Past, variance_D: np.ndarray, longest_gap_s: float) -> None:
        """Go on in another basis of the latents: what was learned from the past is learned from it again.

        Args:
            projection: The other basis.
            past: At least one frame, the last one that was observed among them.
            variance_D: The unit of errors from now on.
            longest_gap_s: A change of the latent over a longer gap is none [s].
        """
        self._is_unlearned, self._earlier = False, None
        latent_ND = past.latents(projection)
        self._mean.rebase(latent_ND)
        examples = past.examples(latent_ND, self._seen, self.horizons_s, longest_gap_s)
        for experts, example in zip(self.experts, examples):
            experts.rebase(variance_D, example, self._mean.mean_D)
        self._latent_D = latent_ND[-1].astype(np.float64)
        if self._before_W is not None:
            self._before_W = self._seen(self._latent_D)

    def _seen(self, latent_D: np.ndarray) -> np.ndarray:
        """Return what the regression sees of latents, [..., W]."""
        return latent_D if self._view_DW is None else latent_D @ self._view_DW

    def observe(self, stamp_ns: int, latent_D: np.ndarray, action_A: np.ndarray | None) -> None:
        """Take the newest latent and the action taken there; ``learn`` learns from the forecasts made for it."""
        self.learn()
        before = None if self._before_W is None else (self._stamp_ns, self._latent_D)
        self._stamp_ns, self._latent_D = stamp_ns, latent_D.astype(np.float64)
        self._is_unlearned, self._earlier = True, before
        self._mean.update(self._latent_D)
        seen_W = self._seen(self._latent_D)
        change_W = np.zeros_like(seen_W) if self._before_W is None else seen_W - self._before_W
        self._before_W = seen_W
        action_A = np.zeros(self.action_dim) if action_A is None else action_A
        self._feature_F = np.concatenate([seen_W, change_W, action_A])

    def _learn_between(self, experts: Experts, before_ns: int, before_D: np.ndarray) -> None:
        """Lets forecasts for times that no frame shows be judged by what is interpolated between two."""
        for due_ns in experts.due_between(before_ns, self._stamp_ns):
            part = (due_ns - before_ns) / (self._stamp_ns - before_ns)
            experts.observe(due_ns, before_D + part * (self._latent_D - before_D))

    def learn(self) -> None:
        """Learn from the newest latent, unless that was done; ``combine`` does it, if nobody did earlier."""
        if not self._is_unlearned:
            return
        self._is_unlearned = False
        for experts in self.experts:
            if self._earlier is not None:
                self._learn_between(experts, *self._earlier)
            experts.observe(self._stamp_ns, self._latent_D)

    def combine(
        self, index: int, networks: Networks, moved_3: np.ndarray | None, copies_MD: np.ndarray | None, revisit: bool
    ) -> Combined:
        """Return the combined forecasts of one horizon from the last observation.

        Args:
            index: Which horizon.
            networks: What the network says.
            moved_3: Expected displacement; ``None`` where nothing is known of it.
            copies_MD: Weighed copy, mean of the four nearest and nearest memory; ``None`` without memories.
            revisit: The place was seen before.
        """
        self.learn()
        motion_4 = np.zeros(4) if moved_3 is None else np.append(moved_3, 1.0)
        return self.experts[index].combine(
            Said(
                stamp_ns=self._stamp_ns,
                network_D=networks.without_D,
                with_memory_D=networks.with_D,
                gate=networks.gate,
                latent_D=self._latent_D,
                mean_D=self._mean.mean_D,
                feature_F=np.concatenate([self._feature_F, motion_4]),
                copies_MD=copies_MD,
                revisit=revisit,
                prior_2D=networks.prior_2D,
                is_copied=networks.is_copied,
            )
        )


def _directions(size: int) -> np.ndarray:
    """Return fixed orthonormal directions, [D, W]."""
    directions_DW, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(size, WIDEST)))
    return directions_DW
