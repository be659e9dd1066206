"""The validation curve of a run: PSNR on images that no training step sees, at points spread through the training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypedDict

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from baselines.network import Network
from benchmarks.config.sections import TrainConfig
from benchmarks.data.pools import TestPool
from benchmarks.training.unchanged import unchanged
from results.schema import CURVE_COLUMNS

POINTS = 20  # of a curve, evenly spaced; the last one is the end of the training
LEAST_ERROR = 1e-10  # mean squared; images that are equal have 100 dB

Row = tuple[int, str, int, float, float]
"""A row of :data:`results.schema.CURVE_COLUMNS`."""


class CurveState(TypedDict):
    """What a checkpoint holds of a curve: images a task, seconds that scoring took, the rows so far."""

    images: list[int]
    seconds: float
    rows: list[Row]


class ValidationCurve:
    """Scores a network now and then on the same few images of every task; training goes on as if unobserved.

    Images are cut at the centre to the size of the training patches, so that a point costs what a few steps do, and
    their degradations depend on their names only: every point, seed and strategy is scored on the same pixels.

    Args:
        pools: one a task, in the order of the setting's tasks.
        train: the recipe.
        device: where the network is.
        sampled: task numbers of the samples of a step (0, 1, ...).
    """

    def __init__(
        self, pools: Sequence[TestPool], train: TrainConfig, device: torch.device, sampled: Callable[[int], np.ndarray]
    ):
        self.tasks = [pool.task.name for pool in pools]
        self.steps = frozenset(-(-number * train.steps // POINTS) for number in range(1, POINTS + 1))
        self.seconds = 0.0
        self._batch, self._device, self._sampled = train.batch, device, sampled
        self._images = [len(pool.names) for pool in pools]
        self._pairs = [[_cut(pool, number, train.patch) for number in range(len(pool.names))] for pool in pools]
        self._counted, self._counts = 0, np.zeros(len(pools), dtype=np.int64)
        self._rows: list[Row] = []

    def record(self, step: int, network: Network, seconds: float) -> None:
        """Score the network as it is after ``step`` steps, which took so many ``seconds`` without scoring."""
        with unchanged(network):
            values = torch.stack([self._psnr(network, pairs) for pairs in self._pairs]).tolist()
        for past in range(self._counted, step):
            self._counts += np.bincount(self._sampled(past), minlength=len(self.tasks))
        self._counted = step
        rows = zip(self.tasks, self._counts.tolist(), values, strict=True)
        self._rows += [(step, task, count, seconds, value) for task, count, value in rows]

    def _psnr(self, network: Network, pairs: Sequence[tuple[Tensor, Tensor]]) -> Float[Tensor, ""]:
        """Mean over a task's images, dB; images of one size go through the network together."""
        shapes = dict.fromkeys(clean.shape for _, clean in pairs)
        errors: list[Tensor] = []
        for shape in shapes:
            alike = [pair for pair in pairs if pair[1].shape == shape]
            for start in range(0, len(alike), self._batch):
                part = alike[start : start + self._batch]
                degraded, clean = (torch.stack(images).to(self._device) for images in zip(*part, strict=True))
                errors.append((network.restore(degraded) - clean).square().mean(dim=(1, 2, 3)))
        return -10 * torch.cat(errors).clamp_min(LEAST_ERROR).log10().mean()

    def table(self) -> pd.DataFrame:
        """All points with :data:`results.schema.CURVE_COLUMNS`."""
        return pd.DataFrame(self._rows, columns=list(CURVE_COLUMNS))

    def state(self) -> CurveState:
        """What a checkpoint holds."""
        return {"images": self._images, "seconds": self.seconds, "rows": list(self._rows)}

    def restore(self, state: CurveState) -> None:
        """Continue from a checkpoint, unless it was scored on another number of images."""
        if state["images"] == self._images:
            self.seconds = state["seconds"]
            self._rows = [(step, task, images, at, psnr) for step, task, images, at, psnr in state["rows"]]
            last = {task: images for step, task, images, *_ in self._rows if step == self._rows[-1][0]}
            if last.keys() == set(
                self.tasks
            ):  # counted then; steps of a run that this one went on from mixed otherwise
                self._counted = self._rows[-1][0]
                self._counts = np.array([last[task] for task in self.tasks], dtype=np.int64)


def _cut(pool: TestPool, number: int, side: int) -> tuple[Tensor, Tensor]:
    """The middle of a degraded image and of its clean one, (3, H, W) with at most ``side`` pixels a side."""
    degraded, clean = pool.pair(number)
    top, left = (max(0, length - side) // 2 for length in clean.shape[-2:])
    place = slice(None), slice(top, top + side), slice(left, left + side)
    return degraded[place], clean[place]
