"""Scalarizers whose weights are learned: uncertainty weighting and IMTL-L.

Trained along with a network, as TorchJD's are, they hardly move: its rate is small for them, and its schedule ends near
0. Here they start where the first losses put them and are learned at a rate of their own, which no schedule touches.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torchjd import Stateful
from torchjd.scalarization import Scalarizer

from art.shapes import PerTask, Present, Scalar

_LOWEST = 1e-8  # losses are read as at least this: the logarithm of 0 is no start


class LearnedWeights(Scalarizer, Stateful):
    """A scalarizer with one learned number s_k per task, which starts at the best for the task's first loss.

    Args:
        shape: number of tasks K.
        lr: learning rate of s, constant, > 0. The papers have none; 0.025 is what GradNorm and FAMO learn weights with.

    Raises:
        ValueError: if ``lr`` is not positive.
    """

    started: Tensor  #: (K,) bool, tasks that have had a loss
    parameter_name: str  #: of s in ``state_dict()``

    def __init__(self, shape: int, lr: float = 0.025):
        super().__init__()
        if not lr > 0:
            raise ValueError(f"lr must be positive; got {lr}.")
        self.learning_rate = lr
        self.register_parameter(self.parameter_name, nn.Parameter(torch.zeros(shape)))
        self.register_buffer("started", torch.zeros(shape, dtype=torch.bool))

    @staticmethod
    @abstractmethod
    def best(losses: PerTask) -> PerTask:
        """s (K,) that steady losses (K,) lead to."""

    @staticmethod
    @abstractmethod
    def terms(learned: PerTask, values: PerTask) -> PerTask:
        """What is summed over the tasks (K,), for s and losses."""

    def forward(self, values: PerTask, /, present: Present | None = None) -> Scalar:
        """Combine (K,) losses to a scalar; entries of tasks that are not ``present`` (K,) bool are not read."""
        present = torch.ones_like(values, dtype=torch.bool) if present is None else present
        values = torch.where(present, values, 1)
        learned = self.get_parameter(self.parameter_name)
        with torch.no_grad():
            if self.training:
                best = self.best(values.detach().clamp_min(_LOWEST))
                learned.copy_(torch.where(present & ~self.started, best, learned))
                self.started = self.started | present
        return torch.where(present, self.terms(learned, values), 0).sum()

    def optimum(self, losses: PerTask) -> PerTask:
        """Weights (K,) that steady losses (K,) lead to: the derivatives of the terms at the best s."""
        values = losses.clone().requires_grad_()
        return torch.autograd.grad(self.terms(self.best(losses), values).sum(), values)[0]

    @torch.no_grad()
    def reset(self) -> None:
        self.get_parameter(self.parameter_name).zero_()
        self.started.zero_()


class UW(LearnedWeights):
    r"""Uncertainty weighting (Kendall, Gal, Cipolla: CVPR 2018), :math:`\sum_k \frac{1}{2} (e^{-s_k} L_k + s_k)`.

    For steady losses the best :math:`s_k` is :math:`\log L_k`, which makes a task's weight :math:`1 / (2 L_k)`. Each
    s_k starts at the best for the first loss of its task (our choice; in the paper, with longer runs, the start does
    not matter) and is learned at the rate ``lr``. Parameters and errors: see :class:`LearnedWeights`.
    """

    parameter_name = "log_var"

    @staticmethod
    def best(losses: PerTask) -> PerTask:
        return losses.log()

    @staticmethod
    def terms(learned: PerTask, values: PerTask) -> PerTask:
        return 0.5 * (-learned).exp() * values + 0.5 * learned


class IMTLL(LearnedWeights):
    r"""IMTL-L (Liu et al.: ICLR 2021), :math:`\sum_k (e^{s_k} L_k - s_k)`.

    For steady losses the best :math:`s_k` is :math:`-\log L_k`, which makes a task's weight :math:`1 / L_k`. Start and
    rate as in :class:`UW`.
    """

    parameter_name = "log_scale"

    @staticmethod
    def best(losses: PerTask) -> PerTask:
        return -losses.log()

    @staticmethod
    def terms(learned: PerTask, values: PerTask) -> PerTask:
        return learned.exp() * values - learned
