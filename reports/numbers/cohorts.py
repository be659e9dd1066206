"""Cohorts: the runs that one table may hold, read from their files, and what each of them counts for."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd
from pydantic import JsonValue

from reports.numbers.equality import compare
from reports.numbers.joined import SingleTask, join
from reports.numbers.model import REFERENCE, Cohort
from reports.numbers.outcome import LEAK_FREE, Outcome, Standing
from reports.numbers.words import plural
from results import DataRecord, Run, State, schema
from results.integrity import differing
from results.records import Role


def gather(
    runs: Iterable[Run],
    protocol: str | None = None,
    labels: Mapping[str, str] | None = None,
    own: Collection[Path] = (),
) -> list[Cohort]:
    """Split runs into cohorts, newest first (by the time their newest run last changed state).

    Args:
        runs: runs of one setting, in any state.
        protocol: count scores of this protocol; ``None`` takes the one each cohort was evaluated with.
        labels: names for strategies, by spec.
        own: folders of the runs of the command that asks; cohorts with some of them come first.
    """
    groups: dict[str, list[Outcome]] = {}
    unstarted: list[str] = []
    unread: list[str] = []
    for run in (run.legible() for run in runs):
        damage = "; ".join(run.damage().values())
        if record := run.record:
            outcome = Outcome(run, record, labels=labels or {}, own=run.folder in own)
            if damage:
                outcome.leave_out(Standing.DAMAGED, damage)
            groups.setdefault(record.cohort, []).append(outcome)
            continue
        slug, status = run.folder.parent, run.status
        name = f"{slug.parent.name}, {slug.name}, seed {run.folder.name.partition('-')[0]}"
        if damage or status.state == State.DONE:
            unread.append(f"{name}: {damage or f'{schema.CONFIG} is missing'}")
        else:
            failed = f" (failed: {' '.join(status.reason.split())})" if status.state == State.FAILED else ""
            unstarted.append(name + failed)
    ordered = sorted(groups.items(), key=lambda item: (max(o.ended for o in item[1]), item[0]), reverse=True)
    ordered.sort(key=lambda item: not any(outcome.own for outcome in item[1]))
    cohorts = [_cohort(key, outcomes, protocol) for key, outcomes in ordered]
    if cohorts:
        cohorts[0].unstarted, cohorts[0].unread = sorted(unstarted), sorted(unread)
    return cohorts


def collect(cohort: Cohort) -> None:
    """Count the grid of the cohort's baselines, strategies and seeds, and name its runs that have not begun."""
    begun = {(outcome.baseline, outcome.strategy, outcome.seed) for outcome in cohort.outcomes}
    seeds = sorted({seed for _, _, seed in begun})
    strategies = sorted({strategy for _, strategy, _ in begun}, key=strategy_order)
    cohort.planned = len(cohort.baselines) * len(strategies) * len(seeds)
    for baseline in cohort.baselines:
        lacking: dict[tuple[int, ...], list[str]] = {}
        for strategy in strategies:
            absent = tuple(seed for seed in seeds if (baseline, strategy, seed) not in begun)
            lacking.setdefault(absent, []).append(strategy)
        for absent, names in lacking.items():
            who = names[0] if len(names) == 1 else f"each of {', '.join(names)}"
            which = f"{plural(len(absent), 'seed')} {', '.join(map(str, absent))}"
            cohort.unstarted += [f"{cohort.display(baseline)}, {who}, {which}"] if absent else []


def strategy_order(strategy: str) -> tuple[int, list[tuple[int, float, str]]]:
    """Sort key: the reference, equal weights, Art and its variants, then the others; numbers by value."""
    head = strategy.partition(":")[0]
    first = {REFERENCE: 0, "equal": 1, "art": 2}.get(head, 3)
    return first, by_value(strategy)


def by_value(text: str) -> list[tuple[int, float, str]]:
    """Sort key of a text: the numbers in it by their value."""
    parts = re.split(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)", text)
    return [(1, float(part), "") if i % 2 else (0, 0.0, part) for i, part in enumerate(parts)]


def _cohort(key: str, outcomes: list[Outcome], protocol: str | None) -> Cohort:
    newest = max(outcomes, key=lambda outcome: outcome.ended).record
    names: dict[str, list[pd.Index[str]]] = {}
    common = frozenset.intersection(*(frozenset(outcome.record.overrides) for outcome in outcomes))
    for outcome in outcomes:
        outcome.protocol, outcome.names = protocol or newest.config.evaluate.protocol, names
        outcome.common = common
    _supersede([outcome for outcome in outcomes if outcome.counts])
    for outcome in outcomes:
        if outcome.counts:
            _judge(outcome)
    left_out = compare([outcome for outcome in outcomes if outcome.counts])
    outcomes = join(outcomes)
    outcomes.sort(
        key=lambda o: (
            o.network.casefold(), by_value(" ".join(o.varied)), strategy_order(o.strategy), o.seed, str(o.run.folder)
        )
    )  # fmt: skip
    columns = _columns(outcomes)
    scored = {dataset for outcome in outcomes if outcome.counts for dataset in outcome.datasets}
    return Cohort(
        key=key[:8],
        setting=newest.config.setting,
        title=newest.display.setting or newest.config.setting,
        protocol=protocol or newest.config.evaluate.protocol,
        outcomes=outcomes,
        columns=[column for column in columns if column.dataset in scored],
        unseen=[column for column in columns if column.dataset not in scored],
        left_out=left_out,
    )


