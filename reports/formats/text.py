"""The gain table for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from reports.formats.columns import (
    CONFLICTS,
    COSTS,
    GAIN,
    INTERVAL,
    MEASURES,
    POOLED,
    SEEDS,
    TUNING,
    TUNING_LEGEND,
    VERDICT,
    Column,
    meanings,
    shown,
)  # fmt: skip
from reports.formats.front import control_text
from reports.formats.layout import blocks, grid, width, wrapped
from reports.formats.lengths import lengths_text
from reports.formats.sections import Section, sections
from reports.numbers import header
from reports.numbers.conflicts import Conflict
from reports.numbers.findings import Findings
from reports.numbers.metrics import heading
from reports.numbers.model import GainTable, Row
from reports.numbers.pooled import Pooled
from reports.numbers.statistics import LEVEL
from reports.numbers.sweeps import Line, Sweep
from reports.numbers.words import EMPTY, number, plural, with_spread
from results.tuning import Search
from results.visible import visible

COST_TITLE = "Cost and weights"

POOLED_TITLE = "Over baselines"
NOT_POOLED = "No verdict over baselines: no strategy has two paired seeds or more on two baselines or more."

CONFLICT_LEGEND = (
    "cosine between the gradients of two tasks' losses on fixed batches, mean over the probes (and seeds); below 0: "
    "share of pairs, probes (and seeds) where an update for one task hurts the other"
)


def terminal(findings: Findings) -> str:
    """The whole report of a cohort as text."""
    table, held, across = findings.table, findings.held, findings.across
    parts = [f"Gains over mix: {header.title(table.cohort)}", _facts(table)]
    if not table.datasets:
        parts.append("No run counts so far.")
    else:
        parts += _score_blocks(table)
        if any(row.pairs for row in table.compared):
            if not table.large:  # there, the average gains below are the view; the single ones stand in the files
                title = "Gain over mix, PSNR in dB" + (_SPREADS if table.several_seeds else "")
                parts += _blocks(table, title, _gain_lines(table))
            parts.append(_measures(table))
            parts += [_section(section) for section in sections(findings) if not section.detail]
        parts += [lengths_text(findings.lengths)] if findings.lengths.rows else []
        parts += [control_text(held)] if held.fronts else []
        parts += [pooled_text(across)] if across is not None else []
        parts.append(_costs(table))
    parts += [sweep_text(sweep, table.several_seeds) for sweep in findings.swept]
    parts += [conflict_text(findings.probed)] if findings.probed else []
    parts.append("\n".join(wrapped("* ", note.text) for note in table.notes))
    return "\n\n".join(part for part in parts if part) + "\n"


def legend(table: GainTable) -> list[str]:
    """What the columns of the comparison mean, and what its verdicts rest on."""
    basis = "verdict: none, as one seed cannot tell a gain from seed noise; add seeds"
    if table.several_seeds:
        count = table.comparisons
        basis = (
            f"verdict: average gain over paired seeds, Student's t, Holm-corrected over {count} "
            f"{plural(count, 'comparison')}; interval: {LEVEL:.0%}, of the average gain, not corrected"
        )
    meant = meanings(MEASURES, table.compared)
    return [basis, meant] if meant else [basis]


def tuning_text(searches: Sequence[Search]) -> str:
    """What searches found, a line each."""
    rows = [[column.heading for column in TUNING], *([column.text(search) for column in TUNING] for search in searches)]
    widths = [max(len(visible(row[i])) for row in rows) for i in range(len(TUNING))]
    lines = [
        "  ".join(visible(cell).ljust(wide) for cell, wide in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join([*lines, *wrapped("* ", TUNING_LEGEND).splitlines()])


def cost_legend(table: GainTable) -> str:
    """What the columns of the costs and weights mean; empty where there are none."""
    return meanings(COSTS, table.compared)


def pooled_text(across: Sequence[Pooled]) -> str:
    """The verdicts over baselines as a small table with its legend."""
    if not across:
        return wrapped("", NOT_POOLED)
    rows = [[POOLED_TITLE, *(column.heading for column in POOLED)]]
    rows += [[f"  {one.strategy}", *(column.text(one) for column in POOLED)] for one in across]
    return f"{grid(rows)}\n{wrapped('  ', pooled_legend(across))}"


def pooled_legend(across: Sequence[Pooled]) -> str:
    """What verdicts over baselines rest on."""
    count = len(across)
    return (
        "verdict: Stouffer's sum of the baselines' paired t-tests, whose seeds are independent, two-sided, Holm-"
        f"corrected over {count} {plural(count, 'strategy', 'strategies')}; mean gain: of these baselines, each "
        f"counted alike; interval: {LEVEL:.0%}, of that mean, not corrected; {meanings(POOLED, across)}"
    )


def sweep_text(sweep: Sweep, several_seeds: bool) -> str:
    """The gains as a small table, a line a baseline, a column a value."""
    title = f"Sweep of {sweep.strategy}'s {sweep.parameter}: average gain over mix, PSNR in dB"
    names, lines = sweep_cells(sweep)
    return "\n\n".join(blocks(title + (_SPREADS if several_seeds else ""), [["", *names]], lines))


def sweep_cells(sweep: Sweep) -> tuple[list[str], list[list[str]]]:
    """Headings behind that of the baseline, and the lines of that table; n is the range over the values."""

    def cells(line: Line) -> list[str]:
        pairs = sorted({row.pairs for row in line.rows.values()})
        n = str(pairs[0]) if len(pairs) == 1 else f"{pairs[0]} to {pairs[-1]}"
        gains = {value: with_spread(row.average.gain, 2, signed=True) for value, row in line.rows.items()}
        return [line.name, n, *(gains.get(value, "") for value in sweep.values)]

    names = [f"{sweep.parameter}={value:g}" for value in sweep.values]
    return ["n", *names], [cells(line) for line in sweep.lines]


def conflict_text(found: Mapping[str, Sequence[Conflict]]) -> str:
    """Mean cosine, share below 0 and the most conflicting pair of every strategy, by baseline."""
    rows = [["Task gradients", *(column.heading for column in CONFLICTS)]]
    for several in found.values():
        rows.append([several[0].display, *[""] * len(CONFLICTS)])
        rows += [[f"  {conflict.title}", *(c.text(conflict) for c in CONFLICTS)] for conflict in several]
    return f"{grid(rows)}\n{wrapped('  ', CONFLICT_LEGEND)}"


_SPREADS = "; mean ± standard deviation over n seeds"


def _facts(table: GainTable) -> str:
    facts = header.facts(table.cohort)[1:]
    longest = max(len(label) for label, _ in facts)
    return "\n".join(wrapped(f"  {label:<{longest}}  ", value) for label, value in facts)


def _score_blocks(table: GainTable) -> list[str]:
    """Each metric in its own block where spreads need the room; PSNR and SSIM in one without them.

    Of a large table no spread is printed: that of the gain, further down, is the one to judge by.
    """
    metrics = table.cohort.metrics
    spreads = table.several_seeds and not table.large
    groups = [[metric] for metric in metrics]
    if not spreads and metrics[:2] == ["psnr", "ssim"]:
        groups = [["psnr", "ssim"], *groups[2:]]
    words = _SPREADS if spreads else ""
    if table.several_seeds and table.large:
        words = "; mean over n seeds; spreads and single gains: in the files"
    parts: list[str] = []
    for group in groups:
        title = " / ".join(heading(table.metrics[metric]) for metric in group) + words
        parts += _blocks(table, title, _score_lines(table, group, spreads))
    return parts


def _score_lines(table: GainTable, metrics: list[str], spreads: bool) -> list[list[str]]:
    def cells(text: Callable[[str, str, int], str]) -> list[str]:
        texts = [[text(dataset, name, table.metrics[name].digits) for name in metrics] for dataset in table.datasets]
        return [EMPTY if set(several) == {EMPTY} else " / ".join(several) for several in texts]

    def scores(row: Row) -> list[str]:
        def text(dataset: str, metric: str, digits: int) -> str:
            score = row.cells[dataset, metric].score
            return with_spread(score, digits) if spreads else number(score.mean, digits)

        return cells(text)

    def published(row: Row) -> list[str]:
        def text(dataset: str, metric: str, digits: int) -> str:
            figure = row.published.get((dataset, metric))
            return number(figure.value, digits) if figure else EMPTY

        return cells(text)

    inputs = cells(lambda dataset, metric, digits: number(table.inputs[dataset, metric], digits))
    lines = [["degraded input", "", *inputs]]
    for row, first in _with_groups(table.ranked):
        if first:
            lines.append([row.display] + [""] * (1 + len(table.datasets)))
        remark = [EMPTY] * (len(table.datasets) - 1) + [row.remark]
        lines.append([marked(row), row.count, *(scores(row) if row.n else remark)])
        if any((dataset, metric) in row.published for dataset in table.datasets for metric in metrics):
            lines.append(["    published", "", *published(row)])
    return lines


def _gain_lines(table: GainTable) -> list[list[str]]:
    lines: list[list[str]] = []
    for row, first in _with_groups([row for row in table.ranked if not row.is_reference]):
        if first:
            lines.append([row.display] + [""] * (1 + len(table.datasets)))
        if row.pairs:
            gains = [row.cells[dataset, "psnr"].gain for dataset in table.datasets]
            texts = [with_spread(gain, 2, signed=True) for gain in gains]
        else:
            texts = [EMPTY] * (len(table.datasets) - 1) + ["no pair with mix" if row.n else row.remark]
        lines.append([marked(row), str(row.pairs), *texts])
    return lines


def _with_groups(rows: Sequence[Row]) -> list[tuple[Row, bool]]:
    """The rows, and whether each is the first of its baseline."""
    return [(row, i == 0 or rows[i - 1].baseline != row.baseline) for i, row in enumerate(rows)]


def _blocks(table: GainTable, title: str, lines: list[list[str]]) -> list[str]:
    names, marks = zip(*(table.title(dataset) for dataset in table.datasets), strict=True)
    return blocks(title, [["", "n", *names], *([["", "", *marks]] if any(marks) else [])], lines)


def _section(section: Section) -> str:
    """A small table, the baseline above its rows."""
    lines: list[list[str]] = []
    for place, (display, strategy, entries) in enumerate(section.rows):
        if not place or section.rows[place - 1][0] != display:
            lines.append([display] + [""] * len(entries))
        lines.append([f"  {strategy}", *(entry.words for entry in entries)])
    text = grid([["", *section.names[2:]], *lines])
    if max(map(len, text.splitlines())) > width():
        head = [["", "", *section.names[2:]]]
        text = "\n\n".join(blocks("", head, [[line[0], "", *line[1:]] for line in lines])).strip("\n")
    return f"{section.title}\n{text}\n{wrapped('  ', section.caption + '.')}"


def marked(row: Row) -> str:
    """A row's name; rows of the command at hand have a mark where there are others."""
    return f"{'>' if row.own else ' '} {row.strategy}"


