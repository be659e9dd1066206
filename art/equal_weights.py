"""Equal weights: per sample (``mix``) and per task (``equal``)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torchjd.scalarization import Scalarizer

from art.shapes import Parameters, PerTask, Present, Scalar, WeightsOfSteps
from art.strategy import Conditions, Strategy
from art.task_losses import TaskLosses


class Mix(Strategy):
    """One loss over the shuffled mixture: every *sample* weighs the same, as the published baselines train.

    loss = sum_k n_k L_k / sum_k n_k, with n_k the samples of task k in the batch.
    """

    def unsupported(self, conditions: Conditions) -> str | None:
        """Nothing."""
        return None

    def backward(self, losses: TaskLosses, auxiliary: Scalar | None = None, parameters: Parameters = ()) -> None:
        """Weigh each task by its share of the samples."""
        self.backward_weighted(losses, losses.counts / losses.counts.sum().clamp_min(1), auxiliary)

    def remark(self, weights: WeightsOfSteps) -> str:
        """Nothing: equal weights are what it is for."""
        return ""


class Single(Mix):
    """One network for each task, the reference of the literature's delta-m; the runner trains each on its task alone.

    Args:
        tasks: one of the runner's trainings.
        full: whether each network takes as many steps as a multi-task training; without it, it sees as many samples of
            its task as that one does. Noted here, heeded by the runner.
    """

    def __init__(self, tasks: Sequence[str], full: bool = False):
        super().__init__(tasks)
        self.full = full


class Equal(Scalarizer):
    """The mean of the task losses over the tasks present: every *task* weighs the same."""

    def forward(self, values: PerTask, /, present: Present | None = None) -> Scalar:
        """Mean of ``values`` (K,) where ``present`` (K,) bool; 0 if no task is."""
        if present is None:
            return values.mean()
        return torch.where(present, values, 0).sum() / present.sum().clamp_min(1)

    def remark(self) -> str:
        """Nothing: equal weights are what it is for."""
        return ""
