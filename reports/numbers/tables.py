"""The gain table: every baseline and strategy of a cohort, score and gain over mix on every test set.

Here the numbers are made; :mod:`reports.formats.text`, :mod:`reports.formats.markdown` and
:mod:`reports.formats.latex` only lay them out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from reports.numbers import summary
from reports.numbers.cohorts import AVERAGE, COUNTED, REFERENCE, Cohort, Outcome
from reports.numbers.comparability import Figure, figures, obstacles
from reports.numbers.metrics import Metric, metrics, undirected
from reports.numbers.notes import below_input, judged, published_notes, run_notes, too_few_seeds
from reports.numbers.statistics import ImageGain, PairedGain, Spread, holm, image_gains, paired_gain, spread, verdict

if TYPE_CHECKING:
    import pandas as pd

MANY = 4
"""Strategies of a baseline up to which a table keeps their own order."""

DRAWN, LEADING = 7, 4
"""Strategies of a baseline up to which picture files show them all (four a picture, mix in each), and how many they
show of more; the page ``report.html`` holds all."""


@dataclass(frozen=True)
class Cell:
    """Scores of one baseline and strategy on one test set (or their average) with one metric.

    ``gain`` is over mix, paired over seeds (``None`` for mix itself); ``p_holm`` its p-value corrected for the
    comparisons read with it (all averages, or all single test sets, of a metric); ``images`` the image-level view,
    ``None`` for the average.
    """

    score: Spread
    gain: PairedGain | None = None
    p_holm: float = math.nan
    verdict: str = ""
    images: ImageGain | None = None


@dataclass(frozen=True)
class Measures:
    """One number a row (:mod:`reports.numbers.summary`), from PSNR means over seeds; NaN or ``None`` where undefined.

    ``won``, ``lost`` and ``delta_m`` compare with mix over the same seeds; ``mean_rank`` is among the strategies of the
    baseline; ``pace_spread`` and ``weight_sum`` are means over seeds.
    """

    mean_rank: float = math.nan
    delta_m: float = math.nan
    won: int | None = None
    lost: int | None = None
    pace_spread: float = math.nan
    weight_sum: float = math.nan


@dataclass(frozen=True)
class Row:
    """One baseline and strategy."""

    baseline: str
    display: str
    strategy: str
    seeds: tuple[int, ...]
    runs: int
    remark: str
    cells: dict[tuple[str, str], Cell] = field(default_factory=dict)
    measures: Measures = Measures()
    published: dict[tuple[str, str], Figure] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Seeds that count."""
        return len(self.seeds)

    @property
    def count(self) -> str:
        """``3``, or ``2 of 3`` where a run does not count."""
        return str(self.n) if self.n == self.runs else f"{self.n} of {self.runs}"

    @property
    def pairs(self) -> int:
        """Seeds that have a gain over mix."""
        return max((cell.gain.n for cell in self.cells.values() if cell.gain), default=0)


