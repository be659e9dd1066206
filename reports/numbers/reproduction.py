"""A setting's published rows and gains, with what was measured beside them.

A measured row is ``reproduced`` or ``not reproduced`` only where it compares (same setting and protocol, real and
complete data, published size and training); otherwise it is ``not comparable``, with the reasons, and no difference is
printed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from reports.numbers.cohorts import gather
from reports.numbers.comparability import figures, obstacles, run_obstacles, sources
from reports.numbers.model import AVERAGE, REFERENCE, Cell, Cohort, Figures, Row
from reports.numbers.tables import gain_table
from reports.numbers.words import EMPTY, number
from results import Run, published

REPRODUCED, NOT_REPRODUCED, NOT_COMPARABLE, NO_RUN = "reproduced", "not reproduced", "not comparable", "no run"


@dataclass(frozen=True)
class Comparison:
    """One published baseline and strategy, and the measured row of the cohort that compares best (or is newest).

    ``differences``: measured minus published, by ``(dataset, metric)``, only where they compare.
    """

    baseline: str
    strategy: str
    figures: Figures
    cohort: Cohort | None = None
    row: Row | None = None
    differences: dict[tuple[str, str], float] = field(default_factory=dict)
    verdict: str = NO_RUN
    reasons: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Baseline and strategy."""
        return f"{self.baseline}, {self.strategy}"

    @property
    def judgement(self) -> str:
        """The verdict with its reasons."""
        return f"{self.verdict} ({'; '.join(self.reasons)})" if self.reasons else self.verdict

    def measured(self, dataset: str, metric: str) -> Cell | None:
        """The measured cell; no average over other test sets than the published one."""
        if self.row is None or (dataset == AVERAGE and not self.same_sets):
            return None
        return self.row.cells.get((dataset, metric))

    @property
    def same_sets(self) -> bool:
        """Whether the measured average is over the published test sets."""
        if self.cohort is None or not {*self.cohort.tested, AVERAGE} >= {dataset for dataset, _ in self.figures}:
            return False
        return all(self.figures[key].averages(self.cohort.tested) for key in self.figures if key[0] == AVERAGE)

    @property
    def source(self) -> str:
        """Where its figures are from."""
        return ", ".join(sources(self.figures))


@dataclass(frozen=True)
class Claim:
    """A gain over mix that was published, and the measured one of the same baseline and strategy.

    ``measured`` is the average gain in dB over ``pairs`` seeds, NaN without a pair.
    """

    baseline: str
    strategy: str
    what: str
    gain: float
    source: str
    verdict: str
    measured: float = math.nan
    pairs: int = 0


def compare(setting: str, runs: Sequence[Run], tolerance: float) -> list[Comparison]:
    """Every published row of a setting with the measured one; empty where nothing is published.

    Args:
        setting: name of the setting.
        runs: of that setting.
        tolerance: mean absolute PSNR difference (dB) over the compared test sets up to which a row counts as
            reproduced.
    """
    names = {name.casefold(): name for name in published(setting)["baseline"]}
    measured: dict[str, list[tuple[Cohort, list[Row]]]] = {}
    comparisons: list[Comparison] = []
    rows = figures(setting).items()
    for (baseline, strategy), row in sorted(rows, key=lambda item: (item[0][0], item[0][1] != REFERENCE, item[0][1])):
        protocol = next(iter(row.values())).protocol
        if protocol not in measured:
            measured[protocol] = _measured(runs, protocol)
        blank = Comparison(names[baseline], strategy, row)
        candidates = [
            _comparison(blank, cohort, candidate, tolerance)
            for cohort, candidates in measured[protocol]
            for candidate in candidates
            if candidate.n and (candidate.network.casefold(), candidate.strategy) == (baseline, strategy)
        ]
        fair = [candidate for candidate in candidates if candidate.differences]
        comparisons.append((fair or candidates or [blank])[0])
    return comparisons


