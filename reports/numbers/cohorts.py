"""Cohorts: the runs that one table may hold, read from their files, and what each of them counts for."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pydantic import JsonValue

from reports.numbers.equality import compare
from results import Run, schema
from results.integrity import differing
from results.records import DataRecord, Environment, Role, RunConfig, RunRecord, State

if TYPE_CHECKING:
    import pandas as pd

REFERENCE = "mix"
"""The strategy every gain is measured against."""

AVERAGE = "average"
"""Column name of the mean over the test sets."""

COUNTED, COLLAPSED, NOT_FINITE, FAILED, UNFINISHED, UNSCORED, SUPERSEDED, DAMAGED = (
    "counted",
    "collapsed",
    "not finite",
    "failed",
    "unfinished",
    "unscored",
    "superseded",
    "damaged",
)
"""States of an :class:`Outcome`; only ``counted`` ones enter averages and gains, every other one is named."""

LEAK_FREE = " leak-free"
"""Stands behind a test set's name where the images that are in the training data are left out."""


class Images(NamedTuple):
    """Scores of the images of one test set with one metric: names (images,), values of the restored and of the degraded
    ones (images,) float64, NaN where missing, and digests of their pixels (images,), empty where none was recorded.
    Runs scored on the same images share the object of their names."""

    task: str
    names: pd.Index
    values: np.ndarray
    inputs: np.ndarray
    pixels: np.ndarray


class Mean(NamedTuple):
    """Means over the images of a test set: of the restored and of the degraded ones' metric, and how many there are."""

    value: float
    input_value: float
    images: int


@dataclass
class Outcome:
    """One run and what it counts for. ``reason`` says why it does not count, or carries a finished run's warning."""

    run: Run
    record: RunRecord
    state: str
    reason: str
    protocol: str
    names: dict[str, list[pd.Index]] = field(default_factory=dict)  # of the images, shared by the runs of a cohort
    apart: dict[str, str] = field(default_factory=dict)  # test sets whose scores do not compare, and why

    @property
    def config(self) -> RunConfig:
        return self.record.config

    @property
    def baseline(self) -> str:
        return self.config.baseline

    @property
    def display(self) -> str:
        """The baseline's name for people."""
        return self.record.display.baseline or self.baseline

    @property
    def strategy(self) -> str:
        return self.config.strategy

    @property
    def seed(self) -> int:
        return self.config.seed

    @property
    def pair(self) -> str:
        return self.record.pair

    @cached_property
    def environment(self) -> Environment:
        return self.run.environment

    @cached_property
    def data(self) -> list[DataRecord]:
        return self.run.data

    @cached_property
    def images(self) -> dict[tuple[str, str], Images]:
        """Per-image scores under the cohort's protocol by ``(dataset, metric)``, in the order of the file.

        A test set with images whose clean version was trained on stands there once more without them, as ``<dataset>
        leak-free``.
        """
        table = self.run.scores()
        table = table[table["protocol"] == self.protocol]
        tasks, names = table["task"], table["image"]
        values, inputs = (table[column].to_numpy(dtype=float) for column in ("value", "input_value"))
        pixels = table["pixels"].to_numpy(dtype=object)
        found, leaked = {}, self.leaked
        for (dataset, metric), rows in table.groupby(["dataset", "metric"], sort=False).indices.items():
            parts = {dataset: rows}
            if dataset in leaked:
                parts[dataset + LEAK_FREE] = rows[~names.iloc[rows].isin(leaked[dataset]).to_numpy()]
            for name, kept in parts.items():
                if len(kept):
                    shared = self.shared(name, names.iloc[kept])
                    found[name, metric] = Images(tasks.iloc[kept[0]], shared, values[kept], inputs[kept], pixels[kept])
        return found

    @property
    def leaked(self) -> dict[str, list[str]]:
        """Names of the leaked images of each test set that has some ."""
        return {record.dataset: record.leaked for record in self.data if record.leaked}

    @cached_property
    def ended(self) -> tuple[int, str]:
        """When the run last changed its state, to compare with others."""
        return _newest(self.run)

    def shared(self, dataset: str, names: pd.Series | pd.Index) -> pd.Index:
        """These names of images, as the object that other runs have too."""
        import pandas as pd

        index = pd.Index(names)
        known = self.names.setdefault(dataset, [])
        for other in known:
            if other.equals(index):
                return other
        known.append(index)
        return index

    @cached_property
    def means(self) -> dict[tuple[str, str], Mean]:
        """Mean over images of per-image values, by ``(dataset, metric)``."""
        found = {}
        for key, images in self.images.items():
            found[key] = Mean(_mean(images.values), _mean(images.inputs), len(images.values))
        return found

    @cached_property
    def datasets(self) -> dict[str, int]:
        """Test sets with scores, and how many images of each."""
        found: dict[str, int] = {}
        for (dataset, _), mean in self.means.items():
            found[dataset] = max(found.get(dataset, 0), mean.images)
        return found

    def mean(self, dataset: str, metric: str, column: str = "value") -> float:
        """A field of one of :attr:`means`; NaN where the run has none."""
        mean = self.means.get((dataset, metric))
        return math.nan if mean is None else getattr(mean, column)

    def average(self, datasets: Sequence[str], metric: str, column: str = "value") -> float:
        """Mean over ``datasets`` of the means over images; NaN unless the run has them all."""
        values = [self.mean(dataset, metric, column) for dataset in datasets]
        return sum(values) / len(values) if values else math.nan


