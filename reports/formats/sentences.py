"""The comparison in sentences: what a reader takes away who reads nothing else."""

from __future__ import annotations

import math

from reports.formats.text import number
from reports.numbers.cohorts import AVERAGE, REFERENCE
from reports.numbers.statistics import LEVEL, NO_DIFFERENCE, ONE_SEED
from reports.numbers.tables import GainTable, Row


def sentences(table: GainTable) -> list[str]:
    """One a baseline and strategy that has a gain, Art first; of a large table, only Art's and the best one's."""
    if "psnr" not in table.cohort.metrics or not table.cohort.tested:
        return []
    rows = [
        row for row in table.ranked if row.strategy != REFERENCE and row.pairs and row.cells[AVERAGE, "psnr"].gain.n
    ]
    if table.large:
        best = {row.baseline: row for row in reversed(rows)}
        rows = [row for row in rows if row.strategy == "art" or row is best[row.baseline]]
    order = list(dict.fromkeys(row.baseline for row in rows))
    rows.sort(key=lambda row: (order.index(row.baseline), row.strategy != "art"))
    return [_sentence(table, row) for row in rows]


def _sentence(table: GainTable, row: Row) -> str:
    cell, measures = row.cells[AVERAGE, "psnr"], row.measures
    gain = cell.gain
    seeds = "one seed" if gain.n == 1 else f"{gain.n} seeds"
    name = "Art" if row.strategy == "art" else row.strategy
    who = f"{name} against mix, {row.display}, {table.cohort.setting}, {seeds}"
    spread = ""
    if not math.isnan(gain.low):
        spread = f" (n={gain.n}, {number(gain.low, 2, True)} to {number(gain.high, 2, True)})"
    verdict = cell.verdict.capitalize() if cell.verdict == ONE_SEED else f"Verdict: {cell.verdict}"
    if cell.verdict == NO_DIFFERENCE and gain.p < 1 - LEVEL:  # the interval leaves out 0: say why that is not enough
        verdict += f" after correction for {table.comparisons} comparisons (p={cell.p_holm:.2g})"
    sets = len(table.cohort.tested)
    better = "" if measures.won is None else f"; better on {measures.won} of {sets} test sets"
    return f"{who}: {number(gain.mean, 2, True)} dB{spread} on average{better}. {verdict}."
