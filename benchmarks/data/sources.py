"""From a setting and a data root (or none) to opened, checked training and test images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.config import DataConfig
from benchmarks.data import layouts
from benchmarks.data.images import open_images
from benchmarks.errors import UserError
from benchmarks.seeds import derive
from benchmarks.settings import Setting, Task, TestSet

EMBEDDED = "embedded-1"  # to be raised whenever the embedded images or their degradations change
SCENES, SCENE_SIZE = 96, 256


@dataclass
class Pool:
    """Images one task trains on or is tested on, uint8 (H, W, 3). ``inputs`` are the degraded partners; without them
    the task's degradation is applied, with ``depths`` uint8 (H, W), 255 far, where it needs them."""

    task: Task
    names: Sequence[str]
    clean: Sequence[np.ndarray]
    inputs: Sequence[np.ndarray] | None = None
    depths: Sequence[np.ndarray] | None = None


@dataclass
class TestPool(Pool):
    """A column of the table. ``extra``: outside the average."""

    __test__ = False  # pytest: not a test

    dataset: str = ""
    extra: bool = False


@dataclass
class Prepared:
    """Opened data of one setting. ``train`` is in the order of the setting's tasks; ``records`` say what was used
    (:data:`results.schema.DATA_FIELDS`)."""

    train: list[Pool] = field(default_factory=list)
    tests: list[TestPool] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)

    def record(self, role: str, task: Task, dataset: str, found: int, expected: int | None, origin: str) -> None:
        self.records.append(
            {
                "role": role,
                "task": task.name,
                "dataset": dataset,
                "found": found,
                "expected": expected,
                "origin": origin,
            }
        )


def list_length(task: Task) -> int:
    """Samples of a task in the published training list: what its sets hold, times its repeats.

    Where fewer images are at hand the list keeps this length, so that the shares of the tasks stay the published ones.
    """
    return sum(layouts.get(name).expected for name in task.train) * task.repeats


def fingerprint(setting: Setting, data: DataConfig) -> str:
    """What stands for the training images in a run's identity."""
    if data.source == "embedded":
        return EMBEDDED
    root = _root(data)
    digest = hashlib.sha256()
    for name in sorted({name for task in setting.tasks for name in task.train}):
        located = layouts.locate(name, root)
        digest.update(f"{name} {located.fingerprint() if located else 'absent'}\n".encode())
    return digest.hexdigest()[:16]


def prepare(setting: Setting, data: DataConfig, extra: Sequence[str], cache: Path) -> Prepared:
    """Find, check and open everything the setting needs.

    Args:
        setting: whose sets to open.
        data: embedded images or files below a root, and what to do where a set is missing.
        extra: further test sets, by name.
        cache: folder for decoded images.

    Raises:
        UserError: listing every problem of the files by name.
    """
    if data.source == "embedded":
        if extra:
            raise UserError(f"the test set {extra[0]} lies in files: name their folder with --data-root.")
        return _embedded(setting, cache)
    return _Files(setting, data, extra, cache).prepare()


def _embedded(setting: Setting, cache: Path) -> Prepared:
    from benchmarks.data.photographs import depth_of, photographs

    prepared = Prepared()
    images, depths = _scenes(cache)
    photos = photographs()
    for task in setting.tasks:
        prepared.train.append(Pool(task, [f"scene-{n}" for n in range(len(images))], images, depths=depths))
        prepared.record("train", task, "scenes", len(images), None, "embedded")
        label = f"s{task.severity:g}" if task.degradation == "noise" else task.degradation
        names = list(photos)
        photo_depths = [_as_bytes(depth_of(name)) for name in names]
        pool = TestPool(task, names, list(photos.values()), depths=photo_depths, dataset=f"Photos-{label}")
        prepared.tests.append(pool)
        prepared.record("test", task, pool.dataset, len(photos), None, "embedded")
    return prepared