@dataclass(frozen=True)
class GainTable:
    """Rows of a cohort, the degraded input's scores, and what a reader must be told below the table.

    Keys of metrics are their names, PSNR and SSIM first; of cells and inputs ``(dataset, metric)``, the average under
    :data:`reports.numbers.cohorts.AVERAGE`. ``images``: PSNR gains by the image's name, mean over pairs, for every
    ``(baseline, strategy, dataset)`` that has some.
    """

    cohort: Cohort
    metrics: dict[str, Metric]
    rows: list[Row]
    inputs: dict[tuple[str, str], float]
    notes: list[str]
    images: dict[tuple[str, str, str], pd.Series] = field(default_factory=dict)

    @property
    def datasets(self) -> list[str]:
        """Column names: the test sets, their average, then the extra sets."""
        tested = self.cohort.tested
        extra = [column.dataset for column in self.cohort.columns if column.role == "extra"]
        return tested + [AVERAGE] * bool(tested) + extra

    @property
    def large(self) -> bool:
        """Whether a baseline has so many strategies (over :data:`MANY`) that their order should be that of merit."""
        names = [row.baseline for row in self.rows]
        return max(map(names.count, names), default=0) > MANY

    @property
    def ranked(self) -> list[Row]:
        """Rows as they are printed: of a large table by falling average gain within a baseline, mix at its zero."""
        if not self.large or "psnr" not in self.cohort.metrics:
            return self.rows
        order = list(dict.fromkeys(row.baseline for row in self.rows))
        return sorted(self.rows, key=lambda row: (order.index(row.baseline), *_merit(row)))

    def drawn(self, baseline: str) -> list[str]:
        """Strategies of a baseline that get a picture: all, or mix, Art and the best of very many."""
        ranked = [row.strategy for row in self.ranked if row.baseline == baseline]
        if len(ranked) <= DRAWN and len(self.rows) <= 4 * DRAWN:
            return ranked
        first = [strategy for strategy in ranked if strategy in (REFERENCE, "art")]
        kept = [*first, *(strategy for strategy in ranked if strategy not in first)][:LEADING]
        return [strategy for strategy in ranked if strategy in kept]

    @property
    def comparisons(self) -> int:
        """Average gains that are judged together."""
        return len(judged(self.rows))

    @property
    def several_seeds(self) -> bool:
        return any(row.n > 1 for row in self.rows)

    def title(self, dataset: str) -> tuple[str, str]:
        """Name of a column and its mark: ``("Rain100L", "2 of 100")``. That all are embedded the header tells."""
        if dataset == AVERAGE:
            missing = [column for column in self.cohort.unseen if column.role != "extra"]
            total = len(self.cohort.tested) + len(missing)
            return AVERAGE, f"{total - len(missing)} of {total} sets" if missing else ""
        if all(column.mark == "embedded" for column in self.cohort.columns):
            return dataset, ""
        return dataset, next(column.mark for column in self.cohort.columns if column.dataset == dataset)

    def heading(self, dataset: str) -> str:
        name, mark = self.title(dataset)
        return f"{name} ({mark})" if mark else name


def gain_table(cohort: Cohort, images: bool = True) -> GainTable:
    """Compute the table of a cohort; ``images=False`` leaves out the image-level view, its slow part."""
    rows = [
        _row(cohort, baseline, strategy) for baseline in cohort.baselines for strategy in cohort.strategies(baseline)
    ]
    differences = _differences(cohort, rows) if images else {}
    rows = _with_images(rows, differences)
    told = metrics(cohort)
    rows = _with_measures(cohort, _corrected(rows, told))
    known = figures(cohort.setting)
    beside = [_published(cohort, row, known) for row in rows]
    rows = [replace(row, published=shown) for row, (shown, _) in zip(rows, beside, strict=True)]
    inputs = {}
    for metric in cohort.metrics:
        for dataset in [*cohort.tested, AVERAGE]:
            inputs[dataset, metric] = _input(cohort, dataset, metric)
        for column in cohort.columns:
            inputs[column.dataset, metric] = _input(cohort, column.dataset, metric)
    notes = run_notes(cohort) + below_input(rows, inputs) + too_few_seeds(rows) + undirected(told)
    notes += published_notes(rows, [hidden for _, hidden in beside])
    shown = {(baseline, *key): gains for (baseline, *key, metric), gains in differences.items() if metric == "psnr"}
    return GainTable(cohort, told, rows, inputs, notes, shown)


def score(cohort: Cohort, outcome: Outcome, dataset: str, metric: str) -> float:
    """A run's score on a test set, or its average over the test sets."""
    if dataset == AVERAGE:
        return outcome.average(cohort.tested, metric)
    return outcome.mean(dataset, metric)


def seed_gains(cohort: Cohort, row: Row, dataset: str, metric: str = "psnr") -> list[float]:
    """The gain of each seed that has a pair with mix, by seed."""
    mixes = {outcome.pair: outcome for outcome in cohort.counted(row.baseline, REFERENCE)}
    return [
        score(cohort, outcome, dataset, metric) - score(cohort, mixes[outcome.pair], dataset, metric)
        for outcome in cohort.counted(row.baseline, row.strategy)
        if outcome.pair in mixes
    ]


