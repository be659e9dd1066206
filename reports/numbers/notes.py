"""What a reader must know beside a table: what was left out and why, warnings, leaks, what is not comparable."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from reports.numbers.comparability import disagreements, sources
from reports.numbers.equality import INFINITE
from reports.numbers.model import AVERAGE, REFERENCE, Cohort, Row, judged
from reports.numbers.outcome import LEAK_FREE, Outcome, Standing
from reports.numbers.statistics import LEVEL, NO_DIFFERENCE, needed
from reports.numbers.words import listed, plural
from results.records import Note, Severity

STARVED = 0.1
"""Part of its fair share of the weights below which a task is called starved."""

FEW = 10
"""Images below which a test set gets a note."""


def run_notes(cohort: Cohort) -> list[Note]:
    """What does not count and why, and warnings of what does; seeds with the same words share a note."""
    seeds: dict[tuple[str, str, str, str], list[int]] = {}
    for outcome in cohort.outcomes:
        for code, before, after in _of_run(cohort, outcome):
            name = f"{outcome.display}, {outcome.strategy}"
            seeds.setdefault((code, before, name, after), []).append(outcome.seed)
    notes = _progress(cohort) if cohort.planned else []
    notes += [
        _warning(code, f"{before} {name}, {plural(len(several), 'seed')} {', '.join(map(str, several))}{after}")
        for (code, before, name, after), several in seeds.items()
    ]
    if not any(outcome.strategy == REFERENCE for outcome in cohort.counted()):
        notes.append(_warning("no-reference", "No gains: no finished run of mix to measure them against."))
    notes += cohort.remarks + _leaks(cohort) + _few(cohort) + _not_finite(cohort) + _other_noise(cohort)
    if cohort.unseen:
        titles = ", ".join(f"{column.dataset} ({column.mark or 'not scored'})" for column in cohort.unseen)
        notes.append(_warning("not-scored", f"Test sets without scores: {titles}."))
    if cohort.unstarted:
        notes.append(_warning("not-started", f"Not started: {'; '.join(cohort.unstarted)}."))
    notes += [
        _warning("unread", f"Left out: {reason}; the command that made the run mends it.") for reason in cohort.unread
    ]
    return notes


def _warning(code: str, text: str) -> Note:
    return Note(Severity.WARNING, code, text)


def _leaks(cohort: Cohort) -> list[Note]:
    """A note for all test sets with the same images in the training data, such as one set's noise levels, and one for
    those of which nothing is left without the leaked images."""
    leaked: dict[str, set[str]] = {}
    for outcome in cohort.outcomes:
        for name, images in outcome.leaked.items():
            leaked.setdefault(name, set()).update(images)
    free = [c.dataset.removesuffix(LEAK_FREE) for c in cohort.columns if c.dataset.endswith(LEAK_FREE)]
    columns: dict[frozenset[str], list[str]] = {}
    for name in free:
        columns.setdefault(frozenset(leaked.get(name, ())), []).append(name)
    notes = [
        f"Leak: the clean versions of {len(images)} images of {', '.join(names)} are in the training data; the "
        f"{plural(len(names), 'column')} {', '.join(name + LEAK_FREE for name in names)} "
        f"{'leaves' if len(names) == 1 else 'leave'} them out. Published figures of networks trained on the same sets "
        "contain the same leak."
        for images, names in columns.items()
    ]
    counted = {name for outcome in cohort.counted() for name in outcome.leaked}
    whole = [column.dataset for column in cohort.columns if column.dataset in counted.difference(free)]
    if whole:
        notes.append(
            f"Leak: the clean versions of all images of {', '.join(whole)} are in the training data: these scores tell "
            "how well images seen in training are restored, not how well new ones are, and no column can leave them "
            "out."
        )
    return [_warning("leak", text) for text in notes]


def _few(cohort: Cohort) -> list[Note]:
    counts: dict[str, int] = {}
    for outcome in cohort.counted():
        for name, images in outcome.datasets.items():
            counts[name] = max(images, counts.get(name, 0))
    few = [f"{c.dataset} ({counts[c.dataset]})" for c in cohort.columns if counts.get(c.dataset, FEW) < FEW]
    text = f"Fewer than {FEW} images: {', '.join(few)}. What is seen on so few may be otherwise on others."
    return [_warning("few-images", text)] if few else []


def _not_finite(cohort: Cohort) -> list[Note]:
    """Images without a finite score, that :func:`reports.numbers.equality.compare` left out of every mean."""
    notes: list[Note] = []
    for (dataset, metric), kinds in cohort.left_out.items():
        if dataset.endswith(LEAK_FREE):
            continue
        for kind, images in kinds.items():
            why = "restored without any error" if kind == INFINITE and metric == "psnr" else "not a finite number"
            what = f"{kind.capitalize()} {metric} ({why}) in at least one run: {dataset}: {listed(images)}"
            notes.append(_warning("not-finite", f"{what}; left out of the means of all runs."))
    return notes


def _other_noise(cohort: Cohort) -> list[Note]:
    """Runs of one pair whose degradations were drawn on different devices; runs of older versions all drew on a CPU."""
    names: list[str] = []
    for outcome in cohort.counted():
        mixes = [mix for mix in cohort.reference(outcome.baseline, outcome.strategy) if mix.pair == outcome.pair]
        if any((mix.environment.noise or "cpu") != (outcome.environment.noise or "cpu") for mix in mixes):
            names.append(f"{outcome.display}, {outcome.strategy}, seed {outcome.seed}")
    text = (
        f"Trained with other noise than mix, one on a GPU and one on a CPU: {listed(names)}. Such a gain is not of the "
        "strategy alone."
    )
    return [_warning("other-noise", text)] if names else []


def _progress(cohort: Cohort) -> list[Note]:
    standings = [outcome.standing for outcome in cohort.outcomes if outcome.standing != Standing.SUPERSEDED]
    going = standings.count(Standing.UNFINISHED)
    finished, absent = len(standings) - going, cohort.planned - len(standings)
    counts = f"{finished} of {cohort.planned} runs are finished, {going} started and not finished, {absent} not started"
    return [_warning("progress", f"Progress: {counts}.")] if finished < cohort.planned else []


def _of_run(cohort: Cohort, outcome: Outcome) -> list[tuple[str, str, str]]:
    """Notes on one run: code, what stands before its name, and after it."""
    reason = outcome.reason.rstrip(".")
    if not outcome.counts:
        collapsed = outcome.standing == Standing.COLLAPSED
        level = outcome.average(cohort.tested, "psnr") if collapsed else math.nan
        average = "" if math.isnan(level) else f" (its average: {level:.2f} dB)"
        return [("left-out", "Left out:", f": {outcome.standing}: {reason}{average}.")]
    notes = [("warning", "Warning of", f", counted: {reason}.")] if reason else []
    apart: dict[str, list[str]] = {}  # sets whose images differ in the same way, by how
    for dataset, why in outcome.apart.items():
        apart.setdefault(why, []).append(dataset)
    for why, datasets in apart.items():
        what = f", on {', '.join(datasets)}: other images than in the newest run ({why})"
        notes.append(("not-compared", "Not compared:", f"{what}; the command that made the run scores it again."))
    absent = [column.dataset for column in cohort.columns if (column.dataset, "psnr") not in outcome.means]
    if absent := [dataset for dataset in absent if dataset not in outcome.apart]:
        notes.append(("no-average", "No average of", f": not scored on {', '.join(absent)}."))
    return notes


def below_input(rows: Sequence[Row], inputs: Mapping[tuple[str, str], float]) -> list[Note]:
    """Rows that are on average below the degraded input, and test sets on which mix is."""
    level = inputs.get((AVERAGE, "psnr"), math.nan)
    low = [row for row in rows if row.n and row.average.score.mean < level]
    below = [row.name for row in low if not row.control]
    for display in dict.fromkeys(row.display for row in low if row.control):
        fixed = [row for row in rows if row.control and row.display == display]
        below.append(f"{display}, {sum(row in low for row in fixed)} of {len(fixed)} fixed weightings")
    sets = [
        f"{row.display} on {dataset} ({cell.score.mean:.2f} dB, input {inputs[dataset, metric]:.2f})"
        for row in rows
        if row.n and row.is_reference
        for (dataset, metric), cell in row.cells.items()
        if metric == "psnr" and dataset != AVERAGE and cell.score.mean < inputs[dataset, metric]
    ]
    whole = f"On average below the degraded input, trained too little to judge by: {'; '.join(below)}."
    notes = [_warning("below-input", whole)] if below else []
    return notes + ([_warning("below-input", f"Mix is below the degraded input: {'; '.join(sets)}.")] if sets else [])


def starved(rows: Sequence[Row]) -> list[Note]:
    """Tasks that a strategy hardly trains: their share of the weights stays, over all steps and counted runs, below
    :data:`STARVED` of the fair one. Strategies without weights are not looked at."""
    found = [
        f"{row.name}: {', '.join(f'{task} {share:.1%}' for task, share in hungry.items())}"
        for row in rows
        if (hungry := {task: share for task, share in row.measures.fair_shares.items() if share < STARVED})
    ]
    text = (
        f"Starved tasks (below {STARVED:.0%} of their fair share of the weights, one over the tasks of a step; mean "
        f"over steps and runs): {'; '.join(found)} of the fair share."
    )
    return [_warning("starved", text)] if found else []


def too_few_seeds(rows: Sequence[Row]) -> list[Note]:
    """What more seeds would do for gains whose interval leaves out 0 and which correction leaves without a verdict."""
    unsettled = [row for row in rows if row.average.verdict == NO_DIFFERENCE and row.average.gain.p < 1 - LEVEL]
    if not unsettled:
        return []
    family = len(judged(rows))
    seeds = min(row.average.gain.n for row in unsettled)
    bounds = [f"{needed(n, family):.1f} at {n} seeds" for n in (seeds, seeds + 2, seeds + 7)]
    text = (
        f"Not settled, add seeds: {'; '.join(row.name for row in unsettled)}: the interval leaves out 0, yet corrected "
        f"for {family} comparisons there is no verdict. That needs a gain of so many standard deviations: "
        f"{', '.join(bounds)}."
    )
    return [_warning("too-few-seeds", text)]


def published_notes(rows: Sequence[Row], hidden: Iterable[str]) -> list[Note]:
    """Where the published figures beside the rows come from, and why others are ``hidden``."""
    texts = [
        f"Published {row.name}: {text}."
        for row in rows
        for text in sources(row.published) + disagreements(row.published)
    ]
    reasons, shown = "; ".join(dict.fromkeys(hidden)), any(row.published for row in rows)
    if reasons:
        which = "Some published" if shown else "Published"
        texts.append(f"{which} figures are not shown beside these: not comparable ({reasons}).")
    elif not shown:
        texts.append("No published figures are known for these baselines and strategies in this setting.")
    return [Note(Severity.NOTE, "published", text) for text in texts]
