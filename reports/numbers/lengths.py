"""The gain over mix against the length of the training: cohorts that differ in nothing but the number of steps, side by
side, with the trend of every strategy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from pydantic import JsonValue

from reports.numbers.cohorts import by_value, difference, strategy_order
from reports.numbers.model import AVERAGE, REFERENCE, Cohort, GainTable, Row
from reports.numbers.outcome import Outcome
from reports.numbers.statistics import GAIN, LEVEL, LOSS, PairedGain, holm, verdict
from reports.numbers.tables import gain_table, seed_gains
from reports.numbers.trend import Trend, trend
from reports.numbers.words import listed
from results.integrity import differing
from results.records import OBSERVING, Role, varied

FEWEST = 2
"""Lengths from which a strategy has a row."""

SHRINKS, GROWS, TURNS, NO_TREND, TOO_SHORT = "shrinks", "grows", "turns", "no trend seen", "no trend from two lengths"
LEVELS, STEEPENS, BENDS, NO_BEND = "levels off", "gets steeper", "bends", "no bend seen"

AVERAGED = "train.ema="
"""The departure that may differ between lengths: a weight average is scaled to them."""

Line = tuple[str, tuple[str, ...], str, int]
"""What the trainings of a row share: baseline, departures that are swept, strategy, and which definition of it."""


@dataclass(frozen=True)
class Point:
    """The average gain at one length: as in the gains table of its cohort, and of every seed.

    ``ema`` is the decay of the weight average.
    """

    steps: int
    cohort: str
    gain: PairedGain
    seeds: Mapping[int, float]
    ema: float = 0.0


@dataclass(frozen=True)
class Course:
    """One baseline and strategy over its lengths, rising; ``*_p`` are corrected over the rows that are read together.

    Attributes:
        baseline: name of the network, with departures that are swept where rows differ in them.
        display: the same for people.
        strategy: its name.
        points: two or more.
        trend: from three lengths on.
        slope_p, bend_p: of the slope and the bend.
        first_p, last_p: of the gains at the shortest and the longest training.
    """

    baseline: str
    display: str
    strategy: str
    points: Sequence[Point]
    trend: Trend | None = None
    slope_p: float = math.nan
    bend_p: float = math.nan
    first_p: float = math.nan
    last_p: float = math.nan

    @property
    def name(self) -> str:
        """Baseline and strategy for people."""
        return f"{self.display}, {self.strategy}"

    @property
    def last(self) -> Point:
        """The longest training."""
        return self.points[-1]

    @property
    def verdict(self) -> str:
        """Whether the gain at the longest training is apart from 0."""
        return verdict(self.last.gain, self.last_p)

    @property
    def ends(self) -> tuple[float, float]:
        """Gains of the line at the shortest and the longest training, dB; NaN without a trend."""
        if self.trend is None:
            return math.nan, math.nan
        return self.trend.at(self.points[0].steps), self.trend.at(self.last.steps)

    @property
    def what(self) -> str:
        """What it is that shrinks or grows: the verdict at that end where the line is farther from 0, or merely a
        difference where there is none."""
        first, last = self.ends
        point, p = (self.last, self.last_p) if abs(last) > abs(first) else (self.points[0], self.first_p)
        seen = verdict(point.gain, p)
        return seen if seen in (GAIN, LOSS) else "difference"

    @property
    def becomes(self) -> str:
        """What the gains come to in the longest training: a gain or a loss."""
        return GAIN if self.last.gain.mean > 0 else LOSS

    @property
    def word(self) -> str:
        """What the data say of the trend; that a loss turned into a gain, or a gain into a loss, only where both ends
        have that verdict."""
        if self.trend is None:
            return TOO_SHORT
        if not self.slope_p < 1 - LEVEL:
            return NO_TREND
        first, last = self.ends
        if {verdict(self.points[0].gain, self.first_p), self.verdict} == {GAIN, LOSS}:
            return TURNS
        return SHRINKS if abs(last) < abs(first) else GROWS

    @property
    def bend(self) -> str:
        """Whether the points bend away from a straight line; empty where nothing can be said."""
        if self.trend is None or math.isnan(self.bend_p):
            return ""
        if self.bend_p >= 1 - LEVEL:
            return NO_BEND
        if self.word == NO_TREND:
            return BENDS
        return STEEPENS if (self.trend.bend.value > 0) == (self.trend.slope.value > 0) else LEVELS


@dataclass(frozen=True)
class Lengths:
    """The rows that are read together, and what a reader must know of them."""

    rows: Sequence[Course] = ()
    notes: Sequence[str] = ()

    @property
    def steps(self) -> list[int]:
        """All lengths, rising."""
        return sorted({point.steps for row in self.rows for point in row.points})

    @property
    def baselines(self) -> list[str]:
        """Networks, in order."""
        return list(dict.fromkeys(row.baseline for row in self.rows))


@dataclass(frozen=True)
class _Found:
    """A row of a cohort's table, with one of its runs: all have this one's configuration but for the seed."""

    cohort: Cohort
    row: Row
    run: Outcome
    ema: float = field(init=False)
    steps: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ema", self.run.config.train.ema or 0.0)
        object.__setattr__(self, "steps", _steps(self.run))

    @property
    def share(self) -> float:
        """Of the training that the weight average is over."""
        return 1 / (1 - self.ema) / self.steps if self.ema else 0.0

    @property
    def recipe(self) -> dict[str, JsonValue]:
        """What must be equal at all lengths."""
        free = {"steps", "ema", *OBSERVING}
        return {key: value for key, value in self.run.config.recipe.items() if key not in free}


def families(cohorts: Iterable[Cohort]) -> dict[str, list[Cohort]]:
    """Cohorts that differ in nothing but the length of the trainings and have a strategy in common, by the key of the
    first of them, in whose report they stand side by side."""
    groups: dict[str, list[Cohort]] = {}
    for cohort in cohorts:
        if kin := cohort.outcomes[0].record.kin:
            groups.setdefault(kin, []).append(cohort)
    return {several[0].key: several for several in groups.values() if _several_lengths(several)}


def lengths(table: GainTable, family: Sequence[Cohort]) -> Lengths:
    """Every strategy that has a paired gain at :data:`FEWEST` lengths or more.

    Runs at equal cost, with tuned parameters, and those that went on from a finished run are no further lengths.

    Args:
        table: of the family's first cohort.
        family: of :func:`families`.
    """
    if "psnr" not in table.cohort.metrics or not table.cohort.tested:
        return Lengths()
    unlike = {cohort.key: _unlike(table.cohort, cohort) for cohort in family}
    notes = [f"Left out: the table {key}: {why}." for key, why in unlike.items() if why]
    tables = [table if cohort is table.cohort else _table(cohort) for cohort in family if not unlike[cohort.key]]
    found = _by_line(tables)
    chosen: dict[Line, list[_Found]] = {}
    for line, several in found.items():
        chosen[line], told = _comparable(several)
        notes += told
    kept = {line: several for line, several in chosen.items() if len(several) >= FEWEST}
    controls = [line for line, several in kept.items() if all(one.row.control for one in several)]
    kept = {line: several for line, several in kept.items() if line not in controls}
    if not kept:
        return Lengths()
    notes += [f"Fixed weightings that only make a front are left out: {len(controls)}."] * bool(controls)
    single = [several[0].row.name for several in chosen.values() if len(several) < FEWEST]
    notes += [f"At one length only, and not in this table: {listed(single)}."] * bool(single)
    return Lengths(_corrected(_courses(kept)), [*notes, *_averages(kept)])


def _several_lengths(cohorts: Sequence[Cohort]) -> bool:
    steps: dict[Line, set[int]] = {}
    for outcome in chain.from_iterable(cohort.counted() for cohort in cohorts):
        if line := _line(outcome):
            steps.setdefault(line, set()).add(_steps(outcome))
    return len(cohorts) > 1 and any(len(several) >= FEWEST for several in steps.values())


def _line(outcome: Outcome) -> Line | None:
    """``None`` for runs on other terms, and for mix."""
    config = outcome.config
    if config.words or outcome.strategy == REFERENCE:
        return None
    swept = tuple(text for text in varied(outcome.record.overrides) if not text.startswith(AVERAGED))
    return config.baseline, swept, outcome.name, config.definition


def _steps(outcome: Outcome) -> int:
    """Of mix's training."""
    return outcome.config.terms.steps or outcome.config.train.steps or 0


