"""The networks. Nodes never import this: they run what was exported from it."""

from world_model.models.contexts import GruContext
from world_model.models.encoders import LinearDecoder, LinearEncoder
from world_model.models.transition import Transition

__all__ = ["GruContext", "LinearDecoder", "LinearEncoder", "Transition"]
