"""Histoformer (Sun, Ren, Gao, Wang, Cao: ECCV 2024, https://arxiv.org/abs/2407.10172)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from baselines.layers import ChannelNorm, DepthWise, PixelLinear, nhwc, remade
from baselines.losses import decorrelation
from baselines.network import Network
from baselines.restormer import Downsample, PatchEmbedding, Upsample


class Histoformer(Network):
    """A U-shaped transformer whose attention is between bins of pixels that are sorted by value.

    ``forward`` takes and returns (B, 3, H, W) in [0, 1], sides multiples of 8. The input image is added to the output.

    Sorting makes it discontinuous: where two values of a channel are nearly equal, a change in the last bit swaps them,
    and through many layers that can change the whole output. So two devices, precisions or batch sizes agree only
    roughly, and closely in float64 alone. Equal values keep the order of their places, which the authors' program
    leaves to the device.

    Args:
        width: channels of the first level; doubled at each of the three below.
        blocks: transformer blocks of the four levels.
        refinement: transformer blocks after the last decoder level.
        heads: attention heads, and bins, of the four levels.
        expansion: hidden width of the feed-forward layers, relative to their input's; at every level a multiple of 4.
    """

    multiple = 8
    local = False  # it sorts the pixels of the whole image
    continuous = False
    output_layer = "output"

    def __init__(
        self,
        width: int = 36,
        blocks: Sequence[int] = (4, 4, 6, 8),
        refinement: int = 4,
        heads: Sequence[int] = (1, 2, 4, 8),
        expansion: float = 2.667,
    ):
        super().__init__()
        widths = [width * 2**level for level in range(4)]

        def level(channels: int, index: int, count: int) -> nn.Sequential:
            return nn.Sequential(*(_Block(channels, heads[index], expansion) for _ in range(count)))

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
        self.skip_patch_embed1, self.skip_patch_embed2, self.skip_patch_embed3 = (_Halved() for _ in range(3))
        # With an underscore, unlike the decoder's: widths of the three levels below, with the image's three channels.
        self.reduce_chan_level_1 = PixelLinear(widths[1] + 3, widths[1])
        self.reduce_chan_level_2 = PixelLinear(widths[2] + 3, widths[2])
        self.reduce_chan_level_3 = PixelLinear(widths[3] + 3, widths[3])
        self.output = nn.Conv2d(widths[1], 3, 3, padding=1, bias=False)

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
        """Restore images in [0, 1]."""
        image = nhwc(image)
        small = self.skip_patch_embed1(image)
        smaller = self.skip_patch_embed2(small)
        smallest = self.skip_patch_embed3(smaller)
        first = self.encoder_level1(self.patch_embed(image))
        features = self.reduce_chan_level_1(torch.cat((self.down1_2(first), small), 1))
        second = self.encoder_level2(features)
        features = self.reduce_chan_level_2(torch.cat((self.down2_3(second), smaller), 1))
        third = self.encoder_level3(features)
        features = self.latent(self.reduce_chan_level_3(torch.cat((self.down3_4(third), smallest), 1)))
        features = self.reduce_chan_level3(torch.cat((self.up4_3(features), third), 1))
        features = self.reduce_chan_level2(torch.cat((self.up3_2(self.decoder_level3(features)), second), 1))
        features = self.decoder_level1(torch.cat((self.up2_1(self.decoder_level2(features)), first), 1))
        return self.output(self.refinement(features)) + image

    def sample_loss(
        self, restored: Float[Tensor, "batch 3 height width"], clean: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, " batch"]:
        """Half of what the correlation of each image's values with the clean ones lacks to 1."""
        return decorrelation(restored, clean)


