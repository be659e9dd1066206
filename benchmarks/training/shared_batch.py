"""What couples the samples of a batch, where several processes share it: statistics of batches, and rows of all of it.

The processes exchange these on a channel of their own, so that they need not keep an order with the sums of gradients,
which travel while the backward pass still runs.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]  # the base of all three

from baselines.network import Network
from benchmarks.training.distributed import Group


def share(network: Network, group: Group) -> None:
    """Let a network that trains on a share of each batch normalise by the whole batch, and tell it of the others.

    Args:
        network: its layers of batch normalisation are replaced, with the same parameters and buffers.
        group: the processes, all of which call this; alone, nothing is done.
    """
    if group.size == 1:
        return
    apart = group.apart()
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _BatchNorm) and not isinstance(child, nn.SyncBatchNorm):
                setattr(parent, name, SharedBatchNorm(child, apart))
    network.distribute(partial(gathered, apart))


class SharedBatchNorm(_BatchNorm):
    """Batch normalisation over the samples of all processes (:class:`torch.nn.SyncBatchNorm` has no CPUs).

    In training, all processes must come by at the same time; in evaluation each is by itself.

    Args:
        layer: what it takes the place of, and the parameters and buffers of.
        group: the processes.
    """

    def __init__(self, layer: _BatchNorm, group: Group):
        super().__init__(layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats)
        self.group = group
        for name, value in (*layer.named_parameters(), *layer.named_buffers()):
            setattr(self, name, value)
        self.train(layer.training)

    def _check_input_dim(self, input: Tensor) -> None:  # its name in torch
        """Any number of dimensions."""

    def forward(self, input: Tensor) -> Tensor:  # its name in torch
        """(B, C, ...) normalised, of the same shape and data type."""
        if not self.training:
            return super().forward(input)
        features = input.to(torch.promote_types(input.dtype, torch.float32))
        axes = [0, *range(2, features.ndim)]
        shape = [1, -1, *[1] * (features.ndim - 2)]
        own = features.new_tensor([features.numel() // features.shape[1]])
        sums = _total(torch.cat([features.sum(axes), own]), self.group)
        count = sums[-1]
        mean = sums[:-1] / count
        centred = features - mean.view(shape)
        variance = _total(centred.square().sum(axes), self.group) / count
        self._follow(mean, variance, count)
        result = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            result = result * self.weight.view(shape) + self.bias.view(shape)
        return result.to(input.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Move the running statistics, as torch does: with the unbiased variance."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        pace = 1 / self.num_batches_tracked if self.momentum is None else self.momentum
        self.running_mean += pace * (mean - self.running_mean)
        self.running_var += pace * (variance * (count / (count - 1)) - self.running_var)


def gathered(group: Group, rows: Tensor) -> Tensor:
    """(B, ...), the rows of all processes' samples, in the order of the whole batch (:meth:`Group.share`).

    Their gradient is the sum over the processes of what each does with them.

    Args:
        group: the processes, all of which call this.
        rows: (b, ...), one for each sample of this process.
    """
    count = torch.tensor(len(rows))  # on the host: nobody waits for a device
    group.add_up(count)
    whole = rows.new_zeros(int(count), *rows.shape[1:])
    whole[group.rank :: group.size] = rows
    return _total(whole, group)


def _total(values: Tensor, group: Group) -> Tensor:
    """The sum over the processes; what each does with it counts in the gradient of all."""
    return _Total.apply(values, group)


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, group: Group) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.group = group
        total = values.clone(memory_format=torch.contiguous_format)
        group.add_up(total)
        return total

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        total = slope.clone(memory_format=torch.contiguous_format)
        ctx.group.add_up(total)
        return total, None
