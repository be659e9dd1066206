"""Which windows of which images a step is made of, and their pixels, cut on the host or ready to be cut on a device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, NamedTuple, TypeVar

import joblib
import numpy as np

from benchmarks.config.sections import TrainConfig
from benchmarks.config.seeds import derive
from benchmarks.data.on_device import Samples, Store
from benchmarks.data.pools import Pool

_Item = TypeVar("_Item")


class Ahead(Generic[_Item]):
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
        """What the function gives for a step."""
        wanted = range(step, max(min(step + self.depth, self.last), step + 1))
        for other in set(self._waiting) - set(wanted):
            self._waiting.pop(other).cancel()
        for next_step in wanted:
            if next_step not in self._waiting:
                self._waiting[next_step] = self._threads.submit(self.function, next_step)
        return self._waiting.pop(step).result()


class Crops(NamedTuple):
    """What one step is made of.

    Attributes:
        tasks: (B,) of the samples; those of a task lie together.
        synthetic: (B,) whether the degraded image is still to be made.
        pixels: (2, V, N, 3, P, P) uint8, clean and degraded crops of the N samples that no store holds, in their order;
            where the degraded one is to be made, it is the clean one.
        depths: (V, N, 1, P, P) uint8 of the same, zero where there is none; ``None`` where no task needs any.
        places: of the others, see :meth:`Store.places`; ``None`` where there are none.
    """

    tasks: np.ndarray
    synthetic: np.ndarray
    pixels: np.ndarray
    depths: np.ndarray | None
    places: np.ndarray | None


class Cropping:
    """The crops of a step: its samples, cut, flipped and turned alike.

    Args:
        pools: the tasks' training images.
        mixture: task and image numbers of a step.
        train: the recipe.
        seed: of the crops.
        store: holds the images of some pools, whose crops are cut later.
    """

    def __init__(
        self,
        pools: Sequence[Pool],
        mixture: Callable[[int], tuple[np.ndarray, np.ndarray]],
        train: TrainConfig,
        seed: tuple[object, ...],
        store: Store | None = None,
    ):
        self.pools, self.mixture, self.train, self.seed, self.store = pools, mixture, train, seed, store
        self.held = np.zeros(len(pools), bool) if store is None else store.held
        self.needs_depth = any(pool.makes and pool.degradation.needs_depth for pool in pools)

    def __call__(self, step: int) -> Crops:
        """The crops of step 0, 1, ...; from any thread."""
        samples = self._samples(step)
        synthetic = np.zeros(len(samples.tasks), bool)
        places = None
        if self.store is not None and self.held[samples.tasks].any():
            places, synthetic = self.store.places(samples, self.train.patch)
        pixels, depths = self._cut(samples, synthetic)
        return Crops(samples.tasks, synthetic, pixels, depths, places)

    def _samples(self, step: int) -> Samples:
        tasks, images = self.mixture(step)
        order = np.argsort(tasks, kind="stable")
        chance = np.random.default_rng(derive(*self.seed, "crops", step))
        augment, count = self.train.augment, self.train.views * len(tasks)
        drawn = [(chance.random(), chance.random(), chance.integers(8) if augment else 0) for _ in range(count)]
        down, across, turns = zip(*drawn, strict=True)
        windows = np.array(down), np.array(across), np.array(turns, dtype=np.int64)
        views = (values.reshape(self.train.views, -1) for values in windows)
        return Samples(tasks[order], images[order], *views)

    def _cut(self, samples: Samples, synthetic: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Pixels and depths of the samples that no store holds; whether theirs are ``synthetic`` is set."""
        here = np.flatnonzero(~self.held[samples.tasks])
        patch, views = self.train.patch, self.train.views
        pixels = np.empty((2, views, len(here), 3, patch, patch), np.uint8)
        depths = np.zeros((views, len(here), 1, patch, patch), np.uint8) if self.needs_depth else None
        for place, sample in enumerate(here.tolist()):
            picture, partner, depth = self._pictures(int(samples.tasks[sample]), int(samples.images[sample]))
            synthetic[sample] = partner is None
            room = [max(side - patch, 0) + 1 for side in picture.shape[:2]]
            for view in range(views):
                down, across, turn = (values[view, sample] for values in samples[2:])
                window = (int(down * room[0]), int(across * room[1]), patch, int(turn))
                pixels[0, view, place] = crop(picture, *window)
                pixels[1, view, place] = pixels[0, view, place] if partner is None else crop(partner, *window)
                if depths is not None and depth is not None:
                    depths[view, place] = crop(depth, *window)
        return pixels, depths

    def _pictures(self, task: int, image: int) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """A sample's clean image, its degraded partner, and without one its depth, as far as its pool has them."""
        pool = self.pools[task]
        partner = pool.partner(image)
        depth = pool.depth(image) if partner is None and pool.depths is not None else None
        return pool.clean[image], partner, depth


def crop(image: np.ndarray, top: int, left: int, patch: int, turn: int) -> np.ndarray:
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
