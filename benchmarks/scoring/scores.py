"""Scoring a network on full-size test images by a named protocol, and always the degraded images too."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import torch

from baselines.network import Network
from benchmarks.config import protocols
from benchmarks.data.pools import TestPool
from benchmarks.scoring import arithmetic, inputs, rows
from benchmarks.scoring.batched import Place, score_batches
from benchmarks.scoring.fidelity import score
from benchmarks.scoring.rows import Compute, Row, Scored
from benchmarks.scoring.tiling import Warn, fits, restore
from results.records import Fault

AT_ONCE = 4  # images restored at the same time on a CPU
BESIDE = 2  # threads that open and score images beside a network that restores one at a time
NAMED = 3  # images that a warning names
T = TypeVar("T")


class Flaw(NamedTuple):
    """What is wrong with a network's outputs, and in words on which test sets."""

    fault: Fault = Fault.NONE
    reason: str = ""


@runtime_checkable
class Processes(Protocol):
    """Processes that share work; every one of them makes the same calls."""

    @property
    def rank(self) -> int:
        """Which of them this is, from 0."""
        ...

    @property
    def size(self) -> int:
        """How many they are."""
        ...

    def gathered(self, value: T) -> list[T]:
        """Every process's value."""
        ...


def evaluate(
    network: Network,
    pools: Sequence[TestPool],
    protocol: str,
    device: torch.device,
    report: Callable[[int, int], None] = lambda done, total: None,
    further: Mapping[str, Compute] | None = None,
    warn: Warn = warnings.warn,
    group: Processes | None = None,
) -> tuple[list[Row], Flaw]:
    """Score every image of every pool.

    Args:
        network: in evaluation mode.
        pools: the test sets.
        protocol: a name for :func:`benchmarks.config.protocols.get`.
        device: where the network is. On a CUDA device PSNR and SSIM are computed there, to scikit-image's values but
            for rounding (:mod:`benchmarks.scoring.on_device`); on others they are scikit-image's.
        report: called with how many images are done, of how many.
        further: metrics beside those of the protocol (:func:`benchmarks.scoring.metrics.further`), of images in [0, 1]
            on the CPU.
        warn: called with a sentence when an image did not fit into memory and was restored in tiles.
        group: processes that share the images; all of them call this and get everything.

    Returns:
        Rows of :data:`results.schema.SCORE_COLUMNS`, and what is wrong with the outputs.

    Raises:
        ValueError: for a network in training mode.
        UserError: if an image does not fit into memory even in tiles, the network returns another shape, or a CPU lacks
            the arithmetic of the protocol.
    """
    if network.training:
        raise ValueError("a network is scored in evaluation mode")
    arithmetic.check(protocols.get(protocol), device)
    images = [(place, number) for place, pool in enumerate(pools) for number in range(len(pool.names))]
    share = images[group.rank :: group.size] if group else images
    ways = score_batches if device.type == "cuda" else _score_singly
    with arithmetic.exact(device):
        found = ways(network, pools, protocol, device, share, report, further or {}, warn)
    for others in group.gathered(found) if group else ():
        found |= others
    return _together(pools, found)


def _score_singly(
    network: Network,
    pools: Sequence[TestPool],
    protocol: str,
    device: torch.device,
    share: Sequence[Place],
    report: Callable[[int, int], None],
    further: Mapping[str, Compute],
    warn: Warn,
) -> dict[Place, Scored]:
    """What is found out about each of the images in ``share``, each in a thread."""
    convention = protocols.get(protocol)
    workers = _Workers(device)

    def scored(place: int, number: int) -> Scored:
        pool = pools[place]
        degraded, clean = pool.pair(number, convention.multiple)
        with workers.room(network, degraded.shape):
            with arithmetic.precision(convention, device):
                restored = restore(network, degraded[None], device, warn=warn, cores=workers.cores)[0]
            after, before = (
                {metric: compute(image, clean) for metric, compute in further.items()} for image in (restored, degraded)
            )
        digest = rows.pixels(pool, number)
        after = score(restored, clean, protocol) | after
        before = {**inputs.scores(pool, number, digest, degraded, clean, protocol), **before}
        spreads = (float(image.flatten(1).std(dim=1).mean()) for image in (restored, clean))
        fault = rows.fault(bool(restored.isfinite().all()), *spreads)
        return fault, rows.rows_of(pool, number, protocol, digest, after, before)

    found: dict[Place, Scored] = {}
    with workers:
        futures = [workers.threads.submit(scored, *image) for image in share]
        for done, (image, future) in enumerate(zip(share, futures, strict=True), start=1):
            found[image] = future.result()
            report(done, len(share))
    return found


class _Workers:
    """Threads for one image each, while entered.

    On several ``cores`` of a CPU some images are restored at once, each on its share of the cores: many small
    operations, SSIM among them, use the cores better so than when all cores share each. Elsewhere one image at a time
    is restored, while others are opened and scored: SSIM costs as much as a small network.
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
        torch.set_num_threads(self.cores)  # later threads begin with the number that one has set

    def _share(self) -> None:
        torch.set_num_threads(self.cores // self.at_once)

    @contextmanager
    def room(self, network: Network, shape: torch.Size) -> Generator[None]:
        """Restore an image of this ``shape`` within: beside others where memory has room for all, else in turn and on
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


def _together(pools: Sequence[TestPool], found: Mapping[Place, Scored]) -> tuple[list[Row], Flaw]:
    """What :func:`evaluate` returns, from the fault and the rows of every image, by numbers of its pool and in it."""
    all_rows: list[Row] = []
    flat: list[str] = []
    broken: list[str] = []
    for place, pool in enumerate(pools):
        scored = [found[place, number] for number in range(len(pool.names))]
        all_rows += [row for _, rows_of_image in scored for row in rows_of_image]
        faults = [fault for fault, _ in scored]
        if sum(fault == Fault.COLLAPSED for fault in faults) > len(scored) / 2:
            flat.append(pool.dataset)
        if names := [name for name, fault in zip(pool.names, faults, strict=True) if fault == Fault.NOT_FINITE]:
            shown = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
            broken.append(f"{pool.dataset} ({len(names)} of {len(faults)} images: {shown})")
    if broken:
        return all_rows, Flaw(Fault.NOT_FINITE, f"NaN or infinite output on {', '.join(broken)}")
    return all_rows, Flaw(Fault.COLLAPSED, f"constant output on {', '.join(flat)}") if flat else Flaw()


def write_samples(network: Network, pools: Sequence[TestPool], folder: Path, device: torch.device) -> None:
    """Write the first image of every test set as ``<dataset>.png``: degraded, restored and clean side by side.

    Args:
        network: on ``device``.
        pools: the test sets.
        folder: for the files; made if it is missing.
        device: where to compute.

    Raises:
        OSError: if a file cannot be written.
    """
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for pool in pools:
        degraded, clean = pool.pair(0)
        with arithmetic.exact(device):
            restored = restore(network, degraded[None], device, warn=lambda words: None)[0]  # scoring has warned
        strip = torch.cat([degraded, restored, clean], dim=2).nan_to_num().mul(255).round().byte()
        Image.fromarray(strip.permute(1, 2, 0).numpy()).save(folder / f"{pool.dataset}.png")
