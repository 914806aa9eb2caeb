"""Residual encoders: ResNet-18 with optional depth and proprioception, and one for driving with spatial attention.

Shape suffixes: B = batch, S = image side, C = channels, D = latent size, P = proprioception size, X = positions,
G = channels kept of each position.
"""

import torch
from torch import Tensor, nn

from world_model.models.encoders import LinearEncoder


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a short cut, as in ResNet-18/34.

    Source: He et al. 2016.
    """

    def __init__(self, before: int, after: int, stride: int = 1) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, value_BCSS: Tensor) -> Tensor:
        """Return the block's output."""
        return torch.relu(self.net(value_BCSS) + self.shortcut(value_BCSS))


class ResidualTrunk(nn.Module):
    """7x7 stem and four residual stages: [B, channels, S, S] to a feature map [B, widths[-1], S/32, S/32]."""

    def __init__(self, channels: int, widths: tuple[int, ...] = (64, 128, 256, 512), blocks: int = 2) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(channels, widths[0], 7, 2, 3, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        ]
        before = widths[0]
        for index, width in enumerate(widths):
            for block in range(blocks):
                layers.append(ResidualBlock(before, width, 2 if index and not block else 1))
                before = width
        # Cameras give colours side by side; convolutions that expect them so are twice as fast on a CPU.
        self.net: nn.Module = nn.Sequential(*layers)
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, value_BCSS: Tensor) -> Tensor:
        """Return the feature map."""
        result: Tensor = self.net(value_BCSS)
        return result


class MapSummary(nn.Module):
    """A feature map as one vector: its mean over all positions, or a few channels of every position side by side.

    The mean forgets where something was seen. A picture can hardly be told from it again; from the other it can.

    Args:
        width: Channels of the map C.
        places: Positions of the map X.
        kept: Channels kept of each position G; 0 takes the mean.
    """

    def __init__(self, width: int, places: int, kept: int) -> None:
        super().__init__()
        self.kept = kept
        self.size = kept * places if kept else width
        self.squeeze: nn.Module = nn.Linear(width, kept) if kept else nn.Identity()

    def forward(self, map_BXC: Tensor) -> Tensor:
        """Return the vectors, [B, ``size``]."""
        if self.kept == 0:
            return map_BXC.mean(dim=1)
        result: Tensor = self.squeeze(map_BXC).flatten(1)
        return result


class Beginning(nn.Module):
    """What a residual encoder begins at: principal components, to which its network adds what they lack.

    Args:
        image_size: Side of the square input [px].
        latent_dim: D.
        components_side: Side of the small picture [px] whose principal components are added; 0: none.
    """

    def __init__(self, image_size: int, latent_dim: int, components_side: int) -> None:
        super().__init__()
        self.components: LinearEncoder | None = None
        if components_side:
            self.components = LinearEncoder(image_size, latent_dim, components_side).requires_grad_(False)

    @torch.no_grad()
    def begin_at(self, image_NSSC: Tensor) -> None:
        """Give the principal components of pictures, and nothing else yet: the network learns what they lack.

        Raises:
            ValueError: Fewer pictures than components, or it has none.
        """
        if self.components is None:
            raise ValueError("an encoder without components cannot begin at them")
        self.components.fit(image_NSSC)
        for value in self.get_submodule("project").parameters():
            value.zero_()


