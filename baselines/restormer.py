"""Restormer (Zamir, Arora, Khan, Hayat, Khan, Yang: CVPR 2022, https://arxiv.org/abs/2111.09881).

Its transformer block and its parts serve other networks too.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from baselines.layers import ChannelNorm, DepthWise, PixelLinear, nhwc, remade
from baselines.network import Network


class Backbone(Network):
    """A U-shaped transformer with attention between channels: what Restormer, PromptIR and AdaIR share.

    ``forward`` takes and returns (B, 3, H, W) in [0, 1], sides multiples of 8. The input image is added to the output.

    Args:
        width: channels of the first level; doubled at each of the three below.
        blocks: transformer blocks of the four levels.
        refinement: transformer blocks after the last decoder level.
        heads: attention heads of the four levels.
        expansion: hidden width of the feed-forward layers, relative to their input's.
    """

    multiple = 8
    local = False  # attention between channels sums over the whole image

    def __init__(
        self,
        width: int = 48,
        blocks: Sequence[int] = (4, 6, 6, 8),
        refinement: int = 4,
        heads: Sequence[int] = (1, 2, 4, 8),
        expansion: float = 2.66,
    ):
        super().__init__()
        widths = [width * 2**level for level in range(4)]

        def level(channels: int, index: int, count: int) -> nn.Sequential:
            return nn.Sequential(*(Block(channels, heads[index], expansion) for _ in range(count)))

        self.patch_embed = PatchEmbedding(width)
        self.encoder_level1 = level(widths[0], 0, blocks[0])
        self.down1_2 = Downsample(widths[0])
        self.encoder_level2 = level(widths[1], 1, blocks[1])
        self.down2_3 = Downsample(widths[1])
        self.encoder_level3 = level(widths[2], 2, blocks[2])
        self.down3_4 = Downsample(widths[2])
        self.latent = level(widths[3], 3, blocks[3])
        self.up4_3 = Upsample(widths[3])
        self.reduce_chan_level3 = PixelLinear(widths[3], widths[2])
        self.decoder_level3 = level(widths[2], 2, blocks[2])
        self.up3_2 = Upsample(widths[2])
        self.reduce_chan_level2 = PixelLinear(widths[2], widths[1])
        self.decoder_level2 = level(widths[1], 1, blocks[1])
        self.up2_1 = Upsample(widths[1])
        self.decoder_level1 = level(widths[1], 0, blocks[0])  # at twice the first width: nothing is reduced here
        self.refinement = level(widths[1], 0, refinement)
        self.output = nn.Conv2d(widths[1], 3, 3, padding=1, bias=False)

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
        """Restore images in [0, 1]."""
        image = nhwc(image)
        first = self.encoder_level1(self.patch_embed(image))
        second = self.encoder_level2(self.down1_2(first))
        third = self.encoder_level3(self.down2_3(second))
        features = self.guide(3, self.latent(self.down3_4(third)), image)
        features = self.reduce_chan_level3(torch.cat((self.up4_3(features), third), 1))
        features = self.guide(2, self.decoder_level3(features), image)
        features = self.reduce_chan_level2(torch.cat((self.up3_2(features), second), 1))
        features = self.guide(1, self.decoder_level2(features), image)
        features = self.decoder_level1(torch.cat((self.up2_1(features), first), 1))
        return self.output(self.refinement(features)) + image

    def guide(
        self, step: int, features: Float[Tensor, "b c h w"], image: Float[Tensor, "b 3 height width"]
    ) -> Float[Tensor, "b out h w"]:
        """What a network built on this one does on the way up, after the latent (3), decoder level 3 (2) and 2 (1)."""
        return features


class Restormer(Backbone):
    """The backbone itself."""

    output_layer = "output"


class PatchEmbedding(nn.Module):
    """A 3x3 convolution from the image."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, 3, padding=1, bias=False)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h w"]:
        """Features of every pixel."""
        return self.proj(image)


