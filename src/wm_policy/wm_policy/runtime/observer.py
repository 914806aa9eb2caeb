"""From a stream of observations to a policy's inputs: the same code in training, in evaluation and on the robot.

Lengths are in units of how far the robot usually comes in a second, so that a policy knows no size of a robot.

Shape suffixes: V = views, T = moments of history, K = visits, H = times after a visit, D = latent size, A = action
size, E M F = numbers per moment, visit, forecast; 3 = (x or forward, y or left, yaw).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from wm_core.memory.keyframes import SESSION_GAP_S, Spacing
from wm_core.se2 import Pose2
from wm_policy.errors import InputError, PolicyFileError
from wm_policy.runtime.trail import Trail, TrailBuffer, VisitLimits, followed, visits
from world_model.runtime.conditioning import age_feature
from world_model.runtime.motion import MotionModel, MotionTracker, action_features
from world_model.runtime.motion_start import MotionStart

EGO_NUMBERS, FORECAST_S = 9, (0.5, 1.0, 2.0, 3.0)
FORECAST_NUMBERS = 3 * len(FORECAST_S) + 2
_MOVING = 0.05
_FULL_SCALE_S = 5.0


@dataclass(frozen=True, kw_only=True)
class ObserverSettings:
    """What a policy is told.

    Attributes:
        step_s: Step of the motion model [s].
        views: Latents that it sees, the present one last.
        view_step_s: Time between them [s].
        moments: Poses and actions of the past that it sees.
        moment_step_s: Time between them [s].
        follow_s: Times after a visit at which it is told where the robot was then [s].
        speed_m_s: Usual speed, until the robot's own is known [m/s].
        visit: Which memories are visits.
    """

    step_s: float = 0.05
    views: int = 4
    view_step_s: float = 0.4
    moments: int = 8
    moment_step_s: float = 0.2
    follow_s: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0)
    speed_m_s: float = 1.0
    visit: VisitLimits = VisitLimits()

    @property
    def memory_numbers(self) -> int:
        """Numbers that tell of a visit, but for its latent, M."""
        return 10 + 3 * len(self.follow_s)

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready entries."""
        return asdict(self)

    @classmethod
    def from_json(cls, entries: Mapping[str, Any]) -> ObserverSettings:
        """Return what ``to_json`` gave.

        Raises:
            PolicyFileError: An entry is unknown.
        """
        unknown = set(entries) - {each.name for each in fields(cls)}
        if unknown:
            raise PolicyFileError(f"observer has unknown entries {', '.join(sorted(unknown))}")
        rest = dict(entries)
        try:
            visit = VisitLimits(**rest.pop("visit", {}))
            return cls(visit=visit, **{**rest, "follow_s": tuple(rest.get("follow_s", cls.follow_s))})
        except TypeError as error:
            raise PolicyFileError(f"observer: {error}") from error


@dataclass(frozen=True, eq=False)
class Observation:
    """One frame: its stamp [ns], latent, pose and the action in force; None where not known."""

    stamp_ns: int
    latent_D: np.ndarray
    pose: Pose2 | None = None
    action_A: np.ndarray | None = None


