"""Figures of the validation curves: PSNR of every task over the steps, below it the gain over mix after equal steps and
after equal seconds of training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reports.figures import style
from reports.numbers import header
from reports.numbers.curves import Curve, Point
from reports.numbers.model import AVERAGE, Cohort

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SETTLED = 0.25
"""Share of a curve, from its start, in which gains swing wildly; limits of the gain are taken from what follows."""


def curve_figures(
    cohort: Cohort, baseline: str, shown: Sequence[Curve], stem: Path, kinds: Sequence[str] = style.KINDS
) -> list[Path]:
    """Curves of a baseline's strategies, :data:`reports.figures.style.COLUMNS` of them a figure, mix in each.

    Writes ``<stem>.png``/``.svg``, further figures as ``<stem>-part2``, ...; nothing where there is no curve.
    """
    styles = style.strategy_styles([curve.strategy for curve in shown])
    paths: list[Path] = []
    for name, group in style.in_groups(shown, stem, lambda curve: curve.strategy):
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

    columns = [AVERAGE, *(task for task in shown[0].tasks if task != AVERAGE)]
    rows = [("PSNR, dB", "step", {curve.strategy: curve.level for curve in shown})]
    if any(curve.gain for curve in shown):
        rows.append(("gain over mix\nafter equal steps, dB", "step", {curve.strategy: curve.gain for curve in shown}))
    if any(curve.gain_of_time for curve in shown):
        courses = {curve.strategy: curve.gain_of_time for curve in shown}
        rows.append(("gain over mix\nafter equal time, dB", "seconds of training", courses))
    with style.look():
        figure = style.canvas(0.8 + 1.75 * len(columns), 1.2 + 2.1 * len(rows))
        axes = figure.subplots(len(rows), len(columns), sharex="row", sharey="row", squeeze=False)
        for row, (words, places, courses) in zip(axes, rows, strict=True):
            row[0].set_ylabel(words)
            for axis, task in zip(row, columns, strict=True):
                axis.set_xlabel(places)
                for name, course in courses.items():
                    _line(axis, course.get(task, {}), places, styles[name])
            gains = courses is not rows[0][2]
            _cut_bands(row, [course.get(task, {}) for course in courses.values() for task in columns], gains)
        for axis, task in zip(axes[0], columns, strict=True):
            axis.set_title(task)
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
        f"images that training does not see, not the test images; {seeds}; seconds without scoring, on one machine",
    )


def _line(axis: Axes, course: Mapping[int, Point], places: str, look: tuple[str, str]) -> None:
    """Means along the axis, with their interval as a band where there are several seeds."""
    colour, marker = look
    points = list(course.values())
    across = [point.step if places == "step" else point.seconds for point in points]
    axis.plot(
        across, [point.value.mean for point in points], color=colour, marker=marker, markersize=2.5, linewidth=1.2
    )
    if points and points[-1].value.n > 1:
        low, high = [point.value.low for point in points], [point.value.high for point in points]
        axis.fill_between(across, low, high, color=colour, alpha=0.14, linewidth=0)


def _cut_bands(row: Sequence[Axes], courses: Sequence[Mapping[int, Point]], gains: bool) -> None:
    """Limits from the means: the interval of two seeds may be many times as wide as all that is to be seen. Gains are
    drawn with their zero, and by how they are once the training has settled."""
    settled = SETTLED * max((max(course) for course in courses if course), default=0) if gains else 0
    values = [point.value.mean for course in courses for point in course.values() if point.step >= settled]
    values = [0.0] * gains + [value for value in values if math.isfinite(value)]
    for axis in row if gains else ():
        axis.axhline(0, color="black", linewidth=0.8)
    if values:
        margin = 0.15 * max(max(values) - min(values), 0.1)
        row[0].set_ylim(min(values) - margin, max(values) + margin)
