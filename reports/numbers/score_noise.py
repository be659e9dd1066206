"""What Art's weights follow: differences between the tasks, or which images a batch happened to hold.

Art's score of a task is computed from the loss of one batch (:class:`art.Art`). Its spread from batch to batch is
noise; what differs between the tasks when that is averaged out is what the method is meant to see. Both are computed
here from the recorded losses of the second half of the training, before the division by tau.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeGuard

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.numbers.model import Cohort
from reports.numbers.outcome import Outcome
from results.records import Role

METHOD = "art"
WINDOWS = 10
"""Equal parts of the second half in which a task's mean score is taken; the levels it follows move over 100 steps."""

STILL = 4000
"""Steps of a training in which nothing moves, of which the second half counts."""

LEAST = 5
"""Recorded steps of a task that a window needs."""

_LOWEST, _HIGHEST = 1e-8, 1 - 1e-3  # as art.Art reads logarithms

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TaskNoise:
    """One task in the runs of a strategy, mean over the runs.

    Attributes:
        task: its name.
        samples: that a batch holds of it, expected; NaN in records of older versions.
        present: the share of the steps whose batch holds it at all.
        level: its running level.
        loss_noise: standard deviation of its loss from batch to batch, over its running level.
        score_noise: the same of its score.
        score: its mean.
        best: its smallest loss over its running level, at the end.
        weight: its share of the weights, mean over the steps.
        steady: the share that its mean scores would give.
        still: the share that it would have if nothing moved (:func:`if_nothing_moved`).
    """

    task: str
    samples: float
    present: float
    level: float
    loss_noise: float
    score_noise: float
    score: float
    best: float
    weight: float
    steady: float
    still: float


@dataclass(frozen=True)
class ScoreNoise:
    """Art's score on one baseline at one temperature.

    Attributes:
        baseline, display, strategy: names.
        seeds: of the runs.
        tau: the temperature.
        batch: samples a step.
        tasks: what each task's losses do.
        noise: standard deviation of a task's score from batch to batch, root of the mean square over the tasks.
        signal: standard deviation over the tasks of their mean scores, without the part that is noise.
        largest: the largest share of the weights in a step, mean over the steps.
        steady: what it would be with the mean scores.
        shared: how much of the weights' variance is between windows and tasks; the rest is from batch to batch.
    """

    baseline: str
    display: str
    strategy: str
    seeds: tuple[int, ...]
    tau: float
    batch: int
    tasks: tuple[TaskNoise, ...]
    noise: float
    signal: float
    largest: float
    steady: float
    shared: float

    @property
    def ratio(self) -> float:
        """Signal over noise."""
        return self.signal / self.noise if self.noise else math.nan

    @property
    def off(self) -> float:
        """The largest difference between a task's share and the one that it would have if nothing moved."""
        return max(abs(task.weight - task.still) for task in self.tasks)

    @property
    def by_noise(self) -> float:
        """Correlation over the tasks of their mean scores with the noise of their losses; NaN for fewer than three."""
        if len(self.tasks) < 3:
            return math.nan
        pairs = np.array([(task.score, task.loss_noise) for task in self.tasks])
        return float(np.corrcoef(pairs.T)[0, 1]) if (pairs.std(axis=0) > 0).all() else math.nan


def score_noise(cohort: Cohort) -> list[ScoreNoise]:
    """One of every baseline and strategy that has runs of Art with both factors of its score, in the table's order."""
    found: list[ScoreNoise] = []
    for baseline in cohort.baselines:
        for strategy in cohort.strategies(baseline):
            outcomes = [one for one in cohort.counted(baseline, strategy) if _of_method(one)]
            measured = [(one, part) for one in outcomes if (part := _Scores.of(one))]
            if measured:
                found.append(_joined(measured))
    return found


def score_table(cohort: Cohort, found: Sequence[ScoreNoise]) -> pd.DataFrame:
    """One row a baseline, strategy and task; empty where there is nothing.

    Columns: ``setting, cohort, baseline, strategy, n, tau, batch``; of the strategy ``signal, noise, ratio,
    by_noise, largest, largest_steady, shared``; of the task those of :class:`TaskNoise`.
    """
    rows = [
        {
            "setting": cohort.setting, "cohort": cohort.key, "baseline": one.baseline, "strategy": one.strategy,
            "n": len(one.seeds), "tau": one.tau, "batch": one.batch, "signal": one.signal, "noise": one.noise,
            "ratio": one.ratio, "by_noise": one.by_noise, "largest": one.largest, "largest_steady": one.steady,
            "shared": one.shared, **vars(task),
        }
        for one in found
        for task in one.tasks
    ]  # fmt: skip
    return pd.DataFrame([{key: _short(value) for key, value in row.items()} for row in rows])


