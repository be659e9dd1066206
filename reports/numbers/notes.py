"""What a reader must be told beside a table: what was left out and why, warnings, leaks, what is not comparable."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from reports.numbers.cohorts import (
    AVERAGE,
    COLLAPSED,
    COUNTED,
    LEAK_FREE,
    REFERENCE,
    SUPERSEDED,
    UNFINISHED,
    Cohort,
    Outcome,
)
from reports.numbers.comparability import disagreements, sources
from reports.numbers.equality import INFINITE, named
from reports.numbers.statistics import LEVEL, NO_DIFFERENCE, needed

FEW = 10
"""Images below which a test set gets a note."""

if TYPE_CHECKING:
    from reports.numbers.tables import Cell, Row


def run_notes(cohort: Cohort) -> list[str]:
    """What does not count and why, and warnings of what does; seeds of which the same is told share a note."""
    told: dict[tuple[str, str, str], list[int]] = {}
    for outcome in cohort.outcomes:
        for before, after in _of_run(cohort, outcome):
            told.setdefault((before, f"{outcome.display}, {outcome.strategy}", after), []).append(outcome.seed)
    notes = _progress(cohort) if cohort.planned else []
    notes += [
        f"{before}{who}, seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}{after}"
        for (before, who, after), seeds in told.items()
    ]
    if not any(outcome.strategy == REFERENCE for outcome in cohort.counted()):
        notes.append("No gains: no finished run of mix to measure them against.")
    notes += _leaks(cohort) + _few(cohort) + _odd(cohort)
    if cohort.unseen:
        titles = ", ".join(f"{column.dataset} ({column.mark or 'not scored'})" for column in cohort.unseen)
        notes.append(f"Test sets without scores: {titles}.")
    if cohort.unstarted:
        notes.append(f"Not started: {'; '.join(cohort.unstarted)}.")
    notes += [f"Left out: {told}; the command that made the run mends it." for told in cohort.unread]
    return notes


def _leaks(cohort: Cohort) -> list[str]:
    """A sentence for all test sets with the same images in the training data, such as one set's noise levels."""
    columns: dict[frozenset[str], list[str]] = {}
    for column in cohort.columns:
        if column.dataset.endswith(LEAK_FREE):
            name = column.dataset.removesuffix(LEAK_FREE)
            images = frozenset(image for outcome in cohort.outcomes for image in outcome.leaked.get(name, ()))
            columns.setdefault(images, []).append(name)
    return [
        f"Leak: the clean versions of {len(images)} images of {', '.join(names)} are in the training data; the "
        f"column{'s' * (len(names) > 1)} {', '.join(name + LEAK_FREE for name in names)} "
        f"leave{'s' * (len(names) == 1)} them out. Published figures of networks trained on the same sets contain the "
        "same leak."
        for images, names in columns.items()
    ] + _whole_leaks(cohort)


def _whole_leaks(cohort: Cohort) -> list[str]:
    """A sentence for the test sets of which nothing is left without the leaked images."""
    free = {column.dataset.removesuffix(LEAK_FREE) for column in cohort.columns if column.dataset.endswith(LEAK_FREE)}
    leaked = {name for outcome in cohort.counted() for name in outcome.leaked}
    names = [column.dataset for column in cohort.columns if column.dataset in leaked - free]
    if not names:
        return []
    return [
        f"Leak: the clean versions of all images of {', '.join(names)} are in the training data: these scores tell how "
        "well images seen in training are restored, not how well new ones are, and no column can leave them out."
    ]


def _few(cohort: Cohort) -> list[str]:
    counts: dict[str, int] = {}
    for outcome in cohort.counted():
        for name, images in outcome.datasets.items():
            counts[name] = max(images, counts.get(name, 0))
    few = [f"{column.dataset} ({counts[column.dataset]})" for column in cohort.columns
           if counts.get(column.dataset, FEW) < FEW]  # fmt: skip
    if not few:
        return []
    return [f"Fewer than {FEW} images: {', '.join(few)}. What is seen on so few may be otherwise on others."]


def _odd(cohort: Cohort) -> list[str]:
    """Images without a finite score, that :func:`reports.numbers.equality.compare` left out of every mean."""
    notes = []
    for (dataset, metric), kinds in cohort.odd.items():
        if dataset.endswith(LEAK_FREE):
            continue
        for kind, images in kinds.items():
            why = "restored without any error" if kind == INFINITE and metric == "psnr" else "not a finite number"
            told = f"Infinite {metric}" if kind == INFINITE else f"Missing {metric}"
            notes.append(
                f"{told} ({why}) in at least one run: {dataset}: {named(images)}; left out of the means of all runs."
            )
    return notes


