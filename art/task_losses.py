"""The losses of one batch, as a strategy gets them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from art.shapes import Images, PerTask, Present, Scalar


@dataclass(frozen=True, eq=False)
class TaskLosses:
    """The losses of K tasks on one batch, all in one graph or each in a graph of its own.

    Attributes:
        losses: (K,) with one graph, or K scalars with a graph each, which spares whoever differentiates them one by one
            from walking the samples of the other tasks. 0 for tasks without samples.
        counts: (K,) samples of each task. Under several processes, ``losses`` and ``counts`` are those of the whole
            batch, on every process.
        pixel_errors: (B, 3, H, W) errors of every pixel whose means over a task's samples are the losses, with graph,
            the samples of a task side by side, in task order; ``None`` where the losses have graphs of their own.
        sizes: the same numbers as ``counts`` on the host, where it knows them.
        share: under several processes, samples of each task in ``pixel_errors``, which are those of this process.
    """

    losses: PerTask | Sequence[Scalar]
    counts: PerTask
    pixel_errors: Images | None = None
    sizes: Sequence[int] | None = None
    share: Sequence[int] | None = None

    @property
    def stacked(self) -> PerTask:
        """(K,) with graph."""
        return self.losses if isinstance(self.losses, Tensor) else torch.stack(list(self.losses))

    @property
    def separate(self) -> list[Scalar]:
        """K scalars with graph."""
        return [self.losses[task] for task in range(len(self.losses))]

    @property
    def values(self) -> PerTask:
        """(K,) without graph."""
        return self.stacked.detach()

    @property
    def present(self) -> Present:
        """(K,) whether the task has samples in the batch."""
        return self.counts > 0

    @property
    def present_tasks(self) -> list[int]:
        """Numbers of the tasks with samples in the batch; without :attr:`sizes`, waits for the device."""
        counts = self.counts.tolist() if self.sizes is None else self.sizes
        return [task for task, count in enumerate(counts) if count]
