"""From pictures to int8 features: the frozen network that is equal on all robots, in onnxruntime.

Shape suffixes: B = pictures, H W C = rows, columns, colours, F = numbers of a feature.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from wm_core.projection import FeatureSpace

# Pictures that are encoded at a time.
_BATCH = 64


class FeatureNetwork:
    """The frozen network with its quantisation.

    Args:
        session: Takes ``image``, uint8 [B, H, W, 3], and gives int8 [B, F].
        space: What its codes mean.
    """

    def __init__(self, session: Any, space: FeatureSpace) -> None:
        self._session = session
        self.space = space

    def encode(self, image_BHWC: np.ndarray) -> np.ndarray:
        """Return the features of prepared pictures, int8 [B, F]."""
        codes_BF: np.ndarray = self._session.run(None, {"image": image_BHWC})[0]
        self.space.require(codes_BF)
        return codes_BF

    def encode_each(self, image_TSSC: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the features of many prepared pictures, int8 [F] each, encoded as far as they are asked for.

        Args:
            image_TSSC: May lie on disk: some are read at a time.
        """
        for row in range(0, len(image_TSSC), _BATCH):
            yield from self.encode(np.array(image_TSSC[row : row + _BATCH]))

    def encode_all(self, image_TSSC: np.ndarray) -> np.ndarray:
        """Return the features of many prepared pictures, int8 [T, F]; see ``encode_each``."""
        return np.stack(list(self.encode_each(image_TSSC)))
