"""Strategies that follow the running mean of every task's gradient: DB-MTL and MoCo.

Both keep K gradients of all parameters, 4 K bytes a parameter, which are in checkpoints too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from art.jacobian import JacobianStrategy, Rows, Update
from art.shapes import PerTask, Present, WeightsOfSteps
from art.shares import among, relearned
from art.strategy import SAME

_TINY = 1e-8  # of LibMTL, beside losses and norms


class TrackedGradients(JacobianStrategy):
    r"""Running means of gradients, :math:`y_k \leftarrow y_k + b_t (g_k - y_k)`, from 0; of an absent task it rests.

    :attr:`weights` are NaN: an update is no sum of this step's gradients.

    Args:
        tasks: names of the K tasks.
    """

    weighs = False

    tracked: Tensor  #: (K, P) running means y, made by :meth:`bind`
    steps: Tensor  #: (K,) steps of each task so far

    def __init__(self, tasks: Sequence[str]):
        super().__init__(tasks)
        self.register_buffer("tracked", None)
        self.register_buffer("steps", torch.zeros(len(tasks)))

    def bind(self, network: nn.Module) -> None:
        """Make room for the running means."""
        self.tracked = self.remembered(network)

    def track(self, rows: Rows, present: Present, share: Callable[[Tensor], Tensor]) -> None:
        """Move the running means towards ``rows`` by ``share(t)``, t the steps of each task with this one."""
        self.steps = self.steps + present
        moves = torch.where(present, share(self.steps.clamp_min(1)), 0)
        self.tracked.lerp_(rows, moves[:, None])


class DBMTL(TrackedGradients):
    r"""DB-MTL, dual balancing (Lin et al., 2023, https://arxiv.org/abs/2308.12029), as LibMTL does it.

    .. math::
        g_k = \nabla \log (L_k + 10^{-8}), \quad
        y_k \leftarrow g_k + \frac{\beta}{t^s} (y_k - g_k), \quad
        u = \sum_k \frac{\max_j |y_j|}{|y_k| + 10^{-8}} \, y_k

    The sum and the maximum go over the tasks present. There is no bias correction: with ``beta = 0.9`` the first update
    has a tenth of its later length.

    Args:
        tasks: names of the K tasks.
        beta: share of the past in the running means, in [0, 1) (0.9 in LibMTL).
        beta_sigma: s >= 0, how fast that share falls (0 in LibMTL: not at all).

    Raises:
        ValueError: for parameters out of range.
    """

    def __init__(self, tasks: Sequence[str], beta: float = 0.9, beta_sigma: float = 0.0):
        super().__init__(tasks)
        if not 0 <= beta < 1 or not beta_sigma >= 0:
            raise ValueError(f"DB-MTL needs beta in [0, 1) and beta_sigma >= 0; got {beta} and {beta_sigma}.")
        self.beta, self.beta_sigma = beta, beta_sigma

    def combined(self, rows: Rows, losses: PerTask, present: Present) -> Update:
        """See :meth:`JacobianStrategy.combined`."""
        rows.div_((losses + _TINY)[:, None])
        self.track(rows, present, lambda steps: 1 - self.beta / steps**self.beta_sigma)
        norms = self.tracked.norm(dim=1)
        longest = torch.where(present, norms, 0).max()
        return torch.where(present, longest / (norms + _TINY), 0) @ self.tracked


class MoCo(TrackedGradients):
    r"""MoCo, which corrects gradients' bias (Fernando et al., ICLR 2023, https://arxiv.org/abs/2210.12624), as LibMTL
    does it.

    .. math::
        g_k = \frac{L_k \nabla L_k}{|\nabla L_k| + 10^{-8}}, \quad
        y_k \leftarrow y_k - \frac{\beta}{t^s} (y_k - g_k), \quad
        w \leftarrow \operatorname{softmax} \left( w - \frac{\gamma}{t^r} (Y Y^\top + \rho I) w \right), \quad
        u = Y^\top w

    w starts at 1 / K; the softmax and the update go over the tasks present. At its defaults, on losses of a tenth, w
    stays within 1e-4 of equal: the softmax of weights that already sum to 1 draws them together in every step (the
    paper projects on the simplex instead). What acts is that a gradient is given the length of its loss, and averaged.

    Args:
        tasks: names of the K tasks.
        beta: rate of the running means, in (0, 1] (0.5 in LibMTL).
        beta_sigma: s >= 0, how fast it falls (0.5).
        gamma: rate of w, > 0 (0.1).
        gamma_sigma: r >= 0, how fast it falls (0.5); t is the number of steps.
        rho: >= 0, draws w to equal (0).

    Raises:
        ValueError: for parameters out of range.
    """

    logarithms: Tensor  #: (K,) of w
    count: Tensor  #: steps so far
    departure: Tensor  #: the largest of w over that of equal weights, less 1, so far

    def __init__(
        self,
        tasks: Sequence[str],
        beta: float = 0.5,
        beta_sigma: float = 0.5,
        gamma: float = 0.1,
        gamma_sigma: float = 0.5,
        rho: float = 0.0,
    ):
        super().__init__(tasks)
        if not 0 < beta <= 1 or not gamma > 0 or not min(beta_sigma, gamma_sigma, rho) >= 0:
            given = f"{beta}, {gamma}, {beta_sigma}, {gamma_sigma} and {rho}"
            raise ValueError(f"MoCo needs beta in (0, 1], gamma > 0, its other parameters >= 0; got {given}.")
        self.beta, self.beta_sigma, self.gamma, self.gamma_sigma, self.rho = beta, beta_sigma, gamma, gamma_sigma, rho
        self.register_buffer("logarithms", torch.full((len(tasks),), 1 / len(tasks)).log())
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("departure", torch.zeros(()))

    def combined(self, rows: Rows, losses: PerTask, present: Present) -> Update:
        """See :meth:`JacobianStrategy.combined`."""
        rows.mul_((losses / (rows.norm(dim=1) + _TINY))[:, None])
        self.track(rows, present, lambda steps: self.beta / steps**self.beta_sigma)
        self.count = self.count + 1
        shares = among(self.logarithms, present)
        slope = self.tracked @ (shares @ self.tracked) + self.rho * shares  # (Y Y^T + rho I) w
        moved = shares - self.gamma / self.count**self.gamma_sigma * slope
        self.logarithms = relearned(self.logarithms, moved, present)
        shares = among(self.logarithms, present)
        departure = torch.where(present, shares * present.sum() - 1, 0).abs().max()
        self.departure = torch.maximum(self.departure, departure)
        return shares @ self.tracked

    def remark(self, weights: WeightsOfSteps) -> str:
        """Whether the weights of the running means were equal."""
        if self.departure >= SAME:
            return ""
        return f"weights of the running gradients never differed from equal ones by {SAME:.0%}; it scaled and averaged"
