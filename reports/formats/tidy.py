"""The gain table as CSV: one row a baseline, strategy, test set and metric, with every number.

CSV files of reports are for people and their spreadsheets: text that would be taken for a formula gets an apostrophe in
front (:func:`results.visible.spreadsheet`). Those of a run's folder are for programs and exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from reports.formats.columns import COSTS, MEASURES, POOLED, csv_fields, run_columns
from reports.numbers.model import AVERAGE, Cohort, GainTable, Row
from reports.numbers.pooled import Pooled
from reports.numbers.statistics import ImageGain
from results.records import Role
from results.visible import spreadsheet

Entries = Mapping[str, str | float | None]
"""Some columns of a row."""


def tidy(table: GainTable) -> pd.DataFrame:
    """Long table; missing numbers are empty.

    Columns: the cohort (``setting, cohort, size, profile, data, overrides, protocol``); the row (``baseline, strategy,
    seeds, n, runs, remark``); the test set (``dataset, task, role, origin, found, expected``); ``metric, unit,
    lower_is_better`` (empty: not known); ``input``; ``mean, std``; strategy minus mix over paired seeds ``gain,
    gain_std, gain_n, gain_low, gain_high, p, p_holm, verdict`` (where lower is better, a gain is below 0); over images
    of one training ``images, image_gain, image_low, image_high, image_p``; ``published, published_source``; and per row
    ``mean_rank, delta_m, won, lost, pace_spread`` (:mod:`reports.numbers.summary`, from PSNR), ``step_cost,
    planned_cost, memory_cost, weight_sum, largest_share, clipped`` (:mod:`reports.numbers.costs`), ``seeds_for_0.1_db``
    and more, by the spread of the row's own average gains (:func:`reports.numbers.power.seeds_needed`).
    """
    shared = _shared(table.cohort)
    rows = [
        {
            **shared,
            **_row(table.cohort, row),
            **_place(table, dataset),
            **_numbers(table, row, dataset, metric),
            **_measures(row),
        }
        for row in table.rows
        for metric in table.cohort.metrics
        for dataset in table.datasets
    ]
    return pd.DataFrame(rows)


def pooled_table(cohort: Cohort, across: Sequence[Pooled]) -> pd.DataFrame:
    """Verdicts over baselines, a row a strategy: ``baselines`` and their gains (dB), ``seeds`` of all, pooled gain."""
    return pd.DataFrame([{**_shared(cohort), "strategy": one.strategy, **csv_fields(POOLED, one)} for one in across])


def csv_text(table: pd.DataFrame) -> str:
    """The content of a CSV file; every such file of reports is made here."""
    return table.map(spreadsheet).to_csv(index=False, lineterminator="\n")


def runs(cohort: Cohort) -> pd.DataFrame:
    """One row a run of the cohort: identity, standing, reason, average PSNR over the test sets, seconds of training."""
    columns = run_columns(cohort)
    order = dict.fromkeys(("seed", "hash", "pair", "state", "reason", "average_psnr", "commit", "device"))
    return pd.DataFrame([
        {
            **_shared(cohort),
            "overrides": " ".join(outcome.record.overrides),
            "baseline": outcome.baseline,
            "strategy": outcome.strategy,
            **order,
            **csv_fields(columns, outcome),
        }
        for outcome in cohort.outcomes
    ])  # fmt: skip


def _shared(cohort: Cohort) -> Entries:
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


def _row(cohort: Cohort, row: Row) -> Entries:
    return {
        "overrides": " ".join(cohort.overrides(row.baseline)),
        "baseline": row.baseline,
        "strategy": row.strategy,
        "seeds": " ".join(map(str, row.seeds)),
        "n": row.n,
        "runs": row.runs,
        "remark": row.remark,
    }


def _place(table: GainTable, dataset: str) -> Entries:
    if dataset == AVERAGE:
        found = len(table.cohort.tested)
        total = found + sum(column.role != Role.EXTRA for column in table.cohort.unseen)
        return {"dataset": AVERAGE, "task": "", "role": "average", "origin": "", "found": found, "expected": total}
    column = next(column for column in table.cohort.columns if column.dataset == dataset)
    return {name: getattr(column, name) for name in ("dataset", "task", "role", "origin", "found", "expected")}


def _numbers(table: GainTable, row: Row, dataset: str, metric: str) -> Entries:
    cell, facts = row.cells[dataset, metric], table.metrics[metric]
    gain, images = cell.gain, cell.images or ImageGain()
    figure = row.published.get((dataset, metric))
    return {
        "metric": metric,
        "unit": facts.unit,
        "lower_is_better": facts.lower_is_better,
        "input": round(table.inputs[dataset, metric], 6),
        "mean": round(cell.score.mean, 6),
        "std": round(cell.score.std, 6),
        "gain": round(gain.mean, 6),
        "gain_std": round(gain.std, 6),
        "gain_n": None if row.is_reference else gain.n,
        "gain_low": round(gain.low, 6),
        "gain_high": round(gain.high, 6),
        "p": round(gain.p, 6),
        "p_holm": round(cell.p_holm, 6),
        "verdict": cell.verdict,
        "images": images.n if cell.images else None,
        "image_gain": round(images.mean, 6),
        "image_low": round(images.low, 6),
        "image_high": round(images.high, 6),
        "image_p": round(images.p, 6),
        "published": figure.value if figure else math.nan,
        "published_source": figure.source if figure else "",
    }


def _measures(row: Row) -> Entries:
    return dict.fromkeys(("mean_rank", "delta_m")) | csv_fields([*MEASURES, *COSTS], row)