class ResNetEncoder(Beginning):
    """ResNet-18 with a projection to the latent; depth is a fourth channel, proprioception joins what the map says.

    Args:
        image_size: Side of the square input [px]; a multiple of 32.
        latent_dim: D.
        widths: Channels of the four stages.
        use_depth: Take a depth image [B, 1, S, S] in metres too.
        proprio_dim: Size of the proprioception P; 0 takes none.
        place_channels: Channels kept of each position of the map; 0 takes the mean over all of them.
        components_side: Side of the small picture [px] whose principal components are added; 0: none.
    """

    def __init__(
        self,
        image_size: int,
        latent_dim: int,
        widths: tuple[int, ...] = (64, 128, 256, 512),
        use_depth: bool = False,
        proprio_dim: int = 0,
        place_channels: int = 0,
        components_side: int = 0,
    ) -> None:
        super().__init__(image_size, latent_dim, components_side)
        if image_size % 32:
            raise ValueError(f"image size is {image_size} px, expected a multiple of 32")
        self.use_depth = use_depth
        self.proprio_dim = proprio_dim
        self.trunk = ResidualTrunk(4 if use_depth else 3, widths)
        self.summary = MapSummary(widths[-1], (image_size // 32) ** 2, place_channels)
        self.project = nn.Linear(self.summary.size + proprio_dim, latent_dim)

    @torch.jit.export
    def feature_map(self, image_BSSC: Tensor, depth_B1SS: Tensor | None = None) -> Tensor:
        """Return the map before pooling, [B, widths[-1], S/32, S/32]; without depth its channel is zero (unknown)."""
        value_BCSS = image_BSSC.permute(0, 3, 1, 2).to(self.project.weight.dtype) / 127.5 - 1.0
        if self.use_depth:
            if depth_B1SS is None:
                depth_B1SS = torch.zeros_like(value_BCSS[:, :1])
            # Far is less certain than near: the network sees the logarithm.
            value_BCSS = torch.cat([value_BCSS, torch.log1p(depth_B1SS.to(value_BCSS.dtype))], dim=1)
        result: Tensor = self.trunk(value_BCSS)
        return result

    def forward(self, image_BSSC: Tensor, depth_B1SS: Tensor | None = None, proprio_BP: Tensor | None = None) -> Tensor:
        """Return latents [B, D] of uint8 RGB images [B, S, S, 3]."""
        pooled_BC = self.summary(self.feature_map(image_BSSC, depth_B1SS).flatten(2).transpose(1, 2))
        if self.proprio_dim > 0:
            if proprio_BP is None:
                proprio_BP = torch.zeros(pooled_BC.size(0), self.proprio_dim, device=pooled_BC.device)
            pooled_BC = torch.cat([pooled_BC, proprio_BP.to(pooled_BC.dtype)], dim=1)
        result: Tensor = self.project(pooled_BC)
        if self.components is not None:
            result = result + self.components(image_BSSC)
        return result


class DrivingEncoder(Beginning):
    """Residual stages 64-128-256-512, four-head attention between places of the map, then pooling: 256x256 to D.

    Args:
        image_size: Side of the square input [px]; a multiple of 32.
        latent_dim: D.
        widths: Channels of the four stages.
        head_count: Attention heads.
        place_channels: Channels kept of each position of the map; 0 takes the mean over all of them.
        components_side: Side of the small picture [px] whose principal components are added; 0: none.
    """

    def __init__(
        self,
        image_size: int,
        latent_dim: int,
        widths: tuple[int, ...] = (64, 128, 256, 512),
        head_count: int = 4,
        place_channels: int = 0,
        components_side: int = 0,
    ) -> None:
        super().__init__(image_size, latent_dim, components_side)
        if image_size % 32:
            raise ValueError(f"image size is {image_size} px, expected a multiple of 32")
        self.trunk = ResidualTrunk(3, widths)
        self.head_count = head_count
        self.place = nn.Parameter(0.02 * torch.randn((image_size // 32) ** 2, widths[-1]))
        self.norm = nn.LayerNorm(widths[-1])
        self.mix = nn.Linear(widths[-1], 3 * widths[-1])
        self.out = nn.Linear(widths[-1], widths[-1])
        self.summary = MapSummary(widths[-1], (image_size // 32) ** 2, place_channels)
        self.project = nn.Linear(self.summary.size, latent_dim)

    def forward(self, image_BSSC: Tensor, depth_B1SS: Tensor | None = None, proprio_BP: Tensor | None = None) -> Tensor:
        """Return latents [B, D] of uint8 RGB images [B, S, S, 3]; depth and proprioception are not used."""
        value_BCSS = image_BSSC.permute(0, 3, 1, 2).to(self.project.weight.dtype) / 127.5 - 1.0
        map_BXC = self.trunk(value_BCSS).flatten(2).transpose(1, 2)
        batch, places, width = map_BXC.shape
        mixed = self.mix(self.norm(map_BXC + self.place))
        query, key, value = (
            mixed.view(batch, places, 3, self.head_count, width // self.head_count).permute(2, 0, 3, 1, 4).unbind(0)
        )
        gathered = nn.functional.scaled_dot_product_attention(query, key, value)
        map_BXC = map_BXC + self.out(gathered.transpose(1, 2).reshape(batch, places, width))
        result: Tensor = self.project(self.summary(map_BXC))
        if self.components is not None:
            result = result + self.components(image_BSSC)
        return result
