"""TorchJD's scalarizers and aggregators as strategies."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torchjd import Stateful
from torchjd.aggregation import Aggregator, WeightedAggregator
from torchjd.scalarization import Scalarizer

from art.gradients import add_to_gradients, task_gradients
from art.learning import Learner
from art.shapes import Parameters, PerTask, Present, Scalar, WeightsOfSteps
from art.strategy import Conditions, Strategy, same_as_equal
from art.task_losses import TaskLosses

_NEEDS_ALL = "needs every task in every batch"


class ScalarizerStrategy(Strategy):
    """Drives a :class:`torchjd.scalarization.Scalarizer`.

    The scalarizer sees the losses as a leaf of its own, so its gradient there *is* the factor of each task loss,
    whatever the method, at the cost of K numbers. It is called with ``present``, (K,) bool, if its ``forward`` takes
    that; otherwise every batch must hold all tasks.

    If the scalarizer has methods of these names, they are called: ``update(losses)``, with the new losses after each
    step of the optimizer (FAMO); ``step()`` at the end of an epoch (DWA); ``remark()`` for :meth:`Strategy.remark`. If
    it has an attribute ``learning_rate``, its parameters are learned here, by an Adam of their own with that constant
    rate; otherwise along with the network's.
    """

    def __init__(self, tasks: Sequence[str], scalarizer: Scalarizer):
        super().__init__(tasks)
        self.scalarizer = scalarizer
        self._takes_present = "present" in inspect.signature(scalarizer.forward).parameters
        self.learners = nn.ModuleList()
        if (rate := getattr(scalarizer, "learning_rate", None)) is not None:
            self.learners.extend(Learner(parameter.shape, rate) for parameter in scalarizer.parameters())

    def _method(self, name: str) -> Callable[..., object] | None:
        method = getattr(self.scalarizer, name, None)
        return method if callable(method) else None

    def unsupported(self, conditions: Conditions) -> str | None:
        """Batches that lack tasks, without ``present`` in the scalarizer's ``forward``."""
        return _NEEDS_ALL if conditions.absent_tasks and not self._takes_present else None

    def backward(self, losses: TaskLosses, auxiliary: Scalar | None = None, parameters: Parameters = ()) -> None:
        """Ask the scalarizer for the weights, apply them and learn from them."""
        values = losses.values.requires_grad_()
        present = {"present": losses.present} if self._takes_present else {}
        nn.Module.__call__(self.scalarizer, values, **present).backward()
        self.backward_weighted(losses, torch.zeros_like(values) if values.grad is None else values.grad, auxiliary)
        self._learn(losses.present)

    @torch.no_grad()
    def _learn(self, present: Present) -> None:
        learners = cast("Iterable[Learner]", self.learners)
        for learner, parameter in zip(learners, self.scalarizer.parameters(), strict=False):
            if parameter.grad is not None:
                per_task = parameter.shape == present.shape
                parameter.copy_(learner.step(parameter, parameter.grad, present if per_task else None))
                parameter.grad = None  # nothing is left for the network's optimizer

    def after_step(self, losses_again: Callable[[], PerTask]) -> None:
        """``update`` of the scalarizer."""
        if update := self._method("update"):
            update(losses_again())

    def end_epoch(self) -> None:
        """``step`` of the scalarizer."""
        if step := self._method("step"):
            step()

    def remark(self, weights: WeightsOfSteps) -> str:
        """``remark`` of the scalarizer, or whether its weights were equal."""
        remark = self._method("remark")
        return str(remark()) if remark else same_as_equal(weights)


class AggregatorStrategy(Strategy):
    """Drives a :class:`torchjd.aggregation.Aggregator` with the Jacobian of the tasks present.

    Costs the memory of K gradients. Where the losses come as K graphs, each over its own samples, the gradients
    together cost one backward pass over the batch; with one shared graph they cost K.
    """

    needs_gradients = True

    def __init__(self, tasks: Sequence[str], aggregator: Aggregator):
        super().__init__(tasks)
        self.aggregator = aggregator
        self._row_weights: Tensor | None = None
        self._rows: list[int] = []  # their tasks
        weighting = getattr(aggregator, "weighting", None)
        self.weighs = isinstance(aggregator, WeightedAggregator)
        if isinstance(weighting, nn.Module):
            weighting.register_forward_hook(self._keep_weights)

    def _keep_weights(self, _module: nn.Module, _inputs: object, weights: Tensor) -> Tensor:
        if self.revise:
            revised = self.revise(self._of_tasks(weights), self._of_tasks(torch.ones_like(weights)) > 0)
            weights = torch.stack([revised[task] for task in self._rows]).to(weights)
        self._row_weights = weights.detach()
        return weights

    def _of_tasks(self, weights: Tensor) -> PerTask:
        """(K,) weights from those of the rows, 0 for tasks without one."""
        spread = torch.zeros_like(self.weights)
        for task, weight in zip(self._rows, weights.to(spread), strict=True):
            spread[task] = weight  # one by one: a list of places would have to come to the device
        return spread

    def unsupported(self, conditions: Conditions) -> str | None:
        """Batches that lack tasks, for an aggregator that remembers something of each."""
        stateful = any(isinstance(part, Stateful) for part in self.aggregator.modules())
        return _NEEDS_ALL if conditions.absent_tasks and stateful else None

    def distribute(self, processes: int, add_up: Callable[[Tensor], object]) -> None:
        """The aggregator sees the gradients of the whole batch, so every process has the whole update. It is divided by
        their number, because the loop adds up the processes' updates."""

        def add_up_rows(_module: nn.Module, inputs: tuple[Tensor]) -> None:
            add_up(inputs[0])

        def divide(_module: nn.Module, _inputs: object, update: Tensor) -> Tensor:
            return update / processes

        self.aggregator.register_forward_pre_hook(add_up_rows)
        self.aggregator.register_forward_hook(divide)

    def backward(self, losses: TaskLosses, auxiliary: Scalar | None = None, parameters: Parameters = ()) -> None:
        """Aggregate the gradients of the tasks present; the weights are those of its rows, if it has any."""
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        self._rows, separate = losses.present_tasks, losses.separate
        rows = task_gradients([separate[task] for task in self._rows], trained, retain=auxiliary is not None)
        self._row_weights = None
        update = self.aggregator(rows)
        if auxiliary is not None:
            auxiliary.backward()
        add_to_gradients(update, trained)
        self.weights = torch.full_like(self.weights, torch.nan)
        if self._row_weights is not None and self._row_weights.shape == (len(self._rows),):
            self.weights = self._of_tasks(self._row_weights)
