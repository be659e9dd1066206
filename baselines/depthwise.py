"""A depth-wise 3x3 convolution and what follows it, in one pass over memory, for float32 on the CPU.

On a CPU such a convolution, a GELU and a gate cost what their maps take to be read and written; together, row by row in
a core's cache, and backward too, they take a quarter of it. Half as much is kept for the backward pass.
"""

import functools
import importlib.util
import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from baselines.layers import plain_cpu
from baselines.sharing import share

Kind = Literal["product", "gelu product", "gelu"]
KINDS: tuple[Kind, ...] = ("product", "gelu product", "gelu")  # in the order of the kernels' numbers
ENOUGH = 2**16  # numbers of a map, from which on a call pays


def fits(features: Float[Tensor, "b c h w"], channels: int) -> bool:
    """Whether :func:`fused` is the way to take for these features with as many ``channels``."""
    size = len(features) * features.shape[2] * features.shape[3] * channels
    return size >= ENOUGH and plain_cpu(features) and _numba()


def fused(
    features: Float[Tensor, "b c h w"],
    weight: Float[Tensor, "c 1 3 3"],
    bias: Float[Tensor, " c"] | None,
    kind: Kind,
) -> Float[Tensor, "b out h w"]:
    """The convolution with zero padding 1, then what ``kind`` says.

    Args:
        features: float32 on the CPU.
        weight: of the convolution.
        bias: of the convolution.
        kind: "product" of the first half of the channels with the second, "gelu product" of the first half's GELU with
            the second, or "gelu" of all.
    """
    taps = weight.flatten(1).T.contiguous()
    offset = weight.new_zeros(len(weight)) if bias is None else bias
    result = filtered(features.permute(0, 2, 3, 1).contiguous(), taps, offset, KINDS.index(kind))
    return result.permute(0, 3, 1, 2)


@functools.cache
def _numba() -> bool:
    return importlib.util.find_spec("numba") is not None


# Custom operators, as those of the deformable convolution are.
@torch.library.custom_op("baselines::depthwise", mutates_args=())
def filtered(x: Tensor, weight: Tensor, bias: Tensor, kind: int) -> Tensor:
    """:func:`fused` for x (B, H, W, C), a weight (9, C) and a bias (C)."""
    from baselines import depthwise_kernels as kernels  # numba takes long to import

    result = _result(x, kind)
    bands = _bands(x)
    share(kernels.forward, len(x) * bands, x, weight, bias, kind, result, bands)
    return result


@torch.library.custom_op("baselines::depthwise_backward", mutates_args=())
def filtered_backward(x: Tensor, weight: Tensor, bias: Tensor, kind: int, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of ``filtered`` for x, weight and bias from that of its result."""
    from baselines import depthwise_kernels as kernels  # numba takes long to import

    bands = _bands(x)
    grad_x, grad_weight = torch.empty_like(x), x.new_zeros(len(x) * bands, 10, len(bias))
    tensors = (x, weight, weight.flip(0), bias, kind, grad.contiguous(), grad_x, grad_weight)
    share(kernels.backward, len(x) * bands, *tensors, bands)
    total = grad_weight.sum(0)
    return grad_x, total[:9].clone(), total[9].clone()


def _result(x: Tensor, kind: int) -> Tensor:
    return x.new_empty((*x.shape[:3], x.shape[3] // (1 if KINDS[kind] == "gelu" else 2)))


def _bands(x: Tensor) -> int:
    """Bands of rows of an image, so many that all threads get the same share of the batch."""
    threads = torch.get_num_threads()
    return min(threads // math.gcd(threads, len(x)), x.shape[1])


filtered.register_fake(lambda x, weight, bias, kind: _result(x, kind))
filtered_backward.register_fake(
    lambda x, weight, bias, kind, grad: (torch.empty_like(x), torch.empty_like(weight), torch.empty_like(bias))
)
filtered.register_autograd(
    lambda ctx, grad: (*filtered_backward(*ctx.saved_tensors, ctx.kind, grad), None),
    setup_context=lambda ctx, inputs, output: _keep(ctx, inputs),
)


def _keep(ctx, inputs) -> None:  # noqa: ANN001
    *tensors, ctx.kind = inputs
    ctx.save_for_backward(*tensors)
