"""Figures: the rhythm of a baseline's strategies side by side, and the gains over mix of a cohort."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reports import style
from reports.cohorts import COUNTED, REFERENCE, Cohort, Outcome
from reports.tables import GainTable, Row, score

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

COLUMNS = 4
"""Strategies side by side in one figure."""

POINTS = 200
"""Points a curve is thinned to: about the width of a panel in pixels."""


@dataclass(frozen=True)
class Rhythm:
    """One strategy's curves: tables of step x task, smoothed over ``window`` recorded steps."""

    outcome: Outcome
    loss: pd.DataFrame
    smooth: pd.DataFrame
    level: pd.DataFrame
    weight: pd.DataFrame
    window: int

    @property
    def title(self) -> str:
        state = "" if self.outcome.state == COUNTED else f" ({self.outcome.state})"
        return f"{self.outcome.strategy}{state}"


def rhythm_figures(cohort: Cohort, baseline: str, stem: Path) -> list[Path]:
    """Rhythm of one seed of every strategy; mix first in each figure of :data:`COLUMNS` strategies.

    Writes ``<stem>.png``/``.svg``, further figures as ``<stem>-part2``, ...; nothing where no run left a rhythm.
    """
    rhythms = _rhythms(cohort, baseline)
    first = [r for r in rhythms if r.outcome.strategy == REFERENCE]
    others = [r for r in rhythms if r.outcome.strategy != REFERENCE]
    size = COLUMNS - len(first)
    groups = [first + others[i : i + size] for i in range(0, len(others), size)] or ([first] if first else [])
    paths = []
    for i, group in enumerate(groups):
        name = stem if i == 0 else stem.with_name(f"{stem.name}-part{i + 1}")
        paths += _rhythm_figure(cohort, group, name)
    return paths


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
        style.headline(figure, title, _context(table.cohort), _marks_words(table))
        return style.save(figure, stem)


def _rhythms(cohort: Cohort, baseline: str) -> list[Rhythm]:
    """One run a strategy, of the seed that most strategies have; collapsed runs only where nothing else is left."""
    usable = [o for o in cohort.select(baseline) if o.state in (COUNTED, "collapsed", "unscored", "unfinished")]
    seeds = [o.seed for o in usable if o.state == COUNTED]
    common = max(sorted(set(seeds)), key=seeds.count, default=None)
    chosen = []
    for strategy in cohort.strategies(baseline):
        candidates = [o for o in usable if o.strategy == strategy]
        candidates.sort(key=lambda o: (o.state != COUNTED, o.seed != common, o.seed))
        for outcome in candidates:
            table = outcome.run.rhythm()
            if not table.empty:
                chosen.append(_rhythm(outcome, table))
                break
    return chosen


