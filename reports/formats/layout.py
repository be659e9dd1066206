"""Tables and paragraphs of plain text, as wide as the terminal but 118 columns at most."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Sequence

from results.visible import visible

WIDTH, NARROWEST = 118, 40

LONGEST = 32
"""Characters of a name beyond which it gets a line of its own above its numbers."""


def width() -> int:
    """Columns to fill: :data:`WIDTH`, or those of a narrower terminal that standard output is."""
    try:
        columns = os.get_terminal_size(sys.stdout.fileno()).columns
    except (AttributeError, OSError, ValueError):  # a file, a pipe
        return WIDTH
    return min(WIDTH, max(columns, NARROWEST)) if columns else WIDTH


def grid(rows: Sequence[Sequence[str]], ruled: int = 1) -> str:
    """Right-aligned columns, the first left-aligned, a rule below the first ``ruled`` rows.

    A first cell alone in its row is a heading: it takes no part in the widths. A name with which the row would be
    wider than :func:`width` becomes such a heading of its numbers.
    """
    rows = _printable(rows)
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


def blocks(title: str, head: Sequence[Sequence[str]], lines: Sequence[Sequence[str]]) -> list[str]:
    """``lines`` under their ``head``, cut between columns where they would be wider than :func:`width`.

    The first two columns (name and n) are repeated in every block.
    """
    rows = _headed(_printable([*head, *lines]), LONGEST)
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
    parts: list[str] = []
    for i, chunk in enumerate(chunks):
        part = [[row[column] for column in [0, 1, *chunk]] for row in rows]
        words = title if len(chunks) == 1 else f"{title} ({i + 1} of {len(chunks)})"
        parts.append(f"{words}\n{grid(part, ruled=len(head))}")
    return parts


def _printable(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Names from outside may have line ends and escape sequences in them."""
    return [[visible(cell) for cell in row] for row in rows]


def _headed(rows: list[list[str]], longest: int) -> list[list[str]]:
    """``rows``, names longer than ``longest`` in a row of their own above their numbers."""
    split: list[list[str]] = []
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
