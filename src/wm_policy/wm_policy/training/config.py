"""One typed configuration per policy."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from world_model.errors import ConfigError
from world_model.training.config import StageConfig

CONFIGS = Path(__file__).parents[1] / "configs"


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """How a policy is trained.

    Attributes:
        name: Of the policy.
        artifact: Whose latents it reads.
        head: Name in ``ACTION_HEAD_REGISTRY``.
        chunk: Steps that it proposes; of a trajectory 0.1 s each, else the artifact's.
        width: Of its tokens.
        layers: Transformer layers.
        use_memory: Let it read former visits of the place.
        use_history: Let it read the visual history of the artifact's slow branch.
        temporal_attention: See ``ReactiveConfig``.
        foresees: See ``ReactiveConfig``.
        foreseen_weight: Weight of the features' loss.
        fit_motion: Fit the motion model to these episodes instead of taking the artifact's.
        every: One sample in so many frames.
        hide: Share of samples whose memory is hidden in training, so that it can do without; and of visits whose
            latent is.
        imagined: Drives imagined beside each recorded one (``training/imagined.py``).
        imagined_keep: Share of them that is learned from: what is expected to be imagined best.
        imagined_share: Share of each batch that is imagined.
        seed: Of everything random.
        threads: CPU threads.
        validate_every: Steps between validations and checkpoints.
        optimiser: See ``StageConfig``.
        runtime: ``torchscript`` or ``onnx``, of the exported file.
    """

    name: str = "reactive"
    artifact: str = "artifact://tiny"
    head: str = "trajectory"
    chunk: int = 64
    width: int = 64
    layers: int = 1
    use_memory: bool = True
    use_history: bool = False
    temporal_attention: bool = False
    foresees: bool = False
    foreseen_weight: float = 0.1
    fit_motion: bool = False
    every: int = 5
    hide: float = 0.1
    imagined: int = 0
    imagined_keep: float = 1.0
    imagined_share: float = 0.5
    seed: int = 0
    threads: int = 1
    validate_every: int = 500
    optimiser: StageConfig = field(
        default_factory=lambda: StageConfig(steps=1500, batch=128, learning_rate=2e-3, warm_up=100)
    )
    runtime: str = "torchscript"

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        if self.runtime not in ("torchscript", "onnx"):
            raise ConfigError(f"runtime is '{self.runtime}', expected torchscript or onnx")
        if self.every < 1 or not 0.0 <= self.hide < 1.0:
            raise ConfigError(f"every is {self.every} and hide {self.hide}, expected 1 or more and a share below 1")
        if self.imagined < 0 or not (0.0 < self.imagined_keep <= 1.0 and 0.0 < self.imagined_share < 1.0):
            raise ConfigError(
                f"imagined is {self.imagined}, imagined_keep {self.imagined_keep} and imagined_share"
                f" {self.imagined_share}, expected 0 or more, a share above 0, and one between 0 and 1"
            )
        if self.imagined and self.head != "trajectory":
            raise ConfigError(f"imagined drives teach where to go, not the robot's own actions: no head '{self.head}'")

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as JSON-ready entries."""
        return asdict(self)

    def weights(self) -> dict[str, float]:
        """Return the weight of each loss by its name."""
        return {"action": 1.0, "foreseen": self.foreseen_weight}
