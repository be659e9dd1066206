"""What a metric's numbers mean, as the runs recorded it, and the words that say which way is better.

Rule: a metric of which no run recorded which way is better gets no verdict, no best value and no words of direction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from reports.numbers.model import Cohort
from results.records import PROTOCOL_METRICS, MetricFacts, Note, Severity

OLDER = frozenset({"lpips", "dists", "niqe", "ilniqe", "brisque", "piqe", "gmsd", "nlpd"})
"""Lower is better with these also in runs of older versions, which recorded nothing of their metrics."""


def direction(metric: MetricFacts) -> str:
    """What stands in brackets behind the name; empty for PSNR and SSIM, which need no words."""
    if metric in PROTOCOL_METRICS.values():
        return ""
    return {True: "lower is better", False: "higher is better", None: "no verdict"}[metric.lower_is_better]


def heading(metric: MetricFacts) -> str:
    """``LPIPS (lower is better)``."""
    words = direction(metric)
    return f"{metric.name} ({words})" if words else metric.name


def change(metric: MetricFacts) -> str:
    """What a difference from mix is called."""
    words = {True: "change from mix (below 0 is better)", False: "gain over mix", None: "change from mix"}
    return words[metric.lower_is_better]


def metrics(cohort: Cohort) -> dict[str, MetricFacts]:
    """The metrics of a cohort by name, in its order, as its counted runs recorded them."""
    newest = sorted(cohort.counted(), key=lambda outcome: outcome.ended, reverse=True)
    return known(cohort.metrics, [outcome.record.metrics for outcome in newest])


def known(names: Iterable[str], records: Iterable[Mapping[str, MetricFacts] | None]) -> dict[str, MetricFacts]:
    """The metrics of these names.

    Args:
        names: as in the scores.
        records: ``metrics`` of ``config.json``, newest first; ``None`` in runs of older versions. Where they contradict
            each other, the direction is not known.
    """
    recorded = [record for record in records if record]
    return {name: _known(name, [record[name] for record in recorded if name in record]) for name in names}


def _known(name: str, entries: list[MetricFacts]) -> MetricFacts:
    if not entries:
        older = MetricFacts(title=name.upper(), lower_is_better=True if name in OLDER else None)
        return PROTOCOL_METRICS.get(name, older)
    directions = {entry.lower_is_better for entry in entries}
    return entries[0] if len(directions) == 1 else entries[0].model_copy(update={"lower_is_better": None})


def undirected(found: Mapping[str, MetricFacts]) -> list[Note]:
    """A note on the metrics that get no verdict."""
    names = [metric.title for metric in found.values() if metric.lower_is_better is None]
    text = (
        f"No verdict and no best value with {', '.join(names)}: which way is better is not known (no run recorded it, "
        "the runs contradict each other, or the metric does not measure quality)."
    )
    return [Note(Severity.WARNING, "no-direction", text)] if names else []
