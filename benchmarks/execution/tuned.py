"""Searches seen from the runs they are for: what stands for a recipe, and what was found for it."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import art
from art.registry import weights_only
from benchmarks.config.configuration import Config
from benchmarks.config.errors import UserError
from benchmarks.config.settings import Setting
from results import Damaged, tuning
from results.tuning import Search

RATE = "learning rate x"
"""Name of the learning rate's factor among what is searched."""

RATES = art.Range(0.25, 4, log=True)
"""Of that factor, for every strategy alike."""


def needs_values(spec: str) -> bool:
    """Whether a strategy cannot run before a search has found its parameters: ``fixed``.

    Raises:
        ValueError: for a spec that cannot be.
    """
    name, given = art.parse(spec)
    return weights_only(name) and not given


def typed(spec: str, tasks: Sequence[str]) -> str:
    """The one spelling of a strategy that is searched.

    Raises:
        ValueError: for a spec that cannot be.
    """
    return spec if needs_values(spec) else art.canonical(spec, tasks)


def beginning(spec: str, tasks: Sequence[str]) -> str:
    """The spec of a strategy at its defaults.

    Raises:
        ValueError: for a spec, or a declared range, that cannot be.
    """
    values = art.start(spec, tasks)
    return art.with_parameters(spec, values, tasks) if values else art.canonical(spec, tasks)


def recipe(config: Config, strategy: str, tasks: Sequence[str]) -> str:
    """Stands for all that a search and the runs that take its result must have alike: everything that trains but the
    seed, the strategy as typed, and what is searched.

    Args:
        config: of a run at the defaults, with the fingerprint of its images.
        strategy: as typed.
        tasks: names of the tasks.
    """
    content = config.identifying() | {"strategy": strategy, "definition": config.definition}
    content.pop("seed")
    space = {key: repr(values) for key, values in art.search_space(strategy, tasks).items()}
    return digest(content | {"space": space, "rates": repr(RATES)})


def digest(content: Mapping[str, Any]) -> str:
    """A short name for content that JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def read_all(output: Path, setting: str) -> list[Search]:
    """The searches of a setting.

    Raises:
        UserError: for one that cannot be read.
    """
    try:
        return tuning.searches(output, setting)
    except Damaged as damaged:
        raise UserError(f"{damaged.path}: {damaged.reason}; put it back as it was, or move it away.") from damaged


def found(
    output: Path,
    setting: Setting,
    strategies: Sequence[str],
    usual: Callable[[str], Sequence[Config]],
    again: Callable[[Sequence[str]], str],
) -> list[Config]:
    """Runs with what searches have found, beside those of ``usual``.

    Args:
        output: the output folder.
        setting: with its tasks.
        strategies: as typed, in their one spelling; mix is among them.
        usual: the runs of a strategy's spec, for every baseline and seed.
        again: what ``python -m benchmarks.tune`` is to be given for some strategies.

    Raises:
        UserError: with all strategies whose search is missing or has not ended, or that were tuned on these seeds.
    """
    if "mix" not in strategies:
        raise UserError("--tuned compares with mix, tuned as the others were: add mix to --strategies.")
    known, tasks = read_all(output, setting.name), setting.task_names
    runs: list[Config] = []
    taken: list[Search] = []
    problems, lacking = dict[str, None](), list[str]()
    tuned_on: dict[int, dict[str, None]] = {}
    for strategy in strategies:
        for config in usual(beginning(strategy, tasks)):
            search = _of(known, recipe(config, strategy, tasks))
            best = search.best if search else None
            where = f"{strategy} on {config.baseline}"
            if search is None or best is None:
                every = "; every trial failed" * bool(search and search.trials)
                problems[f"{where} has no finished search{every}"] = None
                lacking.append(strategy)
            elif config.seed in search.seeds:
                tuned_on.setdefault(config.seed, {})[strategy] = None
            else:
                spec = {"strategy": best.strategy, "definition": art.definition(best.strategy)}
                chosen = config.model_copy(update=spec)
                runs.append(chosen.on_terms(rate=best.factor, tuned=strategy, trials=len(search.trials)))
                taken.append(search)
    for seed, names in tuned_on.items():
        problems[f"seed {seed} chose what would be judged on it: of {', '.join(names)}; take other --seeds"] = None
    if problems:
        advice = f" Search first: python -m benchmarks.tune {again(list(dict.fromkeys(lacking)))}"
        raise UserError(f"--tuned cannot be as asked for.{advice if lacking else ''}", problems)
    _warn(taken)
    return runs


def _of(known: Sequence[Search], recipe: str) -> Search | None:
    """The finished search of a recipe; of several, on other seeds or images, that of most trials."""
    fitting = [search for search in known if search.recipe == recipe and search.finished and search.trials]
    return max(fitting, key=lambda search: (len(search.trials), len(search.seeds), search.key), default=None)


def _warn(taken: Sequence[Search]) -> None:
    """Say where strategies were not tuned alike."""
    for what, value in {
        "trials": lambda search: len(search.trials),
        "tuning seeds": lambda search: " ".join(map(str, search.seeds)),
        "validation images a task": lambda search: search.validation,
    }.items():  # fmt: skip
        by_value: dict[str, dict[str, None]] = {}
        for search in taken:
            by_value.setdefault(str(value(search)), {})[search.strategy] = None
        if len(by_value) > 1:
            words = "; ".join(f"{count}: {', '.join(names)}" for count, names in by_value.items())
            print(f"warning: these strategies were not tuned alike, {what} {words}.", file=sys.stderr)
