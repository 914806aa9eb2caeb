"""Vision, language and action: pictures and an instruction to a chunk of actions.

Shape suffixes: B = batch, V = cameras, H W = rows and columns [px], L = words, N = vision tokens, D = token size,
K = steps of a chunk, A = action size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from wm_policy.fusion import CrossModalFusion
from wm_policy.heads.base import CHUNK, ActionHead
from wm_policy.heads.trajectory import TrajectoryHead
from wm_policy.models.tuning import Tunable
from wm_policy.projectors import AttentionPooling
from wm_policy.registry import ACTION_HEAD_REGISTRY, PROJECTOR_REGISTRY


class VLAModel(Tunable):
    """A vision encoder, a projector, a language model, an action head.

    Args:
        encoder: Pictures to tokens [B, N, D]; has ``dim``.
        language: See ``LanguageBackbone``.
        action_dim: A.
        chunk: K.
        head: Name in ``ACTION_HEAD_REGISTRY``.
        projector: Name in ``PROJECTOR_REGISTRY``.
        proprioception: Numbers of the robot's own state; 0: none.
    """

    def __init__(
        self,
        encoder: Any,
        language: Any,
        action_dim: int,
        chunk: int = CHUNK,
        head: str = "mlp",
        projector: str = "mlp",
        proprioception: int = 0,
    ) -> None:
        super().__init__()
        self.encoder, self.language = encoder, language
        self.projector = PROJECTOR_REGISTRY[projector](encoder.dim, language.dim)
        self.state = nn.Linear(proprioception, language.dim) if proprioception else None
        self.head: ActionHead = ACTION_HEAD_REGISTRY[head](language.dim, action_dim, chunk)

    def condition(
        self, image_BHWC: Tensor, token_BL: Tensor, known_BL: Tensor | None = None, state_BP: Tensor | None = None
    ) -> Tensor:
        """Return what the head goes by, [B, D]: the last hidden state of the last word there is.

        Args:
            image_BHWC: Pictures, uint8.
            token_BL: Words, with an image token for each vision token that the projector gives.
            known_BL: Which words there are; default: all.
            state_BP: The robot's own state.
        """
        feature_BND = self.projector(self.encoder(image_BHWC))
        hidden_BLD = self.language(token_BL, feature_BND, known_BL)
        last_B = torch.full_like(token_BL[:, 0], token_BL.size(1) - 1)
        if known_BL is not None:
            place_L = torch.arange(token_BL.size(1), device=token_BL.device)
            last_B = (known_BL.bool() * place_L).argmax(dim=1)
        h_BD: Tensor = hidden_BLD[torch.arange(len(last_B), device=last_B.device), last_B].float()
        return h_BD if self.state is None or state_BP is None else h_BD + self.state(state_BP)

    def forward(
        self,
        image_BHWC: Tensor,
        token_BL: Tensor,
        known_BL: Tensor | None = None,
        state_BP: Tensor | None = None,
        noise_BKA: Tensor | None = None,
    ) -> Tensor:
        """Return a chunk of actions [B, K, A], normalised; arguments as of ``condition``."""
        chunk_BKA: Tensor = self.head(self.condition(image_BHWC, token_BL, known_BL, state_BP), noise_BKA)
        return chunk_BKA

    def losses(
        self, image_BHWC: Tensor, token_BL: Tensor, action_BKA: Tensor, valid_BK: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the head's named losses."""
        return self.head.losses(self.condition(image_BHWC, token_BL), action_BKA, valid_BK)


class MultiSensorVLA(nn.Module):
    """Cameras all around, lidar, radar, IMU and a grid from above, to a trajectory.

    A sensor that is missing, in all rows or in some, is named as missing.

    Args:
        sensors: Sensor -> its encoder, with ``dim``, as ``SENSOR_REGISTRY`` has them.
        camera: Pictures to tokens; has ``dim``; None: no cameras.
        cameras: V.
        grid: Points from above to tokens, as ``BevGrid``; None: none. It reads the points of ``lidar``.
        width: Of the tokens.
        camera_tokens: Tokens that each camera is brought down to.
    """

    def __init__(
        self,
        sensors: Mapping[str, Any],
        camera: Any = None,
        cameras: int = 6,
        grid: Any = None,
        width: int = 128,
        camera_tokens: int = 8,
    ) -> None:
        super().__init__()
        self.sensors = nn.ModuleDict(dict(sensors))
        self.camera, self.grid = camera, grid
        sizes = {name: int(each.dim) for name, each in sensors.items()}
        if camera is not None:
            self.pool = AttentionPooling(camera.dim, width, camera_tokens)
            self.side = nn.Parameter(0.02 * torch.randn(cameras, 1, width))
            sizes["cameras"] = width
        if grid is not None:
            self.grid_pool = AttentionPooling(grid.point[-1].out_features, width, 16)
            sizes["grid"] = width
        self.fusion = CrossModalFusion(sizes, width)
        self.head = TrajectoryHead(width)

    def condition(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return what the head goes by, [B, width].

        Args:
            inputs: ``cameras`` uint8 [B, V, H, W, 3], and what each sensor takes, by its name; what is left out is
                missing.
            present: Sensor -> whether it is there, bool [B].
        """
        tokens = {name: encoder(inputs[name]) for name, encoder in self.sensors.items() if name in inputs}
        present = dict(present or {})
        if self.camera is not None and "cameras" in inputs:
            image_BVHWC = inputs["cameras"]
            token_XNW = self.pool(self.camera(image_BVHWC.flatten(0, 1)))
            token_BVNW = token_XNW.unflatten(0, image_BVHWC.shape[:2]) + self.side
            tokens["cameras"] = token_BVNW.flatten(1, 2)
        if self.grid is not None and "lidar" in inputs:
            point_BN4 = inputs["lidar"]
            tokens["grid"] = self.grid_pool(self.grid(point_BN4[..., :2], point_BN4[..., 2:]))
            if "lidar" in present:
                present["grid"] = present["lidar"]
        condition_BW: Tensor = self.fusion(tokens, present)
        return condition_BW

    def forward(
        self,
        inputs: Mapping[str, Tensor],
        present: Mapping[str, Tensor] | None = None,
        speed_B: Tensor | None = None,
    ) -> Tensor:
        """Return the path [B, 64, 2] [m]; arguments as of ``condition``, and the present speed [m/s]."""
        return self.head.drive(self.condition(inputs, present), speed_B)[0]