def claims(comparisons: Sequence[Comparison], runs: Sequence[Run], tolerance: float) -> list[Claim]:
    """Published gains: those between two published rows of this setting, then the paper's headline averages.

    Of which setting a headline is the average is not stated, so a measured gain is put beside it without a judgement.
    """
    rows = {(c.baseline, c.strategy): c for c in comparisons}
    found: list[Claim] = []
    for comparison in comparisons:
        reference = rows.get((comparison.baseline, REFERENCE))
        if comparison.strategy == REFERENCE or reference is None:
            continue
        shared = [key for key in comparison.figures if key in reference.figures and key[1] == "psnr"]
        keys = [key for key in shared if key[0] == AVERAGE and not comparison.figures[key].sets]
        keys = keys or [key for key in shared if key[0] != AVERAGE]
        if not keys:
            continue
        gain = sum(comparison.figures[key].value - reference.figures[key].value for key in keys) / len(keys)
        claim = Claim(
            baseline=comparison.baseline,
            strategy=comparison.strategy,
            what="average" if keys[0][0] == AVERAGE else f"mean of {len(keys)} test sets",
            gain=gain,
            source=comparison.source,
            verdict=NO_RUN,
        )
        measured, pairs = _measured_gain(comparison.row, [dataset for dataset, _ in keys])
        if pairs:
            verdict = comparison.judgement if comparison.reasons else _within(measured - gain, tolerance)
            claim = replace(claim, measured=measured, pairs=pairs, verdict=verdict)
        found.append(claim)
    newest = _measured(runs, None)
    for row in published("headline").to_dict("records"):
        claim = Claim(row["baseline"], row["strategy"], "headline average", row["value"], row["source"], NO_RUN)
        found.append(_headline(claim, row["note"], newest))
    return found


def _measured(runs: Sequence[Run], protocol: str | None) -> list[tuple[Cohort, list[Row]]]:
    """Cohorts with their rows, newest first: under this protocol where they were scored with it, else under their
    usual one."""
    usual = {cohort.key: cohort for cohort in gather(runs)}
    asked = {cohort.key: cohort for cohort in gather(runs, protocol)} if protocol else usual
    chosen = [asked[key] if asked[key].counted() else usual[key] for key in usual]
    return [(cohort, gain_table(cohort, images=False).rows) for cohort in chosen]


def _comparison(blank: Comparison, cohort: Cohort, row: Row, tolerance: float) -> Comparison:
    outcomes = cohort.counted(row.baseline, row.strategy)
    differences: dict[tuple[str, str], float] = {}
    reasons: dict[str, None] = {}
    for (dataset, metric), figure in blank.figures.items():
        score = row.cells.get((dataset, metric), Cell()).score.mean
        against = [reason for outcome in outcomes for reason in obstacles(cohort, outcome, dataset, figure)]
        if math.isnan(score):
            against = against or [f"{dataset} not scored"]
        reasons |= dict.fromkeys(against)
        if not against:
            differences[dataset, metric] = score - figure.value
    psnr = {dataset: abs(value) for (dataset, metric), value in differences.items() if metric == "psnr"}
    sets = [value for dataset, value in psnr.items() if dataset != AVERAGE] or list(psnr.values())
    verdict = _within(sum(sets) / len(sets), tolerance) if sets else NOT_COMPARABLE
    comparison = replace(blank, cohort=cohort, row=row, differences=differences, verdict=verdict)
    if not sets and not comparison.same_sets:
        average = number(row.average.score.mean, 2) if cohort.tested else EMPTY
        reasons[f"other test sets, {average} dB on average"] = None
    return replace(comparison, reasons=tuple(reasons))


def _headline(claim: Claim, note: str, measured: Sequence[tuple[Cohort, list[Row]]]) -> Claim:
    """The claim with the measured gain of the newest cohort that has one, never judged."""
    for cohort, rows in measured:
        for row in rows:
            if (row.network.casefold(), row.strategy) == (claim.baseline.casefold(), claim.strategy) and row.pairs:
                gain, pairs = _measured_gain(row, [AVERAGE])
                reasons = [
                    reason
                    for outcome in cohort.counted(row.baseline, row.strategy)
                    for reason in run_obstacles(outcome.record, outcome.data, outcome.protocol)
                ]
                words = "; ".join(dict.fromkeys([note, *reasons]))
                return replace(claim, measured=gain, pairs=pairs, verdict=f"{NOT_COMPARABLE} ({words})")
    return replace(claim, verdict=f"{NO_RUN} ({note})")


def _measured_gain(row: Row | None, datasets: Sequence[str]) -> tuple[float, int]:
    """Mean measured gain over test sets and the fewest pairs behind it; NaN and 0 where one is missing."""
    cells = [row.cells.get((dataset, "psnr"), Cell()) for dataset in datasets] if row else []
    gains = [cell.gain for cell in cells if cell.gain.n]
    if not gains or len(gains) < len(datasets):
        return math.nan, 0
    return sum(gain.mean for gain in gains) / len(gains), min(gain.n for gain in gains)


def _within(difference: float, tolerance: float) -> str:
    return REPRODUCED if abs(difference) <= tolerance else NOT_REPRODUCED
