"""Modulated deformable convolution, version 2 (Zhu, Hu, Lin, Dai: CVPR 2019, https://arxiv.org/abs/1811.11168).

A 3x3 convolution whose nine taps are shifted by an offset and weighted by a mask, both given for every pixel. There are
three ways to the same result, and the fastest that this machine has is taken:

- "kernels": numba, for float32 and float64 on the CPU; about five times as fast as "grid" at 64 channels;
- "torchvision": its compiled operator, for a GPU (or a CPU without numba);
- "grid": ``torch.nn.functional.grid_sample``, anywhere.
"""

import functools
import importlib.util
from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from baselines.sharing import share

Way = Literal["kernels", "torchvision", "grid"]
BAND = 2**18  # samples of a band for each thread: 1 MiB of float32, half of a usual L2 cache


def deform_conv(
    features: Float[Tensor, "b c h w"],
    offset: Float[Tensor, "b 18 h w"],
    mask: Float[Tensor, "b 9 h w"],
    weight: Float[Tensor, "out c 3 3"],
    way: Way | None = None,
) -> Float[Tensor, "b out h w"]:
    """Deformable 3x3 convolution with stride 1 and zero padding 1.

    Args:
        features: the map to be convolved.
        offset: shifts in pixels, for each tap the row's, then the column's, as torchvision orders them.
        mask: weight of each tap.
        weight: of the convolution.
        way: one of those above; ``None`` takes the fastest there is.
    """
    way = way or fastest(features.device.type)
    if way == "torchvision":
        import torchvision  # fails where it was built for another torch

        return torchvision.ops.deform_conv2d(features, offset, weight, padding=(1, 1), mask=mask)
    precision = torch.float64 if features.dtype == torch.float64 else torch.float32  # positions need more than bf16
    matrix = weight.permute(2, 3, 1, 0).flatten(0, 2).to(precision)
    features, offset, mask = (tensor.to(precision) for tensor in (features, offset, mask))
    if way == "grid":
        return (_columns(features, offset, mask) @ matrix).permute(0, 3, 1, 2)
    nhwc = (tensor.permute(0, 2, 3, 1).contiguous() for tensor in (features, offset, mask))
    return convolve(*nhwc, matrix).permute(0, 3, 1, 2)


@torch.compiler.assume_constant_result
def fastest(device: str) -> Way:
    """The fastest way on this type of device ("cpu", "cuda", ...)."""
    return _fastest(device)


@functools.cache
def _fastest(device: str) -> Way:
    if device == "cpu" and importlib.util.find_spec("numba"):
        return "kernels"
    try:
        importlib.import_module("torchvision.ops")  # registers the operators
    except (ImportError, RuntimeError):  # RuntimeError: built for another torch
        return "grid"
    if not hasattr(torch.ops.torchvision, "deform_conv2d"):  # only its Python part is there
        return "grid"
    # Nothing public tells whether an operator has a kernel for a device.
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    key = "Meta" if device == "meta" else device.upper()
    return "torchvision" if has_kernel("torchvision::deform_conv2d", key) else "grid"


def _columns(
    features: Float[Tensor, "b c h w"], offset: Float[Tensor, "b 18 h w"], mask: Float[Tensor, "b 9 h w"]
) -> Float[Tensor, "b h w 9*c"]:
    """Masked samples, all taps in one call by stacking them along the height."""
    height, width = features.shape[2:]
    taps = torch.arange(9, device=features.device)
    rows, columns = (torch.arange(n, device=features.device) for n in (height, width))
    shift = offset.unflatten(1, (9, 2))
    y = shift[:, :, 0] + ((taps // 3 - 1)[:, None, None] + rows[:, None])
    x = shift[:, :, 1] + ((taps % 3 - 1)[:, None, None] + columns)
    # Normalised so that -1 and 1 are the outer edges of the image (align_corners=False).
    grid = torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), dim=-1).flatten(1, 2)
    sampled = F.grid_sample(features, grid, padding_mode="zeros", align_corners=False).unflatten(2, (9, height))
    return (sampled * mask.unsqueeze(1)).permute(0, 3, 4, 2, 1).flatten(3)


# Custom operators, so that torch.compile takes the kernels as they are instead of tracing into them.
@torch.library.custom_op("baselines::deform_conv", mutates_args=())
def convolve(features: Tensor, offset: Tensor, mask: Tensor, matrix: Tensor) -> Tensor:
    """Deformable convolution in NHWC memory, by bands of rows.

    Features are (B, H, W, C), offset (B, H, W, 18), mask (B, H, W, 9), the weight is a matrix (9 * C, O), the result
    (B, H, W, O).
    """
    from baselines.deform_conv_kernels import sample  # numba takes long to import

    result = features.new_empty((*features.shape[:3], matrix.shape[1]))
    for rows, columns in _bands(features):
        share(sample, len(features), features, offset, mask, columns, rows.start)
        result[:, rows] = columns.flatten(3) @ matrix
    return result


@torch.library.custom_op("baselines::deform_conv_backward", mutates_args=())
def convolve_backward(
    features: Tensor, offset: Tensor, mask: Tensor, matrix: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of ``convolve`` for its four arguments from that of its result.

    The samples are made again: to keep them would take nine times the memory of the features.
    """
    from baselines.deform_conv_kernels import sample_backward  # numba takes long to import

    grads = torch.zeros_like(features), torch.empty_like(offset), torch.empty_like(mask)
    grad_matrix = torch.zeros_like(matrix)
    for rows, columns in _bands(features):
        pixels = grad[:, rows].reshape(-1, grad.shape[3])
        torch.mm(pixels, matrix.T, out=columns.view(-1, len(matrix)))
        share(sample_backward, len(features), features, offset, mask, columns, *grads, rows.start)
        grad_matrix.addmm_(columns.view(-1, len(matrix)).T, pixels)
    return *grads, grad_matrix


convolve.register_fake(
    lambda features, offset, mask, matrix: features.new_empty((*features.shape[:3], matrix.shape[1]))
)
convolve_backward.register_fake(lambda *tensors: tuple(torch.empty_like(tensor) for tensor in tensors[:4]))
convolve.register_autograd(
    lambda ctx, grad: convolve_backward(*ctx.saved_tensors, grad),
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
)


def _bands(features: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Bands of rows and memory for their samples (B, rows, W, 9, C), small enough to stay in the cores' caches."""
    batch, height, width, channels = features.shape
    most = max(1, BAND * torch.get_num_threads() // (batch * width * 9 * channels))
    memory = features.new_empty((batch, min(most, height), width, 9, channels))
    for start in range(0, height, most):
        rows = slice(start, min(start + most, height))
        full = rows.stop - start == memory.shape[1]
        yield rows, memory if full else features.new_empty((batch, rows.stop - start, *memory.shape[2:]))
