"""Scoring on a GPU: images of one size restored and scored at once, while threads prepare the next ones.

The host waits once a batch, for the scores of the batch before the one that it has just launched.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from art.shapes import Images
from baselines.network import Network
from benchmarks.config import protocols
from benchmarks.data.pools import TestPool
from benchmarks.scoring import arithmetic, on_device, rows
from benchmarks.scoring.metrics import Image
from benchmarks.scoring.rows import Compute, Scored
from benchmarks.scoring.tiling import Warn, fits, is_out_of_memory, restore, restore_whole

AT_ONCE = 32  # images of a batch
PIXELS = 2**21  # of a batch: beyond this nothing is faster, and several runs may share the GPU
OPENERS = 8  # threads that open images
AHEAD = 2**23  # pixels of opened images that wait, 24 bytes each
WAITING = 2**24  # pixels of images that wait for others of their size

Place = tuple[int, int]  # the number of a pool, and of an image in it


@dataclass(frozen=True)
class Example:
    """An opened test image: its ``place``, the degraded and the clean image, and a digest of their pixels."""

    place: Place
    degraded: Image
    clean: Image
    digest: str


def score_batches(
    network: Network,
    pools: Sequence[TestPool],
    protocol: str,
    device: torch.device,
    share: Sequence[Place],
    report: Callable[[int, int], None],
    further: Mapping[str, Compute],
    warn: Warn,
) -> dict[Place, Scored]:
    """What :func:`benchmarks.scoring.scores.evaluate` finds out about each of the images in ``share``, by place; the
    other arguments are that function's."""
    found: dict[Place, Scored] = {}
    launched: deque[_Batch] = deque()
    batches = _Batches(network, pools, protocol, device, further, warn)

    def collect(most_left: int) -> None:
        while len(launched) > most_left:
            found.update(launched.popleft().scored(pools, protocol))
            report(len(found), len(share))

    multiple, pinned = protocols.get(protocol).multiple, device.type == "cuda"
    with (
        closing(_opened(pools, share, multiple, pinned)) as examples,
        closing(_grouped(examples, batches.most)) as groups,
    ):
        for group in groups:
            launched.extend(batches.launch(group))
            collect(1)
    collect(0)
    if device.type == "cuda":
        torch.cuda.empty_cache()  # other runs may share the GPU, and training needs less
    return found


@dataclass
class _Batch:
    """Launched on the device: its images, their :func:`_columns` on the way to the host, and further metrics."""

    examples: Sequence[Example]
    columns: Float64[Tensor, "batch columns"]
    arrived: torch.cuda.Event | None
    after: Sequence[Mapping[str, float]]
    before: Sequence[Mapping[str, float]]

    def scored(self, pools: Sequence[TestPool], protocol: str) -> dict[Place, Scored]:
        """What was found out, as soon as it has arrived."""
        if self.arrived:
            self.arrived.synchronize()
        found: dict[Place, Scored] = {}
        for number, (example, values) in enumerate(zip(self.examples, self.columns.tolist(), strict=True)):
            psnr, ssim, input_psnr, input_ssim, finite, spread, clean_spread = values
            after = {"psnr": psnr, "ssim": ssim, **self.after[number]}
            before = {"psnr": input_psnr, "ssim": input_ssim, **self.before[number]}
            place, image = example.place
            image_rows = rows.rows_of(pools[place], image, protocol, example.digest, after, before)
            found[example.place] = rows.fault(bool(finite), spread, clean_spread), image_rows
        return found


