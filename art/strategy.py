"""The one interface through which a training loop drives any strategy."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchjd.aggregation import Aggregator
from torchjd.scalarization import Scalarizer

from art.learning import Learner
from art.state import allow_late_buffers, hidden_state, restore_hidden_state

SAME = 0.01  # weights that never differ by more than this, relative to their mean, are told to have had no effect


class Strategy(nn.Module, ABC):
    """How K task losses become one update of the parameters.

    A training loop calls :meth:`bind` once, and in every step :meth:`backward` in place of ``loss.backward()``, then
    steps its optimizer, then calls :meth:`after_step`; it calls :meth:`end_epoch` once an epoch. A step without task
    losses (in the warm-up of AirNet's encoder) calls neither ``backward`` nor ``after_step``.

    ``parameters()`` are learned along with the network's (after :meth:`bind`), at its rate and schedule, where
    ``backward`` leaves a gradient in them; those that a strategy learns by itself are left without. ``state_dict()``
    holds everything a resumed run needs.
    """

    weights: Tensor  #: (K,) factors of the task losses in the last update, detached; NaN where there are none
    handles_absent = True  #: whether batches may lack some of the tasks
    needs_gradients = False  #: whether :meth:`backward` differentiates every task loss for itself
    needs_errors = False  #: whether :meth:`backward` takes the errors of every pixel as well

    def __init__(self, tasks: Sequence[str]):
        super().__init__()
        self.tasks = tuple(tasks)
        self.register_buffer("weights", torch.full((len(self.tasks),), torch.nan), persistent=False)

    def bind(self, network: nn.Module) -> None:
        """Meet the network before training, for strategies that look inside it.

        Raises:
            ValueError: if the strategy cannot work with this network.
        """

    @abstractmethod
    def backward(
        self,
        losses: Tensor | Sequence[Tensor],
        counts: Tensor,
        auxiliary: Tensor | None = None,
        parameters: Iterable[nn.Parameter] = (),
    ) -> None:
        """Accumulate the update's gradients in the parameters' ``.grad`` and set :attr:`weights`.

        Args:
            losses: (K,) task losses of the batch, with graph; 0 for absent tasks. A strategy that ``needs_gradients``
                also takes K scalars with graphs of their own, which spares it from walking the others' samples.
            counts: (K,) samples of each task in the batch. A task's samples lie together in it, in task order.
            auxiliary: a scalar of the network's own (AirNet's contrastive loss), added with factor 1.
            parameters: what the update is for; strategies that ``needs_gradients`` require it.

        A strategy that ``needs_errors`` takes one more argument, by name, ``errors``: (B, 3, H, W) absolute errors of
        the batch's samples in task order, with graph, whose means are the task losses.
        """

    def after_step(self, losses_again: Callable[[], Tensor]) -> None:
        """After the optimizer's step; ``losses_again()`` gives the batch's new task losses without gradient."""

    def end_epoch(self) -> None:
        """At the end of an epoch."""

    def remark(self, weights: Tensor) -> str:
        """What readers of a finished run must know of how the strategy worked, in a sentence; mostly nothing.

        Args:
            weights: (S, K) :attr:`weights` of the steps on record.
        """
        return same_as_equal(weights)

    def get_extra_state(self) -> dict[str, Any]:
        return hidden_state(self)

    def set_extra_state(self, state: dict[str, Any]) -> None:
        restore_hidden_state(self, state)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        allow_late_buffers(self, state_dict)
        return super().load_state_dict(state_dict, strict, assign)


class ScalarizerStrategy(Strategy):
    """Drives a :class:`torchjd.scalarization.Scalarizer`.

    The scalarizer sees the losses as a leaf of its own, so its gradient there *is* the factor of each task loss,
    whatever the method, at the cost of K numbers. Parameters of a scalarizer with an attribute ``learning_rate`` are
    learned here, by an Adam of their own with that constant rate; others along with the network's.
    """

    def __init__(self, tasks: Sequence[str], scalarizer: Scalarizer):
        super().__init__(tasks)
        self.scalarizer = scalarizer
        self.handles_absent = "present" in inspect.signature(scalarizer.forward).parameters
        rate = getattr(scalarizer, "learning_rate", None)
        learned = () if rate is None else scalarizer.parameters()
        self.learners = nn.ModuleList(Learner(parameter.shape, rate) for parameter in learned)

    def combine(self, values: Tensor, counts: Tensor) -> Tensor:
        """The scalar of ``values``, a (K,) leaf, for a batch with ``counts`` samples a task."""
        return self.scalarizer(values, present=counts > 0) if self.handles_absent else self.scalarizer(values)

    def backward(
        self,
        losses: Tensor | Sequence[Tensor],
        counts: Tensor,
        auxiliary: Tensor | None = None,
        parameters: Iterable[nn.Parameter] = (),
    ) -> None:
        values = losses.detach().requires_grad_()
        self.combine(values, counts).backward()
        self.weights = values.grad
        total = (self.weights * losses).sum()
        (total if auxiliary is None else total + auxiliary).backward()
        self._learn(counts > 0)

    @torch.no_grad()
    def _learn(self, present: Tensor) -> None:
        for learner, parameter in zip(self.learners, self.scalarizer.parameters(), strict=False):
            if parameter.grad is not None:
                one_a_task = parameter.shape == present.shape
                parameter.copy_(learner.step(parameter, parameter.grad, present if one_a_task else None))
                parameter.grad = None  # nothing is left for the network's optimizer

    def after_step(self, losses_again: Callable[[], Tensor]) -> None:
        if hasattr(self.scalarizer, "update"):  # FAMO learns its weights from what the step did to the losses
            self.scalarizer.update(losses_again())

    def end_epoch(self) -> None:
        if hasattr(self.scalarizer, "step") and callable(self.scalarizer.step):  # DWA compares epochs
            self.scalarizer.step()

    def remark(self, weights: Tensor) -> str:
        if isinstance(self.scalarizer, Equal):
            return ""
        return self.scalarizer.remark() if hasattr(self.scalarizer, "remark") else same_as_equal(weights)


class MixStrategy(ScalarizerStrategy):
    """One loss over the shuffled mixture: every *sample* weighs the same, as the published baselines train.

    loss = sum_k n_k L_k / sum_k n_k, with n_k the samples of task k in the batch.
    """

    def __init__(self, tasks: Sequence[str]):
        super().__init__(tasks, _SampleMean())
        self.handles_absent = True

    def combine(self, values: Tensor, counts: Tensor) -> Tensor:
        return self.scalarizer(values, counts)

    def remark(self, weights: Tensor) -> str:
        return ""


class _SampleMean(Scalarizer):
    def __call__(self, values: Tensor, /, counts: Tensor) -> Tensor:
        return nn.Module.__call__(self, values, counts)

    def forward(self, values: Tensor, /, counts: Tensor) -> Tensor:
        return (values * (counts / counts.sum().clamp_min(1))).sum()


class Equal(Scalarizer):
    """The mean of the task losses over the tasks present: every *task* weighs the same."""

    def __call__(self, values: Tensor, /, present: Tensor | None = None) -> Tensor:
        return nn.Module.__call__(self, values, present)

    def forward(self, values: Tensor, /, present: Tensor | None = None) -> Tensor:
        """Mean of ``values`` (K,) where ``present`` (K,) bool; 0 when no task is."""
        if present is None:
            return values.mean()
        return torch.where(present, values, 0).sum() / present.sum().clamp_min(1)


def same_as_equal(weights: Tensor) -> str:
    """A sentence where a strategy did nothing, else the empty one.

    Args:
        weights: (S, K) factors of the task losses in every step, 0 or NaN for what has none.

    Returns:
        "no effect: ..." if in every step the weights of the tasks were within :data:`SAME` of their mean.
    """
    weighed = weights.isfinite() & (weights != 0)
    several = weighed.sum(1) > 1
    weights, weighed = weights[several].double(), weighed[several]
    if not len(weights):
        return ""
    mean = torch.where(weighed, weights, 0).sum(1, keepdim=True) / weighed.sum(1, keepdim=True)
    departure = torch.where(weighed, weights / mean - 1, 0).abs().max()
    return f"no effect: its weights never differed from equal ones by {SAME:.0%}" if departure < SAME else ""


def wrap(method: type, tasks: Sequence[str], parameters: dict[str, Any]) -> Strategy:
    """An instance of ``method`` as a strategy.

    ``method`` is a :class:`Strategy` (built with the task names), a TorchJD ``Scalarizer`` or a TorchJD
    ``Aggregator``. A parameter called ``tasks``, ``shape`` or ``n_tasks`` gets the number of tasks K.

    Raises:
        TypeError: if ``method`` is none of these, or does not take these parameters.
        ImportError: if it needs a package that is not installed.
    """
    if not isinstance(method, type) or not issubclass(method, Strategy | Scalarizer | Aggregator):
        raise TypeError(f"{method!r} is neither an art.Strategy nor a torchjd Scalarizer or Aggregator.")
    if issubclass(method, Strategy):
        return method(tasks, **parameters)
    accepted = inspect.signature(method).parameters
    size = {key: len(tasks) for key in ("tasks", "shape", "n_tasks") if key in accepted}
    built = method(**size, **parameters)
    if isinstance(built, Scalarizer):
        return ScalarizerStrategy(tasks, built)
    from art.gradients import AggregatorStrategy

    return AggregatorStrategy(tasks, built)
