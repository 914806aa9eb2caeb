"""Vision, language and action: pictures and an instruction to a chunk of actions.

Shape suffixes: B = batch, V = cameras, H W = rows and columns [px], L = words, N = vision tokens, D = token size,
K = steps of a chunk, A = action size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from wm_policy.errors import InputError
from wm_policy.fusion import CrossModalFusion
from wm_policy.heads.base import ActionHead
from wm_policy.heads.trajectory import TrajectoryHead, path_loss
from wm_policy.models.tuning import Tunable
from wm_policy.projectors import AttentionPooling
from wm_policy.registry import ACTION_HEAD_REGISTRY, PROJECTOR_REGISTRY
from wm_policy.sensors.points import there as points_there
from wm_policy.shapes import check_flags, check_shape, check_shapes


class VLAModel(Tunable):
    """A vision encoder, a projector, a language model, an action head.

    Args:
        encoder: Pictures to tokens [B, N, D]; has ``dim``.
        language: See ``LanguageBackbone``.
        action_dim: A.
        chunk: K; default: as the head has it.
        head: Name in ``ACTION_HEAD_REGISTRY``.
        projector: Name in ``PROJECTOR_REGISTRY``.
        proprioception: Numbers of the robot's own state; 0: none.
    """

    def __init__(
        self,
        encoder: Any,
        language: Any,
        action_dim: int,
        chunk: int | None = None,
        head: str = "mlp",
        projector: str = "mlp",
        proprioception: int = 0,
    ) -> None:
        super().__init__()
        self.encoder, self.language = encoder, language
        self.projector = PROJECTOR_REGISTRY[projector](encoder.dim, language.dim)
        self._sizes = {"P": proprioception} if proprioception else {}
        self.state = nn.Linear(proprioception, language.dim) if proprioception else None
        self.no_state = nn.Parameter(0.02 * torch.randn(language.dim)) if proprioception else None
        make_head = ACTION_HEAD_REGISTRY[head]
        self.head: ActionHead = (
            make_head(language.dim, action_dim) if chunk is None else make_head(language.dim, action_dim, chunk)
        )

    def condition(
        self, image_BHWC: Tensor, token_BL: Tensor, known_BL: Tensor | None = None, state_BP: Tensor | None = None
    ) -> Tensor:
        """Return what the head goes by, [B, D]: the last hidden state of the last word there is.

        Args:
            image_BHWC: Pictures, uint8.
            token_BL: Words, with an image token for each vision token that the projector gives.
            known_BL: Which words there are; default: all.
            state_BP: The robot's own state; where it is left out, a learned one says that it is missing.

        Raises:
            InputError: A state for a model that takes none, or an argument of another shape.
        """
        check_shapes(self._sizes, image_BHWC=image_BHWC, token_BL=token_BL, known_BL=known_BL, state_BP=state_BP)
        if state_BP is not None and self.state is None:
            raise InputError("this model takes no state: it was made without proprioception")
        feature_BND = self.projector(self.encoder(image_BHWC))
        hidden_BLD = self.language(token_BL, feature_BND, known_BL)
        last_B = torch.full_like(token_BL[:, 0], token_BL.size(1) - 1)
        if known_BL is not None:
            place_L = torch.arange(token_BL.size(1), device=token_BL.device)
            last_B = (known_BL.bool() * place_L).argmax(dim=1)
        h_BD: Tensor = hidden_BLD[torch.arange(len(last_B), device=last_B.device), last_B].to(self._dtype)
        if self.state is None or self.no_state is None:
            return h_BD
        result: Tensor = h_BD + (self.no_state if state_BP is None else self.state(state_BP))
        return result

    @property
    def _dtype(self) -> torch.dtype:
        """What the head counts in, whatever the language model does."""
        return next(self.head.parameters()).dtype

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
        self,
        image_BHWC: Tensor,
        token_BL: Tensor,
        action_BKA: Tensor,
        valid_BK: Tensor | None = None,
        known_BL: Tensor | None = None,
        state_BP: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return the head's named losses; arguments as of ``condition`` and of the head."""
        return self.head.losses(self.condition(image_BHWC, token_BL, known_BL, state_BP), action_BKA, valid_BK)


