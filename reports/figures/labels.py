"""Direct labels: names beside the ends of lines, in place of a legend."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from reports.figures.style import Styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def label_ends(axis: Axes, ends: Mapping[str, float], styles: Styles, names: Sequence[str] = ()) -> None:
    """Write names at the right of an axis where their lines end, moved apart where lines end together.

    Args:
        axis: with its final position, scale and limits.
        ends: last value of every line, by name.
        styles: ``(colour, line style)`` by name.
        names: what to write, where it is not the names of ``ends``.
    """
    points = {
        name: axis.transAxes.inverted().transform(axis.transData.transform((0, y)))[1] for name, y in ends.items()
    }
    width, height = (side / axis.figure.dpi for side in axis.get_window_extent().size)
    places = spread_apart(list(points.values()), 0.115 / height, 0.02, 0.98)
    bend, end, text = (1 + inches / width for inches in (0.07, 0.24, 0.27))
    for (name, y), place, written in zip(points.items(), places, names or list(points), strict=True):
        colour, line = styles[name]
        for across, up, dash in (([1.0, bend], [y, place], "-"), ([bend, end], [place, place], line)):
            axis.plot(across, up, linestyle=dash, color=colour, linewidth=1.2, transform=axis.transAxes, clip_on=False)
        axis.text(text, place, written, transform=axis.transAxes, fontsize=6.5, va="center", color="#222222")


def last_values(table: pd.DataFrame) -> dict[str, float]:
    """Where the lines of a table's columns end; columns without any value are left out."""
    return {str(name): float(column.dropna().iloc[-1]) for name, column in table.items() if column.notna().any()}


def spread_apart(positions: Sequence[float], least: float, low: float, high: float) -> list[float]:
    """Label positions moved as little as possible (least squares) so that neighbours are ``least`` apart.

    All stay between ``low`` and ``high``; where they do not fit, they are spread over the whole range.
    """
    import numpy as np
    from scipy.optimize import isotonic_regression

    count = len(positions)
    if not count:
        return []
    least = min(least, (high - low) / max(1, count - 1))
    order = np.argsort(positions, kind="stable")
    steps = least * np.arange(count)
    placed = isotonic_regression(np.asarray(positions, dtype=float)[order] - steps).x
    result = np.empty(count)
    result[order] = np.clip(placed, low, high - steps[-1]) + steps
    return result.tolist()


def log_scale(axis: Axes) -> None:
    """Logarithmic values written as plain numbers at 1, 2, 5; an axis without any value above 0 stays as it is."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    if not math.isfinite(axis.dataLim.minposy):
        return
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_locator(NullLocator())
