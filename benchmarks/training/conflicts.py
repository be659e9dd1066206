"""How far the tasks' gradients disagree, probed from time to time on fixed batches."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from art.gradients import task_gradients
from baselines.network import Network
from benchmarks.config.sections import Loss
from benchmarks.data.batches import Batches
from benchmarks.training.losses import pixel_errors
from results.schema import CONFLICT_COLUMNS

FIXED = 2  # batches of the probe

Row = tuple[int, str, str, float, float]
"""Step, task, other task, cosine of their gradients, norm of the first one's."""


class ConflictProbe:
    """Cosines between the gradients of the task losses, and their norms.

    The batches are the same at every probe and for every strategy: those that would follow the last training step.
    The network is probed in evaluation mode, so that nothing in it changes; training goes on as if unobserved.

    Args:
        tasks: their names.
        batches: the run's.
        after: the run's last step.
        loss: a key of :data:`benchmarks.training.losses.LOSSES`.
    """

    def __init__(self, tasks: Sequence[str], batches: Batches, after: int, loss: Loss):
        self.tasks = tuple(tasks)
        self.loss: Loss = loss
        self._batches = [batches(after + number) for number in range(FIXED)]
        self._rows: list[Row] = []

    def record(self, step: int, network: Network) -> None:
        """Probe the network as it is after ``step`` steps."""
        training = network.training
        network.eval()
        present: list[str] = []
        losses: list[Tensor] = []
        for number, task in enumerate(self.tasks):
            degraded = torch.cat([batch.degraded[batch.tasks == number] for batch in self._batches])
            clean = torch.cat([batch.clean[batch.tasks == number] for batch in self._batches])
            if len(degraded):
                present.append(task)
                restored = network(network.prepare(degraded))
                losses.append(pixel_errors(self.loss, restored, clean, network.sample_loss).mean())
        rows = task_gradients(losses, [parameter for parameter in network.parameters() if parameter.requires_grad])
        network.train(training)
        products = rows @ rows.T
        norms = products.diagonal().sqrt()  # from the same sums as the cosines: a task agrees with itself to 1e-7
        cosines = (products / (norms[:, None] * norms).clamp_min(1e-30)).cpu()
        self._rows += [
            (step, task, other, float(cosines[a, b]), float(norms[a]))
            for a, task in enumerate(present)
            for b, other in enumerate(present)
        ]

    def table(self) -> pd.DataFrame:
        """All probes with :data:`results.schema.CONFLICT_COLUMNS`."""
        return pd.DataFrame(self._rows, columns=list(CONFLICT_COLUMNS))

    def state(self) -> list[Row]:
        """What a checkpoint holds."""
        return list(self._rows)

    def restore(self, state: Sequence[Row]) -> None:
        """Continue from a checkpoint."""
        self._rows = [(step, task, other, cosine, norm) for step, task, other, cosine, norm in state]
