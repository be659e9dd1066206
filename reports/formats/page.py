"""The report of a cohort as one HTML file that opens from disk: no request leaves it, every name in it is escaped."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TypeVar

import jinja2
from pydantic import JsonValue

from reports.formats.columns import (
    COSTS,
    GAIN,
    INTERVAL,
    MEASURES,
    P_VALUE,
    POOLED,
    SEEDS,
    TUNING,
    TUNING_LEGEND,
    VERDICT,
    Column,
    run_columns,
    shown,
)
from reports.formats.front import CONTROLS, TITLE, about, weighting_cells
from reports.formats.front import legend as control_legend
from reports.formats.layout import LONGEST
from reports.formats.lengths import TITLE as LENGTHS
from reports.formats.lengths import TRENDS, sentence
from reports.formats.lengths import cells as length_cells
from reports.formats.lengths import legend as length_legend
from reports.formats.page_data import page_data
from reports.formats.sections import Entry, Section, sections
from reports.formats.sentences import sentences
from reports.formats.text import NOT_POOLED, cost_legend, legend, pooled_legend
from reports.numbers import header
from reports.numbers.contest import BEHIND, BEYOND, Contest, Control
from reports.numbers.findings import Findings
from reports.numbers.lengths import Lengths
from reports.numbers.metrics import direction
from reports.numbers.model import AVERAGE, Cohort, GainTable, Row
from reports.numbers.outcome import Outcome
from reports.numbers.pooled import Pooled
from reports.numbers.statistics import GAIN as GAINED
from reports.numbers.statistics import LOSS, Target
from reports.numbers.tables import seed_gains
from reports.numbers.tuning import Tunings
from reports.numbers.words import number, with_spread
from results.records import Severity

T = TypeVar("T")

MEASURED = (
    "train_seconds", "evaluate_seconds", "validation_seconds", "step_seconds", "peak_memory_mib", "peak_gpu_memory_mib",
    "clipped_share", "compiled", "recompilations", "graphs",
)  # fmt: skip
"""What the environment of every run has otherwise."""

RANGE = 150
"""Width of the picture of an interval in pixels."""


@dataclass(frozen=True)
class TableCell:
    """``text`` of a table's cell, the number its column is sorted by (``None``: last), its look, a smaller ``note``
    behind it, an interval to draw (:func:`_span`), and what a phone shows ``above`` the text instead of a column."""

    text: str
    value: float | None = None
    kind: str = ""
    note: str = ""
    span: dict[str, object] | None = None
    above: str = ""


@dataclass(frozen=True)
class PageTable:
    """A sortable table; ``better`` says which way is better, ``axis`` the ends of its drawn intervals."""

    title: str
    names: list[str]
    rows: list[list[TableCell]]
    better: str = ""
    axis: tuple[float, float] = (0.0, 0.0)


def page(findings: Findings, others: Sequence[str] = ()) -> str:
    """The file's text.

    Args:
        findings: of a cohort.
        others: names of the pages of other cohorts in the same folder.
    """
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_source), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False, "ensure_ascii": False}
    table, cohort, held, across = findings.table, findings.cohort, findings.held, findings.across
    script = _source("page_charts.js") + _source("page.js")
    warnings = _warnings(table) + [note.text for note in table.notes if note.severity == Severity.WARNING]
    notes = [note.text for note in table.notes if note.severity == Severity.NOTE]
    legends = [*legend(table), *filter(None, [cost_legend(table)])]
    return environment.get_template("page.html.jinja").render(
        title=header.title(cohort), facts=header.facts(cohort), sentences=sentences(findings), warnings=warnings,
        notes=notes, legend=legends, sections=_sections(findings), comparison=_comparison(table),
        lengths=_lengths(findings.lengths), length_sentences=list(map(sentence, findings.lengths.rows)),
        length_legend=[*length_legend(findings.lengths), *(note.rstrip(".") for note in findings.lengths.notes)],
        fixed=_fixed(held), weightings=_weightings(held), about=[*map(about, held.fronts), *control_legend(held)],
        targets=_targets(table), scores=_scores(table), runs=_runs(cohort), configurations=_configurations(cohort),
        others=others, across=_across(across), across_legend=pooled_legend(across) if across else NOT_POOLED,
        tuning=_tuning(findings.tunings), tuning_legend=TUNING_LEGEND, data=page_data(findings), script=script,
        style=_source("page.css"),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )  # fmt: skip


def _source(name: str) -> str:
    return resources.files("reports.formats").joinpath(name).read_text(encoding="utf-8")


def _warnings(table: GainTable) -> list[str]:
    """What the page says of every run before it shows any number."""
    config = table.cohort.config
    warnings: list[str] = []
    if config.data.source == "embedded":
        warnings.append(
            "Embedded data: networks were trained on drawn images and tested on made degradations. These numbers "
            "compare strategies with each other; they reproduce nothing that is published."
        )
    if config.size == "tiny":
        warnings.append("Tiny networks: the published structure with small widths, far below published scores.")
    if not table.several_seeds and table.datasets:
        warnings.append("One seed: nobody can tell these gains from seed noise. Add seeds.")
    return warnings


def _comparison(table: GainTable) -> PageTable:
    """The table of average gains, with a drawn interval."""
    if "psnr" not in table.cohort.metrics or not table.cohort.tested:
        return PageTable("", [], [])
    rest = [column for column in MEASURES if column not in (GAIN, INTERVAL, VERDICT)]
    score = Column[Row]("PSNR, dB", lambda row: with_spread(row.average.score, 2), lambda row: row.average.score.mean)
    further = shown([INTERVAL, P_VALUE, SEEDS, score, *rest, *COSTS], table.compared)
    names = ["baseline", "strategy", GAIN.heading, "", VERDICT.heading, *(column.heading for column in further)]
    axis = _axis(table)

    def cells(row: Row) -> list[TableCell]:
        verdict = VERDICT.text(row)
        kind = {GAINED: "gain", LOSS: "loss"}.get(verdict, "calm" if row.n else "bad")
        return [
            *_names(row.display, row.strategy),
            _cell(GAIN, row),
            TableCell("", kind="span", span=_span(table, row, axis)),
            TableCell(verdict, kind=kind, note=row.remark if row.n else ""),
            *(_cell(column, row) for column in further),
        ]

    return PageTable("Average gain over mix", names, [cells(row) for row in table.ranked], axis=axis)


def _across(across: Sequence[Pooled] | None) -> PageTable | None:
    """The verdicts over baselines; without rows where nothing can be pooled, ``None`` where nobody asked."""
    if across is None:
        return None

    def cells(one: Pooled) -> list[TableCell]:
        kind = {GAINED: "gain", LOSS: "loss"}.get(one.verdict, "calm")
        return [
            TableCell(one.strategy, kind="name long" if len(one.strategy) > LONGEST else "name"),
            *(TableCell(one.verdict, kind=kind) if c.heading == VERDICT.heading else _cell(c, one) for c in POOLED),
        ]

    return PageTable("Over baselines", ["strategy", *(c.heading for c in POOLED)], [cells(one) for one in across])


def _lengths(found: Lengths) -> PageTable:
    """Gains at every length with their trend."""
    looks = {GAINED: "gain", LOSS: "loss"}
    names, texts = length_cells(found)
    rows: list[list[TableCell]] = []
    for row, (display, strategy, seeds, *cells) in zip(found.rows, texts, strict=True):
        gains = {point.steps: point.gain.mean for point in row.points}
        numbers = [_number(gains.get(steps, math.nan), text) for steps, text in zip(found.steps, cells, strict=False)]
        ends = [
            _cell(column, row) if column.value else TableCell(text, kind=looks.get(text, "calm"))
            for column, text in zip(shown(TRENDS, found.rows), cells[len(found.steps) :], strict=True)
        ]
        rows.append([*_names(display, strategy), TableCell(seeds), *numbers, *ends])
    return PageTable(LENGTHS, ["baseline", "strategy", *names], rows)


def _fixed(held: Contest) -> PageTable:
    """Strategies against the fixed weightings of their baseline."""
    looks = {GAINED: "gain", BEYOND: "gain", LOSS: "loss", BEHIND: "loss"}

    def cell(column: Column[Control], row: Control) -> TableCell:
        text = column.text(row)
        return _cell(column, row) if column.value else TableCell(text, kind=looks.get(text, "calm"))

    def cells(row: Control) -> list[TableCell]:
        return [*_names(row.display, row.strategy), *(cell(column, row) for column in CONTROLS)]

    names = ["baseline", "strategy", *(column.heading for column in CONTROLS)]
    return PageTable(TITLE, names, [cells(row) for row in held.rows])


def _weightings(held: Contest) -> list[PageTable]:
    """The fixed weightings of every baseline."""
    tables: list[PageTable] = []
    for one in held.fronts:
        names, rows = weighting_cells(one)
        cells = [[*_names(*row[:2]), *(_number(float(text), text) for text in row[2:])] for row in rows]
        tables.append(PageTable(f"Fixed weightings of {one.display}", names, cells))
    return tables


def _sections(findings: Findings) -> list[tuple[Section, PageTable]]:
    """The small tables, verdicts as in the large one."""

    def cell(entry: Entry) -> TableCell:
        kind = {GAINED: "gain", LOSS: "loss"}.get(entry.verdict, "number")
        return TableCell(entry.text, None if math.isnan(entry.value) else round(entry.value, 6), kind)

    return [
        (
            section,
            PageTable(
                section.title,
                list(section.names),
                [[*_names(display, strategy), *map(cell, entries)] for display, strategy, entries in section.rows],
            ),
        )
        for section in sections(findings)
    ]


def _names(display: str, strategy: str) -> list[TableCell]:
    """Cells of the baseline and the strategy."""
    kind = "name long" if len(strategy) > LONGEST else "name"
    return [TableCell(display, kind="baseline"), TableCell(strategy, kind=kind, above=display)]


def _cell(column: Column[T], row: T) -> TableCell:
    return _number(column.value(row), column.text(row)) if column.value else TableCell(column.text(row))


def _number(value: float, text: str, note: str = "") -> TableCell:
    return TableCell(text, None if math.isnan(value) else round(value, 6), "number", note)


def _axis(table: GainTable) -> tuple[float, float]:
    """Limits of the drawn intervals: all seeds, and zero."""
    rows = [row for row in table.compared if row.pairs]
    values = [0.0, *(gain for row in rows for gain in seed_gains(table.cohort, row, AVERAGE) if math.isfinite(gain))]
    margin = 0.15 * max(max(values) - min(values), 0.2)
    return min(values) - margin, max(values) + margin


def _span(table: GainTable, row: Row, axis: tuple[float, float]) -> dict[str, object]:
    """The drawn interval: places in pixels of zero, of both ends, the mean and the seeds; what leaves the frame is cut
    there."""
    (low, high), gain = axis, row.average.gain

    def place(value: float) -> float:
        return round(RANGE * min(1.0, max(0.0, (value - low) / (high - low))), 1)

    seeds = seed_gains(table.cohort, row, AVERAGE) if gain.n else []
    return {
        "zero": place(0.0),
        "ends": [] if math.isnan(gain.low) else [place(gain.low), place(gain.high)],
        "mean": place(gain.mean) if gain.n else None,
        "seeds": [place(value) for value in seeds if math.isfinite(value)],
    }


def _scores(table: GainTable) -> list[PageTable]:
    """One table a metric: every test set, gains over mix in brackets, published figures beside what compares."""
    tables: list[PageTable] = []
    for metric in table.cohort.metrics if table.datasets else []:
        facts = table.metrics[metric]
        digits = facts.digits
        names = ["baseline", "strategy", "n", *(table.heading(dataset) for dataset in table.datasets)]
        inputs = [_number(table.inputs[d, metric], number(table.inputs[d, metric], digits)) for d in table.datasets]
        rows = [[*_names("", "degraded input"), TableCell(""), *inputs]]
        for row in table.ranked:
            cells = [_score(row, dataset, metric, digits) for dataset in table.datasets]
            rows.append([*_names(row.display, row.strategy), TableCell(row.count), *cells])
            figures = [row.published.get((dataset, metric)) for dataset in table.datasets]
            if any(figures):
                values = [_number(f.value, number(f.value, digits)) if f else TableCell("") for f in figures]
                rows.append([*_names(row.display, f"{row.strategy}, published"), TableCell(""), *values])
        tables.append(PageTable(facts.name, names, rows, better=direction(facts)))
    return tables


def _score(row: Row, dataset: str, metric: str, digits: int) -> TableCell:
    cell = row.cells[dataset, metric]
    note = "" if math.isnan(cell.gain.mean) else number(cell.gain.mean, digits, signed=True)
    return _number(cell.score.mean, with_spread(cell.score, digits), note)


def _targets(table: GainTable) -> PageTable:
    """Where validation reached mix's last level: of every task in steps, smaller in cost."""
    rows = [row for row in table.ranked if row.targets]
    tasks = sorted(dict.fromkeys(task for row in rows for task in row.targets), key=lambda task: task != AVERAGE)

    def cell(row: Row, task: str) -> TableCell:
        target = row.targets.get(task, Target())
        cost = f"cost {target.cost.words}" if target.cost.words else ""
        return _number(target.steps.share if math.isfinite(target.steps.share) else math.nan, target.steps.words, cost)

    cells = [
        [
            *_names(row.display, row.strategy),
            TableCell(str(max(target.steps.n for target in row.targets.values()))),
            *(cell(row, task) for task in tasks),
        ]
        for row in rows
    ]
    return PageTable("Steps until validation has mix's last level", ["baseline", "strategy", "n", *tasks], cells)


