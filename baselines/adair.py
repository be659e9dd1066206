"""AdaIR (Cui, Zamir, Khan, Knoll, Shah, Khan: ICLR 2025, https://arxiv.org/abs/2403.14614)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from baselines.layers import DepthWise, PixelLinear
from baselines.restormer import Backbone, attend

FREQUENCY_HEADS = 4
SHARE = 128  # the box of low frequencies is at most this fraction (1/128) of the spectrum to each side


class AdaIR(Backbone):
    """Restormer with modules on the way up that mine low and high frequencies of the input image.

    The arguments, and what ``forward`` takes, are the backbone's.
    """

    output_layer = "output"

    def __init__(
        self,
        width: int = 48,
        blocks: Sequence[int] = (4, 6, 6, 8),
        refinement: int = 4,
        heads: Sequence[int] = (1, 2, 4, 8),
        expansion: float = 2.66,
    ):
        super().__init__(width, blocks, refinement, heads, expansion)
        self.fre1 = _FrequencyModule(8 * width)
        self.fre2 = _FrequencyModule(4 * width)
        self.fre3 = _FrequencyModule(2 * width)

    def guide(
        self, step: int, features: Float[Tensor, "b c h w"], image: Float[Tensor, "b 3 height width"]
    ) -> Float[Tensor, "b c h w"]:
        """Modulate the features by the image's frequencies; the published modules are numbered from the lowest."""
        return getattr(self, f"fre{4 - step}")(image, features)


class _FrequencyModule(nn.Module):
    """Split the image's spectrum by a box whose size it predicts, let both parts query the features, and merge them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.para1 = nn.Parameter(torch.zeros(width, 1, 1))
        self.para2 = nn.Parameter(torch.ones(width, 1, 1))
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.rate_conv = nn.Sequential(PixelLinear(width, width // 8), nn.GELU(), PixelLinear(width // 8, 2))
        self.channel_cross_l = ChannelCrossAttention(width, FREQUENCY_HEADS)
        self.channel_cross_h = ChannelCrossAttention(width, FREQUENCY_HEADS)
        self.frequency_refine = _Refinement(width)
        self.channel_cross_agg = ChannelCrossAttention(width, FREQUENCY_HEADS)
        # In the published checkpoints, but in no forward pass.
        self.conv = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.score_gen = nn.Conv2d(2, 2, 7, padding=3)

    def forward(
        self, image: Float[Tensor, "b 3 height width"], features: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b c h w"]:
        image = F.interpolate(image, features.shape[-2:], mode="bilinear")
        high, low = self.split(self.conv1(image))
        high, low = self.channel_cross_l(high, features), self.channel_cross_h(low, features)
        modulated = self.channel_cross_agg(features, self.frequency_refine(low, high))
        return modulated * self.para1 + features * self.para2

    def split(self, mapped: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]]:
        """Magnitudes of the high- and the low-pass part."""
        height, width = mapped.shape[-2:]
        bounds = height // SHARE, width // SHARE
        if not all(bounds):  # below 128 pixels the box is empty whatever its predicted size
            return mapped.abs(), torch.zeros_like(mapped)
        with torch.no_grad():  # the size is rounded to pixels, so nothing can reach the rates
            rates = self.rate_conv(mapped.mean((2, 3), keepdim=True)).sigmoid()
            rows, columns = (
                _low(length, (bound * rates[:, axis]).int())
                for axis, (length, bound) in enumerate(zip((height, width), bounds, strict=True))
            )
            box = rows.unsqueeze(2) & columns.unsqueeze(1)
        precise = mapped.float()  # no FFT in bfloat16
        low = torch.fft.ifft2(torch.fft.fft2(precise) * box.unsqueeze(1))
        return (precise - low).abs().to(mapped.dtype), low.abs().to(mapped.dtype)


class ChannelCrossAttention(nn.Module):
    """Channel attention with queries from one map, keys and values (by ``size`` x ``size`` filters) from another."""

    def __init__(self, width: int, heads: int, size: int = 3) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.q = PixelLinear(width, width)
        self.q_dwconv = DepthWise(width)
        self.kv = PixelLinear(width, 2 * width)
        self.kv_dwconv = DepthWise(2 * width, size=size)
        self.project_out = PixelLinear(width, width)

    def forward(
        self, querying: Float[Tensor, "b c h w"], features: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b c h w"]:
        """Let the channels of one map attend to those of the other."""
        keys, values = self.kv_dwconv.on_parts(self.kv.parts(features, 2))
        return self.project_out(attend(self.q_dwconv(self.q(querying)), keys, values, self.temperature))


class _Refinement(nn.Module):
    """High frequencies gated by channel from the low ones, low ones gated by place from the high ones, merged."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.SpatialGate = _SpatialGate()
        self.ChannelGate = _ChannelGate(width)
        self.proj = PixelLinear(width, width, bias=True)

    def forward(self, low: Float[Tensor, "b c h w"], high: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.proj(low * self.SpatialGate(high) + high * self.ChannelGate(low))


class _SpatialGate(nn.Module):
    """A weight for every place, from the maximum and the mean over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 h w"]:
        return self.spatial(torch.cat((features.amax(1, True), features.mean(1, True)), 1)).sigmoid()


class _ChannelGate(nn.Module):
    """A weight for every channel, from the maximum and the mean over places."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(PixelLinear(width, width // 16), nn.ReLU(), PixelLinear(width // 16, width))

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c 1 1"]:
        mean, most = features.mean((2, 3), keepdim=True), features.amax((2, 3), keepdim=True)
        return (self.mlp(mean) + self.mlp(most)).sigmoid()


def _low(length: int, half: Int[Tensor, "b 1 1"]) -> Bool[Tensor, "b {length}"]:
    """Whether a frequency, in the order of the FFT, is within [-half, half)."""
    frequency = torch.fft.fftfreq(length, 1 / length, device=half.device)
    half = half.flatten(1)
    return (frequency >= -half) & (frequency < half)
