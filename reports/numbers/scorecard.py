"""The table of one evaluated network: the degraded input, its scores, and the published figures of its baseline.

Published figures are always shown beside test sets of their names; a difference from them only where the two compare.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reports.formats.markdown import escaped, pipe_table
from reports.formats.text import EMPTY, blocks, number, wrapped
from reports.numbers.cohorts import AVERAGE, COUNTED, Outcome
from reports.numbers.comparability import (
    Figure,
    disagreements,
    figures,
    protocols_differ,
    run_obstacles,
    sources,
)
from reports.numbers.metrics import Metric, known, undirected
from results.records import DataRecord, MetricFacts, Origin, Role
from results.visible import visible

if TYPE_CHECKING:
    import pandas as pd

Cells = dict[tuple[str, str], float]  # by (dataset, metric); the average under AVERAGE


@dataclass(frozen=True)
class Row:
    """A line of the table; ``signed``: of differences."""

    label: str
    cells: Cells
    signed: bool = False

    def texts(self, datasets: Iterable[str], metrics: Mapping[str, Metric]) -> list[str]:
        """One text a data set, its metrics separated by a stroke, a dash where there is none."""
        made = [
            [
                number(self.cells.get((dataset, name), math.nan), metric.digits, self.signed)
                for name, metric in metrics.items()
            ]
            for dataset in datasets
        ]
        return [EMPTY if set(several) == {EMPTY} else " / ".join(several) for several in made]


@dataclass(frozen=True)
class Scorecard:
    """``columns``: the test sets; ``notes``: what compares with the published figures, and what a reader must know."""

    title: str
    facts: list[tuple[str, str]]
    columns: list[DataRecord]
    metrics: dict[str, Metric]
    rows: list[Row]
    notes: list[str]

    def text(self) -> str:
        """The card for a terminal."""
        datasets, marks = zip(*_headings(self.columns), strict=True)
        head = [["", "", *datasets], *([["", "", *marks]] if any(marks) else [])]
        parts = [self.title, "\n".join(wrapped(f"  {label:<12}", value) for label, value in self.facts)]
        names = list(self.metrics)
        for group in (names[:2], *([name] for name in names[2:])):
            metrics = {name: self.metrics[name] for name in group}
            lines = [[row.label, "", *texts] for row, texts in self._lines(datasets, metrics)]
            parts += blocks(" / ".join(metric.heading for metric in metrics.values()), head, lines)
        parts.append("\n".join(wrapped("* ", note) for note in self.notes))
        return visible("\n\n".join(parts), lines=True) + "\n"

    def page(self) -> str:
        """The card as Markdown."""
        headings = _headings(self.columns)
        names = [f"{dataset} ({mark})" if mark else dataset for dataset, mark in headings]
        facts = "\n".join(f"- **{label}**: {escaped(value)}" for label, value in self.facts)
        parts = [f"# {escaped(self.title)}", facts]
        for name, metric in self.metrics.items():
            lines = self._lines([dataset for dataset, _ in headings], {name: metric})
            table = pipe_table(["", *names], [[row.label.strip(), *texts] for row, texts in lines], left=1)
            parts += [f"## {escaped(metric.heading)}", table]
        parts += ["## Notes", "\n".join(f"- {escaped(note, first=True)}" for note in self.notes)]
        return "\n\n".join(parts) + "\n"

    def _lines(self, datasets: Sequence[str], metrics: Mapping[str, Metric]) -> list[tuple[Row, list[str]]]:
        """Rows that have something to say of these metrics, with their texts."""
        lines = [(row, row.texts(datasets, metrics)) for row in self.rows]
        return [(row, texts) for row, texts in lines if set(texts) != {EMPTY}]


def scorecard(
    title: str,
    loaded: Any,
    config: Any,
    records: Sequence[DataRecord],
    scores: pd.DataFrame,
    notes: Sequence[str],
    recorded: Mapping[str, MetricFacts] | None = None,
) -> Scorecard:
    """Make the table.

    Args:
        title: of the setting.
        loaded: the network, a ``benchmarks.scoring.weights.Loaded``.
        config: its setting, data and protocol, a ``benchmarks.config.configuration.Config``.
        records: the data that were used (:data:`results.schema.DATA_FIELDS`).
        scores: per image (:data:`results.schema.SCORE_COLUMNS`).
        notes: what happened while scoring.
        recorded: what the metrics' numbers mean (:func:`benchmarks.scoring.metrics.facts`).
    """
    columns = list(records)
    inputs, own = (Row(label, _means(scores, columns, value)) for label, value in (
        ("degraded input", "input_value"), (_name(loaded), "value"),
    ))  # fmt: skip
    beside, told = _published(loaded, config, columns, own.cells)
    told += _leaks(records, scores)
    if own.cells[AVERAGE, "psnr"] < inputs.cells[AVERAGE, "psnr"]:
        told.append("On average below the degraded input")
    metrics = known(dict.fromkeys(scores["metric"]), [recorded])
    told += [note.rstrip(".") for note in undirected(metrics)]
    setting = f"{title} ({config.setting})"
    return Scorecard(
        f"Evaluation of {_name(loaded)}: {setting}",
        _facts(loaded, config, records),
        columns,
        metrics,
        [inputs, own, *beside],
        [f"{note.rstrip('.')}." for note in (*told, *notes)],
    )


def _headings(columns: Sequence[DataRecord]) -> list[tuple[str, str]]:
    """Name and mark of the table's columns: test sets, average, further sets; that all are embedded is told above."""
    embedded = all(column.mark == "embedded" for column in columns)
    named = {column.dataset: "" if embedded else column.mark for column in columns}
    tested = [column.dataset for column in columns if column.role != Role.EXTRA]
    extra = [column.dataset for column in columns if column.role == Role.EXTRA]
    return [(name, named.get(name, "")) for name in (*tested, AVERAGE, *extra)]


