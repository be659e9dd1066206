"""Sweeps: the average gain over mix against one numeric parameter of a strategy, such as Art's tau, or against a number
of the recipe, such as the learning rate, mix having the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard

from pydantic import JsonValue

from reports.numbers.model import Cohort, GainTable, Row
from reports.numbers.outcome import Outcome
from results.records import SWEPT

LEAST = 3
"""Values of a parameter from which they make a sweep."""

DECADE = 10
"""Ratio of the largest to the smallest value from which the axis is logarithmic."""


@dataclass(frozen=True)
class Line:
    """One baseline's gains: rows of the table by value of the parameter, rising; ``other`` tells the other parameters
    where the sweep was made with several choices of them."""

    display: str
    other: str
    rows: dict[float, Row]

    @property
    def name(self) -> str:
        """The baseline, with the other parameters where they differ."""
        return f"{self.display}, {self.other}" if self.other else self.display


@dataclass(frozen=True)
class Sweep:
    """Strategies of one name that differ in one numeric parameter."""

    strategy: str
    parameter: str
    lines: list[Line]

    @property
    def values(self) -> list[float]:
        """All values of the parameter, rising."""
        return sorted({value for line in self.lines for value in line.rows})


def sweeps(table: GainTable) -> list[Sweep]:
    """Every parameter of which a baseline has :data:`LEAST` values with a gain, all other parameters being equal.

    Other baselines are drawn with it from two values on.

    Parameters are those of the run's record (defaults resolved); where an older record has none, those of its name,
    and a strategy that leaves one out does not count for it.
    """
    if "psnr" not in table.cohort.metrics or not table.cohort.tested:
        return []
    groups: dict[tuple[str, str], dict[tuple[str, str], dict[float, Row]]] = {}
    for row in table.rows:
        if row.average.gain.n:
            name, parameters = _parameters(table.cohort, row)
            for key, value in parameters.items():
                if _numeric(value):
                    others = ", ".join(f"{k}={_text(v)}" for k, v in sorted(parameters.items()) if k != key)
                    lines = groups.setdefault((name, key), {})
                    lines.setdefault((row.network, others), {})[float(value)] = row
    found: list[Sweep] = []
    for (name, key), several in sorted(groups.items()):
        if max(map(len, several.values())) >= LEAST:
            long = {line: rows for line, rows in several.items() if len(rows) > 1}
            differences = _differences([others for _, others in long])
            lines = [
                Line(display, differences[others], dict(sorted(rows.items())))
                for (display, others), rows in long.items()
            ]
            found.append(Sweep(name, key, lines))
    return found


def positions(values: Sequence[float]) -> tuple[dict[float, float], dict[float, str]]:
    """Where values stand on the axis, and its ticks: logarithmic where they span decades, infinity a step further.

    Args:
        values: rising and distinct, at least two of them finite.
    """
    finite = [value for value in values if math.isfinite(value)]
    logarithmic = finite[0] > 0 and finite[-1] / finite[0] >= DECADE
    places = {value: math.log10(value) if logarithmic else value for value in finite}
    step = places[finite[-1]] - places[finite[-2]]
    if math.inf in values:
        places[math.inf] = places[finite[-1]] + step
    ticks: dict[float, str] = {}
    reach = max(places.values()) - min(places.values())
    for value in reversed(values):  # labels that would touch are left out, the ends never
        if all(abs(places[value] - taken) > 0.09 * reach for taken in ticks):
            ticks[places[value]] = "∞" if math.isinf(value) else f"{value:g}"
    return places, ticks


def _parameters(cohort: Cohort, row: Row) -> tuple[str, dict[str, JsonValue]]:
    """Name and parameters of a row's strategy."""
    parts = row.strategy.split(":")
    named = [part for part in parts[1:] if "=" in part]
    name = ":".join(part for part in parts if part not in named)
    first = cohort.counted(row.baseline, row.strategy)[0]
    recorded, recipe = first.record.parameters, _of_recipe(cohort, first)
    if recorded is not None:
        flags = {key for key, value in recorded.items() if value is True}
        return ":".join(part for part in name.split(":") if part not in flags), recorded | recipe
    return name, {key: _value(value) for key, _, value in (part.partition("=") for part in named)} | recipe


def _of_recipe(cohort: Cohort, outcome: Outcome) -> dict[str, JsonValue]:
    """What is swept of the recipe of a run's network, with the run's values."""
    recipes = [other.config.recipe for other in cohort.counted() if other.config.baseline == outcome.config.baseline]
    names = {key: key.removeprefix("train.") for key in sorted(SWEPT)}
    return {
        key: outcome.config.recipe.get(name)
        for key, name in names.items()
        if any(recipe.get(name) != recipes[0].get(name) for recipe in recipes)
    }


def _value(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _numeric(value: JsonValue) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > -math.inf


def _text(value: JsonValue) -> str:
    return f"{value:g}" if _numeric(value) else str(value)


def _differences(others: Sequence[str]) -> dict[str, str]:
    """The part of each text of other parameters in which they differ."""
    split = {text: text.split(", ") for text in others}
    common = set.intersection(*map(set, split.values()))
    return {text: ", ".join(part for part in parts if part not in common) for text, parts in split.items()}
