"""The report of a cohort as one HTML file that opens from disk: no request leaves it, every name in it is escaped."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from reports.formats.page_data import page_data
from reports.formats.sentences import sentences
from reports.formats.text import EMPTY, LONGEST, MEASURES, legend, measure_cells, number, with_spread
from reports.numbers import header
from reports.numbers.cohorts import AVERAGE, COUNTED, REFERENCE, Cohort, Outcome
from reports.numbers.conflicts import Conflict
from reports.numbers.statistics import GAIN, LOSS
from reports.numbers.sweeps import Sweep
from reports.numbers.tables import GainTable, Row, seed_gains

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
    span: dict[str, Any] | None = None
    above: str = ""


def page(
    table: GainTable, probed: Mapping[str, Sequence[Conflict]], swept: Sequence[Sweep], others: Sequence[str] = ()
) -> str:
    """The file's text.

    Args:
        table, probed, swept: what :mod:`reports.build` computed of a cohort.
        others: names of the pages of other cohorts in the same folder.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_source), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False, "ensure_ascii": False}
    script, cohort = _source("page_charts.js") + _source("page.js"), table.cohort
    warnings, notes = _notes(table)
    data = page_data(table, probed, swept)
    return environment.get_template("page.html.jinja").render(
        title=header.title(cohort), facts=header.facts(cohort), sentences=sentences(table), warnings=warnings,
        notes=notes, legend=legend(table), comparison=_comparison(table), scores=_scores(table), runs=_runs(cohort),
        configurations=_configurations(cohort), others=others, data=data, script=script, style=_source("page.css"),
        has={name: any(b[name] for b in data["baselines"]) for name in ("rhythms", "conflicts", "images", "samples")},
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )  # fmt: skip


def _source(name: str) -> str:
    return resources.files("reports.formats").joinpath(name).read_text(encoding="utf-8")


def _notes(table: GainTable) -> tuple[list[str], list[str]]:
    """What must stand at the top of the page, and what may stand at its end."""
    config = table.cohort.config
    warnings = []
    if config.data.source == "embedded":
        warnings.append(
            "Embedded data: networks were trained on drawn images and tested on made degradations. These numbers "
            "compare strategies with each other; they reproduce nothing that is published."
        )
    if config.size == "tiny":
        warnings.append("Tiny networks: the published structure with small widths, far below published scores.")
    if not table.several_seeds and table.datasets:
        warnings.append("One seed: nobody can tell these gains from seed noise. Add seeds.")
    calm = ("Published ", "Some published ", "No published ")
    serious = [note for note in table.notes if not note.startswith(calm)]
    return warnings + serious, [note for note in table.notes if note not in serious]


def _comparison(table: GainTable) -> dict[str, Any]:
    """The table of average gains: ``names, rows``, with a drawn interval."""
    if "psnr" not in table.cohort.metrics or not table.cohort.tested:
        return {"names": [], "rows": []}
    gained, interval, *further, verdict = MEASURES
    names = ["baseline", "strategy", gained, "", verdict, interval, "p (Holm)", "n", "PSNR, dB", *further]
    return {"names": names, "rows": [_compared(table, row) for row in table.ranked], "axis": _axis(table)}


def _compared(table: GainTable, row: Row) -> list[TableCell]:
    cell, measures = row.cells[AVERAGE, "psnr"], row.measures
    gain = cell.gain
    gained, interval, sets, delta_m, rank, pace, weights, verdict = measure_cells(row)
    kind = {GAIN: "gain", LOSS: "loss"}.get(verdict, "calm" if row.n else "bad")
    won = None if measures.won is None else float(measures.won - measures.lost)
    return [
        *_names(row.display, row.strategy),
        _number(gain.mean if gain else 0.0 if row.n else math.nan, gained), _span(table, row),
        TableCell(verdict, kind=kind, note=row.remark if row.n else ""),
        _number(gain.low if gain else math.nan, interval),
        _number(cell.p_holm, EMPTY if math.isnan(cell.p_holm) else f"{cell.p_holm:.3g}"),
        TableCell(row.count if row.strategy == REFERENCE else str(row.pairs), float(row.n), "number"),
        _number(cell.score.mean, with_spread(cell.score, 2)), TableCell(sets, won, "number"),
        _number(measures.delta_m, delta_m), _number(measures.mean_rank, rank), _number(measures.pace_spread, pace),
        _number(measures.weight_sum, weights),
    ]  # fmt: skip


def _names(display: str, strategy: str) -> list[TableCell]:
    """Cells of the baseline and the strategy."""
    kind = "name long" if len(strategy) > LONGEST else "name"
    return [TableCell(display, kind="baseline"), TableCell(strategy, kind=kind, above=display)]


def _number(value: float, text: str) -> TableCell:
    return TableCell(text, None if math.isnan(value) else round(value, 6), "number")


