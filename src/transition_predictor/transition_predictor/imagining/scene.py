"""What the predictor knows when something is asked, and what follows from it: plain Python, for a thread of its own.

Shape suffixes: B = candidates, S = steps, P = poses, D = latent size, A = action size, 3 = (x, y, yaw).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from wm_core.bounds import LARGEST_LATENT_STDS
from wm_core.memory.held import HeldPlaces
from wm_core.memory.journal import Area
from wm_core.memory.record import MemoryRecord
from wm_core.se2 import Pose2
from world_model.errors import ImaginationError
from world_model.runtime.artifacts import Manifest
from world_model.runtime.imagination import Imagination
from world_model.runtime.imagined import Plan
from world_model.runtime.moment import Moment
from world_model.runtime.motion_start import MotionStart

NOW, LATENT, MEMORY = "now", "latent", "memory"
_ROOM_M = 0.5
# A path may lead anywhere: beyond so many memories those nearest to its middle count.
_MOST_AROUND = 50_000


@dataclass(frozen=True)
class Scene:
    """What the predictor knew when something was asked.

    Attributes:
        moment: The newest; ``None``: nothing was seen yet.
        places: What it holds of the memory; ``None``: nothing.
        manifest: The artifact's, in the basis in use.
        frame_id: Frame of the poses; empty: not known.
        now_ns: What counts as now where nothing was seen yet [ns].
    """

    moment: Moment | None
    places: HeldPlaces | None
    manifest: Manifest
    frame_id: str
    now_ns: int


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What to imagine; exactly one of actions and path is given.

    Attributes:
        start: ``now``, ``latent`` or ``memory``.
        latent_D: Of one's own.
        encoder_id: Whose; empty: the present one's.
        pose: Where that was seen; ``None``: not known.
        memory_id: Of the memory to start from.
        action_BSA: Actions; ``None``: a path is given.
        path_P3: Where the robot will be; ``None``: actions are given.
        spacing_s: Time between its poses [s]; 0: one step.
        frame_id: Of pose and path; empty: whatever the present one is.
        horizon_s: How far ahead [s]; 0: as far as given.
        asks_memory: Whether memories may be asked.
        image_every: Pictures of each so manyth step; 0: none.
    """

    start: str = NOW
    latent_D: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    encoder_id: str = ""
    pose: Pose2 | None = None
    memory_id: int = 0
    action_BSA: np.ndarray | None = None
    path_P3: np.ndarray | None = None
    spacing_s: float = 0.0
    frame_id: str = ""
    horizon_s: float = 0.0
    asks_memory: bool = True
    image_every: int = 0


class Beyond(Protocol):
    """The memory beyond what is held; both wait for it, so no thread that others wait for may ask."""

    def record(self, memory_id: int) -> MemoryRecord | None:
        """Return a memory; ``None``: there is none of this id.

        Raises:
            ImaginationError: ``memory-absent``: nobody answers.
        """

    def around(self, area: Area) -> HeldPlaces | None:
        """Return what is remembered in an area; ``None``: nobody answers."""


def moment_of(ask: Ask, scene: Scene, imagination: Imagination, beyond: Beyond) -> Moment:
    """Return from where something is to be imagined.

    Raises:
        ImaginationError: ``nothing-seen``, ``foreign-encoder``, ``frame``, ``latent-size``, ``not-finite``,
            ``latent-too-large``, ``unknown-memory`` or ``memory-absent``.
    """
    if ask.frame_id and scene.frame_id and ask.frame_id != scene.frame_id:
        raise ImaginationError("frame", f"poses in {ask.frame_id!r}, those of the robot are in {scene.frame_id!r}")
    if ask.start == NOW:
        if scene.moment is None:
            raise ImaginationError("nothing-seen", "no latent came yet: there is no present to imagine from")
        return scene.moment
    if ask.start == MEMORY:
        return _from_memory(ask, scene, imagination, beyond)
    _check_encoder(ask.encoder_id, scene)
    _check_latent(ask.latent_D, scene)
    return _fresh(ask.latent_D, ask.pose, scene, imagination)


def _from_memory(ask: Ask, scene: Scene, imagination: Imagination, beyond: Beyond) -> Moment:
    row = None if scene.places is None else scene.places.row_of(ask.memory_id)
    if row is not None and scene.places is not None:
        (x, y, z, yaw), latent_D, _ = scene.places.record(row)
        return _fresh(latent_D, Pose2(x, y, z, yaw), scene, imagination)
    record = beyond.record(ask.memory_id)
    if record is None:
        raise ImaginationError("unknown-memory", f"no memory has the id {ask.memory_id}")
    _check_encoder(record.encoder_id, scene)
    _check_latent(record.latent_D, scene)
    return _fresh(record.latent_D, Pose2(record.x, record.y, record.z, record.yaw), scene, imagination)


