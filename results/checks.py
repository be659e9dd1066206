"""Whether kept runs, or those of an output folder, are whole and fit each other: from their files alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from results import integrity, schema
from results.find import find_runs
from results.integrity import Damaged
from results.kept import RUNS, TABLES, KeptRun, opened, weights_at
from results.records import SINGLE, DataRecord, Fault, Origin, Role, RunRecord, State, varied
from results.store import Run
from results.visible import visible

if TYPE_CHECKING:
    import pandas as pd

REFERENCE = "mix"
NAMED = 3  # runs, images or files that a sentence names
DIFFERENCE = {"psnr": 0.005, "ssim": 0.0005}  # scores of one degraded image that differ by less are the same
BESIDE = ("README.md", "reports", "tuning")
"""What may lie beside an archive's own files without a word."""


@dataclass
class Said:
    """Sentences, each with the runs that it is true of."""

    lines: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    def add(self, text: str, *where: str) -> None:
        """Say it, of a run if one is named; whatever comes from files cannot look like a line of its own."""
        self.lines.setdefault(_one_line(text), []).extend(map(_one_line, where))

    def __bool__(self) -> bool:
        return bool(self.lines)

    def told(self, every: int) -> Iterator[str]:
        """The sentences; ``every``: how many runs there are, so that all of them need no names."""
        for text, where in self.lines.items():
            names = "all runs" if every > NAMED and len(where) == every else listed(where)
            yield f"{text} ({names})" if where else text


def _one_line(text: str) -> str:
    return visible(" ".join(text.splitlines()))


@dataclass
class Checked:
    """What was found in a folder.

    Attributes:
        folder: that was looked at.
        kept: whether it is an archive; otherwise it is an output folder.
        runs: that can be read, with their records.
        damaged: folders of those with files that are not as they were written; nothing else is said of these.
        problems: what keeps one from trusting it.
        notes: what one should know, such as what could not be checked.
    """

    folder: Path
    kept: bool
    runs: list[tuple[Run, RunRecord]] = field(default_factory=list[tuple[Run, RunRecord]])
    damaged: set[Path] = field(default_factory=set[Path])
    problems: Said = field(default_factory=Said)
    notes: Said = field(default_factory=Said)

    def name(self, run: Run) -> str:
        """The run for people: its place in the folder."""
        return run.folder.relative_to(self.folder).as_posix().removeprefix("runs/")

    @property
    def ended(self) -> list[tuple[Run, RunRecord]]:
        """Finished runs without a fault: those that a table counts."""
        status = [(run, record, run.status) for run, record in self.runs]
        return [(run, record) for run, record, now in status if now.state == State.DONE and now.fault == Fault.NONE]


def listed(names: Sequence[str], most: int = NAMED) -> str:
    """``a, b, c and 4 more``."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def check(folder: Path) -> Checked:
    """Look at an archive (:mod:`results.archive`) or an output folder.

    Only what is whole is looked into: where files are damaged, the problems say so and nothing else is compared.
    """
    found = Checked(folder, kept=os.path.lexists(folder / RUNS))
    _files(found)
    if found.problems:
        return found
    if found.kept:
        runs, damage = opened(folder)
        for damaged in damage:
            found.problems.add(str(damaged))
        if damage or not _tables_fit(found, len(runs)):
            return found
        found.runs = [(run, run.record) for run in runs]
    else:
        _open_folders(found)
    for run, record in found.runs:
        if run.folder not in found.damaged:
            _look(found, run, record)
    _same_images(found)
    _pairs(found)
    return found


def _files(found: Checked) -> None:
    """Links that leave the folder, and in an archive what does not belong there."""
    for place, folders, files in os.walk(found.folder):
        for name in [*folders, *files]:
            path = Path(place, name)
            if path.is_symlink() and not _stays(path, found.folder):
                found.problems.add("links that leave the folder", path.relative_to(found.folder).as_posix())
    if not found.kept:
        return
    known = {RUNS, *BESIDE, *(f"{name}.parquet" for name in TABLES)}
    others = sorted(path.name for path in found.folder.iterdir() if path.name not in known)
    if others:
        found.notes.add("files beside the archive, which nothing here reads", *others)


def _stays(link: Path, folder: Path) -> bool:
    try:
        return link.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a circle
        return False


def _open_folders(found: Checked) -> None:
    settings = sorted(path.name for path in (found.folder / "runs").glob("*") if path.is_dir())
    for run in (run for setting in settings for run in find_runs(found.folder, setting)):
        legible = run.legible()
        for told in legible.damage().values():
            found.problems.add(told, found.name(run))
            found.damaged.add(run.folder)
        if (record := legible.record) is not None:
            found.runs.append((legible, record))
        elif not legible.damage():
            found.notes.add("runs that have not come as far as their configuration", found.name(run))


def _tables_fit(found: Checked, count: int) -> bool:
    """Whether an archive's tables can be read and hold rows of its runs only."""
    for name, columns in TABLES.items():
        path = found.folder / f"{name}.parquet"
        if (content := integrity.content(path)) is None:
            continue
        try:
            table = integrity.of_several(path, content, columns, integrity.NUMBERS[name])
        except Damaged as damaged:
            found.problems.add(str(damaged))
            continue
        if strange := sorted(set(table["run"]) - set(range(count))):
            found.problems.add(f"{path.name} has rows of runs that {RUNS} lacks: {listed([*map(str, strange)])}")
    return not found.problems


