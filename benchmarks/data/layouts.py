"""Published data sets on disk: where their files are, and which input belongs to which target."""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from benchmarks.errors import UserError, nearest

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})


class Layout(BaseModel):
    """One way in which a set's files lie in its folder; without ``input`` the set is clean images only."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    target: str
    target_name: str
    input: str | None = None
    input_name: str | None = None


class DataSet(BaseModel):
    """A published set: what it holds, where it comes from, how many samples it has, how it is laid out.

    ``task``: the task that a further test set (``evaluate.extra``) belongs to.
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

    def where(self) -> str:
        """Its layout and source, for somebody who has to fetch it."""
        layout = self.layouts[0]
        parts = [f"{self.folders[0]}/{part}/" for part in (layout.input, layout.target) if part is not None]
        places = " with ".join(dict.fromkeys(part.replace("/./", "/") for part in parts))
        return f"{self.expected} expected in {places}; from {self.home}"


@dataclass(frozen=True)
class Pair:
    """One sample: a target file and, for paired sets, the degraded input."""

    name: str
    target: Path
    input: Path | None = None


@dataclass(frozen=True)
class Located:
    """What of a set lies below a data root. ``problems`` name files that cannot be used."""

    data_set: DataSet
    root: Path
    pairs: tuple[Pair, ...]
    problems: tuple[str, ...] = ()

    def fingerprint(self) -> str:
        """Digest of the names and sizes of the files: the same wherever the folder lies."""
        digest = hashlib.sha256(self.data_set.name.encode())
        for pair in self.pairs:
            for path in filter(None, (pair.input, pair.target)):
                digest.update(f"{path.relative_to(self.root).as_posix()} {path.stat().st_size}\n".encode())
        return digest.hexdigest()[:16]


@cache
def known() -> dict[str, DataSet]:
    """All sets of ``sets.toml`` by name."""
    content = tomllib.loads(Path(__file__).with_name("sets.toml").read_text())
    return {name: DataSet(name=name, **fields) for name, fields in content.items()}


def get(name: str) -> DataSet:
    """The set of that name.

    Raises:
        UserError: if there is none, naming the nearest.
    """
    if name not in known():
        raise UserError(f"unknown data set {name!r}{nearest(name, known())} Known: {', '.join(known())}.")
    return known()[name]


def locate(name: str, root: Path) -> Located | None:
    """Find the set below ``root`` and pair its files; ``None`` where no folder of its names exists.

    A folder without usable images, files whose names fit no layout, and inputs or targets without partner are
    ``problems``, by name.
    """
    data_set = get(name)
    folder = next((root / place for place in data_set.folders if (root / place).is_dir()), None)
    if folder is None:
        return None
    attempts = [_pairs(layout, folder, root) for layout in data_set.layouts]
    pairs, problems = max(attempts, key=lambda attempt: len(attempt[0]))
    if not pairs:
        shown = folder.relative_to(root)
        problems = [f"{shown}: no image that fits the layout of {name}. {data_set.where()}"]
    return Located(data_set, root, tuple(pairs), tuple(problems))


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())


def _keyed(files: list[Path], pattern: str) -> tuple[dict[str, list[Path]], list[Path]]:
    """Files by their pairing key (leading zeros of numbers do not count), and those whose name does not fit."""
    found: dict[str, list[Path]] = {}
    strange = []
    for path in files:
        match = re.fullmatch(pattern, path.stem, re.IGNORECASE)
        if match:
            found.setdefault(match["key"].lower().lstrip("0"), []).append(path)
        else:
            strange.append(path)
    return found, strange


def _pairs(layout: Layout, folder: Path, root: Path) -> tuple[list[Pair], list[str]]:
    target_files = _images(folder / layout.target)
    targets, strange = _keyed(target_files, layout.target_name)
    if layout.input is None:
        named = [path for paths in targets.values() for path in paths]
        problems = [f"{path.relative_to(root)}: name does not fit the set" for path in strange]
        return [Pair(path.stem, path) for path in sorted(named)], problems
    places = folder.glob(layout.input) if "*" in layout.input else [folder / layout.input]
    input_files = sorted(path for place in places for path in _images(place))
    inputs, strange_inputs = _keyed(input_files, layout.input_name or "(?P<key>.*)")
    if layout.input == layout.target:  # one folder: each file fits one of the two patterns, or neither
        strange = [path for path in strange if path in set(strange_inputs)]
    else:
        strange += strange_inputs
    problems = [f"{path.relative_to(root)}: name does not fit the set" for path in sorted(set(strange))]
    pairs = []
    for key, paths in inputs.items():
        partners = targets.get(key, [])
        if len(partners) == 1:
            pairs += [Pair(path.stem, partners[0], path) for path in paths]
        elif not partners:
            problems += [f"{path.relative_to(root)}: no target with that name" for path in paths]
        else:
            problems.append(f"{paths[0].relative_to(root)}: several targets, {', '.join(p.name for p in partners)}")
    for key in targets.keys() - inputs.keys():
        problems += [f"{path.relative_to(root)}: no input with that name" for path in targets[key]]
    return sorted(pairs, key=lambda pair: (pair.name, str(pair.input))), sorted(problems)
