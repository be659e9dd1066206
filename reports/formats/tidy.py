"""The gain table as CSV: one row a baseline, strategy, test set and metric, with every number.

CSV files of reports are for people and their spreadsheets: text that would be taken for a formula gets an apostrophe in
front (:func:`results.visible.spreadsheet`). Those of a run's folder are for programs and exact.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from reports.numbers.cohorts import AVERAGE, Cohort, Outcome
from reports.numbers.tables import Cell, GainTable, Row
from results.visible import spreadsheet

if TYPE_CHECKING:
    import pandas as pd


def tidy(table: GainTable) -> pd.DataFrame:
    """Long table; missing numbers are empty.

    Columns: the cohort (``setting, cohort, size, profile, data, overrides, protocol``); the row (``baseline, strategy,
    seeds, n, runs, remark``); the test set (``dataset, task, role, origin, found, expected``); ``metric, unit,
    lower_is_better`` (empty: not known); ``input``; ``mean, std``; strategy minus mix over paired seeds ``gain,
    gain_std, gain_n, gain_low, gain_high, p, p_holm, verdict`` (where lower is better, a gain is below 0); over images
    of one training ``images, image_gain, image_low, image_high, image_p``; ``published, published_source``; and per row
    ``mean_rank, delta_m, won, lost, pace_spread, weight_sum`` (:mod:`reports.numbers.summary`, from PSNR).
    """
    import pandas as pd

    shared = _shared(table.cohort)
    rows = [
        shared | _row(row) | _place(table, dataset) | _numbers(table, row, dataset, metric) | _measures(row)
        for row in table.rows
        for metric in table.cohort.metrics
        for dataset in table.datasets
    ]
    return pd.DataFrame(rows)


def csv_text(table: pd.DataFrame) -> str:
    """The content of a CSV file; every such file of reports is made here."""
    return table.map(spreadsheet).to_csv(index=False, lineterminator="\n")


def runs(cohort: Cohort) -> pd.DataFrame:
    """One row a run of the cohort: identity, state, reason, average PSNR over the test sets, durations in seconds."""
    import pandas as pd

    return pd.DataFrame([_shared(cohort) | _run(cohort, outcome) for outcome in cohort.outcomes])


def _run(cohort: Cohort, outcome: Outcome) -> dict[str, Any]:
    environment = outcome.environment
    return {
        "baseline": outcome.baseline,
        "strategy": outcome.strategy,
        "seed": outcome.seed,
        "hash": outcome.record.hash[:8],
        "pair": outcome.pair[:8],
        "state": outcome.state,
        "reason": outcome.reason,
        "average_psnr": _rounded(outcome.average(cohort.tested, "psnr")),
        "commit": environment.commit,
        "device": environment.device,
        "train_seconds": environment.train_seconds,
    }


def _shared(cohort: Cohort) -> dict[str, Any]:
    config = cohort.config
    return {
        "setting": cohort.setting,
        "cohort": cohort.key,
        "size": config.size,
        "profile": config.profile,
        "data": config.data.source,
        "overrides": " ".join(cohort.outcomes[0].record.overrides),
        "protocol": cohort.protocol,
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "baseline": row.baseline,
        "strategy": row.strategy,
        "seeds": " ".join(map(str, row.seeds)),
        "n": row.n,
        "runs": row.runs,
        "remark": row.remark,
    }


def _place(table: GainTable, dataset: str) -> dict[str, Any]:
    if dataset == AVERAGE:
        found, total = len(table.cohort.tested), len(table.cohort.tested)
        total += sum(column.role != "extra" for column in table.cohort.unseen)
        return {"dataset": AVERAGE, "task": "", "role": "average", "origin": "", "found": found, "expected": total}
    column = next(column for column in table.cohort.columns if column.dataset == dataset)
    names = ("dataset", "task", "role", "origin", "found", "expected")
    return {name: getattr(column, name) for name in names}


def _numbers(table: GainTable, row: Row, dataset: str, metric: str) -> dict[str, Any]:
    cell = row.cells[dataset, metric]
    figure = row.published.get((dataset, metric))
    return {
        "metric": metric,
        "unit": table.metrics[metric].unit,
        "lower_is_better": table.metrics[metric].lower_is_better,
        "input": _rounded(table.inputs[dataset, metric]),
        "mean": _rounded(cell.score.mean),
        "std": _rounded(cell.score.std),
        **_over_seeds(cell),
        **_over_images(cell),
        "published": figure.value if figure else math.nan,
        "published_source": figure.source if figure else "",
    }


def _over_seeds(cell: Cell) -> dict[str, Any]:
    gain = cell.gain
    return {
        "gain": _rounded(gain.mean) if gain else math.nan,
        "gain_std": _rounded(gain.std) if gain else math.nan,
        "gain_n": gain.n if gain else None,
        "gain_low": _rounded(gain.low) if gain else math.nan,
        "gain_high": _rounded(gain.high) if gain else math.nan,
        "p": _rounded(gain.p) if gain else math.nan,
        "p_holm": _rounded(cell.p_holm),
        "verdict": cell.verdict,
    }


def _over_images(cell: Cell) -> dict[str, Any]:
    images = cell.images
    return {
        "images": images.n if images else None,
        "image_gain": _rounded(images.mean) if images else math.nan,
        "image_low": _rounded(images.low) if images else math.nan,
        "image_high": _rounded(images.high) if images else math.nan,
        "image_p": _rounded(images.p) if images else math.nan,
    }


def _measures(row: Row) -> dict[str, Any]:
    measures = row.measures
    return {
        "mean_rank": _rounded(measures.mean_rank),
        "delta_m": _rounded(measures.delta_m),
        "won": measures.won,
        "lost": measures.lost,
        "pace_spread": _rounded(measures.pace_spread),
        "weight_sum": _rounded(measures.weight_sum),
    }


def _rounded(value: float) -> float:
    """Six significant digits behind the point: beyond what any table shows, below what summation order changes."""
    return round(value, 6)
