"""The gain against the length of the training: columns, sentences and legend for every format, the table as text and as
CSV."""

from __future__ import annotations

import math

import pandas as pd

from reports.formats.columns import Column, csv_fields, meanings, shown
from reports.formats.layout import blocks, wrapped
from reports.numbers.lengths import BENDS, GROWS, LEVELS, NO_TREND, SHRINKS, STEEPENS, TURNS, Course, Lengths
from reports.numbers.model import Cohort
from reports.numbers.statistics import GAIN, LEVEL, LOSS
from reports.numbers.trend import COMPLETE, NONE, Estimate, Trend, as_steps
from reports.numbers.words import EMPTY, interval, number, plural, with_spread

TITLE = "Gain against length"
OUT_OF_REACH = "not within reach"

READABLE = 1e7
"""Steps up to which a number is written out."""


def _of(trend: Trend | None, name: str) -> Estimate:
    return getattr(trend, name) if trend else NONE


def _with_interval(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return EMPTY
    ends = interval(estimate.low, estimate.high)
    return number(estimate.value, 2, signed=True) + f" ({ends})" * bool(ends)


def count(exponent: float) -> str:
    """Steps of two significant digits, from their logarithm: ``42,000``, ``3.1e+09``."""
    steps = as_steps(exponent)
    if not 1 <= steps < READABLE:
        return "below 1" if steps < 1 else f"{steps:.1e}"
    return f"{round(steps, 1 - math.floor(exponent)):,.0f}"


def zero(course: Course) -> str:
    """Where the line meets 0, with its interval."""
    if course.trend is None:
        return EMPTY
    found = course.trend.zero
    if math.isnan(found.low):
        return OUT_OF_REACH
    return f"{count(found.value)} ({count(found.low)} to {count(found.high)})"


TRENDS: list[Column[Course]] = [
    Column(
        "a tenfold length",
        lambda row: _with_interval(_of(row.trend, "slope")),
        lambda row: _of(row.trend, "slope").value,
        {
            "slope": lambda row: _of(row.trend, "slope").value,
            "slope_low": lambda row: _of(row.trend, "slope").low,
            "slope_high": lambda row: _of(row.trend, "slope").high,
            "slope_p_holm": lambda row: row.slope_p,
            "lines": lambda row: _basis(row.trend) if row.trend else "",
        },
        "slope of a straight line over log10(steps), dB, with its interval",
    ),
    Column("trend", lambda row: row.word, fields={"trend": lambda row: row.word}),
    Column(
        "meets 0 at",
        zero,
        lambda row: _of(row.trend, "zero").value,
        {
            "zero_steps": lambda row: as_steps(_of(row.trend, "zero").value),
            "zero_low": lambda row: as_steps(_of(row.trend, "zero").low),
            "zero_high": lambda row: as_steps(_of(row.trend, "zero").high),
        },
        f"steps at which that line is 0, with Fieller's interval; {OUT_OF_REACH} where the slope's interval holds 0",
    ),
    Column(
        "bend",
        lambda row: row.bend or EMPTY,
        fields={
            "bend": lambda row: _of(row.trend, "bend").value,
            "bend_low": lambda row: _of(row.trend, "bend").low,
            "bend_high": lambda row: _of(row.trend, "bend").high,
            "bend_p_holm": lambda row: row.bend_p,
            "shape": lambda row: row.bend,
        },
        about="whether the square of log10(steps) takes part: no straight line then",
    ),
    Column(
        "longest",
        lambda row: row.verdict,
        fields={"longest_p_holm": lambda row: row.last_p, "longest_verdict": lambda row: row.verdict},
        about="verdict on the gain at the longest training",
    ),
]
"""What follows the gains at each length, a row a baseline and strategy."""


def cells(found: Lengths) -> tuple[list[str], list[list[str]]]:
    """Headings behind those of the baseline and the strategy, and the rows with both in front: seeds (of the lengths,
    where they differ the least and the most), the gain at every length, and the trend."""
    rows: list[list[str]] = []
    further = shown(TRENDS, found.rows)
    for row in found.rows:
        pairs = sorted({point.gain.n for point in row.points})
        seeds = str(pairs[0]) if len(pairs) == 1 else f"{pairs[0]} to {pairs[-1]}"
        gains = {point.steps: with_spread(point.gain, 2, signed=True) for point in row.points}
        lengths = [gains.get(steps, "") for steps in found.steps]
        rows.append([row.display, row.strategy, seeds, *lengths, *(column.text(row) for column in further)])
    return ["n", *(f"{steps:,} steps" for steps in found.steps), *(column.heading for column in further)], rows


def sentence(row: Course) -> str:
    """What the data say of a row, no more than they allow."""
    gain = row.last.gain
    ends = interval(gain.low, gain.high)
    told = f"{number(gain.mean, 2, signed=True)} dB (n={gain.n}{f', {ends}' if ends else ''}): {row.verdict}"
    return f"{row.name}: {_trend(row)}. After {row.last.steps:,} steps {told}."


def _trend(row: Course) -> str:
    if row.trend is None:
        return row.word
    slope = _with_interval(row.trend.slope)
    basis = f"{slope} dB a tenfold length, {_basis(row.trend)}"
    words = {
        SHRINKS: f"the {row.what} shrinks with the length of the training",
        GROWS: f"the {row.what} grows with the length of the training",
        TURNS: f"a {LOSS if row.becomes == GAIN else GAIN} turns into a {row.becomes}",
        NO_TREND: NO_TREND,
    }
    return f"{words[row.word]}: {basis}{_shape(row)}"


def _shape(row: Course) -> str:
    """Whether the line may be read, and where it meets 0 then."""
    if row.bend == BENDS:
        return "; the points bend away from a straight line"
    if row.bend == LEVELS:
        return "; it levels off, so that a straight line says too much of longer trainings"
    if row.bend == STEEPENS:
        return "; it gets steeper, so that a straight line says too little of longer trainings"
    trend = row.trend
    if trend is None or row.word == NO_TREND or as_steps(trend.zero.value) < row.points[0].steps:
        return ""
    beyond = ", longer than what was trained" if as_steps(trend.zero.value) > row.last.steps else ""
    return f"; the line meets 0 at about {zero(row)} steps{beyond}"


def _basis(trend: Trend) -> str:
    return f"errors of {trend.count} seeds" if trend.clustered else f"errors of {trend.count} single points"


def legend(found: Lengths) -> list[str]:
    """What the columns mean, and what the words rest on."""
    several = len(found.rows)
    words = [column.heading for column in shown(TRENDS, found.rows) if column.heading in ("trend", "bend", "longest")]
    rule = (
        f"{', '.join(words)}: by Student's t, errors of a line from whole seeds where {COMPLETE} or more have all "
        "lengths, else from all points as if each were independent; each Holm-corrected over "
        f"{several} {plural(several, 'row')}; intervals: {LEVEL:.0%}, not corrected; no trend seen is not: none there"
    )
    meant = meanings(TRENDS, found.rows)
    return [f"average gain over mix, PSNR in dB, mean ± standard deviation over n seeds; {meant}", rule]


def lengths_text(found: Lengths) -> str:
    """The table for a terminal, with a sentence a row."""
    names, rows = cells(found)
    lines: list[list[str]] = []
    for place, (display, *row) in enumerate(rows):
        if not place or rows[place - 1][0] != display:
            lines.append([display, *[""] * len(names)])
        lines.append([f"  {row[0]}", *row[1:]])
    text = "\n\n".join(blocks(TITLE, [["", *names]], lines))
    told = [wrapped("* ", sentence(row)) for row in found.rows]
    notes = [wrapped("  ", line) for line in [*legend(found), *found.notes]]
    return "\n".join([text, *told, *notes])


def lengths_table(cohort: Cohort, found: Lengths) -> pd.DataFrame:
    """One row a baseline, strategy and length; empty where there are none.

    Columns: ``setting``; the table that the gain is from (``cohort``); ``baseline, strategy, steps, ema, n, gain,
    gain_std, gain_low, gain_high``; ``seed_gains`` as ``seed:dB``; then the same on all rows of a strategy: ``slope``
    (dB a tenfold length), ``trend``, ``zero_steps``, ``bend`` (dB) and ``longest_verdict`` with intervals and p-values.
    """
    return pd.DataFrame([
        {
            "setting": cohort.setting, "cohort": point.cohort, "baseline": row.baseline, "strategy": row.strategy,
            "steps": point.steps, "ema": point.ema, "n": point.gain.n,
            **{key: round(getattr(point.gain, name), 6) for key, name in _GAIN.items()},
            "seed_gains": " ".join(f"{seed}:{gain:+.6f}" for seed, gain in sorted(point.seeds.items())),
            **csv_fields(TRENDS, row),
        }
        for row in found.rows
        for point in row.points
    ])  # fmt: skip


_GAIN = {"gain": "mean", "gain_std": "std", "gain_low": "low", "gain_high": "high"}
