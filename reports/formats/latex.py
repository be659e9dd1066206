"""The gain table in LaTeX (booktabs): gains in brackets, best bold and second underlined within each baseline; then the
comparison with mix."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from reports.formats.columns import COSTS, MEASURES, P_VALUE, POOLED, SEEDS, Column, shown
from reports.formats.front import CONTROLS, about, by_baseline
from reports.formats.front import legend as control_legend
from reports.formats.text import COST_TITLE, POOLED_TITLE, cost_legend, legend, pooled_legend
from reports.numbers import header
from reports.numbers.contest import Contest, Control
from reports.numbers.findings import Findings
from reports.numbers.metrics import change, heading
from reports.numbers.model import GainTable, Row
from reports.numbers.outcome import LEAK_FREE
from reports.numbers.pooled import Pooled
from reports.numbers.words import EMPTY, number
from results.visible import visible

T = TypeVar("T")

PREAMBLE = r"\usepackage{booktabs,graphicx}"
"""What a document needs to include the file."""

FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
"""Shrinks a table that is wider than the text, and no other."""

LINES, COLUMNS = 54, 8
"""Lines and columns of numbers up to which a table is one; what has more is printed in parts that fit a page."""

FOLD = 18
"""Characters of a strategy's name on a line."""

HARD = "\N{NO-BREAK SPACE}"

SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
}


def escape(text: str) -> str:
    """``text`` as LaTeX prints it literally."""
    text = visible(" ".join(text.split()) if "\n" in text else text).replace("--", "-\0-")
    text = "".join(SPECIAL.get(character, character) for character in text).replace("±", r"$\pm$").replace("–", "--")
    return text.replace("\0", "{}")  # two hyphens would be printed as a dash


def column_names(findings: Findings) -> list[str]:
    """Names that can be chosen: test sets, metrics, then what else tables have."""
    table = findings.table
    columns = [column.heading for column in shown([*MEASURES, P_VALUE, *COSTS], table.compared)]
    columns += [column.heading for column in CONTROLS if findings.held.rows]
    columns += [column.heading for column in POOLED if findings.across]
    titles = [facts.title for facts in table.metrics.values()]
    return list(
        dict.fromkeys([*table.datasets, *titles, *(name for name in columns if name and name != SEEDS.heading)])
    )


class _Choice:
    """Columns by their names, in the order in which they are named; all where none is."""

    def __init__(self, names: Sequence[str]):
        self.names = [name.casefold() for name in names]

    def __call__(self, items: Iterable[T], name: Callable[[T], str]) -> list[T]:
        if not self.names:
            return list(items)
        chosen = [item for item in items if name(item).casefold() in self.names]
        return sorted(chosen, key=lambda item: self.names.index(name(item).casefold()))

    def of(self, columns: Iterable[Column[T]]) -> list[Column[T]]:
        return self(columns, lambda column: column.heading)


def latex(findings: Findings, columns: Sequence[str] = ()) -> str:
    """``table`` environments, one or more a metric and for the comparison, and for verdicts over baselines; need
    :data:`PREAMBLE`. The header and notes are comments above them.

    Args:
        findings: of a cohort.
        columns: only these of :func:`column_names`, in this order; a table of which none is named is left out. Of
            metrics those that are named have tables, or all where none is.
    """
    chosen = _Choice(columns)
    table, held, across = findings.table, findings.held, findings.across or ()
    facts = [f"{label}: {value}" for label, value in header.facts(table.cohort)]
    lines = [
        PREAMBLE,
        *facts,
        *legend(table),
        *filter(None, [cost_legend(table)]),
        *([*map(about, held.fronts), *control_legend(held)] if held.fronts else []),
        *_legends(across),
        *(note.text for note in table.notes),
    ]
    comments = [f"% {visible(' '.join(line.split()))}" for line in lines]
    datasets = chosen(table.datasets, str)
    named = [name for name, facts in table.metrics.items() if facts.title.casefold() in chosen.names]
    metrics = [metric for metric in table.cohort.metrics if datasets and metric in (named or table.metrics)]
    tables = [text for metric in metrics for text in _tables(table, metric, datasets)]
    measures = chosen.of(shown([*MEASURES, P_VALUE], table.compared))
    if measures and any(row.pairs for row in table.compared):
        tables += _comparison(table, "comparison", "comparison with mix, PSNR", [SEEDS, *measures])
    if held.rows and (controls := chosen.of(CONTROLS)):
        tables += _contest(table, held, controls)
    if across and (over := chosen.of(POOLED)):
        tables += _across(table, across, over)
    if costs := chosen.of(shown(COSTS, table.compared)):
        tables += _comparison(table, "costs", COST_TITLE.lower(), [SEEDS, *costs])
    return "\n".join([*comments, *tables]).rstrip("\n") + "\n"


