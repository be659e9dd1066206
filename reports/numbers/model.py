"""What reports are made of: cohorts of runs, and the table of gains with its cells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from reports.numbers.outcome import Outcome
from reports.numbers.statistics import NO_GAIN, NO_SPREAD, ImageGain, PairedGain, Spread, Target
from results import DataRecord
from results.records import MetricFacts, Note, Origin, Role, RunConfig

REFERENCE = "mix"
"""The strategy every gain is measured against."""

TUNED = "mix (tuned)"
"""What tuned strategies are measured against: mix, tuned alike."""

AVERAGE = "average"
"""Column name of the mean over the test sets."""

MANY = 4
"""Strategies of a baseline up to which a table keeps their own order."""

DRAWN, LEADING = 7, 4
"""Strategies of a baseline up to which picture files show them all (four a picture, mix in each), and how many they
show of more; the page ``report.html`` holds all."""


LeftOut = dict[tuple[str, str], dict[str, list[str]]]
"""Images without a finite score by ``(dataset, metric)`` and kind (:mod:`reports.numbers.equality`)."""


@dataclass
class Cohort:
    """Runs that one table may hold, with the columns of that table.

    Attributes:
        key: short for the cohort in names of files.
        setting, title: its name, and its name for people.
        protocol: how scores are computed.
        outcomes: the runs.
        columns: test sets with scores.
        unseen: test sets of the setting that no run was scored on.
        unstarted: runs of the grid that left no configuration yet, in words.
        unread: runs whose configuration is damaged, in words.
        left_out: images that are left out of every mean.
        planned: runs of the whole grid, where they are collected while some still go.
        remarks: notes on where its runs are from, of several archives.
    """

    key: str
    setting: str
    title: str
    protocol: str
    outcomes: list[Outcome]
    columns: list[DataRecord] = field(default_factory=list)
    unseen: list[DataRecord] = field(default_factory=list)
    unstarted: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=dict)
    planned: int = 0
    remarks: list[Note] = field(default_factory=list[Note])

    @property
    def tested(self) -> list[str]:
        """Test sets of the average, in order."""
        return [column.dataset for column in self.columns if column.role != Role.EXTRA]

    @cached_property
    def config(self) -> RunConfig:
        """Configuration of the newest run (setting, size, profile and data are the same for all)."""
        return max(self.outcomes, key=lambda outcome: outcome.ended).config

    @cached_property
    def metrics(self) -> list[str]:
        """PSNR, SSIM, then every further metric that was computed."""
        seen = {metric for outcome in self.counted() for _, metric in outcome.means}
        return [m for m in ("psnr", "ssim") if m in seen] + sorted(seen - {"psnr", "ssim"})

    def counted(self, baseline: str | None = None, strategy: str | None = None) -> list[Outcome]:
        """Outcomes that enter averages, optionally of one baseline and strategy, by seed."""
        return [outcome for outcome in self.select(baseline, strategy) if outcome.counts]

    def select(self, baseline: str | None = None, strategy: str | None = None) -> list[Outcome]:
        """Outcomes, optionally of one baseline and strategy, by seed."""
        return [
            outcome
            for outcome in self.outcomes
            if baseline in (None, outcome.baseline) and strategy in (None, outcome.strategy)
        ]

    def reference(self, baseline: str, strategy: str) -> list[Outcome]:
        """Runs of mix that those of a strategy are measured against: tuned ones against mix tuned alike."""
        tuned = strategy != TUNED and any(outcome.config.terms.tuned for outcome in self.select(baseline, strategy))
        return self.counted(baseline, TUNED if tuned else REFERENCE)

    def repeated(self, baseline: str, strategy: str) -> str:
        """The strategy whose trainings those of this one repeat: at a cost of 1 equal cost means equal steps. Empty
        where there is none."""
        runs = self.counted(baseline, strategy)
        if not all(run.config.terms.budget == "cost" and not run.config.terms.steps for run in runs):
            return ""
        label = {run.at_equal_steps for run in runs}
        seeds = {run.pair for other in label for run in self.counted(baseline, other)}
        return label.pop() if len(label) == 1 and seeds == {run.pair for run in runs} else ""

    def overrides(self, baseline: str) -> list[str]:
        """Departures from the recipe, of a baseline's runs."""
        return self.select(baseline)[0].record.overrides

    @property
    def baselines(self) -> list[str]:
        """Networks, in the order of the table; with each choice of what is swept."""
        return list(dict.fromkeys(outcome.baseline for outcome in self.outcomes))

    def strategies(self, baseline: str) -> list[str]:
        """Strategies of a baseline, in the order of the table."""
        return list(dict.fromkeys(outcome.strategy for outcome in self.select(baseline)))

    def display(self, baseline: str) -> str:
        """The baseline's name for people."""
        return self.select(baseline)[0].display

    @property
    def is_own(self) -> bool:
        """Whether the command that asks has runs in it."""
        return any(outcome.own for outcome in self.outcomes)