def _lines(table: GainTable, columns: Sequence[Column[Row]]) -> list[list[str]]:
    """A line a row, under a line for each baseline."""
    lines: list[list[str]] = []
    for row, first in _with_groups(table.ranked):
        lines += [[row.display] + [""] * len(columns)] if first else []
        lines.append([marked(row), *(column.text(row) for column in columns)])
    return lines


def _measures(table: GainTable) -> str:
    columns, title = shown([SEEDS, *MEASURES], table.compared), "Best first" if table.large else "Against mix"
    lines = _lines(table, columns)
    text = grid([[title, *(column.heading for column in columns)], *lines])
    if max(map(len, text.splitlines())) > width():  # cut between columns, the verdict beside the gain
        first = [column for column in columns if column in (SEEDS, GAIN, INTERVAL, VERDICT)]
        columns = first + [column for column in columns if column not in first]
        heads = ["", *(column.heading for column in columns)]
        text = "\n\n".join(blocks(title, [heads], _lines(table, columns)))
    return text + "\n" + "\n".join(wrapped("  ", line) for line in legend(table))


def _costs(table: GainTable) -> str:
    columns = shown(COSTS, table.compared)
    if not columns:
        return ""
    columns = [SEEDS, *columns]
    text = grid([[COST_TITLE, *(column.heading for column in columns)], *_lines(table, columns)])
    if max(map(len, text.splitlines())) > width():
        text = "\n\n".join(blocks(COST_TITLE, [["", *(c.heading for c in columns)]], _lines(table, columns)))
    return f"{text}\n{wrapped('  ', cost_legend(table))}"