class MultiSensorVLA(nn.Module):
    """Cameras all around, lidar, radar, IMU and a grid from above, to a trajectory.

    A sensor that is missing, in all rows or in some, is named as missing; so is one camera of several.

    Args:
        sensors: Sensor -> its encoder, with ``dim``, as ``SENSOR_REGISTRY`` has them.
        camera: Pictures to tokens; has ``dim``; None: no cameras.
        cameras: V.
        grid: Points from above to tokens, as ``BevGrid``; None: none. It reads the points of ``lidar``.
        width: Of the tokens.
        camera_tokens: Tokens that each camera is brought down to.

    Raises:
        InputError: There is a grid without a lidar, or a sensor has the name of the cameras or of the grid.
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
        taken = sorted({*sensors} & {"cameras", "grid"})
        if taken:
            raise InputError(f"sensors are named {', '.join(taken)}, which is what pictures and the grid are called")
        if grid is not None and "lidar" not in sensors:
            raise InputError("grid reads the points of a lidar, and sensors name none")
        self.sensors = nn.ModuleDict(dict(sensors))
        self.camera, self.grid = camera, grid
        sizes = {name: int(each.dim) for name, each in sensors.items()}
        if camera is not None:
            self.pool = AttentionPooling(camera.dim, width, camera_tokens)
            self.side = nn.Parameter(0.02 * torch.randn(cameras, 1, width))
            self.unseen = nn.Parameter(0.02 * torch.randn(width))
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
                missing. ``lidar_known`` and the like, bool [B, N]: which points there are, where scans are filled up;
                those whose numbers are not finite are not there, and a scan without any is missing.
            present: Sensor -> whether it is there, bool [B]; of ``cameras`` also of each, [B, V].

        Raises:
            InputError: An unknown name, nothing to go by, or an argument of another shape.
        """
        self._check(inputs, present or {})
        self._check_shapes(inputs, present or {})
        there = dict(present or {})
        tokens = {}
        for name, encoder in self.sensors.items():
            if name in inputs and inputs[name].size(1):
                known = _known(inputs, name)
                tokens[name] = encoder(inputs[name], *known)
                if inputs[name].dim() == 3:
                    is_there_B = points_there(inputs[name], known[0] if known else None).any(dim=1)
                    there[name] = there[name] & is_there_B if name in there else is_there_B
        if self.camera is not None and "cameras" in inputs:
            seen_BV = there.get("cameras")
            tokens["cameras"] = self._seen(inputs["cameras"], seen_BV)
            if seen_BV is not None and seen_BV.dim() == 2:
                there["cameras"] = seen_BV.any(dim=1)
        if self.grid is not None and "lidar" in tokens:
            point_BN4 = inputs["lidar"]
            cells = self.grid(point_BN4[..., :2], point_BN4[..., 2:], *_known(inputs, "lidar"))
            tokens["grid"] = self.grid_pool(cells)
            if "lidar" in there:
                there["grid"] = there["lidar"]
        condition_BW: Tensor = self.fusion(tokens, there)
        return condition_BW

    def _check(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> None:
        sensors = {*self.sensors} | ({"cameras"} if self.camera is not None else set())
        taken = sensors | {f"{name}_known" for name in self.sensors}
        unknown = [*sorted({*inputs} - taken), *sorted({*present} - sensors)]
        if unknown:
            raise InputError(f"unknown sensors {', '.join(unknown)}, expected some of {', '.join(sorted(sensors))}")

    def _check_shapes(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> None:
        """Refuse what the encoders and the fusion do not look at themselves."""
        for name, value in inputs.items():
            if not isinstance(value, Tensor) or value.dim() < 2:
                found = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise InputError(f"inputs['{name}'] is {found}, expected a tensor [B, ...]")
        batch = {"B": len(next(iter(inputs.values())))} if inputs else {}
        cameras = {"V": self.side.size(0)} if self.camera is not None else {}
        if "cameras" in inputs:
            check_shape("inputs['cameras']", inputs["cameras"], "BVHW3", batch | cameras)
        for name, value in present.items():
            is_each = name == "cameras" and isinstance(value, Tensor) and value.dim() == 2
            check_shape(f"present['{name}']", value, "BV" if is_each else "B", batch | cameras)
            check_flags(**{f"present['{name}']": value})

    def _seen(self, image_BVHWC: Tensor, seen_BV: Tensor | None) -> Tensor:
        """Return the tokens of all cameras [B, V * N, W]; of one that is missing the learned ones."""
        token_XNW = self.pool(self.camera(image_BVHWC.flatten(0, 1)))
        token_BVNW: Tensor = token_XNW.unflatten(0, image_BVHWC.shape[:2])
        if seen_BV is not None and seen_BV.dim() == 2:
            token_BVNW = torch.where(seen_BV[:, :, None, None], token_BVNW, self.unseen)
        return (token_BVNW + self.side).flatten(1, 2)

    def forward(
        self,
        inputs: Mapping[str, Tensor],
        present: Mapping[str, Tensor] | None = None,
        speed_B: Tensor | None = None,
    ) -> Tensor:
        """Return the path [B, 64, 2] [m]; arguments as of ``condition``, and the present speed [m/s]."""
        return self.head.drive(self.condition(inputs, present), speed_B)[0]

    def losses(
        self,
        inputs: Mapping[str, Tensor],
        path_BK2: Tensor,
        valid_BK: Tensor | None = None,
        present: Mapping[str, Tensor] | None = None,
        speed_B: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return how far off the path is as ``action`` [m].

        Args:
            inputs: See ``condition``.
            path_BK2: Where the robot was, [B, 64, 2] [m].
            valid_BK: Which of it is known, bool; default: all.
            present: See ``condition``.
            speed_B: The present speed [m/s].
        """
        foreseen_BK2 = self(inputs, present, speed_B)
        check_shapes({"B": foreseen_BK2.size(0), "K": foreseen_BK2.size(1)}, path_BK2=path_BK2, valid_BK=valid_BK)
        check_flags(valid_BK=valid_BK)
        return {"action": path_loss(foreseen_BK2, path_BK2, valid_BK)}


def _known(inputs: Mapping[str, Tensor], name: str) -> list[Tensor]:
    """Return which points of a sensor there are, as the one further argument of its encoder; none: all."""
    return [inputs[f"{name}_known"]] if f"{name}_known" in inputs else []
