"""Searches for parameters: what the best of k trials can be expected to reach, and what was found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from reports.numbers.model import REFERENCE, Cohort
from results import tuning
from results.tuning import Search

Tunings = Mapping[str, Sequence[Search]]
"""Searches by baseline, mix first."""


def of_cohort(cohort: Cohort, searched: Sequence[Search]) -> dict[str, list[Search]]:
    """The searches with trials that belong to a cohort: of its setting, tasks, size, profile, data and departures."""
    keys = {outcome.record.cohort for outcome in cohort.outcomes}
    found: dict[str, list[Search]] = {}
    for search in sorted(searched, key=lambda search: (search.strategy != REFERENCE, search.strategy, search.key)):
        if search.cohort in keys and search.trials and (baseline := _baseline(cohort, search)):
            found.setdefault(baseline, []).append(search)
    return {baseline: found[baseline] for baseline in cohort.baselines if baseline in found}


def _baseline(cohort: Cohort, search: Search) -> str:
    """The baseline of the table that a search is of, at the learning rate that it began with; empty for none."""
    alike = [outcome for outcome in cohort.outcomes if outcome.config.baseline == search.baseline]
    same = [outcome for outcome in alike if outcome.config.recipe.get("lr") == search.lr] or alike
    return same[0].baseline if same else ""


def expected_best(scores: Sequence[float]) -> list[float]:
    r"""Expected maximum of k of the n scores, drawn without replacement, for k = 1 to n.

    .. math:: E_k = \sum_{i=k}^{n} x_{(i)} \binom{i-1}{k-1} \Big/ \binom{n}{k}

    with scores in rising order :math:`x_{(1)} \le ... \le x_{(n)}`. Best validation as a function of the trials spent
    is by Dodge et al., "Show Your Work" (EMNLP 2019, https://arxiv.org/abs/1909.03004), whose estimate draws with
    replacement; this one has no bias (Tang et al., "Showing Your Work Doesn't Always Work", ACL 2020,
    https://arxiv.org/abs/2004.13705). It takes the trials as if they came in any order; those of a search that learns
    from earlier ones do not.
    """
    ordered = sorted(scores)
    n = len(ordered)
    return [
        sum(ordered[i - 1] * (math.comb(i - 1, k - 1) / math.comb(n, k)) for i in range(k, n + 1))
        for k in range(1, n + 1)
    ]


def scores(search: Search) -> list[float]:
    """Validation of every trial, dB; a failed one has the lowest of the others. Empty where all failed."""
    done = [trial.score for trial in search.trials if trial.score is not None]
    return [min(done) if trial.score is None else trial.score for trial in search.trials] if done else []


def tuning_table(tunings: Tunings) -> pd.DataFrame:
    """All trials as in ``trials.csv`` (:func:`results.tuning.table`), and ``expected_best``, dB, of as many trials."""
    searched = [search for several in tunings.values() for search in several]
    best = [value for search in searched for value in expected_best(scores(search)) or [math.nan] * len(search.trials)]
    table = tuning.table(searched)
    return table.assign(expected_best=[round(value, 6) for value in best]) if len(table) else table


def found(search: Search) -> str:
    """What the best trial has, in words: ``tau=3.1 momentum=0.02, learning rate 0.002 (x 1.5)``."""
    best = search.best
    if best is None:
        return "every trial failed"
    values = " ".join(f"{name}={value:g}" if _is_number(value) else f"{name}={value}"
                      for name, value in best.values.items())  # fmt: skip
    return f"{values}, "[: -2 if not values else None] + f"learning rate {best.lr:.3g} (x {best.factor:g})"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
