"""Conflicts between task gradients: how far the updates that two tasks ask for point apart, where runs probed it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from reports.formats.text import EMPTY, grid, number, wrapped
from reports.numbers.cohorts import COUNTED, Cohort, Outcome
from reports.numbers.rhythms import SHOWN, named

if TYPE_CHECKING:
    import pandas as pd

LEGEND = (
    "cosine between the gradients of two tasks' losses on fixed batches, mean over the probes (and seeds); below 0: "
    "share of pairs, probes (and seeds) where an update for one task hurts the other"
)


NAMES = ("baseline", "strategy", "n", "mean cosine", "below 0", "most conflicting pair")


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
        return named(self.outcomes[0])

    @property
    def strategy(self) -> str:
        return self.outcomes[0].strategy

    @property
    def display(self) -> str:
        return self.outcomes[0].display

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(outcome.seed for outcome in self.outcomes)

    @cached_property
    def tasks(self) -> list[str]:
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
        own = self.table[self.table["task"] == self.table["other"]]
        return own.pivot(index="step", columns="task", values="norm").reindex(columns=self.tasks)

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
        means = self.pairs.mean().dropna()
        return means.idxmin() if len(means) else None


def pair_name(pair: tuple[str, str]) -> str:
    return f"{pair[0]} – {pair[1]}"


def conflicts(cohort: Cohort) -> dict[str, list[Conflict]]:
    """By baseline, one a strategy whose runs hold probes; baselines without any are left out.

    A strategy's is the mean over its counted seeds, or one other run where none counts.
    """
    found = {baseline: _of_baseline(cohort, baseline) for baseline in cohort.baselines}
    return {baseline: several for baseline, several in found.items() if several}


def _of_baseline(cohort: Cohort, baseline: str) -> list[Conflict]:
    found = []
    for strategy in cohort.strategies(baseline):
        outcomes = [o for o in cohort.select(baseline, strategy) if o.state in SHOWN]
        tables = [(outcome, outcome.run.conflicts()) for outcome in outcomes]
        tables = [(outcome, table) for outcome, table in tables if not table.empty]
        chosen = [(outcome, table) for outcome, table in tables if outcome.state == COUNTED] or tables[:1]
        if chosen:
            several = tuple(table for _, table in chosen)
            found.append(Conflict(tuple(outcome for outcome, _ in chosen), _mean(several), several))
    return found


def conflict_table(cohort: Cohort) -> pd.DataFrame:
    """One row a run and pair of tasks; empty where nothing was probed.

    Columns: ``setting, cohort, baseline, strategy, seed, state, task, other, probes``; over the probes ``cosine``
    (mean), ``cosine_first, cosine_last, cosine_least``, ``below_zero`` (share) and ``norm, norm_other`` (means).
    """
    import pandas as pd

    tables = [(outcome, outcome.run.conflicts()) for outcome in cohort.outcomes if outcome.state in SHOWN]
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
    for position, name in enumerate(("baseline", "strategy", "seed", "state")):
        rows.insert(position, name, [getattr(probed[number][0], name) for number in rows["run"]])
    rows.insert(0, "setting", cohort.setting)
    rows.insert(1, "cohort", cohort.key)
    return rows.drop(columns="run")


def conflict_rows(found: Mapping[str, Sequence[Conflict]]) -> list[list[str]]:
    """Cells a strategy, in the order of :data:`NAMES`."""
    return [[several[0].display, *_cells(conflict)] for several in found.values() for conflict in several]


def conflict_text(found: Mapping[str, Sequence[Conflict]]) -> str:
    """Mean cosine, share below 0 and the most conflicting pair of every strategy; empty where nothing was probed."""
    if not found:
        return ""
    rows = [["Task gradients", *NAMES[2:]]]
    for several in found.values():
        rows.append([several[0].display, "", "", "", ""])
        rows += [["  " + name, *cells] for name, *cells in map(_cells, several)]
    return f"{grid(rows)}\n{wrapped('  ', LEGEND)}"


def _cells(conflict: Conflict) -> list[str]:
    pair = conflict.worst
    worst = f"{pair_name(pair)} ({number(conflict.pairs[pair].mean(), 2, True)})" if pair else EMPTY
    below = EMPTY if math.isnan(conflict.negative) else f"{conflict.negative:.0%}"
    return [conflict.title, str(len(conflict.seeds)), number(conflict.mean, 2, True), below, worst]


def _mean(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    if len(tables) == 1:
        return tables[0]
    whole = pd.concat(tables, ignore_index=True)
    return whole.groupby(["step", "task", "other"], sort=False, as_index=False)[["cosine", "norm"]].mean()
