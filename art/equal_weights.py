"""Equal weights: per sample (``mix``) and per task (``equal``)."""

from __future__ import annotations

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
        return None

    def backward(self, losses: TaskLosses, auxiliary: Scalar | None = None, parameters: Parameters = ()) -> None:
        self.backward_weighted(losses, losses.counts / losses.counts.sum().clamp_min(1), auxiliary)

    def remark(self, weights: WeightsOfSteps) -> str:
        return ""


class Equal(Scalarizer):
    """The mean of the task losses over the tasks present: every *task* weighs the same."""

    def forward(self, values: PerTask, /, present: Present | None = None) -> Scalar:
        """Mean of ``values`` (K,) where ``present`` (K,) bool; 0 if no task is."""
        if present is None:
            return values.mean()
        return torch.where(present, values, 0).sum() / present.sum().clamp_min(1)

    def remark(self) -> str:
        return ""