def _rhythm(outcome: Outcome, table: pd.DataFrame) -> Rhythm:
    tasks = list(dict.fromkeys(table["task"]))
    wide = {
        name: table.pivot(index="step", columns="task", values=name)[tasks] for name in ("loss", "running", "weight")
    }
    window = max(5, len(wide["loss"]) // 20)
    rolling = {name: frame.rolling(window, center=True, min_periods=1).mean() for name, frame in wide.items()}
    return Rhythm(outcome, wide["loss"], rolling["loss"], wide["running"], wide["weight"], window)


def _rhythm_figure(cohort: Cohort, rhythms: Sequence[Rhythm], stem: Path) -> list[Path]:
    tasks = list(dict.fromkeys(task for rhythm in rhythms for task in rhythm.loss.columns))
    styles = style.task_styles(tasks)
    with style.look():
        room = 0.4 + 0.055 * max(map(len, tasks))  # inches, for the task names at the right of each panel
        figure = style.canvas(0.8 + (2.3 + room) * max(2, len(rhythms)), 7.6, fixed=True)
        place = {"left": 0.8, "right": room, "top": 0.9, "bottom": 0.45, "between": room, "below": 0.42}
        axes = style.panels(figure, 3, len(rhythms), place)
        for column, rhythm in enumerate(rhythms):
            loss, level, weight = axes[:, column]
            _faint(loss, rhythm.loss, styles)
            _lines(loss, rhythm.smooth, styles)
            _lines(level, rhythm.level, styles)
            _shares(weight, rhythm.weight, rhythm.window, styles)
            seed = "" if len({r.outcome.seed for r in rhythms}) == 1 else f", seed {rhythm.outcome.seed}"
            loss.set_title(rhythm.title + seed)
            weight.set_xlabel("step")
            loss.set_xlim(rhythm.loss.index[0], rhythm.loss.index[-1])  # the labels begin where the lines end
        for axis in axes[:2, 0]:
            _log_scale(axis)
        axes[0, 0].set_ylabel("loss\n(mean absolute error)")
        axes[1, 0].set_ylabel("running level of the loss\n(mean absolute error)")
        axes[2, 0].set_ylabel("share of the weights")
        axes[2, 0].set_ylim(0, 1)
        style.headline(figure, *_rhythm_title(cohort, rhythms))
        for column, rhythm in enumerate(rhythms):
            _label_ends(axes[0, column], rhythm.smooth, styles)
            _label_ends(axes[1, column], rhythm.level, styles)
            _label_bands(axes[2, column], rhythm.weight, rhythm.window, styles)
        return style.save(figure, stem)


def _rhythm_title(cohort: Cohort, rhythms: Sequence[Rhythm]) -> tuple[str, ...]:
    seeds = sorted({rhythm.outcome.seed for rhythm in rhythms})
    seed = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}"
    return (
        f"How each task learns: {rhythms[0].outcome.display}, {cohort.title}",
        f"{_context(cohort)}, {seed}",
        f"faint: recorded steps; strong lines and shares: mean over {rhythms[0].window} of them",
    )


def _context(cohort: Cohort) -> str:
    config = cohort.config
    source = {"embedded": "embedded data", "files": "data from files"}.get(config.get("data", {}).get("source"), "data")
    return f"{config.get('size')} network, {config.get('profile')} profile, {source}"


def _faint(axis: Axes, table: pd.DataFrame, styles: dict) -> None:
    thin = _thin(table, 3 * POINTS)
    for task in thin.columns:
        axis.plot(thin.index, thin[task], color=styles[task][0], linewidth=0.5, alpha=0.22, rasterized=True)


def _lines(axis: Axes, table: pd.DataFrame, styles: dict) -> None:
    thin = _thin(table)
    for task in thin.columns:
        colour, line = styles[task]
        axis.plot(thin.index, thin[task], color=colour, linestyle=line, linewidth=1.5)


def _shares(axis: Axes, weight: pd.DataFrame, window: int, styles: dict) -> None:
    """Stacked shares: single steps of Art at tau 0.1 jump between 0 and 1 with batch noise, their mean is readable."""
    shares = _share(weight)
    if shares.empty:
        words = "no weights: the update\nis made from gradients"
        axis.text(0.5, 0.5, words, transform=axis.transAxes, ha="center", va="center")
        return
    smooth = _thin(shares.rolling(window, center=True, min_periods=1).mean())
    colours = [styles[task][0] for task in smooth.columns]
    axis.stackplot(smooth.index, smooth.to_numpy().T, colors=colours, alpha=0.75, edgecolor="white", linewidth=0.8)
    leader = shares.to_numpy().argmax(axis=1)
    words = f"largest share of a step: {shares.max(axis=1).mean():.2f} on average"
    changes = np.mean(leader[1:] != leader[:-1]) if len(leader) > 1 else 0
    if changes >= 0.005 and not np.allclose(shares, shares.iloc[0], atol=1e-6):
        words += f",\nchanging hands at {changes:.0%} of the steps"
    axis.set_title(words, fontsize=7, fontweight="normal", loc="left")


