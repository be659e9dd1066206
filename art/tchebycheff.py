"""Smooth Tchebycheff scalarization of relative losses."""

from __future__ import annotations

import torch
from torch import Tensor
from torchjd import Stateful
from torchjd.scalarization import Scalarizer

from art.shapes import PerTask, Present, Scalar

_TINY = 1e-20  # the authors' guard inside their logarithms


class STCH(Scalarizer, Stateful):
    r"""Smooth Tchebycheff scalarization (Lin et al.: ICML 2024, https://arxiv.org/abs/2402.19078) as its authors' code
    trains with it (https://github.com/Xi-L/STCH): on the logarithm of each loss over its nadir n_k.

    .. math:: \ell = K \mu \log \sum_k \exp\left( \frac{1}{\mu} \log \frac{L_k}{n_k} \right)

    The nadir is the mean loss of the epoch after ``warmup`` epochs; until the end of that epoch,
    :math:`\ell = \sum_k \log L_k`. With ``mu = 1`` the weights keep the ratios :math:`1 / n_k`; a smaller one gives
    more weight to the tasks that lag behind. Call :meth:`step` at the end of every epoch. An epoch in which this
    was not called does not count.

    K is the number of tasks present. The nadir of a task that was in no batch of that epoch is its next loss.

    TorchJD's class of that name takes losses as they are: between 0.01 and 0.2 it needs a far smaller ``mu`` to differ
    from equal weights.

    Args:
        tasks: number of tasks K.
        mu: smoothness, > 0 (1 in the authors' code).
        warmup: epochs before the one that gives the nadir, >= 0 (4 in the authors' code, of 100 to 300).

    Raises:
        ValueError: for parameters out of range.
    """

    nadir: Tensor  #: (K,), NaN before it is known
    sums: Tensor  #: (2, K), over the epoch of the nadir: of losses, of batches that hold the task

    def __init__(self, tasks: int, mu: float = 1.0, warmup: int = 4):
        super().__init__()
        if not mu > 0:
            raise ValueError(f"STCH's mu must be positive; got {mu}.")
        if warmup < 0:
            raise ValueError(f"STCH's warmup is a number of epochs, 0 or more; got {warmup}.")
        self.mu, self.warmup, self.epoch, self.called = mu, warmup, 0, False
        self.register_buffer("nadir", torch.full((tasks,), torch.nan))
        self.register_buffer("sums", torch.zeros(2, tasks))

    def forward(self, values: PerTask, /, present: Present | None = None) -> Scalar:
        """Combine (K,) positive losses to a scalar; entries of tasks not ``present`` (K,) bool are not read."""
        present = torch.ones_like(values, dtype=torch.bool) if present is None else present
        values = torch.where(present, values, 1)
        self._update(values.detach(), present)
        if self.epoch <= self.warmup:
            return torch.where(present, (values + _TINY).log(), 0).sum()
        logarithms = (values / self.nadir.nan_to_num(1) + _TINY).log() / self.mu
        lowest = torch.finfo(values.dtype).min
        return present.sum() * self.mu * torch.where(present, logarithms, lowest).logsumexp(0)

    @torch.no_grad()
    def _update(self, losses: Tensor, present: Tensor) -> None:
        if not self.training:
            return
        self.called = True
        if self.epoch == self.warmup:
            self.sums = self.sums + torch.stack([losses, torch.ones_like(losses)]) * present
        elif self.epoch > self.warmup:
            self.nadir = torch.where(self.nadir.isnan() & present, losses, self.nadir)

    def step(self) -> None:
        """The end of an epoch."""
        if self.called:
            if self.epoch == self.warmup:
                self.nadir = self.sums[0] / self.sums[1]  # 0 / 0, NaN, where the task was absent
            self.epoch, self.called = self.epoch + 1, False

    def remark(self) -> str:
        """What readers of a finished run must know; empty if nothing."""
        if self.epoch > self.warmup:
            return ""
        return f"no smooth maximum: the run ended within the {self.warmup + 1} epochs that sum the losses' logarithms"

    def reset(self) -> None:
        self.nadir.fill_(torch.nan)
        self.sums.zero_()
        self.epoch, self.called = 0, False