def _short(value: object) -> object:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _of_method(outcome: Outcome) -> bool:
    """Whether it is a run of Art whose every task's level learns, with both factors."""
    parameters = outcome.record.parameters or {}
    plain = parameters.get("released", False) is False and parameters.get("log", True) is True
    known = outcome.record.parameters is not None or ":" not in outcome.config.strategy
    return (
        outcome.config.strategy.partition(":")[0] == METHOD
        and known
        and plain
        and parameters.get("score", "both") == "both"
    )


@dataclass(frozen=True)
class Rule:
    """Parameters of :class:`art.Art`."""

    tau: float = 0.1
    momentum: float = 0.01
    start: float = 0.1
    best: str = "batch"

    @staticmethod
    def of(outcome: Outcome) -> Rule:
        """Those of a run, with the defaults where its record has none."""
        parameters = outcome.record.parameters or {}
        numbers = {key: value for key in ("tau", "momentum", "start") if _is_number(value := parameters.get(key))}
        return Rule(**numbers, best="level" if parameters.get("best") == "level" else "batch")

    def weights(self, losses: Array) -> Array:
        """Weights (steps, tasks) on losses (steps, tasks), NaN where a task is absent; as :class:`art.Art` has them."""
        level = np.full(losses.shape[1], self.start)
        best, found = level.copy(), np.zeros_like(losses)
        for row, weights in zip(losses, found, strict=True):
            present = np.isfinite(row)
            score = _score(row[present], level[present], best[present]) / self.tau
            powers = np.exp(score - score.max(initial=-np.inf))
            weights[present] = powers / powers.sum() if present.any() else powers
            level = np.where(present, self.momentum * row + (1 - self.momentum) * level, level)
            best = np.fmin(best, row if self.best == "batch" else level)
        return found


