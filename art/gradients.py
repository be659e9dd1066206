"""Strategies that look at the gradient of every task: TorchJD's aggregators, and GradNorm."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torchjd import Stateful
from torchjd.aggregation import Aggregator

from art.learning import Learner
from art.strategy import Strategy

LOWEST = 1e-3  # of GradNorm's weights


class AggregatorStrategy(Strategy):
    """Drives a :class:`torchjd.aggregation.Aggregator` with the Jacobian of the tasks present.

    Costs the memory of K gradients. Where the losses come as K graphs, each over its own samples, the gradients
    together cost one backward pass over the batch; with one shared graph they cost K.
    """

    needs_gradients = True

    def __init__(self, tasks: Sequence[str], aggregator: Aggregator):
        super().__init__(tasks)
        self.aggregator = aggregator
        # A method that remembers something of each task needs all of them in every batch.
        self.handles_absent = not any(isinstance(part, Stateful) for part in aggregator.modules())
        self._row_weights: Tensor | None = None
        weighting = getattr(aggregator, "weighting", None)
        if weighting is not None:
            weighting.register_forward_hook(self._note)

    def _note(self, _module: nn.Module, _inputs: object, weights: Tensor) -> None:
        self._row_weights = weights.detach()

    def backward(
        self,
        losses: Tensor | Sequence[Tensor],
        counts: Tensor,
        auxiliary: Tensor | None = None,
        parameters: Iterable[nn.Parameter] = (),
    ) -> None:
        parameters = [parameter for parameter in parameters if parameter.requires_grad]
        present = [task for task, count in enumerate(counts.tolist()) if count]
        rows = task_gradients([losses[task] for task in present], parameters, retain=auxiliary is not None)
        self._row_weights = None
        direction = self.aggregator(rows)
        if auxiliary is not None:
            auxiliary.backward()
        _add_to_gradients(direction, parameters)
        self.weights = torch.full_like(self.weights, torch.nan)
        if self._row_weights is not None and self._row_weights.shape == (len(present),):
            self.weights = torch.zeros_like(self.weights)
            self.weights[present] = self._row_weights.to(self.weights)


def task_gradients(losses: Sequence[Tensor], parameters: Sequence[nn.Parameter], retain: bool = False) -> Tensor:
    """The Jacobian (len(losses), P) float32 of scalars with respect to P parameters in all, 0 where one has no part.

    Args:
        losses: scalars with graph.
        parameters: what to differentiate for.
        retain: keep the last graph for a further backward pass.
    """
    ends = [0]
    for parameter in parameters:
        ends.append(ends[-1] + parameter.numel())
    rows = torch.zeros(len(losses), ends[-1], device=parameters[0].device)
    for number, loss in enumerate(losses):
        keep = retain or number + 1 < len(losses)
        gradients = torch.autograd.grad(loss, parameters, retain_graph=keep, allow_unused=True)
        for start, end, gradient in zip(ends, ends[1:], gradients, strict=False):
            if gradient is not None:
                rows[number, start:end] = gradient.reshape(-1)
    return rows


def _add_to_gradients(direction: Tensor, parameters: Sequence[nn.Parameter]) -> None:
    start = 0
    for parameter in parameters:
        part = direction[start : start + parameter.numel()].view_as(parameter).to(parameter.dtype)
        parameter.grad = part.clone() if parameter.grad is None else parameter.grad + part
        start += parameter.numel()


class GradNorm(Strategy):
    r"""GradNorm (Chen et al., ICML 2018, https://arxiv.org/abs/1711.02257).

    Learns weights w_k, with sum K, so that the norms G_k of w_k times the gradient of task k at the last shared layer
    approach :math:`\bar G \, r_k^\alpha`; r_k is the task's loss over its first loss, relative to the tasks' mean.
    All layers of these networks are shared; the last is the network's output layer (``output_layer``). A weight never
    falls below :data:`LOWEST` before the weights are scaled to their sum (ours: Adam could take one below 0).

    Args:
        tasks: their names.
        alpha: strength of the restoring force, >= 0 (the paper's is 1.5 or 0.12, by data set).
        lr: rate of the Adam that learns the weights (0.025 in the paper).
    """

    handles_absent = False

    def __init__(self, tasks: Sequence[str], alpha: float = 1.5, lr: float = 0.025):
        super().__init__(tasks)
        if alpha < 0 or lr <= 0:
            raise ValueError(f"GradNorm needs alpha >= 0 and lr > 0; got {alpha} and {lr}.")
        self.alpha = alpha
        self.register_buffer("factors", torch.ones(len(tasks)))
        self.register_buffer("first", torch.full((len(tasks),), torch.nan))
        self.learner = Learner((len(tasks),), lr)
        self._layer: list[nn.Parameter] = []  # a list, so that it is not registered as a parameter of the strategy

    def bind(self, network: nn.Module) -> None:
        self._layer = [output_layer(network).weight]

    def backward(
        self,
        losses: Tensor | Sequence[Tensor],
        counts: Tensor,
        auxiliary: Tensor | None = None,
        parameters: Iterable[nn.Parameter] = (),
    ) -> None:
        norms = task_gradients(list(losses), self._layer, retain=True).norm(dim=1)
        self.weights = self.factors.clone()
        total = (self.weights * losses).sum()
        (total if auxiliary is None else total + auxiliary).backward()
        self._learn(losses.detach(), norms)

    @torch.no_grad()
    def _learn(self, losses: Tensor, norms: Tensor) -> None:
        self.first = torch.where(self.first.isnan(), losses, self.first)
        ratio = losses / self.first.clamp_min(1e-12)
        scaled = self.factors * norms
        target = scaled.mean() * (ratio / ratio.mean().clamp_min(1e-12)) ** self.alpha
        slope = torch.sign(scaled - target) * norms  # of sum |G_k - target_k|, the target held constant
        moved = self.learner.step(self.factors, slope).clamp_min(LOWEST)
        self.factors = moved * len(moved) / moved.sum()


def output_layer(network: nn.Module) -> nn.Module:
    """The network's output convolution.

    Raises:
        ValueError: if the network does not name it (``output_layer``, the name of a submodule).
    """
    name = getattr(network, "output_layer", None)
    if not isinstance(name, str):
        raise ValueError(f"{type(network).__name__} does not name its output layer (attribute `output_layer`).")
    return network.get_submodule(name)
