"""Modulated deformable convolution, version 2 (Zhu, Hu, Lin, Dai: CVPR 2019, https://arxiv.org/abs/1811.11168).

A 3x3 convolution whose nine taps are shifted by an offset and weighted by a mask, both given for every pixel. There are
three ways to the same result, and the fastest that this machine has is taken:

- "kernels": numba, for float32 and float64 on the CPU; about five times as fast as "grid" at 64 channels;
- "torchvision": its compiled operator, for a GPU (or a CPU without numba);
- "grid": `torch.nn.functional.grid_sample`, anywhere.
"""

import functools
import importlib.util
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.nn.functional as F
from torch import Tensor

from . import torchvision_compat


def deform_conv(features: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, way: str | None = None) -> Tensor:
    """Deformable 3x3 convolution with stride 1 and zero padding 1.

    Args:
        features: (B, C, H, W).
        offset: (B, 18, H, W) shifts in pixels, for each tap the row's, then the column's, as torchvision orders them.
        mask: (B, 9, H, W) weight of each tap.
        weight: (O, C, 3, 3).
        way: "kernels", "torchvision" or "grid"; None takes the fastest there is.

    Returns:
        (B, O, H, W).
    """
    way = way or fastest(features.device.type)
    if way == "torchvision":
        return torchvision_compat.torchvision().ops.deform_conv2d(features, offset, weight, padding=1, mask=mask)
    precision = torch.float64 if features.dtype == torch.float64 else torch.float32  # positions need more than bf16
    columns = _columns_of_kernels if way == "kernels" else _columns_of_grid
    sampled = columns(*(tensor.to(precision) for tensor in (features, offset, mask)))
    matrix = weight.permute(2, 3, 1, 0).flatten(0, 2).to(precision)
    return (sampled @ matrix).permute(0, 3, 1, 2)


@functools.cache
def fastest(device: str) -> str:
    """The fastest way on this type of device ("cpu", "cuda", ...)."""
    if device == "cpu" and importlib.util.find_spec("numba"):
        return "kernels"
    if importlib.util.find_spec("torchvision") and torchvision_compat.prepare():
        torchvision_compat.torchvision()
        if torch._C._dispatch_has_kernel_for_dispatch_key("torchvision::deform_conv2d", device.upper()):
            return "torchvision"
    return "grid"


def _columns_of_grid(features: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
    """Masked samples as (B, H, W, 9 * C), all taps in one call by stacking them along the height."""
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


def _columns_of_kernels(features: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
    """Masked samples as (B, H, W, 9 * C)."""
    nhwc = (tensor.permute(0, 2, 3, 1).contiguous() for tensor in (features, offset, mask))
    return sample(*nhwc).flatten(3)


# Custom operators, so that torch.compile takes the kernels as they are instead of tracing into them.
@torch.library.custom_op("baselines::deform_sample", mutates_args=())
def sample(features: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
    """Masked samples (B, H, W, 9, C) of features (B, H, W, C), offset (B, H, W, 18) and mask (B, H, W, 9)."""
    from . import deform_conv_kernels

    columns = features.new_empty((*features.shape[:3], 9, features.shape[3]))
    _share(deform_conv_kernels.sample, features, offset, mask, columns)
    return columns


@torch.library.custom_op("baselines::deform_sample_backward", mutates_args=())
def sample_backward(features: Tensor, offset: Tensor, mask: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `sample` for features, offset and mask from that of its result."""
    from . import deform_conv_kernels

    grads = torch.zeros_like(features), torch.empty_like(offset), torch.empty_like(mask)
    _share(deform_conv_kernels.sample_backward, features, offset, mask, grad.contiguous(), *grads)
    return grads


@sample.register_fake
def _(features, offset, mask):
    return features.new_empty((*features.shape[:3], 9, features.shape[3]))


@sample_backward.register_fake
def _(features, offset, mask, grad):
    return torch.empty_like(features), torch.empty_like(offset), torch.empty_like(mask)


sample.register_autograd(
    lambda ctx, grad: sample_backward(*ctx.saved_tensors, grad),
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
)


def _share(kernel, *tensors: Tensor) -> None:
    """Run a kernel over the batch, its images shared among torch's threads."""
    arrays = [tensor.numpy() for tensor in tensors]
    batch = len(arrays[0])
    threads = min(torch.get_num_threads(), batch)
    if threads == 1:
        return kernel(*arrays, 0, batch)
    bounds = [batch * thread // threads for thread in range(threads + 1)]
    # list: raises what a thread raised
    list(_pool(threads).map(lambda thread: kernel(*arrays, bounds[thread], bounds[thread + 1]), range(threads)))


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="deform_conv")
