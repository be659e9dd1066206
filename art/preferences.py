"""Scalarizers that lead the losses along a preference between the tasks: COSMOS and PBI."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torchjd.scalarization as torchjd
from torch import Tensor
from torchjd.scalarization import Scalarizer

from art.shapes import PerTask, Present, Scalar
from art.task_weights import weights_of


class _Preference(Scalarizer):
    """TorchJD's method, with the preference over the tasks present scaled to sum 1.

    Args:
        method: of TorchJD, with an attribute ``weights``.
        task_names: names of the K tasks.
        preference: by a task's name, finite and >= 0; tasks that are not named count 1.

    Raises:
        ValueError: for names of no task, and preferences out of range or all 0.
    """

    preference: Tensor  #: (K,)

    def __init__(
        self, method: torchjd.COSMOS | torchjd.PBI, task_names: Sequence[str], preference: dict[str, float]
    ) -> None:
        super().__init__()
        given = weights_of(preference or {task_names[0]: 1.0}, task_names)
        self.method = method
        self.register_buffer("preference", torch.tensor([*given.values()]), persistent=False)

    def forward(self, values: PerTask, /, present: Present | None = None) -> Scalar:
        """Combine (K,) losses to a scalar; entries of tasks not ``present`` (K,) bool are not read."""
        if present is None:
            present = torch.ones_like(values, dtype=torch.bool)
        preference = torch.where(present, self.preference, 0)
        self.method.weights = preference / preference.sum().clamp_min(torch.finfo(values.dtype).tiny)
        return self.method(torch.where(present, values, 0))


class COSMOS(_Preference):
    r"""COSMOS (Ruchte, Grabocka: ICDM 2021, https://arxiv.org/abs/2103.13392), :math:`r \cdot L - \lambda \cos(r, L)`.

    The preference r weighs the losses, and the second term draws their ratios to its own. The paper draws r anew in
    every step and shows it to the network, to have the whole front from one training; here it is constant, and a sweep
    trains a network for each. Weights may be negative: the loss of a task too good for the preference is raised.

    Args:
        task_names: names of the K tasks.
        penalty: lambda, >= 0; 0 is a weighted sum. The paper has 0.01 to 8, by data set.
        preference: by a task's name, >= 0; 1 if not named. Only ratios count: over the tasks present, r sums to 1.

    Raises:
        ValueError: for parameters out of range.
    """

    def __init__(self, task_names: Sequence[str], penalty: float = 0.1, **preference: float) -> None:
        if not penalty >= 0:
            raise ValueError(f"COSMOS's penalty must not be negative; got {penalty}.")
        super().__init__(torchjd.COSMOS(penalty, torch.empty(0)), task_names, preference)


class PBI(_Preference):
    r"""Penalty-based boundary intersection (Zhang, Li: MOEA/D, IEEE TEC 2007): :math:`d_1 + \theta d_2`.

    :math:`d_1` is the length of the losses along the preference's direction, :math:`d_2` their distance from it: they
    are drawn to its ratios, so that a task of a *larger* preference is left a larger loss. The ideal point is 0.
    Weights may be negative, as of :class:`COSMOS`.

    Args:
        task_names: names of the K tasks.
        theta: penalty of the distance, >= 0; 5 in the paper. 0 is a weighted sum.
        preference: as of :class:`COSMOS`.

    Raises:
        ValueError: for parameters out of range.
    """

    def __init__(self, task_names: Sequence[str], theta: float = 5.0, **preference: float) -> None:
        if not theta >= 0:
            raise ValueError(f"PBI's theta must not be negative; got {theta}.")
        super().__init__(torchjd.PBI(theta, torch.empty(0)), task_names, preference)
