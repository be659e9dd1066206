"""The files of one folder by one layout: which are samples, which input belongs to which target.

One sample in two files (``1.png`` and ``1.jpg`` or ``001.png``, the same name in two parts of a set) is used once where
both hold the same pixels, which is noted, and is a problem where they do not.
"""

from __future__ import annotations

import filecmp
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from benchmarks.config.data_sets import DataSet, Layout
from benchmarks.data import lists
from benchmarks.data.decoding import UnusableImage, decode
from benchmarks.data.files import Tree, ending, plain, text

COMPARED = 20  # groups of files of one sample that are compared before the others are called different


@dataclass(frozen=True)
class Pair:
    """One sample: a target file and, for paired sets, the degraded input."""

    name: str
    target: Path
    input: Path | None = None


class _File(NamedTuple):
    """A file that fits a pattern: ``key`` pairs it with its partner, ``sample`` says which sample it is."""

    path: Path
    key: tuple[str, str]
    sample: tuple[str, str]


class Pairing:
    """The files of one folder by one layout: pairs, problems and notes."""

    def __init__(self, data_set: DataSet, layout: Layout, folder: Path, tree: Tree):
        self.data_set, self.layout, self.folder, self.tree = data_set, layout, folder, tree
        self.pairs: list[Pair] = []
        self.problems: list[str] = []
        self.notes: list[str] = []
        self._different = 0
        self._looked: list[Path] = []
        self.sequences = "*" in layout.target
        part = data_set.parts[data_set.part].input_name if data_set.part else None
        self.part_pattern = re.compile(part, re.IGNORECASE) if part else None  # where names tell parts apart
        found, strange = self._fitting(layout.target, layout.target_name)
        targets = self._one_each(found, lambda file: file.key)
        if layout.input is None:
            self.pairs = [Pair(text(file.path.stem), file.path) for file in targets]
        else:
            found, strange_inputs = self._inputs()
            # in one folder each file fits one of the two patterns, or neither
            same = layout.input == layout.target
            strange = [p for p in strange if p in set(strange_inputs)] if same else strange + strange_inputs
            self._pair(self._one_each(found, lambda file: file.sample), targets)
        if layout.shared and strange:
            self.notes.append(f"{self._shown(folder)}: {len(strange)} files left to other sets, by their names")
        else:
            self.problems += [f"{self._shown(path)}: name does not fit the set" for path in sorted(set(strange))]
        self.pairs.sort(key=lambda pair: (pair.name, str(pair.input)) if pair.input else (str(pair.target),))
        self.problems.sort()

    @property
    def place(self) -> str:
        """Where it looks, for people."""
        parts = [self.layout.target] if self.layout.input is None else [self.layout.input, self.layout.target]
        parts = [part.format(part=self.data_set.part) for part in parts]
        folder = self._shown(self.folder)
        return " with ".join(f"{folder}/{part}/".replace("/./", "/") for part in dict.fromkeys(parts))

    def _shown(self, path: Path) -> str:
        return self.tree.shown(path)

    def _places(self, pattern: str) -> Iterator[tuple[str, Path]]:
        """Folders that ``pattern`` stands for, with what its ``*`` stands for."""
        before, star, after = pattern.format(part=self.data_set.part).partition("*")
        if not star:
            yield from (("", place) for place in self._alike(self.folder, before))
            return
        parent, _, start = before.rpartition("/")
        for folder in self._alike(self.folder, parent):
            for entry in self.tree.folders(folder, reported=True):
                if plain(entry.name).startswith(plain(start)):
                    yield from (
                        (plain(entry.name[len(start) :]), place) for place in self._alike(entry, after.strip("/"))
                    )

    def _alike(self, folder: Path, place: str) -> list[Path]:
        found = self.tree.alike(folder, place)
        for other in found[1:]:
            if self.tree.pictures(other):
                self.notes.append(f"{self._shown(other)}/ is not used beside {self._shown(found[0])}/")
        return found[:1]

    def _fitting(self, pattern: str, name: str) -> tuple[list[_File], list[Path]]:
        """Files whose name fits (leading zeros of keys do not count, unless the set says so), and the others."""
        found, strange = [], []
        fits = re.compile(name, re.IGNORECASE)
        for star, place in self._places(pattern):
            self._looked.append(place)
            for path in self.tree.pictures(place):
                if self.layout.suffixes and ending(path.name) not in self.layout.suffixes:
                    continue
                match = fits.fullmatch(path.stem)
                if match is None:
                    strange.append(path)
                    continue
                key = self._number(match["key"])
                begin, end = match.span("key")
                sample = plain(path.stem[:begin]), key, plain(path.stem[end:])
                sequence = star if self.sequences else ""
                found.append(_File(path, (sequence, key), (sequence, "\0".join(sample))))
        return found, strange

    def _number(self, key: str) -> str:
        return plain(key) if self.data_set.zeros else plain(key).lstrip("0")

    def _inputs(self) -> tuple[list[_File], list[Path]]:
        """Inputs of this part of the set; those of its other parts are not strange."""
        name = self.part_pattern.pattern if self.part_pattern else self.layout.input_name
        found, strange = self._fitting(self.layout.input or "", name)
        if self.part_pattern:
            others = [re.compile(part.input_name or "", re.IGNORECASE) for part in self.data_set.parts.values()]
            strange = [path for path in strange if not any(other.fullmatch(path.stem) for other in others)]
        return found, strange

    def _one_each(self, files: Iterable[_File], same: Callable[[_File], tuple[str, str]]) -> list[_File]:
        """The first file of every sample; what the others hold is noted."""
        groups: dict[tuple[str, str], list[_File]] = {}
        for file in files:
            groups.setdefault(same(file), []).append(file)
        for several in groups.values():
            if len(several) > 1:
                self._tell_several(sorted(file.path for file in several))
        return [min(several) for several in groups.values()]

    def _tell_several(self, paths: list[Path]) -> None:
        shown = " and ".join(map(self._shown, paths))
        if self._different < COMPARED and all(_equal(paths[0], path) for path in paths[1:]):
            self.notes.append(f"{shown}: one picture in {len(paths)} files; the first is used")
        else:
            self._different += 1
            self.problems.append(f"{shown}: {len(paths)} files of one sample; keep one of them in the set")

    def _pair(self, inputs: list[_File], targets: list[_File]) -> None:
        partners = {file.key: file.path for file in targets}
        for file in inputs:
            partner = partners.get(file.key)
            if partner is None:
                self.problems.append(f"{self._shown(file.path)}: no target with that name")
                continue
            stem = file.path.stem
            name = f"{file.path.parent.parent.name}_{stem}" if self.sequences else stem
            self.pairs.append(Pair(text(name), partner, file.path))
        for key in partners.keys() - {file.key for file in inputs}:
            if self.part_pattern is None or self.part_pattern.fullmatch(partners[key].stem):
                self.problems.append(f"{self._shown(partners[key])}: no input with that name")

    def tell_folders(self) -> None:
        """Note folders with pictures inside those that are used, which no layout of the set looks into."""
        for place in dict.fromkeys(self._looked) if not self.layout.shared else ():
            below = [path.name for path in self.tree.unasked(place)]
            if below:
                others = f" and {len(below) - 3} more" if len(below) > 3 else ""
                names = ", ".join(f"{text(name)}/" for name in below[:3])
                self.notes.append(f"{self._shown(place)}: pictures in its folders {names}{others} are not used")

    def keep_listed(self) -> None:
        """Where a list file names the set's samples, keep those; what is on one side only is a note."""
        found = [
            path
            for folder in self._with_lists()
            for name in self.data_set.lists
            for path in self.tree.named(folder, name)
        ]
        if not found:
            return
        self.notes += [f"{self._shown(path)} is not used beside {self._shown(found[0])}" for path in found[1:]]
        try:
            self._keep_listed(found[0], lists.lines_of(found[0]))
        except lists.UnusableList as reason:
            self.problems.append(f"{self._shown(found[0])}: {reason}; mend it, or move it away to use every sample")

    def _with_lists(self) -> list[Path]:
        """The set's folder and, unless that leads out of the data root, the one that it lies in."""
        beside = [self.folder.parent] * (self.tree.whole or self.folder != self.tree.root)
        return list(dict.fromkeys((self.folder, *beside)))

    def _keep_listed(self, path: Path, lines: list[str]) -> None:
        targets = [pair.target for pair in self.pairs]
        inputs = [pair.input or pair.target for pair in self.pairs]
        numbers, absent = lists.select(
            lines, inputs, targets, lambda name: self.part_pattern is None or bool(self.part_pattern.fullmatch(name))
        )
        shown, left_out = self._shown(path), len(self.pairs) - len(numbers)
        if not numbers:
            self.notes.append(f"{shown} names none of the files and is not used")
            return
        if left_out:
            self.notes.append(f"{left_out} files that {shown} does not name are left out")
        if absent:
            self.notes.append(f"{shown} names {len(absent)} files that are not there, such as {text(min(absent))}")
        self.pairs = [self.pairs[number] for number in numbers]


def _equal(first: Path, second: Path) -> bool:
    """Whether two files hold the same pixels."""
    try:
        return _same(first, second, *(os.stat(path).st_mtime_ns for path in (first, second)))
    except OSError:
        return False


@lru_cache(1024)
def _same(first: Path, second: Path, *_: int) -> bool:
    if not (os.path.isfile(first) and os.path.isfile(second)):
        return False
    if filecmp.cmp(first, second, shallow=False):
        return True
    try:
        import numpy as np

        return np.array_equal(decode(first), decode(second))
    except UnusableImage:
        return False
