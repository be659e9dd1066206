"""Opened images of tasks: what training draws from and tests go through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from benchmarks.config.seeds import derive, generator
from benchmarks.config.settings import Task
from benchmarks.data.degradations import Degradation, load
from benchmarks.data.images import Pictures, centre_crop
from benchmarks.data.procedural import depth_proxy
from results.records import DataRecord, Origin, Role

_Image = Float[Tensor, "3 height width"]
_LARGE = 2**20  # pixels from which on a depth is invented at reduced size
_KEPT = 512 * 2**20  # bytes of invented depths that are kept


@dataclass
class Pool:
    """Images one task trains on or is tested on, uint8 (H, W, 3). ``inputs`` are the degraded partners; without them
    the task's degradation is applied, with ``depths`` uint8 (H, W), 255 far, where it needs them. Where some of a
    pool's sets bring partners and others do not, ``inputs`` and ``depths`` hold ``None`` for what is not there."""

    task: Task
    names: Sequence[str]
    clean: Pictures
    inputs: Pictures | None = None
    depths: Pictures | None = None

    @property
    def degradation(self) -> Degradation:
        """The task's."""
        return load(self.task.degradation_at)

    @property
    def makes(self) -> bool:
        """Whether the task's degradation is applied to some of the images."""
        return self.inputs is None or getattr(self.inputs, "gaps", False)

    def partner(self, number: int) -> np.ndarray | None:
        """The degraded partner of an image, ``None`` where it is to be made."""
        return None if self.inputs is None else self.inputs[number]

    def depth(self, number: int) -> UInt8[np.ndarray, "height width"]:
        """The depth of an image, uint8 (H, W), of a pool that has depths."""
        if self.depths is None:
            raise ValueError(f"{self.task.name}: no depths; see with_depths")
        return self.depths[number]

    @property
    def streams(self) -> bool:
        """Whether images are decoded when asked for, so that asking ahead pays."""
        return any(getattr(images, "streams", False) for images in (self.clean, self.inputs))


@dataclass
class TestPool(Pool):
    """A column of the table. ``extra``: outside the average; ``severity``: where its inputs are made."""

    __test__ = False  # pytest: not a test

    dataset: str = ""
    extra: bool = False
    severity: float | None = None

    def pair(self, number: int, multiple: int = 1) -> tuple[_Image, _Image]:
        """Degraded and clean image ``number``, (3, H, W) in [0, 1], cut to a multiple of ``multiple`` at the centre.

        A synthetic degradation is seeded by test set and image, so it depends on no other image, run or seed.
        """
        partner = self.partner(number)
        clean_tensor = _tensor(centre_crop(self.clean[number], multiple))
        if partner is not None:
            degraded = _tensor(centre_crop(partner, multiple))
        else:
            kind = self.degradation
            chosen = (self.severity, self.task.severity, kind.testing[0])
            severity = next(value for value in chosen if value is not None)
            depth = None
            if kind.needs_depth:
                depth = torch.from_numpy(centre_crop(self.depth(number), multiple).astype(np.float32) / 255)[None, None]
            chance = generator("test", self.dataset, self.names[number])
            degraded = kind(clean_tensor[None], chance, depth=depth, severity=severity)[0]
        return degraded, clean_tensor


@dataclass
class Prepared:
    """Opened data of one setting. ``train`` and ``validation`` (or nothing) are in the order of the setting's tasks;
    ``records`` say what was used, ``notes`` what people should know of the files: what is left out, and why."""

    train: list[Pool] = field(default_factory=list)
    validation: list[TestPool] = field(default_factory=list)
    tests: list[TestPool] = field(default_factory=list)
    records: list[DataRecord] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def of(self, task: str) -> Prepared:
        """What belongs to one task; everything for an empty name."""
        if not task:
            return self
        return Prepared(
            [pool for pool in self.train if pool.task.name == task],
            [pool for pool in self.validation if pool.task.name == task],
            [pool for pool in self.tests if pool.task.name == task],
            [entry for entry in self.records if entry.task == task],
            self.notes,
        )

    def record(
        self,
        role: Role,
        task: Task,
        dataset: str,
        found: int,
        expected: int | None,
        origin: Origin,
        *,
        digest: str = "",
        leaked: Sequence[str] = (),
        made_from: Sequence[str] = (),
        repeats: int = 0,
    ) -> None:
        """Note a set that was used; what there is nothing to say of is left out of the record."""
        fields = {"role": role, "task": task.name, "dataset": dataset, "found": found, "expected": expected or None}
        notes = {"digest": digest, "leaked": list(leaked), "made_from": list(made_from), "repeats": repeats}
        content = fields | {"origin": origin} | {key: value for key, value in notes.items() if value}
        self.records.append(DataRecord.model_validate(content))