def _scenes(cache: Path) -> tuple[np.ndarray, np.ndarray]:
    """Procedural training scenes and their depths, drawn once and memory-mapped afterwards."""
    from benchmarks.data.procedural import training_set
    from results import write_atomically

    paths = [cache / f"scenes-{EMBEDDED}-{kind}.npy" for kind in ("images", "depths")]
    try:
        if not all(path.exists() for path in paths):
            for path, array in zip(paths, training_set(SCENES, SCENE_SIZE, seed=0), strict=True):
                write_atomically(path, lambda temporary, array=array: np.save(temporary, array))
        images, depths = (np.load(path, mmap_mode="r") for path in paths)
    except OSError as error:
        raise UserError(f"cannot write the training scenes to {cache}: {error.strerror}.") from error
    return images, depths


def _root(data: DataConfig) -> Path:
    root = Path(data.root or "")
    if not data.root or not root.is_dir():
        raise UserError(f"the data root {data.root!r} is not a folder; see the data layouts in the README.")
    return root


class _Files:
    """Collects sets below a data root, and every problem on the way, so that all are told at once."""

    def __init__(self, setting: Setting, data: DataConfig, extra: Sequence[str], cache: Path):
        self.setting, self.data, self.cache = setting, data, cache
        self.root = _root(data)
        self.extra = [layouts.get(name) for name in extra]
        self.prepared = Prepared()
        self.problems: list[str] = []
        self._opened: dict[str, Pool | None] = {}

    def prepare(self) -> Prepared:
        for task in self.setting.tasks:
            self._train(task)
        for task, test, is_extra in self._wanted_tests():
            self._test(task, test.name, test.set, is_extra)
        if self.problems:
            raise UserError(f"the data below {self.root} cannot be used as they are:", dict.fromkeys(self.problems))
        return self.prepared

    def _wanted_tests(self) -> Iterator[tuple[Task, Any, bool]]:
        for task in self.setting.tasks:
            for test in task.test:
                yield task, test, False
        for data_set in self.extra:
            task = next((task for task in self.setting.tasks if task.name == data_set.task), None)
            if task is None:
                self.problems.append(f"{data_set.name}: not a further test set of any task of {self.setting.name}")
            else:
                yield task, TestSet(name=data_set.name, set=data_set.name), True

    def _open(self, name: str, task: Task) -> Pool | None:
        """The set's pool, or ``None`` where it is missing or has problems (which are noted)."""
        if name not in self._opened:
            self._opened[name] = self._opened_now(name, task)
        return self._opened[name]

    def _opened_now(self, name: str, task: Task) -> Pool | None:
        located = layouts.locate(name, self.root)
        if located is None:
            return None
        self.problems += located.problems
        images, bad = open_images([pair.target for pair in located.pairs], self.cache, f"{name}-target")
        inputs = None
        if located.pairs and located.pairs[0].input is not None:
            inputs, more = open_images([pair.input for pair in located.pairs], self.cache, f"{name}-input")
            bad |= more
        self.problems += [f"{path.relative_to(self.root)}: {reason}" for path, reason in bad.items()]
        if not bad and inputs is not None:
            for number, pair in enumerate(located.pairs):
                if images.shape(number) != inputs.shape(number):
                    sizes = " and ".join("x".join(map(str, side.shape(number))) for side in (inputs, images))
                    self.problems.append(
                        f"{pair.input.relative_to(self.root)} and {pair.target.relative_to(self.root)}: "
                        f"a pair of different sizes, {sizes}"
                    )
        return Pool(task, [pair.name for pair in located.pairs], images, inputs)

    def _missing(self, name: str, use: str) -> None:
        self.problems.append(
            f"{name} ({use}) is missing: {layouts.get(name).where()}. "
            "With --missing synthesise its degradation is applied to the clean images that are there"
        )

    def _train(self, task: Task) -> None:
        found = {name: self._open(name, task) for name in task.train}
        pools = [pool for pool in found.values() if pool is not None]
        for name, pool in found.items():
            expected = layouts.get(name).expected
            if pool is not None:
                self.prepared.record("train", task, name, len(pool.names), expected, "real")
            elif self.data.missing == "error":
                self._missing(name, f"training of {task.name}")
                return
            elif pools:  # another of the task's sets is there; nothing to make this one's images from
                self.prepared.record("train", task, name, 0, expected, "absent")
        if not pools:
            pool = self._clean_pool([name for other in self.setting.tasks for name in other.train], task)
            if pool is None:
                self._missing(task.train[0], f"training of {task.name}, and no clean image to make it from")
                return
            name = task.train[0]
            self.prepared.record("train", task, name, len(pool.names), layouts.get(name).expected, "synthesised")
            pools = [pool]
        self.prepared.train.append(_joined(task, pools))

    def _test(self, task: Task, dataset: str, name: str, extra: bool) -> None:
        pool, origin = self._open(name, task), "real"
        if pool is None:
            if self.data.missing == "error" or extra:
                self._missing(name, f"test of {task.name}")
                return
            origin = "synthesised"
            pool = self._clean_pool([test.set for other in self.setting.tasks for test in other.test], task)
            if pool is None:
                self._missing(name, f"test of {task.name}, and no clean image to make it from")
                return
        self.prepared.tests.append(
            TestPool(task, pool.names, pool.clean, pool.inputs, pool.depths, dataset=dataset, extra=extra)
        )
        role, expected = ("extra" if extra else "test"), layouts.get(name).expected
        self.prepared.record(role, task, dataset, len(pool.names), expected, origin)

    def _clean_pool(self, names: Sequence[str], task: Task) -> Pool | None:
        """Clean images to synthesise from: the clean sets among ``names``, else the targets of the paired ones."""
        pools = [pool for name in dict.fromkeys(names) if (pool := self._open(name, task)) is not None and pool.names]
        chosen = [pool for pool in pools if pool.inputs is None] or pools
        if not chosen:
            return None
        pool = _joined(task, [Pool(task, pool.names, pool.clean) for pool in chosen])
        pool.depths = _InventedDepths(pool.names, pool.clean)
        return pool


