"""The comparison in sentences: what a reader takes away who reads nothing else."""

from __future__ import annotations

from reports.numbers.model import GainTable, Row
from reports.numbers.statistics import LEVEL, NO_DIFFERENCE, ONE_SEED
from reports.numbers.words import interval, number


def sentences(table: GainTable) -> list[str]:
    """One a baseline and strategy that has a gain, Art first; of a large table, only Art's and the best one's."""
    if "psnr" not in table.cohort.metrics or not table.cohort.tested:
        return []
    rows = [row for row in table.ranked if row.average.gain.n]
    if table.large:
        best = {row.baseline: row for row in reversed(rows)}
        rows = [row for row in rows if row.strategy == "art" or row is best[row.baseline]]
    order = list(dict.fromkeys(row.baseline for row in rows))
    rows.sort(key=lambda row: (order.index(row.baseline), row.strategy != "art"))
    return [_sentence(table, row) for row in rows]


def _sentence(table: GainTable, row: Row) -> str:
    cell, won = row.average, row.measures.won
    gain = cell.gain
    seeds = "one seed" if gain.n == 1 else f"{gain.n} seeds"
    name = "Art" if row.strategy == "art" else row.strategy
    who = f"{name} against mix, {row.display}, {table.cohort.setting}, {seeds}"
    ends = interval(gain.low, gain.high)
    spread = f" (n={gain.n}, {ends})" if ends else ""
    verdict = cell.verdict.capitalize() if cell.verdict == ONE_SEED else f"Verdict: {cell.verdict}"
    if cell.verdict == NO_DIFFERENCE and gain.p < 1 - LEVEL:  # the interval leaves out 0: say why that is not enough
        verdict += f" after correction for {table.comparisons} comparisons (p={cell.p_holm:.2g})"
    better = "" if won is None else f"; better on {won} of {len(table.cohort.tested)} test sets"
    return f"{who}: {number(gain.mean, 2, signed=True)} dB{spread} on average{better}. {verdict}."