_Pool = TypeVar("_Pool", bound=Pool)


def joined(task: Task, pools: Sequence[Pool]) -> Pool:
    """One pool of several, clean ones and paired ones."""
    if len(pools) == 1:
        return Pool(task, pools[0].names, pools[0].clean, pools[0].inputs, pools[0].depths)
    names = [name for pool in pools for name in pool.names]
    inputs, depths = _chained(pools, [pool.inputs for pool in pools]), _chained(pools, [pool.depths for pool in pools])
    return Pool(task, names, _Chain([pool.clean for pool in pools]), inputs, depths)


def _chained(pools: Sequence[Pool], parts: Sequence[Pictures | None]) -> _Chain | None:
    """One part of all the pools, with ``None`` for the images of those that lack it; ``None`` where all do."""
    if all(images is None for images in parts):
        return None
    gaps = any(images is None for images in parts)
    filled = [[None] * len(p.names) if images is None else images for p, images in zip(pools, parts, strict=True)]
    return _Chain(filled, gaps)


def with_depths(pool: _Pool, depths: InventedDepths | None = None) -> _Pool:
    """The pool, with invented depths (by default its own) where its degradation needs some and has none; to be called
    before pools are joined."""
    if pool.inputs is None and pool.depths is None and pool.degradation.needs_depth:
        pool.depths = depths or InventedDepths(pool.names, pool.clean)
    return pool


def as_bytes(depth: Float[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width"]:
    """A depth in [0, 1] as uint8."""
    return np.round(255 * depth).astype(np.uint8)


class InventedDepths:
    """A plausible depth for each real image without one, uint8 (H, W), made on first use; the latest are kept.

    Depths are smooth: those of large images are made at reduced size and enlarged.
    """

    streams = True  # a tenth of a second each

    def __init__(self, names: Sequence[str], images: Pictures):
        self.names, self.images = names, images
        self._invented_depths: dict[int, tuple[np.ndarray, tuple[int, int]]] = {}
        self._bytes = 0
        self._keeping = Lock()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> np.ndarray:
        entry = self._invented_depths.get(number)
        if entry is None:
            entry = self._invented(number)
            self._keep(number, entry)
        depth, shape = entry
        return depth if depth.shape == shape else _resized(depth, shape)

    def _invented(self, number: int) -> tuple[np.ndarray, tuple[int, int]]:
        image = self.images[number]
        shape = image.shape[0], image.shape[1]
        if image[..., 0].size > _LARGE:
            image = _resized(image, (shape[0] // 4, shape[1] // 4))
        chance = np.random.default_rng(derive("depth", self.names[number]))
        return as_bytes(depth_proxy(image, chance)), shape

    def _keep(self, number: int, entry: tuple[np.ndarray, tuple[int, int]]) -> None:
        with self._keeping:
            self._invented_depths[number] = entry
            self._bytes += entry[0].size
            while self._bytes > _KEPT and len(self._invented_depths) > 1:
                self._bytes -= self._invented_depths.pop(next(iter(self._invented_depths)))[0].size


def _resized(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """``image`` (H, W) or (H, W, 3), uint8, resampled to ``shape``."""
    from PIL import Image

    return np.asarray(Image.fromarray(image).resize((shape[1], shape[0]), Image.Resampling.BILINEAR))


class _Chain:
    """Several sequences as one; ``gaps``: some of them hold nothing but ``None``."""

    def __init__(self, parts: Sequence[Any], gaps: bool = False):
        self.parts, self.gaps = parts, gaps
        self.ends = np.cumsum([len(part) for part in parts])
        self.streams = any(getattr(part, "streams", False) for part in parts)

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, number: int) -> Any:
        part, place = self.at(number)
        return part[place]

    def at(self, number: int) -> tuple[Any, int]:
        """The sequence that holds a number, and its number there."""
        part = int(np.searchsorted(self.ends, number, side="right"))
        return self.parts[part], number - (int(self.ends[part - 1]) if part else 0)


def origin(images: Pictures, number: int) -> tuple[Pictures, int]:
    """The sequence of images that was joined with others into ``images``, and the number of the image there."""
    while isinstance(images, _Chain):
        images, number = images.at(number)
    return images, number


def _tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