class _Halved(nn.Module):
    """An image of three channels at half the size."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Sequential(nn.AvgPool2d(2), PixelLinear(3, 3), DepthWise(3))

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h//2 w//2"]:
        return self.proj(image)


class _Block(nn.Module):
    """Pre-norm attention between bins and gated feed-forward; the norms have no weights."""

    def __init__(self, width: int, heads: int, expansion: float) -> None:
        super().__init__()
        self.norm = ChannelNorm(width, elementwise_affine=False)
        self.attn_g = _HistogramAttention(width, heads)
        self.ffn = _FeedForward(width, int(width * expansion))

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        features = features + self.attn_g(self.norm(features))
        return features + self.ffn(self.norm(features))


class _HistogramAttention(nn.Module):
    """Attention between the bins of each head's sorted pixels ("dynamic-range histogram self-attention").

    The first half of the channels is sorted by columns and by rows before, so that the convolutions see it sorted, and
    put back after. Then every channel's values are sorted over the image, queries and keys after them, and cut into as
    many bins as there are heads: neighbours in the order form a bin in one attention, every ``heads``-th in the other.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = PixelLinear(width, 5 * width)
        self.qkv_dwconv = DepthWise(5 * width)
        self.project_out = PixelLinear(width, width)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        half, size = features.shape[1] // 2, features.shape[-2:]
        ordered, down = features[:, :half].sort(dim=-2, stable=True)
        ordered, across = ordered.sort(dim=-1, stable=True)
        parts = self.qkv_dwconv.on_parts(self.qkv.parts(nhwc(torch.cat((ordered, features[:, half:]), 1)), 5))
        *queries_keys, values = (part.flatten(2).contiguous() for part in parts)
        values, order = values.sort(dim=-1, stable=True)
        first_queries, first_keys, second_queries, second_keys = (part.gather(-1, order) for part in queries_keys)
        neighbours = self.attend(first_queries, first_keys, values, interleaved=False)
        spread = self.attend(second_queries, second_keys, values, interleaved=True)
        attended = _put_back(neighbours * spread, order, -1).unflatten(2, size)
        attended = self.project_out(nhwc(attended))
        back = _put_back(_put_back(attended[:, :half], across, -1), down, -2)
        return torch.cat((back, attended[:, half:]), 1)

    def attend(
        self, queries: Float[Tensor, "b c n"], keys: Float[Tensor, "b c n"], values: Float[Tensor, "b c n"],
        interleaved: bool,
    ) -> Float[Tensor, "b c n"]:  # fmt: skip
        """One of the two attentions over sorted sequences; tokens are a head's channels by bins."""
        heads, count = len(self.temperature), queries.shape[-1]
        queries, keys, values = (_tokens(part, heads, interleaved) for part in (queries, keys, values))
        queries, keys = F.normalize(queries, dim=-1), F.normalize(keys, dim=-1)
        # No maximum is taken off: the products are cosines times the temperature.
        weights = (queries @ keys.transpose(-1, -2) * self.temperature).exp()
        attended = (weights / (weights.sum(-1, keepdim=True) + 1)) @ values
        attended = attended.unflatten(2, (-1, heads))
        if interleaved:
            attended = attended.transpose(-1, -2)
        return attended.flatten(-2).flatten(1, 2)[..., :count]


class _FeedForward(nn.Module):
    """A dilated path that gates another, both at twice the size ("dual-scale gated feed-forward").

    Dilation by 2 keeps the four pixels of every square apart. So the gate's convolution is done before the shuffle to
    twice the size, without dilation, by one filter for the four channels that become a square; and as the product is
    shuffled back, the gate need not be shuffled at all. PyTorch 2.13's own backward pass of dilated depth-wise
    convolutions, in bfloat16 and NHWC memory on CPUs, makes weights' gradients of uninitialised memory.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        inner = hidden // 4
        self.project_in = PixelLinear(width, 2 * hidden)
        self.dwconv_5 = DepthWise(inner, size=5)
        self.dwconv_dilated2_1 = DepthWise(inner)
        self.project_out = PixelLinear(hidden, width)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        value, gate = self.project_in.parts(features, 2)
        value = nhwc(F.pixel_unshuffle(self.dwconv_5(nhwc(F.pixel_shuffle(value, 2))), 2))
        filters = self.dwconv_dilated2_1.weight.repeat_interleave(4, 0)
        gate = F.conv2d(gate, filters, padding=1, groups=len(filters))
        active = F.mish(gate)
        kept, factor = gate.detach(), value.detach()
        with remade(active, lambda: F.mish(kept)):
            inner = active * value
        with remade(inner, lambda: F.mish(kept) * factor):
            return self.project_out(inner)


def _tokens(
    sequence: Float[Tensor, "b c n"], heads: int, interleaved: bool
) -> Float[Tensor, "b {heads} tokens positions"]:
    """The bins of each channel of the heads, of equal length thanks to zeros at the end."""
    padded = F.pad(sequence, (0, -sequence.shape[-1] % heads)).unflatten(1, (heads, -1))
    if interleaved:
        return padded.unflatten(-1, (-1, heads)).transpose(-1, -2).flatten(2, 3)
    return padded.unflatten(-1, (heads, -1)).flatten(2, 3)


def _put_back(sequence: Float[Tensor, "..."], order: Int[Tensor, "..."], side: int) -> Float[Tensor, "..."]:
    """Undo a sorting along a side."""
    return torch.zeros_like(sequence).scatter(side, order, sequence)