@dataclass
class Cohort:
    """Runs that one table may hold, with the columns of that table."""

    key: str
    setting: str
    title: str
    protocol: str
    outcomes: list[Outcome]
    columns: list[DataRecord] = field(default_factory=list)
    unseen: list[DataRecord] = field(default_factory=list)  # test sets of the setting that no run was scored on
    unstarted: list[str] = field(default_factory=list)  # runs of the grid that left no configuration yet
    unread: list[str] = field(default_factory=list)  # runs whose configuration is damaged
    odd: dict[tuple[str, str], dict[str, list[str]]] = field(default_factory=dict)  # see reports.numbers.equality
    planned: int = 0  # runs of the whole grid, where they are collected while some still go

    @property
    def tested(self) -> list[str]:
        """Test sets of the average, in order."""
        return [column.dataset for column in self.columns if column.role != Role.EXTRA]

    @cached_property
    def config(self) -> RunConfig:
        """Configuration of the newest run (setting, size, profile and data are the same for all)."""
        return max(self.outcomes, key=lambda outcome: outcome.ended).config

    @cached_property
    def metrics(self) -> list[str]:
        """PSNR, SSIM, then every further metric that was computed."""
        seen = {metric for outcome in self.counted() for _, metric in outcome.means}
        return [m for m in ("psnr", "ssim") if m in seen] + sorted(seen - {"psnr", "ssim"})

    def counted(self, baseline: str | None = None, strategy: str | None = None) -> list[Outcome]:
        """Outcomes that enter averages, optionally of one baseline and strategy, by seed."""
        return [o for o in self.select(baseline, strategy) if o.state == COUNTED]

    def select(self, baseline: str | None = None, strategy: str | None = None) -> list[Outcome]:
        return [
            outcome
            for outcome in self.outcomes
            if baseline in (None, outcome.baseline) and strategy in (None, outcome.strategy)
        ]

    @property
    def baselines(self) -> list[str]:
        return list(dict.fromkeys(outcome.baseline for outcome in self.outcomes))

    def strategies(self, baseline: str) -> list[str]:
        return list(dict.fromkeys(outcome.strategy for outcome in self.select(baseline)))

    def display(self, baseline: str) -> str:
        return self.select(baseline)[0].display