def _name(loaded: Any) -> str:
    if loaded.config:
        return f"{loaded.title}, {loaded.config.strategy}, seed {loaded.config.seed}"
    return f"{loaded.title}, {loaded.path.name}"


def _means(scores: pd.DataFrame, columns: Sequence[DataRecord], value: str) -> Cells:
    """Means over images, and their mean over the test sets."""
    cells: Cells = scores.groupby(["dataset", "metric"])[value].mean().to_dict()
    tested = [column.dataset for column in columns if column.role != Role.EXTRA]
    for metric in dict.fromkeys(scores["metric"]):
        cells[AVERAGE, metric] = sum(cells[dataset, metric] for dataset in tested) / len(tested)
    return cells


def _facts(loaded: Any, config: Any, records: Sequence[DataRecord]) -> list[tuple[str, str]]:
    if config.data.source == "embedded":
        data = "embedded: photographs of scikit-image, made degradations"
    else:
        data = f"files below {config.data.root}"
        made = [record.dataset for record in records if record.origin == Origin.SYNTHESISED]
        data += f"; made from real clean images: {', '.join(made)}" if made else ""
    network = f"{loaded.title}, size {loaded.size}"
    if loaded.config:
        network += f", trained with {loaded.config.strategy} ({loaded.config.profile} profile)"
    return [
        ("network", network),
        ("checkpoint", f"{loaded.path} ({loaded.about})"),
        ("data", data),
        ("scores", f"protocol {config.evaluate.protocol}; mean over images, then over test sets"),
    ]


def _published(loaded: Any, config: Any, columns: Sequence[DataRecord], own: Cells) -> tuple[list[Row], list[str]]:
    """Rows of published figures and of the differences where they compare, and sentences about both."""
    rows, beneath, fair, unfair = [], [], {}, {}
    there = {AVERAGE, *(column.dataset for column in columns)}
    known = _figures(config.setting, loaded.title)
    for strategy, published in known.items():
        beside = {key: figure for key, figure in published.items() if key[0] in there}
        if len(published) > len(beside) and {dataset for dataset, _ in beside} <= {AVERAGE}:
            continue  # figures of other test sets
        against = {key: _obstacles(loaded, config, columns, key[0], figure) for key, figure in beside.items()}
        compared = {key: own[key] - beside[key].value for key, reasons in against.items() if not reasons and key in own}
        rows.append(Row(f"published, {strategy}", {key: figure.value for key, figure in beside.items()}))
        rows += [Row("  difference", compared, signed=True)] if compared else []
        fair |= dict.fromkeys(dataset for dataset, _ in compared)
        unfair |= {reason: None for reasons in against.values() for reason in reasons}
        told = sources(beside) + disagreements(beside)
        beneath += [f"Published {loaded.title}, {strategy}: {text}" for text in told]
    return rows, _comparisons(loaded.title, known, list(fair), list(unfair)) + beneath


def _comparisons(title: str, known: dict[str, Any], fair: list[str], unfair: list[str]) -> list[str]:
    """What compares with the published figures, and why the rest does not."""
    if not known:
        return [f"No published figures of {title} are known for this setting"]
    told = []
    if fair:
        told.append(f"Comparable with the published figures (same protocol, real and complete data): {', '.join(fair)}")
    if unfair:
        told.append(f"Not comparable with the published figures: {'; '.join(unfair)}")
    if not fair and not unfair:
        sets = dict.fromkeys(dataset for published in known.values() for dataset, _ in published if dataset != AVERAGE)
        told.append(f"Not comparable with the published figures, which are of {', '.join(sets)}")
    return told


def _figures(setting: str, title: str) -> dict[str, dict[tuple[str, str], Figure]]:
    """The baseline's published figures by strategy."""
    found: dict[str, dict[tuple[str, str], Figure]] = {}
    for (baseline, strategy, dataset, metric), figure in figures(setting).items():
        if baseline == title.casefold():
            found.setdefault(strategy, {})[dataset, metric] = figure
    return found


def _obstacles(loaded: Any, config: Any, columns: Sequence[DataRecord], dataset: str, figure: Figure) -> list[str]:
    """Why the score on ``dataset`` (or the average) does not compare with a published figure; empty if it does."""
    protocol = config.evaluate.protocol
    if loaded.run:
        reasons = [] if loaded.config.setting == config.setting else [f"trained on {loaded.config.setting}"]
        reasons += run_obstacles(Outcome(loaded.run, loaded.run.record, COUNTED, "", protocol), figure)
    else:
        reasons = [] if loaded.size == "paper" else [f"{loaded.size} networks"]
        reasons += protocols_differ(protocol, figure)
    if reasons:
        return reasons
    if dataset == AVERAGE:
        if not figure.averages([column.dataset for column in columns if column.role != Role.EXTRA]):
            return [f"the published average is of {', '.join(sorted(figure.sets))}"]
        return [] if all(column.complete for column in columns if column.role != Role.EXTRA) else ["the average"]
    return [column.title for column in columns if column.dataset == dataset and not column.complete]


def _leaks(records: Sequence[DataRecord], scores: pd.DataFrame) -> list[str]:
    """PSNR without the images that are known to be in the training data."""
    told = []
    for record in records:
        known = set(record.leaked)
        chosen = scores[(scores["dataset"] == record.dataset) & (scores["metric"] == "psnr")]
        kept = chosen[~chosen["image"].isin(known)]
        if known:
            without = f"without them {number(kept['value'].mean(), 2)} dB" if len(kept) else "that is all of them"
            told.append(f"{record.dataset}: {len(known)} of {len(chosen)} images are in the training data; {without}")
    return told