def _look(found: Checked, run: Run, record: RunRecord) -> None:
    """One run by itself."""
    name, status = found.name(run), run.status
    if run.folder.name != f"{record.config.seed}-{record.hash}" or run.folder.parts[-4] != record.config.setting:
        found.problems.add("runs whose place is not that of their setting, seed and hash", name)
    _records(found, run, record)
    for table in TABLES:
        for reason in integrity.ODD[table](rows) if len(rows := getattr(run, table)()) else ():
            found.problems.add(f"{table}: {reason}", name)
    if status.state == State.DONE:
        _scores(found, run, record)
    elif status.state == State.FAILED:
        found.notes.add("failed runs", f"{name}: {' '.join(status.reason.split())[:100] or 'no reason recorded'}")
    else:
        found.notes.add("runs that are not finished", name)
    if status.fault:
        found.notes.add(f"runs that do not count: {status.fault}", name)


def _records(found: Checked, run: Run, record: RunRecord) -> None:
    """Version, keys and sets of a run."""
    name, today = found.name(run), record.store >= schema.STORE
    if record.store > schema.STORE:
        newer = f"store {record.store}, this one knows {schema.STORE}"
        found.problems.add(f"runs of a newer version of this project ({newer}); update it", name)
    elif not today:
        older = "runs of an older version, which recorded no digests of images and had other identities"
        found.notes.add(f"{older}: neither is checked", name)
    for kind, part in (("configuration", record), ("environment", run.environment), ("data", run.data)):
        for key in _unknown(part):
            (found.problems if today else found.notes).add(f"unknown key {key} in the {kind}", name)
    for one in run.data:
        if one.role not in set(Role) or one.origin not in set(Origin):
            found.problems.add(f"{one.dataset}: a set of unknown role or origin ({one.role}, {one.origin})", name)
        elif today and not one.digest and one.origin != Origin.ABSENT:
            found.problems.add(f"{one.dataset}: no digest of its {one.role} images", name)


def _unknown(part: BaseModel | Sequence[BaseModel], place: str = "") -> list[str]:
    """Keys that no version up to this one writes; of the resolved configuration :mod:`benchmarks.config` knows them."""
    if isinstance(part, Sequence):
        return list(dict.fromkeys(key for one in part for key in _unknown(one, place)))
    keys = [f"{place}{key}" for key in part.model_extra or {}]
    for name in part.model_fields_set & set(type(part).model_fields):
        value = getattr(part, name)
        if isinstance(value, BaseModel) and name != "config":
            keys += _unknown(value, f"{place}{name}.")
    return keys


def _scores(found: Checked, run: Run, record: RunRecord) -> None:
    """Whether a finished run has a score of every image of every test set, by every metric."""
    name, scores = found.name(run), run.scores()
    own = scores[scores["protocol"] == record.config.evaluate.protocol]
    expected = {"psnr", "ssim", *record.config.evaluate.metrics}
    tests = {one.dataset: one for one in run.data if one.role in (Role.TEST, Role.EXTRA)}
    if not tests:
        found.problems.add("finished runs that name no test set", name)
    for dataset, one in tests.items():
        rows = own[own["dataset"] == dataset]
        images = rows["image"].nunique()
        if one.found is not None and images != one.found:
            found.problems.add(f"{dataset}: scores of {images} images, {one.found} were there", name)
        counts = rows.groupby("metric")["image"].nunique()
        if lacking := sorted(metric for metric in expected if counts.get(metric, 0) < images):
            found.problems.add(f"{dataset}: images without {', '.join(lacking)}", name)
        if record.store >= schema.STORE and (rows["pixels"] == "").any():
            found.problems.add(f"{dataset}: images whose pixels are not recorded", name)
        if one.partial:
            found.notes.add(f"partial test set {dataset}: {one.found} of {one.expected} images", name)
    if strange := sorted(set(own["dataset"]) - set(tests)):
        found.problems.add(f"scores on sets that the run does not name: {', '.join(strange)}", name)


