"""The rhythms to show of a baseline: one run a strategy, its losses, levels and weights as tables of step x task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import pandas as pd

from reports.numbers.model import Cohort
from reports.numbers.outcome import Outcome, Standing

F = TypeVar("F", pd.DataFrame, "pd.Series[float]")

SHOWN = (Standing.COUNTED, Standing.COLLAPSED, Standing.UNSCORED, Standing.UNFINISHED)
"""Standings of runs whose course may be shown; where one does not count, its standing is beside its name."""

POINTS = 200
"""Points a curve is thinned to: about the width of a panel in pixels."""


@dataclass(frozen=True)
class Rhythm:
    """One strategy's curves: tables of step x task, ``smooth`` being the mean over ``window`` recorded steps."""

    outcome: Outcome
    loss: pd.DataFrame
    smooth: pd.DataFrame
    level: pd.DataFrame
    weight: pd.DataFrame
    window: int

    @property
    def title(self) -> str:
        """The strategy, with the run's standing where it does not count."""
        return self.outcome.title

    @cached_property
    def shares(self) -> pd.DataFrame:
        """Weights of each step divided by their sum; steps without any weight are left out."""
        filled = self.weight.fillna(0)
        total = filled.sum(axis=1)
        return filled[total > 0].div(total[total > 0], axis=0)

    @cached_property
    def smooth_shares(self) -> pd.DataFrame:
        """Mean of the shares over the window: single steps of Art at tau 0.1 jump between 0 and 1 with batch noise."""
        return self.shares.rolling(self.window, center=True, min_periods=1).mean()

    @property
    def share_words(self) -> str:
        """How concentrated and how restless the weights are; empty where there are none."""
        if self.shares.empty:
            return ""
        words = f"largest share of a step: {self.shares.max(axis=1).mean():.2f} on average"
        leader = self.shares.to_numpy().argmax(axis=1)
        changes = np.mean(leader[1:] != leader[:-1]) if len(leader) > 1 else 0
        if changes >= 0.005 and not np.allclose(self.shares, self.shares.iloc[0], atol=1e-6):
            words += f",\nchanging hands at {changes:.0%} of the steps"
        return words


def rhythms(cohort: Cohort, baseline: str, strategies: Sequence[str] | None = None) -> list[Rhythm]:
    """One run a strategy, of the seed that most strategies have; collapsed runs only where nothing else is left.

    Args:
        cohort, baseline: where to look.
        strategies: which, in this order; ``None`` for all.
    """
    chosen: list[Rhythm] = []
    for candidates in candidate_runs(cohort, baseline, strategies):
        for outcome in candidates:
            table = outcome.rhythm()
            if not table.empty:
                chosen.append(_rhythm(outcome, table))
                break
    return chosen


def candidate_runs(cohort: Cohort, baseline: str, strategies: Sequence[str] | None = None) -> list[list[Outcome]]:
    """The runs that may be shown of each strategy: counted ones first, and among them the seed that most have."""
    usable = [outcome for outcome in cohort.select(baseline) if outcome.standing in SHOWN]
    seeds = sorted(outcome.seed for outcome in usable if outcome.counts)
    common = max(seeds, key=seeds.count, default=None)
    usable.sort(key=lambda outcome: (not outcome.counts, outcome.seed != common, outcome.seed))
    names = cohort.strategies(baseline) if strategies is None else strategies
    return [[outcome for outcome in usable if outcome.strategy == name] for name in names]


def thin(table: F, points: int = POINTS) -> F:
    """At most ``points`` rows, evenly taken, the first and the last among them."""
    if len(table) <= points:
        return table
    return table.iloc[np.unique(np.linspace(0, len(table) - 1, points).round().astype(int))]


def _rhythm(outcome: Outcome, table: pd.DataFrame) -> Rhythm:
    tasks = list(dict.fromkeys(table["task"]))
    wide = {
        name: table.pivot(index="step", columns="task", values=name)[tasks] for name in ("loss", "running", "weight")
    }
    window = max(5, len(wide["loss"]) // 20)
    smooth = wide["loss"].rolling(window, center=True, min_periods=1).mean()
    return Rhythm(outcome, wide["loss"], smooth, wide["running"], wide["weight"], window)
