"""TUR: the error of every pixel weighed by a predicted uncertainty."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from art.gradients import no_output_layer, output_layer
from art.shapes import Images, Parameters, PerTask, Scalar
from art.strategy import Conditions, Strategy
from art.task_losses import TaskLosses

Shared = tuple[int, Callable[[Tensor], object]]


class TUR(Strategy):
    r"""Weighs errors by learned uncertainty maps (Wu et al., AAAI 2025, by the authors of Art), as released.

    .. math:: \ell = \frac{1}{|P|} \sum_{k \in P} \left( \operatorname{mean} \frac{|x - y|}{u_k}
        + 2 \log \operatorname{mean} u_k \right)

    P are the tasks present. The map u_k, 3 channels of the image's size, is the mean of the maps of the task's samples
    in the batch; the error is divided by it element by element, and only the logarithm takes its mean. The maps come
    from three 3x3 convolutions (as wide as the feature map, the last to 3 channels; ELU, ELU, softplus) on the input
    of the network's output convolution. They are learned along with the network, at its rate.

    ``weights`` are what a task's errors count for on average: its weighted error over its plain one, over |P|.
    A network's own loss (AirNet's contrast) is added unweighted.

    Args:
        tasks: their names.
        eps: added to the maps, >= 0; 1e-6 in the release for AirNet's five tasks, 0 in that for seven.
        released: reproduce a defect of the release for AirNet, whose lists of weighted samples are never emptied: the
            weighted error of a task is the mean over its samples and those of all tasks before it.

    Raises:
        ValueError: for a negative ``eps``.
    """

    weighs = False  # it divides the error of every pixel

    def __init__(self, tasks: Sequence[str], eps: float = 1e-6, released: bool = False):
        super().__init__(tasks)
        if not eps >= 0:
            raise ValueError(f"TUR's eps must not be negative; got {eps}.")
        self.eps, self.released = eps, released
        self.predictor = nn.Identity()
        self._features: Tensor | None = None
        self._processes = 1
        self._add_up: Callable[[Tensor], object] | None = None

    def unsupported(self, conditions: Conditions) -> str | None:
        """Networks that do not name their output layer."""
        return no_output_layer(conditions.network)

    def distribute(self, processes: int, add_up: Callable[[Tensor], object]) -> None:
        """The map of a task is the mean over its samples of all processes. See :meth:`Strategy.distribute`."""
        self._processes, self._add_up = processes, add_up

    def bind(self, network: nn.Module) -> None:
        """Build the predictor of the maps on the features that the output layer gets."""
        layer = output_layer(network)
        weight = layer.get_parameter("weight")
        width = weight.shape[1]  # channels of the last feature map
        layers = [nn.Conv2d(width, width, 3, padding=1), nn.ELU(), nn.Conv2d(width, width, 3, padding=1), nn.ELU()]
        self.predictor = nn.Sequential(*layers, nn.Conv2d(width, 3, 3, padding=1), nn.Softplus())
        self.predictor.to(weight.device)
        layer.register_forward_pre_hook(self._keep_features)

    def _keep_features(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if layer.training:
            self._features = inputs[0]

    def backward(self, losses: TaskLosses, auxiliary: Scalar | None = None, parameters: Parameters = ()) -> None:
        """Divide the error of every pixel by the maps predicted for it."""
        if self._features is None or losses.pixel_errors is None:
            raise ValueError("TUR needs the error of every pixel, after a forward pass of the network it is bound to.")
        maps = self.predictor(self._features.float()) + self.eps
        share = None if losses.share is None else losses.counts.new_tensor(losses.share)
        shared = None if self._add_up is None else (self._processes, self._add_up)
        total, weighted = uncertain_loss(losses.pixel_errors, maps, losses.counts, self.released, share, shared)
        (total if auxiliary is None else total + auxiliary).backward()
        if self._add_up:  # the loop adds up the gradients of the network
            for value in (weighted, *(parameter.grad for parameter in self.predictor.parameters())):
                if value is not None:
                    self._add_up(value)
        self.weights = torch.where(losses.present, weighted / losses.values.clamp_min(1e-8), 0)
        self._features = None


def uncertain_loss(
    errors: Images,
    maps: Images,
    counts: PerTask,
    released: bool = False,
    share: PerTask | None = None,
    shared: Shared | None = None,
) -> tuple[Scalar, PerTask]:
    """TUR's loss.

    Args:
        errors: (B, 3, H, W) absolute errors, the samples of a task side by side, in task order.
        maps: (B, 3, H, W) uncertainty of each sample, > 0.
        counts: (K,) samples of each task.
        released: with the defect of the release, see :class:`TUR`.
        share: (K,) samples of each task among these, where several processes share the batch.
        shared: how many processes, and what replaces a tensor's values by their sum over them.

    Returns:
        The loss, a scalar, and (K,) the share of each task's weighted errors in it, detached; 0 for absent tasks. Of a
        shared batch, this process's part of both.
    """
    tasks = torch.arange(len(counts), device=counts.device)
    owner = torch.repeat_interleave(tasks, (counts if share is None else share).long(), output_size=len(errors))
    present, size = counts > 0, counts.clamp_min(1)
    uncertainty = maps.new_zeros(len(counts), *maps.shape[1:]).index_add(0, owner, maps)
    if shared:
        uncertainty = _Total.apply(uncertainty, shared[1])
    uncertainty = uncertainty / size.view(-1, 1, 1, 1)
    weighted = (errors / uncertainty[owner]).mean(dim=(1, 2, 3))  # (B,)
    sums = weighted.new_zeros(len(counts)).index_add(0, owner, weighted)
    part = present / present.sum().clamp_min(1)
    factors = part / size
    if released:  # a sum counts in the mean of its own and of every later task present
        factors = (part / counts.cumsum(0).clamp_min(1)).flip(0).cumsum(0).flip(0)
    logarithms = torch.where(present, uncertainty.mean(dim=(1, 2, 3)), 1).log()
    logs = 2 * part * logarithms / (shared[0] if shared else 1)  # all processes have these
    return (factors * sums + logs).sum(), (factors * sums).detach()


class _Total(torch.autograd.Function):
    """The sum over the processes; what each does with it counts in the gradient of all."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, add_up: Callable[[Tensor], object]) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.add_up = add_up
        total = values.clone()
        add_up(total)
        return total

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        total = slope.clone()
        ctx.add_up(total)
        return total, None
