"""Artifacts with random weights, for tests of everything that runs one."""

from pathlib import Path
from typing import Any

import torch

from world_model.export.scripting import script
from world_model.export.world_action import manifest_entry
from world_model.models import GruContext, LinearDecoder, LinearEncoder, Transition
from world_model.models.world_action import WorldActionConfig, untrained
from world_model.runtime.artifact_folder import write_artifact
from world_model.runtime.artifacts import Manifest
from world_model.runtime.conditioning import Retrieval
from world_model.runtime.motion import MotionModel

_SLOW = WorldActionConfig(width=8, hidden=24)


def make_random_artifact(
    path: Path,
    *,
    z_dim: int = 32,
    action_dim: int = 2,
    image_size: int = 64,
    seed: int = 0,
    name: str = "random",
    slow: WorldActionConfig = _SLOW,
    **entries: Any,
) -> Manifest:
    """Write an artifact with small random weights and an untrained memory branch; takes well under a second.

    Args:
        path: Folder to write.
        z_dim: Latent size.
        action_dim: Action size; the first is taken as forward speed [m/s] and the last as yaw rate [rad/s].
        image_size: Side of the encoder's image [px].
        seed: Same seed, same weights and same ``encoder_id``.
        name: Artifact name.
        slow: Sizes of the slow branch; the transition reads its whole history.
        **entries: Manifest entries that replace the defaults, such as ``step_s``.
    """
    pooled_size = next(size for size in (32, 16, 8, 4, 2, 1) if image_size % size == 0)
    history_dim = slow.history * slow.embedding_dim
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = LinearEncoder(image_size, z_dim, pooled_size)
        decoder = LinearDecoder(image_size, z_dim, pooled_size)
        transition = Transition(
            z_dim, action_dim, GruContext(z_dim + action_dim, 16), width=16, memory_width=16, history_dim=history_dim
        )
    columns = 1 + action_dim + action_dim * (action_dim - 1) // 2
    forward = tuple(1.0 if i == 1 else 0.0 for i in range(columns))
    turn = tuple(1.0 if i == action_dim and action_dim > 1 else 0.0 for i in range(columns))
    manifest = {
        "name": name,
        "z_dim": z_dim,
        "action_dim": action_dim,
        "image_size": image_size,
        "step_s": 0.05,
        "horizon_s": 1.0,
        "top_k": Retrieval().anticipated_k,
        "latent_mean": [0.0] * z_dim,
        "latent_variance": [1.0] * z_dim,
        "motion": MotionModel(weights=(forward, (0.0,) * columns, turn)).to_manifest(),
        "memory": Retrieval().to_manifest(),
        "world_action": manifest_entry(slow),
        "history_dim": history_dim,
        **entries,
    }
    modules = {"encoder": encoder, "transition": transition, "decoder": decoder}
    parts: dict[str, torch.jit.ScriptModule] = {part: script(module.eval()) for part, module in modules.items()}
    parts["world_action"] = script(untrained(slow, seed).eval())
    return write_artifact(path, manifest, parts)