def _judge(outcome: Outcome) -> None:
    """Let a run count only where it is finished, without a fault, and scored."""
    status = outcome.run.status
    reason = " ".join(status.reason.split())
    if status.state == State.FAILED:
        outcome.leave_out(Standing.FAILED, reason or "no reason recorded")
    elif status.state != State.DONE:
        begun = status.state == State.RUNNING
        outcome.leave_out(Standing.UNFINISHED, _progress(outcome) if begun else "not started")
    elif status.fault:
        outcome.leave_out(Standing(status.fault.value), reason or "no reason recorded")
    elif not outcome.images:
        others = sorted(set(outcome.run.scores()["protocol"]))
        only = f", only {', '.join(others)}" if others else ""
        outcome.leave_out(Standing.UNSCORED, f"no scores with protocol {outcome.protocol}{only}")
    else:
        outcome.reason = reason


def _progress(outcome: Outcome) -> str:
    """How far an unfinished run came, as far as it is recorded."""
    rhythm, steps = outcome.rhythm(), outcome.config.train.steps
    if rhythm.empty:
        return "started, not finished"
    return f"started, recorded up to step {rhythm['step'].max()}" + (f" of {steps}" if steps else "")


def _columns(outcomes: Iterable[Outcome]) -> list[DataRecord]:
    """Test sets in the order of ``data.json``, extra ones last; a set that only scores know is put at the end.

    Networks of one task each do not know the order of the tasks: they are asked last.
    """
    columns: dict[str, DataRecord] = {}
    for outcome in sorted(outcomes, key=lambda o: (not isinstance(o, SingleTask), o.ended), reverse=True):
        for record in outcome.data:
            if record.role in (Role.TEST, Role.EXTRA):
                columns.setdefault(record.dataset, record)
                found = record.found or 0
                rest = found - len(record.leaked)
                if 0 < rest < found:
                    free = {"dataset": record.dataset + LEAK_FREE, "role": Role.EXTRA, "found": rest, "expected": None}
                    columns.setdefault(record.dataset + LEAK_FREE, record.model_copy(update=free))
    for outcome in outcomes:
        if outcome.counts:
            for (dataset, _), images in outcome.images.items():
                columns.setdefault(dataset, DataRecord(role=Role.EXTRA, task=images.task, dataset=dataset))
    return sorted(columns.values(), key=lambda column: column.role == Role.EXTRA)


def _supersede(outcomes: Sequence[Outcome]) -> None:
    """Leave out runs of another training recipe than their baseline's newest finished run, older repetitions, runs with
    other training images, and tuned ones with other parameters than the newest.

    A cohort shares data, size, profile and overrides that are not swept, yet a recipe may have changed between two
    versions of the code; seeds of different recipes are not averaged.
    """
    chosen: set[tuple[str, str, str, int]] = set()
    recipes: dict[str, dict[str, JsonValue]] = {}
    trained: dict[str, list[DataRecord]] = {}
    definitions: dict[tuple[str, str, str], int] = {}
    found: dict[tuple[str, str, str], tuple[str, float | None]] = {}
    for outcome in sorted(outcomes, key=lambda o: (o.run.status.state == State.DONE, *o.ended), reverse=True):
        config, reason = outcome.config, ""
        identity = (outcome.baseline, outcome.strategy, config.terms.task, config.seed)
        recipe = config.recipe
        newest = recipes.setdefault(outcome.baseline, recipe)
        if recipe != newest:
            reason = f"older training recipe ({difference(recipe, newest)})"
        elif other := differing(trained.setdefault(config.baseline, outcome.data), outcome.data, Role.TRAIN):
            reason = f"trained on other images of {', '.join(other)} than its baseline's newest run"
        elif config.definition != definitions.setdefault(identity[:3], config.definition):
            reason = "older definition of the strategy"
        elif config.terms.tuned and (chose := (config.strategy, config.train.lr)) != found.setdefault(
            identity[:3], chose
        ):
            reason = "other parameters than those found last"
        elif identity in chosen:
            reason = "older run of the same baseline, strategy and seed"
        else:
            chosen.add(identity)
        if reason:
            outcome.leave_out(Standing.SUPERSEDED, reason)


def difference(old: Mapping[str, JsonValue], new: Mapping[str, JsonValue], limit: int = 3) -> str:
    """In what an older recipe differs from a newer one, for people."""
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    changes = [f"{key} {json.dumps(old.get(key))}, now {json.dumps(new.get(key))}" for key in keys[:limit]]
    return "; ".join(changes) + (f" and {len(keys) - limit} more" if len(keys) > limit else "")
