"""The report of a cohort as a Markdown page."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from reports.formats.columns import (
    CONFLICTS,
    COSTS,
    MEASURES,
    P_VALUE,
    POOLED,
    SEEDS,
    TUNING,
    TUNING_LEGEND,
    Column,
    shown,
)  # fmt: skip
from reports.formats.front import CONTROLS, TITLE, about, weighting_cells
from reports.formats.front import legend as control_legend
from reports.formats.lengths import TITLE as LENGTHS
from reports.formats.lengths import cells as length_cells
from reports.formats.lengths import legend as length_legend
from reports.formats.lengths import sentence
from reports.formats.sections import sections
from reports.formats.sentences import sentences
from reports.formats.text import (
    CONFLICT_LEGEND,
    COST_TITLE,
    NOT_POOLED,
    POOLED_TITLE,
    cost_legend,
    legend,
    pooled_legend,
    sweep_cells,
)
from reports.numbers import header
from reports.numbers.conflicts import Conflict
from reports.numbers.contest import Contest
from reports.numbers.findings import Findings
from reports.numbers.lengths import Lengths
from reports.numbers.metrics import change, heading
from reports.numbers.model import GainTable, Row
from reports.numbers.pooled import Pooled
from reports.numbers.statistics import LEVEL
from reports.numbers.sweeps import Sweep
from reports.numbers.tuning import Tunings
from reports.numbers.words import EMPTY, interval, number, with_spread
from results.visible import visible


def page(findings: Findings, figures: Sequence[Path] = ()) -> str:
    """Header, score tables with gains in brackets, comparison, verdicts over baselines, lengths, small tables, costs,
    image-level view, sweeps, conflicts, tuning, notes, ``figures`` (same folder)."""
    table, held, across = findings.table, findings.held, findings.across
    facts = "\n".join(f"- **{label}**: {escaped(value)}" for label, value in header.facts(table.cohort)[1:])
    parts = [
        f"# Gains over mix: {escaped(header.title(table.cohort))}",
        *(escaped(sentence, first=True) for sentence in sentences(findings)),
        facts,
    ]
    if table.datasets:
        for metric in table.cohort.metrics:
            title = escaped(heading(table.metrics[metric]))
            parts += [f"## {title}", _caption(table, metric), _scores(table, metric)]
        parts += ["## Against mix", _comparison(table), "\n".join(f"- {line}" for line in legend(table))]
        parts += [f"## {POOLED_TITLE}", _pooled(across)] if across is not None else []
        parts += [_length_section(findings.lengths)] if findings.lengths.rows else []
        parts += [_control_section(held)] if held.fronts else []
        for section in sections(findings):
            rows = [[display, strategy, *(e.words for e in entries)] for display, strategy, entries in section.rows]
            parts += [f"## {section.title}", pipe_table(section.names, rows), f"{section.caption}."]
        if costs := shown(COSTS, table.compared):
            parts += [f"## {COST_TITLE}", _columns(table, [SEEDS, *costs]), f"- {cost_legend(table)}"]
        if images := _images(table):
            parts += ["## Sampling of images", _images_caption(), images]
    else:
        parts.append("No run counts so far.")
    parts += [_sweep_section(sweep) for sweep in findings.swept]
    parts += [_conflict_section(findings.probed)] if findings.probed else []
    parts += [_tuning_section(findings.tunings)] if findings.tunings else []
    if table.notes:
        parts += ["## Notes", "\n".join(f"- {escaped(note.text, first=True)}" for note in table.notes)]
    if figures and any(len(table.drawn(name)) < len(table.cohort.strategies(name)) for name in table.cohort.baselines):
        parts += ["Pictures of single strategies show mix, Art and the best ones only; the page `report.html` has all."]
    parts += ["## Figures", "\n\n".join(f"![{escaped(path.stem)}]({path.name})" for path in figures)] if figures else []
    return "\n\n".join(parts) + "\n"


def _caption(table: GainTable, metric: str) -> str:
    mean = "mean ± standard deviation over n seeds" if table.several_seeds else "one seed (n = 1): no spread"
    words = change(table.metrics[metric])
    return f"Mean over images, then over test sets; {mean}. In brackets: {words} on the seeds both have."


def _scores(table: GainTable, metric: str) -> str:
    digits = table.metrics[metric].digits
    rows = [["degraded input", "", "", *(number(table.inputs[d, metric], digits) for d in table.datasets)]]
    for row in table.ranked:
        cells = [_cell(row, dataset, metric, digits) for dataset in table.datasets]
        if not row.n:
            cells[-1] = row.remark
        rows.append([row.display, row.strategy, row.count, *cells])
        figures = [row.published.get((dataset, metric)) for dataset in table.datasets]
        if any(figures):
            values = [number(figure.value, digits) if figure else EMPTY for figure in figures]
            rows.append([row.display, f"{row.strategy}, published", "", *values])
    return pipe_table(["baseline", "strategy", "n", *(table.heading(d) for d in table.datasets)], rows)


def _cell(row: Row, dataset: str, metric: str, digits: int) -> str:
    cell = row.cells[dataset, metric]
    text = with_spread(cell.score, digits)
    if math.isnan(cell.gain.mean):
        return text
    return f"{text} ({number(cell.gain.mean, digits, signed=True)})"


def _comparison(table: GainTable) -> str:
    return _columns(table, shown([SEEDS, *MEASURES, P_VALUE], table.compared))


def _columns(table: GainTable, columns: Sequence[Column[Row]]) -> str:
    rows = [[row.display, row.strategy, *(column.text(row) for column in columns)] for row in table.ranked]
    return pipe_table(["baseline", "strategy", *(column.heading for column in columns)], rows)


def _pooled(across: Sequence[Pooled]) -> str:
    rows = [[one.strategy, *(column.text(one) for column in POOLED)] for one in across]
    names = ["strategy", *(column.heading for column in POOLED)]
    return f"{pipe_table(names, rows, left=1)}\n\n- {pooled_legend(across)}" if across else NOT_POOLED


def _sweep_section(sweep: Sweep) -> str:
    names, lines = sweep_cells(sweep)
    title = f"## Sweep of {sweep.strategy}'s {sweep.parameter}"
    values = pipe_table(["baseline", *names], lines, left=1)
    return f"{escaped(title)}\n\nAverage gain over mix, PSNR in dB.\n\n{values}"


def _length_section(found: Lengths) -> str:
    names, rows = length_cells(found)
    told = [*(sentence(row) for row in found.rows), *length_legend(found), *found.notes]
    lines = "\n".join(f"- {escaped(line, first=True)}" for line in told)
    return f"## {LENGTHS}\n\n{pipe_table(['baseline', 'strategy', *names], rows)}\n\n{lines}"


def _tuning_section(tunings: Tunings) -> str:
    searches = [search for several in tunings.values() for search in several]
    rows = [[column.text(search) for column in TUNING] for search in searches]
    return f"## Tuning\n\n{TUNING_LEGEND}\n\n{pipe_table([column.heading for column in TUNING], rows)}"


def _control_section(held: Contest) -> str:
    names = ["baseline", "strategy", *(column.heading for column in CONTROLS)]
    rows = [[row.display, row.strategy, *(column.text(row) for column in CONTROLS)] for row in held.rows]
    told = [*(about(one) for one in held.fronts), *control_legend(held)]
    weightings = [pipe_table(*weighting_cells(one)) for one in held.fronts]
    words = "PSNR of the fixed weightings in dB, mean over seeds; best average first."
    parts = ["## Fixed weights", TITLE, pipe_table(names, rows), "\n".join(f"- {escaped(line)}" for line in told)]
    return "\n\n".join([*parts, words, *weightings])


def _conflict_section(found: Mapping[str, Sequence[Conflict]]) -> str:
    names = ["baseline", "strategy", *(column.heading for column in CONFLICTS)]
    rows = [
        [conflict.display, conflict.title, *(column.text(conflict) for column in CONFLICTS)]
        for several in found.values()
        for conflict in several
    ]
    return f"## Task gradients\n\n{CONFLICT_LEGEND.capitalize()}.\n\n{pipe_table(names, rows)}"


def _images_caption() -> str:
    return (
        "What other test images would change, with these trained networks: it says nothing about training again. "
        f"PSNR gain over mix in dB, {LEVEL:.0%} bootstrap interval of the mean, p of the Wilcoxon signed-rank test, "
        "neither corrected for several comparisons. With several seeds an image's gain is its mean over them."
    )


def _images(table: GainTable) -> str:
    rows: list[list[str]] = []
    for row in table.ranked:
        for dataset in table.datasets:
            cell = row.cells.get((dataset, "psnr"))
            if cell and (view := cell.images) and view.n:
                p = EMPTY if math.isnan(view.p) else f"{view.p:.3g}"
                gain = number(view.mean, 2, signed=True)
                place = [row.display, row.strategy, table.heading(dataset), str(view.n)]
                rows.append([*place, gain, interval(view.low, view.high, EMPTY), p])
    names = ["baseline", "strategy", "test set", "images", "gain", f"{LEVEL:.0%} interval", "p"]
    return pipe_table(names, rows) if rows else ""


def pipe_table(names: Sequence[str], rows: Sequence[Sequence[str]], left: int = 2) -> str:
    """A Markdown table of texts, the first ``left`` columns left-aligned, special characters kept as they are."""
    from tabulate import tabulate

    cells = [[escaped(cell) for cell in row] for row in rows]
    align = ["left"] * left + ["right"] * (len(names) - left)
    return tabulate(cells, [escaped(name) for name in names], "pipe", disable_numparse=True, colalign=align)


def escaped(text: str, first: bool = False) -> str:
    """``text`` as Markdown prints it literally: no markup, link, picture, formula or HTML in it comes to life.

    Args:
        text: from outside, in whole or in part; its line ends become blanks.
        first: it stands first in its paragraph or list item, where further characters mean something.
    """
    text = visible(_LINE_ENDS.sub(" ", text))
    text = _MARKUP.sub(r"\\\g<0>", text)
    text = _SCHEME.sub(r"\1\\:", text)
    text = _AUTOLINK.sub(r"\\\g<0>", text)
    return _AT_START.sub(r"\1\\\2", text) if first else text


_LINE_ENDS = re.compile(r"\s*\n\s*")
_MARKUP = re.compile(r"[\\|*<`\[\]~$]|(?<![^\W_])_(?=.*_(?![^\W_]))|&(?=#?\w+;)")
"""Characters that mean something anywhere; underscores only where they would mark a word, so that ``denoise_15`` stays
readable."""

_SCHEME = re.compile(r"(?i)\b(javascript|vbscript|data|file|mailto|xmpp|https?|ftp|tel|sms):(?=\S)")
_AUTOLINK = re.compile(r"(?i)(?<=www)\.|(?<=\w)@(?=\w)")
"""What renderers make a link of without any markup."""

_AT_START = re.compile(r"^(\s*\d*)([#>]|[-+=.)](?=[-+=\s]|$))")
"""What makes a line a heading, a quotation or a list."""
