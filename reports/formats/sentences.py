"""The comparison in sentences: what a reader takes away who reads nothing else."""

from __future__ import annotations

from collections.abc import Iterable

from reports.numbers.findings import Findings
from reports.numbers.model import REFERENCE, TUNED, GainTable, Row
from reports.numbers.race import Racer, race, terms_of
from reports.numbers.statistics import GAIN, LEVEL, NO_DIFFERENCE, ONE_SEED
from reports.numbers.words import interval, number
from results.records import SINGLE


def sentences(findings: Findings) -> list[str]:
    """What is left of gains on all terms, a sentence a baseline; then one a baseline and strategy that has a gain, Art
    first; of a large table, only Art's and the best one's."""
    table = findings.table
    if "psnr" not in table.cohort.metrics or not table.cohort.tested:
        return []
    return [*_left(findings), *_gains(table)]


def _left(findings: Findings) -> list[str]:
    """Which strategies gain at their defaults, at equal cost, tuned, and over fixed weights; of tables with a race or
    fixed weightings."""
    racers = race(findings.table)
    fronts = {one.baseline for one in findings.held.fronts}
    told: list[str] = []
    for baseline in findings.cohort.baselines:
        own = [racer for racer in racers if racer.baseline == baseline]
        if not own and baseline not in fronts:
            continue
        rows = [row for row in findings.table.compared if row.baseline == baseline]
        parts = [f"at defaults {_named(row.strategy for row in rows if _gains_at_defaults(row))}"]
        for terms in terms_of(findings.table)[1:] if own else ():
            parts.append(f"{' and '.join(terms)} {_named(racer.strategy for racer in own if _gains_on(racer, terms))}")
        if baseline in fronts:
            held = [row for row in findings.held.rows if row.baseline == baseline]
            beyond = _named(row.strategy for row in held if row.best_verdict == GAIN and row.strategy != SINGLE)
            parts.append(f"over the best of {held[0].weightings if held else 0} fixed weightings {beyond}")
        told.append(f"{findings.cohort.display(baseline)}, strategies with the verdict gain: {'; '.join(parts)}.")
    return told


def _gains_at_defaults(row: Row) -> bool:
    apart = row.strategy.partition(":")[0] == SINGLE
    return row.average.verdict == GAIN and " (" not in row.strategy and not apart


def _gains_on(racer: Racer, terms: tuple[str, ...]) -> bool:
    row = racer.rows.get(terms)
    return row is not None and racer.strategy != REFERENCE and row.average.verdict == GAIN


def _named(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _gains(table: GainTable) -> list[str]:
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
    mix = "mix tuned alike" if "(tuned" in row.strategy and row.strategy != TUNED else "mix"
    who = f"{name} against {mix}, {row.display}, {table.cohort.setting}, {seeds}"
    ends = interval(gain.low, gain.high)
    spread = f" (n={gain.n}, {ends})" if ends else ""
    verdict = cell.verdict.capitalize() if cell.verdict == ONE_SEED else f"Verdict: {cell.verdict}"
    if cell.verdict == NO_DIFFERENCE and gain.p < 1 - LEVEL:  # the interval leaves out 0: say why that is not enough
        verdict += f" after correction for {table.comparisons} comparisons (p={cell.p_holm:.2g})"
    better = "" if won is None else f"; better on {won} of {len(table.cohort.tested)} test sets"
    return f"{who}: {number(gain.mean, 2, signed=True)} dB{spread} on average{better}. {verdict}."