def _axis(table: GainTable) -> tuple[float, float]:
    """Limits of the drawn intervals: all seeds, and zero."""
    rows = [row for row in table.rows if row.pairs]
    values = [0.0, *(gain for row in rows for gain in seed_gains(table.cohort, row, AVERAGE) if math.isfinite(gain))]
    margin = 0.15 * max(max(values) - min(values), 0.2)
    return min(values) - margin, max(values) + margin


def _span(table: GainTable, row: Row) -> TableCell:
    """Places in pixels for the drawn interval: zero, both ends, mean, seeds; what leaves the frame is cut there."""
    low, high = _axis(table)
    gain = row.cells[AVERAGE, "psnr"].gain

    def place(value: float) -> float:
        return round(RANGE * min(1.0, max(0.0, (value - low) / (high - low))), 1)

    span: dict[str, Any] = {"zero": place(0.0), "ends": [], "mean": None, "seeds": []}
    if gain is not None and gain.n:
        span |= {"ends": [] if math.isnan(gain.low) else [place(gain.low), place(gain.high)], "mean": place(gain.mean)}
        span["seeds"] = [place(value) for value in seed_gains(table.cohort, row, AVERAGE) if math.isfinite(value)]
    return TableCell("", kind="span", span=span)


def _scores(table: GainTable) -> list[dict[str, Any]]:
    """One table a metric: every test set, gains over mix in brackets, published figures beside what compares."""
    made = []
    for metric in table.cohort.metrics if table.datasets else []:
        told = table.metrics[metric]
        digits = told.digits
        names = ["baseline", "strategy", "n", *(table.heading(dataset) for dataset in table.datasets)]
        inputs = [_number(table.inputs[d, metric], number(table.inputs[d, metric], digits)) for d in table.datasets]
        rows = [[*_names("", "degraded input"), TableCell(""), *inputs]]
        for row in table.ranked:
            cells = [_score(row, dataset, metric, digits) for dataset in table.datasets]
            rows.append([*_names(row.display, row.strategy), TableCell(row.count), *cells])
            if figures := [row.published.get((dataset, metric)) for dataset in table.datasets]:
                shown = [_number(f.value, number(f.value, digits)) if f else TableCell("") for f in figures]
                names_of = _names(row.display, f"{row.strategy}, published")
                rows += [[*names_of, TableCell(""), *shown]] if any(figures) else []
        made.append({"title": told.name, "better": told.direction, "names": names, "rows": rows})
    return made


def _score(row: Row, dataset: str, metric: str, digits: int) -> TableCell:
    cell = row.cells[dataset, metric]
    note = ""
    if cell.gain is not None and not math.isnan(cell.gain.mean):
        note = number(cell.gain.mean, digits, signed=True)
    return TableCell(with_spread(cell.score, digits), *(_number(cell.score.mean, "").value, "number"), note)


def _runs(cohort: Cohort) -> dict[str, Any]:
    names = ["baseline", "strategy", "seed", "state", "PSNR, dB", "training", "device", "commit", "hash", "reason"]
    rows = []
    for outcome in cohort.outcomes:
        environment, average = outcome.environment, outcome.average(cohort.tested, "psnr")
        seconds = environment.train_seconds
        rows.append([
            *_names(outcome.display, outcome.strategy),
            TableCell(str(outcome.seed), float(outcome.seed), "number"),
            TableCell(outcome.state, kind="calm" if outcome.state == COUNTED else "bad"),
            _number(average, number(average, 2)),
            TableCell(_duration(seconds), float(seconds) if seconds is not None else None, "number"),
            TableCell(environment.device or ""), TableCell((environment.commit or "")[:12]),
            TableCell(outcome.record.hash[:8]), TableCell(outcome.reason),
        ])  # fmt: skip
    return {"names": names, "rows": rows}


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _configurations(cohort: Cohort) -> list[dict[str, str]]:
    """Each configuration, environment and data record once, with the runs that share it."""
    told: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in cohort.outcomes:
        config = {key: value for key, value in outcome.config.content().items() if key not in ("strategy", "seed")}
        config |= {"overrides": outcome.record.overrides}
        own = ("train_seconds", "evaluate_seconds", "step_seconds", "peak_memory_mib")
        environment = {key: value for key, value in outcome.environment.content().items() if key not in own}
        data = [record.content() for record in outcome.data]
        for what, content in (("Configuration", config), ("Environment", environment), ("Data", data)):
            told.setdefault((what, json.dumps(content, indent=1, ensure_ascii=False)), []).append(outcome)
    return [
        {"what": what, "who": _who(outcomes, len(cohort.outcomes)), "text": text}
        for (what, text), outcomes in sorted(told.items(), key=lambda item: item[0][0])
        if text not in ("{}", "[]")
    ]


def _who(outcomes: Sequence[Outcome], total: int) -> str:
    if len(outcomes) == total:
        return "all runs"
    names = list(dict.fromkeys(outcome.display for outcome in outcomes))
    if len(outcomes) == 1:
        return f"{names[0]}, {outcomes[0].strategy}, seed {outcomes[0].seed}"
    return f"{', '.join(names)}: {len(outcomes)} runs"
