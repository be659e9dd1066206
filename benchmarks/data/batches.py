"""Training batches: which samples, which crops, degraded on the device.

Every batch is a function of the step alone: its order, crops and degradations are drawn from generators seeded by
(setting, baseline, seed, axis, step). A resumed run therefore needs no state of the data, and two strategies see the
same batches. Samples and crops are the same on every device; a GPU draws its degradations itself, others than a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from threading import Lock

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from benchmarks.config import shares
from benchmarks.config.configuration import Config
from benchmarks.config.errors import UserError
from benchmarks.config.mixing import Mixing
from benchmarks.config.seeds import derive
from benchmarks.config.settings import Task
from benchmarks.data.cropping import Ahead, Cropping, Crops
from benchmarks.data.degradations import Degradation
from benchmarks.data.degradations._fields import uniform
from benchmarks.data.on_device import Store, room
from benchmarks.data.pools import Pool

Patches = Float[Tensor, "batch 3 patch patch"]
_Tasks = Int[Tensor, "batch"]
_Counts = Float[Tensor, "task"]
_Numbers = Int[np.ndarray, "batch"]
_Pixels = Float[Tensor, "2 views batch 3 patch patch"]
_Depths = Float[Tensor, "1 views batch 1 patch patch"]


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


class _Composing:
    """A batch that a stream beside makes on the GPU while the current one computes.

    Args:
        stream: beside.
        compose: gives the batch; called at once.
    """

    def __init__(self, stream: torch.cuda.Stream, compose: Callable[[], Batch]):
        with torch.cuda.stream(stream), _full_precision():
            self._batch = compose()
            self._made = stream.record_event()

    def result(self) -> Batch:
        """The batch, for the current stream, which waits for it; the host does not."""
        current, batch = torch.cuda.current_stream(self._batch.clean.device), self._batch
        current.wait_event(self._made)
        for tensor in (batch.degraded, batch.clean, batch.tasks, batch.counts, batch.second):
            if tensor is not None:
                tensor.record_stream(current)  # the other stream must not reuse its memory before this one is done
        return batch


@contextmanager
def _full_precision() -> Generator[None]:
    """Without TF32, which a training may have on: degradations are the same for every precision of the network."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


@cache
def _beside(device: torch.device) -> torch.cuda.Stream:
    """One stream for all runs of a process: what one has freed the next can use."""
    return torch.cuda.Stream(device)