def _unlike(first: Cohort, other: Cohort) -> str:
    """Why the averages of two cohorts do not compare; empty where they do."""
    if first.protocol != other.protocol:
        return f"scored by the protocol {other.protocol}, not {first.protocol}"
    if first.tested != other.tested:
        return f"scored on {', '.join(other.tested) or 'no test set'}, not on {', '.join(first.tested)}"
    ours, theirs = (max(cohort.outcomes, key=lambda outcome: outcome.ended).data for cohort in (first, other))
    if sets := differing(ours, theirs, Role.TEST, Role.TRAIN):
        return f"other images of {', '.join(sets)}"
    return ""


def _table(cohort: Cohort) -> GainTable:
    """Its gains over seeds alone."""
    return gain_table(cohort, images=False, validated={baseline: () for baseline in cohort.baselines})


def _by_line(tables: Sequence[GainTable]) -> dict[Line, list[_Found]]:
    """Rows with a paired gain, those of the first table first."""
    found: dict[Line, list[_Found]] = {}
    for table in tables:
        for row in table.rows:
            if row.average.gain.n:
                run = table.cohort.counted(row.baseline, row.strategy)[0]
                if (line := _line(run)) and _steps(run):
                    found.setdefault(line, []).append(_Found(table.cohort, row, run))
    return found


