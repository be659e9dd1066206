"""Measures that sum up a multi-task comparison in one number: delta-m, mean rank, sets won, pace spread, weights."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

EVEN = 0.005
"""Differences below half of the last printed digit of a PSNR (dB) count as neither won nor lost."""

PARTS = 20
"""Equal parts of a run over which :func:`pace_spread` averages the pace."""

LEVEL_MEMORY = 300
"""Steps after which 95 % of the running level's start value is forgotten (momentum 0.01: 0.99**300 = 0.05)."""


def delta_m(scores: Mapping[str, float], reference: Mapping[str, float]) -> float:
    """Mean relative improvement over the tasks in percent, of scores where higher is better; positive is better.

    ``100 / K * sum_k (M_k - B_k) / B_k``, the multi-task measure of Maninis et al., "Attentive Single-Tasking of
    Multiple Tasks", CVPR 2019, with the reference strategy (instead of single-task networks) as ``B``.
    """
    names = _same(scores, reference)
    return float(100 * np.mean([(scores[name] - reference[name]) / reference[name] for name in names]))


def mean_rank(scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Rank of each strategy on each test set (1 is the highest score, ties share their mean rank), mean over the sets.

    Args:
        scores: ``{strategy: {test set: value}}``. Every strategy must have every set: a rank among others would change
            with who is missing.
    """
    from scipy.stats import rankdata

    names = list(next(iter(scores.values())))
    for row in scores.values():
        _same(row, scores[next(iter(scores))])
    table = np.array([[row[name] for name in names] for row in scores.values()], dtype=float)
    ranks = rankdata(-table, axis=0)
    return dict(zip(scores, ranks.mean(axis=1).tolist(), strict=True))


def won_and_lost(scores: Mapping[str, float], reference: Mapping[str, float]) -> tuple[int, int]:
    """Test sets with a higher and with a lower score than the reference, by :data:`EVEN` or more."""
    differences = [scores[name] - reference[name] for name in _same(scores, reference)]
    return sum(d >= EVEN for d in differences), sum(d <= -EVEN for d in differences)


def pace_spread(rhythm: pd.DataFrame) -> float:
    """How unevenly the tasks move, one number a run: 0 where all move at the same pace.

    The pace of a task is its loss against its own running level. The steps of the run, without its beginning where the
    level still remembers its start value (:data:`LEVEL_MEMORY` steps, or the first half of a shorter run), are cut into
    :data:`PARTS` equal parts; in each part the pace is averaged per task, which removes batch noise, and the sample
    standard deviation over the tasks is taken; the result is its mean over the parts.

    Args:
        rhythm: columns of :data:`results.schema.RHYTHM_COLUMNS`.

    Returns:
        The spread, without unit; NaN for fewer than two tasks or an empty rhythm.
    """
    if rhythm.empty:
        return math.nan
    steps, paces = rhythm["step"].to_numpy(), rhythm["pace"].to_numpy(dtype=float)
    last = steps.max()
    settled = (steps > min(LEVEL_MEMORY, last // 2)) & ~np.isnan(paces)
    tasks, names = rhythm["task"][settled].factorize()
    count = len(names)
    if count < 2:
        return math.nan
    steps, paces = steps[settled], paces[settled]
    part = np.searchsorted(np.linspace(steps.min(), steps.max(), PARTS + 1), steps).clip(1, PARTS) - 1
    place = part * count + tasks
    sums, found = (np.bincount(place, weights, PARTS * count).reshape(PARTS, count) for weights in (paces, None))
    with np.errstate(invalid="ignore"):  # a task that is absent from a whole part takes no part in its deviation
        pace = sums / found
    enough = (found > 0).sum(axis=1) > 1
    return float(np.nanstd(pace[enough], axis=1, ddof=1).mean()) if enough.any() else math.nan


def weight_sum(rhythm: pd.DataFrame) -> float:
    """What the weights of a step's task losses sum to, mean over the recorded steps; NaN where there are none.

    Where gradients are clipped at a fixed norm, a larger sum is also another step length.
    """
    weights = rhythm.dropna(subset="weight") if len(rhythm) else rhythm
    return float(weights.groupby("step")["weight"].sum().mean()) if len(weights) else math.nan


def shares(rhythm: pd.DataFrame) -> pd.DataFrame:
    """Share of each task in the sum of a step's weights, in multiples of the fair one.

    The fair share of a task is one over the tasks of the step. Columns ``step, task, share`` (0 to 1) and ``fair`` (the
    share over the fair one), a row a task that is in the step. Steps without weights, and those whose weights do not
    sum to more than 0, have none: a strategy that combines gradients weighs no loss.
    """
    known = rhythm.dropna(subset=["loss", "weight"]) if len(rhythm) else rhythm
    if known.empty:
        return pd.DataFrame(columns=["step", "task", "share", "fair"])
    groups = known.groupby("step")["weight"]
    totals = groups.transform("sum").to_numpy(dtype=float)
    positive = totals > 0
    share = known["weight"].to_numpy(dtype=float)[positive] / totals[positive]
    fair = share * groups.transform("size").to_numpy()[positive]
    return known.loc[positive, ["step", "task"]].assign(share=share, fair=fair)


def largest_share(table: pd.DataFrame) -> float:
    """The largest share in a step's weights, mean over the steps of :func:`shares`; NaN where there are none."""
    return float(table.groupby("step")["share"].max().mean()) if len(table) else math.nan


def fair_shares(table: pd.DataFrame) -> dict[str, float]:
    """Each task's share in multiples of its fair one, mean over the steps of :func:`shares` that it is in."""
    if table.empty:
        return {}
    return {str(task): float(mean) for task, mean in table.groupby("task", sort=False)["fair"].mean().items()}


def _same(scores: Mapping[str, float], reference: Mapping[str, float]) -> list[str]:
    if set(scores) != set(reference):
        raise ValueError(f"not the same test sets: {sorted(scores)} and {sorted(reference)}")
    return list(scores)
