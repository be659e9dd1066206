"""Direct labels: names beside the ends of lines, in place of a legend."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from reports.figures.style import Styles

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray


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


def label_points(axes: Axes, points: Mapping[str, tuple[float, float]], others: NDArray[np.float64]) -> None:
    """Write names beside points, each where it covers the least of other names and points.

    Args:
        axes: with its final position and limits, on a figure that was laid out.
        points: places of the named ones, in the units of the axes.
        others: places (N, 2) that should stay free as well.
    """
    import numpy as np

    dot = axes.figure.dpi / 72
    frame = axes.get_window_extent()
    marks = axes.transData.transform(np.concatenate([others, np.array(list(points.values()), dtype=float)]))
    taken: list[tuple[float, float, float, float]] = []
    for name, place in sorted(points.items(), key=lambda item: -item[1][1]):
        text = axes.annotate(
            _cut(name), place, (0, 0), textcoords="offset points", fontsize=7.5, zorder=8, va="center", ha="center",
            arrowprops={"arrowstyle": "-", "color": "#777777", "linewidth": 0.5, "shrinkA": 1, "shrinkB": 3},
        )  # fmt: skip
        box = text.get_window_extent()
        x, y = axes.transData.transform(place)
        best, chosen = math.inf, (0.0, 0.0, 0.0, 0.0)
        for reach in (5, 13, 23, 36, 52):
            for turn in range(16):
                angle = math.pi * turn / 8
                right = x + math.cos(angle) * (reach * dot + box.width / 2)
                up = y + math.sin(angle) * (reach * dot + box.height / 2)
                own = (right - box.width / 2, up - box.height / 2, right + box.width / 2, up + box.height / 2)
                near = dot * 3
                covered = ((marks > np.array(own[:2]) - near) & (marks < np.array(own[2:]) + near)).all(axis=1).sum()
                outside = own[0] < frame.x0 or own[2] > frame.x1 or own[1] < frame.y0 or own[3] > frame.y1
                cost = 40 * float(covered) + 200 * sum(_overlap(own, other) for other in taken) + reach + 1e4 * outside
                if cost < best:
                    best, chosen = cost, own
                    text.set_position(((right - x) / dot, (up - y) / dot))
        taken.append(chosen)


def _cut(name: str, most: int = 26) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
