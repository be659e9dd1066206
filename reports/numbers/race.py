"""What decides between strategies, at a glance: gains at defaults, at equal cost, tuned alike; and what tasks cost each
other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reports.numbers.model import AVERAGE, Cell, GainTable, Row
from reports.numbers.summary import delta_m
from results.records import SINGLE, labelled

TERMS: tuple[tuple[str, ...], ...] = ((), ("equal cost",), ("tuned",), ("tuned", "equal cost"))
"""Terms on which a strategy can run, in the order they are shown in; the first are the defaults, for mix's steps."""


@dataclass(frozen=True)
class Racer:
    """A strategy of a baseline with its rows by terms; each is measured against mix on the same terms."""

    baseline: str
    display: str
    strategy: str
    rows: Mapping[tuple[str, ...], Row]


def terms_of(table: GainTable) -> list[tuple[str, ...]]:
    """The terms on which the table has rows; of a table without a race only the defaults."""
    strategies = {row.strategy for row in table.rows}
    return [
        terms for terms in TERMS if not terms or any(name.endswith(f" ({', '.join(terms)})") for name in strategies)
    ]


def race(table: GainTable) -> list[Racer]:
    """Strategies that ran on several terms, in the table's order; nothing where none did."""
    rows = {(row.baseline, row.strategy): row for row in table.ranked}
    racers: dict[tuple[str, str], Racer] = {}
    for row in table.ranked:
        base = row.strategy.partition(" (")[0]
        found = {t: rows[row.baseline, labelled(base, t)] for t in TERMS if (row.baseline, labelled(base, t)) in rows}
        if len(found) > 1:
            racers.setdefault((row.baseline, base), Racer(row.baseline, row.display, base, found))
    return list(racers.values())


@dataclass(frozen=True)
class Together:
    """What it costs the tasks of a baseline to be trained together.

    Attributes:
        display: the baseline, for people.
        apart: the strategy of its single-task networks.
        cells: gain of the single-task networks over mix by test set, the average last; below 0 tasks gain by mix.
        delta: delta-m of mix against single-task networks, %: below 0 tasks lose on average by being trained together.
    """

    display: str
    apart: str
    cells: Mapping[str, Cell]
    delta: float


def together(table: GainTable) -> list[Together]:
    """Mix against single-task networks, where a baseline has both."""
    found: list[Together] = []
    for row in table.rows:
        tested = table.cohort.tested
        if row.strategy.partition(":")[0] == SINGLE and row.pairs and "psnr" in table.cohort.metrics:
            cells = {dataset: row.cells[dataset, "psnr"] for dataset in [*tested, AVERAGE]}
            apart = {dataset: cells[dataset].score.mean for dataset in tested}
            mixed = {dataset: apart[dataset] - cells[dataset].gain.mean for dataset in tested}
            found.append(Together(row.display, row.strategy, cells, delta_m(mixed, apart)))
    return found
