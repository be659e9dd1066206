"""Scalarizers without state, whose weights follow from this step's losses alone."""

from __future__ import annotations

import torch
from torchjd.scalarization import Scalarizer

from art.shapes import PerTask, Present, Scalar
from art.shares import among

_LOWEST = 1e-8  # losses are read as at least this: at 0 both weights are infinite


class Log(Scalarizer):
    r"""The sum of the losses' logarithms, :math:`\ell = \sum_k \log L_k`, which makes a task's weight :math:`1 / L_k`.

    No scale of a loss matters to it. Navon et al. (ICML 2022, https://arxiv.org/abs/2202.01017) compare with it as
    "scale-invariant" (SI); its gradient is that of UW-O, :math:`\sum_k L_k / \operatorname{sg}(L_k)`
    (Kirchdorfer et al., https://arxiv.org/abs/2408.07985), and K times that of the geometric mean over that mean.
    """

    def forward(self, values: PerTask, /, present: Present | None = None) -> Scalar:
        """Combine (K,) losses to a scalar; entries of tasks that are not ``present`` (K,) bool are not read."""
        present = torch.ones_like(values, dtype=torch.bool) if present is None else present
        values = torch.where(present, values, 1)
        return torch.where(present, values.clamp_min(_LOWEST).log(), 0).sum()


class UWSO(Scalarizer):
    r"""Soft optimal uncertainty weighting, UW-SO (Kirchdorfer et al., "Analytical Uncertainty-Based Loss Weighting in
    Multi-Task Learning", GCPR 2024, https://arxiv.org/abs/2408.07985).

    .. math:: w = \operatorname{softmax}_{k \text{ present}} \left( \frac{1}{T} \cdot \frac{1}{L_k} \right), \qquad
        \ell = \sum_k w_k L_k

    The weights carry no gradient. The paper tunes T for every data set and has no default. On losses of 0.01 to 0.2,
    1 / L_k is 5 to 100: with T = 1 the smallest loss gets all the weight, with T = 50 (our choice) up to some six times
    that of the largest, and T to infinity is ``equal``.

    Args:
        temperature: T, > 0, in units of one over a loss.

    Raises:
        ValueError: if ``temperature`` is not positive.
    """

    def __init__(self, temperature: float = 50.0):
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"UW-SO's temperature must be positive; got {temperature}.")
        self.temperature = temperature

    def forward(self, values: PerTask, /, present: Present | None = None) -> Scalar:
        """Combine (K,) losses to a scalar; entries of tasks that are not ``present`` (K,) bool are not read."""
        present = torch.ones_like(values, dtype=torch.bool) if present is None else present
        scores = 1 / (self.temperature * values.detach().clamp_min(_LOWEST))
        return (among(scores, present) * torch.where(present, values, 0)).sum()