def _merit(row: Row) -> tuple[bool, float]:
    """Sort key: falling average gain, then what has none."""
    cell = row.cells.get((AVERAGE, "psnr"))
    gain = cell.gain.mean if cell and cell.gain else 0.0 if row.strategy == REFERENCE and row.n else math.nan
    return math.isnan(gain), 0.0 if math.isnan(gain) else -gain


def _row(cohort: Cohort, baseline: str, strategy: str) -> Row:
    every = cohort.select(baseline, strategy)
    counted = cohort.counted(baseline, strategy)
    reference = cohort.counted(baseline, REFERENCE)
    datasets = [*cohort.tested, AVERAGE] + [c.dataset for c in cohort.columns if c.role == "extra"]
    cells = {}
    for metric in cohort.metrics:
        for dataset in datasets:
            here = _by_pair(cohort, counted, dataset, metric)
            cell = Cell(spread(here.values()))
            if strategy != REFERENCE:
                gain = paired_gain(here, _by_pair(cohort, reference, dataset, metric))
                cell = replace(cell, gain=gain)
            cells[dataset, metric] = cell
    states: dict[str, int] = {}
    for outcome in every:
        states[outcome.state] = states.get(outcome.state, 0) + 1
    told = [
        f"{state} {number} of {len(every)}" if len(every) > 1 else state
        for state, number in states.items()
        if state != COUNTED
    ]
    seeds = tuple(outcome.seed for outcome in counted)
    return Row(baseline, cohort.display(baseline), strategy, seeds, len(every), ", ".join(told), cells)


def _by_pair(cohort: Cohort, outcomes: list[Outcome], dataset: str, metric: str) -> dict[str, float]:
    values = {outcome.pair: score(cohort, outcome, dataset, metric) for outcome in outcomes}
    return {pair: value for pair, value in values.items() if not math.isnan(value)}


def _differences(cohort: Cohort, rows: list[Row]) -> dict[tuple[str, str, str, str], pd.Series]:
    """:func:`_image_differences` by ``(baseline, strategy, dataset, metric)``, where there are some."""
    found = {}
    for row in rows:
        if row.strategy != REFERENCE:
            counted = cohort.counted(row.baseline, row.strategy)
            reference = cohort.counted(row.baseline, REFERENCE)
            for dataset, metric in row.cells:
                gains = None if dataset == AVERAGE else _image_differences(counted, reference, dataset, metric)
                if gains is not None and len(gains):
                    found[row.baseline, row.strategy, dataset, metric] = gains
    return found


def _with_images(rows: list[Row], differences: dict[tuple[str, str, str, str], pd.Series]) -> list[Row]:
    views = dict(zip(differences, image_gains([gains.to_numpy() for gains in differences.values()]), strict=True))
    return [
        replace(row, cells={
            key: replace(cell, images=views.get((row.baseline, row.strategy, *key))) for key, cell in row.cells.items()
        })
        for row in rows
    ]  # fmt: skip


def _image_differences(counted: list[Outcome], reference: list[Outcome], dataset: str, metric: str) -> pd.Series | None:
    """Gain of every image by name, its mean over the pairs; images that a run of a pair lacks are left out."""
    import pandas as pd

    mixes = {outcome.pair: outcome for outcome in reference}
    found = []
    for outcome in counted:
        ours = outcome.images.get((dataset, metric))
        theirs = mixes[outcome.pair].images.get((dataset, metric)) if outcome.pair in mixes else None
        if ours is not None and theirs is not None:
            found.append((ours, theirs))
    if not found:
        return None
    names = found[0][0].names
    if all(images.names is names for pair in found for images in pair):  # the usual case: the same images, no aligning
        with np.errstate(invalid="ignore"):  # two perfect restorations: infinite PSNR, no difference to tell
            values = np.stack([ours.values - theirs.values for ours, theirs in found])
        there = ~np.isnan(values)
        means = np.where(there, values, 0).sum(axis=0) / np.maximum(1, there.sum(axis=0))
        known = there.any(axis=0)
        return pd.Series(means, names) if known.all() else pd.Series(means[known], names[known])
    series = [pd.Series(ours.values, ours.names) - pd.Series(theirs.values, theirs.names) for ours, theirs in found]
    return pd.concat(series, axis=1).mean(axis=1).dropna()


