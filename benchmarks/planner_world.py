"""A building seen twice, as the window of a memory, and a robot that stands in it: what planning is measured on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from latent_planner.imagination import Standpoint
from latent_planner.vehicle import Vehicle

from latent_publisher.encoder import Encoder
from wm_core.memory.journal import Area, WindowUpdate
from wm_core.memory.packed import Packed
from wm_core.memory.record import MemoryRecord, Successor
from wm_core.memory.window import Window
from wm_sim import simulate
from world_model.runtime.artifacts import Artifact
from world_model.runtime.motion_model import MotionModel

LAP_S, KEPT_EVERY, SIDE, CONTEXT = 50.0, 2, 64, 40


@dataclass(frozen=True)
class Seen:
    """What a robot saw: poses [T, 3], actions [T, A] and latents [T, D], a step apart."""

    pose_T3: np.ndarray
    action_TA: np.ndarray
    latent_TD: np.ndarray


def drive(seed: int, run: int, encoder: Encoder, duration_s: float) -> Seen:
    """Return one run through the building of a seed."""
    steps = list(simulate(seed + run, duration_s, building_seed=seed, image_size=(SIDE, SIDE)))
    return Seen(
        np.array([step.pose for step in steps]),
        np.array([step.action_A for step in steps]),
        np.stack([encoder.encode(step.image_HWC) for step in steps]),
    )


def window_of(runs: list[Seen], encoder_id: str, step_s: float) -> Window:
    """Return the window over what was kept of some runs, an hour apart, with what followed a step and 1 s later."""
    records: list[MemoryRecord] = []
    far = round(1.0 / step_s)
    for number, run in enumerate(runs):
        for at in range(0, len(run.pose_T3) - far, KEPT_EVERY):
            after = tuple(Successor(step_s * ahead, step_s * ahead, run.latent_TD[at + ahead]) for ahead in (1, far))
            x, y, yaw = (float(value) for value in run.pose_T3[at])
            stamp_ns = int((3600.0 * number + step_s * at) * 1e9)
            record = MemoryRecord(
                id=len(records) + 1, latent_D=run.latent_TD[at], x=x, y=y, yaw=yaw, stamp_ns=stamp_ns,
                session=f"run {number}", encoder_id=encoder_id, action_A=run.action_TA[at], successors=after,
            )  # fmt: skip
            records.append(record)
    packed = Packed.of(records, encoder_id, "map", runs[0].latent_TD.shape[1], 2)
    area, window = Area(0.0, 0.0, 1000.0), Window()
    update = WindowUpdate(1, 1, True, "first", area, records[-1].stamp_ns, None, True, packed, np.empty(0, np.int64))
    window.apply(update, area)
    return window


def standpoint(artifact: Artifact, now: Seen, at: int, stamp_ns: int) -> Standpoint:
    """Return where a robot stands after some steps of a run, with what it saw before as its context."""
    transition = artifact.transition()
    state_1C = transition.initial(1)
    with torch.inference_mode():
        for past in range(max(0, at - CONTEXT), at):
            latent_1D, action_1A = (torch.from_numpy(v[past][None]) for v in (now.latent_TD, now.action_TA))
            state_1C = transition.observe(latent_1D, action_1A, state_1C)
    return Standpoint(stamp_ns, now.pose_T3[at], now.latent_TD[at], state_1C)


def vehicle_of(artifact: Artifact, now: Seen, at: int) -> Vehicle:
    """Return the robot's motion, told what it was told up to a step."""
    manifest = artifact.manifest
    vehicle = Vehicle(MotionModel.from_manifest(manifest.motion), manifest.step_s, manifest.action_dim)
    for past in range(max(0, at - CONTEXT), at):
        vehicle.told(now.action_TA[past])
    return vehicle
