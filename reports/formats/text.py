"""The gain table for a terminal, as wide as that is but 118 columns at most."""

from __future__ import annotations

import math
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from functools import partial

from reports.numbers import header
from reports.numbers.cohorts import AVERAGE, REFERENCE
from reports.numbers.statistics import LEVEL, Spread
from reports.numbers.tables import GainTable, Row
from results.visible import visible

WIDTH, NARROWEST = 118, 40
EMPTY = "–"

LONGEST = 32
"""Characters of a name beyond which it gets a line of its own above its numbers."""


def width() -> int:
    """Columns to fill: :data:`WIDTH`, or those of a narrower terminal that standard output is."""
    try:
        columns = os.get_terminal_size(sys.stdout.fileno()).columns
    except (AttributeError, OSError, ValueError):  # a file, a pipe
        return WIDTH
    return min(WIDTH, max(columns, NARROWEST)) if columns else WIDTH


def number(value: float, digits: int, signed: bool = False) -> str:
    """``24.31`` or ``+0.42``; a dash for a missing value, never ``-0.00``."""
    if math.isnan(value):
        return EMPTY
    rounded = round(value, digits) + 0.0
    return f"{rounded:+.{digits}f}" if signed else f"{rounded:.{digits}f}"


def with_spread(score: Spread, digits: int, signed: bool = False) -> str:
    """``24.31 ±0.05``; without the plus-minus for one value."""
    text = number(score.mean, digits, signed)
    return text if math.isnan(score.std) else f"{text} ±{number(score.std, digits)}"


def terminal(table: GainTable, more: Sequence[str] = ()) -> str:
    """The whole report of a cohort as text; ``more`` blocks stand before the notes."""
    parts = [f"Gains over mix: {header.title(table.cohort)}", _facts(table)]
    if not table.datasets:
        parts.append("No run counts so far.")
    else:
        parts += _score_blocks(table)
        if any(row.pairs for row in table.rows):
            if not table.large:  # there, the average gains below are the view; the single ones stand in the files
                parts += _blocks(table, "Gain over mix, PSNR in dB" + _spread_words(table), _gain_lines(table))
            parts.append(_measures(table))
    parts += [*more, "\n".join(wrapped("* ", note) for note in table.notes)]
    return "\n\n".join(part for part in parts if part) + "\n"


def legend(table: GainTable) -> list[str]:
    """What the columns of the comparison mean, and what its verdicts rest on."""
    if table.several_seeds:
        count = table.comparisons
        basis = (
            f"verdict: average gain over paired seeds, Student's t, Holm-corrected over {count} "
            f"comparison{'s' * (count != 1)}; interval: {LEVEL:.0%}, of the average gain, not corrected"
        )
    else:
        basis = "verdict: none, as one seed cannot tell a gain from seed noise; add seeds"
    return [
        basis,
        "sets: test sets won-lost against mix; delta-m: mean relative change of PSNR; rank: mean over the test sets "
        "among this baseline's strategies (1 is best); pace spread: how unevenly the tasks learn (0: all at one pace); "
        "weights: what a step's weights sum to on average",
    ]


def grid(rows: list[list[str]], ruled: int = 1) -> str:
    """Right-aligned columns, the first left-aligned, a rule below the first ``ruled`` rows.

    A first cell alone in its row is a heading: it takes no part in the widths. A name with which the row would be
    wider than :func:`width` becomes such a heading of its numbers.
    """
    rows = _harmless(rows)
    widths = [max(len(row[i]) for row in rows) for i in range(1, len(rows[0]))]
    longest = max(width() - sum(widths) - 2 * len(widths), len(rows[0][0]))
    rows = _headed(rows, longest)
    widths.insert(0, max(len(row[0]) for row in rows if any(row[1:])))
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    lines.insert(ruled, "-" * (sum(widths) + 2 * (len(widths) - 1)))
    return "\n".join(line.rstrip() for line in lines)