def _as_bytes(depth: np.ndarray) -> np.ndarray:
    return np.round(255 * depth).astype(np.uint8)


class _InventedDepths(Sequence[np.ndarray]):
    """A plausible depth for each real image without one, uint8 (H, W), made on first use and kept."""

    def __init__(self, names: Sequence[str], images: Sequence[np.ndarray]):
        self.names, self.images = names, images
        self._made: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> np.ndarray:
        if number not in self._made:
            from benchmarks.data.procedural import depth_proxy

            chance = np.random.default_rng(derive("depth", self.names[number]))
            self._made[number] = _as_bytes(depth_proxy(self.images[number], chance))
        return self._made[number]


class _Chain(Sequence[Any]):
    """Several sequences as one."""

    def __init__(self, parts: Sequence[Sequence[Any]]):
        self.parts = parts
        self.ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, number: int) -> Any:
        part = int(np.searchsorted(self.ends, number, side="right"))
        return self.parts[part][number - (int(self.ends[part - 1]) if part else 0)]


def _joined(task: Task, pools: Sequence[Pool]) -> Pool:
    """One pool of several, clean ones or paired ones."""
    if len(pools) == 1:
        return Pool(task, pools[0].names, pools[0].clean, pools[0].inputs, pools[0].depths)
    paired = [pool.inputs is not None for pool in pools]
    if any(paired) != all(paired):
        raise UserError(f"the training sets of {task.name} mix clean and paired images.")
    names = [name for pool in pools for name in pool.names]
    inputs = _Chain([pool.inputs for pool in pools]) if all(paired) else None
    return Pool(task, names, _Chain([pool.clean for pool in pools]), inputs)
