"""NAFNet (Chen, Chu, Zhang, Sun: ECCV 2022, https://arxiv.org/abs/2204.04676)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from baselines.layers import ChannelNorm, DepthWise, PixelLinear, nhwc, pixel_linear, remade
from baselines.network import Network


class NAFNet(Network):
    """A U-shaped convolutional network of gated blocks without activation functions.

    ``forward`` takes and returns (B, 3, H, W) in [0, 1], any H and W: as its authors' does, it pads with zeros at the
    bottom and the right to multiples of 16 and crops back. The input image is added to the output.

    Args:
        width: channels of the first level; doubled at each level below.
        encoder: blocks of each encoder level.
        middle: blocks of the lowest level.
        decoder: blocks of each decoder level, from the lowest.
    """

    output_layer = "ending"
    multiple = 16
    pads = True
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
            nn.Sequential(PixelLinear(width, 2 * width), nn.PixelShuffle(2)) for width in upwards[:-1]
        )
        self.decoders = nn.ModuleList(_level(*level) for level in zip(upwards[1:], decoder, strict=True))

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
        """Restore images in [0, 1]."""
        height, width = image.shape[-2:]
        image = nhwc(F.pad(image, (0, -width % self.multiple, 0, -height % self.multiple)))
        features = self.intro(image)
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            features = encoder(features)
            skips.append(features)
            features = down(features)
        features = self.middle_blks(features)
        for decoder, up, skip in zip(self.decoders, self.ups, reversed(skips), strict=True):
            features = decoder(nhwc(up(features)) + skip)
        return (self.ending(features) + image)[..., :height, :width]


class Block(nn.Module):
    """Two gated branches with learned residual scales that start at 0."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.conv1 = PixelLinear(width, 2 * width, bias=True)
        self.conv2 = DepthWise(2 * width, bias=True)
        self.conv3 = PixelLinear(width, width, bias=True)
        self.sca = nn.Sequential(nn.AdaptiveAvgPool2d(1), PixelLinear(width, width, bias=True))
        self.conv4 = PixelLinear(width, 2 * width, bias=True)
        self.conv5 = PixelLinear(width, width, bias=True)
        self.norm1 = ChannelNorm(width, eps=1e-6)
        self.norm2 = ChannelNorm(width, eps=1e-6)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Add both branches to the features."""
        first, second = self.conv2.on_parts(self.conv1.parts(self.norm1(features), 2))
        inner = first * second
        attention = self.sca(inner)
        one, two, three = first.detach(), second.detach(), attention.detach()
        with remade(inner, lambda: one * two):
            scaled = inner * attention
        with remade(scaled, lambda: one * two * three):
            features = features + _scaled(self.conv3, scaled, self.beta)
        return features + self._gate(*self.conv4.parts(self.norm2(features), 2))

    def _gate(self, first: Float[Tensor, "b c h w"], second: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        inner = first * second
        one, two = first.detach(), second.detach()
        with remade(inner, lambda: one * two):
            return _scaled(self.conv5, inner, self.gamma)


def _scaled(
    convolution: PixelLinear, features: Float[Tensor, "b c h w"], scale: Float[Tensor, "1 out 1 1"]
) -> Float[Tensor, "b out h w"]:
    """The convolution's result times the scale; the weights are scaled instead, so that the result needs not be kept
    for the scale's gradient."""
    assert convolution.bias is not None
    weight = convolution.weight * scale.view(-1, 1, 1, 1)
    return pixel_linear(features, weight, convolution.bias * scale.flatten())


def _level(width: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*(Block(width) for _ in range(blocks)))
