"""Scoring a network on full-size test images by a named protocol, the degraded input always beside it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from benchmarks.config import protocols
from benchmarks.data.images import digest_of, identity
from benchmarks.data.pools import TestPool
from benchmarks.scoring.fidelity import score
from benchmarks.scoring.tiling import Tell, fits, restore
from results.records import Fault
from results.schema import SCORE_COLUMNS

AT_ONCE = 4  # images restored at the same time on a CPU
BESIDE = 2  # threads that open and score images beside a network that restores one at a time
NAMED = 3  # images that a warning names
FLAT = 0.1  # an output with less than this share of the clean image's spread counts as constant


class Flaw(NamedTuple):
    """What is wrong with a network's outputs, and on which test sets in words."""

    fault: Fault = Fault.NONE
    reason: str = ""


class Processes(Protocol):
    """Processes that share work; every one of them makes the same calls."""

    @property
    def rank(self) -> int:
        """Which of them this is, from 0."""
        ...

    @property
    def size(self) -> int: ...

    def gathered(self, value: Any) -> list[Any]:
        """Every process's value."""
        ...


def evaluate(
    network: Any,
    pools: Sequence[TestPool],
    protocol: str,
    device: torch.device,
    report: Callable[[int, int], None] = lambda done, total: None,
    further: Mapping[str, Callable[[Tensor, Tensor], float]] | None = None,
    tell: Tell = warnings.warn,
    group: Processes | None = None,
) -> tuple[list[dict[str, Any]], Flaw]:
    """Score every image of every pool.

    Args:
        network: a :class:`baselines.Network` in evaluation mode.
        pools: the test sets.
        protocol: a key of :data:`benchmarks.config.protocols.PROTOCOLS`.
        device: where the network is.
        report: told how many images are done, of how many.
        further: metrics beside those of the protocol (:func:`benchmarks.scoring.metrics.further`), each of (restored,
            clean), (3, H, W) in [0, 1] on the CPU.
        tell: told in a sentence when an image did not fit into memory and was restored in tiles.
        group: processes that share the images among them; all of them call this and get everything.

    Returns:
        Rows of :data:`results.schema.SCORE_COLUMNS`, and what is wrong with the outputs.
    """
    if getattr(network, "training", False):
        raise ValueError("a network is scored in evaluation mode")
    multiple = protocols.get(protocol).multiple
    images = [(place, number) for place, pool in enumerate(pools) for number in range(len(pool.names))]
    own = images[group.rank :: group.size] if group else images
    workers = _Workers(device)

    def scored(place: int, number: int) -> tuple[Fault, list[dict[str, Any]]]:
        pool = pools[place]
        degraded, clean = pool.pair(number, multiple)
        with workers.room(network, degraded.shape):
            restored = restore(network, degraded[None], device, tell=tell, cores=workers.cores)[0]
            more = [
                {metric: compute(image, clean) for metric, compute in (further or {}).items()}
                for image in (restored, degraded)
            ]
        named = (pool.dataset, pool.task.name, pool.names[number], protocol)
        return _fault(restored, clean), _rows(named, (restored, degraded), clean, more, pixels(pool, number))

    found = {}
    with workers:
        waiting = [workers.threads.submit(scored, *key) for key in own]
        for done, (key, future) in enumerate(zip(own, waiting, strict=True), start=1):
            found[key] = future.result()
            report(done, len(own))
    for others in group.gathered(found) if group else ():
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
    pools: Sequence[TestPool], found: Mapping[tuple[int, int], tuple[Fault, list[dict[str, Any]]]]
) -> tuple[list[dict[str, Any]], Flaw]:
    """What :func:`evaluate` returns, from the fault and the rows of each pool's images."""
    rows, flat, broken = [], [], []
    for place, pool in enumerate(pools):
        scored = [found[place, number] for number in range(len(pool.names))]
        rows += [row for _, its in scored for row in its]
        faults = [fault for fault, _ in scored]
        if sum(fault == Fault.COLLAPSED for fault in faults) > len(scored) / 2:
            flat.append(pool.dataset)
        if names := [name for name, fault in zip(pool.names, faults, strict=True) if fault == Fault.NOT_FINITE]:
            shown = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
            broken.append(f"{pool.dataset} ({len(names)} of {len(faults)} images: {shown})")
    if broken:
        return rows, Flaw(Fault.NOT_FINITE, f"NaN or infinite output on {', '.join(broken)}")
    return rows, Flaw(Fault.COLLAPSED, f"constant output on {', '.join(flat)}") if flat else Flaw()


def _rows(
    named: Sequence[str], images: Sequence[Tensor], clean: Tensor, more: Sequence[dict[str, float]], content: str
) -> list[dict[str, Any]]:
    """The rows of an image, ``named`` by test set, task, image and protocol: the protocol's metrics and ``more``, of
    both ``images`` (restored, degraded)."""
    after, before = (score(image, clean, named[-1]) | further for image, further in zip(images, more, strict=True))
    return [
        dict(zip(SCORE_COLUMNS, (*named, metric, value, before[metric], content), strict=True))
        for metric, value in after.items()
    ]


def _fault(restored: Tensor, clean: Tensor) -> Fault:
    """Of one output: not finite, or constant."""
    if not restored.isfinite().all():
        return Fault.NOT_FINITE
    spread = [float(image.flatten(1).std(dim=1).mean()) for image in (restored, clean)]
    return Fault.NONE if spread[0] >= FLAT * spread[1] else Fault.COLLAPSED


def pixels(pool: TestPool, number: int) -> str:
    """A digest of a test image's pixels, as the files hold them: of the clean and, where there is one, of the degraded
    one; degradations that are made depend on nothing else but the test set's and the image's name."""
    images = (pool.clean[number], pool.partner(number))
    return identity(f"p{digest_of(image)}" for image in images if image is not None)


def write_samples(network: Any, pools: Sequence[TestPool], folder: Path, device: torch.device) -> None:
    """The first image of every test set as ``<dataset>.png``: degraded, restored and clean side by side."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for pool in pools:
        degraded, clean = pool.pair(0)
        restored = restore(network, degraded[None], device, tell=lambda told: None)[0]  # scoring has told it
        strip = torch.cat([degraded, restored, clean], dim=2).nan_to_num().mul(255).round().byte()
        Image.fromarray(strip.permute(1, 2, 0).numpy()).save(folder / f"{pool.dataset}.png")
