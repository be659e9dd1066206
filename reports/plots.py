"""Figures: the rhythm of a baseline's strategies side by side, and the gains over mix of a cohort."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports import header, style
from reports.cohorts import REFERENCE, Cohort
from reports.labels import label_ends, log_scale
from reports.rhythms import POINTS, Rhythm, rhythms, thin
from reports.tables import GainTable, Row, seed_gains

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

COLUMNS = 4
"""Strategies side by side in one figure."""


def rhythm_figures(cohort: Cohort, baseline: str, stem: Path) -> list[Path]:
    """Rhythm of one seed of every strategy; mix first in each figure of :data:`COLUMNS` strategies.

    Writes ``<stem>.png``/``.svg``, further figures as ``<stem>-part2``, ...; nothing where no run left a rhythm.
    """
    paths = []
    for name, group in in_groups(rhythms(cohort, baseline), stem, lambda rhythm: rhythm.outcome.strategy):
        paths += _rhythm_figure(cohort, group, name)
    return paths


def in_groups(items: Sequence, stem: Path, strategy: Callable[[Any], str]) -> Iterator[tuple[Path, list]]:
    """``(stem of the file, items)`` for figures of at most :data:`COLUMNS` strategies, the reference first in each."""
    first = [item for item in items if strategy(item) == REFERENCE]
    others = [item for item in items if strategy(item) != REFERENCE]
    size = COLUMNS - len(first)
    groups = [first + others[i : i + size] for i in range(0, len(others), size)] or ([first] if first else [])
    for i, group in enumerate(groups):
        yield stem if i == 0 else stem.with_name(f"{stem.name}-part{i + 1}"), group


def gain_figure(table: GainTable, stem: Path) -> list[Path]:
    """Gain over mix on every test set: a dot a seed, the mean, its t-interval; nothing where there is no gain."""
    rows = [row for row in table.rows if row.pairs]
    baselines = list(dict.fromkeys(row.baseline for row in rows))
    if not rows or "psnr" not in table.cohort.metrics:
        return []
    strategies = list(dict.fromkeys(row.strategy for row in table.rows if row.strategy != REFERENCE))
    styles = style.strategy_styles(strategies)
    names = table.datasets
    height = 1.4 + len(names) * max(0.36, 0.09 * len(strategies) + 0.12)
    step = 0.8 / max(3, len(strategies))
    with style.look():
        figure = style.canvas(1.6 + 3.2 * len(baselines), height)
        panels = figure.subplots(1, len(baselines), sharey=True, sharex=True, squeeze=False)[0]
        for panel, baseline in zip(panels, baselines, strict=True):
            for row in (row for row in rows if row.baseline == baseline):
                offset = step * ((len(strategies) - 1) / 2 - strategies.index(row.strategy))
                _gain_dots(panel, table, row, offset, styles[row.strategy])
            _gain_axes(panel, table, rows)
            panel.set_title(rows[[row.baseline for row in rows].index(baseline)].display)
        handles = [_handle(name, *styles[name]) for name in strategies if any(row.strategy == name for row in rows)]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(5, len(handles)), frameon=False)
        title = f"Gain over mix training: {table.cohort.title}"
        style.headline(figure, title, header.context(table.cohort), _marks_words(table))
        return style.save(figure, stem)


def _rhythm_figure(cohort: Cohort, shown: Sequence[Rhythm], stem: Path) -> list[Path]:
    tasks = list(dict.fromkeys(task for rhythm in shown for task in rhythm.loss.columns))
    styles = style.task_styles(tasks)
    with style.look():
        room = 0.4 + 0.055 * max(map(len, tasks))  # inches, for the task names at the right of each panel
        figure = style.canvas(0.8 + (2.3 + room) * max(2, len(shown)), 7.6, fixed=True)
        place = {"left": 0.8, "right": room, "top": 0.9, "bottom": 0.45, "between": room, "below": 0.42}
        axes = style.panels(figure, 3, len(shown), place)
        for column, rhythm in enumerate(shown):
            loss, level, weight = axes[:, column]
            _faint(loss, rhythm.loss, styles)
            _lines(loss, rhythm.smooth, styles)
            _lines(level, rhythm.level, styles)
            _shares(weight, rhythm, styles)
            seed = "" if len({r.outcome.seed for r in shown}) == 1 else f", seed {rhythm.outcome.seed}"
            loss.set_title(rhythm.title + seed)
            weight.set_xlabel("step")
            loss.set_xlim(rhythm.loss.index[0], rhythm.loss.index[-1])  # the labels begin where the lines end
        for axis in axes[:2, 0]:
            log_scale(axis)
        axes[0, 0].set_ylabel("loss\n(mean absolute error)")
        axes[1, 0].set_ylabel("running level of the loss\n(mean absolute error)")
        axes[2, 0].set_ylabel("share of the weights")
        axes[2, 0].set_ylim(0, 1)
        style.headline(figure, *_rhythm_title(cohort, shown))
        for column, rhythm in enumerate(shown):
            _label_lines(axes[0, column], rhythm.smooth, styles)
            _label_lines(axes[1, column], rhythm.level, styles)
            _label_bands(axes[2, column], rhythm, styles)
        return style.save(figure, stem)


def _rhythm_title(cohort: Cohort, shown: Sequence[Rhythm]) -> tuple[str, ...]:
    seeds = sorted({rhythm.outcome.seed for rhythm in shown})
    seed = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}"
    return (
        f"How each task learns: {shown[0].outcome.display}, {cohort.title}",
        f"{header.context(cohort)}, {seed}",
        f"faint: recorded steps; strong lines and shares: mean over {shown[0].window} of them",
    )


def _faint(axis: Axes, table: pd.DataFrame, styles: dict) -> None:
    few = thin(table, 3 * POINTS)
    for task in few.columns:
        axis.plot(few.index, few[task], color=styles[task][0], linewidth=0.5, alpha=0.22, rasterized=True)


def _lines(axis: Axes, table: pd.DataFrame, styles: dict) -> None:
    few = thin(table)
    for task in few.columns:
        colour, line = styles[task]
        axis.plot(few.index, few[task], color=colour, linestyle=line, linewidth=1.5)


def _shares(axis: Axes, rhythm: Rhythm, styles: dict) -> None:
    """Stacked shares, their mean over the window: single steps are not readable."""
    if rhythm.shares.empty:
        words = "no weights: the update\nis made from gradients"
        axis.text(0.5, 0.5, words, transform=axis.transAxes, ha="center", va="center")
        return
    smooth = thin(rhythm.smooth_shares)
    colours = [styles[task][0] for task in smooth.columns]
    axis.stackplot(smooth.index, smooth.to_numpy().T, colors=colours, alpha=0.75, edgecolor="white", linewidth=0.8)
    axis.set_title(rhythm.share_words, fontsize=7, fontweight="normal", loc="left")


def _label_lines(axis: Axes, table: pd.DataFrame, styles: dict) -> None:
    """Task names at the right end of their lines."""
    label_ends(axis, {name: column.dropna().iloc[-1] for name, column in table.items() if column.notna().any()}, styles)


def _label_bands(axis: Axes, rhythm: Rhythm, styles: dict) -> None:
    if not rhythm.shares.empty:
        last = rhythm.smooth_shares.iloc[-1]
        label_ends(axis, dict(last.cumsum() - last / 2), styles)


def _gain_dots(panel: Axes, table: GainTable, row: Row, offset: float, look: tuple[str, str]) -> None:
    colour, marker = look
    for place, dataset in enumerate(table.datasets):
        gain = row.cells[dataset, "psnr"].gain
        if not gain.n:
            continue
        y = len(table.datasets) - 1 - place + offset
        if gain.n > 1:
            panel.plot([gain.low, gain.high], [y, y], color=colour, linewidth=1.2)
            ones = seed_gains(table.cohort, row, dataset)
            panel.plot(ones, [y] * len(ones), "o", color="white", markeredgecolor=colour, markersize=3.2, zorder=3)
        panel.plot(gain.mean, y, marker, color=colour, markersize=5.5, markeredgecolor="white", zorder=4)


def _gain_axes(panel: Axes, table: GainTable, rows: Sequence[Row]) -> None:
    """Test sets downwards, mix as the line at zero; limits from the seeds: an interval of two seeds may leave them."""
    names = [table.heading(dataset).replace(" (", "\n(") for dataset in table.datasets]
    panel.axvline(0, color="black", linewidth=0.8)
    panel.set_yticks(range(len(names) - 1, -1, -1), names)
    panel.set_ylim(-0.6, len(names) - 0.4)
    panel.grid(axis="y", visible=False)
    for y in range(len(names) - 1):
        panel.axhline(y + 0.5, color="#E4E4E4", linewidth=0.6, zorder=0)
    values = [0.0, *(g for row in rows for dataset in table.datasets for g in seed_gains(table.cohort, row, dataset))]
    values = [value for value in values if math.isfinite(value)]
    margin = 0.25 * max(max(values) - min(values), 0.2)
    panel.set_xlim(min(values) - margin, max(values) + margin)
    panel.set_xlabel("gain over mix, PSNR in dB")


def _handle(name: str, colour: str, marker: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, marker=marker, linestyle="none", label=name)


def _marks_words(table: GainTable) -> str:
    if table.several_seeds:
        return "full marks: mean over seeds; rings: single seeds; lines: 95 % t-intervals, cut at the frame"
    return "one seed, spread unknown"