def _progress(cohort: Cohort) -> list[str]:
    states = [outcome.state for outcome in cohort.outcomes if outcome.state != SUPERSEDED]
    finished = sum(state != UNFINISHED for state in states)
    going, absent = len(states) - finished, cohort.planned - len(states)
    told = f"{finished} of {cohort.planned} runs are finished, {going} started and not finished, {absent} not started"
    return [f"Progress: {told}."] if finished < cohort.planned else []


def _of_run(cohort: Cohort, outcome: Outcome) -> list[tuple[str, str]]:
    """Sentences about one run: what stands before its name and after it."""
    reason = outcome.reason.rstrip(".")
    if outcome.state != COUNTED:
        level = outcome.average(cohort.tested, "psnr") if outcome.state == COLLAPSED else math.nan
        average = "" if math.isnan(level) else f" (its average: {level:.2f} dB)"
        return [("Left out: ", f": {outcome.state}: {reason}{average}.")]
    notes = [("Warning of ", f", counted: {reason}.")] if reason else []
    apart: dict[str, list[str]] = {}  # sets whose images differ in the same way, by how
    for dataset, why in outcome.apart.items():
        apart.setdefault(why, []).append(dataset)
    notes += [
        ("Not compared: ", f", on {', '.join(datasets)}: other images than in the newest run ({why}); the command that "
         "made the run scores it again.")
        for why, datasets in apart.items()
    ]  # fmt: skip
    absent = [c.dataset for c in cohort.columns if (c.dataset, "psnr") not in outcome.means]
    if absent := [dataset for dataset in absent if dataset not in outcome.apart]:
        notes.append(("No average of ", f": not scored on {', '.join(absent)}."))
    return notes


def below_input(rows: Sequence[Row], inputs: Mapping[tuple[str, str], float]) -> list[str]:
    """Rows that are on average below the degraded input, and test sets on which mix is."""
    key = (AVERAGE, "psnr")
    below = [f"{row.display}, {row.strategy}" for row in rows if row.n and row.cells[key].score.mean < inputs[key]]
    notes = [f"On average below the degraded input, trained too little to judge by: {'; '.join(below)}."] * bool(below)
    sets = [
        f"{row.display} on {dataset} ({cell.score.mean:.2f} dB, input {inputs[dataset, metric]:.2f})"
        for row in rows if row.n and row.strategy == REFERENCE
        for (dataset, metric), cell in row.cells.items()
        if metric == "psnr" and dataset != AVERAGE and cell.score.mean < inputs[dataset, metric]
    ]  # fmt: skip
    return notes + [f"Mix is below the degraded input: {'; '.join(sets)}."] * bool(sets)


def judged(rows: Sequence[Row]) -> list[Cell]:
    """Average gains that get a verdict, corrected together."""
    cells = [row.cells.get((AVERAGE, "psnr")) for row in rows]
    return [cell for cell in cells if cell is not None and cell.gain is not None and cell.gain.n > 1]


def too_few_seeds(rows: Sequence[Row]) -> list[str]:
    """What more seeds would do for gains whose interval leaves out 0 and which correction leaves without a verdict."""
    family = judged(rows)
    unsettled = [cell for cell in family if cell.verdict == NO_DIFFERENCE and cell.gain.p < 1 - LEVEL]
    if not unsettled:
        return []
    seeds = min(cell.gain.n for cell in unsettled)
    bounds = [f"{needed(n, len(family)):.1f} at {n} seeds" for n in (seeds, seeds + 2, seeds + 7)]
    names = [f"{row.display}, {row.strategy}" for row in rows if row.cells.get((AVERAGE, "psnr")) in unsettled]
    return [
        f"Not settled, add seeds: {'; '.join(names)}: the interval leaves out 0, yet corrected for {len(family)} "
        f"comparisons there is no verdict. That needs a gain of so many standard deviations: {', '.join(bounds)}."
    ]


def published_notes(rows: Sequence[Row], hidden: Sequence[Sequence[str]]) -> list[str]:
    notes = []
    for row in rows:
        told = sources(row.published) + disagreements(row.published)
        notes += [f"Published {row.display}, {row.strategy}: {text}." for text in told]
    reasons = list(dict.fromkeys(reason for several in hidden for reason in several))
    if reasons:
        kept = "Some published" if any(row.published for row in rows) else "Published"
        notes.append(f"{kept} figures are not shown beside these: not comparable ({'; '.join(reasons)}).")
    elif not any(row.published for row in rows):
        notes.append("No published figures are known for these baselines and strategies in this setting.")
    return notes
