"""Where the sets of a setting lie, and what stands for their images, without opening any.

Nothing here needs torch, so that ``--dry-run`` is fast.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.config.data_sets import DataSet
from benchmarks.config.errors import UserError
from benchmarks.config.sections import DataConfig
from benchmarks.config.settings import Setting
from benchmarks.data import files, layouts

EMBEDDED = "embedded-2"  # to be raised whenever the embedded images or their degradations change
SCENES = 96  # embedded images that each task is trained on
NOTED = 10  # notes of one set that are passed on
TOLD = 20  # problems of one set that an error lists


class Further(NamedTuple):
    """A training set beyond the setting's own (``data.extra``), and how often each of its samples stands among those of
    its task."""

    data_set: DataSet
    repeats: int


def further(setting: Setting, data: DataConfig) -> list[Further]:
    """The further training sets that ``data`` names, as ``NAME`` or ``NAME@REPEATS``.

    Raises:
        UserError: with every one that is unknown, fits no task of the setting, or is not repeated once or more often.
    """
    found, problems = [], []
    for text in data.extra:
        name, _, times = text.partition("@")
        try:
            data_set = setting.data_set(name)
        except UserError as error:
            problems.append(str(error))
            continue
        if data_set.trains not in setting.task_names:
            problems.append(f"{name}: not a further training set of any task of {setting.name}")
        elif times and not (times.isdecimal() and int(times)):
            problems.append(f"{text}: {times!r} is no number of repeats; for example {name}@10")
        else:
            found.append(Further(data_set, int(times or 1)))
    if found and data.source == "embedded":
        problems.append(f"{found[0].data_set.name} joins sets that lie in files: name their folder with --data-root")
    if problems:
        raise UserError("the further training sets (data.extra) cannot be:", problems)
    return found


def expected_samples(setting: Setting, data: DataConfig) -> dict[str, int]:
    """Distinct training samples that each task should have: as published, those of further sets with them."""
    if data.source == "embedded":
        return dict.fromkeys(setting.task_names, SCENES)
    samples = {task.name: task.samples for task in setting.tasks}
    for data_set, _ in further(setting, data):
        samples[data_set.trains or ""] += data_set.expected
    return samples


def fingerprint(setting: Setting, data: DataConfig) -> str:
    """What stands for the training images in a run's identity."""
    further_names = [entry.data_set.name for entry in further(setting, data)]
    if data.source == "embedded":
        return EMBEDDED
    root = root_of(data)
    names = dict.fromkeys((*setting.train_sets, *further_names))
    located = {name: locate(setting, name, root) for name in names}
    if data.missing == "synthesise" and not all(located.values()):
        located |= {name: locate(setting, name, root) for name in makers(setting, "train", root)}
    digest = hashlib.sha256()
    for name in sorted(located):
        found = located[name]
        digest.update(f"{name} {found.fingerprint() if found else 'absent'}\n".encode())
    return digest.hexdigest()[:16]


def notes(setting: Setting, data: DataConfig, extra: Sequence[str]) -> list[str]:
    """What is to be noted about the files of all sets the setting needs, by their names alone."""
    root, sets = None, dict.fromkeys(extra)
    if data.source == "files":
        further_names = [entry.data_set.name for entry in further(setting, data)]
        root, sets = root_of(data), dict.fromkeys((*setting.train_sets, *further_names, *setting.test_sets, *extra))
    located = [locate(setting, name, root) for name in sets]
    return list(
        dict.fromkeys(note for entry in located if entry for note in first(entry.data_set.name, entry.notes, NOTED))
    )


def absent(setting: Setting, name: str, use: str) -> str:
    """What to say of a set that is missing."""
    return (
        f"{name} ({use}) is missing: {setting.data_set(name).where()}. "
        "With --missing synthesise its degradation is applied to the clean images that are there"
    )


def problems(setting: Setting, data: DataConfig, extra: Sequence[str]) -> list[str]:
    """What opening the files would refuse, as far as their names tell: missing sets, and files without a partner."""
    embedded = data.source == "embedded"
    if embedded and (below := [name for name in extra if not setting.data_set(name).root]):
        return [f"the test set {below[0]} lies in files: name their folder with --data-root"]
    root, strict = None if embedded else root_of(data), data.missing == "error"
    lacking: dict[tuple[str, str], list[str]] = {}  # tasks, by set and use
    for task in () if embedded else setting.tasks:
        here = [name for name in task.train if locate(setting, name, root)]
        if strict or not (here or makers(setting, "train", root)):
            for name in [name for name in task.train if name not in here][: None if strict else 1]:
                lacking.setdefault((name, "training of "), []).append(task.name)
        names = [test.set for test in task.test] if strict or not makers(setting, "test", root) else []
        for name in [name for name in names if not locate(setting, name, root)]:
            lacking.setdefault((name, "test of "), []).append(task.name)
    for entry in further(setting, data):
        if not layouts.locate(entry.data_set, root):
            lacking[entry.data_set.name, "further training of "] = [str(entry.data_set.trains)]
    lacking |= {(name, "further test"): [""] for name in extra if not locate(setting, name, root)}
    found = [absent(setting, name, use + ", ".join(dict.fromkeys(tasks))) for (name, use), tasks in lacking.items()]
    used = dict.fromkeys(extra if embedded else (*setting.train_sets, *setting.test_sets, *extra))
    for located in filter(None, (locate(setting, name, root) for name in used)):
        found += first(located.data_set.name, located.problems, TOLD)
    return list(dict.fromkeys(found))


def locate(setting: Setting, name: str, root: Path | None) -> layouts.Located | None:
    """The set; where it is missing, the one that its samples were taken from."""
    data_set = setting.data_set(name)
    located = layouts.locate(data_set, root)
    return located or (layouts.locate(setting.data_set(data_set.instead), root) if data_set.instead else None)


def makers(setting: Setting, role: str, root: Path | None) -> list[str]:
    """Clean sets from which missing ones may be made: those among the setting's of that role, else all that are meant
    for it."""
    named = setting.train_sets if role == "train" else setting.test_sets
    clean = [name for name in named if not setting.data_set(name).paired]
    meant = [name for name, data_set in setting.catalogue.sets.items() if data_set.make == role]
    found = ([name for name in names if layouts.locate(setting.data_set(name), root)] for names in (clean, meant))
    return next(filter(None, found), [])


def root_of(data: DataConfig) -> Path:
    """:func:`data_root` of a configuration."""
    return data_root(Path(data.root) if data.root else None)


def data_root(root: Path | None) -> Path:
    """The folder, if it is one that can be read.

    Raises:
        UserError: if it is not.
    """
    if root is None or not os.path.isdir(root):
        raise UserError(f"the data root {files.text(root)!r} is not a folder; benchmarks/DATA.md says what lies in it.")
    if reason := files.look(root).problem:
        raise UserError(f"the data root {files.text(root)} {reason}.")
    return root


def first(name: str, lines: Sequence[str], most: int) -> list[str]:
    """At most so many of a set's problems or notes."""
    lines = list(dict.fromkeys(lines))
    rest = f"{name}: {len(lines) - most} more; `python -m benchmarks.data check` lists them all"
    return [*lines[:most], rest] if len(lines) > most else lines