def _corrected(rows: list[Row], told: dict[str, Metric]) -> list[Row]:
    """Holm over the comparisons that are read together: all averages of a metric, and all its test sets."""
    families: dict[tuple[str, bool], list[tuple[int, tuple[str, str]]]] = {}
    for index, row in enumerate(rows):
        for key, cell in row.cells.items():
            if cell.gain is not None:
                families.setdefault((key[1], key[0] == AVERAGE), []).append((index, key))
    cells = [dict(row.cells) for row in rows]
    for members in families.values():
        adjusted = holm([cells[index][key].gain.p for index, key in members])
        for (index, key), p in zip(members, adjusted, strict=True):
            word = verdict(cells[index][key].gain, p, told[key[1]].lower_is_better)
            cells[index][key] = replace(cells[index][key], p_holm=p, verdict=word)
    return [replace(row, cells=new) for row, new in zip(rows, cells, strict=True)]


def _with_measures(cohort: Cohort, rows: list[Row]) -> list[Row]:
    done = []
    for row in rows:
        rhythms = [outcome.run.rhythm() for outcome in cohort.counted(row.baseline, row.strategy)]
        means = [
            spread(value for value in map(measure, rhythms) if not math.isnan(value)).mean
            for measure in (summary.pace_spread, summary.weight_sum)
        ]
        measures = Measures(pace_spread=means[0], weight_sum=means[1])
        if "psnr" in cohort.metrics and cohort.tested:
            measures = replace(measures, mean_rank=_ranks(cohort, rows, row.baseline).get(row.strategy, math.nan))
            measures = _against_reference(cohort, row, measures)
        done.append(replace(row, measures=measures))
    return done


def _ranks(cohort: Cohort, rows: list[Row], baseline: str) -> dict[str, float]:
    scores = {
        row.strategy: {dataset: row.cells[dataset, "psnr"].score.mean for dataset in cohort.tested}
        for row in rows
        if row.baseline == baseline
    }
    whole = {name: sets for name, sets in scores.items() if all(map(math.isfinite, sets.values()))}
    return summary.mean_rank(whole) if len(whole) > 1 else {}


def _against_reference(cohort: Cohort, row: Row, measures: Measures) -> Measures:
    gains = {dataset: row.cells[dataset, "psnr"].gain for dataset in cohort.tested}
    if any(gain is None or math.isnan(gain.mean) for gain in gains.values()):
        return measures
    pairs = {outcome.pair for outcome in cohort.counted(row.baseline, row.strategy)}
    mixes = [outcome for outcome in cohort.counted(row.baseline, REFERENCE) if outcome.pair in pairs]
    reference = {dataset: spread(o.mean(dataset, "psnr") for o in mixes).mean for dataset in cohort.tested}
    scores = {dataset: reference[dataset] + gain.mean for dataset, gain in gains.items()}
    won, lost = summary.won_and_lost(scores, reference)
    return replace(measures, won=won, lost=lost, delta_m=summary.delta_m(scores, reference))


def _input(cohort: Cohort, dataset: str, metric: str) -> float:
    """Score of the degraded input, from the first run that has it: it depends on no network."""
    for outcome in cohort.counted():
        if dataset == AVERAGE:
            value = outcome.average(cohort.tested, metric, "input_value")
        else:
            value = outcome.mean(dataset, metric, "input_value")
        if not math.isnan(value):
            return value
    return math.nan


def _published(cohort: Cohort, row: Row, known: dict) -> tuple[dict[tuple[str, str], Figure], list[str]]:
    """Published figures that compare with this row, and the reasons against those that do not."""
    shown, hidden = {}, []
    counted = cohort.counted(row.baseline, row.strategy)
    for dataset, metric in row.cells:
        figure = known.get((row.display.casefold(), row.strategy, dataset, metric))
        if figure is None or not counted:
            continue
        reasons = list(dict.fromkeys(r for o in counted for r in obstacles(cohort, o, dataset, figure)))
        if reasons:
            hidden += reasons
        else:
            shown[dataset, metric] = figure
    return shown, list(dict.fromkeys(hidden))