def _tables(table: GainTable, metric: str, chosen: Sequence[str]) -> Iterable[str]:
    parts = [(rows, datasets) for rows in _pages(table.ranked, _height) for datasets in _even(chosen, COLUMNS)]
    bodies = [(1 + len(datasets), _body(table, rows, datasets, metric)) for rows, datasets in parts]
    return _environments(table, metric, _caption(table, metric), bodies)


def _environments(
    table: GainTable, name: str, caption: str, bodies: Sequence[tuple[int, Iterable[str]]]
) -> Iterator[str]:
    """A ``table`` environment a body; each is given with its columns behind that of the names."""
    about = re.sub(r"[^\w.+:-]", "-", f"{table.cohort.setting}-{name}-{table.cohort.key}")
    for position, (columns, body) in enumerate(bodies, 1):
        part = f" Part {position} of {len(bodies)}." if len(bodies) > 1 else ""
        label = f"tab:{about}" + (f"-{position}" if part else "")
        yield "\n".join([
            r"\begin{table}[htbp]", r"\centering", rf"\caption{{{caption}{part}}}",
            rf"\label{{{label}}}", r"\vskip 4pt", r"\footnotesize", r"\setlength{\tabcolsep}{4pt}", FIT,
            rf"\begin{{tabular}}{{l{'c' * columns}}}", r"\toprule", *body,
            r"\bottomrule", r"\end{tabular}}", r"\end{table}", "",
        ])  # fmt: skip


def _comparison(table: GainTable, label: str, title: str, columns: Sequence[Column[Row]]) -> Iterator[str]:
    caption = f"{escape(header.title(table.cohort))}: {title}. {_circumstances(table)}"

    def body(rows: Sequence[Row]) -> Iterator[str]:
        yield _line(["", *(escape(column.heading) for column in columns)])
        for baseline, group in _by_baseline(rows).items():
            yield from _group(table.cohort.display(baseline), len(columns))
            for row in group:
                name, *rest = [escape(part) for part in _folded(row.strategy)]
                yield _line([name, *(_signed(_plain(escape(column.text(row)))) for column in columns)])
                yield from (_line([part, *[""] * len(columns)]) for part in rest)

    pages = _pages(table.ranked, lambda row: len(_folded(row.strategy)))
    return _environments(table, label, caption, [(len(columns), body(rows)) for rows in pages])


def _legends(across: Sequence[Pooled]) -> list[str]:
    return [pooled_legend(across)] if across else []


def _across(table: GainTable, across: Sequence[Pooled], columns: Sequence[Column[Pooled]]) -> Iterator[str]:
    title = f"{POOLED_TITLE.lower()}, average gain over mix, PSNR in dB"
    caption = f"{escape(header.title(table.cohort))}: {title}. {_circumstances(table)}"

    def body() -> Iterator[str]:
        yield _line(["", *(escape(column.heading) for column in columns)])
        yield r"\midrule"
        for one in across:
            name, *rest = [escape(part) for part in _folded(one.strategy)]
            yield _line([name, *(_signed(escape(column.text(one))) for column in columns)])
            yield from (_line([part, *[""] * len(columns)]) for part in rest)

    return _environments(table, "baselines", caption, [(len(columns), body())])