def _same_images(found: Checked) -> None:
    """Whether runs that one table may hold were trained on and scored on the same images."""
    for members in _by_cohort(found.ended):
        _alike(found, members)
        first: dict[str, tuple[str, pd.DataFrame]] = {}
        digests: dict[tuple[str, str], tuple[str, str]] = {}
        for run, _ in members:
            if run.folder in found.damaged:
                continue
            name = found.name(run)
            _same_digests(found, name, run.data, digests)
            scores = run.scores()
            for dataset, rows in scores[scores["metric"] == "psnr"].groupby("dataset"):
                rows = rows.drop_duplicates("image").set_index("image").sort_index()
                before, known = first.setdefault(str(dataset), (name, rows))
                if words := _difference(known, rows):
                    found.problems.add(f"{dataset}: other images than those of {before}: {words}", name)


def _alike(found: Checked, members: Sequence[tuple[Run, RunRecord]]) -> None:
    """Whether runs that say to belong into one table are of one size, profile and kind of data."""
    first = members[0][1]
    for run, record in members[1:]:
        for what, one, other in (
            ("size", first.config.size, record.config.size),
            ("profile", first.config.profile, record.config.profile),
            ("source of images", first.config.data.source, record.config.data.source),
            ("tasks", first.config.tasks, record.config.tasks),
            ("changes of the recipe", varied(first.overrides, swept=False), varied(record.overrides, swept=False)),
        ):
            if one != other:
                found.problems.add(f"one table (cohort {record.cohort}) with another {what}", found.name(run))


def _same_digests(
    found: Checked, name: str, data: Iterable[DataRecord], known: dict[tuple[str, str], tuple[str, str]]
) -> None:
    for one in data:
        if not one.digest or one.role == Role.VALIDATION:
            continue
        key = one.role, f"{one.dataset} {one.digest[0]}"  # of what the digest was made
        before, digest = known.setdefault(key, (name, one.digest))
        if digest != one.digest:
            found.problems.add(f"{one.dataset}: other {one.role} images than those of {before}, by their digest", name)


def _difference(known: pd.DataFrame, rows: pd.DataFrame) -> str:
    if len(known) != len(rows) or not known.index.equals(rows.index):
        return f"{len(rows)} images, {len(known)} there"
    recorded = (known["pixels"] != "") & (rows["pixels"] != "")
    apart = ((known["input_value"] - rows["input_value"]).abs() > DIFFERENCE["psnr"]) | (
        recorded & (known["pixels"] != rows["pixels"])
    )
    return listed([str(image) for image in known.index[apart]])


def _by_cohort(runs: Iterable[tuple[Run, RunRecord]]) -> list[list[tuple[Run, RunRecord]]]:
    groups: dict[str, list[tuple[Run, RunRecord]]] = {}
    for run, record in runs:
        groups.setdefault(f"{record.config.setting} {record.cohort}", []).append((run, record))
    return list(groups.values())


def _pairs(found: Checked) -> None:
    """Whether every strategy has its mix of the same seed, tuned ones tuned mix, and which seeds some lack."""
    for members in _by_cohort(found.ended):
        labels: dict[str, set[str]] = {}
        for _, record in members:
            labels.setdefault(record.config.label, set()).add(record.pair)
        for run, record in members:
            config = record.config
            wanted = f"{REFERENCE} (tuned)" if config.terms.tuned and config.strategy != REFERENCE else REFERENCE
            if config.label != REFERENCE and record.pair not in labels.get(wanted, ()):
                found.problems.add(f"no run of {wanted} with the seed, network and data of", found.name(run))
        _gaps(found, members)


def _gaps(found: Checked, members: Iterable[tuple[Run, RunRecord]]) -> None:
    seeds: dict[str, dict[str, set[int]]] = {}
    for _, record in members:
        config = record.config
        label = f"{config.label} on {config.terms.task}" if config.strategy.startswith(SINGLE) else config.label
        network = " ".join([config.baseline, *varied(record.overrides)])
        seeds.setdefault(network, {}).setdefault(label, set()).add(config.seed)
    for baseline, strategies in seeds.items():
        every = set[int]().union(*strategies.values())
        lacking: Mapping[str, set[int]] = {label: every - own for label, own in strategies.items() if every - own}
        for label, gone in lacking.items():
            words = f"seed{'s' * (len(gone) > 1)} {', '.join(map(str, sorted(gone)))}"
            found.notes.add(f"seeds that other strategies of {baseline} have and these lack", f"{label}: {words}")


def weights_of(run: Run, weights: Path | None) -> Path | None:
    """The file of a run's final weights, where there is one: its checkpoint, or what was kept outside the archive."""
    if not isinstance(run, KeptRun):
        path = run.folder / schema.CHECKPOINT
    elif weights is None or run.entry.weights is None:
        return None
    else:
        path = weights_at(weights, run.entry.folder)
    return path if path.is_file() else None
