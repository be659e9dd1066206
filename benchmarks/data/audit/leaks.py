"""Leaks: test images whose clean version, or a crop of it, is among the training images.

Known ones are in ``leaks.csv``; :func:`search` measures on the files that are there.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.config.data_sets import DataSet
from benchmarks.config.settings import Setting
from benchmarks.data import files, layouts
from benchmarks.data.audit.near_duplicates import Match, find
from results.visible import spreadsheet


@dataclass(frozen=True)
class Known:
    """A test image of ``leaks.csv`` (by number), and the training image that holds it."""

    image: str
    train_set: str
    train_image: str


@cache
def known(dataset: str) -> tuple[Known, ...]:
    """The known leaks of a test set; none for a set that the file does not name."""
    lines = Path(__file__).with_name("leaks.csv").read_text("utf-8").splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return tuple(
        Known(row["image"], row["train_set"], row["train_image"]) for row in rows if dataset in row["test_sets"].split()
    )


def leaked(dataset: str, train_sets: Iterable[str], names: Iterable[str]) -> list[str]:
    """Those of a test set's images that are known to be in the training data.

    Args:
        dataset: a set of ``sets.toml``.
        train_sets: the sets that were trained on.
        names: of the test images, as the layout names them (``1``, ``rain-001``).
    """
    sets = set(train_sets)
    numbers = {leak.image for leak in known(dataset) if leak.train_set in sets}
    return [name for name in names if _number(name) in numbers]


def _number(name: str) -> str:
    digits = re.search(r"(\d+)\D*$", name)
    return digits[1].lstrip("0") if digits else name


@dataclass(frozen=True)
class Leak:
    """A test image (``name``) of which ``match.whole``, an image of ``train_set``, holds the clean version."""

    test_set: str
    name: str
    train_set: str
    match: Match

    @property
    def known(self) -> bool:
        """Whether ``leaks.csv`` has it."""
        number, image = _number(self.name), _number(self.match.whole.stem)
        return Known(number, self.train_set, image) in known(self.test_set)

    def __str__(self) -> str:
        down, across = self.match.offset
        how = "pixel for pixel" if self.match.difference == 0 else f"mean difference {self.match.difference:.1f} levels"
        part = "" if self.match.share == 1 else f"{self.match.share:.0%} of "
        whole = files.text(self.match.whole.name)
        return f"{part}{self.name} is in {whole} from row {down} and column {across} on, {how}"


def search(
    root: Path, settings: Sequence[Setting], tell: Callable[[str], None]
) -> tuple[list[Leak], list[str], list[str]]:
    """Compare the clean images of every test set below ``root`` with those of every training set that it is used with.

    Args:
        root: the data root.
        settings: whose sets, and further sets of whose tasks, are compared.
        tell: called with a sentence about each file that cannot be read, or has no place in its set.

    Returns:
        The leaks, and the test and training sets that were compared.
    """
    tests, trains = _sets(settings)
    sought = {name: layouts.locate(data_set, root) for name, data_set in (tests | trains).items()}
    located = {name: found for name, found in sought.items() if found}
    for problem in dict.fromkeys(problem for found in located.values() for problem in found.problems):
        tell(problem)
    tests, trains = ([name for name in names if name in located and located[name].pairs] for names in (tests, trains))
    clean = {name: _clean(located[name]) for name in (*tests, *trains)}
    crops = [path for name in tests for path in clean[name]]
    wholes = [path for name in trains for path in clean[name]]
    matches = find(crops, wholes, tell) if crops and wholes else []
    leaks = [
        Leak(test, name, train, match)
        for match in matches
        for test in tests
        for train in trains
        if match.whole in clean[train]
        for name in clean[test].get(match.crop, ())
    ]
    return sorted(leaks, key=_place), tests, trains


def _place(leak: Leak) -> tuple[str, str, list[int | str]]:
    """Sort key: sets, then images with numbers by value."""
    parts = re.split(r"(\d+)", leak.name)  # text, number, text, ...
    return leak.test_set, leak.train_set, [int(part) if place % 2 else part for place, part in enumerate(parts)]


def _sets(settings: Sequence[Setting]) -> tuple[dict[str, DataSet], dict[str, DataSet]]:
    """Test and training sets of settings by name, with further ones and the sets that may stand in."""
    tests, trains, further_tests, stand_ins, further_trains = ({} for _ in range(5))
    for setting in settings:
        catalogue, tasks = setting.catalogue, setting.task_names
        named = {name: catalogue.get(name) for name in setting.train_sets}
        trains |= named
        tests |= {name: catalogue.get(name) for name in setting.test_sets}
        further_tests |= {name: catalogue.get(name) for name in catalogue.further(tasks, trains=False)}
        stand_ins |= {name: catalogue.get(name) for train in named.values() if (name := train.instead)}
        further_trains |= {name: catalogue.get(name) for name in catalogue.further(tasks, tests=False)}
    return tests | further_tests, trains | stand_ins | further_trains


def _clean(located: layouts.Located) -> dict[Path, list[str]]:
    """Clean files with the names of the samples they belong to."""
    found: dict[Path, list[str]] = {}
    for pair in located.pairs:
        found.setdefault(pair.target, []).append(pair.name)
    return found


def text(leaks: Sequence[Leak], tests: Sequence[str], trains: Sequence[str]) -> str:
    """The findings for a terminal, by pair of sets."""
    if not tests or not trains:
        return "There is no test set or no training set here to compare."
    lines = [f"Compared the clean images of {', '.join(tests)} with those of {', '.join(trains)}."]
    pairs = dict.fromkeys((leak.test_set, leak.train_set) for leak in leaks)
    for test, train in pairs:
        found = [leak for leak in leaks if (leak.test_set, leak.train_set) == (test, train)]
        images = len({leak.name for leak in found})
        new = sum(not leak.known for leak in found)
        lines.append(f"{test}: {images} images are in {train}{f' ({new} not known before)' if new else ''}")
        lines += [f"    {leak}" for leak in found]
    return "\n".join([*lines, "" if leaks else "No test image is among the training images."]).rstrip()


def write(leaks: Sequence[Leak], path: Path) -> None:
    """The findings as CSV for a spreadsheet, one row a pair of images."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("test_set", "image", "train_set", "train_image", "down", "across", "share", "difference"))
        for leak in leaks:
            match = leak.match
            place = (*match.offset, round(match.share, 4), round(match.difference, 3))
            found = (leak.test_set, leak.name, leak.train_set, files.text(match.whole.name))
            rows.writerow((*map(spreadsheet, found), *place))
