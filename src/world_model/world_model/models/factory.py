"""Networks by configuration."""

from __future__ import annotations

from world_model.errors import ConfigError
from world_model.models.contexts import GruContext
from world_model.models.transition import Transition
from world_model.training.config import ModelConfig

CONTEXTS = {"gru": GruContext}


def make_transition(config: ModelConfig, action_dim: int, use_memory: bool = True) -> Transition:
    """Return an untrained transition.

    Raises:
        ConfigError: An unknown context.
    """
    if config.context not in CONTEXTS:
        raise ConfigError(f"model.context is '{config.context}', expected one of {', '.join(sorted(CONTEXTS))}")
    context = CONTEXTS[config.context](config.latent_dim + action_dim, config.hidden_dim, config.layer_count)
    return Transition(
        config.latent_dim,
        action_dim,
        context,
        width=config.width,
        memory_width=config.memory_width,
        use_memory=use_memory,
    )
