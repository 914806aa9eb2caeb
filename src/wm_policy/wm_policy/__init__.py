"""Policies that act: encoders, action heads, sensors and the reactive model that remembers what happened here before.

The registries list every name without loading what stands behind it; a class of your own joins by assignment:
``ACTION_HEAD_REGISTRY["mine"] = MyHead``. Public names are loaded when asked for: who only runs an exported policy
(``wm_policy.runtime``) loads no training code.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "ACTION_HEAD_REGISTRY": "registry",
    "ENCODER_REGISTRY": "registry",
    "SENSOR_REGISTRY": "registry",
    "ActionHead": "heads.base",
    "PROJECTOR_REGISTRY": "registry",
    "Policy": "runtime.policy",
    "PolicyError": "errors",
    "load_policy": "runtime.policy",
}
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
