"""The reactive model: what it sees, how it moves, and what happened here before, to where it should go.

Shape suffixes: B = batch, V = views, T = moments, K = visits, D = latent size, E F M = numbers per moment, forecast,
visit, W = width, S = steps proposed, A = action size, H = times foreseen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wm_policy.errors import InputError
from wm_policy.heads.base import ActionHead
from wm_policy.heads.trajectory import TrajectoryHead, path_loss
from wm_policy.layers import Attention, Block, ZeroGate
from wm_policy.registry import ACTION_HEAD_REGISTRY
from wm_policy.shapes import check_flags, check_shape

FORESEEN_S = (1.0, 2.0, 3.0)
"""Times ahead whose features the world-action branch foresees [s]."""
_NEAR_STEPS, _FAR_WEIGHT = 30, 0.1


@dataclass(frozen=True, kw_only=True)
class ReactiveConfig:
    """What a reactive model is made of.

    Attributes:
        latent_dim: Size of a view's latent, or of each cell of its feature grid, D.
        views: View tokens: moments, cameras, or cells of a grid, V.
        moments: Moments of the ego history, T.
        ego_numbers: Numbers per moment.
        forecast_numbers: Numbers of the forecast.
        memory_numbers: Numbers per visit but for its latent; 0: without memory.
        visits: Visits, K.
        history: Numbers of the visual history; 0: without.
        map_size: Side of a rendered map picture [px]; 0: without.
        temporal_attention: Let the present look at the history once more, before the head.
        foresees: Add the world-action branch, which foresees features.
        width: W.
        layers: Transformer layers.
        head: Name in ``ACTION_HEAD_REGISTRY``.
        action_dim: A; a trajectory has 2.
        chunk: S.
    """

    latent_dim: int = 32
    views: int = 4
    moments: int = 8
    ego_numbers: int = 9
    forecast_numbers: int = 14
    memory_numbers: int = 0
    visits: int = 6
    history: int = 0
    map_size: int = 0
    temporal_attention: bool = False
    foresees: bool = False
    width: int = 128
    layers: int = 2
    head: str = "trajectory"
    action_dim: int = 2
    chunk: int = 64

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return name -> shape without batch of the inputs, in order."""
        made: dict[str, tuple[int, ...]] = {
            "view": (self.views, self.latent_dim), "view_known": (self.views,),
            "ego": (self.moments, self.ego_numbers), "forecast": (self.forecast_numbers,), "speed": (1,),
        }  # fmt: skip
        if self.memory_numbers:
            made |= {"memory": (self.visits, self.memory_numbers), "memory_latent": (self.visits, self.latent_dim)}
            made |= {"memory_latent_known": (self.visits,), "memory_valid": (self.visits,)}
        if self.history:
            made |= {"history": (self.history,), "history_count": (1,)}
        if self.map_size:
            made["map"] = (1, self.map_size, self.map_size)
        return made


class Trained(NamedTuple):
    """What a model says in training, and how far off that is.

    Attributes:
        path_BS2: Where it would go, in units; None where its head is none of trajectories.
        foreseen_BHD: Features at ``FORESEEN_S``; None without the world-action branch.
        losses: By name: ``action``, and ``foreseen`` where features are.
    """

    path_BS2: Tensor | None
    foreseen_BHD: Tensor | None
    losses: dict[str, Tensor]


FLAGS = ("view_known", "memory_latent_known", "memory_valid")
"""Inputs that are bool masks."""