def if_nothing_moved(rule: Rule, level: Array, noise: Array, present: Array) -> Array:
    """Mean shares (tasks,) of the weights on losses that stand still: with these levels and, from batch to batch, this
    noise (both (tasks,), log-normal), a task being there in such a share of the steps. No task is ahead or behind in
    it, so whatever is not alike in the shares is from the noise and the levels alone."""
    chance = np.random.default_rng(0)
    losses = level * np.exp(noise * chance.standard_normal((STILL, len(level))))
    losses[chance.random(losses.shape) >= present] = np.nan
    return rule.weights(losses)[STILL // 2 :].mean(axis=0)


def _score(losses: Array, level: Array, best: Array) -> Array:
    """Before the division by tau."""
    logs = [np.log10(np.clip(values, _LOWEST, _HIGHEST)) for values in (best, losses)]
    return losses / level * logs[0] / logs[1]


@dataclass(frozen=True)
class _Scores:
    """The second half of a run: tables of step x task, NaN where a task was absent; ``scores`` before the division by
    tau, ``loss`` over the running level before the step, ``weight`` as shares; ``level`` and, at the end, ``best``
    (tasks,)."""

    tasks: list[str]
    rule: Rule
    scores: Array
    loss: Array
    weight: Array
    level: Array
    best: Array

    @staticmethod
    def of(outcome: Outcome) -> _Scores | None:
        """From a rhythm; ``None`` where it is too short."""
        table = outcome.rhythm()
        rule = Rule.of(outcome)
        if table.empty:
            return None
        tasks = list(dict.fromkeys(table["task"]))
        wide = {
            name: table.pivot(index="step", columns="task", values=name)[tasks]
            for name in ("loss", "running", "pace", "weight")
        }
        loss, pace = (wide[name].to_numpy("float64") for name in ("loss", "pace"))
        low = wide["running"] if rule.best == "level" else wide["loss"]
        best = np.fmin.accumulate(np.vstack([np.full(len(tasks), rule.start), low.to_numpy("float64")]))
        scores = _score(loss, loss / pace, best[:-1])
        half = slice(len(loss) // 2, None)
        if len(loss[half]) < WINDOWS * LEAST or (np.isfinite(scores[half]).sum(axis=0) < WINDOWS * LEAST).any():
            return None
        weight = wide["weight"].fillna(0).to_numpy("float64")
        share = weight / np.maximum(weight.sum(axis=1, keepdims=True), np.finfo(float).tiny)
        levels = wide["running"].ffill().to_numpy("float64")
        level, ends = levels[half].mean(axis=0), best[-1] / levels[-1]
        return _Scores(tasks, rule, scores[half], pace[half], share[half], level, ends)

    @cached_property
    def noise(self) -> Array:
        """(tasks,) standard deviation of the score from one recorded step to the next."""
        return _from_step_to_step(self.scores)

    @cached_property
    def means(self) -> Array:
        """(windows, tasks) mean scores."""
        return np.stack([np.nanmean(part, axis=0) for part in np.array_split(self.scores, WINDOWS)])

    @cached_property
    def steady(self) -> Array:
        """(windows, tasks) weights of the mean scores."""
        powers = np.exp((self.means - self.means.max(axis=1, keepdims=True)) / self.rule.tau)
        return powers / powers.sum(axis=1, keepdims=True)

    @property
    def signal(self) -> float:
        """Standard deviation over the tasks of the mean scores, without the part that is noise; 0 where that is all."""
        counts = np.stack([np.isfinite(part).sum(axis=0) for part in np.array_split(self.scores, WINDOWS)])
        spread = self.means.var(axis=1, ddof=1) - (self.noise**2 / counts).mean(axis=1)
        return math.sqrt(max(0.0, float(spread.mean())))

    @property
    def shared(self) -> float:
        """Share of the weights' variance that is between windows and tasks."""
        parts = np.array_split(self.weight, WINDOWS)
        between = np.concatenate([np.broadcast_to(part.mean(axis=0), part.shape) for part in parts])
        whole = float(self.weight.var())
        return float(between.var()) / whole if whole else math.nan


def _joined(measured: Sequence[tuple[Outcome, _Scores]]) -> ScoreNoise:
    outcomes, parts = [one for one, _ in measured], [part for _, part in measured]
    first, names = outcomes[0], parts[0].tasks

    def mean(values: Sequence[Array]) -> list[float]:
        return [float(value) for value in np.mean(values, axis=0)]

    level = mean([part.level for part in parts])
    present = mean([np.isfinite(part.loss).mean(axis=0) for part in parts])
    noise = mean([_from_step_to_step(part.loss) for part in parts])
    columns = (
        [_samples(first, name) for name in names],
        present,
        level,
        noise,
        mean([part.noise for part in parts]),
        mean([np.nanmean(part.scores, axis=0) for part in parts]),
        mean([part.best for part in parts]),
        mean([part.weight.mean(axis=0) for part in parts]),
        mean([part.steady.mean(axis=0) for part in parts]),
        if_nothing_moved(parts[0].rule, np.array(level), np.array(noise), np.array(present)).tolist(),
    )
    return ScoreNoise(
        first.baseline,
        first.display,
        first.strategy,
        tuple(one.seed for one in outcomes),
        parts[0].rule.tau,
        first.config.train.batch or 0,
        tuple(TaskNoise(name, *values) for name, *values in zip(names, *columns, strict=True)),
        noise=float(np.mean([math.sqrt(float((part.noise**2).mean())) for part in parts])),
        signal=float(np.mean([part.signal for part in parts])),
        largest=float(np.mean([part.weight.max(axis=1).mean() for part in parts])),
        steady=float(np.mean([part.steady.max(axis=1).mean() for part in parts])),
        shared=float(np.mean([part.shared for part in parts])),
    )


def _from_step_to_step(values: Array) -> Array:
    """(tasks,) standard deviation about a mean that drifts: from the differences of successive values (von Neumann)."""
    found: list[float] = []
    for column in values.T:
        present = column[np.isfinite(column)]
        found.append(math.sqrt(float((np.diff(present) ** 2).mean()) / 2))
    return np.array(found)


def _samples(outcome: Outcome, task: str) -> float:
    """Samples of the task in a batch, from the passes over its training images."""
    passes = (outcome.record.epochs or {}).get(task, math.nan)
    images = sum(one.found or 0 for one in outcome.data if one.role == Role.TRAIN and one.task == task)
    steps = outcome.config.train.steps
    return passes * images / steps if steps else math.nan


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
