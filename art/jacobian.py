"""Strategies of this project that turn the gradients of all tasks into the update."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from art.gradients import add_to_gradients, task_gradients
from art.shapes import Parameters, PerTask, Present, Scalar
from art.strategy import Conditions, Strategy
from art.task_losses import TaskLosses

Rows = Float[Tensor, "tasks numbers"]  # (K, P) a gradient each, of P numbers in all parameters
Update = Float[Tensor, " numbers"]  # (P,)


class JacobianStrategy(Strategy):
    """Computes the update from the tasks' gradients, their losses, and what it remembers of them.

    Under several processes each has the gradients of the whole batch, and so the whole update and the same memory; the
    update is divided by their number, because the loop adds up the processes' updates.

    Args:
        tasks: names of the K tasks.
    """

    needs_gradients = True

    def __init__(self, tasks: Sequence[str]):
        super().__init__(tasks)
        self.processes = 1
        self._add_up: Callable[[Tensor], object] | None = None

    def unsupported(self, conditions: Conditions) -> str | None:
        """Nothing."""
        return None

    def distribute(self, processes: int, add_up: Callable[[Tensor], object]) -> None:
        """See :meth:`Strategy.distribute`."""
        self.processes, self._add_up = processes, add_up

    def backward(self, losses: TaskLosses, auxiliary: Scalar | None = None, parameters: Parameters = ()) -> None:
        """Differentiate the losses of the tasks present, and add the update."""
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        rows = self.rows(losses, trained, retain=auxiliary is not None)
        with torch.no_grad():
            update = self.combined(rows, losses.values, losses.present)
        if auxiliary is not None:
            auxiliary.backward()
        add_to_gradients(update / self.processes, trained)

    def rows(
        self, losses: TaskLosses, trained: Sequence[nn.Parameter], others: Sequence[Scalar] = (), retain: bool = False
    ) -> Rows:
        """The gradient of every task's loss over the whole batch, 0 for absent tasks, then those of further scalars.

        Args:
            losses: of the batch.
            trained: the parameters to differentiate for.
            others: scalars with graph.
            retain: keep the graphs for a further backward pass.
        """
        separate, present = losses.separate, {*losses.present_tasks}
        given = [loss if task in present else None for task, loss in enumerate(separate)]
        rows = task_gradients([*given, *others], trained, retain=retain)
        if self._add_up:
            self._add_up(rows)
        return rows

    @abstractmethod
    def combined(self, rows: Rows, losses: PerTask, present: Present) -> Update:
        """The update, without gradient; sets :attr:`weights` if the rows have any.

        Args:
            rows: (K, P) gradients, 0 for absent tasks; may be overwritten.
            losses: (K,), 0 for absent tasks.
            present: (K,) bool.
        """

    def remembered(self, network: nn.Module) -> Rows:
        """(K, P) of 0, for what a strategy remembers of every task's gradient."""
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        numbers = sum(parameter.numel() for parameter in trained)
        return torch.zeros(len(self.tasks), numbers, device=trained[0].device)