class Downsample(nn.Module):
    """Half the size, twice the channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(width, width // 2, 3, padding=1, bias=False), nn.PixelUnshuffle(2))

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 2*c h//2 w//2"]:
        """Halve height and width."""
        return nhwc(self.body(features))  # shuffling leaves NHWC memory


class Upsample(nn.Module):
    """Twice the size, half the channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(width, width * 2, 3, padding=1, bias=False), nn.PixelShuffle(2))

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c//2 2*h 2*w"]:
        """Double height and width."""
        return nhwc(self.body(features))  # shuffling leaves NHWC memory


class Block(nn.Module):
    """Pre-norm channel attention and gated feed-forward."""

    def __init__(self, width: int, heads: int, expansion: float) -> None:
        super().__init__()
        self.norm1 = Norm(width)
        self.attn = ChannelAttention(width, heads)
        self.norm2 = Norm(width)
        self.ffn = GatedFeedForward(width, int(width * expansion))

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Add attention and feed-forward to the features."""
        features = features + self.attn(self.norm1(features))
        return features + self.ffn(self.norm2(features))


class Norm(nn.Module):
    """Holds a LayerNorm over channels under the published name."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = ChannelNorm(width)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Normalise the channels of every pixel."""
        return self.body(features)


class ChannelAttention(nn.Module):
    """Attention between channels ("multi-Dconv head transposed attention")."""

    def __init__(self, width: int, heads: int, bias: bool = False) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = PixelLinear(width, 3 * width, bias)
        self.qkv_dwconv = DepthWise(3 * width, bias)
        self.project_out = PixelLinear(width, width, bias)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Let the channels attend to each other."""
        queries, keys, values = self.qkv_dwconv.on_parts(self.qkv.parts(features, 3))
        return self.project_out(attend(queries, keys, values, self.temperature))


class GatedFeedForward(nn.Module):
    """Two paths with depth-wise 3x3 convolutions, one gating the other ("gated-Dconv feed-forward network")."""

    def __init__(self, width: int, hidden: int, bias: bool = False) -> None:
        super().__init__()
        self.project_in = PixelLinear(width, 2 * hidden, bias)
        self.dwconv = DepthWise(2 * hidden, bias)
        self.project_out = PixelLinear(hidden, width, bias)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Mix the channels of every pixel with those of its neighbours."""
        gate, value = self.dwconv.on_parts(self.project_in.parts(features, 2))
        active = F.gelu(gate)
        kept, factor = gate.detach(), value.detach()
        with remade(active, lambda: F.gelu(kept)):
            inner = active * value
        with remade(inner, lambda: F.gelu(kept) * factor):
            return self.project_out(inner)


def attend(
    queries: Float[Tensor, "b c h w"],
    keys: Float[Tensor, "b c h w"],
    values: Float[Tensor, "b c h w"],
    temperature: Float[Tensor, "heads 1 1"],
) -> Float[Tensor, "b c h w"]:
    """Attention whose tokens are channels and whose features are the pixels.

    Queries and keys are normalised over the pixels and their products multiplied by a learned temperature per head,
    where usual attention divides by the square root of the width. Here the small (channels x channels) products are
    divided by the norms instead of the maps: the same, in less than half the time.
    """
    heads, size = len(temperature), queries.shape[-2:]
    queries, keys, values = (_pixels(tensor, heads) for tensor in (queries, keys, values))
    # 1e-24 is the square of the smallest norm that the published normalisation divides by.
    query_norms, key_norms = (tensor.square().sum(2).clamp_min(1e-24).rsqrt() for tensor in (queries, keys))
    products = queries.transpose(2, 3) @ keys
    weights = (products * (temperature * query_norms.unsqueeze(3) * key_norms.unsqueeze(2))).softmax(dim=-1)
    attended = values @ weights.transpose(2, 3)
    return attended.transpose(1, 2).flatten(2).unflatten(1, size).permute(0, 3, 1, 2)


def _pixels(features: Float[Tensor, "b c h w"], heads: int) -> Float[Tensor, "b heads h*w c//{heads}"]:
    """The pixels' channels, split among the heads."""
    return features.permute(0, 2, 3, 1).flatten(1, 2).unflatten(2, (heads, -1)).transpose(1, 2)