def gather(runs: Iterable[Run], protocol: str | None = None) -> list[Cohort]:
    """Split runs into cohorts, newest first (by the time their newest run last changed state).

    Args:
        runs: runs of one setting, in any state.
        protocol: count scores of this protocol; ``None`` takes the one each cohort was evaluated with.
    """
    groups: dict[str, list[tuple[Run, RunRecord]]] = {}
    unstarted, unread, damage = [], [], {}
    for run in (run.legible() for run in runs):
        if damaged := run.damage():
            damage[run.folder] = "; ".join(damaged.values())
        if record := run.record:
            groups.setdefault(record.cohort, []).append((run, record))
            continue
        slug, status = run.folder.parent, run.status
        told = f"{slug.parent.name}, {slug.name}, seed {run.folder.name.partition('-')[0]}"
        if run.folder in damage or status.state == State.DONE:
            unread.append(f"{told}: {damage.get(run.folder, f'{schema.CONFIG} is missing')}")
        else:
            failed = f" (failed: {' '.join(status.reason.split())})" if status.state == State.FAILED else ""
            unstarted.append(told + failed)
    ordered = sorted(groups.items(), key=lambda item: (max(_newest(run) for run, _ in item[1]), item[0]), reverse=True)
    cohorts = [_cohort(key, members, protocol, damage) for key, members in ordered]
    if cohorts:
        cohorts[0].unstarted, cohorts[0].unread = sorted(unstarted), sorted(unread)
    return cohorts


def collect(cohort: Cohort) -> None:
    """Count the grid of the cohort's baselines, strategies and seeds, and name its runs that have not begun."""
    there = {(outcome.baseline, outcome.strategy, outcome.seed) for outcome in cohort.outcomes}
    seeds = sorted({seed for _, _, seed in there})
    strategies = sorted({strategy for _, strategy, _ in there}, key=strategy_order)
    cohort.planned = len(cohort.baselines) * len(strategies) * len(seeds)
    for baseline in cohort.baselines:
        lacking: dict[tuple[int, ...], list[str]] = {}
        for strategy in strategies:
            absent = tuple(seed for seed in seeds if (baseline, strategy, seed) not in there)
            lacking.setdefault(absent, []).append(strategy)
        for absent, names in lacking.items():
            who = names[0] if len(names) == 1 else f"each of {', '.join(names)}"
            which = f"seed{'s' * (len(absent) > 1)} {', '.join(map(str, absent))}"
            cohort.unstarted += [f"{cohort.display(baseline)}, {who}, {which}"] if absent else []


def strategy_order(strategy: str) -> tuple:
    """Sort key: the reference, equal weights, Art and its variants, then the others; numbers by value."""
    head = strategy.partition(":")[0]
    first = {REFERENCE: 0, "equal": 1, "art": 2}.get(head, 3)
    parts = re.split(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)", strategy)
    return first, [(1, float(part), "") if i % 2 else (0, 0.0, part) for i, part in enumerate(parts)]


def _cohort(
    key: str, runs: Sequence[tuple[Run, RunRecord]], protocol: str | None, damage: Mapping[Path, str]
) -> Cohort:
    _, newest = max(runs, key=lambda pair: _newest(pair[0]))
    protocol = protocol or newest.config.evaluate.protocol
    whole = [(run, record) for run, record in runs if run.folder not in damage]
    out = {folder: (SUPERSEDED, reason) for folder, reason in _current(whole).items()}
    out |= {run.folder: (DAMAGED, damage[run.folder]) for run, _ in runs if run.folder in damage}
    names: dict[str, list[pd.Index]] = {}
    outcomes = [_outcome(run, record, protocol, out.get(run.folder), names) for run, record in runs]
    odd = compare([outcome for outcome in outcomes if outcome.state == COUNTED])
    outcomes.sort(key=lambda o: (o.display.casefold(), strategy_order(o.strategy), o.seed, str(o.run.folder)))
    setting = newest.config.setting
    title = newest.display.setting or setting
    cohort = Cohort(key[:8], setting, title, protocol, outcomes, odd=odd)
    columns = _columns(outcomes)
    scored = {dataset for outcome in cohort.counted() for dataset in outcome.datasets}
    cohort.columns = [column for column in columns if column.dataset in scored]
    cohort.unseen = [column for column in columns if column.dataset not in scored]
    return cohort


