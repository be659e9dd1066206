"""How far the tasks' gradients disagree, probed now and then on fixed batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from art.gradients import task_gradients
from benchmarks.data.batches import Batches
from results.schema import CONFLICT_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

    from baselines.network import Network

FIXED = 2  # batches of the probe


class ConflictProbe:
    """Cosines between the gradients of the task losses, and their norms.

    The batches are the same at every probe and for every strategy: those that would follow the last training step.
    The network is probed in evaluation mode, so that nothing in it changes; training goes on as if unobserved.

    Args:
        tasks: their names.
        batches: the run's.
        after: the run's last step.
    """

    def __init__(self, tasks: Sequence[str], batches: Batches, after: int):
        self.tasks = tuple(tasks)
        self._batches = [batches(after + number) for number in range(FIXED)]
        self._rows: list[tuple] = []

    def record(self, step: int, network: Network) -> None:
        """Probe the network as it is after ``step`` steps."""
        training = network.training
        network.eval()
        present, losses = [], []
        for number in range(len(self.tasks)):
            parts = [
                (batch.degraded[batch.tasks == number], batch.clean[batch.tasks == number]) for batch in self._batches
            ]
            degraded, clean = (torch.cat(side) for side in zip(*parts, strict=True))
            if len(degraded):
                present.append(self.tasks[number])
                losses.append((network(network.prepare(degraded)) - clean).abs().mean())
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
        import pandas as pd

        return pd.DataFrame(self._rows, columns=list(CONFLICT_COLUMNS))

    def state(self) -> list[tuple]:
        """What a checkpoint keeps."""
        return list(self._rows)

    def restore(self, state: list[tuple]) -> None:
        """Continue from a checkpoint."""
        self._rows = [tuple(row) for row in state]