class _Batches:
    """Restores and scores groups of images of one size."""

    def __init__(
        self,
        network: Network,
        pools: Sequence[TestPool],
        protocol: str,
        device: torch.device,
        further: Mapping[str, Compute],
        warn: Warn,
    ):
        self.network, self.pools, self.device = network, pools, device
        self.convention = protocols.get(protocol)
        self.further, self.warn = further, warn
        self._most: dict[torch.Size, int] = {}

    def most(self, shape: torch.Size) -> int:
        """How many images of this ``shape`` (3, H, W) memory allows at once, by an estimate, and by what has failed."""
        if shape not in self._most:
            most = max(1, min(AT_ONCE, PIXELS // shape[1:].numel()))
            cores = torch.get_num_threads()
            while most > 1 and not fits(self.network, torch.Size((most, *shape)), self.device, cores):
                most //= 2
            self._most[shape] = most
        return self._most[shape]

    def launch(self, examples: Sequence[Example]) -> list[_Batch]:
        """Start the work on images of one size: in two halves each time that memory runs out, one alone in tiles."""
        try:
            return [self._launched(examples)]
        except (RuntimeError, MemoryError) as error:
            if len(examples) == 1 or not is_out_of_memory(error):
                raise
        # not in the handler: there the error would hold what the failed attempt had allocated
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        half = len(examples) // 2
        self._most[examples[0].clean.shape] = half
        return self.launch(examples[:half]) + self.launch(examples[half:])

    def _launched(self, examples: Sequence[Example]) -> _Batch:
        degraded = _on(self.device, [example.degraded for example in examples])
        clean = _on(self.device, [example.clean for example in examples])
        with arithmetic.precision(self.convention, self.device):
            if len(examples) == 1:
                restored = restore(self.network, degraded, self.device, warn=self.warn)
            else:
                restored = restore_whole(self.network, degraded, self.device)
        columns = self._columns(restored, degraded, clean)
        arrived = None
        if self.device.type == "cuda":
            waiting, columns = columns, torch.empty(columns.shape, dtype=columns.dtype, pin_memory=True)
            columns.copy_(waiting, non_blocking=True)
            arrived = torch.cuda.Event()
            arrived.record(torch.cuda.current_stream(self.device))
        after, before = self._further(list(restored), examples), self._further([e.degraded for e in examples], examples)
        return _Batch(examples, columns, arrived, after, before)

    def _columns(self, restored: Images, degraded: Images, clean: Images) -> Float64[Tensor, "batch 7"]:
        try:
            return _columns(restored, degraded, clean, self.convention)
        except (RuntimeError, MemoryError) as error:
            if len(restored) > 1 or not is_out_of_memory(error):
                raise
        return _columns(restored.cpu(), degraded.cpu(), clean.cpu(), self.convention)  # a large image, on the host

    def _further(self, images: Sequence[Image], examples: Sequence[Example]) -> list[dict[str, float]]:
        """The further metrics of every image, which take single ones on the CPU."""
        return [
            {metric: compute(image.cpu(), example.clean) for metric, compute in self.further.items()}
            for image, example in zip(images, examples, strict=True)
        ]


def _columns(
    restored: Images, degraded: Images, clean: Images, convention: protocols.Protocol
) -> Float64[Tensor, "batch 7"]:
    """Of every image: PSNR and SSIM, those of the degraded one, whether all is finite, spread, spread of the clean
    one."""
    spreads = [images.flatten(2).std(dim=2).mean(dim=1).double() for images in (restored, clean)]
    finite = restored.isfinite().flatten(1).all(dim=1).double()
    after, before = (on_device.scores(images, clean, convention) for images in (restored, degraded))
    return torch.cat([after, before, torch.stack([finite, *spreads], dim=1)], dim=1)


def _on(device: torch.device, images: Sequence[Image]) -> Images:
    """The images as one batch on the device; from pinned memory without waiting."""
    batch = torch.empty((len(images), *images[0].shape), device=device)
    for place, image in zip(batch, images, strict=True):
        place.copy_(image, non_blocking=True)
    return batch


def _grouped(examples: Generator[Example], most: Callable[[torch.Size], int]) -> Generator[Sequence[Example]]:
    """The images in groups of one size, of ``most`` at once; those whose size has few go when too many wait."""
    waiting: dict[torch.Size, list[Example]] = {}
    pixels = 0
    for example in examples:
        shape = example.clean.shape
        group = waiting.setdefault(shape, [])
        group.append(example)
        pixels += shape[1:].numel()
        if len(group) < most(shape):
            if pixels <= WAITING:
                continue
            shape = max(waiting, key=lambda size: len(waiting[size]) * size.numel())
        group = waiting.pop(shape)
        pixels -= len(group) * shape[1:].numel()
        yield group
    yield from waiting.values()


def _opened(pools: Sequence[TestPool], share: Sequence[Place], multiple: int, pinned: bool) -> Generator[Example]:
    """The images in order, opened and degraded ahead by threads."""

    def opened(place: Place) -> Example:
        pool, number = pools[place[0]], place[1]
        pair = pool.pair(number, multiple)
        degraded, clean = (image.contiguous().pin_memory() if pinned else image for image in pair)
        return Example(place, degraded, clean, rows.pixels(pool, number))

    cores = torch.get_num_threads()
    threads = ThreadPoolExecutor(OPENERS, "opening", initializer=torch.set_num_threads, initargs=(1,))
    ahead: deque[Future[Example]] = deque()
    left, room = deque(share), OPENERS
    try:
        while left or ahead:
            while left and len(ahead) < room:
                ahead.append(threads.submit(opened, left.popleft()))
            example = ahead.popleft().result()
            room = min(max(AHEAD // example.clean[0].numel(), 2), 2 * AT_ONCE)
            yield example
    finally:
        threads.shutdown(cancel_futures=True)
        torch.set_num_threads(cores)  # later threads begin with the number that one has set
