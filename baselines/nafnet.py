"""NAFNet (Chen, Chu, Zhang, Sun: ECCV 2022, https://arxiv.org/abs/2204.04676)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .network import Network


class NAFNet(Network):
    """A U-shaped convolutional network of gated blocks without activation functions.

    `forward` takes and returns (B, 3, H, W) in [0, 1], sides multiples of 16. The input image is added to the output.

    Args:
        width: channels of the first level; doubled at each level below.
        encoder: blocks of each encoder level.
        middle: blocks of the lowest level.
        decoder: blocks of each decoder level, from the lowest.
    """

    multiple = 16
    local = False  # channel attention averages over the whole image

    def __init__(
        self,
        width: int = 32,
        encoder: Sequence[int] = (2, 2, 4, 8),
        middle: int = 12,
        decoder: Sequence[int] = (2, 2, 2, 2),
    ):
        super().__init__()
        widths = [width * 2**level for level in range(len(encoder) + 1)]
        self.multiple = 2 ** len(encoder)
        self.intro = nn.Conv2d(3, width, 3, padding=1)
        self.ending = nn.Conv2d(width, 3, 3, padding=1)
        self.encoders = nn.ModuleList(_level(*level) for level in zip(widths, encoder, strict=False))
        self.downs = nn.ModuleList(nn.Conv2d(width, 2 * width, 2, 2) for width in widths[:-1])
        self.middle_blks = _level(widths[-1], middle)
        upwards = widths[::-1]
        self.ups = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, 2 * width, 1, bias=False), nn.PixelShuffle(2)) for width in upwards[:-1]
        )
        self.decoders = nn.ModuleList(_level(*level) for level in zip(upwards[1:], decoder, strict=True))

    def forward(self, image: Tensor) -> Tensor:
        """Restore (B, 3, H, W) in [0, 1]."""
        image = image.contiguous(memory_format=torch.channels_last)
        features = self.intro(image)
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            features = encoder(features)
            skips.append(features)
            features = down(features)
        features = self.middle_blks(features)
        for decoder, up, skip in zip(self.decoders, self.ups, reversed(skips), strict=True):
            features = decoder(up[1](pixel_linear(up[0], features)) + skip)
        return self.ending(features) + image


class Block(nn.Module):
    """Two gated branches with learned residual scales that start at 0."""

    def __init__(self, width):
        super().__init__()
        self.beta = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.conv1 = nn.Conv2d(width, 2 * width, 1)
        self.conv2 = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width)
        self.conv3 = nn.Conv2d(width, width, 1)
        self.sca = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, width, 1))
        self.conv4 = nn.Conv2d(width, 2 * width, 1)
        self.conv5 = nn.Conv2d(width, width, 1)
        self.norm1 = Norm(width, eps=1e-6)
        self.norm2 = Norm(width, eps=1e-6)

    def forward(self, features: Tensor) -> Tensor:
        inner = _gate(self.conv2(pixel_linear(self.conv1, self.norm1(features))))
        inner = pixel_linear(self.conv3, inner * self.sca(inner))
        features = features + inner * self.beta
        inner = pixel_linear(self.conv5, _gate(pixel_linear(self.conv4, self.norm2(features))))
        return features + inner * self.gamma


class Norm(nn.LayerNorm):
    """LayerNorm over the channels of a map."""

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def pixel_linear(convolution: nn.Conv2d, features: Tensor) -> Tensor:
    """Apply a 1x1 convolution as a matrix product on NHWC pixels: faster on one CPU thread."""
    pixels = F.linear(features.permute(0, 2, 3, 1), convolution.weight.flatten(1), convolution.bias)
    return pixels.permute(0, 3, 1, 2)


def _gate(features: Tensor) -> Tensor:
    """The product of both halves of the channels."""
    first, second = features.chunk(2, dim=1)
    return first * second


def _level(width: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*(Block(width) for _ in range(blocks)))
