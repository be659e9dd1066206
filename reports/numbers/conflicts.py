"""Conflicts between task gradients: how far the updates that two tasks ask for point apart, where runs probed it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
import pandas as pd

from reports.numbers.model import Cohort
from reports.numbers.outcome import Outcome
from reports.numbers.rhythms import SHOWN


@dataclass(frozen=True)
class Conflict:
    """Probed gradients of one baseline and strategy.

    ``table``: columns of :data:`results.schema.CONFLICT_COLUMNS`, mean over the seeds of ``outcomes``; ``each``: the
    same of every seed for itself.
    """

    outcomes: tuple[Outcome, ...]
    table: pd.DataFrame
    each: tuple[pd.DataFrame, ...]

    @property
    def title(self) -> str:
        """The strategy, with the run's standing where it does not count."""
        return self.outcomes[0].title

    @property
    def strategy(self) -> str:
        """Name of the strategy with its parameters."""
        return self.outcomes[0].strategy

    @property
    def display(self) -> str:
        """The baseline's name for people."""
        return self.outcomes[0].display

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the runs."""
        return tuple(outcome.seed for outcome in self.outcomes)

    @cached_property
    def tasks(self) -> list[str]:
        """Names of the tasks, in the order of the probes."""
        return list(dict.fromkeys(self.table["task"]))

    @cached_property
    def cosine(self) -> pd.DataFrame:
        """Mean over the probes, task x task."""
        means = self.table.pivot_table("cosine", "task", "other", "mean", dropna=False)
        return means.reindex(index=self.tasks, columns=self.tasks)

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """Cosines over time: step x ``(task, other)``, every pair once."""
        wide = self.table.pivot_table("cosine", "step", ["task", "other"], "mean", dropna=False)
        return wide[[pair for pair in combinations(self.tasks, 2) if pair in wide.columns]]

    @cached_property
    def norms(self) -> pd.DataFrame:
        """Norms of the gradients over time: step x task."""
        diagonal = self.table[self.table["task"] == self.table["other"]]
        return diagonal.pivot(index="step", columns="task", values="norm").reindex(columns=self.tasks)

    @property
    def mean(self) -> float:
        """Mean cosine over pairs and probes; NaN for one task."""
        return float(self.pairs.mean().mean()) if self.pairs.size else math.nan

    @property
    def negative(self) -> float:
        """Share of pairs, probes and seeds with a cosine below 0; NaN for one task."""
        values = np.concatenate([table.loc[table["task"] != table["other"], "cosine"] for table in self.each])
        values = values[~np.isnan(values)]  # each pair stands in both directions
        return float((values < 0).mean()) if len(values) else math.nan

    @property
    def worst(self) -> tuple[str, str] | None:
        """The pair with the lowest mean cosine."""
        means = self.pairs.mean()
        pairs = [pair for pair in combinations(self.tasks, 2) if not math.isnan(means.get(pair, math.nan))]
        return min(pairs, key=lambda pair: means[pair], default=None)


def pair_name(pair: tuple[str, str]) -> str:
    """``derain – dehaze``."""
    return f"{pair[0]} – {pair[1]}"


def conflicts(cohort: Cohort) -> dict[str, list[Conflict]]:
    """By baseline, one a strategy whose runs hold probes; baselines without any are left out.

    A strategy's is the mean over its counted seeds, or one other run where none counts.
    """
    found = {baseline: _of_baseline(cohort, baseline) for baseline in cohort.baselines}
    return {baseline: several for baseline, several in found.items() if several}


def _of_baseline(cohort: Cohort, baseline: str) -> list[Conflict]:
    found: list[Conflict] = []
    for strategy in cohort.strategies(baseline):
        outcomes = [o for o in cohort.select(baseline, strategy) if o.standing in SHOWN]
        tables = [(outcome, outcome.run.conflicts()) for outcome in outcomes]
        tables = [(outcome, table) for outcome, table in tables if not table.empty]
        chosen = [(outcome, table) for outcome, table in tables if outcome.counts] or tables[:1]
        if chosen:
            several = tuple(table for _, table in chosen)
            found.append(Conflict(tuple(outcome for outcome, _ in chosen), _mean(several), several))
    return found


def conflict_table(cohort: Cohort) -> pd.DataFrame:
    """One row a run and pair of tasks; empty where nothing was probed.

    Columns: ``setting, cohort, baseline, strategy, seed, state, task, other, probes``; over the probes ``cosine``
    (mean), ``cosine_first, cosine_last, cosine_least``, ``below_zero`` (share) and ``norm, norm_other`` (means).
    """
    tables = [(outcome, outcome.run.conflicts()) for outcome in cohort.outcomes if outcome.standing in SHOWN]
    probed = {number: (outcome, table) for number, (outcome, table) in enumerate(tables) if not table.empty}
    if not probed:
        return pd.DataFrame()
    whole = pd.concat({number: table for number, (_, table) in probed.items()}, names=["run", None]).reset_index("run")
    place = {task: i for i, task in enumerate(dict.fromkeys(whole["task"]))}
    first, second = whole["task"].map(place), whole["other"].map(place)
    norms = whole[first == second].groupby(["run", "task"])["norm"].mean()
    pairs = whole[(first < second) & whole["cosine"].notna()]
    groups = pairs.assign(below=pairs["cosine"] < 0).groupby(["run", "task", "other"], sort=False)
    rows = groups["cosine"].agg(["size", "mean", "first", "last", "min"]).reset_index()
    rows.columns = ["run", "task", "other", "probes", "cosine", "cosine_first", "cosine_last", "cosine_least"]
    rows["below_zero"] = groups["below"].mean().to_numpy()
    for name, task in (("norm", "task"), ("norm_other", "other")):
        rows[name] = norms.reindex(pd.MultiIndex.from_frame(rows[["run", task]])).to_numpy()
    numbers = list(rows.columns[4:])
    rows[numbers] = rows[numbers].map(lambda value: float(f"{value:.6g}"))
    outcomes = [probed[number][0] for number in rows["run"]]
    identities = {
        "setting": cohort.setting,
        "cohort": cohort.key,
        "baseline": [outcome.baseline for outcome in outcomes],
        "strategy": [outcome.strategy for outcome in outcomes],
        "seed": [outcome.seed for outcome in outcomes],
        "state": [outcome.standing for outcome in outcomes],
    }
    return pd.concat([pd.DataFrame(identities, rows.index), rows.drop(columns="run")], axis=1)


def _mean(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    if len(tables) == 1:
        return tables[0]
    whole = pd.concat(tables, ignore_index=True)
    return whole.groupby(["step", "task", "other"], sort=False, as_index=False)[["cosine", "norm"]].mean()
