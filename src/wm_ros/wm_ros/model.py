"""The parameters by which every node that runs a model finds it."""

from __future__ import annotations

from dataclasses import dataclass

from wm_ros.errors import ConfigurationError
from wm_ros.managed import ManagedParams
from wm_ros.params import param
from world_model.runtime.artifacts import Artifact, Expectations, load_artifact

DEFAULT, TINY = "artifact://generic", "artifact://tiny"


@dataclass(frozen=True, kw_only=True)
class ModelParams(ManagedParams):
    """Which artifact, on which device, and what it must be."""

    model_path: str = param(
        DEFAULT,
        "Artifact folder, artifact://NAME for one that ships or was made here, or an encoder file beside its manifest.",
        env="WM_CHECKPOINT_PATH",
    )
    use_tiny_models: bool = param(
        True, "Whether artifact://tiny, the simulator's, may run where model_path names it.", env="USE_TINY_MODELS"
    )
    device: str = param("cpu", "Where the models run: cpu, cuda, cuda:N, or auto (cuda if there is one).")
    torch_threads: int = param(1, "Threads a forward pass may use; more rarely pays for small models.", low=1, high=64)
    z_dim: int = param(32, "Latent size the artifact must have; 0 takes any.", low=0, env="Z_DIM")
    action_dim: int = param(
        0,
        "Action size the artifact must have, or takes where it knows no actions; 0: its own.",
        low=0,
        env="ACTION_DIM",
    )
    image_size: int = param(0, "Image side the artifact must take [px]; 0 takes any.", low=0, env="IMAGE_SIZE")

    def load(self) -> Artifact:
        """Returns the artifact, verified.

        Raises:
            ConfigurationError: The simulator's artifact is ruled out and named.
            ArtifactError: Missing, damaged, or not what is expected.
        """
        if not self.use_tiny_models and self.model_path == TINY:
            raise ConfigurationError(
                f"use_tiny_models is false, and model_path is {TINY}: set model_path or WM_CHECKPOINT_PATH"
            )
        device = self.device
        if device == "auto":
            # torch knows, and takes a second to import.
            import torch

            device = "cuda" if torch.cuda.is_available() else "cpu"
        expect = Expectations(
            z_dim=self.z_dim or None, action_dim=self.action_dim or None, image_size=self.image_size or None
        )
        return load_artifact(self.model_path, device, expect=expect, threads=self.torch_threads)
