"""Figures of conflicts between task gradients: mean cosines as a heat map, cosines and norms over the training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from reports.figures import style
from reports.figures.labels import label_ends, last_values, log_scale
from reports.numbers import header
from reports.numbers.conflicts import Conflict, pair_name
from reports.numbers.model import Cohort

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

COLOURS = "RdBu"
"""Diverging, readable with colour-blind eyes (ColorBrewer): red below 0 (conflict), blue above."""

SHADES = 41
"""Steps of the colour scale: enough to look smooth, few enough for a small picture file."""

WORST, MEAN = "worst", "mean"
LOOKS: style.Styles = {MEAN: (style.BLACK, "-"), WORST: (style.VERMILION, (0, (5, 1.5)))}


def conflict_figures(
    cohort: Cohort, found: Sequence[Conflict], stem: Path, kinds: Sequence[str] = style.KINDS
) -> list[Path]:
    """Heat map, cosines and norms of every strategy with probes; mix first in each figure.

    Writes ``<stem>.png``/``.svg``, further figures as ``<stem>-part2``, ...; nothing where there is no conflict.
    """
    paths = []
    for name, group in style.in_groups(found, stem, lambda conflict: conflict.strategy):
        paths += _figure(cohort, group, name, kinds)
    return paths


def colour_limit(found: Sequence[Conflict]) -> float:
    """End of the symmetric colour scale: the largest mean cosine between two tasks, rounded up to a quarter."""
    largest = max((conflict.pairs.mean().abs().max() for conflict in found if conflict.pairs.size), default=1.0)
    return min(1.0, max(0.25, math.ceil(largest * 4) / 4)) if math.isfinite(largest) else 1.0


def _figure(cohort: Cohort, found: Sequence[Conflict], stem: Path, kinds: Sequence[str]) -> list[Path]:
    tasks = list(dict.fromkeys(task for conflict in found for task in conflict.tasks))
    styles = style.task_styles(tasks)
    with style.look():
        names = 0.35 + 0.055 * max(map(len, tasks))  # inches, for the names of tasks
        pairs = max((len(pair_name(conflict.worst)) for conflict in found if conflict.worst), default=0)
        side, room = max(2.1, 0.26 * len(tasks)), max(names, 0.3 + 0.055 * pairs, 0.8)
        place = {"left": max(names, 0.75), "right": room, "top": 0.95, "bottom": 0.45, "between": room + 0.45}
        widths = len(found) * side + (len(found) - 1) * place["between"]
        below = {"heights": (side, 1.7, 1.7), "below": (names + 0.35, 0.45)}
        height = place["top"] + place["bottom"] + sum(below["heights"]) + sum(below["below"])
        figure = style.canvas(place["left"] + widths + place["right"], height, fixed=True)
        axes = _axes(figure, len(found), side, place, below)
        limit = colour_limit(found)
        style.headline(figure, *_title(cohort, found))
        images = [_heat(heat, conflict, limit) for (heat, _, _), conflict in zip(axes, found, strict=True)]
        bar = figure.add_axes(_box(figure, place["left"] + widths + 0.15, place["top"] + 0.2, 0.1, side - 0.4))
        figure.colorbar(images[-1], cax=bar, label="mean cosine")
        _courses(axes, found, styles)
        return style.save(figure, stem, kinds)


def _box(figure: Figure, left: float, top: float, width: float, height: float) -> tuple[float, float, float, float]:
    """Inches from the left and top edges as the fractions matplotlib takes."""
    across, down = figure.get_size_inches()
    return left / across, 1 - (top + height) / down, width / across, height / down


def _axes(
    figure: Figure, columns: int, side: float, place: dict[str, float], below: dict[str, tuple[float, ...]]
) -> list[list[Axes]]:
    axes: list[list[Axes]] = []
    for column in range(columns):
        left, top = place["left"] + column * (side + place["between"]), place["top"]
        rows: list[Axes] = []
        for row, height in enumerate(below["heights"]):
            shared = axes[0][row] if axes and row else None  # the courses share their scale across strategies
            rows.append(figure.add_axes(_box(figure, left, top, side, height), sharey=shared))
            top += height + (*below["below"], 0)[row]
        axes.append(rows)
    return axes


def _title(cohort: Cohort, found: Sequence[Conflict]) -> tuple[str, ...]:
    outcome = found[0].outcomes[0]
    counts = sorted({len(conflict.seeds) for conflict in found})
    seeds = " or ".join(map(str, counts))
    probes = " or ".join(map(str, sorted({conflict.table["step"].nunique() for conflict in found})))
    return (
        f"Do the tasks' gradients agree? {outcome.display}, {cohort.title}",
        f"{header.context(cohort)}, {f'mean over {seeds} seeds' if counts[-1] > 1 else f'seed {outcome.seed}'}, "
        f"{probes} probes; below 0 an update for one task hurts the other",
    )


def _heat(axis: Axes, conflict: Conflict, limit: float) -> AxesImage:
    """Lower triangle of the mean cosines: a pair has one value, a task agrees with itself."""
    import numpy as np
    from matplotlib import colormaps

    tasks = conflict.tasks
    values = np.ma.masked_invalid(conflict.cosine.to_numpy(dtype=float))
    values[np.triu_indices(len(tasks))] = np.ma.masked
    image = axis.imshow(values, cmap=colormaps[COLOURS].resampled(SHADES), vmin=-limit, vmax=limit, aspect="auto")
    size = 7 if len(tasks) <= 7 else 5.5
    for row, column in zip(*np.tril_indices(len(tasks), -1), strict=True):
        if values[row, column] is not np.ma.masked:
            value = values[row, column]
            colour = "white" if abs(value) > 0.65 * limit else "black"
            axis.text(float(column), float(row), f"{value:+.2f}", ha="center", va="center", fontsize=size, color=colour)
    axis.set_xticks(range(len(tasks) - 1), tasks[:-1], rotation=90)
    axis.set_yticks(range(1, len(tasks)), tasks[1:])
    if len(tasks) > 1:
        axis.set_xlim(-0.5, len(tasks) - 1.5)
        axis.set_ylim(len(tasks) - 0.5, 0.5)
    axis.grid(visible=False)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.set_title(conflict.title)
    return image


def _courses(axes: Sequence[Sequence[Axes]], found: Sequence[Conflict], styles: style.Styles) -> None:
    """Cosines and norms over the training; labels last, when the shared scales are settled."""
    for (_, cosine, norm), conflict in zip(axes, found, strict=True):
        _cosines(cosine, conflict)
        for task, column in conflict.norms.items():
            colour, line = styles[str(task)]
            norm.plot(column.index, column, color=colour, linestyle=line, linewidth=1.5, marker=".", markersize=3)
        norm.set_xlabel("step")
        for axis in (cosine, norm):
            first, last = conflict.norms.index[[0, -1]]
            axis.set_xlim(first, last if last > first else first + 1)
    log_scale(axes[0][2])
    axes[0][1].set_ylabel("cosine")
    axes[0][2].set_ylabel("norm of the gradient")
    for (_, cosine, norm), conflict in zip(axes, found, strict=True):
        pair = conflict.worst
        if pair:
            ends = pd.DataFrame({MEAN: conflict.pairs.mean(axis=1), WORST: conflict.pairs[pair]})
            label_ends(cosine, last_values(ends), LOOKS, ["mean of pairs", pair_name(pair)])
        label_ends(norm, last_values(conflict.norms), styles)


def _cosines(axis: Axes, conflict: Conflict) -> None:
    axis.axhline(0, color="black", linewidth=0.8)
    pairs = conflict.pairs
    if not conflict.worst:
        axis.text(0.5, 0.5, "one task: no pair", transform=axis.transAxes, ha="center", va="center")
        return
    axis.fill_between(pairs.index, pairs.min(axis=1), pairs.max(axis=1), color="#B8B8B8", alpha=0.45, linewidth=0)
    for name, column in ((MEAN, pairs.mean(axis=1)), (WORST, pairs[conflict.worst])):
        colour, line = LOOKS[name]
        axis.plot(column.index, column, color=colour, linestyle=line, linewidth=1.5, marker=".", markersize=3)
    axis.set_title("grey: from the lowest to the highest pair", fontsize=7, fontweight="normal", loc="left")
