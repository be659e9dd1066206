"""A depth-wise 3x3 convolution and what follows it, in one pass over memory, for float32 on the CPU.

On a CPU such a convolution, a GELU and a gate cost what their maps take to be read and written. Here they are done
together, row by row, forward and backward, and the convolution's result is made again instead of kept.
"""

import functools
import importlib.util
import math
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from baselines.layers import plain_cpu
from baselines.sharing import share

Kind = Literal["gelu product", "gelu"]
KINDS: tuple[Kind, ...] = ("gelu product", "gelu")  # in the order of the kernels' numbers
ENOUGH = 2**16  # numbers of a map, from which on a call pays
WIDE = 128  # channels, from which on the kernels are faster than oneDNN's convolution


def fits(features: Float[Tensor, "b c h w"], channels: int) -> bool:
    """Whether :func:`fused` is the way to take for these features with as many ``channels``."""
    if not plain_cpu(features) or channels < WIDE:  # first: while compiling, no size may be looked at
        return False
    return len(features) * features.shape[2] * features.shape[3] * channels >= ENOUGH and _numba()


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
        kind: "gelu product" of the GELU of the first half of the channels with the second half, or "gelu" of all.
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
def filtered_backward(
    x: Tensor, weight: Tensor, bias: Tensor, kind: int, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
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


def _keep(ctx: Any, inputs: tuple[Any, ...]) -> None:
    *tensors, ctx.kind = inputs
    ctx.save_for_backward(*tensors)


filtered.register_autograd(
    lambda ctx, grad: (*filtered_backward(*ctx.saved_tensors, ctx.kind, grad), None),
    setup_context=lambda ctx, inputs, output: _keep(ctx, inputs),
)


@register_flop_formula(torch.ops.baselines.depthwise)
def _operations(x_shape: Any, *_: Any, **__: Any) -> int:
    return 18 * math.prod(x_shape)


@register_flop_formula(torch.ops.baselines.depthwise_backward)
def _backward_operations(x_shape: Any, *_: Any, **__: Any) -> int:
    return 36 * math.prod(x_shape)
