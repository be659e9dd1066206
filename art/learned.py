"""Scalarizers whose weights are learned: uncertainty weighting and IMTL-L as TorchJD has them, made to learn.

Trained along with a network they hardly move: its rate is small for them, and its schedule ends near 0. Here they start
where the first losses put them and are learned at a rate of their own, which no schedule touches.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchjd import scalarization

LOWEST = 1e-8  # losses are read as at least this: the logarithm of 0 is no start


class _Learned:
    """What :class:`UW` and :class:`IMTLL` share; stands before TorchJD's class of the method.

    Args:
        shape: number of tasks K.
        lr: learning rate of s, constant, > 0. The papers have none; 0.025 is what GradNorm and FAMO learn weights with.

    Raises:
        ValueError: if ``lr`` is not positive.
    """

    def __init__(self, shape: int, lr: float = 0.025):
        super().__init__(shape)
        if not lr > 0:
            raise ValueError(f"lr must be positive; got {lr}.")
        self.learning_rate = lr
        self.register_buffer("started", torch.zeros(shape, dtype=torch.bool))

    def __call__(self, values: Tensor, /, present: Tensor | None = None) -> Tensor:
        """Combine (K,) losses to a scalar; entries of tasks that are not ``present`` (K,) bool are not read."""
        return nn.Module.__call__(self, values, present)

    def forward(self, values: Tensor, /, present: Tensor | None = None) -> Tensor:
        """See :meth:`__call__`."""
        present = torch.ones_like(values, dtype=torch.bool) if present is None else present
        values = torch.where(present, values, 1)
        (learned,) = self.parameters()
        with torch.no_grad():
            if self.training:
                best = self.best(values.detach().clamp_min(LOWEST))
                learned.copy_(torch.where(present & ~self.started, best, learned))
                self.started = self.started | present
        return torch.where(present, self.terms(learned, values), 0).sum()

    def reset(self) -> None:
        super().reset()
        self.started.zero_()


class UW(_Learned, scalarization.UW):
    r"""Uncertainty weighting (Kendall, Gal, Cipolla: CVPR 2018), :math:`\sum_k \frac{1}{2} (e^{-s_k} L_k + s_k)`.

    For steady losses the best :math:`s_k` is :math:`\log L_k`, which makes a task's weight :math:`1 / (2 L_k)`. Each
    s_k starts at the best for the first loss of its task (ours; the paper finds the start of no importance, with longer
    runs) and is learned at the rate ``lr``. Parameters and errors: see the constructor.
    """

    @staticmethod
    def best(losses: Tensor) -> Tensor:
        """s (K,) that steady losses (K,) lead to."""
        return losses.log()

    @staticmethod
    def optimum(losses: Tensor) -> Tensor:
        """Weights (K,) that steady losses (K,) lead to."""
        return 0.5 / losses

    @staticmethod
    def terms(learned: Tensor, values: Tensor) -> Tensor:
        """What is summed over the tasks (K,)."""
        return 0.5 * (-learned).exp() * values + 0.5 * learned


class IMTLL(_Learned, scalarization.IMTLL):
    r"""IMTL-L (Liu et al.: ICLR 2021), :math:`\sum_k (e^{s_k} L_k - s_k)`.

    For steady losses the best :math:`s_k` is :math:`-\log L_k`, which makes a task's weight :math:`1 / L_k`. Start and
    rate as of :class:`UW`.
    """

    @staticmethod
    def best(losses: Tensor) -> Tensor:
        """s (K,) that steady losses (K,) lead to."""
        return -losses.log()

    @staticmethod
    def optimum(losses: Tensor) -> Tensor:
        """Weights (K,) that steady losses (K,) lead to."""
        return 1 / losses

    @staticmethod
    def terms(learned: Tensor, values: Tensor) -> Tensor:
        """What is summed over the tasks (K,)."""
        return learned.exp() * values - learned