class Observer:
    """Keeps what a policy must know of the past, and makes its inputs.

    Args:
        settings: What it is told.
        motion: Motion model of the robot, fitted at ``settings.step_s``.
        latent_dim: D.
        action_dim: A of the robot's actions.
    """

    def __init__(self, settings: ObserverSettings, motion: MotionModel, latent_dim: int, action_dim: int) -> None:
        self.settings, self._sizes = settings, (action_dim, latent_dim)
        self._motion, self._tracker = motion, MotionTracker(motion, settings.step_s, action_dim)
        self._weights_F3 = np.array(motion.weights, np.float64).T if motion.weights else None
        self._session = 0
        self._trail = TrailBuffer(action_dim, latent_dim)
        self._way_m = self._time_s = 0.0
        self.reset()

    def reset(self) -> None:
        """Forget the recent past; what is remembered stays."""
        self._tracker.reset()
        longest_s = max(
            self.settings.views * self.settings.view_step_s, self.settings.moments * self.settings.moment_step_s
        )
        self._past: deque[tuple[int, np.ndarray, np.ndarray, np.ndarray]] = deque()
        self._longest_ns = round((longest_s + 1.0) * 1e9)
        self._kept: tuple[int, Pose2] | None = None

    @property
    def stamp_ns(self) -> int | None:
        """Stamp of the newest observation [ns]; None before the first."""
        return self._past[-1][0] if self._past else None

    @property
    def pose_3(self) -> np.ndarray | None:
        """Present pose (x [m], y [m], yaw [rad]), smoothed; None where it is not known."""
        pose = self._tracker.pose
        return None if pose is None else np.array([pose.x, pose.y, pose.yaw])

    @property
    def unit_m(self) -> float:
        """How far the robot usually comes in a second [m]: its own speed, as far as it has been seen moving."""
        share = min(self._time_s / _FULL_SCALE_S, 1.0)
        own = self._way_m / self._time_s if self._time_s else 0.0
        return max(share * own + (1.0 - share) * self.settings.speed_m_s, 0.05)

    def observe(self, observation: Observation) -> None:
        """Take one observation; a stamp that goes backwards, or a long gap, starts anew.

        Raises:
            InputError: A latent or an action of another size.
        """
        action_dim, latent_dim = self._sizes
        latent_D, action_A = observation.latent_D, observation.action_A
        if latent_D.shape != (latent_dim,):
            raise InputError(f"latent has shape {latent_D.shape}, expected ({latent_dim},)")
        if action_A is not None and action_A.shape != (action_dim,):
            raise InputError(f"action has shape {action_A.shape}, expected ({action_dim},)")
        gap_ns = 0 if self.stamp_ns is None else observation.stamp_ns - self.stamp_ns
        if gap_ns < 0 or gap_ns > SESSION_GAP_S * 1e9:
            self.reset()
            self._session += 1
        self._tracker.update(observation.stamp_ns, observation.pose, action_A)
        pose_3 = np.full(3, np.nan) if self.pose_3 is None else self.pose_3
        known_A = np.full(action_dim, np.nan) if action_A is None else np.asarray(action_A, np.float64)
        if self._past:
            self._measure(gap_ns, pose_3)
        self._past.append((observation.stamp_ns, latent_D, pose_3, known_A))
        while self._past[0][0] < observation.stamp_ns - self._longest_ns:
            self._past.popleft()
        self._remember(observation, pose_3, known_A)

    def _measure(self, gap_ns: int, pose_3: np.ndarray) -> None:
        """Measure the robot's own speed, as long as it moves."""
        way_m = float(np.hypot(*(pose_3 - self._past[-1][2])[:2]))
        if 0 < gap_ns < 1e9 and way_m > _MOVING * gap_ns * 1e-9:
            self._way_m += way_m
            self._time_s += gap_ns * 1e-9

    def _remember(self, observation: Observation, pose_3: np.ndarray, action_A: np.ndarray) -> None:
        pose = self._tracker.pose
        if pose is not None and Spacing().is_due(self._kept, observation.stamp_ns, pose):
            self._kept = observation.stamp_ns, pose
            self._trail.append(observation.stamp_ns, self._session, pose_3, action_A, observation.latent_D)

    def trail(self) -> Trail:
        """Return what was observed so far, at the spacing of the memory."""
        return self._trail.trail()

    def inputs(self, trail: Trail | None = None) -> dict[str, np.ndarray]:
        """Return the policy's inputs at the newest observation, by name and without a batch; NaN where not known.

        Args:
            trail: What is remembered; default: what was observed here.

        Raises:
            InputError: Nothing was observed yet.
        """
        if self.stamp_ns is None:
            raise InputError("nothing was observed yet")
        view_VD, view_known_V = self._views()
        forecast_F, speed = self._forecast()
        memory = self._memories(self.trail() if trail is None else trail)
        return {
            "view": view_VD, "view_known": view_known_V, "ego": self._ego(), "forecast": forecast_F,
            "speed": np.array([speed], np.float32), **memory,
        }  # fmt: skip

    def motion_start(self) -> MotionStart:
        """Return how the robot moves on from the newest observation, whatever it is told to do."""
        return self._tracker.start()

    def _at(self, age_s: float) -> tuple[int, np.ndarray, np.ndarray, np.ndarray] | None:
        """Return the observation nearest to some time ago, None where there is none near."""
        assert self.stamp_ns is not None
        wanted_ns = self.stamp_ns - round(age_s * 1e9)
        found = min(reversed(self._past), key=lambda each: abs(each[0] - wanted_ns))
        return found if abs(found[0] - wanted_ns) <= 0.15e9 else None

    def _views(self) -> tuple[np.ndarray, np.ndarray]:
        settings = self.settings
        found = [self._at((settings.views - 1 - index) * settings.view_step_s) for index in range(settings.views)]
        unknown_D = np.full(self._sizes[1], np.nan, np.float32)
        view_VD = np.stack([unknown_D if each is None else each[1] for each in found])
        # A runtime's maxima may drop NaN, so that nothing after the network would tell.
        return view_VD, np.isfinite(view_VD).all(axis=1)

    def _ego(self) -> np.ndarray:
        settings, here_3 = self.settings, self.pose_3
        rows = np.full((settings.moments, EGO_NUMBERS), np.nan)
        rows[:, 7:] = 0.0
        for index in range(settings.moments):
            found = self._at((settings.moments - 1 - index) * settings.moment_step_s)
            if found is None:
                continue
            if here_3 is not None and np.isfinite(found[2]).all():
                rows[index, :4] = _placed(found[2][None], here_3, self.unit_m)[0]
                rows[index, 7] = 1.0
            rows[index, 4:7], rows[index, 8] = self._twist(found[3])
        return rows.astype(np.float32)

    def _twist(self, action_A: np.ndarray) -> tuple[np.ndarray, float]:
        """Return what an action means to this robot, in units, and whether that is known."""
        if self._weights_F3 is None or not np.isfinite(action_A).all():
            return np.full(3, np.nan), 0.0
        twist_3 = (action_features(self._motion.limited(action_A[None])) @ self._weights_F3)[0]
        return twist_3 / np.array([self.unit_m, self.unit_m, 1.0]), 1.0

    def _forecast(self) -> tuple[np.ndarray, float]:
        """Return where the robot comes with its action held, and its speed, in units."""
        settings = self.settings
        steps = [round(time_s / settings.step_s) for time_s in FORECAST_S]
        moved_S3 = self._tracker.displacements(max(steps))
        if moved_S3 is None:
            return np.concatenate([np.full(FORECAST_NUMBERS - 1, np.nan), [0.0]]).astype(np.float32), float("nan")
        scale_3 = np.array([self.unit_m, self.unit_m, 1.0])
        speed = float(moved_S3[0, 0] / settings.step_s / self.unit_m)
        rows_H3 = moved_S3[np.array(steps) - 1] / scale_3
        return np.concatenate([rows_H3.ravel(), [speed, 1.0]]).astype(np.float32), speed

    def _memories(self, trail: Trail) -> dict[str, np.ndarray]:
        settings, here_3 = self.settings, self.pose_3
        count, after_s_H = settings.visit.count, np.array(settings.follow_s)
        token_KM = np.full((count, settings.memory_numbers), np.nan)
        latent_KD = np.full((count, self._sizes[1]), np.nan, np.float32)
        valid_K = np.zeros(count, bool)
        assert self.stamp_ns is not None
        rows = visits(trail, self.stamp_ns, here_3, settings.visit) if here_3 is not None and len(trail) else ()
        if len(rows):
            found = np.asarray(rows)
            valid_K[: len(found)] = True
            token_KM[: len(found)] = self._tokens(trail, found, after_s_H)
            latent_KD[: len(found)] = trail.latent_ND[found]
        known_K: np.ndarray = np.asarray(np.isfinite(latent_KD).all(axis=1))
        return {"memory": token_KM.astype(np.float32), "memory_latent": latent_KD,
                "memory_latent_known": known_K, "memory_valid": valid_K}  # fmt: skip

    def _tokens(self, trail: Trail, rows_K: np.ndarray, after_s_H: np.ndarray) -> np.ndarray:
        here_3, unit_m = self.pose_3, self.unit_m
        assert here_3 is not None
        assert self.stamp_ns is not None
        place_K4 = _placed(trail.pose_N3[rows_K], here_3, unit_m)
        twists = [self._twist(action_A) for action_A in trail.action_NA[rows_K]]
        then_KH3 = followed(trail, rows_K, after_s_H)
        there_KH4 = _placed(then_KH3, here_3, unit_m)
        known_KH = np.isfinite(then_KH3).all(axis=2)
        age_K = age_feature((self.stamp_ns - trail.stamp_N[rows_K]) * 1e-9)
        ways_KX = np.concatenate([there_KH4[..., 0], there_KH4[..., 1], known_KH], axis=1)
        twist_K3, known_K = np.stack([each[0] for each in twists]), np.array([each[1] for each in twists])
        distance_K = np.hypot(place_K4[:, 0], place_K4[:, 1])
        return np.column_stack([place_K4, distance_K, twist_K3, known_K, age_K, ways_KX])


def _placed(pose_3: np.ndarray, here_3: np.ndarray, unit_m: float) -> np.ndarray:
    """Return poses [..., 3] seen from here: forward and left in units, sine and cosine of the turn, [..., 4]."""
    away = pose_3 - here_3
    cosine, sine = np.cos(here_3[2]), np.sin(here_3[2])
    forward = (away[..., 0] * cosine + away[..., 1] * sine) / unit_m
    left = (away[..., 1] * cosine - away[..., 0] * sine) / unit_m
    return np.stack([forward, left, np.sin(away[..., 2]), np.cos(away[..., 2])], axis=-1)
