"""When a published figure may stand beside a measured one, and why not.

Rule: of several printings of one figure the first in the file counts (see :mod:`results.published`); the others are
told beside it, and never replace it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reports.numbers.cohorts import AVERAGE, Cohort, Outcome
from reports.numbers.metrics import OWN
from results import published
from results.records import Role

if TYPE_CHECKING:
    import pandas as pd


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


Figures = Mapping[tuple[str, str], Figure]  # of one row, by (dataset, metric)


def figures(setting: str) -> dict[tuple[str, str, str, str], Figure]:
    """Published figures of a setting by ``(baseline, strategy, dataset, metric)``, the baseline in lower case."""
    table: pd.DataFrame = published(setting)
    found: dict[tuple[str, str, str, str], Figure] = {}
    for row in table.itertuples():
        key = row.baseline.casefold(), row.strategy, row.dataset, row.metric
        figure = Figure(float(row.value), row.protocol, row.source, row.confidence, row.note)
        first = found.get(key)
        found[key] = replace(first, others=(*first.others, figure)) if first else figure
    return found


def printings(row: Figures) -> dict[str, dict[tuple[str, str], Figure]]:
    """What other sources print for a row, by source."""
    found: dict[str, dict[tuple[str, str], Figure]] = {}
    for key, figure in row.items():
        for other in figure.others:
            found.setdefault(other.source, {})[key] = other
    return found


def sources(row: Figures) -> list[str]:
    """Where a row's figures are from, each source once with its notes: ``CPL Table I (confidence medium; ...)``."""
    notes: dict[tuple[str, str], dict[str, None]] = {}
    for figure in row.values():
        notes.setdefault((figure.source, figure.confidence), {})[figure.note] = None
    return [
        f"{source} ({'; '.join([f'confidence {confidence}', *filter(None, told)])})"
        for (source, confidence), told in notes.items()
    ]


def disagreements(row: Figures) -> list[str]:
    """By how much other sources differ from a row's figures, a sentence without its full stop each."""
    told = []
    for other in printings(row).values():
        parts = []
        for metric in dict.fromkeys(metric for _, metric in other):
            own = OWN[metric]
            unit = f" {own.unit}" if own.unit else ""
            change = {
                name: figure.value - row[name, kind].value for (name, kind), figure in other.items() if kind == metric
            }
            if AVERAGE in change:
                old, new = (f"{figures[AVERAGE, metric].value:.{own.digits}f}" for figures in (row, other))
                parts.append(
                    f"average {own.title} {new} instead of {old} ({change.pop(AVERAGE):+.{own.digits}f}{unit})"
                )
            if change:
                low, high = (f"{value:+.{own.digits}f}" for value in (min(change.values()), max(change.values())))
                parts.append(f"{own.title} of single test sets {low} to {high}{unit}")
        told.append(f"{sources(other)[0]} prints {', '.join(parts)}")
    return told


def protocols_differ(own: str, figure: Figure) -> list[str]:
    """Why scores of the protocol ``own`` do not compare with a figure; empty if they do."""
    if own == figure.protocol:
        return []
    if figure.protocol == "not stated":
        return ["the published protocol is not stated"]
    assumed = figure.protocol.removesuffix(" assumed")
    if assumed != figure.protocol:
        return [f"the published protocol is not stated, only assumed to be {assumed}"]
    return [f"protocol {own}, published with {figure.protocol}"]


def run_obstacles(outcome: Outcome, figure: Figure | None) -> list[str]:
    """Why no score of this run compares with ``figure`` (``None``: any protocol will do); empty if they compare."""
    config = outcome.config
    reasons: list[str] = []
    if config.data.source != "files":
        reasons.append(f"{config.data.source or 'unknown'} data")
    if config.size != "paper":
        reasons.append(f"{config.size or 'unknown'} networks")
    if config.profile != "paper":
        reasons.append(f"{config.profile or 'unknown'} profile")
    if overrides := outcome.record.overrides:
        reasons.append(f"changed configuration ({', '.join(overrides)})")
    reasons += protocols_differ(outcome.protocol, figure) if figure else []
    if config.data.source == "files":
        training = [record for record in outcome.data if record.role == Role.TRAIN]
        lacking = dict.fromkeys(record.title for record in training if not record.complete)
        if lacking:
            reasons.append(f"training data partial or synthesised: {', '.join(lacking)}")
    return reasons


def obstacles(cohort: Cohort, outcome: Outcome, dataset: str, figure: Figure) -> list[str]:
    """Why this run's score on ``dataset`` (or its average) does not compare with ``figure``; empty if it does.

    Reasons about the test sets are told only where the run itself would compare.
    """
    if reasons := run_obstacles(outcome, figure):
        return reasons
    if dataset == AVERAGE:
        if not figure.averages(cohort.tested):
            return [f"the published average is of {', '.join(sorted(figure.sets))}"]
        columns = [column for column in cohort.columns + cohort.unseen if column.role != Role.EXTRA]
        lacking = [c.title for c in columns if not c.complete or c in cohort.unseen]
        return [f"the average needs the complete {', '.join(lacking)}"] if lacking else []
    columns = [column for column in cohort.columns if column.dataset == dataset]
    return [f"test set {column.title}" for column in columns if not column.complete]