@dataclass(frozen=True)
class Figure:
    """A published figure; ``others``: what other sources print for the same network, strategy, test set and metric."""

    value: float
    protocol: str
    source: str
    confidence: str
    note: str
    others: tuple[Figure, ...] = ()

    @property
    def sets(self) -> set[str]:
        """The test sets of an average that is not over all of its setting (``average of A, B`` in its note)."""
        start, _, names = self.note.partition(";")[0].partition("average of ")
        return set(names.split(", ")) if names and not start else set()

    def averages(self, tested: list[str]) -> bool:
        """Whether a published average is over these test sets."""
        return not self.sets or self.sets == set(tested)


Figures = Mapping[tuple[str, str], Figure]
"""Published figures of one row, by ``(dataset, metric)``."""


@dataclass(frozen=True)
class Cell:
    """Scores of one baseline and strategy on one test set (or their average) with one metric.

    ``gain`` is over mix, paired over seeds (of mix itself there is none: ``n`` is 0); ``p_holm`` its p-value corrected
    for the comparisons read with it (all averages, or all single test sets, of a metric); ``images`` the image-level
    view, ``None`` for the average.
    """

    score: Spread = NO_SPREAD
    gain: PairedGain = NO_GAIN
    p_holm: float = math.nan
    verdict: str = ""
    images: ImageGain | None = None


@dataclass(frozen=True)
class Measures:
    """One number a row (:mod:`reports.numbers.summary`), from PSNR means over seeds; NaN or ``None`` where undefined.

    ``won``, ``lost`` and ``delta_m`` compare with mix over the same seeds, ``delta_single`` with single-task
    networks; ``mean_rank`` is among the strategies of the baseline; ``pace_spread``, ``weight_sum``,
    ``largest_share`` and ``clipped`` (share of the steps) are means over seeds, as are ``fair_shares``, each task's
    share of the weights in multiples of its fair one. ``step_cost`` and ``memory_cost`` are over mix's,
    ``planned_cost`` is the one that a budget by cost was planned with
    (:mod:`reports.numbers.costs`).
    """

    mean_rank: float = math.nan
    delta_m: float = math.nan
    delta_single: float = math.nan
    won: int | None = None
    lost: int | None = None
    pace_spread: float = math.nan
    weight_sum: float = math.nan
    largest_share: float = math.nan
    fair_shares: Mapping[str, float] = field(default_factory=dict)
    clipped: float = math.nan
    step_cost: float = math.nan
    planned_cost: float = math.nan
    memory_cost: float = math.nan


@dataclass(frozen=True)
class Row:
    """One baseline and strategy.

    Attributes:
        remark: which of its runs do not count.
        targets: where its validation reached mix's last level, by task and for the average, where there are curves.
        control: whether it is one of many fixed weightings, which have a table of their own.
        repeats: the strategy of another row with the same trainings, whose comparison counts once.
        network: the baseline's name for people, without departures that are swept.
        own: whether the command that asks has runs of it, where others have not.
    """

    baseline: str
    display: str
    strategy: str
    seeds: tuple[int, ...]
    runs: int
    remark: str
    cells: dict[tuple[str, str], Cell] = field(default_factory=dict)
    measures: Measures = Measures()
    targets: Mapping[str, Target] = field(default_factory=dict)
    published: Figures = field(default_factory=dict)
    control: bool = False
    repeats: str = ""
    network: str = ""
    own: bool = False

    @property
    def name(self) -> str:
        """Baseline and strategy for people."""
        return f"{self.display}, {self.strategy}"

    @property
    def is_reference(self) -> bool:
        """Whether gains are measured against this row."""
        return self.strategy == REFERENCE

    @property
    def average(self) -> Cell:
        """Its PSNR over the test sets; an empty cell where there is none."""
        return self.cells.get((AVERAGE, "psnr"), Cell())

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
        return max((cell.gain.n for cell in self.cells.values()), default=0)


