"""Fixed task weights of a baseline as a control: which runs they are, and the front that they make of its tasks."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from reports.numbers import front
from reports.numbers.front import Array
from reports.numbers.model import REFERENCE, Cohort
from reports.numbers.outcome import Outcome
from results.records import Note, Role, Severity

FIXED, EQUAL = "fixed", "equal"
"""Strategies of fixed weights, beside mix where every task has as many samples as any other."""

Side = tuple[str, ...]
"""Names of groups whose mean is one axis of a plane."""


@dataclass(frozen=True)
class Plane:
    """Two bundles of groups of tasks; an axis is the mean over its groups of the mean over their tasks."""

    left: Side
    up: Side

    @property
    def names(self) -> tuple[str, str]:
        """Of its axes: ``("denoise, derain", "dehaze")``."""
        return ", ".join(self.left), ", ".join(self.up)


@dataclass(frozen=True)
class Trained:
    """Runs of one strategy: their places among the seeds of the front (S,), PSNR in dB of every task (S, T) and on
    average over the test sets (S,)."""

    places: NDArray[np.intp]
    tasks: Array
    average: Array


@dataclass(frozen=True)
class Front:
    """Fixed weightings of one baseline, all with the same seeds, and the strategies beside them.

    Attributes:
        baseline, display: its name, and that for people.
        tasks: T names, in the order of the test sets.
        groups: tasks by the name of their group (``denoise``: its noise levels), others by themselves.
        seeds: S of them.
        fixed, strategies: by label.
        inputs: of the degraded images (T,).
        validation: PSNR of the fixed weightings at their last validation, (N, S); NaN where there is none.
    """

    baseline: str
    display: str
    tasks: list[str]
    groups: dict[str, list[str]]
    seeds: list[int]
    fixed: dict[str, Trained]
    strategies: dict[str, Trained]
    inputs: Array
    validation: Array

    @property
    def count(self) -> int:
        """How many different weightings there are; ``mix`` of balanced batches is ``equal``."""
        return len(self.fixed) - ({REFERENCE, EQUAL} <= self.fixed.keys())

    @cached_property
    def main(self) -> Plane | None:
        """The two bundles that fixed weights trade off most, by their seed means alone; ``None`` for a single group."""
        planes = [Plane(*sides) for sides in front.splits(list(self.groups))]
        return min(planes, key=lambda plane: front.traded(self.means(plane)), default=None)

    def points(self, plane: Plane, scores: Array) -> Array:
        """Scores of tasks (..., T) in a plane: (..., 2)."""
        return np.stack([self.side(side, scores) for side in (plane.left, plane.up)], axis=-1)

    def means(self, plane: Plane) -> Array:
        """Seed means of the fixed weightings: (N, 2)."""
        return self.points(plane, self.scores).mean(axis=1)

    @cached_property
    def scores(self) -> Array:
        """Of the fixed weightings, (N, S, T)."""
        return np.stack([trained.tasks for trained in self.fixed.values()])

    @cached_property
    def averages(self) -> Array:
        """Of the fixed weightings, (N, S)."""
        return np.stack([trained.average for trained in self.fixed.values()])

    @cached_property
    def level(self) -> Array:
        """What the best weighting is chosen by, (N, S): PSNR of the last validation where all runs have one, else the
        average over the test sets."""
        return self.validation if np.isfinite(self.validation).all() else self.averages

    @property
    def validated(self) -> bool:
        """Whether validation chose."""
        return self.level is not self.averages

    @cached_property
    def best_margin(self) -> float:
        """What a gain over the best weighting must pass, dB."""
        return front.best_margin(self.averages, self.level)

    @cached_property
    def front_margin(self) -> float:
        """What a distance beyond the front must pass, dB; NaN without a plane."""
        return front.front_margin(self.points(self.main, self.scores)) if self.main else math.nan

    @cached_property
    def volume(self) -> float:
        """Hypervolume of the front in dB², above the degraded input."""
        return self._volume([]) if self.main else math.nan

    def grown(self, strategy: str) -> float:
        """By how many percent a strategy's seed mean makes the hypervolume larger."""
        if not self.main:
            return math.nan
        own = self.points(self.main, self.strategies[strategy].tasks).mean(axis=0)
        return 100 * (self._volume([own]) / self.volume - 1) if self.volume > 0 else math.nan

    def _volume(self, more: Sequence[Array]) -> float:
        assert self.main
        floor = self.points(self.main, self.inputs)
        if not np.isfinite(floor).all():
            return math.nan
        return front.hypervolume(np.stack([*self.means(self.main), *more]), floor)

    def side(self, names: Side, scores: Array) -> Array:
        """Scores of tasks (..., T) on one axis, the mean over groups or single tasks of these names: (...)."""
        tasks = [self.groups.get(name, [name]) for name in names]
        means = [scores[..., [self.tasks.index(task) for task in several]].mean(axis=-1) for several in tasks]
        return np.mean(means, axis=0)


def is_fixed(outcome: Outcome) -> bool:
    """Whether a run's task weights stayed as they were, under the terms of an ordinary run."""
    name = outcome.config.strategy.partition(":")[0]
    even = name == REFERENCE and outcome.config.data.mixing == "balanced"
    return outcome.config.label == outcome.config.strategy and (name in (FIXED, EQUAL) or even)


