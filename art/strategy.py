"""The one interface through which a training loop drives any strategy."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchjd.scalarization import Scalarizer


class Strategy(nn.Module, ABC):
    """How K task losses become one update of the parameters.

    A training step calls :meth:`backward` in place of ``loss.backward()``, then steps its optimizer, then calls
    :meth:`after_step`; it calls :meth:`end_epoch` once an epoch. ``parameters()`` are learned along with the
    network's, ``state_dict()`` holds everything a resumed run needs.
    """

    weights: Tensor  #: (K,) factors of the task losses in the last update, detached; NaN where there are none
    handles_absent = True  #: whether batches may lack some of the tasks

    def __init__(self, tasks: Sequence[str]):
        super().__init__()
        self.tasks = tuple(tasks)
        self.register_buffer("weights", torch.full((len(self.tasks),), torch.nan), persistent=False)

    @abstractmethod
    def backward(self, losses: Tensor, counts: Tensor, auxiliary: Tensor | None = None) -> None:
        """Accumulate the update's gradients in the parameters' ``.grad`` and set :attr:`weights`.

        Args:
            losses: (K,) task losses of the batch, with graph; 0 for absent tasks.
            counts: (K,) samples of each task in the batch.
            auxiliary: a scalar of the network's own (AirNet's contrastive loss), added with factor 1.
        """

    def after_step(self, losses_again: Callable[[], Tensor]) -> None:
        """After the optimizer's step; ``losses_again()`` gives the batch's new task losses without gradient."""

    def end_epoch(self) -> None:
        """At the end of an epoch of the training list."""


class ScalarizerStrategy(Strategy):
    """Drives a :class:`torchjd.scalarization.Scalarizer`.

    The scalarizer sees the losses as a leaf of its own, so its gradient there *is* the factor of each task loss,
    whatever the method, at the cost of K numbers.
    """

    def __init__(self, tasks: Sequence[str], scalarizer: Scalarizer):
        super().__init__(tasks)
        self.scalarizer = scalarizer
        self.handles_absent = "present" in inspect.signature(scalarizer.forward).parameters

    def combine(self, values: Tensor, counts: Tensor) -> Tensor:
        """The scalar of ``values``, a (K,) leaf, for a batch with ``counts`` samples a task."""
        return self.scalarizer(values, present=counts > 0) if self.handles_absent else self.scalarizer(values)

    def backward(self, losses: Tensor, counts: Tensor, auxiliary: Tensor | None = None) -> None:
        values = losses.detach().requires_grad_()
        self.combine(values, counts).backward()
        self.weights = values.grad
        total = (self.weights * losses).sum()
        (total if auxiliary is None else total + auxiliary).backward()


class MixStrategy(ScalarizerStrategy):
    """One loss over the shuffled mixture: every *sample* weighs the same, as the published baselines train.

    loss = sum_k n_k L_k / sum_k n_k, with n_k the samples of task k in the batch.
    """

    def __init__(self, tasks: Sequence[str]):
        super().__init__(tasks, _SampleMean())

    def combine(self, values: Tensor, counts: Tensor) -> Tensor:
        return self.scalarizer(values, counts)


class _SampleMean(Scalarizer):
    def __call__(self, values: Tensor, /, counts: Tensor) -> Tensor:
        return nn.Module.__call__(self, values, counts)

    def forward(self, values: Tensor, /, counts: Tensor) -> Tensor:
        return (values * counts).sum() / counts.sum().clamp_min(1)


class Equal(Scalarizer):
    """The mean of the task losses over the tasks present: every *task* weighs the same."""

    def __call__(self, values: Tensor, /, present: Tensor | None = None) -> Tensor:
        return nn.Module.__call__(self, values, present)

    def forward(self, values: Tensor, /, present: Tensor | None = None) -> Tensor:
        """Mean of ``values`` (K,) where ``present`` (K,) bool; 0 when no task is."""
        if present is None:
            return values.mean()
        return torch.where(present, values, 0).sum() / present.sum().clamp_min(1)


def wrap(method: type, tasks: Sequence[str], parameters: dict[str, Any]) -> Strategy:
    """An instance of ``method`` as a strategy.

    ``method`` is a :class:`Strategy` (built with the task names) or a TorchJD ``Scalarizer``. A parameter called
    ``tasks`` or ``shape`` gets the number of tasks K.

    Raises:
        TypeError: if ``method`` is neither, or does not take these parameters.
    """
    if not isinstance(method, type) or not issubclass(method, Strategy | Scalarizer):
        raise TypeError(f"{method!r} is neither an art.Strategy nor a torchjd Scalarizer.")
    if issubclass(method, Strategy):
        return method(tasks, **parameters)
    accepted = inspect.signature(method).parameters
    size = {key: len(tasks) for key in ("tasks", "shape") if key in accepted}
    return ScalarizerStrategy(tasks, method(**size, **parameters))
