"""Decoders: latents in, pictures out.

Shape suffixes: B = batch, S = image side, C = channels, D = latent size.
"""

import math

import torch
from torch import Tensor, nn

from world_model.models.encoders import LinearDecoder


def to_pixels(value_B3SS: Tensor) -> Tensor:
    """Return uint8 RGB images [B, S, S, 3] of values in -1..1."""
    return ((value_B3SS.clamp(-1.0, 1.0) + 1.0) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)


class CoarseAndFine(nn.Module):
    """A decoder whose network can be added to a small picture that is linear in the latent, enlarged.

    What is coarse need not be learned then, and nothing but what cannot be seen at that size is left to the network.

    Args:
        image_size: Side of the picture [px].
        latent_dim: D.
        components_side: Side of the small picture [px]; 0: none, and the network ends in a tanh.
    """

    def __init__(self, image_size: int, latent_dim: int, components_side: int) -> None:
        super().__init__()
        self.coarse: LinearDecoder | None = None
        if components_side:
            self.coarse = LinearDecoder(image_size, latent_dim, components_side).requires_grad_(False)

    def ends(self, width: int) -> list[nn.Module]:
        """Return the network's last layers, from a map of so many channels to a picture."""
        return [nn.Conv2d(width, 3, 3, 1, 1), nn.Identity() if self.coarse is not None else nn.Tanh()]

    @torch.no_grad()
    def begin_at(self, image_NSSC: Tensor, latent_ND: Tensor) -> None:
        """Give the small pictures that latents stand for, and nothing else yet: the network learns what they lack.

        Raises:
            ValueError: It has no small picture.
        """
        if self.coarse is None:
            raise ValueError("a decoder without a small picture cannot begin at it")
        self.coarse.fit(image_NSSC, latent_ND)
        for value in list(self.get_submodule("net").children())[-2].parameters():
            value.zero_()

    def both(self, fine_B3SS: Tensor, latent_BD: Tensor) -> Tensor:
        """Return pictures in -1..1, [B, 3, S, S], of what the network says and of the small picture if there is one."""
        if self.coarse is not None:
            return fine_B3SS + (2.0 * self.coarse.pixels(latent_BD) - 1.0)
        return fine_B3SS


class TransposedDecoder(CoarseAndFine):
    """Transposed convolutions from a 4x4 map up.

    Args:
        image_size: Side of the picture [px]: 4 times a power of two.
        latent_dim: D.
        width: Channels of the first map, halved at each doubling.
        components_side: As for ``CoarseAndFine``.
    """

    def __init__(self, image_size: int, latent_dim: int, width: int = 128, components_side: int = 0) -> None:
        super().__init__(image_size, latent_dim, components_side)
        doublings = round(math.log2(image_size / 4))
        if 4 * 2**doublings != image_size:
            raise ValueError(f"image size is {image_size} px, expected 4 times a power of two")
        self.width = width
        self.expand = nn.Linear(latent_dim, width * 16)
        layers: list[nn.Module] = []
        for index in range(doublings):
            before, after = max(width >> index, 16), max(width >> (index + 1), 16)
            layers += [nn.SiLU(), nn.ConvTranspose2d(before, after, 4, 2, 1)]
        self.net = nn.Sequential(*layers, nn.SiLU(), *self.ends(max(width >> doublings, 16)))

    @torch.jit.export
    def render(self, latent_BD: Tensor) -> Tensor:
        """Return pictures in -1..1, [B, 3, S, S]; what training compares."""
        fine_B3SS: Tensor = self.net(self.expand(latent_BD).view(-1, self.width, 4, 4))
        return self.both(fine_B3SS, latent_BD)

    def forward(self, latent_BD: Tensor) -> Tensor:
        """Return uint8 RGB images [B, S, S, 3]."""
        return to_pixels(self.render(latent_BD))


class PixelShuffleDecoder(CoarseAndFine):
    """Sub-pixel convolutions from a 16x16 map to 256x256.

    The latent is expanded to 32 channels of 16x16 and widened by a convolution: a direct layer to 512 channels alone
    would have 33 million weights.

    Source: Shi et al. 2016, sub-pixel convolution.
    """

    def __init__(self, image_size: int, latent_dim: int, width: int = 512, components_side: int = 0) -> None:
        super().__init__(image_size, latent_dim, components_side)
        doublings = round(math.log2(image_size / 16))
        if doublings < 1 or 16 * 2**doublings != image_size:
            raise ValueError(f"image size is {image_size} px, expected 16 times a power of two, at least 32")
        self.expand = nn.Linear(latent_dim, 32 * 16 * 16)
        layers: list[nn.Module] = [nn.Conv2d(32, width, 3, 1, 1), nn.SiLU()]
        for index in range(doublings):
            before, after = max(width >> index, 32), max(width >> (index + 1), 32)
            layers += [nn.Conv2d(before, 4 * after, 3, 1, 1), nn.PixelShuffle(2), nn.SiLU()]
        self.net = nn.Sequential(*layers, *self.ends(max(width >> doublings, 32)))
        self.side = components_side

    @torch.no_grad()
    def begin_at(self, image_NSSC: Tensor, latent_ND: Tensor) -> None:
        """As ``CoarseAndFine``; the network's map begins with the small picture, too."""
        super().begin_at(image_NSSC, latent_ND)
        assert self.coarse is not None
        self._show(self.coarse.expand)

    def _show(self, coarse: nn.Linear) -> None:
        """Let the network's map begin with the small picture, so that it sees what is where and adds what is fine."""
        fold = self.side // 16
        channels = 3 * fold**2
        if self.side % 16 or channels > 32:
            return
        for wide, small in ((self.expand.weight, coarse.weight), (self.expand.bias[:, None], coarse.bias[:, None])):
            folded = small.view(3, 16, fold, 16, fold, -1).permute(0, 2, 4, 1, 3, 5)
            wide.view(32, 256, -1)[:channels] = folded.reshape(channels, 256, -1)

    @torch.jit.export
    def render(self, latent_BD: Tensor) -> Tensor:
        """Return pictures in -1..1, [B, 3, S, S]; what training compares."""
        fine_B3SS: Tensor = self.net(self.expand(latent_BD).view(-1, 32, 16, 16))
        return self.both(fine_B3SS, latent_BD)

    def forward(self, latent_BD: Tensor) -> Tensor:
        """Return uint8 RGB images [B, S, S, 3]."""
        return to_pixels(self.render(latent_BD))
