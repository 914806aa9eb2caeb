"""The slow branch's networks: backbone, pooled embedding, and the two predictors of what comes next.

Shape suffixes: B = batch, V = camera views, N = past ticks, F = future ticks, E = embedding size, C = channels,
H and W = rows and columns (of an image or of a feature map), 3 = RGB.
"""

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from world_model.errors import ConfigError

GRANULARITIES = ("pooled", "maps")
COMPRESSIONS = ("full", "projected", "occupancy")
BACKBONES = ("own", "encoder")


@dataclass(frozen=True, kw_only=True)
class WorldActionConfig:
    """Everything that fixes the shape of the slow branch.

    Attributes:
        image_size: Side of the square images [px], a multiple of 16.
        embedding_dim: Values per embedding, E.
        history: Past embeddings, N.
        future: Foreseen embeddings, F.
        tick_s: Time between two of them [s].
        width: Channels of the first layer of the backbone; each stage doubles or nearly doubles them.
        hidden: Width of the predictor.
        granularity: ``pooled`` foresees embeddings, ``maps`` compressed feature maps per view.
        compression: How a feature map becomes a target: ``full | projected | occupancy``.
        projected_channels: Channels after ``projected``.
        stride: Spatial stride of the compression.
        residual: Foresee the change from the newest embedding instead of the embedding.
        backbone: ``own``, or ``encoder``: the convolutions of the artifact's fast encoder under a layer of its own.
        trunk: Channels of those convolutions.
    """

    image_size: int = 64
    embedding_dim: int = 224
    history: int = 4
    future: int = 4
    tick_s: float = 1.0
    width: int = 24
    hidden: int = 144
    granularity: str = "pooled"
    compression: str = "projected"
    projected_channels: int = 32
    stride: int = 1
    residual: bool = False
    backbone: str = "own"
    trunk: tuple[int, ...] = (24, 48, 64, 96)

    def __post_init__(self) -> None:
        """Refuse sizes that no network can have."""
        for name in ("embedding_dim", "history", "future", "width", "hidden", "projected_channels", "stride"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected 1 or more")
        object.__setattr__(self, "trunk", tuple(self.trunk))  # a manifest's lists
        if self.backbone not in BACKBONES:
            raise ConfigError(f"backbone is {self.backbone!r}, expected one of {BACKBONES}")
        if self.image_size < 16 or self.image_size % 16:
            raise ConfigError(f"image_size is {self.image_size}, expected a multiple of 16")
        if not self.tick_s > 0.0:
            raise ConfigError(f"tick_s is {self.tick_s}, expected a positive time")
        if self.granularity not in GRANULARITIES:
            raise ConfigError(f"granularity is {self.granularity!r}, expected one of {GRANULARITIES}")
        if self.compression not in COMPRESSIONS:
            raise ConfigError(f"compression is {self.compression!r}, expected one of {COMPRESSIONS}")

    @property
    def map_size(self) -> int:
        """Side of the backbone's feature map."""
        return self.image_size // 16

    def to_dict(self) -> dict[str, Any]:
        """Return the entries as plain values."""
        return asdict(self)


class Backbone(nn.Module):
    """Images to feature maps, one sixteenth of their side: [B, 3, H, W] -> [B, E, H/16, W/16].

    Two coordinate channels go in, because pooling over space would otherwise lose where things are.
    """

    coordinates: Tensor

    def __init__(self, config: WorldActionConfig) -> None:
        super().__init__()
        width = config.width
        sizes = [5, width, 2 * width, 4 * width, 5 * width]
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(8, after), nn.SiLU()]
        layers.append(nn.Conv2d(sizes[-1], config.embedding_dim, 1))
        self.layers = nn.Sequential(*layers)
        axis = torch.linspace(-1.0, 1.0, config.image_size)
        grid_2HW = torch.stack(torch.meshgrid(axis, axis, indexing="ij"))
        self.register_buffer("coordinates", grid_2HW)

    def forward(self, image_B3HW: Tensor) -> Tensor:
        """Return feature maps of images with values in -1..1."""
        coordinates = self.coordinates.unsqueeze(0).expand(image_B3HW.shape[0], -1, -1, -1)
        result: Tensor = self.layers(torch.cat([image_B3HW, coordinates], 1))
        return result


