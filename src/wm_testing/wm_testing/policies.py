"""Exported policies that are made up: a small network behind a manifest that fits it."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import torch

from wm_policy.runtime import ObserverSettings, PolicyManifest, write_policy
from wm_policy.runtime.observer import FORECAST_NUMBERS
from world_model.runtime.motion_model import MotionModel

FORWARD = MotionModel(weights=((0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0)))
"""Actions are forward speed and yaw rate."""


def export_made_up_policy(folder: Path, network: torch.nn.Module, **changes: Any) -> Path:
    """Write a policy of latents of three numbers that proposes four steps of two actions, and return its folder.

    Args:
        folder: Where.
        network: What it runs, scriptable: ``forecast -> action_1KA``, or paths and twists.
        changes: Manifest entries that differ.
    """
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(network), buffer)
    entries: dict[str, Any] = {
        "name": "test",
        "encoder_id": "e",
        "latent_dim": 3,
        "file": "policy.pt",
        "sha256": hashlib.sha256(buffer.getvalue()).hexdigest(),
        "output": "actions",
        "action_dim": 2,
        "chunk": 4,
        "step_s": 0.05,
        "takes_noise": False,
        "inputs": {"forecast": [FORECAST_NUMBERS]},
        "flags": [],
        "statistics": {},
        "observer": ObserverSettings().to_json(),
        "motion": FORWARD.to_manifest(),
        "action_least": [0.0, -1.0],
        "action_most": [2.0, 1.0],
    }
    write_policy(folder, PolicyManifest(**(entries | changes)), buffer.getvalue())
    return folder