class Batches:
    """The training batches of one run.

    On a GPU, images that fit lie there (:class:`Store`), and a batch is composed by a stream beside. On a CPU,
    :meth:`begin` makes a whole batch in a thread beside. Images that are decoded when asked for, and those that do not
    fit on a GPU, are cropped some steps ahead in the background. No other thread than the caller's talks to a GPU.

    Args:
        pools: the tasks' training images, in the order of the setting.
        config: the run.
        device: where the batches are made and wanted.
        store: holds images on that device; by default one is made on a GPU.

    Attributes:
        noise: kind of the device whose generator draws the degradations: ``cuda`` on a GPU, whose noise is another than
            a CPU's, else ``cpu``.
        merges: whether tasks with the same degradation, such as noise at several levels, are degraded in one go: on a
            GPU, which is slow to start; on a CPU each alone, as its random numbers have always been drawn.

    Raises:
        UserError: if a degradation fails on a GPU.
    """

    def __init__(self, pools: Sequence[Pool], config: Config, device: torch.device, store: Store | None = None):
        self.pools, self.device = pools, device
        self.noise = "cpu"  # device whose random numbers degrade the images
        self.train = config.train
        self.seed = (config.setting, config.baseline, config.seed)
        self.noise = "cuda" if device.type == "cuda" else "cpu"
        self.merges = device.type == "cuda"
        lengths = [pool.task.list_length for pool in pools]
        sizes = [len(pool.names) for pool in pools]
        alone = bool(config.terms.task)
        mixing, rates = ("balanced", None) if alone else (config.data.mixing, _rates(pools, config))
        self.mixture = Mixture(lengths, sizes, config.train.batch, mixing, self.seed, rates)
        self._stream = _beside(device) if device.type == "cuda" else None
        if self._stream:
            with torch.cuda.stream(self._stream):
                store = Store(pools, device, room(device)) if store is None else store
                self._try_degradations()
            torch.cuda.synchronize(device)
        self.store = store
        self._scale = torch.tensor(255.0, device=device)
        self.cropping = Cropping(pools, self.mixture, config.train, self.seed, store)
        outside = [pool for pool, held in zip(pools, self.cropping.held, strict=True) if not held]
        ahead = bool(outside) if self._stream else any(pool.streams for pool in outside)
        self.crops = Ahead(self.cropping, config.train.steps) if ahead else self.cropping
        self._thread = ThreadPoolExecutor(1, "batch") if device.type == "cpu" else None
        self._begun: tuple[int, Future[Batch] | _Composing] | None = None

    def __call__(self, step: int) -> Batch:
        """The batch of step 0, 1, ...; the same whenever it is asked for."""
        begun, self._begun = self._begun, None
        if begun and begun[0] == step:
            return begun[1].result()
        if begun and isinstance(begun[1], Future):
            wait([begun[1]])  # no two threads ask for crops
        compose = partial(self._composed, step)
        return _Composing(self._stream, compose).result() if self._stream else compose()

    def begin(self, step: int) -> None:
        """Begin the batch of a step, unless one is begun: on a GPU in a stream beside; on a CPU in a thread beside, for
        when this thread will be busy outside Python, as in a backward pass: between the small operations of a forward
        pass the two would only wait for each other."""
        if self._begun or step >= self.train.steps:
            return
        compose = partial(self._composed, step)
        if self._stream:
            self._begun = step, _Composing(self._stream, compose)
        elif self._thread:
            self._begun = step, self._thread.submit(compose)

    def _composed(self, step: int) -> Batch:
        crops = self.crops(step)
        (clean, degraded), depths = self._pixels(crops)
        chance = torch.Generator(self.device if self._stream else "cpu")
        chance.manual_seed(derive(*self.seed, "degradation", step))
        for group in self._groups(crops):
            numbers = np.flatnonzero(np.isin(crops.tasks, group) & crops.synthetic)
            rows = self._rows(numbers)
            depth = None if depths is None else depths[0, :, rows].flatten(0, 1)
            made = self._degraded(crops.tasks[numbers], degraded[:, rows].flatten(0, 1), depth, chance)
            degraded[:, rows] = made.unflatten(0, (self.train.views, -1))
        counts = np.bincount(crops.tasks, minlength=len(self.pools))
        return Batch(
            degraded=degraded[0],
            clean=clean[0],
            tasks=self._sent(crops.tasks),
            counts=self._sent(counts.astype(np.float32)),
            sizes=tuple(counts.tolist()),
            second=degraded[1] if len(degraded) == 2 else None,
        )

    def _pixels(self, crops: Crops) -> tuple[_Pixels, _Depths | None]:
        """Crops in [0, 1]: clean and degraded ones, where the latter is to be made the clean one twice; and depths, if
        some task needs them, with anything where there is none."""
        depths = None if crops.depths is None else crops.depths[None]
        if self.store is None:
            return self._floats(crops.pixels), None if depths is None else self._floats(depths)
        places = None if crops.places is None else self._sent(crops.places)
        images = self._joined(crops.tasks, crops.pixels, places, self.store.cut)
        return images, None if depths is None else self._joined(crops.tasks, depths, places, self.store.cut_depths)

    def _floats(self, pixels: np.ndarray) -> Tensor:
        return self._sent(pixels).float().div_(255)

    def _joined(
        self, tasks: np.ndarray, pixels: np.ndarray, places: Tensor | None, cut: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Crops of all samples as floats, some from the host, some from the store."""
        kinds, views, _, *shape = pixels.shape
        result = torch.empty((kinds, views, len(tasks), *shape), device=self.device)
        sent = self._sent(pixels) if pixels.size else torch.empty(0)
        held = self.cropping.held[tasks]
        begin = outside = 0
        for end in (*(np.flatnonzero(np.diff(held)) + 1).tolist(), len(tasks)):
            if held[begin] and places is not None:
                found = cut(places[..., begin:end, :])
            else:
                found = sent[:, :, outside : outside + end - begin]
                outside += end - begin
            # a division by a tensor: by a number, a GPU multiplies with the rounded reciprocal
            torch.div(found, self._scale, out=result[:, :, begin:end])
            begin = end
        return result

    def _rows(self, numbers: np.ndarray) -> slice | Tensor:
        """An index of samples, whose use waits for nothing."""
        begin, end = int(numbers[0]), int(numbers[-1]) + 1
        return slice(begin, end) if end - begin == len(numbers) else self._sent(numbers)

    def _sent(self, values: np.ndarray) -> Tensor:
        """Values on the device, on their way there on a GPU."""
        tensor = torch.from_numpy(values)
        if self._stream:
            tensor = tensor.pin_memory()  # here: in another thread it would disturb the capture of a CUDA graph
        return tensor.to(self.device, non_blocking=self._stream is not None)

    def _groups(self, crops: Crops) -> list[list[int]]:
        """Tasks whose samples are degraded together."""
        tasks = np.unique(crops.tasks[crops.synthetic]).tolist()
        if not self.merges:
            return [[task] for task in tasks]
        kinds = {task: self.pools[task].degradation for task in tasks}
        return [[task for task in tasks if kinds[task] is kind] for kind in dict.fromkeys(kinds.values())]

    def _degraded(self, tasks: np.ndarray, clean: Tensor, depth: Tensor | None, chance: torch.Generator) -> Tensor:
        """Samples (V * N, 3, P, P) of tasks (N,) with one degradation. Views of a sample share the severity: they are
        crops of one degraded image."""
        kind = self.pools[tasks[0]].degradation
        depth = depth if kind.needs_depth else None
        asked = [self.pools[task].task for task in tasks]
        severity, bounds = asked[0].severity, asked[0].drawn
        if any((task.severity, task.drawn) != (severity, bounds) for task in asked):
            drawn = self._severities(kind, asked, chance)
        elif severity is not None:
            return kind(clean, chance, depth=depth, severity=severity)
        else:
            drawn = kind.draw(len(tasks), chance, self.device, bounds)
        return kind.degrade(clean, drawn.repeat(self.train.views), chance, depth)

    def _severities(self, kind: Degradation, tasks: Sequence[Task], chance: torch.Generator) -> Tensor:
        """A severity for a sample of each task, drawn or its own."""
        bounds = [task.drawn or kind.training if task.severity is None else (task.severity,) * 2 for task in tasks]
        kind.check(*(value for pair in bounds for value in pair))
        low, high = self._sent(np.ascontiguousarray(np.array(bounds, np.float32).T))
        return torch.lerp(low, high, uniform(chance, (len(tasks),), self.device))

    def _try_degradations(self) -> None:
        """Degrade a small image each way: mistakes are told before training, and constants come to the device."""
        for task, pool in enumerate(self.pools):
            if pool.makes:
                image = torch.full((self.train.views, 3, 64, 64), 0.5, device=self.device)
                chance = torch.Generator(self.device).manual_seed(0)
                try:
                    self._degraded(np.array([task]), image, image[:, :1], chance)
                except RuntimeError as error:
                    reason = str(error).strip().split("\n")[0].removesuffix(".")
                    raise UserError(
                        f"{pool.task.name}: the degradation {pool.degradation.name} fails on {self.device} ({reason}); "
                        "it must draw its random numbers on the device of its images, where its generator is too."
                    ) from error
