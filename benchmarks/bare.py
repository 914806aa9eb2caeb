"""The networks alone, at the rate that a robot runs them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.driver import RATE_HZ
from wm_core.images import prepare_image
from wm_core.memory.packed import Neighbours
from wm_core.se2 import Pose2
from world_model.runtime.artifacts import Artifact, load_artifact
from world_model.runtime.conditioning import Retrieval, motion_features
from world_model.runtime.retrieved import Present, anticipated_arrays, appearance_arrays, successor_arrays
from world_model.runtime.tensors import Observed, Retrieved, nothing_observed

_UNCOUNTED = 20


def forward_ms(size: tuple[int, int], repeats: int = 100) -> list[float]:
    """Returns the time of the bare encoder on a picture that has its size already [ms].

    At 20 Hz, as in use: back to back the same pass takes a quarter of the time, with caches that no robot keeps warm.
    """
    torch.set_num_threads(1)
    artifact = load_artifact(os.environ.get("WM_CHECKPOINT_PATH") or "artifact://tiny")
    encoder = artifact.encoder()
    image_HW3 = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    batch = torch.from_numpy(prepare_image(image_HW3, artifact.manifest.image_size))[None]
    return _timed(lambda: encoder(batch, None, None), repeats)


def transition_ms(repeats: int = 100) -> list[float]:
    """Returns the time of the bare transition: one observation, and forecasts with all memories there are [ms]."""
    torch.set_num_threads(1)
    artifact = load_artifact(os.environ.get("WM_CHECKPOINT_PATH") or "artifact://tiny")
    transition = artifact.transition()
    latent, action, observed, retrieved = _inputs(artifact)
    state = transition.initial(1)

    def once() -> None:
        present = transition.observe(latent, action, state)
        transition.forecast(observed._replace(state=present), retrieved)

    return _timed(once, repeats)


def _timed(work: Callable[[], object], repeats: int) -> list[float]:
    times = []
    with torch.inference_mode():
        for index in range(repeats + _UNCOUNTED):
            time.sleep(1.0 / RATE_HZ)
            begin = time.perf_counter()
            work()
            if index >= _UNCOUNTED:
                times.append((time.perf_counter() - begin) * 1e3)
    return times


def _inputs(artifact: Artifact) -> tuple[torch.Tensor, torch.Tensor, Observed, Retrieved]:
    """Return latent, action, what is known of the present, and as many memories as the artifact was trained with."""
    manifest, rng = artifact.manifest, np.random.default_rng(0)
    retrieval, horizons_s = Retrieval.from_manifest(manifest.memory), (manifest.step_s, manifest.horizon_s)
    latent = torch.from_numpy(rng.normal(size=(1, manifest.z_dim)).astype(np.float32))
    action = torch.zeros(1, manifest.action_dim)
    here, present = Pose2(0.0, 0.0, 0.0, 0.0), Present(10**12, Pose2(0.0, 0.0, 0.0, 0.0), np.zeros(manifest.action_dim))

    def memories(count: int) -> Neighbours:
        pose_K4 = rng.normal(0.0, 0.2, (count, 4))
        latent_KD = rng.normal(size=(count, manifest.z_dim)).astype(np.float32)
        dt_KM = np.tile(np.array(horizons_s), (count, 1))
        stamp_K = np.full(count, 10**12 - 60 * 10**9)
        action_KA = np.zeros((count, manifest.action_dim), np.float32)
        return Neighbours(np.arange(count), stamp_K, pose_K4, latent_KD, action_KA, dt_KM, dt_KM,
                          np.repeat(latent_KD[:, None], len(horizons_s), axis=1))  # fmt: skip

    near = [memories(manifest.top_k) for _ in horizons_s]
    alike = memories(retrieval.appearance_k)
    arrays = anticipated_arrays(near, [here] * len(near), present, manifest.top_k, manifest.z_dim, retrieval)
    arrays |= appearance_arrays(alike, present, retrieval.appearance_k, manifest.z_dim, retrieval)
    arrays |= successor_arrays(alike, present, horizons_s, manifest.step_s, retrieval.appearance_k, manifest.z_dim)
    motion = motion_features(np.full((1, len(horizons_s), 3), 0.1), np.full((1, len(horizons_s), 3), 0.05), retrieval)
    observed = nothing_observed(torch.tensor([horizons_s]), torch.zeros(1, manifest.history_dim))
    observed = observed._replace(latent=latent, action=action, motion=torch.from_numpy(motion))
    retrieved = Retrieved(**{name: torch.from_numpy(array) for name, array in arrays.items()})
    return latent, action, observed, retrieved
