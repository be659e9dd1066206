"""The one interface through which a training loop drives any strategy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from art.shapes import Parameters, PerTask, Present, Scalar, WeightsOfSteps
from art.state import allow_late_buffers, hidden_state, restore_hidden_state
from art.task_losses import TaskLosses

SAME = 0.01  # weights that never differ from their mean by this share of it have no effect


@dataclass(frozen=True)
class Conditions:
    """How a run would train, for :meth:`Strategy.unsupported`.

    Attributes:
        absent_tasks: whether batches may lack some of the tasks.
        processes: how many share each batch.
        network: what is trained, if that is known.
    """

    absent_tasks: bool = False
    processes: int = 1
    network: nn.Module | None = None


class Strategy(nn.Module, ABC):
    """How K task losses become one update of the parameters.

    A training loop asks :meth:`unsupported`, then calls :meth:`bind` once (and :meth:`distribute`, if several processes
    share each batch). In every step it calls :meth:`backward` in place of ``loss.backward()``, :meth:`step` in place of
    ``optimizer.step()``, and :meth:`after_step`; it calls :meth:`end_epoch` once an epoch. A step without task losses
    (in the warm-up of AirNet's encoder) calls none of the three.

    ``parameters()`` are learned along with the network's (after :meth:`bind`), at its rate and schedule, where
    ``backward`` leaves a gradient in them; those that a strategy learns by itself are left without. ``state_dict()``
    holds everything a resumed run needs.

    Args:
        tasks: names of the K tasks.
    """

    search: ClassVar[Mapping[str, object]] = {}  #: what of the constructor may be varied, see :func:`art.search_space`
    weights: Tensor  #: (K,) factors of the task losses in the last update, detached; NaN where there are none
    needs_gradients = False  #: whether :meth:`backward` differentiates every task loss by itself
    weighs = True  #: whether an update is the sum of task losses, or of their gradients, times weights
    #: what becomes of (K,) weights before they are applied, (K,) bool the tasks present; for a strategy that wraps this
    revise: Callable[[PerTask, Present], PerTask] | None = None

    def __init__(self, tasks: Sequence[str]):
        super().__init__()
        self.tasks = tuple(tasks)
        self.register_buffer("weights", torch.full((len(self.tasks),), torch.nan), persistent=False)

    def unsupported(self, conditions: Conditions) -> str | None:
        """Why this strategy cannot train under these conditions, or ``None`` if it can; asked before training.

        This base class takes any network and batches that lack tasks, but no batch shared by several processes.
        """
        if conditions.processes > 1:
            return "looks at gradients or features of the whole batch, which several processes (torchrun) do not share"
        return None

    def bind(self, network: nn.Module) -> None:
        """Meet the network before training, for strategies that look inside it."""

    def distribute(self, processes: int, add_up: Callable[[Tensor], object]) -> None:
        """Prepare for batches that several processes share.

        Every process gets the task losses of the whole batch, whose gradients are those of its own samples. The loop
        adds up the parameters' gradients over the processes after :meth:`backward`.

        Args:
            processes: how many.
            add_up: replaces a tensor's values by their sum over the processes; all of them must call it.
        """

    @abstractmethod
    def backward(self, losses: TaskLosses, auxiliary: Scalar | None = None, parameters: Parameters = ()) -> None:
        """Add the update's gradients to the parameters' ``.grad`` and set :attr:`weights`.

        Args:
            losses: the task losses of the batch.
            auxiliary: a scalar of the network's own (AirNet's contrastive loss), added with factor 1.
            parameters: the network's; strategies that ``needs_gradients`` require them.
        """

    def backward_weighted(self, losses: TaskLosses, weights: PerTask, auxiliary: Scalar | None) -> None:
        """Set :attr:`weights` and differentiate the sum of the task losses weighted by them, plus ``auxiliary``."""
        if self.revise:
            weights = self.revise(weights, losses.present)
        self.weights = weights
        total = (weights * losses.stacked).sum()
        (total if auxiliary is None else total + auxiliary).backward()

    def step(self, optimizer: Optimizer, factor: Scalar | None = None) -> None:
        """Move the parameters by what :meth:`backward` found: the step of the optimizer.

        A strategy with a step of its own keeps in buffers what a resumed run needs of it, changes them here and not in
        ``backward``, so that a step that is left out leaves no trace, and takes rate, betas and weight decay from
        the optimizer's groups.

        Args:
            optimizer: of the network's parameters and of the strategy's.
            factor: by which the loop has scaled the gradients since ``backward`` (clipping); ``None`` for 1.
        """
        optimizer.step()

    def after_step(self, losses_again: Callable[[], PerTask]) -> None:
        """After the optimizer's step; ``losses_again()`` gives the batch's new (K,) task losses without gradient."""

    def end_epoch(self) -> None:
        """At the end of an epoch."""

    def remark(self, weights: WeightsOfSteps) -> str:
        """What readers of a finished run must know about how the strategy worked, in a sentence; usually nothing.

        Args:
            weights: (S, K) :attr:`weights` of the recorded steps.
        """
        return same_as_equal(weights)

    def get_extra_state(self) -> dict[str, dict[str, object]]:
        """What :meth:`state_dict` would leave out, see :mod:`art.state`."""
        return hidden_state(self)

    def set_extra_state(self, state: Mapping[str, Mapping[str, object]]) -> None:
        """Restore what :meth:`get_extra_state` returned."""
        restore_hidden_state(self, state)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As of :class:`torch.nn.Module`, also before buffers exist that are made on first use."""
        allow_late_buffers(self, state_dict)
        return super().load_state_dict(state_dict, strict, assign)


def same_as_equal(weights: WeightsOfSteps) -> str:
    """A sentence if a strategy did nothing, else an empty one.

    Args:
        weights: (S, K) factors of the task losses in every step, 0 or NaN for tasks without one.

    Returns:
        "no effect: ..." if in every step the weights of the tasks were within :data:`SAME` of their mean.
    """
    weighted = weights.isfinite() & (weights != 0)
    comparable = weighted.sum(1) > 1
    weights, weighted = weights[comparable].double(), weighted[comparable]
    if not len(weights):
        return ""
    mean = torch.where(weighted, weights, 0).sum(1, keepdim=True) / weighted.sum(1, keepdim=True)
    departure = torch.where(weighted, weights / mean - 1, 0).abs().max()
    return f"no effect: its weights never differed from equal ones by {SAME:.0%}" if departure < SAME else ""
