"""The networks. Nodes never import this: they run what was exported from it."""

from world_model.models.contexts import FilmGruContext, GruContext
from world_model.models.decoders import PixelShuffleDecoder, TransposedDecoder
from world_model.models.encoders import ConvEncoder, LinearDecoder, LinearEncoder
from world_model.models.residual import DrivingEncoder, ResNetEncoder
from world_model.models.transition import Transition

__all__ = [
    "ConvEncoder",
    "DrivingEncoder",
    "FilmGruContext",
    "GruContext",
    "LinearDecoder",
    "LinearEncoder",
    "PixelShuffleDecoder",
    "ResNetEncoder",
    "Transition",
    "TransposedDecoder",
]