def _contest(table: GainTable, held: Contest, columns: Sequence[Column[Control]]) -> Iterator[str]:
    caption = f"{escape(header.title(table.cohort))}: against fixed weights, PSNR. {_circumstances(table)}"

    def body() -> Iterator[str]:
        yield _line(["", *(escape(column.heading) for column in columns)])
        for display, rows in by_baseline(held.rows).items():
            yield from _group(display, len(columns))
            for row in rows:
                name, *rest = [escape(part) for part in _folded(row.strategy)]
                yield _line([name, *(_signed(_plain(escape(column.text(row)))) for column in columns)])
                yield from (_line([part, *[""] * len(columns)]) for part in rest)

    return _environments(table, "fixed-weights", caption, [(len(columns), body())])


def _by_baseline(rows: Sequence[Row]) -> dict[str, list[Row]]:
    return {name: [row for row in rows if row.baseline == name] for name in dict.fromkeys(row.baseline for row in rows)}


def _group(display: str, columns: int) -> Iterator[str]:
    """The line above the rows of a baseline."""
    yield r"\midrule"
    yield _line([rf"\multicolumn{{{1 + columns}}}{{l}}{{\textit{{{escape(display)}}}}}"])


def _pages(rows: Sequence[Row], height: Callable[[Row], int]) -> list[list[Row]]:
    """At most :data:`LINES` a page, a row being of a ``height`` in lines; baselines stay whole where they can."""

    def lines(part: Sequence[Row]) -> int:
        return sum(map(height, part))

    pages: list[list[Row]] = [[]]
    for block in _by_baseline(rows).values():
        for part in _even(block, max(1, LINES * len(block) // lines(block))):
            if pages[-1] and lines(pages[-1]) + lines(part) > LINES:
                pages.append([])
            pages[-1] += part
    return pages


def _height(row: Row) -> int:
    """Lines of a row with its spreads and its published figures."""
    return max(2, len(_folded(row.strategy))) + bool(row.published)


def _even(items: Sequence[T], most: int) -> list[list[T]]:
    """Parts of about the same length, none longer than ``most``."""
    count = math.ceil(len(items) / most)
    length = math.ceil(len(items) / count)
    return [list(items[start : start + length]) for start in range(0, len(items), length)]


def _body(table: GainTable, rows: Sequence[Row], datasets: Sequence[str], metric: str) -> Iterator[str]:
    digits, lower = table.metrics[metric].digits, table.metrics[metric].lower_is_better
    yield from _head(table, datasets)
    inputs = [_plain(number(table.inputs[dataset, metric], digits)) for dataset in datasets]
    yield _line(["degraded input", "", *inputs])
    for baseline, group in _by_baseline(rows).items():
        every = [row for row in table.compared if row.baseline == baseline]
        ranked = {dataset: _ranked(every, dataset, metric, digits, lower) for dataset in datasets}
        yield from _group(table.cohort.display(baseline), 1 + len(datasets))
        for row in group:
            yield from _row(row, datasets, metric, digits, ranked)


def _head(table: GainTable, datasets: Sequence[str]) -> Iterator[str]:
    """Names of the columns and, in a line below, what a reader must know of them."""
    names = [table.title(dataset) for dataset in datasets]
    marks = [" ".join([LEAK_FREE.strip()] * name.endswith(LEAK_FREE) + [mark] * bool(mark)) for name, mark in names]
    yield _line(["", "$n$", *(escape(name.removesuffix(LEAK_FREE)) for name, _ in names)])
    if any(marks):
        yield _line(["", "", *(_small(escape(mark)) for mark in marks)])
    yield r"\midrule"


def _row(row: Row, datasets: Sequence[str], metric: str, digits: int, ranked: dict[str, list[float]]) -> Iterator[str]:
    """A line of scores, below it in small their spread and gain, and a line of published figures where there are."""
    name = [escape(part) for part in _folded(row.strategy)]
    if not row.n:
        lines = [[rf"\multicolumn{{{len(datasets)}}}{{c}}{{\textit{{{escape(row.remark)}}}}}"]]
    else:
        small = [_small(_spread_and_gain(row, dataset, metric, digits)) for dataset in datasets]
        lines = [[_score(row, dataset, metric, digits, ranked[dataset]) for dataset in datasets]]
        lines += [small] if any(small) else []
    lines += [[""] * len(datasets)] * (len(name) - len(lines))
    name += [""] * (len(lines) - len(name))
    for place, (part, cells) in enumerate(zip(name, lines, strict=True)):
        yield _line([part, "" if place else row.count, *cells])
    figures = [row.published.get((dataset, metric)) for dataset in datasets]
    if any(figures):
        values = [_plain(number(figure.value, digits)) if figure else "--" for figure in figures]
        yield _line([r"\quad published", "", *values])
    yield r"\addlinespace[3pt]"


def _folded(name: str) -> list[str]:
    """A strategy's name over several lines, cut before its parameters."""
    parts = textwrap.wrap(name.replace(" ", HARD).replace(":", " :"), FOLD, break_on_hyphens=False)
    return [part.replace(" ", "").replace(HARD, " ") for part in parts]


def _ranked(rows: Sequence[Row], dataset: str, metric: str, digits: int, lower: bool | None) -> list[float]:
    """Printed values of a column, best first, each once; none where ``lower`` does not say which is best."""
    if lower is None:
        return []
    values = {round(row.cells[dataset, metric].score.mean, digits) for row in rows if row.n}
    return sorted((v for v in values if not math.isnan(v)), reverse=not lower)


def _score(row: Row, dataset: str, metric: str, digits: int, ranked: list[float]) -> str:
    mean = row.cells[dataset, metric].score.mean
    text = _plain(number(mean, digits))
    place = ranked.index(round(mean, digits)) if ranked and not math.isnan(mean) else 2
    if len(ranked) > 1 and place < 2:
        return rf"\textbf{{{text}}}" if place == 0 else rf"\underline{{{text}}}"
    return text


def _spread_and_gain(row: Row, dataset: str, metric: str, digits: int) -> str:
    cell = row.cells[dataset, metric]
    parts = [] if math.isnan(cell.score.std) else [rf"$\pm${number(cell.score.std, digits)}"]
    parts += [] if math.isnan(cell.gain.mean) else [f"(${number(cell.gain.mean, digits, signed=True)}$)"]
    return " ".join(parts)


def _small(text: str) -> str:
    return rf"{{\scriptsize {text}}}" if text else ""


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _signed(text: str) -> str:
    """``text`` with the signs of its numbers as LaTeX sets them, not as hyphens."""
    return re.sub(r"(?<!\S)[+-](?=\d)", r"$\g<0>$", text)


def _plain(text: str) -> str:
    return "--" if text == EMPTY else text


def _caption(table: GainTable, metric: str) -> str:
    spread = "mean $\\pm$ standard deviation over $n$ seeds" if table.several_seeds else "one seed"
    facts = table.metrics[metric]
    best = (
        "Best in bold, second underlined." if facts.lower_is_better is not None else "No value is marked as the best."
    )
    title = f"{escape(header.title(table.cohort))}: {escape(heading(facts))}"
    return f"{title}, {spread}, {change(facts)} in brackets. {best} {_circumstances(table)}"


def _circumstances(table: GainTable) -> str:
    config = table.cohort.config
    data = "Data from files" if config.data.source == "files" else "Embedded data"
    return escape(f"{data}, {config.size} networks, {config.profile} profile, protocol {table.cohort.protocol}.")
