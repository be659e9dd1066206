"""The gain table: every baseline and strategy of a cohort, score and gain over mix on every test set.

Here the numbers are made; :mod:`reports.figures` and :mod:`reports.formats` only show them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.numbers import costs, summary
from reports.numbers.comparability import figures, obstacles
from reports.numbers.controls import control_notes, controls
from reports.numbers.curves import Curve, curves
from reports.numbers.metrics import metrics, undirected
from reports.numbers.model import AVERAGE, REFERENCE, Cell, Cohort, Figure, Figures, GainTable, Measures, Row, headings
from reports.numbers.notes import below_input, few_images, own_rows, published_notes, run_notes, starved, too_few_seeds
from reports.numbers.outcome import Outcome, Standing
from reports.numbers.power import seeds_note
from reports.numbers.statistics import holm, image_gains, paired_gain, spread, verdict
from reports.numbers.targets import targets
from results.records import SINGLE, MetricFacts, Role


def gain_table(
    cohort: Cohort, images: bool = True, validated: Mapping[str, Sequence[Curve]] | None = None
) -> GainTable:
    """Compute the table of a cohort.

    Args:
        cohort: the runs.
        images: with the image-level view, its slow part.
        validated: its curves by baseline, where they are computed already.
    """
    if validated is None:
        validated = {baseline: curves(cohort, baseline) for baseline in cohort.baselines}
    facts, known = metrics(cohort), figures(cohort.setting)
    apart = {baseline: controls(cohort, baseline) for baseline in cohort.baselines}
    rows = [
        replace(
            _row(cohort, baseline, strategy),
            control=strategy in apart[baseline],
            repeats=cohort.repeated(baseline, strategy),
        )
        for baseline in cohort.baselines
        for strategy in cohort.strategies(baseline)
    ]
    differences = _differences(cohort, rows) if images else {}
    rows = _with_targets(validated, _with_measures(cohort, _corrected(_with_images(rows, differences), facts)))
    compared = [_published(cohort, row, known.get((row.display.casefold(), row.strategy), {})) for row in rows]
    rows = [replace(row, published=shown) for row, (shown, _) in zip(rows, compared, strict=True)]
    inputs = {
        (dataset, metric): _input(cohort, dataset, metric)
        for metric in cohort.metrics
        for dataset, _ in headings(cohort.columns)
    }
    notes = run_notes(cohort) + few_images(cohort, rows) + control_notes(cohort) + below_input(rows, inputs)
    notes += starved(rows)
    notes += own_rows(rows) + too_few_seeds(rows) + undirected(facts) + seeds_note(rows)
    notes += published_notes(rows, [reason for _, reasons in compared for reason in reasons])
    psnr = {
        (baseline, strategy, dataset): gains
        for (baseline, strategy, dataset, metric), gains in differences.items()
        if metric == "psnr"
    }
    return GainTable(cohort, facts, rows, inputs, notes, psnr)


def score(cohort: Cohort, outcome: Outcome, dataset: str, metric: str, degraded: bool = False) -> float:
    """A run's score (or its degraded input's) on a test set, or its average over the test sets."""
    if dataset == AVERAGE:
        return outcome.average(cohort.tested, metric, degraded)
    return outcome.mean(dataset, metric, degraded)


def seed_gains(cohort: Cohort, row: Row, dataset: str, metric: str = "psnr") -> list[float]:
    """The gain of each seed that has a pair with mix, by seed."""
    mixes = {outcome.pair: outcome for outcome in cohort.reference(row.baseline, row.strategy)}
    return [
        score(cohort, outcome, dataset, metric) - score(cohort, mixes[outcome.pair], dataset, metric)
        for outcome in cohort.counted(row.baseline, row.strategy)
        if outcome.pair in mixes
    ]


def _row(cohort: Cohort, baseline: str, strategy: str) -> Row:
    every = cohort.select(baseline, strategy)
    counted, reference = cohort.counted(baseline, strategy), cohort.reference(baseline, strategy)
    datasets = [*cohort.tested, AVERAGE, *(c.dataset for c in cohort.columns if c.role == Role.EXTRA)]
    cells: dict[tuple[str, str], Cell] = {}
    for metric in cohort.metrics:
        for dataset in datasets:
            scores = _by_pair(cohort, counted, dataset, metric)
            cell = Cell(spread(scores.values()))
            if strategy != REFERENCE:
                cell = replace(cell, gain=paired_gain(scores, _by_pair(cohort, reference, dataset, metric)))
            cells[dataset, metric] = cell
    standings = [outcome.standing for outcome in every]
    remarks = [
        f"{standing} {standings.count(standing)} of {len(every)}" if len(every) > 1 else str(standing)
        for standing in dict.fromkeys(standings)
        if standing != Standing.COUNTED
    ]
    seeds = tuple(outcome.seed for outcome in counted)
    own = any(outcome.own for outcome in every) and not all(outcome.own for outcome in cohort.outcomes)
    network = every[0].network
    return Row(baseline, cohort.display(baseline), strategy, seeds, len(every), ", ".join(remarks), cells,
               network=network, own=own)  # fmt: skip


def _by_pair(cohort: Cohort, outcomes: Sequence[Outcome], dataset: str, metric: str) -> dict[str, float]:
    values = {outcome.pair: score(cohort, outcome, dataset, metric) for outcome in outcomes}
    return {pair: value for pair, value in values.items() if not math.isnan(value)}


def _differences(cohort: Cohort, rows: list[Row]) -> dict[tuple[str, str, str, str], pd.Series[float]]:
    """:func:`_image_differences` by ``(baseline, strategy, dataset, metric)``, where there are some."""
    found: dict[tuple[str, str, str, str], pd.Series[float]] = {}
    for row in rows:
        if not row.is_reference:
            counted = cohort.counted(row.baseline, row.strategy)
            reference = cohort.reference(row.baseline, row.strategy)
            for dataset, metric in row.cells:
                gains = None if dataset == AVERAGE else _image_differences(counted, reference, dataset, metric)
                if gains is not None and len(gains):
                    found[row.baseline, row.strategy, dataset, metric] = gains
    return found


def _with_images(rows: list[Row], differences: dict[tuple[str, str, str, str], pd.Series[float]]) -> list[Row]:
    views = dict(zip(differences, image_gains([gains.to_numpy() for gains in differences.values()]), strict=True))
    cells = [
        {key: replace(cell, images=views.get((row.baseline, row.strategy, *key))) for key, cell in row.cells.items()}
        for row in rows
    ]
    return [replace(row, cells=new) for row, new in zip(rows, cells, strict=True)]


def _image_differences(
    counted: list[Outcome], reference: list[Outcome], dataset: str, metric: str
) -> pd.Series[float] | None:
    """Gain of every image by name, its mean over the pairs; images that a run of a pair lacks are left out."""
    mixes = {outcome.pair: outcome for outcome in reference}
    pairs = [
        (outcome.images[dataset, metric], mixes[outcome.pair].images[dataset, metric])
        for outcome in counted
        if outcome.pair in mixes and all((dataset, metric) in run.images for run in (outcome, mixes[outcome.pair]))
    ]
    if not pairs:
        return None
    names = pairs[0][0].names
    if all(images.names is names for pair in pairs for images in pair):  # the usual case: the same images, no aligning
        with np.errstate(invalid="ignore"):  # two perfect restorations: infinite PSNR, no difference
            values = np.stack([strategy.values - mix.values for strategy, mix in pairs])
        finite = ~np.isnan(values)
        means = np.where(finite, values, 0).sum(axis=0) / np.maximum(1, finite.sum(axis=0))
        known: NDArray[np.bool_] = np.logical_or.reduce(finite)
        return pd.Series(means, names) if known.all() else pd.Series(means[known], names[known])
    series = [pd.Series(strategy.values, strategy.names) - pd.Series(mix.values, mix.names) for strategy, mix in pairs]
    return pd.concat(series, axis=1).mean(axis=1).dropna()


def _corrected(rows: list[Row], facts: dict[str, MetricFacts]) -> list[Row]:
    """Holm over the comparisons that are read together: all averages of a metric, and all its test sets. Controls are
    compared elsewhere; a row that repeats another one's trainings has that one's verdicts."""
    families: dict[tuple[str, bool], list[tuple[int, tuple[str, str]]]] = {}
    for index, row in enumerate(rows):
        for dataset, metric in () if row.is_reference or row.control or row.repeats else row.cells:
            families.setdefault((metric, dataset == AVERAGE), []).append((index, (dataset, metric)))
    cells = [dict(row.cells) for row in rows]
    for (metric, _), members in families.items():
        adjusted = holm([cells[index][key].gain.p for index, key in members])
        for (index, key), p in zip(members, adjusted, strict=True):
            word = verdict(cells[index][key].gain, p, facts[metric].lower_is_better)
            cells[index][key] = replace(cells[index][key], p_holm=p, verdict=word)
    judged = {(row.baseline, row.strategy): new for row, new in zip(rows, cells, strict=True)}
    for row, own in zip(rows, cells, strict=True):
        for key, cell in judged[row.baseline, row.repeats].items() if row.repeats else ():
            own[key] = replace(own[key], p_holm=cell.p_holm, verdict=cell.verdict)
    return [replace(row, cells=new) for row, new in zip(rows, cells, strict=True)]


def _with_measures(cohort: Cohort, rows: list[Row]) -> list[Row]:
    measured: list[Row] = []
    for row in rows:
        measures = costs.measured(cohort, row)
        if "psnr" in cohort.metrics and cohort.tested:
            rank = _ranks(cohort, rows, row.baseline).get(row.strategy, math.nan)
            measures = replace(measures, mean_rank=rank, delta_single=_over_single(cohort, row))
            measures = _against_reference(cohort, row, measures)
        measured.append(replace(row, measures=measures))
    return measured


def _with_targets(validated: Mapping[str, Sequence[Curve]], rows: list[Row]) -> list[Row]:
    found = {(baseline, curve.strategy): targets(curve) for baseline, several in validated.items() for curve in several}
    return [replace(row, targets=found.get((row.baseline, row.strategy), {})) for row in rows]


def _ranks(cohort: Cohort, rows: list[Row], baseline: str) -> dict[str, float]:
    scores = {
        row.strategy: {dataset: row.cells[dataset, "psnr"].score.mean for dataset in cohort.tested}
        for row in rows
        if row.baseline == baseline and not row.control
    }
    whole = {name: sets for name, sets in scores.items() if all(map(math.isfinite, sets.values()))}
    return summary.mean_rank(whole) if len(whole) > 1 else {}


def _against_reference(cohort: Cohort, row: Row, measures: Measures) -> Measures:
    gains = {dataset: row.cells[dataset, "psnr"].gain.mean for dataset in cohort.tested}
    if any(map(math.isnan, gains.values())):
        return measures
    pairs = {outcome.pair for outcome in cohort.counted(row.baseline, row.strategy)}
    mixes = [outcome for outcome in cohort.reference(row.baseline, row.strategy) if outcome.pair in pairs]
    reference = {dataset: spread(o.mean(dataset, "psnr") for o in mixes).mean for dataset in cohort.tested}
    scores = {dataset: reference[dataset] + gain for dataset, gain in gains.items()}
    won, lost = summary.won_and_lost(scores, reference)
    return replace(measures, won=won, lost=lost, delta_m=summary.delta_m(scores, reference))


def _over_single(cohort: Cohort, row: Row) -> float:
    """delta-m as the literature defines it, against single-task networks of the same seeds; NaN without them."""
    own = {outcome.pair: outcome for outcome in cohort.counted(row.baseline, row.strategy)}
    apart = {outcome.pair: outcome for outcome in cohort.counted(row.baseline, SINGLE)}
    both = [pair for pair in own if pair in apart]
    if not both or row.strategy == SINGLE:
        return math.nan
    scores, reference = (
        {dataset: spread(runs[pair].mean(dataset, "psnr") for pair in both).mean for dataset in cohort.tested}
        for runs in (own, apart)
    )
    return summary.delta_m(scores, reference)


def _input(cohort: Cohort, dataset: str, metric: str) -> float:
    """Score of the degraded input, from the first run that has it: it depends on no network."""
    for outcome in cohort.counted():
        value = score(cohort, outcome, dataset, metric, degraded=True)
        if not math.isnan(value):
            return value
    return math.nan


def _published(cohort: Cohort, row: Row, known: Figures) -> tuple[dict[tuple[str, str], Figure], list[str]]:
    """Published figures that compare with this row, and the reasons against those that do not."""
    shown: dict[tuple[str, str], Figure] = {}
    reasons: list[str] = []
    counted = cohort.counted(row.baseline, row.strategy)
    for dataset, metric in row.cells if counted else ():
        if figure := known.get((dataset, metric)):
            against = [reason for outcome in counted for reason in obstacles(cohort, outcome, dataset, figure)]
            reasons += against
            if not against:
                shown[dataset, metric] = figure
    return shown, reasons
