"""Figures of the validation curves: PSNR of every task over the steps, and below it the gain over mix."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reports.figures import style
from reports.numbers import header
from reports.numbers.curves import Curve, curves
from reports.numbers.model import AVERAGE, Cohort
from reports.numbers.statistics import PairedGain

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray


def curve_figures(
    cohort: Cohort, baseline: str, strategies: Sequence[str], stem: Path, kinds: Sequence[str] = style.KINDS
) -> list[Path]:
    """Curves of ``strategies``, :data:`reports.figures.style.COLUMNS` of them a figure, mix in each.

    Writes ``<stem>.png``/``.svg``, further figures as ``<stem>-part2``, ...; nothing where no run left a curve.
    """
    styles = style.strategy_styles(strategies)
    paths = []
    for name, group in style.in_groups(curves(cohort, baseline, strategies), stem, lambda curve: curve.strategy):
        paths += _curve_figure(cohort, cohort.display(baseline), group, styles, name, kinds)
    return paths


def _curve_figure(
    cohort: Cohort,
    display: str,
    shown: Sequence[Curve],
    styles: Mapping[str, tuple[str, str]],
    stem: Path,
    kinds: Sequence[str],
) -> list[Path]:
    from matplotlib.lines import Line2D

    columns = [AVERAGE, *(task for task in shown[0].level if task != AVERAGE)]
    compared = any(curve.gain for curve in shown)
    with style.look():
        figure = style.canvas(0.8 + 1.75 * len(columns), 5.2 if compared else 3.2)
        axes = figure.subplots(1 + compared, len(columns), sharex=True, sharey="row", squeeze=False)
        for place, task in enumerate(columns):
            axes[0, place].set_title(task)
            axes[-1, place].set_xlabel("step")
            for curve in shown:
                for axis, course in zip(axes[:, place], (curve.level, curve.gain), strict=False):
                    _line(axis, course.get(task, {}), styles[curve.strategy])
            if compared:
                axes[1, place].axhline(0, color="black", linewidth=0.8)
        _cut_bands(axes)
        axes[0, 0].set_ylabel("PSNR in dB")
        if compared:
            axes[1, 0].set_ylabel("gain over mix, dB")
        names = [curve.strategy for curve in shown]
        handles = [Line2D([], [], color=styles[name][0], marker=styles[name][1], markersize=4) for name in names]
        style.legend(figure, handles, names, len(names))
        style.headline(figure, *_title(cohort, display, shown))
        return style.save(figure, stem, kinds)


def _title(cohort: Cohort, display: str, shown: Sequence[Curve]) -> tuple[str, ...]:
    counts = sorted({len(curve.seeds) for curve in shown})
    seeds = "one seed, spread unknown"
    if counts[-1] > 1:
        seeds = f"mean over {' or '.join(map(str, counts))} seeds; bands: 95 % t-intervals, cut at the frame"
    return (
        f"Validation through the training: {display}, {cohort.title}",
        header.context(cohort),
        f"images that training does not see, not the test images; {seeds}",
    )


def _line(axis: Axes, course: Mapping[int, PairedGain], look: tuple[str, str]) -> None:
    """Means over the steps, with their interval as a band where there are several seeds."""
    colour, marker = look
    steps, points = list(course), list(course.values())
    axis.plot(steps, [point.mean for point in points], color=colour, marker=marker, markersize=2.5, linewidth=1.2)
    if points and points[-1].n > 1:
        low, high = [point.low for point in points], [point.high for point in points]
        axis.fill_between(steps, low, high, color=colour, alpha=0.14, linewidth=0)


def _cut_bands(axes: NDArray[np.object_]) -> None:
    """Limits from the means: the interval of two seeds may be many times as wide as all that is to be seen."""
    for row in axes:
        values = [y for axis in row for line in axis.get_lines() for y in line.get_ydata() if math.isfinite(y)]
        if values:
            margin = 0.3 * max(max(values) - min(values), 0.1)
            row[0].set_ylim(min(values) - margin, max(values) + margin)
