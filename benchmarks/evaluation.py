"""Scoring a network on full-size test images by a named protocol, the degraded input always beside it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import protocols
from benchmarks.data.degradations import DEGRADATIONS, degrade
from benchmarks.data.sources import TestPool
from benchmarks.processes import Group
from benchmarks.seeds import generator
from benchmarks.tiling import Tell, fits, restore
from results.schema import SCORE_COLUMNS

AT_ONCE = 4  # images restored at the same time on a CPU
BESIDE = 2  # threads that open and score images beside a network that restores one at a time
FLAT = 0.1  # an output with less than this share of the clean image's spread counts as constant


def test_image(pool: TestPool, number: int, multiple: int = 1) -> tuple[Tensor, Tensor]:
    """Degraded and clean image ``number``, (3, H, W) in [0, 1], cut to a multiple of ``multiple`` at the centre.

    A synthetic degradation is seeded by test set and image, so it depends on no other image, run or seed.
    """
    clean, degraded = pool.clean[number], None
    if pool.inputs is not None:
        degraded = _tensor(_cut(pool.inputs[number], multiple))
    clean_tensor = _tensor(_cut(clean, multiple))
    if degraded is None:
        kind = DEGRADATIONS[pool.task.degradation]
        chosen = (pool.severity, pool.task.severity, kind.testing[0])
        severity = next(value for value in chosen if value is not None)
        depth = None
        if kind.needs_depth:
            depth = torch.from_numpy(_cut(pool.depths[number], multiple).astype(np.float32) / 255)[None, None]
        chance = generator("test", pool.dataset, pool.names[number])
        degraded = degrade(kind.name, clean_tensor[None], chance, depth=depth, severity=severity)[0]
    return degraded, clean_tensor


def evaluate(
    network: Any,
    pools: Sequence[TestPool],
    protocol: str,
    device: torch.device,
    report: Callable[[int, int], None] = lambda done, total: None,
    further: Mapping[str, Callable[[Tensor, Tensor], float]] | None = None,
    tell: Tell = warnings.warn,
    group: Group = Group(),  # noqa: B008  # frozen
) -> tuple[list[dict[str, Any]], list[str]]:
    """Score every image of every pool.

    Args:
        network: a :class:`baselines.Network` in evaluation mode.
        pools: the test sets.
        protocol: a key of :data:`benchmarks.protocols.PROTOCOLS`.
        device: where the network is.
        report: told how many images are done, of how many.
        further: metrics beside those of the protocol (:func:`benchmarks.metrics.further`), each of (restored, clean),
            (3, H, W) in [0, 1] on the CPU.
        tell: told in a sentence when an image did not fit into memory and was restored in tiles.
        group: processes that share the images among them; all of them call this and get everything.

    Returns:
        Rows of :data:`results.schema.SCORE_COLUMNS`, and the test sets on which the output is constant.
    """
    if getattr(network, "training", False):
        raise ValueError("a network is scored in evaluation mode")
    multiple = protocols.get(protocol).multiple
    images = [(place, number) for place, pool in enumerate(pools) for number in range(len(pool.names))]
    own = images[group.rank :: group.size]
    workers = _Workers(device)

    def scored(place: int, number: int) -> tuple[bool, list[dict[str, Any]]]:
        pool = pools[place]
        degraded, clean = test_image(pool, number, multiple)
        with workers.room(network, degraded.shape):
            restored = restore(network, degraded[None], device, tell=tell, cores=workers.cores)[0]
            more = [
                {metric: compute(image, clean) for metric, compute in (further or {}).items()}
                for image in (restored, degraded)
            ]
        return _scored(pool, pool.names[number], (restored, degraded), clean, protocol, more)

    found = {}
    with workers:
        waiting = [workers.threads.submit(scored, *key) for key in own]
        for done, (key, future) in enumerate(zip(own, waiting, strict=True), start=1):
            found[key] = future.result()
            report(done, len(own))
    for others in group.gathered(found):
        found |= others
    return _together(pools, found)


class _Workers:
    """Threads for one image each, while entered.

    On several ``cores`` of a CPU some images are restored at once, each on its share of the cores: many small
    operations, SSIM among them, fill the cores better apart than when each is shared by all. Elsewhere one image at a
    time is restored, while others are opened and scored: SSIM costs as much as a small network.
    """

    def __init__(self, device: torch.device):
        self.device, self.cores = device, torch.get_num_threads()
        self.at_once = min(self.cores, AT_ONCE) if device.type == "cpu" else 1
        beside = BESIDE if self.at_once == 1 else 0
        self.threads = ThreadPoolExecutor(self.at_once + beside, "scoring", initializer=self._share)
        self._turn = Lock()

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self.threads.shutdown(cancel_futures=True)
        torch.set_num_threads(self.cores)  # what a thread sets is what later ones begin with

    def _share(self) -> None:
        torch.set_num_threads(self.cores // self.at_once)

    @contextmanager
    def room(self, network: Any, shape: torch.Size) -> Iterator[None]:
        """Restore an image of this ``shape`` within: beside others where all have room in memory, else in turn and on
        all cores."""
        together = torch.Size((self.at_once, *shape))
        if self.at_once > 1 and fits(network, together, self.device, self.cores):
            yield
            return
        with self._turn:
            torch.set_num_threads(self.cores)
            try:
                yield
            finally:
                self._share()


def _together(
    pools: Sequence[TestPool], found: Mapping[tuple[int, int], tuple[bool, list[dict[str, Any]]]]
) -> tuple[list[dict[str, Any]], list[str]]:
    """What :func:`evaluate` returns, from what :func:`_scored` gave for each pool and image."""
    rows, collapsed = [], []
    for place, pool in enumerate(pools):
        scored = [found[place, number] for number in range(len(pool.names))]
        rows += [row for _, its in scored for row in its]
        if sum(flat for flat, _ in scored) > len(scored) / 2:
            collapsed.append(pool.dataset)
    return rows, collapsed


def _scored(
    pool: TestPool, name: str, images: Sequence[Tensor], clean: Tensor, protocol: str, more: Sequence[dict[str, float]]
) -> tuple[bool, list[dict[str, Any]]]:
    """Whether the restored of ``images`` (restored, degraded) is constant, and the rows of an image: the protocol's
    metrics and ``more``, of both."""
    after, before = (
        protocols.score(image, clean, protocol) | further for image, further in zip(images, more, strict=True)
    )
    named = (pool.dataset, pool.task.name, name, protocol)
    rows = [
        dict(zip(SCORE_COLUMNS, (*named, metric, value, before[metric]), strict=True))
        for metric, value in after.items()
    ]
    return _is_flat(images[0], clean), rows


def _is_flat(restored: Tensor, clean: Tensor) -> bool:
    spread = [float(image.flatten(1).std(dim=1).mean()) for image in (restored, clean)]
    return not spread[0] >= FLAT * spread[1]  # a NaN is flat


def _cut(image: np.ndarray, multiple: int) -> np.ndarray:
    top, left = (side % multiple // 2 for side in image.shape[:2])
    height, width = (side - side % multiple for side in image.shape[:2])
    return image[top : top + height, left : left + width]


def _tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def write_samples(network: Any, pools: Sequence[TestPool], folder: Path, device: torch.device) -> None:
    """The first image of every test set as ``<dataset>.png``: degraded, restored and clean side by side."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for pool in pools:
        degraded, clean = test_image(pool, 0)
        restored = restore(network, degraded[None], device, tell=lambda told: None)[0]  # scoring has told it
        strip = torch.cat([degraded, restored, clean], dim=2).nan_to_num().mul(255).round().byte()
        Image.fromarray(strip.permute(1, 2, 0).numpy()).save(folder / f"{pool.dataset}.png")
