"""How the slow branch is trained: one typed configuration, read and overridden as the fast branch's is."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from world_model.errors import ConfigError
from world_model.models.target_encoder import TARGETS
from world_model.models.world_action import WorldActionConfig
from world_model.training.config import StageConfig
from world_model.training.losses import NORMS


@dataclass(frozen=True, kw_only=True)
class WorldActionTraining:
    """One training run of the slow branch.

    Attributes:
        model: Its shape; see ``WorldActionConfig``.
        target: ``frozen | ema``; see ``TargetEncoder``.
        norm: ``l1 | l2``.
        encoder_steps: Steps of learning to say what a picture shows.
        predictor_steps: Steps of learning to foresee.
        joint_steps: Steps of ``ema``, in which encoder and predictor learn together.
        encoder_batch: Pictures per step.
        predictor_batch: Windows per step.
        learning_rate: Highest rate; it rises over 5 % of the steps and falls along a cosine.
        weight_decay: Of AdamW.
        picture_weight: Weight of telling the picture beside the forecast in ``joint_steps``.
        share_gradient: Let the forecast's loss into the encoder. Off by default: it spoilt the fast task elsewhere.
        input_noise: Standard deviation of the noise on history embeddings while the predictor learns.
        validate_every: Steps between checkpoints.
        seed: Of everything random.
    """

    model: WorldActionConfig = field(default_factory=WorldActionConfig)
    target: str = "frozen"
    norm: str = "l1"
    encoder_steps: int = 4000
    predictor_steps: int = 6000
    joint_steps: int = 1500
    encoder_batch: int = 64
    predictor_batch: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    picture_weight: float = 1.0
    share_gradient: bool = False
    input_noise: float = 0.1
    validate_every: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        if self.target not in TARGETS:
            raise ConfigError(f"target is {self.target!r}, expected one of {TARGETS}")
        if self.norm not in NORMS:
            raise ConfigError(f"norm is {self.norm!r}, expected one of {NORMS}")
        if min(self.encoder_steps, self.predictor_steps, self.encoder_batch, self.predictor_batch) < 1:
            raise ConfigError("steps and batches must be 1 or more")

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as JSON-ready entries."""
        return asdict(self)

    def account(self) -> dict[str, Any]:
        """Return what an artifact's manifest says of how it was trained; the shape stands beside it there."""
        return {name: value for name, value in self.to_json().items() if name != "model"}

    def weights(self) -> dict[str, float]:
        """Return the weight of each loss by its name."""
        return {"picture": self.picture_weight}

    def stage(self, steps: int, batch: int) -> StageConfig:
        """Return how the weights of one of its stages are found."""
        return StageConfig(
            steps=steps,
            batch=batch,
            learning_rate=self.learning_rate,
            warm_up=steps // 20,
            weight_decay=self.weight_decay,
        )
