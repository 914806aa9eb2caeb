"""Networks by configuration: the only place that knows every kind by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from world_model.errors import ConfigError
from world_model.models.config import ModelConfig
from world_model.models.contexts import FilmGruContext, GruContext
from world_model.models.decoders import PixelShuffleDecoder, TransposedDecoder
from world_model.models.encoders import ConvEncoder, LinearDecoder, LinearEncoder
from world_model.models.residual import DrivingEncoder, ResNetEncoder
from world_model.models.transition import Transition
from world_model.optional import extra
from world_model.runtime.manifest import DEFAULT_HISTORY_DIM

CONTEXTS: dict[str, Callable[[ModelConfig, int], nn.Module]] = {
    "gru": lambda c, actions: GruContext(c.latent_dim + actions, c.hidden_dim, c.layer_count),
    "film_gru": lambda c, actions: FilmGruContext(c.latent_dim + actions, c.hidden_dim, c.layer_count, actions),
    "transformer": lambda c, actions: extra("transformer").TransformerContext(
        c.latent_dim + actions, c.hidden_dim, c.layer_count
    ),
    "rssm": lambda c, actions: extra("rssm").RssmContext(c.latent_dim + actions, c.hidden_dim, c.layer_count),
}
ENCODERS: dict[str, Callable[[ModelConfig, int], nn.Module]] = {
    "linear": lambda c, size: LinearEncoder(size, c.latent_dim),
    "conv": lambda c, size: ConvEncoder(size, c.latent_dim),
    "resnet": lambda c, size: ResNetEncoder(
        size,
        c.latent_dim,
        c.encoder_widths,
        use_depth=c.use_depth,
        proprio_dim=c.proprio_dim,
        place_channels=c.place_channels,
        components_side=c.components_side,
    ),
    "driving": lambda c, size: DrivingEncoder(
        size, c.latent_dim, c.encoder_widths, place_channels=c.place_channels, components_side=c.components_side
    ),
}
DECODERS: dict[str, Callable[[ModelConfig, int], nn.Module]] = {
    "linear": lambda c, size: LinearDecoder(size, c.latent_dim),
    "transposed": lambda c, size: TransposedDecoder(size, c.latent_dim, c.decoder_width, c.components_side),
    "pixel_shuffle": lambda c, size: PixelShuffleDecoder(size, c.latent_dim, c.decoder_width, c.components_side),
}


def make_transition(
    config: ModelConfig, action_dim: int, use_memory: bool = True, history_dim: int = DEFAULT_HISTORY_DIM
) -> Transition:
    """Return an untrained transition.

    Raises:
        ConfigError: An unknown context.
    """
    return Transition(
        config.latent_dim,
        action_dim,
        _of(CONTEXTS, "context", config.context)(config, action_dim),
        width=config.width,
        memory_width=config.memory_width,
        history_dim=history_dim,
        use_memory=use_memory,
    )


def make_encoder(config: ModelConfig, image_size: int) -> nn.Module:
    """Return an untrained encoder.

    Raises:
        ConfigError: An unknown encoder.
    """
    return _of(ENCODERS, "encoder", config.encoder)(config, image_size)


def make_decoder(config: ModelConfig, image_size: int) -> nn.Module:
    """Return an untrained decoder.

    Raises:
        ConfigError: An unknown decoder.
    """
    return _of(DECODERS, "decoder", config.decoder)(config, image_size)


def _of(kinds: dict[str, Callable[[ModelConfig, int], nn.Module]], what: str, name: str) -> Callable[..., nn.Module]:
    if name not in kinds:
        raise ConfigError(f"model.{what} is '{name}', expected one of {', '.join(sorted(kinds))}")
    return kinds[name]
