"""LDC-MTL: learned weights that are to even out the weighted losses."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torchjd import Stateful
from torchjd.scalarization import Scalarizer

from art.shapes import PerTask, Present, Scalar

_LOWEST = 1e-8  # losses are read as at least this where they are divided by, or their logarithm is taken


class LDCMTL(Scalarizer, Stateful):
    r"""LDC-MTL, loss discrepancy control (Xiao et al., 2025, https://arxiv.org/abs/2502.08585), as its trainers do it.

    .. math::
        w = \sigma(r), \qquad \ell = \frac{\sum_k w_k z_k}{\sum_k w_k} + \lambda \sum_k | w_k z_k - w_{k+1} z_{k+1} |

    z are the normalised losses. r starts at 1 and is learned by Adam on the same scalar: of the paper's two levels one
    is left. Its trainers differ. By ``scale``:

    ``ratio``: z_k = L_k min(L^0) / L^0_k with first losses L^0 (NYUv2, Cityscapes); the divisor carries a gradient.
    ``log``: z_k = log(L_k / L^0_k) with the first losses of the epoch (QM9), a divisor without gradient.
    ``none``: z_k = L_k (CelebA), a divisor without gradient.

    The penalty couples neighbours: the order of the tasks changes the result. Where tasks are absent, those beside them
    are neighbours. NYUv2's trainer computes r from pooled features by a layer; here r are K numbers, as in CelebA's.

    Args:
        tasks: number of tasks K.
        lamb: lambda, >= 0 (0.05 in the trainers for NYUv2 and QM9, 0.1 for Cityscapes, 0.01 for CelebA).
        lr: rate of the Adam that learns r, constant, > 0. In the trainers it is the network's, 1e-3 or 8e-5; 0.025 is
            what the other learned weights of this project have.
        scale: how losses are normalised.

    Raises:
        ValueError: for parameters out of range.
    """

    first: Tensor  #: (K,) first losses, NaN before they are known

    def __init__(
        self,
        tasks: int,
        lamb: float = 0.05,
        lr: float = 0.025,
        scale: Literal["ratio", "log", "none"] = "ratio",
    ):
        super().__init__()
        if not lr > 0:
            raise ValueError(f"lr must be positive; got {lr}.")
        if not lamb >= 0:
            raise ValueError(f"LDC-MTL's lamb must not be negative; got {lamb}.")
        if scale not in ("ratio", "log", "none"):
            raise ValueError(f"LDC-MTL's scale is one of ratio, log, none; got {scale!r}.")
        self.lamb, self.learning_rate, self.scale = lamb, lr, scale
        self.raw = nn.Parameter(torch.ones(tasks))
        self.register_buffer("first", torch.full((tasks,), torch.nan))

    def forward(self, values: PerTask, /, present: Present | None = None) -> Scalar:
        """Combine (K,) losses to a scalar; entries of tasks that are not ``present`` (K,) bool are not read."""
        present = torch.ones_like(values, dtype=torch.bool) if present is None else present
        values = torch.where(present, values, 1)
        weights = torch.where(present, self.raw.sigmoid(), 0)
        weighted = weights * self._normalised(values, present)
        divisor = weights.sum() if self.scale == "ratio" else weights.sum().detach()
        return weighted.sum() / divisor.clamp_min(_LOWEST) + self.lamb * _discrepancy(weighted, present)

    def _normalised(self, values: PerTask, present: Present) -> PerTask:
        if self.scale == "none":
            return values
        values = values.clamp_min(_LOWEST)
        with torch.no_grad():
            first = torch.where(self.first.isnan() & present, values, self.first)
            if self.training:
                self.first = first
            smallest = first.nan_to_num(torch.inf).min()
            first = torch.where(present, first, 1)
        return (values / first).log() if self.scale == "log" else values / (first / smallest)

    def step(self) -> None:
        """The end of an epoch."""
        if self.scale == "log":
            self.first = torch.full_like(self.first, torch.nan)

    @torch.no_grad()
    def reset(self) -> None:
        """Start again from equal weights and the next losses."""
        self.raw.fill_(1)
        self.first.fill_(torch.nan)


def _discrepancy(weighted: PerTask, present: Present) -> Scalar:
    """The sum of the differences between neighbours, in task order, of the tasks present."""
    order = (~present).to(torch.uint8).argsort(stable=True)  # those present first
    ordered, both = weighted.gather(0, order), present.gather(0, order)[1:]
    return torch.where(both, (ordered[:-1] - ordered[1:]).abs(), 0).sum()
