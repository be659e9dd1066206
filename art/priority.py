"""PCD: the gradient of a primary task, as far as the others still progress."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from torchjd.aggregation import GramianWeightedAggregator, PCDWeighting
from torchjd.linalg import PSDMatrix

from art.registry import nearest

FIRST = "first"  # in place of a task's name


class _Primary(PCDWeighting):
    """TorchJD's weighting, with any row as the primary one, which there is the first."""

    def __init__(self, primary: int, tau: float, beta: float, eps: float) -> None:
        super().__init__(tau, beta, eps)
        self.primary = primary

    def forward(self, gramian: PSDMatrix, /) -> Tensor:
        """(K,) weights of the rows from their (K, K) inner products."""
        others = [row for row in range(len(gramian)) if row != self.primary]
        order = torch.tensor([self.primary, *others], device=gramian.device)
        return super().forward(cast(PSDMatrix, gramian[order][:, order]))[order.argsort()]


class PCD(GramianWeightedAggregator):
    r"""Priority-constrained descent (https://arxiv.org/abs/2606.29521, TMLR 2026), TorchJD's, for any primary task.

    The update is the direction closest to the primary task's gradient along which every other task still progresses by
    ``tau`` of what its own gradient would give; gradients are compared by running means of their norms. It is as long
    as the primary task's gradient.

    Args:
        task_names: names of the K tasks.
        primary: the primary task; ``first`` is the first of the setting.
        tau: share of the progress, in [0, 1].
        beta: decay of the running mean of squared norms, in [0, 1).
        eps: added to that mean, >= 0.

    Raises:
        ValueError: for parameters out of range or a primary task that there is not.
    """

    def __init__(
        self,
        task_names: Sequence[str],
        primary: str = FIRST,
        tau: float = 0.02,
        beta: float = 0.999,
        eps: float = 1e-8,
    ) -> None:
        if primary not in (FIRST, *task_names):
            raise ValueError(f"no task is called {primary!r}{nearest(primary, task_names)}")
        place = list(task_names).index(primary) if primary in task_names else 0
        super().__init__(_Primary(place, tau, beta, eps))
