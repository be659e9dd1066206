"""The rhythm of a run: every task's loss, running level, pace and weight, recorded on the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from art.shapes import PerTask
from results.schema import RHYTHM_COLUMNS

MOMENTUM, START = 0.01, 0.1  # of the running level: Art's defaults, for every strategy, so that rhythms compare


class RhythmState(TypedDict):
    """What a checkpoint holds of a rhythm: steps of the N rows, the rows (N, 4, K), running levels (K,)."""

    steps: list[int]
    values: Tensor
    running: Tensor


class Rhythm:
    """Records steps without synchronising; :meth:`flush` brings them to the host.

    Args:
        tasks: names of the K tasks.
        every: steps between recorded rows; running levels follow every step.
        device: where the losses are.
    """

    def __init__(self, tasks: Sequence[str], every: int, device: torch.device):
        self.tasks, self.every = tuple(tasks), every
        self.running = torch.full((len(tasks),), START, device=device)
        self._on_device: list[tuple[int, Tensor]] = []
        self._rows: list[tuple[int, Tensor]] = []  # step, (4, K) on the host

    @torch.no_grad()
    def record(self, step: int, losses: PerTask, counts: PerTask, weights: PerTask) -> None:
        """Note a step, counted from 1: losses, samples of each task, and factors of the losses in the update."""
        present = counts > 0
        pace = losses / self.running
        level = torch.where(present, MOMENTUM * losses + (1 - MOMENTUM) * self.running, self.running)
        if step % self.every == 0 or step == 1:
            measured = torch.where(present, torch.stack([losses, pace]), torch.nan)
            row = torch.stack([measured[0], level, measured[1], weights])
            self._on_device.append((step, row))
        self.running = level

    def flush(self) -> None:
        """Bring the recorded rows to the host."""
        if self._on_device:
            steps, rows = zip(*self._on_device, strict=True)
            self._rows += zip(steps, torch.stack(rows).cpu(), strict=True)
            self._on_device = []

    def last(self) -> dict[str, dict[str, float]]:
        """The last flushed loss and weight of every task, for display."""
        if not self._rows:
            return {}
        loss, _, _, weight = self._rows[-1][1].tolist()
        return {task: {"loss": loss[k], "weight": weight[k]} for k, task in enumerate(self.tasks)}

    def table(self) -> pd.DataFrame:
        """All flushed rows with :data:`results.schema.RHYTHM_COLUMNS`."""
        values, count = self._values().numpy(), len(self._rows)
        columns = {
            "step": np.repeat(np.asarray([step for step, _ in self._rows], dtype=np.int64), len(self.tasks)),
            "task": np.tile(np.asarray(self.tasks, dtype=object), count),
        }
        columns |= {name: values[:, n].ravel() for n, name in enumerate(("loss", "running", "pace", "weight"))}
        return pd.DataFrame(columns, columns=list(RHYTHM_COLUMNS))

    def _values(self) -> Float[Tensor, "rows 4 tasks"]:
        return torch.stack([row for _, row in self._rows]) if self._rows else torch.empty(0, 4, len(self.tasks))

    def state(self) -> RhythmState:
        """What a checkpoint holds."""
        return {"steps": [step for step, _ in self._rows], "values": self._values(), "running": self.running}

    def restore(self, state: RhythmState) -> None:
        """Continue from a checkpoint."""
        self._rows = list(zip(state["steps"], state["values"].cpu(), strict=True))
        self.running = state["running"].to(self.running.device)
