"""Training batches: which samples, which crops, degraded on the device.

Every batch is a function of the step alone: its order, crops and degradations are drawn from generators seeded by
(setting, baseline, seed, axis, step). A resumed run therefore needs no state of the data, and two strategies see the
same batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Lock
from typing import Generic, NamedTuple, TypeVar

import joblib
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from benchmarks.config import shares
from benchmarks.config.configuration import Config
from benchmarks.config.mixing import Mixing
from benchmarks.config.seeds import derive, generator
from benchmarks.data.pools import Pool

Patches = Float[Tensor, "batch 3 patch patch"]
_Tasks = Int[Tensor, "batch"]
_Counts = Float[Tensor, "task"]
_Numbers = Int[np.ndarray, "batch"]


@dataclass
class Batch:
    """``degraded`` and ``clean`` (B, 3, P, P) in [0, 1]; ``tasks`` (B,) task numbers; ``counts`` (K,) samples a task,
    which lie together in task order, and ``sizes`` the same on the host; ``second``: further crops of the same degraded
    images, or ``None``."""

    degraded: Patches
    clean: Patches
    tasks: _Tasks
    counts: _Counts
    sizes: tuple[int, ...]
    second: Patches | None = None


class Mixture:
    """Which task and image each sample of a step is: the mixing of the published training lists, by name, or by rates.

    Args:
        lengths: of the published list, by task.
        pools: images that are there, by task.
        batch: samples of a step.
        mixing: how ``lengths`` are mixed where there are no ``rates``.
        seed: of the order.
        rates: each task's share at a step, (K,), summing to 1.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        pools: Sequence[int],
        batch: int,
        mixing: str,
        seed: tuple[object, ...],
        rates: Callable[[int], np.ndarray] | None = None,
    ):
        self.lengths, self.pools, self.batch = np.asarray(lengths), np.asarray(pools), batch
        self.mixing, self.seed, self.rates = mixing, seed, rates
        self._orders: dict[tuple[int, int], np.ndarray] = {}
        self._asking = Lock()

    def __call__(self, step: int) -> tuple[_Numbers, _Numbers]:
        """Task numbers and image numbers, each (B,), of step 0, 1, ...; from any thread."""
        with self._asking:
            return self._rated(step, self.rates(step)) if self.rates else getattr(self, f"_{self.mixing}")(step)

    @property
    def steps_an_epoch(self) -> int:
        """Steps of a pass over the whole list; where batches are drawn otherwise, as many as such a pass would take."""
        return max(1, int(self.lengths.sum()) // self.batch)

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

    def _rated(self, step: int, rates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # Systematic sampling as above. Ends and offset have few digits, so that no sum rounds over to another task's
        # samples: a share of whole samples is kept exactly, and one of 0 has none.
        chance = np.random.default_rng(derive(*self.seed, "order", step))
        ends = np.round(np.cumsum(rates) * self.batch, 9)
        points = np.arange(self.batch) + chance.integers(2**32) / 2**32
        tasks = np.searchsorted(ends, points, side="right")
        return tasks, chance.integers(self.pools[tasks])

    def _walk(self, stream: int, length: int, start: int, count: int) -> np.ndarray:
        """``count`` places from ``start`` on in an endless walk that visits all ``length`` places once a round."""
        places = range(start, start + count)
        return np.asarray([self._order(stream, place // length, length)[place % length] for place in places], dtype=int)

    def _order(self, stream: int, lap: int, length: int) -> np.ndarray:
        if (stream, lap) not in self._orders:
            self._orders = {key: value for key, value in self._orders.items() if key[0] != stream or key[1] == lap - 1}
            chance = np.random.default_rng(derive(*self.seed, "order", stream, lap))
            self._orders[stream, lap] = chance.permutation(length)
        return self._orders[stream, lap]


def _rates(pools: Sequence[Pool], config: Config) -> Callable[[int], np.ndarray] | None:
    """Each task's share at a step, (K,); ``None`` for a mixing that draws from lists."""
    mixing, steps, tasks = Mixing.parse(config.data.mixing), config.train.steps, [pool.task for pool in pools]
    return (lambda step: shares.rates(mixing, np.array([step]), steps, tasks)[0]) if mixing.by_rates else None


class _Crops(NamedTuple):
    """What one step is made of, sorted by task: ``tasks`` (B,), ``clean`` and ``inputs`` uint8 (V*B, 3, P, P), and
    ``depths`` (V*B, 1, P, P) where some task needs them. Inputs that are to be ``made`` (B,) are unset."""

    tasks: np.ndarray
    synthetic: np.ndarray
    clean: np.ndarray
    inputs: np.ndarray
    depths: np.ndarray | None


_Item = TypeVar("_Item")


class _Ahead(Generic[_Item]):
    """A function of the step, called for the next steps in background threads; its results are the same.

    Args:
        function: of the step alone, safe to call from several threads.
        last: the step that ends training.
    """

    def __init__(self, function: Callable[[int], _Item], last: int):
        threads = min(8, joblib.cpu_count())
        self.function, self.last, self.depth = function, last, 2 * threads
        self._threads = ThreadPoolExecutor(threads, "crops")
        self._waiting: dict[int, Future[_Item]] = {}

    def __call__(self, step: int) -> _Item:
        wanted = range(step, max(min(step + self.depth, self.last), step + 1))
        for other in set(self._waiting) - set(wanted):
            self._waiting.pop(other).cancel()
        for next_step in wanted:
            if next_step not in self._waiting:
                self._waiting[next_step] = self._threads.submit(self.function, next_step)
        return self._waiting.pop(step).result()


class Batches:
    """The training batches of one run.

    Images that are decoded when asked for, and any images for a GPU, are cropped some steps ahead in the background. On
    a CPU :meth:`begin` makes a whole batch in a thread beside.

    Args:
        pools: the tasks' training images, in the order of the setting.
        config: the run.
        device: where the batches are made and wanted.
    """

    def __init__(self, pools: Sequence[Pool], config: Config, device: torch.device):
        self.pools, self.device = pools, device
        self.noise = "cpu"  # device whose random numbers degrade the images
        self.train = config.train
        self.seed = (config.setting, config.baseline, config.seed)
        lengths = [pool.task.list_length for pool in pools]
        sizes = [len(pool.names) for pool in pools]
        alone = bool(config.terms.task)
        mixing, rates = ("balanced", None) if alone else (config.data.mixing, _rates(pools, config))
        self.mixture = Mixture(lengths, sizes, config.train.batch, mixing, self.seed, rates)
        ahead = device.type == "cuda" or any(pool.streams for pool in pools)
        self.crops = _Ahead(self._crops, config.train.steps) if ahead else self._crops
        self._thread = ThreadPoolExecutor(1, "batch") if device.type == "cpu" else None
        self._begun: tuple[int, Future[Batch]] | None = None

    def __call__(self, step: int) -> Batch:
        """The batch of step 0, 1, ...; the same whenever it is asked for."""
        begun, self._begun = self._begun, None
        if begun and begun[0] == step:
            return begun[1].result()
        wait([begun[1]] if begun else [])  # no two threads ask for crops
        return self._composed(step)

    def begin(self, step: int) -> None:
        """Begin the batch of a step in a thread beside, unless one is begun; for when this thread will be busy outside
        Python, as in a backward pass: between the small operations of a forward pass the two would only wait for each
        other."""
        if self._thread and not self._begun and step < self.train.steps:
            self._begun = step, self._thread.submit(self._composed, step)

    def _composed(self, step: int) -> Batch:
        crops = self.crops(step)
        tasks, size, views = crops.tasks, len(crops.tasks), self.train.views
        clean, degraded = self._tensor(crops.clean), self._tensor(crops.inputs)
        depths = self._tensor(crops.depths) if crops.depths is not None else None
        chance = generator(*self.seed, "degradation", step)
        for task in np.unique(tasks[crops.synthetic]):
            chosen = np.flatnonzero((tasks == task) & crops.synthetic)
            rows = torch.from_numpy(np.concatenate([chosen + size * view for view in range(views)]))
            depth = None if depths is None else depths[rows]
            degraded[rows] = self._degraded(self.pools[task], clean[rows], depth, chance)
        counts = np.bincount(tasks, minlength=len(self.pools))
        return Batch(
            degraded=degraded[:size],
            clean=clean[:size],
            tasks=torch.from_numpy(tasks).to(self.device),
            counts=torch.from_numpy(counts.astype(np.float32)).to(self.device),
            sizes=tuple(counts.tolist()),
            second=degraded[size:] if views == 2 else None,
        )

    def _degraded(self, pool: Pool, clean: Tensor, depth: Tensor | None, chance: torch.Generator) -> Tensor:
        """Views of one sample share the severity: they are crops of one degraded image."""
        kind, severity = pool.degradation, pool.task.severity
        if severity is None:
            low, high = pool.task.drawn or kind.training
            drawn = low + (high - low) * torch.rand(len(clean) // self.train.views, generator=chance)
            severity = drawn.repeat(self.train.views)
        return kind(clean, chance, depth=depth if kind.needs_depth else None, severity=severity)

    def _crops(self, step: int) -> _Crops:
        """The step's samples, cut, flipped and turned alike; a task's samples lie together, to be degraded together."""
        tasks, images = self.mixture(step)
        order = np.argsort(tasks, kind="stable")
        tasks, images = tasks[order], images[order]
        chance = np.random.default_rng(derive(*self.seed, "crops", step))
        patch, total = self.train.patch, self.train.views * len(tasks)
        clean = np.empty((total, 3, patch, patch), np.uint8)
        inputs = np.empty_like(clean)
        synthetic = np.zeros(len(tasks), bool)
        needs_depth = any(pool.makes and pool.degradation.needs_depth for pool in self.pools)
        depths = np.zeros((total, 1, patch, patch), np.uint8) if needs_depth else None
        draws = [(chance.random(), chance.random(), chance.integers(8) if self.train.augment else 0) for _ in clean]
        for sample, (task, image) in enumerate(zip(tasks.tolist(), images.tolist(), strict=True)):
            picture, partner, depth = self._pictures(task, image)
            synthetic[sample] = partner is None
            room = [max(side - patch, 0) + 1 for side in picture.shape[:2]]
            for row in range(sample, total, len(tasks)):  # the views of this sample
                down, across, turn = draws[row]
                window = (int(down * room[0]), int(across * room[1]), patch, int(turn))
                clean[row] = _crop(picture, *window)
                if partner is not None:
                    inputs[row] = _crop(partner, *window)
                elif depths is not None and depth is not None:
                    depths[row] = _crop(depth, *window)
        return _Crops(tasks, synthetic, clean, inputs, depths)

    def _pictures(self, task: int, image: int) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """A sample's clean image, its degraded partner, and without one its depth, as far as its pool has them."""
        pool = self.pools[task]
        partner = pool.partner(image)
        depth = pool.depth(image) if partner is None and pool.depths is not None else None
        return pool.clean[image], partner, depth

    def _tensor(self, crops: np.ndarray) -> Tensor:
        """``crops`` as float in [0, 1] on the device."""
        return torch.from_numpy(crops).to(self.device, non_blocking=True).float().div_(255)


def _crop(image: np.ndarray, top: int, left: int, patch: int, turn: int) -> np.ndarray:
    """A (C, P, P) view of a window of ``patch`` pixels in one of the eight orientations; smaller images are mirrored at
    the end."""
    image = np.atleast_3d(image)
    window = image[top : top + patch, left : left + patch]
    short = [(0, patch - side) for side in window.shape[:2]]
    if any(after for _, after in short):
        window = np.pad(window, [*short, (0, 0)], mode="symmetric")
    quarters = turn % 4  # counter-clockwise; from 4 on mirrored left to right too
    if quarters % 2:
        window = window.swapaxes(0, 1)
    upside = -1 if quarters in (1, 2) else 1
    aside = -1 if (quarters in (2, 3)) != (turn >= 4) else 1
    return window[::upside, ::aside].transpose(2, 0, 1)