@dataclass(frozen=True)
class GainTable:
    """Rows of a cohort, the degraded input's scores, and the notes below the table.

    Keys of metrics are their names, PSNR and SSIM first; of cells and inputs ``(dataset, metric)``, the average under
    :data:`AVERAGE`. ``images``: PSNR gains by the image's name, mean over pairs, for every ``(baseline, strategy,
    dataset)`` that has some.
    """

    cohort: Cohort
    metrics: dict[str, MetricFacts]
    rows: list[Row]
    inputs: dict[tuple[str, str], float]
    notes: list[Note]
    images: dict[tuple[str, str, str], pd.Series[float]] = field(default_factory=dict)

    @property
    def compared(self) -> list[Row]:
        """Rows that are compared with mix: all but the controls."""
        return [row for row in self.rows if not row.control]

    @property
    def datasets(self) -> list[str]:
        """Names of the columns: the test sets, their average, then the extra sets."""
        return [dataset for dataset, _ in headings(self.cohort.columns)]

    @property
    def large(self) -> bool:
        """Whether a baseline has so many strategies (over :data:`MANY`) that their order should be that of merit."""
        names = [row.baseline for row in self.compared]
        return max(map(names.count, names), default=0) > MANY

    @property
    def ranked(self) -> list[Row]:
        """Rows as they are printed: of a large table by falling average gain within a baseline, mix at its zero."""
        if not self.large or "psnr" not in self.cohort.metrics:
            return self.compared
        order = list(dict.fromkeys(row.baseline for row in self.rows))
        return sorted(self.compared, key=lambda row: (order.index(row.baseline), *_merit(row)))

    def drawn(self, baseline: str) -> list[str]:
        """Strategies of a baseline that get a picture: all, or mix, Art and the best of very many."""
        ranked = [row.strategy for row in self.ranked if row.baseline == baseline]
        if len(ranked) <= DRAWN and len(self.compared) <= 4 * DRAWN:
            return ranked
        first = [strategy for strategy in ranked if strategy in (REFERENCE, "art")]
        shown = [*first, *(strategy for strategy in ranked if strategy not in first)][:LEADING]
        return [strategy for strategy in ranked if strategy in shown]

    @property
    def comparisons(self) -> int:
        """Average gains that are judged together."""
        return len(judged(self.rows))

    @property
    def several_seeds(self) -> bool:
        """Whether a row has more than one seed."""
        return any(row.n > 1 for row in self.rows)

    def title(self, dataset: str) -> tuple[str, str]:
        """Name of a column and its mark: ``("Rain100L", "2 of 100")``. That all are embedded the header tells."""
        absent = sum(column.role != Role.EXTRA for column in self.cohort.unseen)
        if dataset == AVERAGE and absent:
            tested = len(self.cohort.tested)
            return AVERAGE, f"{tested} of {tested + absent} sets"
        return dataset, dict(headings(self.cohort.columns))[dataset]

    def heading(self, dataset: str) -> str:
        """Name of a column with its mark in brackets."""
        name, mark = self.title(dataset)
        return f"{name} ({mark})" if mark else name


def headings(columns: Sequence[DataRecord]) -> list[tuple[str, str]]:
    """Name and mark of a table's columns: test sets, average, further sets; that all are embedded stands above it."""
    embedded = all(column.mark == Origin.EMBEDDED for column in columns)
    tested = [column for column in columns if column.role != Role.EXTRA]
    further = [column for column in columns if column.role == Role.EXTRA]
    marked, extra = (
        [(column.dataset, "" if embedded else column.mark) for column in group] for group in (tested, further)
    )
    return marked + [(AVERAGE, "")] * bool(marked) + extra


def judged(rows: Sequence[Row]) -> list[Cell]:
    """Average gains that get a verdict, corrected together."""
    return [row.average for row in rows if row.average.gain.n > 1 and not row.control and not row.repeats]


def _merit(row: Row) -> tuple[bool, float]:
    """Sort key: falling average gain, then what has none."""
    gain = 0.0 if row.is_reference and row.n else row.average.gain.mean
    return math.isnan(gain), 0.0 if math.isnan(gain) else -gain