def blocks(title: str, head: list[list[str]], lines: list[list[str]]) -> list[str]:
    """``lines`` under their ``head``, cut between columns where they would be wider than :func:`width`.

    The first two columns (name and n) are repeated in every block.
    """
    rows = _headed(_harmless(head + lines), LONGEST)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    widths[0] = max((len(row[0]) for row in rows if any(row[1:])), default=0)
    chunks: list[list[int]] = [[]]
    used = lead = sum(widths[:2]) + 2
    for index in range(2, len(widths)):
        if chunks[-1] and used + widths[index] + 2 > width():
            chunks.append([])
            used = lead
        chunks[-1].append(index)
        used += widths[index] + 2
    parts = []
    for i, chunk in enumerate(chunks):
        part = [[row[column] for column in [0, 1, *chunk]] for row in rows]
        words = title if len(chunks) == 1 else f"{title} ({i + 1} of {len(chunks)})"
        parts.append(f"{words}\n{grid(part, ruled=len(head))}")
    return parts


def _harmless(rows: list[list[str]]) -> list[list[str]]:
    """Names from outside may have line ends and escape sequences in them."""
    return [[visible(cell) for cell in row] for row in rows]


def _headed(rows: list[list[str]], longest: int) -> list[list[str]]:
    """``rows``, names longer than ``longest`` in a row of their own above their numbers."""
    split = []
    for row in rows:
        if len(row[0]) > longest and any(row[1:]):
            split += [[row[0], *[""] * (len(row) - 1)], ["", *row[1:]]]
        else:
            split.append(row)
    return split


def wrapped(lead: str, text: str) -> str:
    """``lead`` and ``text`` within :func:`width`; further lines are indented by the length of a short ``lead``."""
    indent = " " * (len(lead) if len(lead) < 20 else 2)
    return textwrap.fill(
        visible(text, lines=True),
        width(),
        initial_indent=lead,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,
    )


def measure_cells(row: Row) -> list[str]:
    """Average gain with its spread, interval, sets won-lost, delta-m, rank, pace spread, sum of weights, verdict."""
    cell, measures = row.cells.get((AVERAGE, "psnr")), row.measures
    gain = cell.gain if cell else None
    interval = EMPTY
    if gain is not None and not math.isnan(gain.low):
        interval = f"{number(gain.low, 2, True)} to {number(gain.high, 2, True)}"
    return [
        EMPTY if gain is None else with_spread(Spread(gain.mean, gain.std, gain.n), 2, True),
        interval,
        EMPTY if measures.won is None else f"{measures.won}-{measures.lost}",
        EMPTY if math.isnan(measures.delta_m) else number(measures.delta_m, 2, True) + " %",
        number(measures.mean_rank, 2),
        number(measures.pace_spread, 3),
        number(measures.weight_sum, 2),
        row.remark if not row.n else "reference" if row.strategy == REFERENCE else cell.verdict if cell else "",
    ]


MEASURES = ["average gain", f"{LEVEL:.0%} interval", "sets", "delta-m", "rank", "pace spread", "weights", "verdict"]


def _facts(table: GainTable) -> str:
    facts = header.facts(table.cohort)[1:]
    width = max(len(label) for label, _ in facts)
    return "\n".join(wrapped(f"  {label:<{width}}  ", value) for label, value in facts)


def _spread_words(table: GainTable) -> str:
    return "; mean ± standard deviation over n seeds" if table.several_seeds else ""


def _score_blocks(table: GainTable) -> list[str]:
    """Each metric in its own block where spreads need the room; PSNR and SSIM in one without them.

    Of a large table no spread is printed: that of the gain, further down, is the one to judge by.
    """
    metrics = table.cohort.metrics
    spreads = table.several_seeds and not table.large
    groups = [[metric] for metric in metrics]
    if not spreads and metrics[:2] == ["psnr", "ssim"]:
        groups = [["psnr", "ssim"], *groups[2:]]
    words = (
        _spread_words(table)
        if spreads
        else "; mean over n seeds; spreads and single gains: in the files" * table.several_seeds
    )
    parts = []
    for group in groups:
        title = " / ".join(table.metrics[metric].heading for metric in group) + words
        parts += _blocks(table, title, _score_lines(table, group, spreads))
    return parts


