"""The weights that did best on held-out sequences, and when a run has gone on without better ones for too long."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

from torch import nn


class BestWeights:
    """Keeps a network's weights at its best validation.

    What it starts from counts as the first, so that a run that makes nothing better ends where it began. A run that was
    killed and goes on compares with the weights that it went on from.

    Args:
        model: Network.
        patience: Validations in a row without a better one after which the run is over.

    Attributes:
        terms: The best validation's losses.

    Source: Prechelt, Early Stopping - But When? (1998), the criterion UP_s.
    """

    def __init__(self, model: nn.Module, patience: int) -> None:
        self._model, self._patience = model, patience
        self._least, self._since = math.inf, 0
        self._weights: dict[str, Any] = {}
        self.terms: Mapping[str, float] = {}

    def is_over(self, loss: float, terms: Mapping[str, float]) -> bool:
        """Take note of a validation; return whether the run is over."""
        if loss < self._least or not self._weights:
            self._least, self._since, self.terms = loss, 0, dict(terms)
            self._weights = copy.deepcopy(self._model.state_dict())
            return False
        self._since += 1
        return self._since >= self._patience

    def restore(self) -> None:
        """Give the network its best weights."""
        self._model.load_state_dict(self._weights)
