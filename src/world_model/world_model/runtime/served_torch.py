"""Parts that torch runs, on a processor or a GPU, behind the same calls as those of onnxruntime: arrays in and out.

What runs on a GPU takes tensors of the host and fetches them itself; its states stay there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from world_model.runtime.arrays import ObservedArrays, RetrievedArrays
from world_model.runtime.tensors import Observed, Retrieved


class TorchEncoder:
    """An encoder; see ``world_model.runtime.served.ServedEncoder``.

    Args:
        module: As ``Artifact.encoder`` returns it.
    """

    def __init__(self, module: Any) -> None:
        self._module = module

    def __call__(
        self, image_BSSC: np.ndarray, depth_B1SS: np.ndarray | None = None, proprioception_BP: np.ndarray | None = None
    ) -> np.ndarray:
        """Return latents [B, D]."""
        given = (None if value is None else torch.from_numpy(value) for value in (depth_B1SS, proprioception_BP))
        with torch.inference_mode():
            return _array(self._module(torch.from_numpy(image_BSSC), *given))


class TorchTransition:
    """A transition; see ``world_model.runtime.served.ServedTransition``. States are tensors.

    Args:
        module: As ``Artifact.transition`` returns it.
    """

    def __init__(self, module: Any) -> None:
        self.module = module

    def initial(self, batch: int) -> Tensor:
        """Return the state before anything was seen, [B, C]."""
        with torch.inference_mode():
            state_BC: Tensor = self.module.initial(batch)
        return state_BC

    def repeated(self, state_1C: Any, count: int) -> Tensor:
        """Return one state as a batch of equal ones."""
        return torch.as_tensor(state_1C).expand(count, -1).contiguous()

    def observe(self, latent_BD: np.ndarray, action_BA: np.ndarray, state_BC: Any) -> Tensor:
        """Return the state after one more latent."""
        with torch.inference_mode():
            next_BC: Tensor = self.module.observe(
                torch.from_numpy(latent_BD), torch.from_numpy(action_BA), torch.as_tensor(state_BC)
            )
        return next_BC

    def foresee_path(self, observed: ObservedArrays) -> np.ndarray:
        """Return what to add to the expected displacement and its standard error then, [B, H, 6]."""
        with torch.inference_mode():
            return _array(self.module.foresee_path(Observed(*map(torch.as_tensor, observed))))

    def forecast(
        self, observed: ObservedArrays, retrieved: RetrievedArrays
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the forecast [B, H, D], the one without memories [B, H, D] and the gate [B, H]."""
        told = Observed(*map(torch.as_tensor, observed)), Retrieved(*map(torch.from_numpy, retrieved))
        with torch.inference_mode():
            latent_BHD, base_BHD, gate_BH = self.module.forecast(*told)
        return _array(latent_BHD), _array(base_BHD), _array(gate_BH)

    def outcomes(self, state_BC: Any) -> np.ndarray:
        """Return reward and the probability of going on, [B, 2]."""
        with torch.inference_mode():
            return _array(self.module.outcomes(state_BC))


class TorchSlowBranch:
    """A slow branch; see ``world_model.runtime.served.ServedSlowBranch``.

    Args:
        module: As ``Artifact.world_action`` returns it.
    """

    def __init__(self, module: Any) -> None:
        self._module = module

    def embed(self, image_BVSSC: np.ndarray, valid_BV: np.ndarray) -> np.ndarray:
        """Return embeddings [B, E]."""
        # Of this thread: the other cores are the fast path's.
        torch.set_num_threads(1)
        with torch.inference_mode():
            return _array(self._module.embed(torch.from_numpy(image_BVSSC), torch.from_numpy(valid_BV)))

    def foresee(self, history_BTE: np.ndarray, count_B: np.ndarray) -> np.ndarray:
        """Return the next embeddings, [B, F, E]."""
        with torch.inference_mode():
            return _array(self._module.foresee(torch.from_numpy(history_BTE), torch.from_numpy(count_B)))


class TorchDecoder:
    """A decoder.

    Args:
        module: As ``Artifact.decoder`` returns it.
    """

    def __init__(self, module: Any) -> None:
        self._module = module

    def __call__(self, latent_ND: np.ndarray) -> np.ndarray:
        """Return pictures, [N, S, S, 3] uint8."""
        with torch.inference_mode():
            return _array(self._module(torch.from_numpy(latent_ND)))


def _array(tensor: Tensor) -> np.ndarray:
    values: np.ndarray = tensor.cpu().numpy()
    return values