def _share(weight: pd.DataFrame) -> pd.DataFrame:
    """Weights of each step divided by their sum; steps without any weight are left out."""
    filled = weight.fillna(0)
    total = filled.sum(axis=1)
    return filled[total > 0].div(total[total > 0], axis=0)


def _thin(table: pd.DataFrame, points: int = POINTS) -> pd.DataFrame:
    return table.iloc[np.unique(np.linspace(0, len(table) - 1, points).round().astype(int))]


def _label_ends(axis: Axes, table: pd.DataFrame, styles: dict) -> None:
    """Task names at the right end of their lines, moved apart where lines end together."""
    ends = {task: table[task].dropna().iloc[-1] for task in table.columns if table[task].notna().any()}
    _labels(axis, ends, styles)


def _label_bands(axis: Axes, weight: pd.DataFrame, window: int, styles: dict) -> None:
    shares = _share(weight)
    if not shares.empty:
        last = shares.rolling(window, center=True, min_periods=1).mean().iloc[-1]
        _labels(axis, dict(last.cumsum() - last / 2), styles)


def _labels(axis: Axes, ends: dict[str, float], styles: dict) -> None:
    points = {
        task: axis.transAxes.inverted().transform(axis.transData.transform((0, y)))[1] for task, y in ends.items()
    }
    width, height = (side / axis.figure.dpi for side in axis.get_window_extent().size)
    places = style.spread_apart(list(points.values()), 0.115 / height, 0.02, 0.98)
    bend, end, text = (1 + inches / width for inches in (0.07, 0.24, 0.27))
    for (task, y), place in zip(points.items(), places, strict=True):
        colour, line = styles[task]
        look = {"color": colour, "linewidth": 1.2, "transform": axis.transAxes, "clip_on": False}
        axis.plot([1.0, bend], [y, place], **look)
        axis.plot([bend, end], [place, place], linestyle=line, **look)
        axis.text(text, place, task, transform=axis.transAxes, fontsize=6.5, va="center", color="#222222")


def _log_scale(axis: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())


def _gain_dots(panel: Axes, table: GainTable, row: Row, offset: float, look: tuple[str, str]) -> None:
    colour, marker = look
    for place, dataset in enumerate(table.datasets):
        gain = row.cells[dataset, "psnr"].gain
        if not gain.n:
            continue
        y = len(table.datasets) - 1 - place + offset
        if gain.n > 1:
            panel.plot([gain.low, gain.high], [y, y], color=colour, linewidth=1.2)
            ones = _gains(table.cohort, row, dataset)
            panel.plot(ones, [y] * len(ones), "o", color="white", markeredgecolor=colour, markersize=3.2, zorder=3)
        panel.plot(gain.mean, y, marker, color=colour, markersize=5.5, markeredgecolor="white", zorder=4)


def _gains(cohort: Cohort, row: Row, dataset: str) -> list[float]:
    """The gain of each seed that has a pair with mix."""
    mixes = {outcome.pair: outcome for outcome in cohort.counted(row.baseline, REFERENCE)}
    return [
        score(cohort, outcome, dataset, "psnr") - score(cohort, mixes[outcome.pair], dataset, "psnr")
        for outcome in cohort.counted(row.baseline, row.strategy)
        if outcome.pair in mixes
    ]


def _gain_axes(panel: Axes, table: GainTable, rows: Sequence[Row]) -> None:
    """Test sets downwards, mix as the line at zero; limits from the seeds: an interval of two seeds may leave them."""
    names = [table.heading(dataset).replace(" (", "\n(") for dataset in table.datasets]
    panel.axvline(0, color="black", linewidth=0.8)
    panel.set_yticks(range(len(names) - 1, -1, -1), names)
    panel.set_ylim(-0.6, len(names) - 0.4)
    panel.grid(axis="y", visible=False)
    for y in range(len(names) - 1):
        panel.axhline(y + 0.5, color="#E4E4E4", linewidth=0.6, zorder=0)
    values = [0.0, *(g for row in rows for dataset in table.datasets for g in _gains(table.cohort, row, dataset))]
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