def weightings(cohort: Cohort, baseline: str) -> tuple[dict[str, dict[str, Outcome]], list[str]]:
    """Runs of the fixed weightings that make a front, by label and pair; and labels of those that lack a seed of it.

    The seeds are as many as at least half of all weightings have; nothing for fewer than :data:`front.FEWEST` different
    weightings (``mix`` of balanced batches is ``equal``).
    """
    runs: dict[str, dict[str, Outcome]] = {}
    for outcome in cohort.counted(baseline):
        if is_fixed(outcome) and _whole(cohort, outcome):
            runs.setdefault(outcome.strategy, {})[outcome.pair] = outcome
    held = [pair for several in runs.values() for pair in several]
    pairs = sorted(dict.fromkeys(held), key=lambda pair: -held.count(pair))
    for count in range(len(pairs), 0, -1):
        common = [pair for pair in dict.fromkeys(held) if pair in pairs[:count]]
        kept = {name: {pair: several[pair] for pair in common} for name, several in runs.items()
                if all(pair in several for pair in common)}  # fmt: skip
        different = len(kept) - {REFERENCE, EQUAL}.issubset(kept)
        if different >= front.FEWEST and 2 * len(kept) >= len(runs):
            return kept, [name for name in runs if name not in kept]
    return {}, []


def controls(cohort: Cohort, baseline: str) -> set[str]:
    """Labels that stand among the fixed weights and in no other table: all of ``fixed``, where they make a front."""
    if not cohort.tested or not weightings(cohort, baseline)[0]:
        return set()
    return {o.strategy for o in cohort.select(baseline) if is_fixed(o) and o.strategy.partition(":")[0] == FIXED}


def fronts(cohort: Cohort) -> list[Front]:
    """The front of every baseline that has one."""
    found: list[Front] = []
    for baseline in cohort.baselines if cohort.tested else ():
        kept, _ = weightings(cohort, baseline)
        if kept:
            found.append(_front(cohort, baseline, kept))
    return found


def control_notes(cohort: Cohort) -> list[Note]:
    """Where the fixed weightings stand, and which of them no front holds."""
    notes: list[Note] = []
    for baseline in cohort.baselines if cohort.tested else ():
        kept, dropped = weightings(cohort, baseline)
        if kept:
            apart = len(controls(cohort, baseline).union(kept) - {REFERENCE, EQUAL})
            text = (
                f"{cohort.display(baseline)}: {apart} fixed weightings are compared in 'Fixed weights', not in the "
                "tables of gains; the CSV files hold them all."
            )
            if dropped:
                text += f" Left out there, for they lack seeds of the others: {', '.join(dropped)}."
            notes.append(Note(Severity.NOTE, "fixed-weights", text))
    return notes


def _front(cohort: Cohort, baseline: str, kept: Mapping[str, Mapping[str, Outcome]]) -> Front:
    columns = [column for column in cohort.columns if column.role != Role.EXTRA]
    tasks = list(dict.fromkeys(column.task for column in columns))
    sets = [[column.dataset for column in columns if column.task == task] for task in tasks]
    runs = [list(several.values()) for several in kept.values()]
    pairs = [outcome.pair for outcome in runs[0]]

    def trained(outcomes: Sequence[Outcome]) -> Trained:
        return Trained(
            np.array([pairs.index(outcome.pair) for outcome in outcomes], dtype=np.intp),
            np.array([[outcome.average(several, "psnr") for several in sets] for outcome in outcomes]),
            np.array([outcome.average(cohort.tested, "psnr") for outcome in outcomes]),
        )

    others: dict[str, list[Outcome]] = {}
    repeating = {strategy for strategy in cohort.strategies(baseline) if cohort.repeated(baseline, strategy)}
    for outcome in cohort.counted(baseline):
        if outcome.strategy not in repeating.union(kept) and not is_fixed(outcome) and _whole(cohort, outcome):
            others.setdefault(outcome.strategy, []).append(outcome)
    shared = {name: [o for o in several if o.pair in pairs] for name, several in others.items()}
    return Front(
        baseline=baseline,
        display=cohort.display(baseline),
        tasks=tasks,
        groups=_groups(tasks),
        seeds=[outcome.seed for outcome in runs[0]],
        fixed={name: trained(several) for name, several in zip(kept, runs, strict=True)},
        strategies={name: trained(several) for name, several in shared.items() if several},
        inputs=np.array([runs[0][0].average(several, "psnr", degraded=True) for several in sets]),
        validation=np.array([[_validation(outcome) for outcome in several] for several in runs]),
    )


def _groups(tasks: Sequence[str]) -> dict[str, list[str]]:
    """Tasks that differ in a number behind an underscore are one group, all others one each."""
    stems = [re.sub(r"_\d+(\.\d+)?$", "", task) for task in tasks]
    groups: dict[str, list[str]] = {}
    for task, stem in zip(tasks, stems, strict=True):
        groups.setdefault(stem if stems.count(stem) > 1 else task, []).append(task)
    return groups


def _whole(cohort: Cohort, outcome: Outcome) -> bool:
    return math.isfinite(outcome.average(cohort.tested, "psnr"))


def _validation(outcome: Outcome) -> float:
    """Mean over the tasks of a run's last validation, dB; NaN where there is none."""
    curve = outcome.curve()
    return float(curve.loc[curve["step"] == curve["step"].max(), "psnr"].mean()) if len(curve) else math.nan
