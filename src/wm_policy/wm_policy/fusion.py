"""Tokens of several sensors as one condition. A sensor that is missing is named as missing, never read as zeros.

Shape suffixes: B = batch, N = tokens, S = sensors, P = points, C = numbers per point, G = cells along a side,
W = width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from wm_policy.errors import InputError
from wm_policy.layers import Block
from wm_policy.sensors.points import there
from wm_policy.shapes import check_counts, check_flags, check_shape, check_shapes, only_known


class Modalities(nn.Module):
    """Brings each sensor's tokens to one size, tells them apart, and puts a learned token where one is missing.

    Args:
        sizes: Sensor -> size of its tokens.
        width: W.

    Raises:
        InputError: There is no sensor, or a size is no whole number above 0.
    """

    def __init__(self, sizes: Mapping[str, int], width: int) -> None:
        super().__init__()
        if not sizes:
            raise InputError("sizes name no sensor, expected one or more")
        check_counts(width=width, **{f"sizes['{name}']": size for name, size in sizes.items()})
        self._sizes = dict(sizes)
        self.project = nn.ModuleDict({name: nn.Linear(size, width) for name, size in sizes.items()})
        self.kind = nn.ParameterDict({name: nn.Parameter(0.02 * torch.randn(width)) for name in sizes})
        self.missing = nn.ParameterDict({name: nn.Parameter(0.02 * torch.randn(width)) for name in sizes})

    @property
    def names(self) -> list[str]:
        """Sensors, in order."""
        return list(self.project)

    def forward(
        self, tokens: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Return sensor -> tokens [B, N, W] and which of them are there [B, N].

        Where a sensor is missing its tokens are the learned one, and only the first of them is looked at.

        Args:
            tokens: Sensor -> tokens [B, N, its size]; one that is left out, or has none, is missing in all rows.
            present: Sensor -> whether it is there, bool [B]; default: all that is given. What stands for one that
                is not changes nothing.

        Raises:
            InputError: An unknown sensor, none at all, or an argument of another shape.
        """
        self._check(tokens, present or {})
        first = next(iter(tokens.values()))
        made = {}
        for name in self.names:
            absent_W = self.missing[name]
            if name not in tokens or not tokens[name].size(1):
                token_B1W = absent_W.expand(len(first), 1, -1)
                made[name] = token_B1W, torch.ones(len(first), 1, dtype=torch.bool, device=first.device)
                continue
            shown_BN = torch.ones(tokens[name].shape[:2], dtype=torch.bool, device=first.device)
            there_B1 = present[name].unsqueeze(1) if present is not None and name in present else None
            token_BNW = self.project[name](only_known(tokens[name], there_B1)) + self.kind[name]
            if there_B1 is not None:
                token_BNW = torch.where(there_B1.unsqueeze(-1), token_BNW, absent_W)
                is_first_N = torch.arange(token_BNW.size(1), device=first.device) == 0
                shown_BN = there_B1 | is_first_N
            made[name] = token_BNW, shown_BN
        return made

    def _check(self, tokens: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> None:
        unknown = sorted({*tokens, *present} - set(self.names))
        if unknown or not tokens:
            raise InputError(f"sensors {unknown or 'none'}, expected some of {', '.join(self.names)}")
        batch: dict[str, int] = {}
        for name, token_BNX in tokens.items():
            sizes = {**batch, "X": self._sizes[name]}
            check_shape(f"tokens['{name}']", token_BNX, "BNX", sizes)
            batch = {axis: size for axis, size in sizes.items() if axis == "B"}
        for name, is_there_B in present.items():
            check_shape(f"present['{name}']", is_there_B, "B", batch)
            check_flags(**{f"present['{name}']": is_there_B})


class CrossModalFusion(nn.Module):
    """All tokens look at one another; a learned one gathers what they say.

    Args:
        sizes: Sensor -> size of its tokens.
        width: W.
        layers: Transformer layers.

    Raises:
        InputError: There is no sensor, a size is no whole number above 0, or the width does not divide by 4.
    """

    def __init__(self, sizes: Mapping[str, int], width: int = 128, layers: int = 2) -> None:
        super().__init__()
        check_counts(layers=layers)
        self.modalities = Modalities(sizes, width)
        self.gather = nn.Parameter(0.02 * torch.randn(width))
        self.blocks = nn.ModuleList(Block(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return a condition [B, W]; see ``Modalities.forward``."""
        parts = self.modalities(tokens, present).values()
        token_BNW = torch.cat([each[0] for each in parts], dim=1)
        known_BN = torch.cat([each[1] for each in parts], dim=1)
        gather_B1W = self.gather.expand(len(token_BNW), 1, -1)
        token_BNW, known_BN = torch.cat([gather_B1W, token_BNW], dim=1), torch.cat([known_BN[:, :1], known_BN], dim=1)
        known_BN = torch.cat([torch.ones_like(known_BN[:, :1]), known_BN[:, 1:]], dim=1)
        for block in self.blocks:
            token_BNW = block(token_BNW, None, known_BN)
        result: Tensor = self.norm(token_BNW[:, 0])
        return result


class HierarchicalFusion(nn.Module):
    """Groups of sensors first, then the groups: what is alike is brought together before what is not.

    Args:
        sizes: Sensor -> size of its tokens.
        groups: Which sensors go together; each in one group.
        width: W.

    Raises:
        InputError: A sensor is in no group or in two, or a group is empty.
    """

    def __init__(self, sizes: Mapping[str, int], groups: Sequence[Sequence[str]], width: int = 128) -> None:
        super().__init__()
        named = sorted(name for group in groups for name in group)
        if named != sorted(sizes):
            raise InputError(f"groups name {named}, expected each of {sorted(sizes)} once")
        self.groups = [list(group) for group in groups]
        self.inner = nn.ModuleList(
            CrossModalFusion({name: sizes[name] for name in group}, width, 1) for group in self.groups
        )
        self.outer = CrossModalFusion({f"group_{index}": width for index in range(len(self.groups))}, width, 1)

    def forward(self, tokens: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return a condition [B, W]; a group of which nothing is there is missing, in all rows or in some.

        Args:
            tokens: See ``Modalities.forward``.
            present: See ``Modalities.forward``.

        Raises:
            InputError: An unknown sensor, none at all, or an argument of another shape.
        """
        named = {name for group in self.groups for name in group}
        unknown = sorted({*tokens, *(present or {})} - named)
        if unknown or not tokens:
            raise InputError(f"sensors {unknown or 'none'}, expected some of {', '.join(sorted(named))}")
        made, is_there = {}, {}
        for index, (group, fusion) in enumerate(zip(self.groups, self.inner)):
            given = {name: tokens[name] for name in group if name in tokens and not _is_empty(tokens[name])}
            if not given:
                continue
            told = {name: each for name, each in (present or {}).items() if name in given}
            made[f"group_{index}"] = fusion(given, told).unsqueeze(1)
            if len(told) == len(given):
                is_there[f"group_{index}"] = torch.stack(list(told.values())).any(dim=0)
        result: Tensor = self.outer(made, is_there)
        return result


def _is_empty(token: object) -> bool:
    """Return whether there are no tokens; what is none at all is refused where it is read."""
    return isinstance(token, Tensor) and token.dim() == 3 and not token.size(1)


class BevGrid(nn.Module):
    """Points with features into a grid seen from above: of each cell the largest, and whether it holds any.

    Args:
        channels: C.
        width: W of each cell.
        cells: G.
        extent_m: Side of the grid, around the robot [m].

    Raises:
        InputError: A size is no whole number above 0, or the extent is not above 0.
    """

    def __init__(self, channels: int, width: int = 64, cells: int = 32, extent_m: float = 40.0) -> None:
        super().__init__()
        check_counts(channels=channels, width=width, cells=cells)
        if not 0.0 < extent_m < math.inf:
            raise InputError(f"extent_m is {extent_m}, expected more than 0 m")
        self.channels = channels
        self.cells, self.extent_m = cells, extent_m
        self.point = nn.Sequential(nn.Linear(channels + 2, width), nn.ReLU(), nn.Linear(width, width))
        self.around = nn.Sequential(nn.Conv2d(width + 1, width, 3, 1, 1), nn.ReLU(), nn.Conv2d(width, width, 3, 1, 1))

    def cell_of(self, place_BP2: Tensor) -> Tensor:
        """Return the cell of each place (forward, left), row by row; -1 outside."""
        index_BP2 = torch.floor((place_BP2 / self.extent_m + 0.5) * self.cells).long()
        inside_BP = ((index_BP2 >= 0) & (index_BP2 < self.cells)).all(dim=2)
        return torch.where(inside_BP, index_BP2[..., 0] * self.cells + index_BP2[..., 1], -1)

    def scatter(self, place_BP2: Tensor, feature_BPC: Tensor, known_BP: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the grid [B, W, G, G], 0 in empty cells, and which cells hold a point [B, 1, G, G]."""
        check_shapes({"C": self.channels}, place_BP2=place_BP2, feature_BPC=feature_BPC, known_BP=known_BP)
        known_BP = there(place_BP2, known_BP) & feature_BPC.isfinite().all(dim=2)
        place_BP2, feature_BPC = only_known(place_BP2, known_BP), only_known(feature_BPC, known_BP)
        cell_BP = torch.where(known_BP, self.cell_of(place_BP2), -1)
        found_BPW = self.point(torch.cat([place_BP2 / self.extent_m, feature_BPC], dim=2))
        count = self.cells**2
        # One cell more takes what lies outside.
        slot_BPW = torch.where(cell_BP < 0, count, cell_BP).unsqueeze(-1).expand_as(found_BPW)
        least = torch.finfo(found_BPW.dtype).min
        empty_BXW = found_BPW.new_full((len(found_BPW), count + 1, found_BPW.size(2)), least)
        grid_BXW = empty_BXW.scatter_reduce(1, slot_BPW, found_BPW, "amax")[:, :count]
        held_BX1 = grid_BXW[..., :1] > least
        grid_BXW = torch.where(held_BX1, grid_BXW, torch.zeros_like(grid_BXW))
        shape = (self.cells, self.cells)
        return grid_BXW.transpose(1, 2).unflatten(2, shape), held_BX1.transpose(1, 2).unflatten(2, shape)

    def forward(self, place_BP2: Tensor, feature_BPC: Tensor, known_BP: Tensor | None = None) -> Tensor:
        """Return a token per cell [B, G * G, W]; each cell is told whether it holds a point.

        Args:
            place_BP2: Forward and left of each point [m].
            feature_BPC: What else is known of it.
            known_BP: Which points there are, bool; default: all whose numbers are finite.

        Raises:
            InputError: An argument has another shape.
        """
        grid_BWGG, held_B1GG = self.scatter(place_BP2, feature_BPC, known_BP)
        around_BWGG = self.around(torch.cat([grid_BWGG, held_B1GG.to(grid_BWGG)], dim=1))
        result: Tensor = around_BWGG.flatten(2).transpose(1, 2)
        return result