def _comparable(several: Sequence[_Found]) -> tuple[list[_Found], list[str]]:
    """One row a length, rising, of the recipe of the newest; and what is said of the others.

    Where a length was trained with several weight averages, the one counts that is over the same share of the training
    as in the shortest trainings, as near as there is one.
    """
    newest = max(several, key=lambda one: one.run.ended)
    alike = [one for one in several if one.recipe == newest.recipe]
    notes = [
        f"Left out, as the recipe is another: {_named(one)} ({difference(one.recipe, newest.recipe)})."
        for one in several
        if one not in alike
    ]
    by_steps: dict[int, list[_Found]] = {}
    for one in sorted(alike, key=lambda one: one.steps):
        by_steps.setdefault(one.steps, []).append(one)
    shortest = next(iter(by_steps.values()))
    plain = min(shortest, key=lambda one: any(text.startswith(AVERAGED) for text in one.run.record.overrides))
    chosen = [min(same, key=lambda one: _apart(one.share, plain.share)) for same in by_steps.values()]
    notes += [
        f"Left out, as there is one whose weight average compares better or that is newer: {_named(one)}."
        for one in alike
        if one not in chosen
    ]
    return chosen, notes


def _apart(one: float, other: float) -> float:
    return abs(math.log(one / other)) if one and other else math.inf if one or other else 0.0


def _named(one: _Found) -> str:
    average = f", weight average {one.ema:g}" if one.ema else ""
    return f"{one.row.name} at {one.steps:,} steps{average} (table {one.cohort.key})"


def _courses(kept: Mapping[Line, Sequence[_Found]]) -> list[Course]:
    common = set.intersection(*(set(swept) for _, swept, _, _ in kept))
    order = sorted(kept, key=lambda line: (
        kept[line][0].run.network.casefold(), by_value(" ".join(line[1])), strategy_order(line[2]), line[3]
    ))  # fmt: skip
    found: list[Course] = []
    for line in order:
        swept = [text.removeprefix("train.") for text in line[1] if text not in common]
        points = [_point(one) for one in kept[line]]
        through = trend({point.steps: point.seeds for point in points})
        names = " ".join([line[0], *swept]), ", ".join([kept[line][0].run.network, *swept])
        found.append(Course(*names, kept[line][-1].row.strategy, points, through))
    return found


def _point(one: _Found) -> Point:
    mixes = {outcome.pair for outcome in one.cohort.reference(one.row.baseline, one.row.strategy)}
    seeds = [o.seed for o in one.cohort.counted(one.row.baseline, one.row.strategy) if o.pair in mixes]
    gains = zip(seeds, seed_gains(one.cohort, one.row, AVERAGE), strict=True)
    known = {seed: gain for seed, gain in gains if math.isfinite(gain)}
    return Point(one.steps, one.cohort.key, one.row.average.gain, known, one.ema)


def _corrected(rows: Sequence[Course]) -> list[Course]:
    """Holm over the rows: slopes, bends, and gains at either end, each read together."""
    slopes = holm([row.trend.slope.p if row.trend else math.nan for row in rows])
    bends = holm([row.trend.bend.p if row.trend else math.nan for row in rows])
    firsts, lasts = (holm([row.points[end].gain.p for row in rows]) for end in (0, -1))
    return [
        replace(row, slope_p=slope, bend_p=bend, first_p=first, last_p=last)
        for row, slope, bend, first, last in zip(rows, slopes, bends, firsts, lasts, strict=True)
    ]


def _averages(kept: Mapping[Line, Sequence[_Found]]) -> list[str]:
    """Decays of weight averages, where a network's lengths have several."""
    decays: dict[str, dict[int, float]] = {}
    for one in chain.from_iterable(kept.values()):
        decays.setdefault(one.run.network, {})[one.steps] = one.ema
    return [
        f"Decay of the weight average of {network}: "
        + ", ".join(f"{ema:g} ({steps:,} steps)" for steps, ema in sorted(several.items()))
        + "."
        for network, several in decays.items()
        if len(set(several.values())) > 1
    ]