def _outcome(
    run: Run, record: RunRecord, protocol: str, out: tuple[str, str] | None, names: dict[str, list[pd.Index]]
) -> Outcome:
    status = run.status
    state, reason = COUNTED, " ".join(status.reason.split())
    if out:
        state, reason = out
    elif status.state == State.FAILED:
        state, reason = FAILED, reason or "no reason recorded"
    elif status.state != State.DONE:
        state, reason = UNFINISHED, _progress(run, record) if status.state == State.RUNNING else "not started"
    elif status.fault:
        state, reason = status.fault.value, reason or "no reason recorded"
    outcome = Outcome(run, record, state, reason, protocol, names)
    if state == COUNTED and not outcome.images:
        others = sorted(set(run.scores()["protocol"]))
        outcome.state = UNSCORED
        outcome.reason = f"no scores with protocol {protocol}" + (f", only {', '.join(others)}" if others else "")
    return outcome


def _progress(run: Run, record: RunRecord) -> str:
    """How far an unfinished run came, as far as it is recorded."""
    rhythm, steps = run.rhythm(), record.config.train.steps
    if rhythm.empty:
        return "started, not finished"
    return f"started, recorded up to step {rhythm['step'].max()}" + (f" of {steps}" if steps else "")


def _mean(values: np.ndarray) -> float:
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else math.nan


def _columns(outcomes: Iterable[Outcome]) -> list[DataRecord]:
    """Test sets in the order of ``data.json``, extra ones last; a set that only scores know is put at the end."""
    columns: dict[str, DataRecord] = {}
    for outcome in sorted(outcomes, key=lambda o: o.ended, reverse=True):
        for record in outcome.data:
            if record.role in (Role.TEST, Role.EXTRA):
                columns.setdefault(record.dataset, record)
                found = record.found or 0
                rest = found - len(record.leaked)
                if 0 < rest < found:
                    free = {"dataset": record.dataset + LEAK_FREE, "role": Role.EXTRA, "found": rest, "expected": None}
                    columns.setdefault(record.dataset + LEAK_FREE, record.model_copy(update=free))
    for outcome in outcomes:
        if outcome.state == COUNTED:
            for (dataset, _), images in outcome.images.items():
                columns.setdefault(dataset, DataRecord(role=Role.EXTRA, task=images.task, dataset=dataset))
    return sorted(columns.values(), key=lambda column: column.role == Role.EXTRA)


def _current(runs: Sequence[tuple[Run, RunRecord]]) -> dict[Path, str]:
    """Why a run is superseded, by folder: another training recipe than its baseline's newest finished run, or an older
    repetition, or other training images.

    A cohort shares data, size, profile and overrides, yet a recipe may have changed between two versions of the code;
    seeds of different recipes are not averaged.
    """
    reasons: dict[Path, str] = {}
    chosen: set[tuple[str, str, int]] = set()
    recipes: dict[str, dict[str, JsonValue]] = {}
    trained: dict[str, Run] = {}
    definitions: dict[tuple[str, str], int] = {}
    newest = sorted(runs, key=lambda pair: (pair[0].status.state == State.DONE, *_newest(pair[0])), reverse=True)
    for run, record in newest:
        config = record.config
        identity = (config.baseline, config.strategy, config.seed)
        own = config.train.content() | {"mixing": config.data.mixing}
        recipe = recipes.setdefault(config.baseline, own)
        if own != recipe:
            reasons[run.folder] = f"older training recipe ({_difference(own, recipe)})"
        elif other := differing(trained.setdefault(config.baseline, run).data, run.data, Role.TRAIN):
            reasons[run.folder] = f"trained on other images of {', '.join(other)} than its baseline's newest run"
        elif config.definition != definitions.setdefault(identity[:2], config.definition):
            reasons[run.folder] = "older definition of the strategy"
        elif identity in chosen:
            reasons[run.folder] = "older run of the same baseline, strategy and seed"
        else:
            chosen.add(identity)
    return reasons


def _difference(old: Mapping[str, JsonValue], new: Mapping[str, JsonValue], limit: int = 3) -> str:
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    told = [f"{key} {json.dumps(old.get(key))}, now {json.dumps(new.get(key))}" for key in keys[:limit]]
    return "; ".join(told) + (f" and {len(keys) - limit} more" if len(keys) > limit else "")


def _newest(run: Run) -> tuple[int, str]:
    for name in (schema.STATUS, schema.CONFIG):
        path = run.folder / name
        if path.exists():
            return path.stat().st_mtime_ns, str(run.folder)
    return 0, str(run.folder)
