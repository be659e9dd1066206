"""Training batches: which samples, which crops, degraded on the device.

Every batch is a function of the step alone: its order, crops and degradations are drawn from generators seeded by
(setting, baseline, seed, axis, step). A resumed run therefore needs no state of the data, and two strategies see the
same batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.config import Config
from benchmarks.data.degradations import DEGRADATIONS, degrade
from benchmarks.data.sources import Pool, list_length
from benchmarks.seeds import derive, generator


@dataclass
class Batch:
    """``degraded`` and ``clean`` (B, 3, P, P) in [0, 1]; ``tasks`` (B,) task numbers; ``counts`` (K,) samples a task;
    ``second``: further crops of the same degraded images, or ``None``."""

    degraded: Tensor
    clean: Tensor
    tasks: Tensor
    counts: Tensor
    second: Tensor | None = None


class Mixture:
    """Which task and image each sample of a step is: the mixing of FACTS' published lists, by name."""

    def __init__(self, lengths: Sequence[int], pools: Sequence[int], batch: int, mixing: str, seed: tuple):
        self.lengths, self.pools, self.batch = np.asarray(lengths), np.asarray(pools), batch
        self.mixing, self.seed = mixing, seed
        self._orders: dict[tuple[int, int], np.ndarray] = {}

    def __call__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Task numbers and image numbers, each (B,), of step 0, 1, ..."""
        return getattr(self, f"_{self.mixing}")(step)

    def epoch(self, step: int) -> int:
        """Passes over the whole list completed before ``step``."""
        return step * self.batch // int(self.lengths.sum())

    def _shuffled(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        ends = np.cumsum(self.lengths)
        places = self._walk(0, int(ends[-1]), step * self.batch, self.batch)
        tasks = np.searchsorted(ends, places, side="right")
        return tasks, (places - (ends - self.lengths)[tasks]) % self.pools[tasks]

    def _balanced(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        count = len(self.pools)
        share, rest = divmod(self.batch, count)
        tasks, images = [], []
        for task in range(count):
            # the rest of the batch goes round the tasks, so that none is favoured
            before, after = ((step + n) * rest + count - 1 - task for n in (0, 1))
            start, stop = step * share + before // count, (step + 1) * share + after // count
            tasks += [task] * (stop - start)
            images.append(self._walk(task, int(self.pools[task]), start, stop - start))
        return np.asarray(tasks), np.concatenate(images)

    def _stratified(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        # Systematic sampling: evenly spaced points with one random offset give each task its share of every batch,
        # rounded up or down, and exactly its share on average.
        chance = np.random.default_rng(derive(*self.seed, "order", step))
        ends = np.cumsum(self.lengths) / self.lengths.sum()
        points = (np.arange(self.batch) + chance.random()) / self.batch
        tasks = np.searchsorted(ends, points, side="right").clip(max=len(ends) - 1)
        return tasks, chance.integers(self.pools[tasks])

    def _walk(self, stream: int, length: int, start: int, count: int) -> np.ndarray:
        """``count`` places from ``start`` on in an endless walk that visits all ``length`` places once a round."""
        places = np.arange(start, start + count)
        return np.asarray([self._order(stream, place // length, length)[place % length] for place in places], dtype=int)

    def _order(self, stream: int, lap: int, length: int) -> np.ndarray:
        if (stream, lap) not in self._orders:
            self._orders = {key: value for key, value in self._orders.items() if key[0] != stream or key[1] == lap - 1}
            chance = np.random.default_rng(derive(*self.seed, "order", stream, lap))
            self._orders[stream, lap] = chance.permutation(length)
        return self._orders[stream, lap]


class Batches:
    """The training batches of one run.

    Args:
        pools: the tasks' training images, in the order of the setting.
        config: the run.
        device: where the batches are made and wanted.
    """

    def __init__(self, pools: Sequence[Pool], config: Config, device: torch.device):
        self.pools, self.device = pools, device
        self.train = config.train
        self.seed = (config.setting, config.baseline, config.seed)
        lengths = [list_length(pool.task) for pool in pools]
        sizes = [len(pool.names) for pool in pools]
        self.mixture = Mixture(lengths, sizes, config.train.batch, config.data.mixing, self.seed)

    def __call__(self, step: int) -> Batch:
        """The batch of step 0, 1, ...; the same whenever it is asked for."""
        tasks, images = self.mixture(step)
        order = np.argsort(tasks, kind="stable")  # a task's samples lie together, to be degraded together
        tasks, images = tasks[order], images[order]
        crops = self._crops(tasks, images, np.random.default_rng(derive(*self.seed, "crops", step)))
        clean, degraded = (self._tensor(side) for side in crops[:2])
        depths = self._tensor(crops[2]) if crops[2] is not None else None
        chance = generator(*self.seed, "degradation", step)
        views = self.train.views
        for task in np.unique(tasks):
            pool = self.pools[task]
            if pool.inputs is None:
                chosen = np.flatnonzero(tasks == task)
                rows = torch.from_numpy(np.concatenate([chosen + len(tasks) * view for view in range(views)]))
                degraded[rows] = self._degraded(pool, clean[rows], None if depths is None else depths[rows], chance)
        size = len(tasks)
        counts = torch.from_numpy(np.bincount(tasks, minlength=len(self.pools)).astype(np.float32))
        return Batch(
            degraded=degraded[:size],
            clean=clean[:size],
            tasks=torch.from_numpy(tasks).to(self.device),
            counts=counts.to(self.device),
            second=degraded[size:] if views == 2 else None,
        )

    def _degraded(self, pool: Pool, clean: Tensor, depth: Tensor | None, chance: torch.Generator) -> Tensor:
        """Views of one sample share the severity: they are crops of one degraded image."""
        kind = DEGRADATIONS[pool.task.degradation]
        severity = pool.task.severity
        if severity is None:
            low, high = kind.training
            drawn = low + (high - low) * torch.rand(len(clean) // self.train.views, generator=chance)
            severity = drawn.repeat(self.train.views)
        return degrade(kind.name, clean, chance, depth=depth if kind.needs_depth else None, severity=severity)

    def _crops(
        self, tasks: np.ndarray, images: np.ndarray, chance: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Clean and input crops, uint8 (V*B, P, P, 3), and depths (V*B, P, P) where some task needs them; flipped and
        turned alike. Inputs that are to be synthesised are left unset."""
        patch, total = self.train.patch, self.train.views * len(tasks)
        clean = np.empty((total, patch, patch, 3), np.uint8)
        inputs = np.empty_like(clean)
        needs_depth = any(
            pool.inputs is None and DEGRADATIONS[pool.task.degradation].needs_depth for pool in self.pools
        )
        depths = np.zeros((total, patch, patch), np.uint8) if needs_depth else None
        for row in range(total):
            pool, image = self.pools[tasks[row % len(tasks)]], int(images[row % len(tasks)])
            picture = pool.clean[image]
            top, left = (int(chance.random() * (max(side - patch, 0) + 1)) for side in picture.shape[:2])
            turn = int(chance.integers(8)) if self.train.augment else 0
            window = (top, left, patch, turn)
            clean[row] = _crop(picture, *window)
            if pool.inputs is not None:
                inputs[row] = _crop(pool.inputs[image], *window)
            elif depths is not None and pool.depths is not None:
                depths[row] = _crop(pool.depths[image], *window)
        return clean, inputs, depths

    def _tensor(self, crops: np.ndarray) -> Tensor:
        """(N, C, P, P) float in [0, 1] on the device, from uint8 (N, P, P, 3) or (N, P, P)."""
        tensor = torch.from_numpy(crops).to(self.device, non_blocking=True)
        tensor = tensor[:, None] if tensor.ndim == 3 else tensor.permute(0, 3, 1, 2)
        return tensor.float().div_(255).contiguous()


def _crop(image: np.ndarray, top: int, left: int, patch: int, turn: int) -> np.ndarray:
    """A window of ``patch`` pixels in one of the eight orientations; smaller images are mirrored at the end."""
    window = image[top : top + patch, left : left + patch]
    short = [(0, patch - side) for side in window.shape[:2]]
    if any(after for _, after in short):
        window = np.pad(window, short + [(0, 0)] * (window.ndim - 2), mode="symmetric")
    window = np.rot90(window, turn % 4)
    return window[:, ::-1] if turn >= 4 else window
