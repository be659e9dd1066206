"""Figures of sweeps: the average gain over mix against a parameter of a strategy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reports.figures import style
from reports.figures.labels import label_ends
from reports.numbers import header
from reports.numbers.model import AVERAGE, GainTable
from reports.numbers.sweeps import Line, Sweep, positions
from reports.numbers.tables import seed_gains

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
        marks = "marks: mean over seeds; rings and band: single seeds" if table.several_seeds else "one seed"
        title = f"How {sweep.strategy} depends on {sweep.parameter}: {table.cohort.title}"
        style.headline(figure, title, header.context(table.cohort), f"{marks}; 0 is mix")
        ends = {line.name: list(line.rows.values())[-1].average.gain.mean for line in sweep.lines}
        label_ends(axis, ends, {name: (colour, "-") for name, (colour, _) in looks.items()})
        return style.save(figure, stem, kinds)


def _draw(axis: Axes, table: GainTable, line: Line, places: dict[float, float], look: tuple[str, str]) -> None:
    colour, marker = look
    across = [places[value] for value in line.rows]
    seeds = [[g for g in seed_gains(table.cohort, row, AVERAGE) if math.isfinite(g)] for row in line.rows.values()]
    means = [row.average.gain.mean for row in line.rows.values()]
    axis.fill_between(across, [min(s) for s in seeds], [max(s) for s in seeds], color=colour, alpha=0.12, linewidth=0)
    for x, gains in zip(across, seeds, strict=True):
        if len(gains) > 1:
            axis.plot([x] * len(gains), gains, "o", color="white", markeredgecolor=colour, markersize=3.2, zorder=3)
    axis.plot(across, means, color=colour, marker=marker, markersize=5.5, markeredgecolor="white", zorder=4)
