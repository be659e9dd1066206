"""Weights of tasks that stay as they are given (``fixed``)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from art.shapes import Parameters, Scalar, WeightsOfSteps
from art.strategy import Conditions, Strategy, same_as_equal
from art.task_losses import TaskLosses
from art.task_weights import weights_of


class Fixed(Strategy):
    r"""The mean of the task losses with constant weights :math:`c_k`.

    .. math:: \ell = \sum_{k \in P} c_k L_k \Big/ \sum_{k \in P} c_k

    P are the tasks present. Only the ratios of the weights matter; with equal ones it is ``equal``, which is the mean
    over the tasks present as well. Tuned weights of this kind are what other strategies have to beat (Xin et al., "Do
    Current Multi-Task Optimization Methods in Deep Learning Even Help?", NeurIPS 2022,
    https://arxiv.org/abs/2209.11379).

    A task that weighs 0 is not trained, though its samples stay in the batches; a batch of such tasks only gives no
    update.

    Args:
        tasks: their names.
        weights: by a task's name, finite and >= 0; tasks that are not named weigh 1.

    Raises:
        ValueError: for no weights, names of no task, weights out of range or all 0.
    """

    shares: Tensor  #: (K,) weights as given, the largest scaled to 1

    def __init__(self, tasks: Sequence[str], /, **weights: float):
        super().__init__(tasks)
        shares = torch.tensor([*weights_of(weights, tasks).values()], dtype=torch.float64)
        self.register_buffer("shares", (shares / shares.max()).float(), persistent=False)

    def unsupported(self, conditions: Conditions) -> str | None:
        """Nothing."""
        return None

    def backward(self, losses: TaskLosses, auxiliary: Scalar | None = None, parameters: Parameters = ()) -> None:
        """Weigh the tasks present, with sum 1."""
        shares = torch.where(losses.present, self.shares, 0)
        self.backward_weighted(losses, shares / shares.sum().clamp_min(torch.finfo(shares.dtype).tiny), auxiliary)

    def remark(self, weights: WeightsOfSteps) -> str:
        """The tasks that were not trained, or that the weights were equal after all."""
        idle = [task for task, share in zip(self.tasks, self.shares.tolist(), strict=True) if not share]
        return f"not trained, for their weight is 0: {', '.join(idle)}" if idle else same_as_equal(weights)
