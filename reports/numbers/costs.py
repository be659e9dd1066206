"""What a strategy's runs took beside mix's, and what it did with its weights: one number a row."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from statistics import median

from reports.numbers import summary
from reports.numbers.model import Cohort, Measures, Row
from reports.numbers.outcome import Outcome
from reports.numbers.statistics import spread
from results.records import Environment


def measured(cohort: Cohort, row: Row) -> Measures:
    """The measures of a row that come from how its runs trained, not from their scores.

    Costs are medians over the seeds that have a pair with mix on the same device.
    """
    runs = cohort.counted(row.baseline, row.strategy)
    rhythms = [outcome.rhythm() for outcome in runs]
    tables = [summary.shares(rhythm) for rhythm in rhythms]
    fair = [summary.fair_shares(table) for table in tables]
    environments = [outcome.environment for outcome in runs]
    planned = [o.config.terms.ratio for o in runs if o.config.terms.budget == "cost"]
    return Measures(
        pace_spread=_mean(map(summary.pace_spread, rhythms)),
        weight_sum=_mean(map(summary.weight_sum, rhythms)),
        largest_share=_mean(map(summary.largest_share, tables)),
        fair_shares={
            task: _mean(shares.get(task, math.nan) for shares in fair)
            for task in dict.fromkeys(t for f in fair for t in f)
        },
        clipped=_mean(math.nan if e.clipped_share is None else e.clipped_share for e in environments),
        step_cost=_over_reference(cohort, row, runs, lambda run, mix: _ratio(run.step_seconds, mix.step_seconds)),
        planned_cost=_mean(planned),
        memory_cost=_over_reference(cohort, row, runs, _memory),
    )


def _mean(values: Iterable[float]) -> float:
    """Mean of the values that are there."""
    return spread(value for value in values if not math.isnan(value)).mean


def _over_reference(
    cohort: Cohort, row: Row, runs: Iterable[Outcome], cost: Callable[[Environment, Environment], float]
) -> float:
    """Median over pairs of what a run took over what mix did; NaN for mix, and where no pair was on one device."""
    if row.is_reference:
        return math.nan
    mixes = {outcome.pair: outcome.environment for outcome in cohort.reference(row.baseline, row.strategy)}
    pairs = [(outcome.environment, mixes[outcome.pair]) for outcome in runs if outcome.pair in mixes]
    ratios = [cost(run, mix) for run, mix in pairs if (run.device, run.processes) == (mix.device, mix.processes)]
    known = [ratio for ratio in ratios if not math.isnan(ratio)]
    return median(known) if known else math.nan


def _memory(run: Environment, mix: Environment) -> float:
    """Peak memory of the tensors on a GPU where both trained on one, else main memory, where both peaks are of the
    training alone: a process that did other runs before keeps their peak."""
    if run.device_type == mix.device_type == "cuda":
        return _ratio(run.peak_gpu_memory_mib, mix.peak_gpu_memory_mib)
    own = run.peak_memory_of == mix.peak_memory_of == "training"
    return _ratio(run.peak_memory_mib, mix.peak_memory_mib) if own else math.nan


def _ratio(value: float | None, reference: float | None) -> float:
    return value / reference if value and reference else math.nan
