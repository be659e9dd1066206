"""Runs of several archives as one store: the same run once, runs on other images apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from results.integrity import differing
from results.kept import KeptRun, kept_runs
from results.records import DataRecord, Fault, Note, Role, Severity, State

if TYPE_CHECKING:
    import pandas as pd

TRAINED_AND_TESTED = (Role.TRAIN, Role.TEST, Role.EXTRA)
EQUAL = 1e-5  # of scores, which archives keep with six decimals


@dataclass
class _Alike:
    """Runs that one table may hold: of one cohort, and on the same images as far as these are known."""

    key: str
    runs: dict[str, KeptRun] = field(default_factory=dict[str, KeptRun])  # by hash
    images: dict[tuple[str, str, str], DataRecord] = field(default_factory=dict[tuple[str, str, str], DataRecord])

    def other_images(self, run: KeptRun) -> list[str]:
        return sorted({name for role in TRAINED_AND_TESTED for name in differing(self._of(role), run.data, role)})

    def _of(self, role: Role) -> list[DataRecord]:
        return [record for record in self.images.values() if record.role == role]

    def add(self, run: KeptRun) -> None:
        self.runs[run.record.hash] = run
        for record in run.data:
            if record.digest:
                self.images.setdefault((record.role, record.dataset, record.digest[0]), record)


@dataclass(frozen=True)
class Together:
    """The runs of several archives.

    Attributes:
        runs: each once; those that no table may hold with others have a cohort of their own.
        notes: what is to be said, by cohort.
    """

    runs: list[KeptRun]
    notes: dict[str, list[Note]]


def together(folders: Sequence[Path], setting: str) -> Together:
    """Put archives together, the one named first taking precedence.

    A run of an identity that is there already is the same run where its scores are the same; otherwise it is another
    training of this identity, which is named and left out, or takes the place of one that did not finish.

    Args:
        folders: archives (:func:`results.archive.pack`).
        setting: whose runs.

    Raises:
        Damaged: where a file is not as it was written.
    """
    groups: dict[str, list[_Alike]] = {}
    notes: dict[str, list[Note]] = {}
    same: dict[tuple[str, str, str], int] = {}
    for place, folder in enumerate(folders):
        for kept in kept_runs(folder, setting):
            run = KeptRun(kept.archive, kept.number, kept.entry, origin=str(folder), precedence=-place)
            alike = _place(run, groups, notes)
            known = alike.runs.get(run.record.hash)
            if known is None:
                alike.add(run)
            elif words := _difference(known, run):
                chosen = run if _finished(run) and not _finished(known) else known
                alike.runs[run.record.hash] = chosen
                notes.setdefault(alike.key, []).append(_of_two(known, run, words, chosen))
            else:
                key = alike.key, known.origin, run.origin
                same[key] = same.get(key, 0) + 1
    for (key, first, second), count in same.items():
        text = f"{count} run{'s' * (count != 1)} of {first} {'are' if count != 1 else 'is'} in {second} too, with the "
        notes.setdefault(key, []).append(Note(Severity.NOTE, "archives-same", f"{text}same scores: counted once."))
    found = [_of_cohort(run, alike.key) for several in groups.values() for alike in several
             for run in alike.runs.values()]  # fmt: skip
    return Together(found, notes)


def _place(run: KeptRun, groups: dict[str, list[_Alike]], notes: dict[str, list[Note]]) -> _Alike:
    """The runs that this one belongs to; where its images are others than those of all, new ones."""
    several = groups.setdefault(run.record.cohort, [])
    others = [alike.other_images(run) for alike in several]
    for alike, other in zip(several, others, strict=True):
        if not other:
            return alike
    alike = _Alike(run.record.cohort if not several else _key(run))
    several.append(alike)
    for apart, other in zip(several, others, strict=False):
        text = (
            f"Runs of {run.origin} were trained or scored on other images of {', '.join(other)} than those of "
            f"{next(iter(apart.runs.values())).origin}: they stand in another table."
        )
        for key in (apart.key, alike.key):
            notes.setdefault(key, []).append(Note(Severity.WARNING, "archives-images", text))
    return alike


def _key(run: KeptRun) -> str:
    images = sorted([record.role, record.dataset, record.digest] for record in run.data)
    return hashlib.sha256(json.dumps([run.record.cohort, images]).encode()).hexdigest()[:8]


def _of_cohort(run: KeptRun, cohort: str) -> KeptRun:
    if run.record.cohort == cohort:
        return run
    entry = run.entry.model_copy(update={"config": run.record.model_copy(update={"cohort": cohort})})
    return KeptRun(run.archive, run.number, entry, run.origin, run.precedence)


def _finished(run: KeptRun) -> bool:
    return run.status.state == State.DONE and run.status.fault == Fault.NONE


def _difference(known: KeptRun, run: KeptRun) -> str:
    """How two runs of one identity differ, in words; empty where they are the same."""
    if _finished(known) != _finished(run):
        return f"{known.status.state} there, {run.status.state} here"
    one, two = (_scores(each) for each in (known, run))
    shared = one.index.intersection(two.index)
    if len(one) and len(two) and not len(shared):
        return "scored by other protocols or metrics"
    apart = (one[shared] - two[shared]).abs()
    other = (apart > EQUAL) | (one[shared].isna() != two[shared].isna())
    if not other.any():
        return ""
    psnr = shared.get_level_values("metric") == "psnr"
    means = [scores[shared][psnr].groupby("dataset").mean().mean() for scores in (one, two)]
    return f"average PSNR {means[0]:.3f} there, {means[1]:.3f} dB here, an image by up to {apart[psnr].max():.3g} dB"


def _scores(run: KeptRun) -> pd.Series[float]:
    scores = run.scores().set_index(["dataset", "image", "protocol", "metric"])["value"].astype(float)
    return scores[~scores.index.duplicated()]


def _of_two(known: KeptRun, run: KeptRun, words: str, chosen: KeptRun) -> Note:
    config = run.record.config
    name = f"{run.record.display.baseline or config.baseline}, {config.label}, seed {config.seed}"
    text = (
        f"Two different runs of one identity: {name} ({run.record.hash[:8]}) of {known.origin} and of {run.origin} "
        f"({words}); that of {chosen.origin} counts"
    )
    text += ", and gains at this seed are over it, also those of the other's strategies." if _is_reference(run) else "."
    return Note(Severity.WARNING, "archives-differ", text)


def _is_reference(run: KeptRun) -> bool:
    return run.record.config.strategy == "mix"


def machines(runs: Iterable[KeptRun]) -> list[str]:
    """What each archive's runs were computed with: their number, commits, devices, systems and versions of torch."""
    by_origin: dict[str, list[KeptRun]] = {}
    for run in runs:
        by_origin.setdefault(run.origin, []).append(run)
    lines: list[str] = []
    for origin, several in by_origin.items():
        environments = [run.environment for run in several]
        commits = dict.fromkeys((environment.commit or "unknown")[:12] for environment in environments)
        facts = [
            f"{len(several)} run{'s' * (len(several) != 1)}",
            f"commit {', '.join(commits)}",
            ", ".join(dict.fromkeys(environment.device or "unknown device" for environment in environments)),
            ", ".join(dict.fromkeys(environment.platform for environment in environments if environment.platform)),
        ]
        versions = dict.fromkeys(environment.versions.get("torch") for environment in environments)
        facts.append("torch " * any(versions) + ", ".join(filter(None, versions)))
        lines.append(f"{origin}: {'; '.join(filter(None, facts))}")
    return lines


def digests(runs: Iterable[KeptRun]) -> list[str]:
    """The digests of the images that runs were trained and tested on: ``p725a9487e0882645: Photos-s15, Photos-s25``."""
    names: dict[str, dict[str, None]] = {}
    for run in runs:
        for record in run.data:
            if record.role in TRAINED_AND_TESTED:
                names.setdefault(record.digest or "not recorded", {})[record.dataset] = None
    return [f"{digest}: {', '.join(sets)}" for digest, sets in names.items()]