def _check_encoder(encoder_id: str, scene: Scene) -> None:
    if encoder_id and encoder_id != scene.manifest.encoder_id:
        raise ImaginationError(
            "foreign-encoder", f"a latent of {encoder_id!r}, the present ones are of {scene.manifest.encoder_id!r}"
        )


def _check_latent(latent_D: np.ndarray, scene: Scene) -> None:
    manifest = scene.manifest
    if latent_D.shape != (manifest.z_dim,):
        raise ImaginationError("latent-size", f"a latent of {latent_D.size} numbers, expected {manifest.z_dim}")
    if not np.isfinite(latent_D).all():
        raise ImaginationError("not-finite", "latent: a value is not finite")
    mean_D, variance_D = _usual(scene)
    far = float((np.abs(latent_D - mean_D) / np.sqrt(variance_D)).max())
    if far > LARGEST_LATENT_STDS:
        raise ImaginationError(
            "latent-too-large", f"{far:.3g} standard deviations from usual, at most {LARGEST_LATENT_STDS:g}"
        )


def _usual(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of latents as far as they are known."""
    if scene.moment is not None:
        return scene.moment.mean_D, scene.moment.variance_D
    return np.array(scene.manifest.latent_mean), np.array(scene.manifest.latent_variance)


def _fresh(latent_D: np.ndarray, pose: Pose2 | None, scene: Scene, imagination: Imagination) -> Moment:
    """Return a moment that nothing came before; what was learned of the robot's motion and of forecasts holds."""
    now, manifest = scene.moment, scene.manifest
    model = imagination.motion_model if now is None else now.motion.model
    mean_D, variance_D = _usual(scene)
    fresh = Moment(
        stamp_ns=scene.now_ns if now is None else now.stamp_ns,
        latent_D=np.asarray(latent_D, np.float32),
        pose=pose,
        motion=MotionStart(model, manifest.step_s),
        mean_D=mean_D,
        variance_D=variance_D,
        encoder_id=manifest.encoder_id,
    )
    return fresh if now is None else replace(fresh, blend=now.blend)


def plan_of(ask: Ask, moment: Moment, manifest: Manifest) -> Plan:
    """Return what is to be done.

    Raises:
        ImaginationError: ``no-actions`` or ``two-plans`` where it is not one of actions and path; ``no-pose``; as
            ``Plan.of_actions`` and ``Plan.of_path``.
    """
    if ask.action_BSA is not None and ask.path_P3 is not None:
        raise ImaginationError("two-plans", "both actions and a path are given, expected one of them")
    if ask.action_BSA is not None:
        return Plan.of_actions(ask.action_BSA, manifest.action_dim, manifest.step_s, ask.horizon_s)
    if ask.path_P3 is None:
        raise ImaginationError("no-actions", "neither actions nor a path are given")
    if moment.pose is None:
        raise ImaginationError("no-pose", "a path begins where the robot is, and that is not known")
    start_3 = np.array([moment.pose.x, moment.pose.y, moment.pose.yaw])
    return Plan.of_path(ask.path_P3, ask.spacing_s, manifest.action_dim, manifest.step_s, start_3, ask.horizon_s)


def places_for(pose_BS3: np.ndarray, radius_m: float, scene: Scene, beyond: Beyond) -> HeldPlaces | None:
    """Return memories that reach as far as poses lie; those held, where nobody answers beyond them.

    Args:
        pose_BS3: Where the robot will be.
        radius_m: How far around each place memories count [m].
        scene: With what is held.
        beyond: Asked where that does not reach as far.
    """
    pose_G3 = pose_BS3.reshape(-1, 3)
    pose_G3 = pose_G3[np.isfinite(pose_G3).all(axis=1)]
    if not len(pose_G3) or (scene.places is not None and scene.places.reaches(pose_G3, radius_m).all()):
        return scene.places
    least_2, most_2 = pose_G3[:, :2].min(axis=0), pose_G3[:, :2].max(axis=0)
    x, y = ((least_2 + most_2) / 2.0).tolist()
    far_m = float(np.hypot(pose_G3[:, 0] - x, pose_G3[:, 1] - y).max())
    area = Area(x, y, far_m + radius_m + _ROOM_M, max_count=_MOST_AROUND, frame_id=scene.frame_id)
    around = beyond.around(area)
    return scene.places if around is None else around
