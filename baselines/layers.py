"""Layers on (B, C, H, W) maps in NHWC ("channels last") memory, where a pixel's channels are neighbours.

There a LayerNorm over channels needs no transposition, and a 1x1 convolution is a plain matrix product, which on one
thread of an Intel CPU is twice as fast as PyTorch's convolution.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def _of_amd() -> bool:
    try:
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return False


# PyTorch's matrix products are MKL's, which on AMD's CPUs leaves the wide registers unused: with them NAFNet's step
# took 1.5 times as long as with convolutions.
_SLOW_PRODUCTS = _of_amd()


LARGE = 2**18  # numbers, 1 MiB of them, from which on it pays to make a map again instead of keeping it


class LayerNorm(nn.LayerNorm):
    """LayerNorm that sums its weights' gradients in their own precision.

    PyTorch 2.13 sums them on CPUs in that of the input: of a gradient over 8,192 pixels, bfloat16 left 6%.
    """

    def forward(self, input: Float[Tensor, "... c"]) -> Float[Tensor, "... c"]:
        """Normalise the last dimension."""
        if input.device.type != "cpu" or not self.elementwise_affine or self.weight.dtype == input.dtype:
            return super().forward(input)
        return super().forward(input.to(self.weight.dtype)).to(input.dtype)


class ChannelNorm(LayerNorm):
    """LayerNorm over the channels of a map."""

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Normalise the channels of every pixel."""
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class PixelLinear(nn.Conv2d):
    """A 1x1 convolution, computed as a matrix product over the pixels where that is faster.

    Strides are taken beforehand, which avoids a crash: the backward pass of PyTorch 2.13's own strided 1x1 convolution
    from 8 to 16 channels in NHWC memory writes out of bounds on CPUs with AVX-512 (oneDNN 3.12).
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = False, stride: int = 1) -> None:
        super().__init__(inputs, outputs, 1, stride, bias=bias)

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b out rows columns"]:
        """Multiply the channels of every pixel by the weight."""
        rows, columns = self.stride
        return pixel_linear(input[..., ::rows, ::columns], self.weight, self.bias)

    def parts(self, features: Float[Tensor, "b c h w"], count: int) -> list[Float[Tensor, "b part h w"]]:
        """The result's channels split into ``count`` equal parts, each in memory of its own.

        Parts of one map would be strided in NHWC memory, much slower to work on, and would have to be concatenated in
        the backward pass; so the weights are split instead.
        """
        weights, biases = self.weight.chunk(count), _chunk(self.bias, count)
        return [pixel_linear(features, weight, bias) for weight, bias in zip(weights, biases, strict=True)]


class DepthWise(nn.Conv2d):
    """A depth-wise convolution, 3x3 or of another odd size."""

    def __init__(self, width: int, bias: bool = False, size: int = 3) -> None:
        super().__init__(width, width, size, padding=size // 2, groups=width, bias=bias)

    def on_parts(self, parts: list[Float[Tensor, "b part h w"]]) -> list[Float[Tensor, "b part h w"]]:
        """Apply it to a map that ``PixelLinear.parts`` gave in parts; the result is in parts too."""
        filters = zip(parts, self.weight.chunk(len(parts)), _chunk(self.bias, len(parts)), strict=True)
        return [F.conv2d(part, w, bias, padding=w.shape[-1] // 2, groups=len(w)) for part, w, bias in filters]


class Convolution(nn.Conv2d):
    """A convolution of any size, computed as a matrix product on a CPU where a large weight meets few pixels."""

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b out rows columns"]:
        """Convolve."""
        (size, _), (stride, _), (padding, _) = self.kernel_size, self.stride, self.padding
        rows, columns = ((side + 2 * int(padding) - size) // stride + 1 for side in input.shape[2:])
        if not _few_pixels(input, rows * columns, self.weight):
            return super().forward(input)
        patches = F.unfold(input, size, padding=int(padding), stride=stride).transpose(1, 2)
        result = F.linear(patches, self.weight.flatten(1), self.bias)
        return result.unflatten(1, (rows, columns)).permute(0, 3, 1, 2)


class Upsampling(nn.ConvTranspose2d):
    """A transposed convolution that doubles the size, computed as :class:`Convolution` is."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 4, 2, 1)

    def forward(
        self, input: Float[Tensor, "b c h w"], output_size: list[int] | None = None
    ) -> Float[Tensor, "b out 2*h 2*w"]:
        """Convolve; ``output_size`` can only be the default."""
        height, width = input.shape[2:]
        if not _few_pixels(input, height * width, self.weight):
            return super().forward(input, output_size)
        patches = input.permute(0, 2, 3, 1).flatten(1, 2) @ self.weight.flatten(1)
        result = F.fold(patches.transpose(1, 2), (2 * height, 2 * width), 4, padding=1, stride=2)
        return nhwc(result if self.bias is None else result + self.bias.view(-1, 1, 1))


def _few_pixels(features: Tensor, pixels: int, weight: Tensor) -> bool:
    """Whether a matrix product is faster than oneDNN's convolution: seen on TransWeather at paper size, batch 1 to 32.

    Sizes are not looked at while compiling: each would be a program of its own.
    """
    if torch.compiler.is_compiling() or features.device.type != "cpu":
        return False
    return 2 * len(features) * pixels <= len(weight)


def pixel_linear(
    features: Float[Tensor, "b c h w"], weight: Float[Tensor, "out c 1 1"], bias: Float[Tensor, " out"] | None = None
) -> Float[Tensor, "b out h w"]:
    """Multiply every pixel by a weight and add a bias."""
    if features.device.type == "cpu" and _SLOW_PRODUCTS:
        return F.conv2d(features, weight, bias)
    return F.linear(features.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)


def nhwc(features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """The same map in NHWC memory."""
    return features.contiguous(memory_format=torch.channels_last)


def remade(result: Tensor, make: Callable[[], Tensor]) -> AbstractContextManager[object]:
    """Within this, operations on a large ``result`` keep for their backward pass not it, but how to make it again.

    For what is cheap to make of tensors that are kept anyway: a product, an activation, a norm. ``make`` must give the
    same values in the same memory layout, from detached tensors.
    """
    if not result.requires_grad or result.numel() < LARGE or torch.compiler.is_compiling():
        return nullcontext()
    place, count = result.data_ptr(), result.numel()

    def pack(kept: Tensor) -> Tensor | tuple[torch.Size, tuple[int, ...]]:
        same = kept.data_ptr() == place and kept.numel() == count  # or a view of all of it
        return (kept.shape, kept.stride()) if same else kept

    def unpack(kept: Tensor | tuple[torch.Size, tuple[int, ...]]) -> Tensor:
        return kept if isinstance(kept, Tensor) else make().as_strided(*kept)

    return torch.autograd.graph.saved_tensors_hooks(pack, unpack)


def _chunk(bias: Tensor | None, count: int) -> list[Tensor] | list[None]:
    return [None] * count if bias is None else list(bias.chunk(count))
