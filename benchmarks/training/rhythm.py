"""The rhythm of a run: every task's loss, running level, pace and weight, recorded on the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from results.schema import RHYTHM_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

MOMENTUM, START = 0.01, 0.1  # of the running level: Art's defaults, for every strategy, so that rhythms compare
FLUSH = 20  # steps between transfers to the host


class Rhythm:
    """Records steps without synchronising; :meth:`flush` brings them to the host.

    Args:
        tasks: their names.
        every: steps between recorded rows; running levels follow every step.
        device: where the losses live.
    """

    def __init__(self, tasks: Sequence[str], every: int, device: torch.device):
        self.tasks, self.every = tuple(tasks), every
        self.running = torch.full((len(tasks),), START, device=device)
        self._waiting: list[tuple[int, Tensor]] = []
        self._rows: list[tuple[int, Any]] = []

    @torch.no_grad()
    def record(self, step: int, losses: Tensor, counts: Tensor, weights: Tensor) -> None:
        """Note a step, counted from 1: (K,) losses, samples a task, and factors of the losses in the update."""
        present = counts > 0
        pace = losses / self.running
        level = torch.where(present, MOMENTUM * losses + (1 - MOMENTUM) * self.running, self.running)
        if step % self.every == 0 or step == 1:
            measured = torch.where(present, torch.stack([losses, pace]), torch.nan)
            row = torch.stack([measured[0], level, measured[1], weights])
            self._waiting.append((step, row))
        self.running = level

    def flush(self) -> None:
        """Bring what waits to the host."""
        if not self._waiting:
            return
        steps, rows = zip(*self._waiting, strict=True)
        self._waiting = []
        host = torch.stack(rows).cpu()
        self._rows += [(step, row.numpy()) for step, row in zip(steps, host, strict=True)]

    def last(self) -> dict[str, dict[str, float]]:
        """The last recorded loss and weight of every task, for display."""
        if not self._rows:
            return {}
        row = self._rows[-1][1]
        return {task: {"loss": float(row[0, k]), "weight": float(row[3, k])} for k, task in enumerate(self.tasks)}

    def table(self) -> pd.DataFrame:
        """All flushed rows with :data:`results.schema.RHYTHM_COLUMNS`."""
        import numpy as np
        import pandas as pd

        count, width = len(self._rows), len(self.tasks)
        values = np.stack([row for _, row in self._rows]) if count else np.empty((0, 4, width), np.float32)
        columns = {
            "step": np.repeat(np.asarray([step for step, _ in self._rows], dtype=np.int64), width),
            "task": np.tile(np.asarray(self.tasks, dtype=object), count),
        }
        columns |= {name: values[:, n].ravel() for n, name in enumerate(("loss", "running", "pace", "weight"))}
        return pd.DataFrame(columns, columns=list(RHYTHM_COLUMNS))

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: (N,) flushed steps, (N, 4, K) their rows, (K,) running levels."""
        rows = [torch.as_tensor(row) for _, row in self._rows]
        values = torch.stack(rows) if rows else torch.empty(0, 4, len(self.tasks))
        return {"steps": [int(step) for step, _ in self._rows], "values": values, "running": self.running}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self._rows = list(zip(state["steps"], state["values"].cpu().numpy(), strict=True))
        self.running = state["running"].to(self.running.device)
