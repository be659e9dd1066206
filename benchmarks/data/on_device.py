"""Training images that lie on the device as 8-bit pixels, and crops of them that are cut there.

A GPU trains faster than a host can cut and send patches, so what fits is sent once. A batch is one gather by the
pixels' numbers, which the host works out for all samples and views together.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, cast

import joblib
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from benchmarks.data.images import Images, Pictures, digest_of
from benchmarks.data.pools import Pool, origin

# Of the memory that is free when training begins, a quarter at most: what is left must hold the network's activations,
# which is where the memory of a recipe that fills its GPU goes. Beyond 16 GB sets are rarely cached on the host either.
SHARE, MOST = 0.25, 16 * 2**30


def room(device: torch.device) -> int:
    """Bytes that images may take on a CUDA device now."""
    free, _ = torch.cuda.mem_get_info(device)
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by torch, from runs before
    return int(min(SHARE * (free + kept), MOST))


_Numbers = Int[np.ndarray, "batch"]


class Samples(NamedTuple):
    """A step's samples, a task's together.

    Attributes:
        tasks, images: (B,) their numbers.
        down, across: (V, B) in [0, 1), where the window of a view lies in the room there is.
        turns: (V, B) one of the eight orientations.
    """

    tasks: _Numbers
    images: _Numbers
    down: Float[np.ndarray, "views batch"]
    across: Float[np.ndarray, "views batch"]
    turns: Int[np.ndarray, "views batch"]


class _Picture(NamedTuple):
    """A picture that may be put on a shelf."""

    images: Pictures
    number: int
    digest: str
    height: int
    width: int


class _Shelf:
    """Pictures of one number of channels, pixel after pixel; equal ones lie there once."""

    def __init__(self, channels: int):
        self.channels, self.end = channels, 0
        self.starts: dict[str, int] = {}
        self._pictures: list[tuple[int, _Picture]] = []
        self._known: dict[tuple[int, int], _Picture] = {}
        self.pixels = torch.empty(0, channels, dtype=torch.uint8)

    def picture(self, images: Pictures, number: int) -> _Picture | None:
        """What is at that number, without decoding a cached image; ``None`` for a gap."""
        images, number = origin(images, number)
        key = id(images), number
        if key not in self._known:
            if isinstance(images, Images):
                known = _Picture(images, number, images.digest(number), *images.shape(number))
            else:
                image = cast(np.ndarray | None, images[number])
                if image is None:
                    return None
                known = _Picture(images, number, digest_of(image), *image.shape[:2])
            self._known[key] = known
        return self._known[key]

    def pictures(
        self, images: Pictures | None, count: int, wanted: Sequence[bool] | None = None
    ) -> list[_Picture | None]:
        """So many of the images; ``None`` where there is none or none is wanted."""
        if images is None:
            return [None] * count
        return [self.picture(images, n) if wanted is None or wanted[n] else None for n in range(count)]

    def new(self, pictures: Sequence[_Picture | None]) -> dict[str, _Picture]:
        """Those of the pictures that are not there, each once, by digest."""
        return {item.digest: item for item in pictures if item is not None and item.digest not in self.starts}

    def bytes(self, pictures: dict[str, _Picture]) -> int:
        """Of their pixels."""
        return sum(self.channels * item.height * item.width for item in pictures.values())

    def add(self, pictures: dict[str, _Picture]) -> None:
        """Make room for them."""
        for digest, item in pictures.items():
            self.starts[digest] = self.end
            self._pictures.append((self.end, item))
            self.end += item.height * item.width

    def fill(self, device: torch.device) -> None:
        """Send the pixels; decoded images are read and compared with their digests in several threads."""
        self.pixels = torch.empty(self.end, self.channels, dtype=torch.uint8, device=device)
        if device.type == "cuda":
            torch.cuda.synchronize(device)  # the threads below have streams of their own

        def send(entry: tuple[int, _Picture]) -> None:
            start, item = entry
            image = np.array(item.images[item.number]).reshape(-1, self.channels)
            self.pixels[start : start + len(image)].copy_(torch.from_numpy(image))

        with ThreadPoolExecutor(min(8, joblib.cpu_count()), "images") as threads:
            for _ in threads.map(send, self._pictures):
                pass
        self._pictures, self._known = [], {}


class Store:
    """The images of the training pools that fit, on a device; pools that share images cost them once.

    Pools whose images or depths are made when asked for stay outside: to make them all at once would delay the start of
    training by minutes.

    Args:
        pools: the tasks' training images.
        device: where they are to lie.
        limit: bytes for all of them.

    Attributes:
        held: (K,) whether the pool of a task lies here.
        bytes: of all that lies here.
    """

    def __init__(self, pools: Sequence[Pool], device: torch.device, limit: int):
        self._images, self._depths = _Shelf(3), _Shelf(1)
        self.bytes = 0
        self.needs_depth = any(_needs_depth(pool) for pool in pools)
        self._entries = [self._admitted(pool, limit) for pool in pools]
        self.held = np.array([entries is not None for entries in self._entries], bool)
        self._images.fill(device)
        self._depths.fill(device)

    def _admitted(self, pool: Pool, limit: int) -> np.ndarray | None:
        """Make room for a pool; the starts of its clean images, partners and depths (-1: none), their heights and
        widths, (N, 5). ``None`` where it does not fit."""
        depths = pool.depths if _needs_depth(pool) else None
        if any(getattr(images, "streams", False) for images in (pool.clean, pool.inputs, depths)):
            return None
        clean = self._images.pictures(pool.clean, len(pool.names))
        partners = self._images.pictures(pool.inputs, len(clean))
        alone = [partner is None for partner in partners]
        hollow = self._depths.pictures(depths, len(clean), alone)
        images, maps = self._images.new([*clean, *partners]), self._depths.new(hollow)
        size = self._images.bytes(images) + self._depths.bytes(maps)
        alike = zip(clean, partners, hollow, strict=True)
        shapes = [{item[3:] for item in items if item is not None} for items in alike]
        if self.bytes + size > limit or any(len(shape) != 1 for shape in shapes):
            return None
        self.bytes += size
        self._images.add(images)
        self._depths.add(maps)
        starts = ((self._images, clean), (self._images, partners), (self._depths, hollow))
        columns = [[-1 if item is None else shelf.starts[item.digest] for item in items] for shelf, items in starts]
        return np.column_stack([*columns, *zip(*(shape.pop() for shape in shapes), strict=True)]).astype(np.int64)

    def places(self, samples: Samples, patch: int) -> tuple[Int[np.ndarray, "kinds 2 views batch patch"], np.ndarray]:
        """Where the crops lie.

        A pixel's number is the sum of one part for its row of the crop and one for its column, in whatever orientation.

        Returns:
            Both parts, of clean images, of partners (where there is none: of the clean image) and, if some task needs
            them, of depths (where there is none: zero); and which samples (B,) have no partner. Those of pools that are
            not held are zero and ``False``.
        """
        entries = np.zeros((len(samples.tasks), 5), np.int64)
        entries[:, 3:] = 1
        for task in np.unique(samples.tasks):
            table = self._entries[task]
            if table is not None:
                chosen = samples.tasks == task
                entries[chosen] = table[samples.images[chosen]]
        clean, partner, depth, height, width = entries.T
        first, second = _parts(height, width, samples, patch)
        places = np.empty((2 + self.needs_depth, 2, *first.shape), np.int64)
        places[:, 0], places[:, 1] = first, second
        places[0, 0] += clean[:, None]
        places[1, 0] += np.where(partner < 0, clean, partner)[:, None]
        if self.needs_depth:
            places[2, 0] += depth[:, None]
            places[2][:, :, ~self.held[samples.tasks] | (depth < 0)] = 0
        return places, partner < 0

    def cut(self, places: Int[Tensor, "kinds 2 views batch patch"]) -> UInt8[Tensor, "2 views batch 3 patch patch"]:
        """Clean and degraded crops at these places."""
        numbers = places[:2, 0, ..., None] + places[:2, 1, ..., None, :]
        return self._images.pixels[numbers].permute(0, 1, 2, 5, 3, 4)

    def cut_depths(
        self, places: Int[Tensor, "kinds 2 views batch patch"]
    ) -> UInt8[Tensor, "1 views batch 1 patch patch"]:
        """Depths at these places, of a store whose tasks need some; anything where there is none."""
        if not self._depths.end:
            return places.new_zeros((1, *places.shape[2:4], 1, *2 * places.shape[4:]), dtype=torch.uint8)
        numbers = places[2, 0, ..., None] + places[2, 1, ..., None, :]
        return self._depths.pixels[:, 0][numbers][None, :, :, None]


def _needs_depth(pool: Pool) -> bool:
    return pool.makes and pool.degradation.needs_depth


def _parts(height: np.ndarray, width: np.ndarray, samples: Samples, patch: int) -> tuple[np.ndarray, np.ndarray]:
    """Of the number of a pixel in its image, the parts that its row and its column in the crop decide, (V, B, P) each:
    the windows, mirrored at the end and turned as :func:`benchmarks.data.cropping.crop` does."""
    rows = _line(samples.down, height, patch) * width[:, None]
    columns = _line(samples.across, width, patch)
    turns = samples.turns[..., None]
    quarters = turns % 4
    first, second = np.where(quarters % 2, columns, rows), np.where(quarters % 2, rows, columns)
    first = np.where((quarters == 1) | (quarters == 2), first[..., ::-1], first)
    second = np.where((quarters >= 2) != (turns >= 4), second[..., ::-1], second)
    return first, second


def _line(shares: np.ndarray, sides: np.ndarray, patch: int) -> np.ndarray:
    """Along one axis, the places (V, B, P) that windows hold of images with ``sides`` (B,), mirrored as often as it
    takes."""
    begins = (shares * (np.maximum(sides - patch, 0) + 1)).astype(np.int64)
    sides = sides[:, None]
    places = (begins[..., None] + np.arange(patch)) % (2 * sides)
    return np.where(places < sides, places, 2 * sides - 1 - places)
