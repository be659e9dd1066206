"""Figures of the rhythm: losses, levels and weights of a baseline's strategies side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reports.figures import style
from reports.figures.labels import label_ends, last_values, log_scale
from reports.numbers import header
from reports.numbers.model import Cohort
from reports.numbers.rhythms import POINTS, Rhythm, rhythms, thin

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


def rhythm_figures(
    cohort: Cohort, baseline: str, strategies: Sequence[str], stem: Path, kinds: Sequence[str] = style.KINDS
) -> list[Path]:
    """Rhythm of one seed of each of ``strategies``, :data:`reports.figures.style.COLUMNS` a figure, mix first in each.

    Writes ``<stem>.png``/``.svg``, further figures as ``<stem>-part2``, ...; nothing where no run left a rhythm.
    """
    paths = []
    for name, group in style.in_groups(
        rhythms(cohort, baseline, strategies), stem, lambda rhythm: rhythm.outcome.strategy
    ):
        paths += _rhythm_figure(cohort, group, name, kinds)
    return paths


def _rhythm_figure(cohort: Cohort, shown: Sequence[Rhythm], stem: Path, kinds: Sequence[str]) -> list[Path]:
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
            first, last = rhythm.loss.index[[0, -1]]
            loss.set_xlim(first, max(last, first + 1))  # the labels begin where the lines end
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
        return style.save(figure, stem, kinds)


def _rhythm_title(cohort: Cohort, shown: Sequence[Rhythm]) -> tuple[str, ...]:
    seeds = sorted({rhythm.outcome.seed for rhythm in shown})
    seed = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}"
    return (
        f"How each task learns: {shown[0].outcome.display}, {cohort.title}",
        f"{header.context(cohort)}, {seed}",
        f"faint: recorded steps; strong lines and shares: mean over {shown[0].window} of them",
    )


def _faint(axis: Axes, table: pd.DataFrame, styles: style.Styles) -> None:
    few = thin(table, 3 * POINTS)
    for task in few.columns:
        axis.plot(few.index, few[task], color=styles[task][0], linewidth=0.5, alpha=0.22, rasterized=True)


def _lines(axis: Axes, table: pd.DataFrame, styles: style.Styles) -> None:
    few = thin(table)
    for task in few.columns:
        colour, line = styles[task]
        axis.plot(few.index, few[task], color=colour, linestyle=line, linewidth=1.5)


def _shares(axis: Axes, rhythm: Rhythm, styles: style.Styles) -> None:
    """Stacked shares, their mean over the window: single steps are not readable."""
    if rhythm.shares.empty:
        words = "no weights: the update\nis made from gradients"
        axis.text(0.5, 0.5, words, transform=axis.transAxes, ha="center", va="center")
        return
    smooth = thin(rhythm.smooth_shares)
    colours = [styles[task][0] for task in smooth.columns]
    axis.stackplot(smooth.index, smooth.to_numpy().T, colors=colours, alpha=0.75, edgecolor="white", linewidth=0.8)
    axis.set_title(rhythm.share_words, fontsize=7, fontweight="normal", loc="left")


def _label_lines(axis: Axes, table: pd.DataFrame, styles: style.Styles) -> None:
    """Task names at the right end of their lines."""
    label_ends(axis, last_values(table), styles)


def _label_bands(axis: Axes, rhythm: Rhythm, styles: style.Styles) -> None:
    if not rhythm.shares.empty:
        last = rhythm.smooth_shares.iloc[-1]
        label_ends(axis, dict(last.cumsum() - last / 2), styles)
