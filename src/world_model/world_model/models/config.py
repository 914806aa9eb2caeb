"""Which networks, and how large."""

from __future__ import annotations

from dataclasses import dataclass

from world_model.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes of the networks.

    Attributes:
        latent_dim: D.
        encoder: Which encoder, by name.
        context: Which context, by name.
        hidden_dim: Context size.
        layer_count: Context layers.
        width: Hidden size of the forecast without memory.
        memory_width: Hidden size of the memory branch.
        decoder: Which decoder, by name.
        decoder_width: Channels of a convolutional decoder's first map.
        encoder_widths: Channels of a residual encoder's stages.
        place_channels: Channels that a residual encoder keeps of each position of its last map; 0 takes their mean.
        components_side: Side of the small picture [px] whose principal components a residual encoder (``resnet``,
            ``driving``) and a decoder (``transposed``, ``pixel_shuffle``) begin with, their networks adding the rest;
            0: networks alone.
        use_depth: The residual encoder takes a depth image too.
        proprio_dim: Size of the proprioception the residual encoder takes; 0 takes none.
    """

    latent_dim: int = 32
    encoder: str = "linear"
    context: str = "gru"
    hidden_dim: int = 96
    layer_count: int = 1
    width: int = 192
    memory_width: int = 64
    decoder: str = "linear"
    decoder_width: int = 128
    encoder_widths: tuple[int, ...] = (64, 128, 256, 512)
    place_channels: int = 0
    components_side: int = 0
    use_depth: bool = False
    proprio_dim: int = 0

    def __post_init__(self) -> None:
        """Refuse sizes that are not positive."""
        for name in ("latent_dim", "hidden_dim", "layer_count", "width", "memory_width"):
            if getattr(self, name) < 1:
                raise ConfigError(f"model.{name} is {getattr(self, name)}, expected 1 or more")
        begins = self.encoder in ("resnet", "driving") and self.decoder in ("transposed", "pixel_shuffle")
        if self.components_side and not begins:
            raise ConfigError(
                f"model.components_side is {self.components_side} with encoder '{self.encoder}' and decoder "
                f"'{self.decoder}', expected 0, or resnet or driving with transposed or pixel_shuffle"
            )
