"""Parameters of the transition predictor."""

from __future__ import annotations

from dataclasses import dataclass

from wm_ros import ModelParams, param


@dataclass(frozen=True, kw_only=True)
class TransitionPredictorParams(ModelParams):
    """Everything that may differ between two deployments of this node."""

    use_memory: bool = param(True, "Whether forecasts are conditioned on memories.", runtime=True)
    top_k: int = param(
        0, "Memories asked for per forecast; 0 as the artifact was trained.", low=0, high=256, env="TOPK"
    )
    memory_deadline_s: float = param(
        0.015,
        "Longest wait for the memory's answer; then the forecast is made without [s].",
        low=0.001,
        high=1.0,
        runtime=True,
    )
    use_history: bool = param(False, "Whether forecasts are conditioned on the visual history.")
    history_max_age_s: float = param(2.5, "A visual history older than this is stale [s].", low=0.1, high=60.0)
    expected_frame: str = param(
        "", "Frame on /tf at the pose expected furthest ahead, as base_link_expected; empty: none. Needs tf2_msgs."
    )
    latent_timeout_s: float = param(2.0, "Silence of /latent/state that is a fault [s].", low=0.1, high=3600.0)
