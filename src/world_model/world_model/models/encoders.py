"""Encoders: images in, latents out. Normalisation happens inside, so training and serving cannot differ.

Shape suffixes: B = batch, H, W = image sides, C = channels, D = latent size, X = flattened pixels.
"""

import torch
from torch import Tensor, nn


class LinearEncoder(nn.Module):
    """Principal components of the area-averaged image, each scaled to unit variance over the training set.

    Args:
        image_size: Side of the square input [px].
        latent_dim: Components kept.
        pooled_size: Side the image is averaged down to first.
    """

    def __init__(self, image_size: int, latent_dim: int, pooled_size: int = 32) -> None:
        super().__init__()
        pooled_size = min(pooled_size, image_size)
        self.pool = image_size // pooled_size
        self.project = nn.Linear(3 * pooled_size * pooled_size, latent_dim)

    def forward(self, image_BHWC: Tensor, depth_B1HW: Tensor | None = None, proprio_BP: Tensor | None = None) -> Tensor:
        """Return latents [B, D] of uint8 RGB images [B, S, S, 3]; depth and proprioception are not used."""
        pixel_BCHW = image_BHWC.permute(0, 3, 1, 2).to(self.project.weight.dtype) / 255.0
        result: Tensor = self.project(nn.functional.avg_pool2d(pixel_BCHW, self.pool).flatten(1))
        return result

    @torch.no_grad()
    def fit(self, image_NHWC: Tensor) -> None:
        """Set the weights to the principal components of these images.

        Raises:
            ValueError: Fewer images than components.
        """
        components = self.project.out_features
        if image_NHWC.size(0) <= components:
            raise ValueError(f"{image_NHWC.size(0)} images cannot span {components} components")
        rows = [
            nn.functional.avg_pool2d(b.permute(0, 3, 1, 2).float() / 255.0, self.pool).flatten(1)
            for b in image_NHWC.split(512)
        ]
        pixel_NX = torch.cat(rows)
        mean_X = pixel_NX.mean(dim=0)
        centred_NX = pixel_NX - mean_X
        covariance_XX = centred_NX.T @ centred_NX / (len(pixel_NX) - 1)
        value_X, vector_XX = torch.linalg.eigh(covariance_XX)
        value_D = value_X[-components:].flip(0).clamp(min=1e-8)
        vector_XD = vector_XX[:, -components:].flip(1)
        # The sign of a component is arbitrary; fix it, so that the same images give the same weights.
        vector_XD = vector_XD * torch.sign(vector_XD.gather(0, vector_XD.abs().argmax(dim=0, keepdim=True)))
        weight_DX = (vector_XD / value_D.sqrt()).T
        self.project.weight.copy_(weight_DX)
        self.project.bias.copy_(-weight_DX @ mean_X)


class ConvEncoder(nn.Module):
    """Four strided convolutions beside the principal components; whitened by a batch norm that export folds in.

    Args:
        image_size: Side of the square input [px], a multiple of 16.
        latent_dim: D.
        channels: Channels of the four convolutions.
    """

    def __init__(self, image_size: int, latent_dim: int, channels: tuple[int, ...] = (24, 48, 64, 96)) -> None:
        super().__init__()
        if image_size % 16:
            raise ValueError(f"image size is {image_size} px, expected a multiple of 16")
        self.components = LinearEncoder(image_size, latent_dim, pooled_size=16)
        kernels = (5, 3, 3, 3)
        layers: list[nn.Module] = []
        for before, after, kernel in zip((3, *channels[:-1]), channels, kernels):
            layers += [nn.Conv2d(before, after, kernel, stride=2, padding=kernel // 2), nn.SiLU()]
        self.net = nn.Sequential(*layers)
        self.head = nn.Linear(channels[-1] * (image_size // 16) ** 2, latent_dim)
        self.skip = nn.Linear(latent_dim, latent_dim, bias=False)
        self.whiten = nn.BatchNorm1d(latent_dim, affine=False)

    def forward(self, image_BHWC: Tensor, depth_B1HW: Tensor | None = None, proprio_BP: Tensor | None = None) -> Tensor:
        """Return latents [B, D] of uint8 RGB images [B, S, S, 3]; depth and proprioception are not used."""
        pixel_BCHW = image_BHWC.permute(0, 3, 1, 2).to(self.head.weight.dtype) / 255.0 - 0.5
        seen_BD = self.head(self.net(pixel_BCHW).flatten(1))
        result: Tensor = self.whiten(seen_BD + self.skip(self.components(image_BHWC)))
        return result


class LinearDecoder(nn.Module):
    """The picture that a latent stands for, by one linear map and bilinear enlargement."""

    def __init__(self, image_size: int, latent_dim: int, pooled_size: int = 16) -> None:
        super().__init__()
        pooled_size = min(pooled_size, image_size)
        self.image_size = image_size
        self.pooled_size = pooled_size
        self.expand = nn.Linear(latent_dim, 3 * pooled_size * pooled_size)

    @torch.jit.export
    def pixels(self, latent_BD: Tensor) -> Tensor:
        """Return pictures in 0..1 and, where a latent leads beyond, outside of that, [B, 3, S, S]."""
        pixel_BCHW = self.expand(latent_BD).view(-1, 3, self.pooled_size, self.pooled_size)
        size = [self.image_size, self.image_size]
        # The operator itself: ``nn.functional.interpolate`` puts its own source into the file, which other releases of
        # torch cannot read.
        result: Tensor = torch.ops.aten.upsample_bilinear2d(pixel_BCHW, size, False)
        return result

    def forward(self, latent_BD: Tensor) -> Tensor:
        """Return uint8 RGB images [B, S, S, 3]."""
        pixel_BCHW = self.pixels(latent_BD)
        result: Tensor = (pixel_BCHW.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).permute(0, 2, 3, 1)
        return result

    @torch.no_grad()
    def fit(self, image_NHWC: Tensor, latent_ND: Tensor) -> None:
        """Set the weights to the least-squares fit of these images from their latents."""
        size = self.pooled_size
        rows = [
            nn.functional.avg_pool2d(b.permute(0, 3, 1, 2).float() / 255.0, self.image_size // size).flatten(1)
            for b in image_NHWC.split(512)
        ]
        design_ND = torch.cat([latent_ND, torch.ones(len(latent_ND), 1)], dim=1).double()
        gram_DD = design_ND.T @ design_ND + 1e-4 * len(design_ND) * torch.eye(design_ND.size(1), dtype=torch.float64)
        weight_DX = torch.linalg.solve(gram_DD, design_ND.T @ torch.cat(rows).double())
        self.expand.weight.copy_(weight_DX[:-1].T)
        self.expand.bias.copy_(weight_DX[-1])
