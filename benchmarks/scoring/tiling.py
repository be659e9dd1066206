"""Restoring images of any size in the memory at hand: whole where they fit, else in overlapping tiles.

A tile begins where the network's own grid of ``multiple`` pixels begins, so that a network without global operations
computes in a tile what it computes in the whole image, but for what the tile's cut edges spoil. Those edges count for
nothing, and between them two tiles pass into each other smoothly.
"""

from __future__ import annotations

import math
import os
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from art.shapes import Images
from baselines.network import Network
from benchmarks.config.errors import UserError

OVERLAP = 64  # pixels that neighbouring tiles share at least
GENEROUS = 16 * 2**10  # bytes a pixel, more than any baseline needs: what fits with these is not measured
MARGIN = 1.5  # for what the estimate misses: buffers inside operations, fragmentation
PROBE = 64  # side of the image on which the need is measured

Warn = Callable[[str], object]


def restore(
    network: Network,
    image: Images,
    device: torch.device,
    tile: int | None = None,
    warn: Warn = warnings.warn,
    cores: int | None = None,
) -> Images:
    """Restore images whole where memory allows, else in tiles; smaller ones each time that memory runs out.

    Args:
        network: on ``device``.
        image: (B, 3, H, W) in [0, 1], any H and W.
        device: where to compute.
        tile: side of the tiles; ``None`` decides by an estimate of the memory needed.
        warn: called with a sentence when the image was restored in tiles.
        cores: of a CPU that this process may use; ``None``: as many as torch has threads.

    Returns:
        (B, 3, H, W) in [0, 1], where ``image`` is.

    Raises:
        UserError: if ``tile`` is below :func:`smallest_tile`, or even such tiles do not fit into memory, or the network
            returns another shape.
    """
    check_tile(network, tile)
    smallest = smallest_tile(network)
    side = _fitting_side(network, image.shape, device, cores or torch.get_num_threads()) if tile is None else tile
    while True:
        try:
            restored = _attempt(network, image, device, side)
            break
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # not in the handler: there the error would hold what the failed attempt had allocated
        if device.type == "cuda":
            torch.cuda.empty_cache()
        if side <= smallest:
            raise UserError(f"{_name(network)} does not fit into memory even with tiles of {smallest} pixels.")
        side = max(smallest, min(side, max(image.shape[-2:])) // 2)
    if side < max(image.shape[-2:]):
        warn(_in_tiles(network, image, side))
    return restored


def restore_whole(network: Network, image: Images, device: torch.device) -> Images:
    """Restore images whole, or fail.

    Arguments and result are those of :func:`restore`.

    Raises:
        RuntimeError, MemoryError: of which :func:`is_out_of_memory` is true, where memory has no room.
        UserError: if the network returns another shape.
    """
    restored = network.restore(image.to(device)).to(image.device)
    _check_shape(network, image, restored)
    return restored


def fits(network: Network, shape: torch.Size, device: torch.device, cores: int) -> bool:
    """Whether memory allows to restore images of this shape (B, 3, H, W) whole.

    Args:
        network: on ``device``.
        shape: of the images.
        device: where to compute.
        cores: of a CPU that this process may use.
    """
    return _fitting_side(network, shape, device, cores) >= max(shape[-2:])


def restore_tiled(
    network: Network, image: Images, tile: int, overlap: int = OVERLAP, device: torch.device | None = None
) -> Images:
    """Restore images in overlapping tiles.

    The outer quarter of every overlap is computed and thrown away, in the middle half two tiles are blended.

    Args:
        network: on ``device``.
        image: (B, 3, H, W) in [0, 1], any H and W.
        tile: largest side of a tile; rounded down to the network's ``multiple``.
        overlap: pixels that neighbouring tiles share at least; rounded up to the network's ``multiple``.
        device: where to compute; ``None``: where ``image`` is.

    Returns:
        (B, 3, H, W) in [0, 1], where ``image`` is.

    Raises:
        ValueError: unless tiles are larger than what they share.
    """
    unit = network.multiple
    if overlap < 0 or tile // unit <= -(-overlap // unit):
        raise ValueError(f"tiles of {tile} pixels cannot share {overlap} (in steps of {unit}).")
    rows, columns = (_spans(length, tile, overlap, unit) for length in image.shape[-2:])
    restored = torch.zeros_like(image)
    for top, bottom, row_weights in rows:
        for left, right, column_weights in columns:
            part = image[..., top:bottom, left:right].to(device or image.device)
            weights = (row_weights[:, None] * column_weights).to(image)
            restored[..., top:bottom, left:right] += network.restore(part).to(image.device) * weights
    return restored.clamp_(0, 1)


def check_tile(network: Network, tile: int | None) -> None:
    """Refuse tiles that are too small.

    Raises:
        UserError: if ``tile`` is below :func:`smallest_tile`.
    """
    smallest = smallest_tile(network)
    if tile is not None and tile < smallest:
        raise UserError(f"tiles of {tile} pixels are too small for {_name(network)}; the smallest are {smallest}.")


def smallest_tile(network: Network) -> int:
    """Side of the smallest tiles that :func:`restore` makes for this network."""
    unit = network.multiple
    return 2 * -(-OVERLAP // unit) * unit


def _attempt(network: Network, image: Images, device: torch.device, side: int) -> Tensor:
    if side >= max(image.shape[-2:]):
        return restore_whole(network, image, device)
    return restore_tiled(network, image, side, max(OVERLAP, side // 4), device)


def _check_shape(network: Network, image: Images, restored: Tensor) -> None:
    if restored.shape != image.shape:
        shapes = f"{tuple(restored.shape)} for an image of {tuple(image.shape)}"
        raise UserError(f"{_name(network)} gives {shapes}; both must be the same.")


def _spans(length: int, tile: int, overlap: int, unit: int) -> list[tuple[int, int, Float[Tensor, " pixels"]]]:
    """Start, end and weights (end - start,) of the tiles along one axis; where tiles overlap, weights add up to 1.

    The tiles are as few as possible, of about one size and evenly spread.
    """
    whole, largest, shared = -(-length // unit), tile // unit, -(-overlap // unit)  # in units from here on
    if whole <= largest:
        return [(0, length, torch.ones(length))]
    count = -(-(whole - shared) // (largest - shared))
    size = -(-(whole + (count - 1) * shared) // count)
    starts = [number * (whole - size) // (count - 1) for number in range(count)]
    spans = [(start * unit, min((start + size) * unit, length)) for start in starts]
    weights = [_weights(start, end, length, overlap) for start, end in spans]
    total = torch.zeros(length)
    for (start, end), weight in zip(spans, weights, strict=True):
        total[start:end] += weight
    return [(start, end, weight / total[start:end]) for (start, end), weight in zip(spans, weights, strict=True)]


def _weights(start: int, end: int, length: int, overlap: int) -> Float[Tensor, " pixels"]:
    """From each cut edge inwards: 0 for a quarter of the overlap, a cosine ramp for half of it, then 1."""
    places = torch.arange(start, end) + 0.5
    weights = torch.ones(end - start)
    for edge, cut in ((places - start, start > 0), (end - places, end < length)):
        if cut and overlap:
            ramp = (edge / overlap * 2 - 0.5).clamp(0, 1)
            weights = weights * (0.5 - 0.5 * torch.cos(math.pi * ramp))
    return weights


def _fitting_side(network: Network, shape: torch.Size, device: torch.device, cores: int) -> int:
    """The longer side of the image where it fits whole, else that of the largest square tiles that fit."""
    batch, _, height, width = shape
    room = _budget(device, cores)
    if batch * height * width * GENEROUS <= room:
        return max(height, width)
    pixels = room / (MARGIN * batch * _bytes_a_pixel(network, device))
    if height * width <= pixels:
        return max(height, width)
    unit = network.multiple
    return min(max(int(math.sqrt(pixels)) // unit * unit, smallest_tile(network)), max(height, width) - 1)


_needs: weakref.WeakKeyDictionary[Network, float] = weakref.WeakKeyDictionary()


def _bytes_a_pixel(network: Network, device: torch.device) -> float:
    """Peak of the tensors alive while the network restores an image, without its weights, for each pixel.

    The need of the baselines grows with the number of pixels, so it is measured on a small image.
    """
    if network not in _needs:
        unit = network.multiple
        side = -(-PROBE // unit) * unit
        with _Meter(network) as meter:
            network.restore(torch.zeros(1, 3, side, side, device=device))
        _needs[network] = max(meter.peak / side**2, 1)
    return _needs[network]


class _Meter(TorchDispatchMode):
    """Counts the bytes of the tensors that operations return while they are alive; ``peak`` is the largest number."""

    def __init__(self, network: Network):
        super().__init__()
        self.peak = self.live = 0
        self._known = {tensor.untyped_storage().data_ptr() for tensor in network.state_dict().values()}

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        self.peak = max(self.peak, self.live)
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        place, size = storage.data_ptr(), storage.nbytes()
        if place not in self._known:
            self._known.add(place)
            self.live += size
            weakref.finalize(storage, self._forget, place, size)

    def _forget(self, place: int, size: int) -> None:
        self._known.discard(place)
        self.live -= size


def _budget(device: torch.device, cores: int) -> float:
    """Bytes that a restoration may take.

    On a CPU half of what is free, and less for a process that has few of the cores: others like it run beside it.
    """
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return 0.9 * (torch.cuda.mem_get_info(device)[0] + unused)
    return 0.5 * _free_memory() * min(1, 2 * cores / (os.cpu_count() or 1))


def _free_memory() -> float:
    """Bytes of main memory available without swapping, within the limit of a container."""
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text("utf-8").splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):  # not Linux
        free = _all_memory() // 2
    for limit, used in _CONTAINER:
        try:
            free = min(free, int(Path(limit).read_text("utf-8")) - int(Path(used).read_text("utf-8")))
        except (OSError, ValueError):  # no such control group, or "max"
            continue
    return max(free, 0)


def _all_memory() -> int:
    """Bytes of main memory; 8 GiB where the system does not say (Windows)."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 2**33


_CONTAINER = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, of a GPU or of the machine."""
    words = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(word in str(error) for word in words)


def _name(network: Network) -> str:
    return type(network).__name__


def _in_tiles(network: Network, image: Images, side: int) -> str:
    height, width = image.shape[-2:]
    words = f"restored {width}x{height} pixels in overlapping tiles of at most {side}"
    if network.local:
        return f"{words}; their seams do not show"
    return f"{words}: {_name(network)} looks at a whole image at once, so the result is not that of the whole image"
