"""From a setting and a data root (or none) to opened, checked training and test images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from benchmarks.config import protocols
from benchmarks.config.errors import UserError, quoted
from benchmarks.config.sections import DataConfig
from benchmarks.config.settings import Setting, Task, TestSet
from benchmarks.data import degradations, files, holding_out, layouts, opening
from benchmarks.data.audit.leaks import leaked
from benchmarks.data.images import CACHE_LIMIT, Pictures, digest_of, identity
from benchmarks.data.locating import EMBEDDED, NOTED, SCENES, TOLD, Further, absent, first, further, makers, root_of
from benchmarks.data.opening import Opened
from benchmarks.data.photographs import depth_of, photographs
from benchmarks.data.pools import InventedDepths, Pool, Prepared, TestPool, as_bytes, joined, with_depths
from benchmarks.data.scenes import scenes
from results.records import Origin, Role

SCENE_SIZE = 256
TEST_LIMIT = 4 * 2**30  # bytes of decoded pixels to cache; a run looks at a test image once


def prepare(
    setting: Setting,
    data: DataConfig,
    extra: Sequence[str],
    cache: Path,
    trained: Sequence[str] | None = None,
    protocol: str | None = None,
    patch: int = 0,
) -> Prepared:
    """Find, check and open everything the setting needs.

    Args:
        setting: whose sets to open.
        data: embedded images or files below a root, and what to do where a set is missing.
        extra: further test sets, by name.
        cache: folder for decoded images.
        trained: open the test sets only, for a network that was trained on the sets of these names.
        protocol: how test images will be scored, which must be large enough for it (by default the setting's).
        patch: of the training; smaller images, which are mirrored to fill it, are noted.

    Raises:
        UserError: listing every problem of the files by name; for a degradation that cannot be imported.
    """
    further_sets = further(setting, data)
    for task in setting.tasks:
        degradations.load(task.degradation_at)  # one that cannot be imported is refused before anything is opened
    if data.source == "embedded":
        if below := [name for name in extra if not setting.data_set(name).root]:
            raise UserError(f"the test set {below[0]} lies in files: name their folder with --data-root.")
        prepared = _embedded(setting, cache, trained is None, data.validation)
        if not extra:
            return prepared
        found = _Files(setting, data, extra, cache, trained, further_sets)
        found.protocol, found.prepared = protocol or setting.protocol, prepared
        return found.prepare_further()
    found = _Files(setting, data, extra, cache, trained, further_sets)
    found.protocol, found.patch = protocol or setting.protocol, patch
    return found.prepare()


def _embedded(setting: Setting, cache: Path, trains: bool, validation: int) -> Prepared:
    prepared = Prepared()
    drawn = scenes(cache, EMBEDDED, SCENES, SCENE_SIZE) if trains else None
    held_out = None
    if trains and validation:
        held_out = scenes(cache, f"{EMBEDDED}-validation-{validation}", validation, SCENE_SIZE, seed=1)
    photos = photographs()
    names, shown = list(photos), identity(f"p{digest_of(image)}" for image in photos.values())
    labels = _labels(setting)
    photo_depths = [as_bytes(depth_of(name)) for name in names]
    for task in setting.tasks:
        if drawn:
            images, depths, digest = drawn
            prepared.train.append(Pool(task, [f"scene-{n}" for n in range(len(images))], images, depths=depths))
            prepared.record(Role.TRAIN, task, "scenes", len(images), None, Origin.EMBEDDED, digest=digest)
        if held_out:
            images, depths, digest = held_out
            pool = TestPool(task, [f"validation-{n}" for n in range(len(images))], images, depths=depths)
            pool.dataset = f"validation-{task.name}"
            prepared.validation.append(pool)
            prepared.record(Role.VALIDATION, task, pool.dataset, len(images), None, Origin.EMBEDDED, digest=digest)
        for test in task.test:
            pool = TestPool(task, names, list(photos.values()), depths=photo_depths)
            pool.dataset, pool.severity = f"Photos-{labels[test.name]}", test.severity
            prepared.tests.append(pool)
            prepared.record(Role.TEST, task, pool.dataset, len(photos), None, Origin.EMBEDDED, digest=shown)
    return prepared


def _labels(setting: Setting) -> dict[str, str]:
    """For each test set's name what the photographs in its place are called: short, or its name where two are alike."""
    labels = {test.name: _label(task, test) for task in setting.tasks for test in task.test}
    counts = Counter(labels.values())
    return {name: label if counts[label] == 1 else name for name, label in labels.items()}


def _label(task: Task, test: TestSet) -> str:
    """What distinguishes the photographs' columns: the noise level, the degradation, or the set they stand for."""
    severity = task.severity if test.severity is None else test.severity
    if task.degradation == "noise":
        return f"s{severity:g}"
    return task.degradation if len(task.test) == 1 else f"{task.degradation}-{test.set.rpartition('-')[2]}"


def open_set(located: layouts.Located, cache: Path, trains: bool) -> Opened:
    """Open a set's images; what ``trains`` (or may stand in for it) is cached up to a higher limit."""
    limit = CACHE_LIMIT if trains or located.data_set.make == "train" else TEST_LIMIT
    return opening.open_set(located, cache, limit)


class _Clean(NamedTuple):
    """Clean images from which missing sets are made, with depths that their tasks share."""

    names: Sequence[str]
    images: Pictures
    depths: InventedDepths
    sets: list[str]


class _Files:
    """Collects sets below a data root, and every problem on the way, so that all are reported at once."""

    def __init__(
        self,
        setting: Setting,
        data: DataConfig,
        extra: Sequence[str],
        cache: Path,
        trained: Sequence[str] | None,
        further_sets: Sequence[Further],
    ):
        self.further_sets = further_sets
        self.setting, self.data, self.cache, self.trained = setting, data, cache, trained
        self.root = root_of(data) if data.source == "files" else None
        self.extra = [setting.data_set(name) for name in extra]
        self.prepared = Prepared()
        self.problems: list[str] = []
        self.protocol, self.patch = setting.protocol, 0
        self._opened: dict[str, Opened | None] = {}
        self._left: dict[str, Opened] = {}  # to train on, of sets some of whose images are held out
        self._made_of: dict[str, _Clean] = {}

    def prepare(self) -> Prepared:
        if self.trained is None:
            if self.data.validation:
                self._hold_out()
            for task in self.setting.tasks:
                self._train(task)
        for task in self.setting.tasks:
            for test in task.test:
                self._test(task, test, False)
        return self.prepare_further()

    def prepare_further(self) -> Prepared:
        """What is prepared with the further test sets, which is all that there is beside embedded data."""
        for task, test in self._further_tests():
            self._test(task, test, True)
        if self.problems:
            below = f" below {files.text(self.root)}" if self.root else ""
            raise UserError(f"the data{below} cannot be used as they are:", dict.fromkeys(self.problems))
        self.prepared.notes = list(dict.fromkeys(self.prepared.notes))
        return self.prepared

    def _further_tests(self) -> Iterator[tuple[Task, TestSet]]:
        for data_set in self.extra:
            task = next((task for task in self.setting.tasks if task.name == data_set.task), None)
            if task is None:
                asked = f" (its task is {quoted(data_set.task)})" if data_set.task else "; its table says which by task"
                told = f"{data_set.name}: not a further test set of any task of {self.setting.name}{asked}"
                self.problems.append(told)
            else:
                yield task, TestSet.model_construct(name=data_set.name, set=data_set.name)

    def _open(self, name: str, task: Task, trains: bool = False) -> Pool | None:
        """The set's pool, or ``None`` where it is missing or has problems (which are noted); to train on, it is without
        what is held out."""
        opened = self._opened_once(name)
        if opened is None:
            return None
        opened = self._left.get(name, opened) if trains else opened
        return Pool(task, [pair.name for pair in opened.located.pairs], opened.targets, opened.inputs)

    def _opened_once(self, name: str) -> Opened | None:
        if name not in self._opened:
            self._opened[name] = self._opened_now(name)
        return self._opened[name]

    def _opened_now(self, name: str) -> Opened | None:
        located = layouts.locate(self.setting.data_set(name), self.root)
        if located is None:
            return None
        opened = open_set(located, self.cache, name in self.setting.train_sets)
        self.problems += first(name, opened.problems, TOLD)
        self.prepared.notes += first(name, opened.notes, NOTED)
        return opened

    def _trains(self, names: Sequence[str]) -> str:
        """Note what is smaller than the patches of sets that are trained on; returns the digest of their images."""
        trained = [self._left.get(opened.located.data_set.name, opened) for opened in self._found(names)]
        if not self.problems:
            self.prepared.notes += opening.mirrored(trained, self.patch)
        return self._digest(trained)

    def _found(self, names: Sequence[str]) -> list[Opened]:
        """Those of the sets that are there."""
        return [opened for name in names if (opened := self._opened[name])]

    def _digest(self, sets: Sequence[Opened]) -> str:
        return "" if self.problems else identity(opened.identity for opened in sets)

    def _tests(self, names: Sequence[str]) -> str:
        """Note what cannot be scored of sets that are tested on; returns the digest of their images."""
        least = protocols.get(self.protocol).smallest
        for opened in self._found(names):
            if not opened.problems:
                small = opening.too_small(opened.located, opened.shapes(), least, self.protocol)
                self.problems += first(opened.located.data_set.name, small, TOLD)
        return self._digest(self._found(names))

    def _missing(self, name: str, use: str) -> None:
        self.problems.append(absent(self.setting, name, use))

    def _hold_out(self) -> None:
        """Set images of every task's training sets aside for validation; nothing where some task has none."""
        used = {task.name: self._used(task) for task in self.setting.tasks}
        if self.problems or not all(used.values()):
            return
        names = dict.fromkeys(name for sets in used.values() for name in sets)
        contents = {
            name: holding_out.clean_contents(opened, self.cache) for name in names if (opened := self._opened[name])
        }
        every = {task: [content for name in sets for content in contents[name]] for task, sets in used.items()}
        held = holding_out.choose(every, self.data.validation)
        self.prepared.notes += held.notes
        for task in self.setting.tasks if held.all else ():
            sets = [(opened, contents[name]) for name, opened in used[task.name].items()]
            self._validate(task, held.chosen[task.name], holding_out.samples(sets, held.chosen[task.name]))
        for name, digests in contents.items():
            if (opened := self._opened[name]) and held.all:
                self._left[name] = holding_out.without(opened, digests, held.all)
        self._made_of.pop("train", None)  # of all images

    def _used(self, task: Task) -> dict[str, Opened]:
        """The sets that the task trains on, without partners where they stand in for a missing one; nothing where one
        is missing that must be there."""
        standing = dict.fromkeys(map(self._standing, task.train))
        found = {name: opened for name in standing if (opened := self._opened_once(name))}
        if len(found) < len(standing) and self.data.missing == "error":
            return {}
        if not found and (clean := self._clean("train", task)):
            found = {opened.located.data_set.name: replace(opened, inputs=None) for opened in self._found(clean.sets)}
        further_names = [entry.data_set.name for entry in self.further_sets if entry.data_set.trains == task.name]
        return found | {name: opened for name in further_names if (opened := self._opened_once(name))}

    def _standing(self, name: str) -> str:
        """The set, or where it is missing the one that its samples were taken from."""
        return (self._opened_once(name) is None and self.setting.data_set(name).instead) or name

    def _validate(self, task: Task, contents: Sequence[str], ones: Sequence[Opened]) -> None:
        """Score the task's network through the training on these samples, each a set of one."""
        pool = holding_out.pool(task, contents, ones)
        self.prepared.validation.append(pool)
        paired = any(self.setting.data_set(name).paired for name in task.train)
        made_from = [one.located.data_set.name for one in ones if paired and one.inputs is None]
        origin = Origin.SYNTHESISED if made_from else Origin.REAL
        self.prepared.record(
            Role.VALIDATION, task, pool.dataset, len(ones), None, origin,
            digest=identity(one.identity for one in ones), made_from=list(dict.fromkeys(made_from)),
        )  # fmt: skip

    def _train(self, task: Task) -> None:
        pools = [*self._set_pools(task), *self._further(task)]
        if pools:
            self.prepared.train.append(joined(task, pools))

    def _set_pools(self, task: Task) -> list[Pool]:
        """The task's training sets in the setting, or one made in their place; none where that is a problem."""
        pools = {}
        for name in task.train:
            data_set = self.setting.data_set(name)
            used = self._standing(name)
            if (pool := self._open(used, task, trains=True)) is not None:
                pools[name] = pool
                count, digest = len(pool.names), self._trains([used])
                self.prepared.record(Role.TRAIN, task, used, count, data_set.expected, Origin.REAL, digest=digest)
            elif self.data.missing == "error":
                self._missing(name, f"training of {task.name}")
                return []
        for name in task.train:
            if pools and name not in pools:  # another of the task's sets is there; nothing to make this one's from
                self.prepared.record(Role.TRAIN, task, name, 0, self.setting.data_set(name).expected, Origin.ABSENT)
        if pools:
            return [with_depths(pool) for pool in pools.values()]
        clean = self._clean("train", task)
        name = task.train[0]
        if clean is None:
            self._missing(name, f"training of {task.name}, and no clean image to make it from")
            return []
        found, expected = len(clean.names), self.setting.data_set(name).expected
        digest = self._trains(clean.sets)
        self.prepared.record(
            Role.TRAIN, task, name, found, expected, Origin.SYNTHESISED, made_from=clean.sets, digest=digest
        )
        return [with_depths(Pool(task, clean.names, clean.images), clean.depths)]

    def _further(self, task: Task) -> Iterator[Pool]:
        """Further training sets of the task, each as often as it is repeated."""
        for data_set, repeats in self.further_sets:
            if data_set.trains != task.name:
                continue
            pool = self._open(data_set.name, task, trains=True)
            if pool is None:
                self._missing(data_set.name, f"further training of {task.name}")
                continue
            count = len(pool.names)
            self.prepared.record(
                Role.TRAIN, task, data_set.name, count, data_set.expected, Origin.REAL,
                digest=self._trains([data_set.name]), repeats=repeats if repeats > 1 else 0,
            )  # fmt: skip
            yield from [with_depths(pool)] * repeats

    def _test(self, task: Task, test: TestSet, extra: bool) -> None:
        pool, clean = self._open(test.set, task), None
        if pool is None:
            if self.data.missing == "error" or extra:
                self._missing(test.set, f"test of {task.name}")
                return
            clean = self._clean("test", task)
            if clean is None:
                self._missing(test.set, f"test of {task.name}, and no clean image to make it from")
                return
            pool = Pool(task, clean.names, clean.images)
        digest = self._tests(clean.sets if clean else [test.set])
        opened = TestPool(task, pool.names, pool.clean, pool.inputs)
        opened.dataset, opened.extra, opened.severity = test.name, extra, test.severity
        self.prepared.tests.append(with_depths(opened, clean.depths if clean else None))
        role, expected = (Role.EXTRA if extra else Role.TEST), self.setting.data_set(test.set).expected
        trained = {record.dataset for record in self.prepared.records if record.origin == Origin.REAL}
        trained |= set(self.trained or ())
        trained |= {name for record in self.prepared.records for name in record.made_from}
        self.prepared.record(
            role,
            task,
            test.name,
            len(pool.names),
            expected,
            Origin.SYNTHESISED if clean else Origin.REAL,
            digest=digest,
            made_from=clean.sets if clean else (),
            leaked=() if clean else leaked(test.set, trained, pool.names),
        )

    def _clean(self, role: str, task: Task) -> _Clean | None:
        """Clean images to synthesise from: those of clean sets, else the targets of the setting's paired ones."""
        if role not in self._made_of:
            paired = self.setting.train_sets if role == "train" else self.setting.test_sets
            for names in (makers(self.setting, role, self.root), paired):
                opened = {name: self._open(name, task, trains=role == "train") for name in names}
                found = {name: pool for name, pool in opened.items() if pool is not None and pool.names}
                if found:
                    pool = joined(task, [Pool(task, pool.names, pool.clean) for pool in found.values()])
                    depths = InventedDepths(pool.names, pool.clean)
                    self._made_of[role] = _Clean(pool.names, pool.clean, depths, list(found))
                    break
        return self._made_of.get(role)
