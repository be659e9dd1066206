"""When a published figure may stand beside a measured one, and why not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports.cohorts import AVERAGE, Cohort, Column, Outcome
from results import published

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Figure:
    """A published figure."""

    value: float
    protocol: str
    source: str
    confidence: str
    note: str


def figures(setting: str) -> dict[tuple[str, str, str, str], Figure]:
    """Published figures of a setting by ``(baseline, strategy, dataset, metric)``, the baseline in lower case."""
    table: pd.DataFrame = published(setting).fillna({"note": ""})
    return {
        (row.baseline.casefold(), row.strategy, row.dataset, row.metric): Figure(
            float(row.value), row.protocol, row.source, row.confidence, row.note
        )
        for row in table.itertuples()
    }


def run_obstacles(outcome: Outcome, protocol: str) -> list[str]:
    """Why no score of this run compares with a published figure of ``protocol``; empty if they compare."""
    config = outcome.run.config
    reasons = []
    if config.get("data", {}).get("source") != "files":
        reasons.append(f"{config.get('data', {}).get('source', 'unknown')} data")
    if config.get("size") != "paper":
        reasons.append(f"{config.get('size', 'unknown')} networks")
    if config.get("profile") != "paper":
        reasons.append(f"{config.get('profile', 'unknown')} profile")
    if overrides := outcome.run.record.get("overrides"):
        reasons.append(f"changed configuration ({', '.join(overrides)})")
    if outcome.protocol != protocol:
        reasons.append(f"protocol {outcome.protocol}, published with {protocol}")
    if config.get("data", {}).get("source") == "files":
        training = [_set(record) for record in outcome.run.data if record.get("role") == "train"]
        lacking = dict.fromkeys(column.title for column in training if not complete(column))
        if lacking:
            reasons.append(f"training data partial or synthesised: {', '.join(lacking)}")
    return reasons


def complete(column: Column) -> bool:
    """Real and nothing missing."""
    return column.origin == "real" and not column.partial


def obstacles(cohort: Cohort, outcome: Outcome, dataset: str, figure: Figure) -> list[str]:
    """Why this run's score on ``dataset`` (or its average) does not compare with ``figure``; empty if it does.

    Reasons about the test sets are told only where the run itself would compare.
    """
    if reasons := run_obstacles(outcome, figure.protocol):
        return reasons
    if dataset == AVERAGE:
        columns = [column for column in cohort.columns + cohort.unseen if column.role != "extra"]
        lacking = [c.title for c in columns if not complete(c) or c in cohort.unseen]
        return [f"the average needs the complete {', '.join(lacking)}"] if lacking else []
    columns = [column for column in cohort.columns if column.dataset == dataset]
    return [f"test set {column.title}" for column in columns if not complete(column)]


def _set(record: dict) -> Column:
    names = ("dataset", "task", "role", "found", "expected", "origin")
    values = {name: record.get(name) for name in names}
    return Column(**values | {"origin": record.get("origin") or "origin not recorded"})
