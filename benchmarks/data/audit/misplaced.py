"""Where a set that was not found may be instead, and what to do about it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from benchmarks.config.data_sets import Catalogue, DataSet
from benchmarks.data import layouts
from benchmarks.data.files import Tree, look, plain, text

DEPTH, VISITS = 4, 4000  # of folders that are looked into
INPUTS = (
    "input",
    "inputs",
    "in",
    "rainy",
    "rain",
    "hazy",
    "haze",
    "blur",
    "low",
    "lq",
    "degraded",
    "data",
    "synthetic",
    "snow",
)
TARGETS = ("target", "targets", "gt", "clear", "clean", "norain", "sharp", "high", "hq", "original", "groundtruth")
ARCHIVES = (".zip", ".rar", ".7z", ".tar", ".tgz", ".gz")


def fix(data_set: DataSet, catalogue: Catalogue, root: Path) -> str:
    """A sentence that says where the set's files are and what would make them found; empty if nothing is recognised.

    Recognised are: the set in another folder (nested once too often, or elsewhere), its two folders under other names,
    and an archive that was not unpacked.
    """
    others = [other for name, other in catalogue.sets.items() if name != data_set.whole and not other.root]
    tree = Tree(root)
    taken = {folder for other in others for place in other.folders for folder in tree.alike(root, place)}
    for folder in _candidates(root, data_set):
        if folder in taken:
            continue
        shown = text(folder.relative_to(root).as_posix())
        if layouts.pairs_in(data_set, folder, root):
            return f"its files are in {shown}/: move them to {data_set.folders[0]}/"
        renamed = _renamed(data_set, folder)
        if renamed:
            return f"{shown}/ looks like it: {renamed}"
    for entry in sorted(root.iterdir()):
        if entry.suffix.lower() in ARCHIVES and _alike(entry.name, data_set):
            return f"{entry.name} looks like it: unpack it to {data_set.folders[0]}/"
    return ""


def _candidates(root: Path, data_set: DataSet) -> Iterator[Path]:
    """Folders below ``root`` that are called like the set, or lie in one that is; the nearest first."""
    level, visits = [(root, False)], 0
    for _ in range(DEPTH):
        below = []
        for parent, inside in level:
            for folder in look(parent).folders:
                visits += 1
                if visits > VISITS:
                    return
                called = inside or _alike(folder.name, data_set)
                if called:
                    yield folder
                below.append((folder, called))
        level = below


def _alike(name: str, data_set: DataSet) -> bool:
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    names = [data_set.whole, *(os.path.basename(place) for place in data_set.folders)]
    wanted = {re.sub(r"[^a-z0-9]", "", wanted.lower()) for wanted in names} - {"train", "test"}
    return any(plain.startswith(start) for start in wanted)


def _renamed(data_set: DataSet, folder: Path) -> str:
    """Which two folders to rename, where ``folder`` holds inputs and targets with files named as a layout wants."""
    below = {plain(entry.name): entry for entry in look(folder).folders}
    inputs, targets = ([below[name] for name in names if name in below] for names in (INPUTS, TARGETS))
    for layout, first, second in product(data_set.layouts, inputs, targets):
        wanted = [(layout.input or "").format(part=data_set.part), layout.target]
        if layout.input is None or "." in wanted or "*" in "".join(wanted):
            continue
        if _fit(first, layout.input_name) and _fit(second, layout.target_name):
            changes = [
                (text(old.name), new) for old, new in zip((first, second), wanted, strict=True) if old.name != new
            ]
            return "rename " + " and ".join(f"{old}/ to {new}/" for old, new in changes)
    return ""


def _fit(folder: Path, name: str) -> bool:
    """Whether most images of the folder are named that way."""
    files = look(folder).pictures
    fitting = sum(re.fullmatch(name, path.stem, re.IGNORECASE) is not None for path in files)
    return fitting > len(files) / 2