class ReactiveModel(nn.Module):
    """Proposes a trajectory, or a chunk of actions by any other head.

    Memory and visual history enter through gates that start at zero: a fresh model with them gives the same bits as
    without. So does the world-action branch, which nothing else reads.

    Args:
        config: What it is made of.
    """

    def __init__(self, config: ReactiveConfig) -> None:
        super().__init__()
        self.config, width = config, config.width
        self.view = nn.Linear(config.latent_dim, width)
        self.ego = nn.Linear(config.ego_numbers, width)
        self.forecast = nn.Linear(config.forecast_numbers + 1, width)
        count = config.views + config.moments + 1
        self.position = nn.Parameter(0.02 * torch.randn(count, width))
        self.blocks = nn.ModuleList(Block(width) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.head: ActionHead = ACTION_HEAD_REGISTRY[config.head](width, config.action_dim, config.chunk)
        # What is optional is made last: what comes before then has the same weights with and without it.
        if config.memory_numbers:
            self.memory = MemoryReader(config)
        if config.history:
            self.history = ZeroGate(width, config.history)
        if config.map_size:
            self.map = MapReader(width)
        if config.temporal_attention:
            self.temporal = ZeroGate(width, width)
            self.look_back = Attention(width)
        if config.foresees:
            self.foresee = nn.Sequential(
                nn.Linear(width, width), nn.GELU(), nn.Linear(width, len(FORESEEN_S) * config.latent_dim)
            )

    @property
    def is_trajectory(self) -> bool:
        """Whether it proposes a path and its twists."""
        return isinstance(self.head, TrajectoryHead)

    def condition(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return what the head goes by, [B, W].

        Args:
            inputs: By the names of ``ReactiveConfig.shapes``.

        Raises:
            InputError: One is missing, or has another shape.
        """
        self._check(inputs)
        token_BNW, known_BN = self._tokens(inputs)
        for block in self.blocks:
            token_BNW = block(token_BNW, None, known_BN)
        token_BNW = self.norm(token_BNW)
        h_BW: Tensor = token_BNW[:, 0]
        if self.config.temporal_attention:
            found_BW = self.look_back(token_BNW[:, :1], token_BNW, known_BN)[:, 0]
            h_BW = self.temporal(h_BW, found_BW, known_BN[:, 0])
        if self.config.history:
            known_B = inputs["history_count"][:, 0] > 0
            h_BW = self.history(h_BW, inputs["history"], known_B)
        if self.config.map_size:
            h_BW = self.map(h_BW, inputs["map"])
        if self.config.memory_numbers:
            h_BW = self.memory(h_BW, inputs)
        return h_BW

    def _check(self, inputs: Mapping[str, Tensor]) -> None:
        shapes = self.config.shapes()
        missing = [name for name in shapes if name not in inputs]
        if missing:
            raise InputError(f"inputs lack {', '.join(missing)}")
        batch: dict[str, int] = {}
        for name, shape in shapes.items():
            axes = "XYZ"[: len(shape)]
            sizes = batch | dict(zip(axes, shape))
            check_shape(f"inputs['{name}']", inputs[name], "B" + axes, sizes)
            batch = {axis: size for axis, size in sizes.items() if axis == "B"}
        check_flags(**{f"inputs['{name}']": inputs[name] for name in FLAGS if name in shapes})

    def _tokens(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the present first, then views and moments, and which of them are known."""
        present_BX = torch.cat([inputs["forecast"], inputs["speed"]], dim=1)
        parts = [self.forecast(present_BX).unsqueeze(1), self.view(inputs["view"]), self.ego(inputs["ego"])]
        view_known_BV = inputs["view_known"]
        always_B1 = torch.ones_like(view_known_BV[:, :1])
        # Moments say themselves, as two of their numbers, what of them is known.
        moments_BT = always_B1.expand(-1, self.config.moments)
        known_BN = torch.cat([always_B1, view_known_BV, moments_BT], dim=1)
        return torch.cat(parts, dim=1) + self.position, known_BN

    def propose(self, inputs: Mapping[str, Tensor], noise_BSA: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return path and twists [B, S, 2] each, in units, or a chunk of actions in -1..1, [B, S, A]."""
        h_BW = self.condition(inputs)
        if isinstance(self.head, TrajectoryHead):
            return self.head.drive(h_BW, inputs["speed"][:, 0])
        return (self.head(h_BW, noise_BSA),)

    def forward(self, inputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the named losses; see ``trained``."""
        return self.trained(inputs, targets).losses

    def trained(self, inputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Trained:
        """Return trajectory, foreseen features and the losses of each.

        Args:
            inputs: As ``condition`` takes them.
            targets: ``path`` and ``path_valid``, or ``action`` and ``action_valid``; ``future`` [B, H, D] and
                ``future_valid`` [B, H] for the world-action branch.
        """
        h_BW, path_BS2, foreseen_BHD = self.condition(inputs), None, None
        if isinstance(self.head, TrajectoryHead):
            path_BS2 = self.head.drive(h_BW, inputs["speed"][:, 0])[0]
            losses = {"action": near_and_far(path_BS2, targets["path"], targets["path_valid"])}
        else:
            losses = self.head.losses(h_BW, targets["action"], targets["action_valid"])
        if self.config.foresees:
            foreseen_BHD = self._foreseen(h_BW)
            losses["foreseen"] = _foreseen_loss(foreseen_BHD, targets)
        return Trained(path_BS2, foreseen_BHD, losses)

    def foreseen(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the features expected at ``FORESEEN_S``, scaled as views are, [B, H, D].

        Raises:
            InputError: It has no world-action branch.
        """
        if not self.config.foresees:
            raise InputError("this model foresees no features: it was made without foresees")
        return self._foreseen(self.condition(inputs))

    def _foreseen(self, h_BW: Tensor) -> Tensor:
        result: Tensor = self.foresee(h_BW).unflatten(1, (len(FORESEEN_S), -1))
        return result


def _foreseen_loss(said_BHD: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
    """Return the L1 of foreseen features; those that came are targets, nothing is learned through them."""
    known_BH1 = targets["future_valid"].unsqueeze(-1)
    off_BHD = torch.where(known_BH1, (said_BHD - targets["future"].detach()).abs(), torch.zeros_like(said_BHD))
    result: Tensor = off_BHD.sum() / (known_BH1.sum() * said_BHD.size(-1)).clamp(min=1)
    return result


class MemoryReader(nn.Module):
    """Former visits as tokens, read by the present through a gate that starts at zero.

    Args:
        config: Of the model.
    """

    def __init__(self, config: ReactiveConfig) -> None:
        super().__init__()
        width = config.width
        self.token = nn.Sequential(nn.Linear(config.memory_numbers, width), nn.GELU(), nn.Linear(width, width))
        self.latent = nn.Linear(config.latent_dim, width)
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width)
        self.mix = nn.Sequential(nn.Linear(2 * width, width), nn.GELU())
        self.gate = ZeroGate(width, width)

    def forward(self, h_BW: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return h as what happened here before changes it, [B, W]."""
        valid_BK, known_BK1 = inputs["memory_valid"], inputs["memory_latent_known"].unsqueeze(-1)
        seen_BKW = self.latent(inputs["memory_latent"])
        token_BKW = self.token(inputs["memory"]) + torch.where(known_BK1, seen_BKW, torch.zeros_like(seen_BKW))
        found_BW = self.attention(h_BW.unsqueeze(1), self.norm(token_BKW), valid_BK)[:, 0]
        mixed_BW = self.mix(torch.cat([h_BW, found_BW], dim=1))
        result: Tensor = self.gate(h_BW, mixed_BW, valid_BK.any(dim=1))
        return result


class MapReader(nn.Module):
    """A picture of the map around the robot, through a gate that starts at zero; an empty one is no map.

    Args:
        width: W.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, 16, 5, 2, 2), nn.GELU(), nn.Conv2d(16, 32, 5, 2, 2), nn.GELU(), nn.Conv2d(32, 32, 3, 2, 1)
        )
        self.gate = ZeroGate(width, 32)

    def forward(self, h_BW: Tensor, map_B1SS: Tensor) -> Tensor:
        """Return h as the map changes it, [B, W]."""
        found_BX = self.convolutions(map_B1SS).mean(dim=(2, 3))
        result: Tensor = self.gate(h_BW, found_BX, map_B1SS.flatten(1).abs().amax(dim=1) > 0)
        return result


def near_and_far(path_BS2: Tensor, truth_BS2: Tensor, valid_BS: Tensor) -> Tensor:
    """Return how far off a path is, in units; after 3 s it counts less: nobody drives so far without looking again."""
    near = path_loss(path_BS2[:, :_NEAR_STEPS], truth_BS2[:, :_NEAR_STEPS], valid_BS[:, :_NEAR_STEPS])
    if path_BS2.size(1) <= _NEAR_STEPS:
        return near
    far = path_loss(path_BS2[:, _NEAR_STEPS:], truth_BS2[:, _NEAR_STEPS:], valid_BS[:, _NEAR_STEPS:])
    return near + _FAR_WEIGHT * far
