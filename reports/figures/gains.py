"""Figures of the gains over mix of a cohort."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reports.figures import style
from reports.numbers import header
from reports.numbers.model import AVERAGE, GainTable, Row
from reports.numbers.statistics import GAIN, LOSS, NO_DIFFERENCE, ONE_SEED, PairedGain
from reports.numbers.tables import seed_gains

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

VERDICTS = {
    GAIN: (style.BLUE, "^"),
    LOSS: (style.VERMILION, "v"),
    NO_DIFFERENCE: ("#666666", "o"),
    ONE_SEED: (style.BLACK, "D"),
}
FOLD = 26
"""Characters of a strategy's name in one line."""


def gain_figure(table: GainTable, stem: Path, kinds: Sequence[str] = style.KINDS) -> list[Path]:
    """Gain over mix: a dot a seed, the mean, its t-interval; nothing where there is no gain.

    Of a large table the strategies are the lines, best first, of others the test sets.
    """
    rows = [row for row in table.ranked if row.pairs]
    if not rows or "psnr" not in table.cohort.metrics:
        return []
    return _board(table, rows, stem, kinds) if table.large else _by_test_set(table, rows, stem, kinds)


def _by_test_set(table: GainTable, rows: Sequence[Row], stem: Path, kinds: Sequence[str]) -> list[Path]:
    baselines = list(dict.fromkeys(row.baseline for row in rows))
    strategies = list(dict.fromkeys(row.strategy for row in table.compared if not row.is_reference))
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
        named = [name for name in strategies if any(row.strategy == name for row in rows)]
        style.legend(figure, [_handle(*styles[name]) for name in named], named, min(5, len(named)))
        title = f"Gain over mix training: {table.cohort.title}"
        style.headline(figure, title, header.context(table.cohort), _marks_words(table))
        return style.save(figure, stem, kinds)


def _board(table: GainTable, rows: Sequence[Row], stem: Path, kinds: Sequence[str]) -> list[Path]:
    """A line a strategy: average gain in the colour of its verdict, rings for seeds, ticks for single test sets."""
    baselines = list(dict.fromkeys(row.baseline for row in rows))
    most = max([row.baseline for row in rows].count(baseline) for baseline in baselines)
    longest = max(len(_folded(row.strategy)) for row in rows)
    with style.look():
        figure = style.canvas((3.1 + 0.07 * min(longest, FOLD)) * len(baselines), 1.5 + 0.27 * most)
        panels = figure.subplots(1, len(baselines), sharex=True, squeeze=False)[0]
        for panel, baseline in zip(panels, baselines, strict=True):
            group = [row for row in rows if row.baseline == baseline]
            for place, row in enumerate(group):
                _board_line(panel, table, row, len(group) - 1 - place)
            panel.axvline(0, color="black", linewidth=0.8)
            panel.set_yticks(range(len(group) - 1, -1, -1), [_folded(row.strategy) for row in group])
            panel.set_ylim(len(group) - most - 0.6, len(group) - 0.4)
            panel.set_title(group[0].display)
            panel.set_xlabel("gain over mix, PSNR in dB")
        panels[0].set_xlim(_limits(table, rows))
        verdicts = {row.average.verdict for row in rows}
        words = [word for word in VERDICTS if word in verdicts]
        style.legend(figure, [_handle(*VERDICTS[word]) for word in words], words, len(words))
        title = f"Average gain over mix training: {table.cohort.title}"
        marks = f"{_marks_words(table)}; grey ticks: single test sets"
        style.headline(figure, title, header.context(table.cohort), marks)
        return style.save(figure, stem, kinds)


def _board_line(panel: Axes, table: GainTable, row: Row, y: int) -> None:
    average = row.average
    gains = [row.cells[dataset, "psnr"].gain.mean for dataset in table.cohort.tested]
    panel.plot(gains, [y] * len(gains), "|", color="#909090", markersize=7, zorder=1)
    if average.gain.n:
        _dots(
            panel,
            average.gain,
            seed_gains(table.cohort, row, AVERAGE),
            y,
            VERDICTS.get(average.verdict, (style.BLACK, "o")),
        )


def _dots(panel: Axes, gain: PairedGain, seeds: Sequence[float], y: float, look: tuple[str, str]) -> None:
    """A gain as a full mark, with its interval as a line and rings for the seeds where there are several."""
    colour, marker = look
    if gain.n > 1:
        panel.plot([gain.low, gain.high], [y, y], color=colour, linewidth=1.2)
        panel.plot(seeds, [y] * len(seeds), "o", color="white", markeredgecolor=colour, markersize=3.2, zorder=3)
    panel.plot(gain.mean, y, marker, color=colour, markersize=5.5, markeredgecolor="white", zorder=4)


def _folded(name: str) -> str:
    """A long name over several lines."""
    return textwrap.fill(name.replace(":", ": "), FOLD, break_on_hyphens=False).replace(": ", ":")


def _gain_dots(panel: Axes, table: GainTable, row: Row, offset: float, look: tuple[str, str]) -> None:
    for place, dataset in enumerate(table.datasets):
        gain = row.cells[dataset, "psnr"].gain
        if gain.n:
            y = len(table.datasets) - 1 - place + offset
            _dots(panel, gain, seed_gains(table.cohort, row, dataset), y, look)


def _gain_axes(panel: Axes, table: GainTable, rows: Sequence[Row]) -> None:
    """Test sets downwards, mix as the line at zero; limits from the seeds, which an interval of two may leave."""
    names = [table.heading(dataset).replace(" (", "\n(") for dataset in table.datasets]
    panel.axvline(0, color="black", linewidth=0.8)
    panel.set_yticks(range(len(names) - 1, -1, -1), names)
    panel.set_ylim(-0.6, len(names) - 0.4)
    panel.grid(axis="y", visible=False)
    for y in range(len(names) - 1):
        panel.axhline(y + 0.5, color="#E4E4E4", linewidth=0.6, zorder=0)
    panel.set_xlim(_limits(table, rows))
    panel.set_xlabel("gain over mix, PSNR in dB")


def _limits(table: GainTable, rows: Sequence[Row]) -> tuple[float, float]:
    values = [0.0, *(g for row in rows for dataset in table.datasets for g in seed_gains(table.cohort, row, dataset))]
    values = [value for value in values if math.isfinite(value)]
    margin = 0.25 * max(max(values) - min(values), 0.2)
    return min(values) - margin, max(values) + margin


def _handle(colour: str, marker: str) -> Artist:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, marker=marker, linestyle="none")


def _marks_words(table: GainTable) -> str:
    if table.several_seeds:
        return "full marks: mean over seeds; rings: single seeds; lines: 95 % t-intervals, cut at the frame"
    return "one seed, spread unknown"
