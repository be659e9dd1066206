"""What a reader must know beside a table: what was left out and why, warnings, leaks, what is not comparable."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from reports.numbers import header
from reports.numbers.comparability import disagreements, sources
from reports.numbers.equality import INFINITE
from reports.numbers.model import AVERAGE, REFERENCE, Cohort, Row, judged
from reports.numbers.outcome import LEAK_FREE, Outcome, Standing
from reports.numbers.statistics import LEVEL, NO_DIFFERENCE, needed
from reports.numbers.words import listed, number, plural
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
    notes += cohort.remarks + _started(cohort) + _leaks(cohort) + _not_finite(cohort) + _other_noise(cohort)
    if cohort.unseen:
        titles = ", ".join(f"{column.dataset} ({column.mark or 'not scored'})" for column in cohort.unseen)
        notes.append(_warning("not-scored", f"Test sets without scores: {titles}."))
    if cohort.unstarted:
        notes.append(_warning("not-started", f"Not started: {'; '.join(cohort.unstarted)}."))
    notes += [
        _warning("unread", f"Left out: {reason}; the command that made the run mends it.") for reason in cohort.unread
    ]
    return notes


def _started(cohort: Cohort) -> list[Note]:
    """That all trainings began elsewhere than with fresh weights; a cohort has no others beside them."""
    starts = dict.fromkeys(start for outcome in cohort.counted() if (start := header.start(outcome)))
    text = f"Not trained from fresh weights, and not compared with runs that were: {'; '.join(starts)}."
    return [_warning("start", text)] if starts else []


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


def few_images(cohort: Cohort, rows: Sequence[Row]) -> list[Note]:
    """Test sets of few images, with the averages of all rows without them."""
    counts: dict[str, int] = {}
    for outcome in cohort.counted():
        for name, images in outcome.datasets.items():
            counts[name] = max(images, counts.get(name, 0))
    few = {c.dataset: counts[c.dataset] for c in cohort.columns if counts.get(c.dataset, FEW) < FEW}
    if not few:
        return []
    named = ", ".join(f"{name} ({count})" for name, count in few.items())
    text = f"Fewer than {FEW} images: {named}. What is seen on so few may be otherwise on others."
    rest = [name for name in cohort.tested if name not in few]
    averages = _averages(cohort, rows, rest) if 0 < len(rest) < len(cohort.tested) else []
    if averages:
        text += f" PSNR in dB on average without them (gain over mix on the seeds both have): {'; '.join(averages)}."
    return [_warning("few-images", text)]


def _averages(cohort: Cohort, rows: Sequence[Row], datasets: Sequence[str]) -> list[str]:
    """``TransWeather: mix 24.10, art 24.31 (+0.21)``: means over these test sets, of a baseline each."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row.control or not row.n or "psnr" not in cohort.metrics:
            continue
        cells = [row.cells[dataset, "psnr"] for dataset in datasets]
        mean, gain = (fmean(values) for values in ([c.score.mean for c in cells], [c.gain.mean for c in cells]))
        change = "" if math.isnan(gain) else f" ({number(gain, 2, signed=True)})"
        found.setdefault(row.display, []).append(f"{row.strategy} {number(mean, 2)}{change}")
    return [f"{display}: {', '.join(parts)}" for display, parts in found.items()]


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
    """Rows that are on average below the degraded input, and test sets on which some are."""
    level = inputs.get((AVERAGE, "psnr"), math.nan)
    low = [row for row in rows if row.n and row.average.score.mean < level]
    below = [row.name for row in low if not row.control]
    for display in dict.fromkeys(row.display for row in low if row.control):
        fixed = [row for row in rows if row.control and row.display == display]
        below.append(f"{display}, {sum(row in low for row in fixed)} of {len(fixed)} fixed weightings")
    whole = f"On average below the degraded input, trained too little to judge by: {'; '.join(below)}."
    sets = _sets_below(rows, inputs)
    single = f"Below the degraded input on a test set: {'; '.join(sets)}."
    return [_warning("below-input", text) for text, found in ((whole, below), (single, sets)) if found]


def _sets_below(rows: Sequence[Row], inputs: Mapping[tuple[str, str], float]) -> list[str]:
    """``Rain100L (input 26.90 dB): TransWeather, mix (24.10)``, by test set with its networks."""
    found: list[str] = []
    for (dataset, metric), level in inputs.items():
        low = [row for row in rows if row.n and row.cells[dataset, metric].score.mean < level]
        if metric != "psnr" or dataset == AVERAGE or not low:
            continue
        parts: list[str] = []
        for display in dict.fromkeys(row.display for row in low):
            names = [row.strategy for row in low if row.display == display]
            several = sum(row.display == display and row.n > 0 for row in rows)
            means = [row.cells[dataset, metric].score.mean for row in low if row.display == display]
            ends = " to ".join(dict.fromkeys(number(end(means), 2) for end in (min, max)))
            who = f"all {several} strategies" if len(names) == several > 1 else listed(names)
            parts.append(f"{display}, {who} ({ends})")
        found.append(f"{dataset} (input {number(level, 2)} dB): {' / '.join(parts)}")
    return found


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


def own_rows(rows: Sequence[Row]) -> list[Note]:
    """Which rows the command that asks has runs of, where the table holds others too."""
    own: dict[str, list[str]] = {}
    for row in rows:
        if row.own:
            own.setdefault(row.display, []).append(row.strategy)
    named = "; ".join(f"{display}: {', '.join(names)}" for display, names in own.items())
    text = f"Rows of the command that made this report: {named}. The others are of earlier ones."
    return [Note(Severity.NOTE, "own", text)] if own else []


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
