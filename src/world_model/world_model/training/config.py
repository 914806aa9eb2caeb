"""One typed configuration per training run; what it does not know it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from world_model.errors import ConfigError
from world_model.models.config import ModelConfig
from world_model.runtime.conditioning import Retrieval
from world_model.training.family_config import FamilyConfig, TimeShares
from world_model.typed_config import config_from, read_config

__all__ = [
    "FamilyConfig",
    "LossConfig",
    "ModelConfig",
    "OptimiserConfig",
    "PictureConfig",
    "StageConfig",
    "TimeShares",
    "TrainConfig",
    "config_from",
    "load_config",
]


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """How the weights of one stage are found.

    Attributes:
        steps: Optimiser steps.
        batch: What is drawn per step: sequences, pairs, pictures or windows.
        accumulate: Backward passes per optimiser step.
        learning_rate: Highest, reached after ``warm_up`` steps, then falling as ``schedule`` says.
        gate_rate: Factor on it for the gates that start at zero.
        warm_up: Steps of linear warm-up.
        weight_decay: Of AdamW.
        clip_norm: Largest gradient norm.
        precision: As Lightning Fabric names it.
        accelerator: As Lightning Fabric names it.
        devices: Processes that share a step, each with ``batch`` sequences of its own.
    """

    steps: int = 6000
    batch: int = 48
    accumulate: int = 1
    learning_rate: float = 1.5e-3
    gate_rate: float = 10.0
    warm_up: int = 200
    weight_decay: float = 1e-3
    clip_norm: float = 1.0
    precision: str = "32-true"
    accelerator: str = "cpu"
    devices: int = 1

    _where: ClassVar[str] = "stage"

    def __post_init__(self) -> None:
        """Refuse values that are not positive."""
        for name in ("steps", "batch", "accumulate", "devices"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{self._where}.{name} is {getattr(self, name)}, expected 1 or more")


@dataclass(frozen=True, kw_only=True)
class OptimiserConfig(StageConfig):
    """How the weights of a network that sees sequences are found.

    Attributes:
        sequence: Frames per sequence.
        burn_in: First frames of a sequence that are not judged.
        positions: Frames judged per sequence.
        checkpoint_activations: Compute activations again in the backward pass instead of keeping them.
    """

    sequence: int = 24
    burn_in: int = 6
    positions: int = 4
    checkpoint_activations: bool = False

    _where: ClassVar[str] = "optimiser"

    def __post_init__(self) -> None:
        """Refuse values that are not positive and pairs that contradict one another."""
        super().__post_init__()
        where = self._where
        if not 0 <= self.burn_in < self.sequence:
            raise ConfigError(f"{where}.burn_in {self.burn_in} must be less than sequence {self.sequence}")
        if self.positions > self.sequence - self.burn_in:
            raise ConfigError(f"{where}.positions {self.positions} exceeds the frames after the burn-in")
        if self.warm_up >= self.steps:
            raise ConfigError(f"{where}.warm_up {self.warm_up} must be less than steps {self.steps}")


@dataclass(frozen=True, kw_only=True)
class PictureConfig(OptimiserConfig):
    """How a residual encoder is found, together with the decoder of its pictures.

    Of each sequence the first ``burn_in`` frames are observed and the others imagined; ``positions`` is not used.

    Attributes:
        horizon_weight: Weight of the last imagined frame relative to the first, geometric in between.
        stills: Further single pictures per step, of which only the picture is asked back, each mirrored at random:
            frames of a film are nearly alike.
        imagine_every: Steps of which one draws clips; the others draw as many stills instead, and imagine nothing.
    """

    steps: int = 20000
    batch: int = 4
    sequence: int = 8
    burn_in: int = 3
    positions: int = 1
    learning_rate: float = 3e-4
    warm_up: int = 500
    horizon_weight: float = 2.0
    stills: int = 0
    imagine_every: int = 1

    _where: ClassVar[str] = "pictures"

    def __post_init__(self) -> None:
        """Refuse clips of which nothing is seen, and steps that draw nothing."""
        super().__post_init__()
        if self.imagine_every < 1 or (self.imagine_every > 1 and not self.stills):
            raise ConfigError(
                f"pictures.imagine_every is {self.imagine_every} with {self.stills} stills, expected 1 or more, and "
                "more than 1 only with stills"
            )
        if self.burn_in < 1:
            raise ConfigError(f"pictures.burn_in is {self.burn_in}, expected 1 or more")


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights of the named losses.

    Attributes:
        reconstruction: Of the mean absolute error of decoded pictures.
        squared: Of their mean squared error, which is what PSNR judges; 0 leaves it out.
        perceptual: Of the difference between features of decoded and real pictures (LPIPS).
        prediction: Of the squared error of imagined latents.
        kl: Of the divergence between what an RSSM expects and what it sees.
        outcome: Of an RSSM's reward and of whether the episode goes on, where the data has them.
        regularisation: Of magnitude, variance and covariance of the latents, each.
        perceptual_path: Folder with ``backbone.pth`` and ``lin.pth``; needed when ``perceptual`` is positive.
    """

    reconstruction: float = 1.0
    squared: float = 0.0
    perceptual: float = 0.0
    prediction: float = 1.0
    kl: float = 0.1
    outcome: float = 1.0
    regularisation: float = 0.01
    perceptual_path: str = ""

    def __post_init__(self) -> None:
        """Refuse a perceptual loss without the weights it needs."""
        if self.perceptual > 0 and not self.perceptual_path:
            raise ConfigError("losses.perceptual is positive, but losses.perceptual_path names no weights")

    def weights(self) -> dict[str, float]:
        """Return the weight of each term by its name."""
        return {
            "reconstruction": self.reconstruction,
            "squared": self.squared,
            "perceptual": self.perceptual,
            "prediction": self.prediction,
            "prediction_memory": self.prediction,
            "kl": self.kl,
            "reward": self.outcome,
            "goes_on": self.outcome,
            **dict.fromkeys(("magnitude", "variance", "covariance"), self.regularisation),
        }


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run.

    Attributes:
        name: Of the artifact.
        seed: Of everything random.
        threads: CPU threads.
        horizons: Steps ahead that are learned.
        horizon_weight: Weight of the last horizon relative to the first, geometric in between.
        retrieval: What the memory is asked.
        model: See ``ModelConfig``.
        optimiser: See ``OptimiserConfig``.
        pictures: See ``PictureConfig``; for the residual encoders.
        losses: See ``LossConfig``.
        encoder_steps: Optimiser steps of a convolutional encoder (``conv``).
        path_steps: Optimiser steps of the path foresight; its schedule needs more than ten.
        view_steps: Optimiser steps of the view warp before the transition uses it; 0 leaves it all to the transition.
        validate_every: Steps between validations.
        patience: Validations of the transition without a better one after which it has the weights of the best; 0
            trains to the end and keeps the last. Without held-out episodes it has no meaning.
        poses_as_known: The robot's pose is told as the graph knew it at the frame (expected until it is measured),
            where a set tells when poses arrived; else the measured one is.
        extra_error_m: Largest standard error added to the expected position of every second episode, so that the
            network learns what to do when it is told that the pose is bad [m].
        extra_error_rad: The same of the yaw [rad].
        freeze_memory: Leave the memory branch as the source trained it.
        memory_shrink: Factor on the corrections that the source's memory branch makes to what it copies.
        start_from: Artifact or checkpoint folder to fine-tune from; empty: from scratch.
        minutes: Time for the whole run [min]: pictures, path foresight and transitions take their ``time`` of it, their
            ``steps`` do not count. 0: by steps.
        time: Shares of it.
        family: What ``wm family`` simulates.
        features: Artifact whose features a prior is trained on, through the projection of each episode's robot; empty:
            a whole artifact with an encoder of its own is trained.
    """

    name: str = "tiny"
    seed: int = 0
    threads: int = 1
    horizons: tuple[int, ...] = (1, 5, 10, 20, 40)
    horizon_weight: float = 1.0
    retrieval: Retrieval = field(default_factory=Retrieval)
    model: ModelConfig = field(default_factory=ModelConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    pictures: PictureConfig = field(default_factory=PictureConfig)
    losses: LossConfig = field(default_factory=LossConfig)
    encoder_steps: int = 1500
    path_steps: int = 1500
    view_steps: int = 0
    validate_every: int = 1000
    patience: int = 0
    poses_as_known: bool = True
    extra_error_m: float = 0.0
    extra_error_rad: float = 0.0
    freeze_memory: bool = False
    memory_shrink: float = 1.0
    start_from: str = ""
    minutes: float = 0.0
    time: TimeShares = field(default_factory=TimeShares)
    family: FamilyConfig = field(default_factory=FamilyConfig)
    features: str = ""

    def __post_init__(self) -> None:
        """Refuse horizons that are not ascending and positive, and too short a schedule."""
        if not self.horizons or list(self.horizons) != sorted(set(self.horizons)) or self.horizons[0] < 1:
            raise ConfigError(f"horizons are {list(self.horizons)}, expected ascending positive steps")
        if self.path_steps <= 10:
            raise ConfigError(f"path_steps is {self.path_steps}, expected more than 10")
        if self.patience < 0:
            raise ConfigError(f"patience is {self.patience}, expected 0 or more")
        if self.minutes < 0.0:
            raise ConfigError(f"minutes are {self.minutes}, expected 0 or more")
        if self.pictures.stills and (self.model.use_depth or self.model.proprio_dim):
            raise ConfigError(f"pictures.stills is {self.pictures.stills}, but stills have no depth or proprioception")

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as JSON-ready entries."""
        return asdict(self)

    def weights(self) -> dict[str, float]:
        """Return the weight of each loss by its name."""
        return self.losses.weights()

    def seconds_of(self, part: str) -> float:
        """Return how long a part of ``time`` may take [s]; 0 where the run goes by steps."""
        return 60.0 * self.minutes * float(getattr(self.time, part))


def load_config(path: Path, overrides: Mapping[str, Any] | None = None) -> TrainConfig:
    """Return the configuration in a YAML file, with dotted overrides (``optimiser.steps``) on top.

    Raises:
        ConfigError: Not readable, a key is unknown, a value has the wrong type, or values contradict one another.
    """
    return read_config(TrainConfig, path, overrides)
