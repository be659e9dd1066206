"""Sweeps: the average gain over mix against one numeric parameter of a strategy, such as Art's tau."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports.figures import style
from reports.figures.labels import label_ends
from reports.formats.text import blocks, with_spread
from reports.numbers import header
from reports.numbers.cohorts import AVERAGE, REFERENCE, Cohort
from reports.numbers.statistics import Spread
from reports.numbers.tables import GainTable, Row, seed_gains

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
        return f"{self.display}, {self.other}" if self.other else self.display


@dataclass(frozen=True)
class Sweep:
    """Strategies of one name that differ in one numeric parameter."""

    strategy: str
    parameter: str
    lines: list[Line]

    @property
    def values(self) -> list[float]:
        return sorted({value for line in self.lines for value in line.rows})

    @property
    def stem(self) -> str:
        """``sweep-art-tau``, with nothing in it that a file name should not have."""
        return style.file_name(f"sweep-{self.strategy}-{self.parameter}")


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
        if row.pairs and row.strategy != REFERENCE and row.cells[AVERAGE, "psnr"].gain.n:
            name, parameters = _parameters(table.cohort, row)
            for key, value in parameters.items():
                if _numeric(value):
                    others = ", ".join(f"{k}={_text(v)}" for k, v in sorted(parameters.items()) if k != key)
                    lines = groups.setdefault((name, key), {})
                    lines.setdefault((row.display, others), {})[float(value)] = row
    found = []
    for (name, key), several in sorted(groups.items()):
        if max(map(len, several.values())) >= LEAST:
            kept = {line: rows for line, rows in several.items() if len(rows) > 1}
            told = _telling([others for _, others in kept])
            lines = [Line(display, told[o], dict(sorted(rows.items()))) for (display, o), rows in kept.items()]
            found.append(Sweep(name, key, lines))
    return found


def sweep_text(sweep: Sweep, several_seeds: bool) -> str:
    """The gains as a small table, a line a baseline, a column a value."""
    spreads = "; mean ± standard deviation over n seeds" if several_seeds else ""
    title = f"Sweep of {sweep.strategy}'s {sweep.parameter}: average gain over mix, PSNR in dB{spreads}"
    return "\n\n".join(blocks(title, *sweep_cells(sweep)))


def sweep_cells(sweep: Sweep) -> tuple[list[list[str]], list[list[str]]]:
    """``(head, lines)`` of that table; n is the range over the values."""
    lines = []
    for line in sweep.lines:
        pairs = sorted({row.pairs for row in line.rows.values()})
        n = str(pairs[0]) if len(pairs) == 1 else f"{pairs[0]} to {pairs[-1]}"
        cells = [_cell(line.rows[value]) if value in line.rows else "" for value in sweep.values]
        lines.append([line.name, n, *cells])
    return [["", "n", *(f"{sweep.parameter}={value:g}" for value in sweep.values)]], lines


def sweep_figure(table: GainTable, sweep: Sweep, stem: Path, kinds: Sequence[str] = style.KINDS) -> list[Path]:
    """Mean gain against the parameter, a ring a seed, its range as a band; writes ``<stem>.png``/``.svg``."""
    looks = style.strategy_styles([line.name for line in sweep.lines])
    places, ticks = positions(sweep.values)
    with style.look():
        room = 0.4 + 0.058 * max(len(line.name) for line in sweep.lines)
        figure = style.canvas(0.75 + 4.2 + room, 3.9, fixed=True)
        place = {"left": 0.75, "right": room, "top": 0.85, "bottom": 0.5, "between": 0.0, "below": 0.0}
        axis = style.panels(figure, 1, 1, place)[0, 0]
        axis.axhline(0, color="black", linewidth=0.8)
        for line in sweep.lines:
            _draw(axis, table, line, places, looks[line.name])
        low, high = min(places.values()), max(places.values())
        margin = 0.04 * (high - low)
        axis.set_xlim(low - margin, high + margin)
        axis.set_xticks(list(ticks), list(ticks.values()))
        axis.set_xlabel(f"{sweep.parameter} of {sweep.strategy}")
        axis.set_ylabel("average gain over mix, PSNR in dB")
        told = "marks: mean over seeds; rings and band: single seeds" if table.several_seeds else "one seed"
        title = f"How {sweep.strategy} depends on {sweep.parameter}: {table.cohort.title}"
        style.headline(figure, title, header.context(table.cohort), f"{told}; 0 is mix")
        ends = {line.name: list(line.rows.values())[-1].cells[AVERAGE, "psnr"].gain.mean for line in sweep.lines}
        label_ends(axis, ends, {name: (colour, "-") for name, (colour, _) in looks.items()})
        return style.save(figure, stem, kinds)


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


def _parameters(cohort: Cohort, row: Row) -> tuple[str, dict[str, Any]]:
    """Name and parameters of a row's strategy."""
    parts = row.strategy.split(":")
    named = [part for part in parts[1:] if "=" in part]
    name = ":".join(part for part in parts if part not in named)
    recorded = cohort.counted(row.baseline, row.strategy)[0].record.parameters
    if recorded is not None:
        flags = {key for key, value in recorded.items() if value is True}
        return ":".join(part for part in name.split(":") if part not in flags), dict(recorded)
    return name, {key: _value(value) for key, _, value in (part.partition("=") for part in named)}


def _value(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _numeric(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > -math.inf


def _text(value: Any) -> str:
    return f"{value:g}" if _numeric(value) else str(value)


def _telling(others: Sequence[str]) -> dict[str, str]:
    """The part of each text of other parameters in which they differ."""
    split = {text: text.split(", ") for text in others}
    common = set.intersection(*map(set, split.values()))
    return {text: ", ".join(part for part in parts if part not in common) for text, parts in split.items()}


def _cell(row: Row) -> str:
    gain = row.cells[AVERAGE, "psnr"].gain
    return with_spread(Spread(gain.mean, gain.std, gain.n), 2, signed=True)


def _draw(axis: Axes, table: GainTable, line: Line, places: dict[float, float], look: tuple[str, str]) -> None:
    colour, marker = look
    across = [places[value] for value in line.rows]
    seeds = [[g for g in seed_gains(table.cohort, row, AVERAGE) if math.isfinite(g)] for row in line.rows.values()]
    means = [row.cells[AVERAGE, "psnr"].gain.mean for row in line.rows.values()]
    axis.fill_between(across, [min(s) for s in seeds], [max(s) for s in seeds], color=colour, alpha=0.12, linewidth=0)
    for x, ones in zip(across, seeds, strict=True):
        if len(ones) > 1:
            axis.plot([x] * len(ones), ones, "o", color="white", markeredgecolor=colour, markersize=3.2, zorder=3)
    axis.plot(across, means, color=colour, marker=marker, markersize=5.5, markeredgecolor="white", zorder=4)
