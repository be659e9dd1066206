"""When a published figure may stand beside a measured one, and why not.

Rule: of several printings of one figure the first in the file counts (see :mod:`results.published`); the others
stand beside it, and never replace it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reports.numbers.model import AVERAGE, Cohort, Figure, Figures
from reports.numbers.outcome import Outcome
from reports.numbers.words import number
from results import DataRecord, RunRecord, published
from results.records import PROTOCOL_METRICS, Role


def figures(setting: str) -> dict[tuple[str, str], dict[tuple[str, str], Figure]]:
    """Published rows of a setting by ``(baseline, strategy)``, the baseline in lower case; figures by ``(dataset,
    metric)``."""
    found: dict[tuple[str, str], dict[tuple[str, str], Figure]] = {}
    for row in published(setting).to_dict("records"):
        figure = Figure(float(row["value"]), row["protocol"], row["source"], row["confidence"], row["note"])
        known = found.setdefault((row["baseline"].casefold(), row["strategy"]), {})
        key = row["dataset"], row["metric"]
        known[key] = replace(known[key], others=(*known[key].others, figure)) if key in known else figure
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
    sets: dict[tuple[str, str], dict[str, None]] = {}
    for figure in row.values():
        sets.setdefault((figure.source, figure.confidence), {})[figure.note] = None
    return [
        f"{source} ({'; '.join([f'confidence {confidence}', *filter(None, notes)])})"
        for (source, confidence), notes in sets.items()
    ]


def disagreements(row: Figures) -> list[str]:
    """By how much other sources differ from a row's figures, a sentence without its full stop each."""
    sentences: list[str] = []
    for other in printings(row).values():
        parts: list[str] = []
        for name in dict.fromkeys(metric for _, metric in other):
            metric = PROTOCOL_METRICS[name]
            unit = f" {metric.unit}" if metric.unit else ""
            changes = {
                dataset: figure.value - row[dataset, name].value
                for (dataset, kind), figure in other.items()
                if kind == name
            }
            if AVERAGE in changes:
                old, new = (number(figures[AVERAGE, name].value, metric.digits) for figures in (row, other))
                by = number(changes.pop(AVERAGE), metric.digits, signed=True)
                parts.append(f"average {metric.title} {new} instead of {old} ({by}{unit})")
            if changes:
                low, high = (number(end(changes.values()), metric.digits, signed=True) for end in (min, max))
                parts.append(f"{metric.title} of single test sets {low} to {high}{unit}")
        sentences.append(f"{sources(other)[0]} prints {', '.join(parts)}")
    return sentences


def protocols_differ(protocol: str, figure: Figure) -> list[str]:
    """Why scores of this protocol do not compare with a figure; empty if they do."""
    if protocol == figure.protocol:
        return []
    if figure.protocol == "not stated":
        return ["the published protocol is not stated"]
    assumed = figure.protocol.removesuffix(" assumed")
    if assumed != figure.protocol:
        return [f"the published protocol is not stated, only assumed to be {assumed}"]
    return [f"protocol {protocol}, published with {figure.protocol}"]


def run_obstacles(
    record: RunRecord, data: Sequence[DataRecord], protocol: str, figure: Figure | None = None
) -> list[str]:
    """Why no score of a run compares with a published figure; empty if they compare.

    Args:
        record: of the run.
        data: the sets it used.
        protocol: of its scores.
        figure: the published one; ``None``: any protocol will do.
    """
    config = record.config
    reasons: list[str] = []
    if config.data.source != "files":
        reasons.append(f"{config.data.source or 'unknown'} data")
    if config.size != "paper":
        reasons.append(f"{config.size or 'unknown'} networks")
    if config.profile != "paper":
        reasons.append(f"{config.profile or 'unknown'} profile")
    if overrides := record.overrides:
        reasons.append(f"changed configuration ({', '.join(overrides)})")
    reasons += protocols_differ(protocol, figure) if figure else []
    if config.data.source == "files":
        lacking = dict.fromkeys(images.title for images in data if images.role == Role.TRAIN and not images.complete)
        if lacking:
            reasons.append(f"training data partial or synthesised: {', '.join(lacking)}")
    return reasons


def obstacles(cohort: Cohort, outcome: Outcome, dataset: str, figure: Figure) -> list[str]:
    """Why this run's score on ``dataset`` (or its average) does not compare with ``figure``; empty if it does.

    Reasons about the test sets are given only where the run itself would compare.
    """
    if reasons := run_obstacles(outcome.record, outcome.data, outcome.protocol, figure):
        return reasons
    if dataset == AVERAGE:
        if reasons := sets_differ(figure, cohort.tested):
            return reasons
        columns = [column for column in cohort.columns + cohort.unseen if column.role != Role.EXTRA]
        lacking = [column.title for column in columns if not column.complete or column in cohort.unseen]
        return [f"the average needs the complete {', '.join(lacking)}"] if lacking else []
    columns = [column for column in cohort.columns if column.dataset == dataset]
    return [f"test set {column.title}" for column in columns if not column.complete]


def sets_differ(figure: Figure, tested: list[str]) -> list[str]:
    """Why a published average does not compare with one over these test sets; empty if it does."""
    return [] if figure.averages(tested) else [f"the published average is of {', '.join(sorted(figure.sets))}"]