def _runs(cohort: Cohort) -> PageTable:
    columns = [column for column in run_columns(cohort) if column.heading]

    def cell(column: Column[Outcome], outcome: Outcome) -> TableCell:
        if column.heading == "state":
            return TableCell(column.text(outcome), kind="calm" if outcome.counts else "bad")
        return _cell(column, outcome)

    return PageTable(
        "Runs",
        ["baseline", "strategy", *(column.heading for column in columns)],
        [
            [*_names(outcome.display, outcome.strategy), *(cell(column, outcome) for column in columns)]
            for outcome in cohort.outcomes
        ],
    )


def _tuning(tunings: Tunings) -> PageTable:
    searches = [search for several in tunings.values() for search in several]
    rows = [[_cell(column, search) for column in TUNING] for search in searches]
    return PageTable("Tuning", [column.heading for column in TUNING], rows)


def _configurations(cohort: Cohort) -> list[dict[str, str]]:
    """Each configuration, environment and data record once, with the runs that share it."""
    sharing: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in cohort.outcomes:
        config = {key: value for key, value in outcome.config.content().items() if key not in ("strategy", "seed")}
        config |= {"overrides": list[JsonValue](outcome.record.overrides)}
        environment = {key: value for key, value in outcome.environment.content().items() if key not in MEASURED}
        data = [record.content() for record in outcome.data]
        for what, content in (("Configuration", config), ("Environment", environment), ("Data", data)):
            sharing.setdefault((what, json.dumps(content, indent=1, ensure_ascii=False)), []).append(outcome)
    return [
        {"what": what, "who": _who(outcomes, len(cohort.outcomes)), "text": text}
        for (what, text), outcomes in sorted(sharing.items(), key=lambda item: item[0][0])
        if text not in ("{}", "[]")
    ]


def _who(outcomes: Sequence[Outcome], total: int) -> str:
    if len(outcomes) == total:
        return "all runs"
    names = list(dict.fromkeys(outcome.display for outcome in outcomes))
    if len(outcomes) == 1:
        return f"{names[0]}, {outcomes[0].strategy}, seed {outcomes[0].seed}"
    return f"{', '.join(names)}: {len(outcomes)} runs"