def _score_lines(table: GainTable, metrics: list[str], spreads: bool) -> list[list[str]]:
    def cells(value: Callable[[str, str], str]) -> list[str]:
        texts = [[value(dataset, metric) for metric in metrics] for dataset in table.datasets]
        return [EMPTY if set(several) == {EMPTY} else " / ".join(several) for several in texts]

    inputs = cells(lambda dataset, metric: number(table.inputs[dataset, metric], table.metrics[metric].digits))
    lines = [["degraded input", "", *inputs]]
    for row, first in _with_groups(table):
        if first:
            lines.append([row.display] + [""] * (1 + len(table.datasets)))
        texts = [EMPTY] * (len(table.datasets) - 1) + [row.remark]
        if row.n:
            texts = cells(partial(_score, table, row, spreads))
        lines.append([f"  {row.strategy}", row.count, *texts])
        if any((dataset, metric) in row.published for dataset in table.datasets for metric in metrics):
            lines.append(["    published", "", *cells(partial(_published, table, row))])
    return lines


def _score(table: GainTable, row: Row, spreads: bool, dataset: str, metric: str) -> str:
    score, digits = row.cells[dataset, metric].score, table.metrics[metric].digits
    return with_spread(score, digits) if spreads else number(score.mean, digits)


def _published(table: GainTable, row: Row, dataset: str, metric: str) -> str:
    figure = row.published.get((dataset, metric))
    return number(figure.value, table.metrics[metric].digits) if figure else EMPTY


def _gain_lines(table: GainTable) -> list[list[str]]:
    lines = []
    baseline = None
    for row, _ in _with_groups(table):
        if row.strategy == REFERENCE:
            continue
        if row.baseline != baseline:
            lines.append([row.display] + [""] * (1 + len(table.datasets)))
            baseline = row.baseline
        gains = [row.cells[dataset, "psnr"].gain for dataset in table.datasets]
        if row.pairs:
            texts = [with_spread(Spread(gain.mean, gain.std, gain.n), 2, True) for gain in gains]
            lines.append([f"  {row.strategy}", str(row.pairs), *texts])
        else:
            reason = row.remark if not row.n else "no pair with mix"
            lines.append([f"  {row.strategy}", "0", *[EMPTY] * (len(gains) - 1), reason])
    return lines


def _with_groups(table: GainTable) -> list[tuple[Row, bool]]:
    rows = table.ranked
    return [(row, i == 0 or rows[i - 1].baseline != row.baseline) for i, row in enumerate(rows)]


def _blocks(table: GainTable, title: str, lines: list[list[str]]) -> list[str]:
    names, marks = zip(*(table.title(dataset) for dataset in table.datasets), strict=True)
    head = [["", "n", *names]] + ([["", "", *marks]] if any(marks) else [])
    return blocks(title, head, lines)


def _measures(table: GainTable) -> str:
    rows = [["Best first" if table.large else "Against mix", "n", *MEASURES]]
    for row, first in _with_groups(table):
        if first:
            rows.append([row.display] + [""] * (1 + len(MEASURES)))
        pairs = row.count if row.strategy == REFERENCE else str(row.pairs)
        rows.append([f"  {row.strategy}", pairs, *measure_cells(row)])
    told = [any(row[i] not in ("", EMPTY) for row in rows[1:]) for i in range(len(rows[0]))]  # no intervals of one seed
    rows = [[cell for i, cell in enumerate(row) if told[i] or not i] for row in rows]
    table_text = grid(rows)
    if max(map(len, table_text.splitlines())) > width():
        table_text = "\n\n".join(blocks(rows[0][0], [["", *rows[0][1:]]], rows[1:]))
    return table_text + "\n" + "\n".join(wrapped("  ", line) for line in legend(table))
