"""Figures of strategies against the front of fixed task weights: a baseline's main plane, and beside it its groups."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reports.figures import style
from reports.figures.labels import label_points
from reports.numbers import header
from reports.numbers.contest import BEHIND, BEYOND, Control
from reports.numbers.controls import Front, Plane, Trained
from reports.numbers.front import Array, nondominated
from reports.numbers.model import Cohort

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

VERDICTS = {BEYOND: (style.BLUE, "^"), BEHIND: (style.VERMILION, "v")}
OTHER = ("#3A3A3A", "o")
FIXED, STEP, ROOM = "#8A8A8A", "#5F5F5F", "#EDF3F8"
LABELLED, BESIDE = 12, 4
"""Strategies that get their names, the nearest to the upper right; and small planes at most."""


def front_figure(
    cohort: Cohort, one: Front, rows: Sequence[Control], stem: Path, kinds: Sequence[str] = style.KINDS
) -> list[Path]:
    """``<stem>.png``/``.svg``: fixed weightings, their staircase, what lies within the margin, and the strategies.

    What a seed has in common for all fixed weightings is taken off every point, as the paired comparison does; nothing
    where the tasks are of one kind.
    """
    if not one.main:
        return []
    pairs = [Plane((a,), (b,)) for a, b in combinations(one.groups, 2)]
    small = [plane for plane in pairs if plane != one.main][:BESIDE]
    columns = 1 + (len(small) > 3)
    with style.look():
        figure = style.canvas(5.9 + (2.3 * columns if small else 0), 5.6)
        across = figure.add_gridspec(1, 2, width_ratios=[5.9, 2.3 * columns]) if small else figure.add_gridspec(1, 1)
        large = figure.add_subplot(across[0])
        _plane(large, one, one.main, rows, large=True)
        large.set_title("Main plane: what fixed weights trade off most")
        if small:
            beside = across[1].subgridspec(-(-len(small) // columns), columns)
            for place, plane in enumerate(small):
                _plane(figure.add_subplot(beside[place // columns, place % columns]), one, plane, rows)
        handles = _handles(rows)
        style.legend(figure, list(handles.values()), list(handles), 4)
        style.headline(figure, *_title(cohort, one, rows))
        figure.draw_without_rendering()  # labels are placed by the final positions
        names = {row.strategy: row.distance.mean for row in rows}
        named = sorted(names, key=lambda name: -names[name])[:LABELLED]
        places = {name: _mean(one, one.main, one.strategies[name]) for name in named}
        places |= {name: _mean(one, one.main, one.fixed[name]) for name in ("mix", "equal") if name in one.fixed}
        label_points(large, {name: (float(x), float(y)) for name, (x, y) in places.items()}, one.means(one.main))
        return style.save(figure, stem, kinds)


def _plane(axes: Axes, one: Front, plane: Plane, rows: Sequence[Control], large: bool = False) -> None:
    size = 1.0 if large else 0.62
    fixed = np.stack([_mean(one, plane, trained) for trained in one.fixed.values()])
    points = np.concatenate([fixed, *(_seeds(one, plane, one.strategies[row.strategy]) for row in rows)])
    low, high = points.min(axis=0), points.max(axis=0)
    low, high = low - 0.1 * (high - low) - 0.02, high + 0.12 * (high - low) + 0.02
    if large:
        farther = fixed + one.front_margin
        _stairs(axes, farther, low, ROOM, 0.2, color="#9DB8CC", linestyle=(0, (4, 2)), linewidth=0.9)
    _stairs(axes, fixed, low, "white", 0.3, color=STEP, linewidth=1.1)
    if large:
        for trained in one.fixed.values():
            axes.plot(*_seeds(one, plane, trained).T, ".", color="#D2D2D2", markersize=2.5, zorder=2)
    axes.plot(*fixed.T, "o", color="white", markeredgecolor=FIXED, markersize=4.6 * size, zorder=3)
    for name in ("mix", "equal"):
        if name in one.fixed:
            axes.plot(*_mean(one, plane, one.fixed[name]), "s", color=FIXED, markersize=5 * size, zorder=4)
    for row in rows:
        _strategy(axes, _seeds(one, plane, one.strategies[row.strategy]), VERDICTS.get(row.verdict, OTHER), size, large)
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    left, up = plane.names
    axes.set_xlabel(f"{left}, dB" if not large else f"PSNR of {left}, dB")
    axes.set_ylabel(f"{up}, dB" if not large else f"PSNR of {up}, dB")
    if not large:
        axes.tick_params(labelsize=6.5)
        axes.locator_params(nbins=4)


def _strategy(axes: Axes, seeds: Array, look: tuple[str, str], size: float, large: bool) -> None:
    """Mean over seeds with their standard deviations, and faint dots for the seeds."""
    colour, marker = look
    x, y = seeds.mean(axis=0)
    if len(seeds) > 1 and large:
        across, up = seeds.std(axis=0, ddof=1)
        axes.errorbar(x, y, xerr=across, yerr=up, color=colour, linewidth=0.8, alpha=0.7, zorder=5)
        axes.plot(*seeds.T, ".", color=colour, alpha=0.3, markersize=4, zorder=4)
    axes.plot(x, y, marker, color=colour, markersize=6.5 * size, markeredgecolor="white", markeredgewidth=0.6, zorder=6)


def _stairs(axes: Axes, points: Array, low: Array, fill: str, zorder: float, **line: object) -> None:
    """The border of what some point is at least as good as; below it filled."""
    front = nondominated(points)
    across = np.concatenate([[low[0]], np.repeat(front[:, 0], 2)])
    up = np.concatenate([np.repeat(front[:, 1], 2), [low[1]]])
    axes.fill_between(across, up, low[1], color=fill, linewidth=0, zorder=zorder)
    axes.plot(across, up, zorder=1.5, **line)  # pyright: ignore[reportArgumentType]: looks of a line


def _seeds(one: Front, plane: Plane, trained: Trained) -> Array:
    """Points of the seeds (S, 2) without what the seed does to all fixed weightings."""
    common = one.points(plane, one.scores).mean(axis=0)
    return one.points(plane, trained.tasks) - (common - common.mean(axis=0))[trained.places]


def _mean(one: Front, plane: Plane, trained: Trained) -> Array:
    return _seeds(one, plane, trained).mean(axis=0)


def _handles(rows: Sequence[Control]) -> dict[str, Artist]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    found: dict[str, Artist] = {
        "fixed weighting": Line2D([], [], color="white", marker="o", markeredgecolor=FIXED, markersize=4.6, ls="none"),
        "their front": Line2D([], [], color=STEP, linewidth=1.1),
        "within the margin": Patch(facecolor=ROOM, edgecolor="#9DB8CC", linestyle="--"),
    }
    words = list(dict.fromkeys(row.verdict for row in rows))
    for word in sorted(words, key=lambda word: [*VERDICTS, word].index(word)):
        colour, marker = VERDICTS.get(word, OTHER)
        name = f"{word} fixed weights" if word in VERDICTS else word
        found[name] = Line2D([], [], color=colour, marker=marker, linestyle="none")
    return found


def _title(cohort: Cohort, one: Front, rows: Sequence[Control]) -> tuple[str, ...]:
    seeds = "one seed, spread unknown"
    if len(one.seeds) > 1:
        seeds = "marks: mean over seeds; bars: standard deviations, less what a seed does to all fixed weightings"
    named = f"; names of the {LABELLED} farthest out of {len(rows)}" if len(rows) > LABELLED else ""
    return (
        f"Strategies against {one.count} fixed task weightings: {one.display}, {cohort.title}",
        header.context(cohort),
        f"{seeds}{named}",
    )
