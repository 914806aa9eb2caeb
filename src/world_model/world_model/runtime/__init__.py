"""All that a node imports: artifacts, predictor, motion model, features, and the history of the slow branch.

Its public names are loaded when asked for: who only needs the history need not load torch.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "Artifact": "artifacts",
    "ErrorTracker": "metrics",
    "Evidence": "evidence",
    "Expectations": "artifacts",
    "Forecast": "predictor",
    "HistoryBreak": "history",
    "Imagination": "imagination",
    "Imagined": "imagined",
    "Manifest": "artifacts",
    "Memory": "retrieved",
    "MemoryRequest": "retrieved",
    "Moment": "moment",
    "MotionModel": "motion",
    "MotionTracker": "motion",
    "Observation": "predictor",
    "Plan": "imagined",
    "Prediction": "predictor",
    "Predictor": "predictor",
    "Profile": "profile",
    "Retrieval": "conditioning",
    "ScoredForecast": "metrics",
    "VisualHistory": "history",
    "load_artifact": "artifacts",
    "nmse": "metrics",
}
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
