"""Parts of an artifact as torch runs them: loaded, frozen, and on a device."""

from __future__ import annotations

import io

import torch

from world_model.errors import ArtifactError
from world_model.runtime.former import FormerTransition
from world_model.runtime.no_network import NoNetwork
from world_model.runtime.on_device import CapturedModule, on_device
from world_model.runtime.projected_torch import TorchProjectedEncoder

__all__ = ["METHODS", "Encoder", "TransitionModule", "frozen", "on_device", "opened", "require_device"]

# A scripted transition, one of format 2 behind the same methods, or none.
TransitionModule = torch.jit.ScriptModule | FormerTransition | NoNetwork | CapturedModule
Encoder = torch.jit.ScriptModule | TorchProjectedEncoder | CapturedModule

# What freezing must keep callable beside ``forward``.
METHODS: dict[str, list[str]] = {
    "encoder": [],
    "transition": ["initial", "observe", "foresee_path", "forecast", "outcomes", "rollout"],
    "without_memory": ["initial", "observe", "foresee_path", "forecast"],
    "decoder": [],
    "world_action": ["embed", "foresee"],
    "prior": ["initial", "observe", "forecast"],
}


def opened(content: bytes, name: str, device: str, threads: int | None) -> torch.jit.ScriptModule:
    """Return a TorchScript module.

    Args:
        content: Of its file.
        name: What to call it in an error.
        device: Where it runs.
        threads: That torch may use from now on in this process; ``None`` changes nothing.

    Raises:
        ArtifactError: It is no TorchScript file.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        module: torch.jit.ScriptModule = torch.jit.load(io.BytesIO(content), map_location=device).eval()
    except RuntimeError as error:
        raise ArtifactError(f"{name} is not a TorchScript file: {error}") from error
    return module


def frozen(module: torch.jit.ScriptModule, part: str) -> torch.jit.ScriptModule:
    """Return a part with its weights as constants."""
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    preserved = [name for name in METHODS[part] if hasattr(module, name)]
    # Where TorchScript may not compile, freezing removes what the methods left still call.
    with torch.jit.optimized_execution(True):  # type: ignore[attr-defined]
        small: torch.jit.ScriptModule = torch.jit.freeze(module, preserved_attrs=preserved)
        return small


def require_device(device: str) -> None:
    """Refuse a device that torch does not know or see.

    Raises:
        ArtifactError: It is one.
    """
    try:
        torch.device(device)
    except RuntimeError as error:
        raise ArtifactError(f"unknown device '{device}'") from error
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ArtifactError(f"device '{device}' was asked for, but torch sees no CUDA device")
