"""The online predictor that the graph and offline evaluation both run, one observation at a time.

Per latent: ``observe`` advances the context and says which memories it wants; whoever has a memory answers;
``predict`` forecasts each horizon with what came (or without).

Shape suffixes: D = latent size, A = action size, H = horizons, K = memories, S = steps ahead, N = history values.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from wm_core.memory.packed import Neighbours
from wm_core.memory.successors import usable_span_s
from wm_core.projection import Projection
from wm_core.se2 import Pose2
from world_model.errors import ArtifactError, ObservationError
from world_model.runtime.arrays import nothing_observed
from world_model.runtime.artifacts import Artifact
from world_model.runtime.blend import Blend
from world_model.runtime.conditioning import Retrieval
from world_model.runtime.context import Context, row
from world_model.runtime.first_passes import first_passes
from world_model.runtime.forecaster import Forecaster, Now
from world_model.runtime.handed_on import Learned
from world_model.runtime.moment import Moment
from world_model.runtime.motion import MotionModel
from world_model.runtime.own_motion import OwnMotion
from world_model.runtime.panel import Panel
from world_model.runtime.past import Past, Seen
from world_model.runtime.prediction import Forecast, Observation, Prediction, is_revisit
from world_model.runtime.ranges import TrainingRange
from world_model.runtime.retrieved import (
    Memory,
    MemoryRequest,
    count_successors,
    gathered,
)
from world_model.runtime.served import served_transition
from world_model.runtime.switches import (
    APPEARANCE,
    CALIBRATION,
    EVIDENCE,
    PATH_FORESIGHT,
    PRIOR,
    motion_without,
    switched_off,
    transition_without,
)
from world_model.runtime.trail import Trail
from world_model.runtime.way import Way

__all__ = ["Forecast", "Observation", "Prediction", "Predictor", "is_revisit"]

# A hole of this many steps, and of several of the camera's own gaps (it stalls, a bag is cut), ends the context.
GAP_STEPS = 10
_GAP_FRAMES = 3
_LONGEST_GAP_S = 5.0


class Predictor:
    """Context, motion model and transition of one artifact, run online.

    Args:
        artifact: Loaded artifact.
        top_k: Memories per horizon; default: as trained.
        horizons_s: Times ahead [s]; default: one step and the artifact's far horizon.
        use_memory: False runs the network that was trained without memory, for comparison.
        without: Parts that are switched off, for comparison; ``world_model.runtime.switches.SWITCHES`` names them.

    Raises:
        ConfigError: ``without`` names no part.

    Attributes:
        horizons_s: Times ahead, ascending [s].
        motion: The motion of this robot, as far as it was learned.
        successor_counts: Successors that came with memories: ``used`` ones, and those ``outside`` the tolerance of
            every horizon (stored under another step or horizon).
    """

    def __init__(
        self,
        artifact: Artifact,
        top_k: int | None = None,
        horizons_s: Sequence[float] | None = None,
        use_memory: bool = True,
        without: Collection[str] = (),
    ) -> None:
        manifest = artifact.manifest
        # Without a network nothing foresees paths, but for what was driven before.
        self._off = switched_off(without)
        self._hears_trail = use_memory and not artifact.has("transition") and PATH_FORESIGHT not in self._off
        self._off |= frozenset() if artifact.has("transition") else {PATH_FORESIGHT}
        self._manifest = manifest
        with first_passes(manifest.name):
            transition = (
                transition_without(artifact, self._off) if use_memory else served_transition(artifact, "without_memory")
            )
        self._anticipated_k = top_k or manifest.top_k
        self.horizons_s = tuple(sorted(horizons_s or (manifest.step_s, manifest.horizon_s)))
        mean_D, variance_D = np.array(manifest.latent_mean), np.array(manifest.latent_variance)
        self._has_network = artifact.has("transition")
        prior = artifact.prior() if use_memory and PRIOR not in self._off else None
        self._prior = None if prior is None else prior.stream(manifest.step_s)
        # No network, no range that it was trained on.
        self._range = TrainingRange(
            artifact.action_statistics(), mean_D, variance_D if self._has_network else np.full_like(variance_D, np.inf)
        )
        horizon_1H, history_1N = (row(np.array(v)) for v in (self.horizons_s, np.zeros(manifest.history_dim)))
        nothing = nothing_observed(horizon_1H, history_1N)
        self._context = Context(transition, self._range, nothing, manifest.step_s, manifest.action_dim)
        self._forecaster = Forecaster(
            manifest, self.horizons_s, self._anticipated_k, self._has_network, self._context, self._prior,
            self._range, self._off,
        )  # fmt: skip
        self._spans_s = [usable_span_s(horizon_s, manifest.step_s) for horizon_s in self.horizons_s]
        self.successor_counts: Counter[str] = Counter(used=0, outside=0)
        self.reset()
        with first_passes(manifest.name):
            self._warm_up()

    def reset(self) -> None:
        """Forget the context and what recent forecasts taught; the next observation starts anew."""
        manifest = self._manifest
        mean_D, variance_D = np.array(manifest.latent_mean), np.array(manifest.latent_variance)
        if self._prior is not None:
            self._prior.begin()
        self._panel = self._new_panel(mean_D, variance_D)
        self._past = Past(manifest.step_s)
        model = self._range.limiting(motion_without(MotionModel.from_manifest(manifest.motion), self._off))
        self.motion = OwnMotion(
            model,
            manifest.step_s,
            manifest.action_dim,
            self.horizons_s,
            manifest.horizon_s,
            calibrate=CALIBRATION not in self._off,
        )
        retrieval = Retrieval.from_manifest(manifest.memory)
        trail = Trail(max(self.horizons_s), retrieval.exclude_recent_s) if self._hears_trail else None
        self._way = Way(self.motion, self.horizons_s, manifest.step_s, retrieval, self._off, trail)
        self._gap_s = 0.0
        self._restart()

    def _new_panel(self, mean_D: np.ndarray, variance_D: np.ndarray) -> Panel:
        manifest, has_prior = self._manifest, self._prior is not None
        return Panel(self.horizons_s, manifest.step_s, mean_D, variance_D, manifest.action_dim, has_prior)

    def _restart(self) -> None:
        """Forget the context: what comes next does not follow from what came before."""
        self._panel.restart()
        if self._prior is not None:
            self._prior.restart()
        self._context.restart()
        self._way.restart()
        self._last: Observation | None = None
        self._outside: tuple[str, ...] = ()
        self._appearance: Neighbours | None = None

    def observe(self, observation: Observation, plan_SA: np.ndarray | None = None) -> list[MemoryRequest]:
        """Advance the context by one observation.

        Args:
            observation: The newest latent. A gap or a stamp that goes back starts a new context.
            plan_SA: Actions that will follow, if they are known (a recording); else the present one is held.

        Returns:
            One request per horizon by pose, then one by latent; empty without a pose.

        Raises:
            ObservationError: A latent or action of the wrong size, or values that are not finite.
        """
        self._check(observation)
        if self._last is not None:
            elapsed_s = (observation.stamp_ns - self._last.stamp_ns) * 1e-9
            if elapsed_s <= 0 or elapsed_s > self._longest_gap_s():
                self._restart()
            self._gap_s = max(elapsed_s, 0.0)
        self._panel.observe(observation.stamp_ns, observation.latent_D, observation.action_A)
        self._outside = self._range.outside(observation.latent_D, observation.action_A)
        self._way.observe(observation, known_future=plan_SA is not None and len(plan_SA) > 0)
        observation = self._limited(observation)
        steps = self._context.advance(observation)
        if self._prior is not None:
            self._prior.advance(steps, self._context.present.latent)
        self._last, self._appearance = observation, None
        self._way.expect(observation, self._context, plan_SA)
        self._keep(observation)
        return self._way.requests(observation, self._anticipated_k)

    def rebase(self, projection: Projection) -> None:
        """Go on in another basis of the latents: what was observed and learned is projected again, forecasts are new.

        Call it before the first observation in that basis.

        Args:
            projection: Of the features that observations carry; its variance is the unit of errors from now on.

        Raises:
            ArtifactError: The artifact has a network, which knows one basis only.
        """
        if self._has_network:
            raise ArtifactError("a network that was trained in one basis cannot go on in another")
        unit = (
            self._manifest.latent_variance if projection.variance is None else [projection.variance] * projection.z_dim
        )
        self._manifest = replace(
            self._manifest, encoder_id=projection.encoder_id, latent_mean=[0.0] * projection.z_dim, latent_variance=unit
        )
        if self._last is None or not len(self._past):
            self._panel = self._new_panel(np.zeros(projection.z_dim), np.array(unit))
            if self._prior is not None:
                self._prior.rebase(projection, unit[0], np.zeros((0, projection.z_dim)))
            return
        self._panel.rebase(projection, self._past, np.array(unit), self._longest_gap_s())
        latent_ND = self._past.latents(projection)
        if self._prior is not None:
            self._prior.rebase(projection, unit[0], latent_ND)
        latent_D = latent_ND[-1]
        self._last = replace(self._last, latent_D=latent_D)
        self._context.rebase(latent_D)

    @property
    def encoder_id(self) -> str:
        """The basis that latents are in now."""
        return self._manifest.encoder_id

    def learned(self) -> Learned:
        """Return what the experts have learned, for ``begin`` of a later start."""
        return Learned.of(self._panel, self._manifest.encoder_id, self._manifest.step_s)

    def begin(self, learned: Learned) -> None:
        """Begin with what the experts of a former drive learned in this basis; call it before the first observation.

        Raises:
            ProfileError: It does not fit this predictor; nothing was taken then.
        """
        learned.begin(self._panel, self._manifest.encoder_id, self._manifest.step_s)

    def _keep(self, observation: Observation) -> None:
        """Keep what another basis would be learned from."""
        if observation.code_F is None:
            return
        unknown_H3 = np.full((len(self.horizons_s), 3), np.nan)
        moved_H3 = unknown_H3 if self._way.alone_H3 is None else self._way.alone_H3
        action_A = np.zeros(self._manifest.action_dim) if observation.action_A is None else observation.action_A
        self._past.add(Seen(observation.stamp_ns, observation.code_F, action_A, moved_H3))

    def learn(self) -> None:
        """Learn from the newest observation what former forecasts for it were worth.

        ``predict`` does so itself; called between, it passes the time while the memory is asked.
        """
        self._panel.learn()
        self.motion.learn()

    def moment(self) -> Moment:
        """Return the present moment, for ``world_model.runtime.imagination``; later observations do not change it.

        Raises:
            ObservationError: Nothing was observed yet.
        """
        last, manifest = self._last, self._manifest
        if last is None:
            raise ObservationError("nothing was observed yet: there is no moment to imagine from")
        return Moment(
            stamp_ns=last.stamp_ns,
            latent_D=last.latent_D,
            pose=self.motion.pose,
            motion=self._way.start(),
            mean_D=self._panel.usual.copy(),
            variance_D=np.array(manifest.latent_variance),
            encoder_id=manifest.encoder_id,
            pose_std_3=last.pose_std_3,
            before_1C=self._context.before_1C,
            blend=Blend.untaught() if EVIDENCE in self._off else Blend.of(self._panel.experts, self.horizons_s),
            appearance=self._appearance,
        )

    def distance(self, latent_D: np.ndarray) -> float:
        """Return how far a latent lies from what the model was trained on, at most, in standard deviations."""
        return self._range.distance(latent_D)

    def _longest_gap_s(self) -> float:
        """Return how long the frames may stay away within one context."""
        return max(GAP_STEPS * self._manifest.step_s, min(_GAP_FRAMES * self._gap_s, _LONGEST_GAP_S))

    def predict(
        self,
        memories: Sequence[Sequence[Memory] | Neighbours] | None,
        history_N: np.ndarray | None = None,
        history_count: int = 0,
    ) -> Prediction:
        """Return the forecasts from the last observation.

        Args:
            memories: One answer per request that ``observe`` returned, nearest first; ``None`` when the memory did
                not answer.
            history_N: Visual history, oldest first, left-padded; ``None`` without one.
            history_count: Real entries in it.

        Raises:
            ObservationError: Nothing was observed yet, the answers do not fit the requests, or the history is of
                another size than the transition reads.
        """
        if self._last is None:
            raise ObservationError("predict was called before any observation")
        self.motion.learn()
        expected = len(self.horizons_s) + 1
        if memories is not None and len(memories) not in (0, expected):
            raise ObservationError(f"{len(memories)} memory answers, expected {expected}")
        if history_N is not None and history_N.size != self._manifest.history_dim:
            raise ObservationError(f"a history of {history_N.size} values, expected {self._manifest.history_dim}")
        sizes = self._manifest.z_dim, self._manifest.action_dim
        answers = [gathered(found, *sizes) for found in memories or [[]] * expected]
        anticipated, appearance = answers[:-1], answers[-1]
        self._appearance = appearance
        if APPEARANCE in self._off:
            appearance = gathered([], *sizes)
        used, outside = count_successors(appearance, self._spans_s)
        self.successor_counts["used"] += used
        self.successor_counts["outside"] += outside
        now = Now(self._last, self._way, self._panel)
        forecasts = self._forecaster.forecasts(now, anticipated, appearance, history_N, history_count)
        return Prediction(self._last.stamp_ns, forecasts, self._outside)

    def _check(self, observation: Observation) -> None:
        latent_D, size = observation.latent_D, self._manifest.z_dim
        if latent_D.shape != (size,) or not np.all(np.isfinite(latent_D)):
            raise ObservationError(f"latent has shape {list(latent_D.shape)}, expected {size} finite values")
        action_A, size = observation.action_A, self._manifest.action_dim
        if action_A is not None and (action_A.shape != (size,) or not np.all(np.isfinite(action_A))):
            raise ObservationError(f"action is {action_A.tolist()}, expected {size} finite values")

    def _limited(self, observation: Observation) -> Observation:
        """Return the observation with its action within the range that was trained on; the latent stays true."""
        if observation.action_A is None or not self._outside:
            return observation
        return replace(observation, action_A=self._range.action(observation.action_A))

    def _warm_up(self) -> None:
        """Run a few dummy steps, so that the first real one is not slowed down by compilation."""
        latent_D = np.zeros(self._manifest.z_dim, np.float32)
        for step in range(3):
            stamp_ns = int(step * self._manifest.step_s * 1e9)
            self.observe(Observation(stamp_ns, latent_D, Pose2(0.0, 0.0, 0.0, 0.0)))
            memory = Memory(0, 0, latent_D, Pose2(0.0, 0.0, 0.0, 0.0))
            self.predict([[memory]] * (len(self.horizons_s) + 1))
            self.predict(None)
        self.reset()
