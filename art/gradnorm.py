"""GradNorm: weights that even out the tasks' gradient norms."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from art.gradients import no_output_layer, output_layer, task_gradients
from art.learning import Learner
from art.shapes import Parameters, PerTask, Scalar
from art.strategy import Conditions, Strategy
from art.task_losses import TaskLosses

_LOWEST = 1e-3  # of the weights


class GradNorm(Strategy):
    r"""GradNorm (Chen et al., ICML 2018, https://arxiv.org/abs/1711.02257).

    Learns weights w_k, with sum K, so that the norms G_k of w_k times the gradient of task k at the last shared layer
    approach :math:`\bar G \, r_k^\alpha`; r_k is the task's loss over its first loss, relative to the tasks' mean.
    All layers of these networks are shared; the last is the network's output layer (``output_layer``). A weight never
    falls below 0.001 before the weights are scaled to their sum (our choice: Adam could take one below 0).

    Args:
        tasks: their names.
        alpha: strength of the restoring force, >= 0 (the paper's is 1.5 or 0.12, by data set).
        lr: rate of the Adam that learns the weights (0.025 in the paper).

    Raises:
        ValueError: for parameters out of range.
    """

    factors: Tensor  #: (K,) weights of the next update
    first: Tensor  #: (K,) first loss of each task, NaN before it is known

    def __init__(self, tasks: Sequence[str], alpha: float = 1.5, lr: float = 0.025):
        super().__init__(tasks)
        if alpha < 0 or lr <= 0:
            raise ValueError(f"GradNorm needs alpha >= 0 and lr > 0; got {alpha} and {lr}.")
        self.alpha = alpha
        self.register_buffer("factors", torch.ones(len(tasks)))
        self.register_buffer("first", torch.full((len(tasks),), torch.nan))
        self.learner = Learner((len(tasks),), lr)
        self._add_up: Callable[[Tensor], object] | None = None
        self._layer: list[nn.Parameter] = []  # a list, so that it is not registered as a parameter of the strategy

    def unsupported(self, conditions: Conditions) -> str | None:
        """Batches that lack tasks, and networks that do not name their output layer."""
        if conditions.absent_tasks:
            return "needs every task in every batch"
        return no_output_layer(conditions.network)

    def distribute(self, processes: int, add_up: Callable[[Tensor], object]) -> None:
        """See :meth:`Strategy.distribute`."""
        self._add_up = add_up

    def bind(self, network: nn.Module) -> None:
        """Find the output layer."""
        self._layer = [output_layer(network).get_parameter("weight")]

    def backward(self, losses: TaskLosses, auxiliary: Scalar | None = None, parameters: Parameters = ()) -> None:
        """Apply the weights there are, then learn those of the next update."""
        rows = task_gradients(losses.separate, self._layer, retain=True)
        if self._add_up:
            self._add_up(rows)
        norms = rows.norm(dim=1)
        self.backward_weighted(losses, self.factors.clone(), auxiliary)
        self._learn(losses.values, norms)

    @torch.no_grad()
    def _learn(self, losses: PerTask, norms: PerTask) -> None:
        self.first = torch.where(self.first.isnan(), losses, self.first)
        ratio = losses / self.first.clamp_min(1e-12)
        scaled = self.factors * norms
        target = scaled.mean() * (ratio / ratio.mean().clamp_min(1e-12)) ** self.alpha
        slope = torch.sign(scaled - target) * norms  # of sum |G_k - target_k|, the target held constant
        moved = self.learner.step(self.factors, slope).clamp_min(_LOWEST)
        self.factors = moved * len(moved) / moved.sum()
