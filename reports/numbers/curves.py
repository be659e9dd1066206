"""Validation curves of a baseline's strategies: PSNR and gain over mix through the training, over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce

import pandas as pd

from reports.numbers.model import AVERAGE, REFERENCE, Cohort
from reports.numbers.statistics import PairedGain, paired_gain

Course = dict[str, dict[int, PairedGain]]
"""By task and step: mean over seeds with its t-interval."""


@dataclass(frozen=True)
class Curve:
    """A strategy's curves: of every seed a table of step x task with the average last, by the run's pair.

    Attributes:
        strategy: its name.
        seeds: the tables; their steps may differ where a run was begun without validation.
        reference: those of mix.
    """

    strategy: str
    seeds: Mapping[str, pd.DataFrame]
    reference: Mapping[str, pd.DataFrame]

    @cached_property
    def level(self) -> Course:
        """PSNR in dB."""
        return _course(self.seeds, {pair: 0 * table for pair, table in self.seeds.items()})

    @cached_property
    def gain(self) -> Course:
        """Gain over mix in dB, of the seeds that both have; of mix itself nothing."""
        return {} if self.strategy == REFERENCE else _course(self.seeds, self.reference)


def curves(cohort: Cohort, baseline: str, strategies: Sequence[str]) -> list[Curve]:
    """Curves of the counted runs, in this order; strategies whose runs left none are left out."""
    tables = {name: _tables(cohort, baseline, name) for name in dict.fromkeys([REFERENCE, *strategies])}
    return [Curve(name, tables[name], tables[REFERENCE]) for name in strategies if tables[name]]


def _tables(cohort: Cohort, baseline: str, strategy: str) -> dict[str, pd.DataFrame]:
    tables: dict[str, pd.DataFrame] = {}
    for outcome in cohort.counted(baseline, strategy):
        table = outcome.curve()
        if len(table):
            tasks = list(dict.fromkeys(table["task"]))
            wide = table.pivot(index="step", columns="task", values="psnr")[tasks]
            tables[outcome.pair] = wide.assign(**{AVERAGE: wide.mean(axis=1, skipna=False)})
    return tables


def _course(seeds: Mapping[str, pd.DataFrame], others: Mapping[str, pd.DataFrame]) -> Course:
    """Differences of the seeds that both have, at the steps that all of them have."""
    pairs = [pair for pair in seeds if pair in others]
    if not pairs:
        return {}
    indices = [table.index for pair in pairs for table in (seeds[pair], others[pair])]
    steps = reduce(lambda known, index: known.intersection(index), indices)
    tasks = list(seeds[pairs[0]])
    own, other = (
        {pair: side[pair].loc[steps, tasks].to_numpy(dtype=float) for pair in pairs} for side in (seeds, others)
    )

    def difference(row: int, column: int) -> PairedGain:
        values = ({pair: float(array[row, column]) for pair, array in side.items()} for side in (own, other))
        return paired_gain(*values)

    return {
        str(task): {int(step): difference(row, column) for row, step in enumerate(steps)}
        for column, task in enumerate(tasks)
    }