class SharedBackbone(nn.Module):
    """The fast encoder's convolutions under one layer of its own: [B, 3, H, W] -> [B, E, H/16, W/16]."""

    def __init__(self, config: WorldActionConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after, kernel in zip((3, *config.trunk[:-1]), config.trunk, (5, 3, 3, 3)):
            layers += [nn.Conv2d(before, after, kernel, stride=2, padding=kernel // 2), nn.SiLU()]
        self.net = nn.Sequential(*layers)
        self.leave = nn.Conv2d(config.trunk[-1], config.embedding_dim, 1)

    def forward(self, image_B3HW: Tensor) -> Tensor:
        """Return feature maps of images with values in -1..1; the fast encoder takes -0.5..0.5."""
        result: Tensor = self.leave(self.net(0.5 * image_B3HW))
        return result


def share_trunk(encoder: nn.Module, fast_encoder: nn.Module, trainable: bool = False) -> None:
    """Copy the fast encoder's convolutions into a slow encoder whose backbone is ``encoder``.

    Args:
        encoder: A ``WorldActionEncoder``.
        fast_encoder: The artifact's encoder.
        trainable: Let the slow branch's losses into the copy.

    Raises:
        ConfigError: The fast encoder has no such convolutions.
    """
    theirs = {
        name.removeprefix("net."): value for name, value in fast_encoder.state_dict().items() if name[:4] == "net."
    }
    trunk = encoder.get_submodule("backbone.net")
    shapes = {name: value.shape for name, value in theirs.items()}
    if shapes != {name: value.shape for name, value in trunk.state_dict().items()}:
        raise ConfigError(
            "the artifact's encoder has no convolutions as 'trunk' says, so the backbone cannot share them"
        )
    trunk.load_state_dict(theirs)
    trunk.requires_grad_(trainable)


def normalise(image_BVHWC: Tensor) -> Tensor:
    """Return uint8 images [B, V, H, W, 3] as float [B * V, 3, H, W] in -1..1."""
    flat = image_BVHWC.flatten(0, 1).permute(0, 3, 1, 2)
    return flat.to(torch.float32) / 127.5 - 1.0


def pool_views(map_BVEHW: Tensor, valid_BV: Tensor) -> Tensor:
    """Return the mean over space and over the valid views, [B, E]; zeros where no view is valid."""
    weight_BV = valid_BV.to(map_BVEHW.dtype)
    pooled_BVE = map_BVEHW.mean([3, 4]) * weight_BV.unsqueeze(2)
    return pooled_BVE.sum(1) / weight_BV.sum(1, keepdim=True).clamp(min=1.0)


class WorldActionEncoder(nn.Module):
    """Views of one tick to one standardised embedding.

    ``mean`` and ``scale`` [E] are measured on the training set once the backbone is trained; until then they change
    nothing.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, config: WorldActionConfig) -> None:
        super().__init__()
        self.backbone = Backbone(config) if config.backbone == "own" else SharedBackbone(config)
        self.register_buffer("mean", torch.zeros(config.embedding_dim))
        self.register_buffer("scale", torch.ones(config.embedding_dim))

    def maps(self, image_BVHWC: Tensor) -> Tensor:
        """Return standardised feature maps per view, [B, V, E, h, w]; their mean over space is the embedding."""
        map_BEHW = self.backbone(normalise(image_BVHWC))
        map_BEHW = (map_BEHW - self.mean[:, None, None]) / self.scale[:, None, None]
        result: Tensor = map_BEHW.unflatten(0, (image_BVHWC.shape[0], image_BVHWC.shape[1]))
        return result

    def forward(self, image_BVHWC: Tensor, valid_BV: Tensor) -> Tensor:
        """Return embeddings [B, E] of uint8 images [B, V, H, W, 3]; views that are not valid do not count."""
        return pool_views(self.maps(image_BVHWC), valid_BV)


def real_ticks(count_B: Tensor, history: int) -> Tensor:
    """Return which of the N left-padded past ticks are real, bool [B, N]."""
    position_N = torch.arange(history, device=count_B.device)
    return position_N.unsqueeze(0) >= history - count_B.unsqueeze(1)


class ResidualBlock(nn.Module):
    """``x + f(norm(x))`` with one hidden layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, x_BD: Tensor) -> Tensor:
        """Return the input plus what the layers make of it."""
        result: Tensor = x_BD + self.layers(x_BD)
        return result


class EmbeddingPredictor(nn.Module):
    """The next F embeddings from the last N, of which the newest ``count`` are real."""

    def __init__(self, config: WorldActionConfig) -> None:
        super().__init__()
        self.history, self.future, self.residual = config.history, config.future, config.residual
        self.embedding_dim = config.embedding_dim
        narrow = max(config.hidden // 3, 1)
        self.enter = nn.Linear(config.embedding_dim, narrow)
        self.mix = nn.Linear(config.history * (narrow + 1), config.hidden)
        self.blocks = nn.Sequential(ResidualBlock(config.hidden), ResidualBlock(config.hidden))
        self.spread = nn.Linear(config.hidden, config.future * narrow)
        self.leave = nn.Linear(narrow, config.embedding_dim)

    def forward(self, history_BNE: Tensor, count_B: Tensor) -> Tensor:
        """Return the foreseen embeddings [B, F, E], next first; padding may hold anything."""
        real_BN1 = real_ticks(count_B, self.history).unsqueeze(2).to(history_BNE.dtype)
        history_BNE = history_BNE * real_BN1
        entered_BND = torch.cat([torch.nn.functional.silu(self.enter(history_BNE)) * real_BN1, real_BN1], 2)
        state_BD = self.blocks(self.mix(entered_BND.flatten(1)))
        spread_BFD = torch.nn.functional.silu(self.spread(state_BD)).unflatten(1, (self.future, -1))
        foreseen_BFE = self.leave(spread_BFD)
        if self.residual:
            foreseen_BFE = foreseen_BFE + history_BNE[:, -1:]
        result: Tensor = foreseen_BFE
        return result


class MapPredictor(nn.Module):
    """The next F feature maps of each view from its last N: [B, N, C, h, w] -> [B, F, C, h, w]."""

    def __init__(self, config: WorldActionConfig, channels: int) -> None:
        super().__init__()
        self.history, self.future, self.residual = config.history, config.future, config.residual
        width = max(config.hidden // 2, 1)
        self.enter = nn.Conv2d(config.history * (channels + 1), width, 3, padding=1)
        layers = [nn.SiLU(), nn.Conv2d(width, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)]
        self.inner = nn.Sequential(*layers, nn.SiLU())
        self.leave = nn.Conv2d(width, config.future * channels, 1)

    def forward(self, history_BNCHW: Tensor, count_B: Tensor) -> Tensor:
        """Return the foreseen maps [B, F, C, h, w], next first; padding may hold anything."""
        batch, _, _, rows, columns = history_BNCHW.shape
        real_BN111 = real_ticks(count_B, self.history)[:, :, None, None, None].to(history_BNCHW.dtype)
        history_BNCHW = history_BNCHW * real_BN111
        marks = real_BN111.expand(-1, -1, -1, rows, columns)
        entered = self.enter(torch.cat([history_BNCHW, marks], 2).flatten(1, 2))
        foreseen = self.leave(entered + self.inner(entered)).reshape(batch, self.future, -1, rows, columns)
        if self.residual:
            foreseen = foreseen + history_BNCHW[:, -1:]
        result: Tensor = foreseen
        return result


class ServedWorldAction(nn.Module):
    """What ``world_action.pt`` holds: ``embed`` and ``foresee``, nothing that only training needs."""

    def __init__(self, encoder: WorldActionEncoder, predictor: EmbeddingPredictor) -> None:
        super().__init__()
        self.encoder = encoder
        self.predictor = predictor

    def forward(self, image_BVHWC: Tensor, valid_BV: Tensor) -> Tensor:
        """Return ``embed`` of the same arguments."""
        return self.embed(image_BVHWC, valid_BV)

    @torch.jit.export
    def embed(self, image_BVHWC: Tensor, valid_BV: Tensor) -> Tensor:
        """Return embeddings [B, E] of uint8 images [B, V, H, W, 3]; bool [B, V] says which views count."""
        result: Tensor = self.encoder(image_BVHWC, valid_BV)
        return result

    @torch.jit.export
    def foresee(self, history_BNE: Tensor, count_B: Tensor) -> Tensor:
        """Return the next F embeddings [B, F, E] after a left-padded history with ``count_B`` real entries."""
        result: Tensor = self.predictor(history_BNE, count_B)
        return result


def untrained(config: WorldActionConfig, seed: int = 0) -> ServedWorldAction:
    """Return an untrained slow branch, the same one for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ServedWorldAction(WorldActionEncoder(config), EmbeddingPredictor(config)).eval()
