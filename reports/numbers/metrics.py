"""What a metric's numbers mean: title, unit, digits and which way is better, as the runs recorded it.

Rule: a metric of which no run recorded which way is better gets no verdict, no best value and no words of direction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from results.records import MetricFacts

if TYPE_CHECKING:
    from reports.numbers.cohorts import Cohort


@dataclass(frozen=True)
class Metric:
    """``unit``: empty for none; ``digits``: after the point; ``lower_is_better``: ``None`` where it is not known."""

    title: str
    unit: str = ""
    digits: int = 3
    lower_is_better: bool | None = None

    @property
    def name(self) -> str:
        """``PSNR, dB``."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    @property
    def direction(self) -> str:
        """What stands in brackets behind the name; empty for PSNR and SSIM, which need no telling."""
        if self in OWN.values():
            return ""
        return {True: "lower is better", False: "higher is better", None: "no verdict"}[self.lower_is_better]

    @property
    def heading(self) -> str:
        """``LPIPS (lower is better)``."""
        return f"{self.name} ({self.direction})" if self.direction else self.name

    @property
    def change(self) -> str:
        """What a difference from mix is called."""
        words = {True: "change from mix (below 0 is better)", False: "gain over mix", None: "change from mix"}
        return words[self.lower_is_better]


OWN = {"psnr": Metric("PSNR", "dB", 2, False), "ssim": Metric("SSIM", "", 3, False)}
"""The metrics of every protocol."""

OLDER = frozenset({"lpips", "dists", "niqe", "ilniqe", "brisque", "piqe", "gmsd", "nlpd"})
"""Lower is better with these also in runs of older versions, which recorded nothing of their metrics."""


def metrics(cohort: Cohort) -> dict[str, Metric]:
    """The metrics of a cohort by name, in its order, as its counted runs recorded them."""
    newest = sorted(cohort.counted(), key=lambda outcome: outcome.ended, reverse=True)
    return known(cohort.metrics, [outcome.record.metrics for outcome in newest])


def known(names: Iterable[str], records: Iterable[Mapping[str, MetricFacts] | None]) -> dict[str, Metric]:
    """The metrics of these names.

    Args:
        names: as in the scores.
        records: ``metrics`` of ``config.json`` (:func:`benchmarks.scoring.metrics.facts`), newest first; ``None`` in
            runs of older versions. Where they contradict each other, the direction is not known.
    """
    recorded = [record for record in records if record]
    return {name: _known(name, [record[name] for record in recorded if name in record]) for name in names}


def _known(name: str, entries: list[MetricFacts]) -> Metric:
    if not entries:
        return OWN.get(name, Metric(name.upper(), lower_is_better=True if name in OLDER else None))
    newest, directions = entries[0], {entry.lower_is_better for entry in entries}
    points = directions.pop() if len(directions) == 1 else None
    return Metric(newest.title, newest.unit, newest.digits, points)


def undirected(found: Mapping[str, Metric]) -> list[str]:
    """A sentence about the metrics that get no verdict."""
    names = [metric.title for metric in found.values() if metric.lower_is_better is None]
    if not names:
        return []
    return [
        f"No verdict and no best value with {', '.join(names)}: which way is better is not known (no run recorded it, "
        "the runs contradict each other, or the metric does not measure quality)."
    ]
