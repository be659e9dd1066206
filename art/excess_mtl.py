"""ExcessMTL: weights that follow how far each task is from its best."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from art.jacobian import JacobianStrategy, Rows, Update
from art.shapes import PerTask, Present, WeightsOfSteps
from art.shares import among, relearned

_TINY = 1e-7  # the authors' guard under their root


class ExcessMTL(JacobianStrategy):
    r"""Excess risks as weights (He et al., ICML 2024, https://proceedings.mlr.press/v235/he24n.html).

    .. math::
        S_k \leftarrow S_k + g_k^2, \qquad e_k = \sum_i \frac{g_{ki}^2}{\sqrt{S_{ki} + 10^{-7}}}, \qquad
        w_k \leftarrow w_k \, e^{\eta e_k / e^0_k} \Big/ \sum_j w_j \, e^{\eta e_j / e^0_j}, \qquad
        u = \sum_k w_k g_k

    (equations 6, 7 and 9; w on the simplex, as in the paper, from 1 / K). The level e^0 is the task's mean e_k in the
    first ``warmup`` epochs, in which w stays (appendix C.1). Without it, the level is that of the first step, and one
    step's noise decides on weights for good: ``warmup = 0`` is LibMTL, up to its sum of weights, K; TorchJD's at its
    defaults also takes the first e_k as they are, which gives one task everything. An epoch in which it was not called
    does not count. The level of a task that was in no batch of the warm-up is its next e_k.

    Keeps K numbers a parameter, 4 K bytes, which are in checkpoints too.

    Args:
        tasks: names of the K tasks.
        step_size: eta, > 0 (1 in TorchJD; 0.01 in LibMTL, which hardly moves the weights in a demo run).
        warmup: epochs, >= 0 (3 in the paper).

    Raises:
        ValueError: for parameters out of range.
    """

    squares: Tensor  #: (K, P) sums of squared gradients S, made by :meth:`bind`
    sums: Tensor  #: (2, K) over the warm-up: of e, and of steps with the task
    logarithms: Tensor  #: (K,) of w
    epoch: Tensor  #: epochs so far
    called: Tensor  #: 1 if this was called in the epoch, else 0

    def __init__(self, tasks: Sequence[str], step_size: float = 1.0, warmup: int = 3):
        super().__init__(tasks)
        if not step_size > 0 or warmup < 0:
            raise ValueError(f"ExcessMTL needs step_size > 0 and warmup >= 0; got {step_size} and {warmup}.")
        self.step_size, self.warmup = step_size, warmup
        self.register_buffer("squares", None)
        self.register_buffer("sums", torch.zeros(2, len(tasks)))
        self.register_buffer("logarithms", torch.full((len(tasks),), 1 / len(tasks)).log())
        self.register_buffer("epoch", torch.zeros(()))
        self.register_buffer("called", torch.zeros(()))

    def bind(self, network: nn.Module) -> None:
        """Make room for the sums of squares."""
        self.squares = self.remembered(network)

    def combined(self, rows: Rows, losses: PerTask, present: Present) -> Update:
        """See :meth:`JacobianStrategy.combined`."""
        self.squares.addcmul_(rows, rows)
        excess = [(row**2 / (squares + _TINY).sqrt()).sum() for row, squares in zip(rows, self.squares, strict=True)]
        self._learn(torch.stack(excess), present)
        weights = among(self.logarithms, present)
        self.weights = self.revise(weights, present) if self.revise else weights
        return self.weights @ rows

    def _learn(self, excess: PerTask, present: Present) -> None:
        self.called = torch.ones_like(self.called)
        measured = present & ((self.epoch < self.warmup) | (self.sums[1] == 0))
        self.sums = self.sums + torch.where(measured, torch.stack([excess, torch.ones_like(excess)]), 0)
        relative = excess * self.sums[1] / self.sums[0].clamp_min(torch.finfo(excess.dtype).tiny)
        moved = self.logarithms + self.step_size * relative
        self.logarithms = relearned(self.logarithms, moved, present & ~measured)

    def end_epoch(self) -> None:
        """Count it."""
        self.epoch, self.called = self.epoch + self.called, torch.zeros_like(self.called)

    def remark(self, weights: WeightsOfSteps) -> str:
        """That the warm-up never ended, or that the weights were equal after all."""
        if self.epoch < self.warmup:
            return f"equal weights: the run ended within the {self.warmup} epochs of its warm-up"
        return super().remark(weights)
