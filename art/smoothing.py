"""CR-MOGM: the weights of another strategy, smoothed over the steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from art.shapes import Parameters, PerTask, Present, Scalar, WeightsOfSteps
from art.strategy import Conditions, Strategy
from art.task_losses import TaskLosses


class CRMOGM(Strategy):
    r"""Smooths the weights :math:`\hat w` of another strategy (Zhou et al., "On the Convergence of Stochastic
    Multi-Objective Gradient Manipulation and Beyond", NeurIPS 2022).

    .. math:: w_k \leftarrow \alpha w_k + (1 - \alpha) \hat w_k

    The first are those of the other strategy. They weigh whatever it weighs, task losses or gradients; what it learns
    by itself it goes on learning by its own rule. The weight of an absent task rests (our choice: the method does not
    know absent tasks), so the weights need not keep the sum that the other strategy gives them.

    Args:
        tasks: their names.
        of: the other strategy, for the same tasks; it is part of this one.
        alpha: share of the weights so far, in [0, 1); 0 changes nothing. 0.9 is TorchJD's; the paper lets it approach 1
            as the learning rate falls.

    Raises:
        ValueError: for ``alpha`` out of range, or a strategy that has no weights.
    """

    smoothed: Tensor  #: (K,), NaN for tasks that were in no batch yet

    def __init__(self, tasks: Sequence[str], of: Strategy, alpha: float = 0.9):
        super().__init__(tasks)
        if not 0 <= alpha < 1:
            raise ValueError(f"CR-MOGM's alpha must lie in [0, 1); got {alpha}.")
        if not of.weighs:
            raise ValueError("it smooths the weights of tasks, and this one works without any.")
        self.alpha, self.of = alpha, of
        self.needs_gradients = of.needs_gradients
        self.register_buffer("smoothed", torch.full((len(tasks),), torch.nan))
        of.revise = self._smooth

    @torch.no_grad()
    def _smooth(self, weights: PerTask, present: Present) -> PerTask:
        before = torch.where(self.smoothed.isnan(), weights, self.smoothed)
        self.smoothed = torch.where(present, self.alpha * before + (1 - self.alpha) * weights, self.smoothed)
        return torch.where(present, self.smoothed, 0)

    def unsupported(self, conditions: Conditions) -> str | None:
        """What the other strategy cannot do."""
        return self.of.unsupported(conditions)

    def bind(self, network: nn.Module) -> None:
        """Passed on."""
        self.of.bind(network)

    def distribute(self, processes: int, add_up: Callable[[Tensor], object]) -> None:
        """Passed on."""
        self.of.distribute(processes, add_up)

    def backward(self, losses: TaskLosses, auxiliary: Scalar | None = None, parameters: Parameters = ()) -> None:
        """The update of the other strategy, with smoothed weights.

        Raises:
            ValueError: if it is a class of one's own that does not ask for them (``backward_weighted`` does).
        """
        before = self.smoothed
        self.of.backward(losses, auxiliary, parameters)
        if self.smoothed is before:
            raise ValueError("crmogm cannot smooth a strategy that does not call backward_weighted.")
        self.weights = self.of.weights

    def step(self, optimizer: Optimizer, factor: Scalar | None = None) -> None:
        """Passed on."""
        self.of.step(optimizer, factor)

    def after_step(self, losses_again: Callable[[], PerTask]) -> None:
        """Passed on."""
        self.of.after_step(losses_again)

    def end_epoch(self) -> None:
        """Passed on."""
        self.of.end_epoch()

    def remark(self, weights: WeightsOfSteps) -> str:
        """That of the other strategy."""
        return self.of.remark(weights)

    def get_extra_state(self) -> dict[str, dict[str, object]]:
        """Nothing: the other strategy, a part of this one, keeps its own."""
        return {}
