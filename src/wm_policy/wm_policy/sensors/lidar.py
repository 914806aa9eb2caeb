"""Lidar points by PointNet++: sets of neighbours, then sets of sets.

Shape suffixes: B = batch, N = points, M = centres, K = neighbours, C = numbers per point, D = token size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wm_policy.sensors.points import largest, those_there
from wm_policy.shapes import check_counts, check_shapes

_FAR = 1e6


class LidarEncoder(nn.Module):
    """Points (x, y, z [m], intensity) to one token of the whole scan.

    Args:
        dim: D.
        centres: M of each of two layers.
        radii_m: Of the neighbourhoods [m].
        neighbours: K.

    Raises:
        InputError: A size is no whole number above 0.

    Source: Qi et al. 2017, "PointNet++".
    """

    def __init__(
        self,
        dim: int = 512,
        centres: tuple[int, int] = (256, 64),
        radii_m: tuple[float, float] = (0.8, 3.0),
        neighbours: int = 16,
    ) -> None:
        super().__init__()
        check_counts(dim=dim, neighbours=neighbours, **{f"centres[{n}]": each for n, each in enumerate(centres)})
        self.dim = dim
        self.first = SetAbstraction(centres[0], radii_m[0], neighbours, 1, [32, 64])
        self.second = SetAbstraction(centres[1], radii_m[1], neighbours, 64, [128, 256])
        self.whole = _point_network(256 + 3, [256, dim])

    def forward(self, point_BN4: Tensor, known_BN: Tensor | None = None) -> Tensor:
        """Return a token [B, 1, D].

        Args:
            point_BN4: Points; scans of fewer are filled up with anything.
            known_BN: Which points there are, bool; default: all whose numbers are finite. Where there is none the token
                says nothing.

        Raises:
            InputError: An argument has another shape.
        """
        check_shapes(point_BN4=point_BN4, known_BN=known_BN)
        if not point_BN4.size(1):
            return point_BN4.new_zeros(len(point_BN4), 1, self.dim)
        point_BN4, known_BN = those_there(point_BN4, known_BN)
        place_BM3, feature_BMC, known_BM = self.first(point_BN4[..., :3], point_BN4[..., 3:], known_BN)
        place_BM3, feature_BMC, known_BM = self.second(place_BM3, feature_BMC, known_BM)
        found_BMD = self.whole(torch.cat([place_BM3, feature_BMC], dim=-1))
        return largest(found_BMD, known_BM).unsqueeze(1)


class SetAbstraction(nn.Module):
    """Centres far from one another, each told of its neighbours.

    Args:
        centres: M.
        radius_m: How far a neighbour may be [m].
        neighbours: K.
        channels: Numbers per point besides its place.
        sizes: Of the network on each neighbour.
    """

    def __init__(self, centres: int, radius_m: float, neighbours: int, channels: int, sizes: list[int]) -> None:
        super().__init__()
        self.centres, self.radius_m, self.neighbours = centres, radius_m, neighbours
        self.network = _point_network(channels + 3, sizes)

    def forward(self, place_BN3: Tensor, feature_BNC: Tensor, known_BN: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return places [B, M, 3], features [B, M, C'] and which of the centres there are [B, M]."""
        # Few types measure distances; those of 16 bits do not.
        exact_BN3 = place_BN3.to(torch.promote_types(place_BN3.dtype, torch.float32))
        row_BM = farthest_points(exact_BN3, known_BN, min(self.centres, place_BN3.size(1)))
        centre_BM3, known_BM = _taken(place_BN3, row_BM), known_BN.gather(1, row_BM)
        distance_BMN = torch.cdist(_taken(exact_BN3, row_BM), exact_BN3).masked_fill(~known_BN.unsqueeze(1), _FAR)
        near_BMK, row_BMK = distance_BMN.topk(min(self.neighbours, place_BN3.size(1)), dim=2, largest=False)
        batch, centres, neighbours = row_BMK.shape
        flat_BX = row_BMK.flatten(1)
        away_BMK3 = _taken(place_BN3, flat_BX).view(batch, centres, neighbours, 3) - centre_BM3.unsqueeze(2)
        beside_BMKC = _taken(feature_BNC, flat_BX).view(batch, centres, neighbours, feature_BNC.size(2))
        found_BMKD = self.network(torch.cat([away_BMK3 / self.radius_m, beside_BMKC], dim=-1))
        close_BMK = near_BMK <= self.radius_m
        pooled_XD = largest(found_BMKD.flatten(0, 1), close_BMK.flatten(0, 1))
        return centre_BM3, pooled_XD.view(batch, centres, pooled_XD.size(1)), known_BM


@torch.no_grad()
def farthest_points(place_BN3: Tensor, known_BN: Tensor, count: int) -> Tensor:
    """Return the rows of points, each the farthest from those before it, [B, M]; unknown ones come last."""
    batch = torch.arange(len(place_BN3), device=place_BN3.device)
    # The first known point begins.
    row_B = known_BN.float().argmax(dim=1)
    away_BN = torch.where(known_BN, torch.full_like(place_BN3[..., 0], _FAR), torch.full_like(place_BN3[..., 0], -1.0))
    rows = []
    for _ in range(count):
        rows.append(row_B)
        from_it_BN = (place_BN3 - place_BN3[batch, row_B].unsqueeze(1)).square().sum(dim=2)
        away_BN = torch.minimum(away_BN, torch.where(known_BN, from_it_BN, away_BN))
        row_B = away_BN.argmax(dim=1)
    return torch.stack(rows, dim=1)


def _taken(value_BNC: Tensor, row_BM: Tensor) -> Tensor:
    return value_BNC.gather(1, row_BM.unsqueeze(-1).expand(-1, -1, value_BNC.size(-1)))


def _point_network(size: int, sizes: list[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for following in sizes:
        layers += [nn.Linear(size, following), nn.LayerNorm(following), nn.ReLU()]
        size = following
    return nn.Sequential(*layers)
