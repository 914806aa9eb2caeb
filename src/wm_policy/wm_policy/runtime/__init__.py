"""All that a node needs to run an exported policy: its file, its manifest, and what makes inputs of observations.

Light: numpy, and the one runtime that the file needs. Public names are loaded when asked for.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "ActionRange": "statistics",
    "Observation": "observer",
    "Observer": "observer",
    "ObserverSettings": "observer",
    "Policy": "policy",
    "PolicyManifest": "manifest",
    "Proposal": "policy",
    "Statistics": "statistics",
    "Trail": "trail",
    "load_policy": "policy",
    "write_policy": "policy",
}
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
