"""Figures of searches: the expected best of k trials, and validation over every parameter that was searched."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reports.figures import style
from reports.numbers import header
from reports.numbers.model import Cohort
from reports.numbers.tuning import expected_best, scores
from results.tuning import Parameter, Search

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = 12
"""Panels of one figure."""

Looks = Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class _Scatter:
    """A panel: validation over one parameter of some searches; ``parameter`` is ``None`` for the learning rate."""

    title: str
    searches: Sequence[Search]
    parameter: Parameter | None


def tuning_figures(
    cohort: Cohort, searches: Sequence[Search], stem: Path, kinds: Sequence[str] = style.KINDS
) -> list[Path]:
    """What the searches of a baseline found; writes ``<stem>.png``/``.svg``, of many parameters also
    ``<stem>-part2``, ..."""
    if not kinds or not any(search.done for search in searches):
        return []
    looks = style.strategy_styles(list(dict.fromkeys(search.strategy for search in searches)))
    panels: list[_Scatter | None] = [None, _Scatter("learning rate", searches, None)]
    panels += [_Scatter(f"{search.strategy}: {one.name}", [search], one) for search in searches for one in search.space]
    paths: list[Path] = []
    for part, first in enumerate(range(0, len(panels), PANELS), start=1):
        name = stem if part == 1 else stem.with_name(f"{stem.name}-part{part}")
        paths += _figure(cohort, searches, panels[first : first + PANELS], looks, name, kinds)
    return paths


def _figure(
    cohort: Cohort,
    searches: Sequence[Search],
    panels: Sequence[_Scatter | None],
    looks: Looks,
    stem: Path,
    kinds: Sequence[str],
) -> list[Path]:
    from matplotlib.lines import Line2D

    columns = min(style.COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    with style.look():
        figure = style.canvas(0.9 + 2.3 * columns, 1.4 + 2.1 * rows)
        axes = figure.subplots(rows, columns, sharey=True, squeeze=False).flatten()
        for axis, panel in zip(axes, panels, strict=False):
            if panel is None:
                _best(axis, searches, looks)
            else:
                _scatter(axis, panel, looks)
        for axis in axes[len(panels) :]:
            axis.set_visible(False)
        for axis in axes[::columns]:
            axis.set_ylabel("validation PSNR in dB")
        handles = [Line2D([], [], color=colour, marker=mark, markersize=4) for colour, mark in looks.values()]
        style.legend(figure, handles, list(looks), min(len(looks), 6))
        style.headline(figure, *_title(cohort, searches))
        return style.save(figure, stem, kinds)


def _title(cohort: Cohort, searches: Sequence[Search]) -> tuple[str, ...]:
    counts = sorted({len(search.trials) for search in searches})
    seeds = " ".join(map(str, dict.fromkeys(seed for search in searches for seed in search.seeds)))
    return (
        f"Tuning: {searches[0].display}, {cohort.title}",
        header.context(cohort),
        f"{' or '.join(map(str, counts))} trials a strategy, seed {seeds}, images that training does not see; "
        "open: default, ringed: best, cross: failed",
    )


def _best(axis: Axes, searches: Sequence[Search], looks: Looks) -> None:
    """Expected best of k trials."""
    from matplotlib.ticker import MaxNLocator

    axis.set_title("expected best of k trials")
    axis.set_xlabel("k")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    for search in searches:
        colour, marker = looks[search.strategy]
        values = expected_best(scores(search))
        axis.plot(range(1, len(values) + 1), values, color=colour, marker=marker, markersize=2.5, linewidth=1.2)


def _scatter(axis: Axes, panel: _Scatter, looks: Looks) -> None:
    """A mark a trial; failed ones stand at the foot."""
    parameter = panel.parameter
    axis.set_title(panel.title)
    if parameter is None:
        axis.set_xlabel("factor of the recipe's")
        _logarithmic(axis, [trial.factor for search in panel.searches for trial in search.trials])
    elif parameter.options:
        axis.set_xticks(range(len(parameter.options)), [str(option) for option in parameter.options])
        axis.set_xlim(-0.5, len(parameter.options) - 0.5)
    elif parameter.log:
        _logarithmic(axis, [value for value in (parameter.low, parameter.high) if value])
    for search in panel.searches:
        colour, marker = looks[search.strategy]
        heights = scores(search)
        best = search.best
        for trial, height in zip(search.trials, heights, strict=False):
            value = trial.factor if parameter is None else _place(parameter, trial.values[parameter.name])
            failed = trial.score is None
            face = "white" if trial.number == 0 else colour
            axis.plot([value], [height], "x" if failed else marker, color=colour, markerfacecolor=face,
                      markersize=4, alpha=1.0 if trial.number == 0 else 0.8)  # fmt: skip
            if best is not None and trial.number == best.number:
                axis.plot([value], [height], "o", markerfacecolor="none", markeredgecolor=colour, markersize=9)


def _logarithmic(axis: Axes, values: Sequence[float]) -> None:
    """A logarithmic axis over these values with plain numbers at 1, 10, ... or, of a short range, at its doublings."""
    from matplotlib.ticker import NullLocator

    low, high = min(values), max(values)
    axis.set_xscale("log")
    step = 10.0 if high / low > 20 else 2.0
    first, last = math.ceil(math.log(low, step) - 1e-6), math.floor(math.log(high, step) + 1e-6)
    every = max(1, -(-(last - first + 1) // 5))
    ticks = [step**power for power in range(first, last + 1, every)]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.xaxis.set_minor_locator(NullLocator())
    margin = (high / low) ** 0.06 if high > low else 2.0
    axis.set_xlim(low / margin, high * margin)


def _place(parameter: Parameter, value: bool | int | float | str) -> float:
    return float(parameter.options.index(value)) if parameter.options else float(value)
