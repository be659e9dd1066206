"""Published data sets on disk: where their files are, and which input belongs to which target."""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from benchmarks.errors import UserError, nearest

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})


class Layout(BaseModel):
    """One way in which a set's files lie in its folder; without ``input`` the set is clean images only.

    ``input`` and ``target`` are folders; ``*`` stands for one part of a name (of a sequence, where both have it) and
    ``{part}`` for the part of the set. ``folders``: this layout is for these folders only; ``suffixes``: of file names;
    ``shared``: other sets' files lie there too.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    target: str
    target_name: str
    input: str | None = None
    input_name: str = "(?P<key>.*)"
    folders: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    shared: bool = False


class Part(BaseModel):
    """Samples of a set that belong to one task: those in the folder of that name (``{part}`` in the layout), or those
    whose file names fit ``input_name``. ``instead``: the set they were taken from, used where this one is missing."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    expected: int
    input_name: str | None = None
    instead: str | None = None


class DataSet(BaseModel):
    """A published set: what it holds, where it comes from, how many samples it has, how it is laid out.

    ``task``: the task that a further test set (``evaluate.extra``) belongs to; ``trains``: the same of a further
    training set (``data.extra``). ``lists``: files beside or in its folder that name its samples. ``make``: clean
    images of this set may stand in where a ``train`` or ``test`` set is missing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    title: str
    home: str
    licence: str
    expected: int
    folders: tuple[str, ...]
    layouts: tuple[Layout, ...]
    task: str | None = None
    trains: str | None = None
    lists: tuple[str, ...] = ()
    parts: dict[str, Part] = {}
    part: str = ""
    make: str = ""

    @property
    def paired(self) -> bool:
        """Whether it brings degraded inputs."""
        return self.layouts[0].input is not None

    @property
    def instead(self) -> str | None:
        """The set to take where this one is missing."""
        return self.parts[self.part].instead if self.part else None

    def where(self) -> str:
        """Its layout and source, for somebody who has to fetch it."""
        layout = self.layouts[0]
        parts = [f"{self.folders[0]}/{part}/" for part in (layout.input, layout.target) if part is not None]
        places = " with ".join(dict.fromkeys(part.replace("/./", "/") for part in parts)).format(
            part=self.part or "<part>"
        )
        return f"{self.expected:,} expected in {places}; from {self.home}"


@dataclass(frozen=True)
class Pair:
    """One sample: a target file and, for paired sets, the degraded input."""

    name: str
    target: Path
    input: Path | None = None


@dataclass(frozen=True)
class Located:
    """What of a set lies below a data root. ``problems`` name files that cannot be used, ``notes`` what is left out on
    purpose."""

    data_set: DataSet
    root: Path
    pairs: tuple[Pair, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def files(self) -> list[Path]:
        """Every file once, targets first."""
        paths = [pair.target for pair in self.pairs] + [pair.input for pair in self.pairs if pair.input]
        return list(dict.fromkeys(paths))

    def fingerprint(self) -> str:
        """Digest of the names and sizes of the files: the same wherever the folder lies."""
        digest = hashlib.sha256(self.data_set.name.encode())
        for pair in self.pairs:
            for path in filter(None, (pair.input, pair.target)):
                digest.update(f"{path.relative_to(self.root).as_posix()} {_size(path)}\n".encode())
        return digest.hexdigest()[:16]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1  # a link to nowhere, to be told by whoever opens it


@cache
def known() -> dict[str, DataSet]:
    """All sets of ``sets.toml`` by name."""
    content = tomllib.loads(Path(__file__).with_name("sets.toml").read_text("utf-8"))
    return {name: DataSet(name=name, **fields) for name, fields in content.items()}


def further(tasks: Collection[str], tests: bool = True, trains: bool = True) -> list[str]:
    """Names of the sets that may be further test or training sets of some of the ``tasks``."""
    return [
        name
        for name, data_set in known().items()
        if (tests and data_set.task in tasks) or (trains and data_set.trains in tasks)
    ]


@cache
def get(name: str) -> DataSet:
    """The set of that name; ``AllWeather:snow`` is the part ``snow`` of ``AllWeather``.

    Raises:
        UserError: if there is none, naming the nearest.
    """
    whole, _, part = name.partition(":")
    if whole not in known():
        raise UserError(f"unknown data set {name!r}{nearest(whole, known())} Known: {', '.join(known())}.")
    data_set = known()[whole]
    if not part:
        return data_set
    if part not in data_set.parts:
        parts = ", ".join(data_set.parts) or "none"
        raise UserError(f"unknown part of {whole}: {part!r}{nearest(part, data_set.parts)} Known: {parts}.")
    return data_set.model_copy(update={"name": name, "part": part, "expected": data_set.parts[part].expected})


def locate(name: str, root: Path) -> Located | None:
    """Find the set below ``root`` and pair its files; ``None`` where no folder of its names exists.

    Names of folders and files may be in upper or lower case. A folder without usable images, files whose names fit no
    layout, and inputs or targets without partner are ``problems``, by name.
    """
    data_set = get(name)
    found = None
    for place in dict.fromkeys((*data_set.folders, *(f for layout in data_set.layouts for f in layout.folders))):
        folder = resolve(root, place)
        if folder is None:
            continue
        found = found or folder
        own = [layout for layout in data_set.layouts if place in layout.folders]
        layouts = own or [layout for layout in data_set.layouts if not layout.folders]
        attempts = [_Pairing(data_set, layout, folder, root) for layout in layouts]
        best = max(attempts, key=lambda attempt: len(attempt.pairs))
        if best.pairs:
            best.keep_listed()
            return Located(data_set, root, tuple(best.pairs), tuple(best.problems), tuple(best.notes))
    if found is None:
        return None
    problem = f"{found.relative_to(root)}: no image that fits the layout of {name}. {data_set.where()}"
    return Located(data_set, root, (), (problem,))


def pairs_in(name: str, folder: Path, root: Path) -> bool:
    """Whether some layout of the set finds samples in ``folder``."""
    data_set = get(name)
    return any(_Pairing(data_set, layout, folder, root).pairs for layout in data_set.layouts if not layout.shared)


def resolve(root: Path, place: str) -> Path | None:
    """The folder ``place`` below ``root``, whatever the case of its letters; ``None`` where there is none."""
    folder = root
    for part in Path(place).parts:
        if (folder / part).is_dir():
            folder = folder / part
            continue
        alike = [entry for entry in folders_in(folder) if entry.name.lower() == part.lower()]
        if not alike:
            return None
        folder = alike[0]
    return folder


def folders_in(folder: Path) -> list[Path]:
    """The folders directly in ``folder``, sorted."""
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir())
    except OSError:
        return []


def images_in(folder: Path, suffixes: tuple[str, ...] = ()) -> list[Path]:
    """The image files directly in ``folder``, sorted; none where it is no folder."""
    wanted = frozenset(suffixes) or IMAGE_SUFFIXES
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if not entry.is_dir() and not entry.name.startswith(".")]
    except OSError:
        return []
    return [folder / name for name in sorted(names) if os.path.splitext(name)[1].lower() in wanted]


class _Pairing:
    """The files of one folder by one layout: pairs, problems and notes."""

    def __init__(self, data_set: DataSet, layout: Layout, folder: Path, root: Path):
        self.data_set, self.layout, self.folder, self.root = data_set, layout, folder, root
        self.pairs: list[Pair] = []
        self.problems: list[str] = []
        self.notes: list[str] = []
        part = data_set.parts[data_set.part].input_name if data_set.part else None
        self.own = re.compile(part, re.IGNORECASE) if part else None  # names of this part, where names tell
        targets, strange = self._keyed(layout.target, layout.target_name)
        if layout.input is None:
            self.pairs = [
                Pair(path.stem, path) for path in sorted(path for paths in targets.values() for path in paths)
            ]
        else:
            inputs, strange_inputs = self._inputs()
            # in one folder each file fits one of the two patterns, or neither
            same = layout.input == layout.target
            strange = [p for p in strange if p in set(strange_inputs)] if same else strange + strange_inputs
            self._pair(inputs, targets)
        if layout.shared and strange:
            self.notes.append(f"{self._shown(folder)}: {len(strange)} files left to other sets, by their names")
        else:
            self.problems += [f"{self._shown(path)}: name does not fit the set" for path in sorted(set(strange))]
        self.pairs.sort(key=lambda pair: (pair.name, str(pair.input)) if pair.input else (str(pair.target),))
        self.problems.sort()

    def _shown(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _places(self, pattern: str) -> Iterator[tuple[str, Path]]:
        """Folders that ``pattern`` stands for, with what its ``*`` stands for."""
        pattern = pattern.format(part=self.data_set.part)
        before, star, after = pattern.partition("*")
        if not star:
            place = resolve(self.folder, pattern)
            if place is not None:
                yield "", place
            return
        parent, _, start = before.rpartition("/")
        for entry in folders_in(resolve(self.folder, parent) or self.folder / parent):
            if entry.name.lower().startswith(start.lower()):
                place = resolve(entry, after.strip("/"))
                if place is not None:
                    yield entry.name[len(start) :], place

    def _keyed(self, pattern: str, name: str) -> tuple[dict[tuple[str, str], list[Path]], list[Path]]:
        """Files by their pairing key (leading zeros of numbers do not count), and those whose name does not fit."""
        found: dict[tuple[str, str], list[Path]] = {}
        strange = []
        fits = re.compile(name, re.IGNORECASE)
        sequences = "*" in self.layout.target
        for star, place in self._places(pattern):
            for path in images_in(place, self.layout.suffixes):
                match = fits.fullmatch(path.stem)
                if match:
                    key = (star.lower() if sequences else "", match["key"].lower().lstrip("0"))
                    found.setdefault(key, []).append(path)
                else:
                    strange.append(path)
        return found, strange

    def _inputs(self) -> tuple[dict[tuple[str, str], list[Path]], list[Path]]:
        """Inputs of this part of the set; those of its other parts are not strange."""
        found, strange = self._keyed(self.layout.input or "", self.own.pattern if self.own else self.layout.input_name)
        if self.own:
            others = [re.compile(part.input_name or "", re.IGNORECASE) for part in self.data_set.parts.values()]
            strange = [path for path in strange if not any(other.fullmatch(path.stem) for other in others)]
        return found, strange

    def _pair(self, inputs: dict, targets: dict) -> None:
        sequences = "*" in self.layout.target
        for key, paths in inputs.items():
            partners = targets.get(key, [])
            if len(partners) == 1:
                for path in paths:
                    name = f"{path.parent.parent.name}_{path.stem}" if sequences else path.stem
                    self.pairs.append(Pair(name, partners[0], path))
            elif not partners:
                self.problems += [f"{self._shown(path)}: no target with that name" for path in paths]
            else:
                several = ", ".join(path.name for path in partners)
                self.problems.append(f"{self._shown(paths[0])}: several targets, {several}")
        for key in targets.keys() - inputs.keys():
            for path in targets[key]:
                if self.own is None or self.own.fullmatch(path.stem):
                    self.problems.append(f"{self._shown(path)}: no input with that name")

    def keep_listed(self) -> None:
        """Where a list file names the set's samples, keep those; what is on one side only is a note."""
        for name in self.data_set.lists:
            for folder in dict.fromkeys((self.folder, self.folder.parent)):
                path = folder / name
                if path.is_file():
                    self._keep_listed(path)
                    return

    def _keep_listed(self, path: Path) -> None:
        lines = [line.strip().replace("\\", "/") for line in path.read_text("utf-8", "replace").splitlines()]
        listed = {line.rsplit("/", 1)[-1].lower() for line in lines if line}
        names = {pair: (pair.input or pair.target).name.lower() for pair in self.pairs}
        kept = [pair for pair in self.pairs if names[pair] in listed]
        if not kept:
            self.notes.append(f"{self._shown(path)} names none of the files and is not used")
            return
        if len(kept) < len(self.pairs):
            self.notes.append(
                f"{len(self.pairs) - len(kept)} files that {self._shown(path)} does not name are left out"
            )
        absent = sorted(self._of_this_part(listed) - set(names.values()))
        if absent:
            self.notes.append(f"{self._shown(path)} names {len(absent)} files that are not there, such as {absent[0]}")
        self.pairs = kept

    def _of_this_part(self, names: set[str]) -> set[str]:
        return {name for name in names if self.own is None or self.own.fullmatch(os.path.splitext(name)[0])}
