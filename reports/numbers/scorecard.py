"""The table of one evaluated network: the degraded input, its scores, and the published figures of its baseline.

Published figures are always shown beside test sets of their names; a difference from them only where the two compare.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import pandas as pd

from reports.numbers.comparability import (
    disagreements,
    figures,
    protocols_differ,
    run_obstacles,
    sets_differ,
    sources,
)
from reports.numbers.metrics import known, undirected
from reports.numbers.model import AVERAGE, Figure, Figures, headings
from reports.numbers.words import EMPTY, number
from results.records import DataRecord, Evaluated, MetricFacts, Origin, Role

Cells = dict[tuple[str, str], float]
"""Scores by ``(dataset, metric)``, their average under :data:`reports.numbers.model.AVERAGE`."""


@dataclass(frozen=True)
class Line:
    """A line of the table; ``signed``: of differences."""

    label: str
    cells: Cells
    signed: bool = False

    def texts(self, datasets: Sequence[str], metrics: Mapping[str, MetricFacts]) -> list[str]:
        """One text a data set, its metrics separated by a stroke, a dash where there is none."""
        texts = [
            [
                number(self.cells.get((dataset, name), math.nan), metric.digits, self.signed)
                for name, metric in metrics.items()
            ]
            for dataset in datasets
        ]
        return [EMPTY if set(several) == {EMPTY} else " / ".join(several) for several in texts]


@dataclass(frozen=True)
class Scorecard:
    """``headings``: name and mark of every test set and the average; ``notes``: what compares with the published
    figures, and what a reader must know."""

    title: str
    facts: list[tuple[str, str]]
    headings: list[tuple[str, str]]
    metrics: dict[str, MetricFacts]
    lines: list[Line]
    notes: list[str]

    def texts(self, *names: str) -> list[tuple[str, list[str]]]:
        """``(label, texts)`` of the lines that have something to say of these metrics."""
        datasets = [dataset for dataset, _ in self.headings]
        metrics = {name: self.metrics[name] for name in names}
        lines = [(line.label, line.texts(datasets, metrics)) for line in self.lines]
        return [(label, texts) for label, texts in lines if set(texts) != {EMPTY}]


def scorecard(evaluated: Evaluated, scores: pd.DataFrame) -> Scorecard:
    """Make the table from the scores of every image (:data:`results.schema.SCORE_COLUMNS`)."""
    run = evaluated.run
    origin = f"{run.config.strategy}, seed {run.config.seed}" if run else evaluated.checkpoint.name
    name = f"{evaluated.network}, {origin}"
    inputs = Line("degraded input", _means(scores, evaluated.sets, "input_value"))
    line = Line(name, _means(scores, evaluated.sets, "value"))
    published, notes = _published(evaluated, line.cells)
    notes += _leaks(evaluated.sets, scores)
    if line.cells[AVERAGE, "psnr"] < inputs.cells[AVERAGE, "psnr"]:
        notes.append("On average below the degraded input")
    metrics = known(dict.fromkeys(scores["metric"]), [evaluated.metrics])
    notes += [note.text for note in undirected(metrics)]
    return Scorecard(
        f"Evaluation of {name}: {evaluated.setting_title} ({evaluated.setting})",
        _facts(evaluated),
        headings(evaluated.sets),
        metrics,
        [inputs, line, *published],
        [f"{note.rstrip('.')}." for note in (*notes, *evaluated.notes)],
    )


def _means(scores: pd.DataFrame, sets: Sequence[DataRecord], value: str) -> Cells:
    """Means over images, and their mean over the test sets."""
    cells = cast(Cells, scores.groupby(["dataset", "metric"])[value].mean().to_dict())
    tested = [images.dataset for images in sets if images.role != Role.EXTRA]
    for metric in dict.fromkeys(scores["metric"]):
        cells[AVERAGE, metric] = sum(cells[dataset, metric] for dataset in tested) / len(tested)
    return cells


def _facts(evaluated: Evaluated) -> list[tuple[str, str]]:
    if evaluated.source == "embedded":
        data = "embedded: photographs of scikit-image, made degradations"
    else:
        data = f"files below {evaluated.root}"
        synthesised = [images.dataset for images in evaluated.sets if images.origin == Origin.SYNTHESISED]
        data += f"; made from real clean images: {', '.join(synthesised)}" if synthesised else ""
    network = f"{evaluated.network}, size {evaluated.size}"
    if evaluated.run:
        config = evaluated.run.config
        network += f", trained with {config.strategy} ({config.profile} profile)"
    return [
        ("network", network),
        ("checkpoint", f"{evaluated.checkpoint} ({evaluated.contents})"),
        ("data", data),
        ("scores", f"protocol {evaluated.protocol}; mean over images, then over test sets"),
    ]


def _published(evaluated: Evaluated, scores: Cells) -> tuple[list[Line], list[str]]:
    """Lines of published figures and of the differences where they compare, and sentences about both."""
    lines: list[Line] = []
    origins: list[str] = []
    fair: dict[str, None] = {}
    unfair: dict[str, None] = {}
    tested = {AVERAGE, *(images.dataset for images in evaluated.sets)}
    rows = {
        strategy: row
        for (baseline, strategy), row in figures(evaluated.setting).items()
        if baseline == evaluated.network.casefold()
    }
    for strategy, row in rows.items():
        beside = {key: figure for key, figure in row.items() if key[0] in tested}
        if len(row) > len(beside) and {dataset for dataset, _ in beside} <= {AVERAGE}:
            continue  # figures of other test sets
        against = {key: _obstacles(evaluated, key[0], figure) for key, figure in beside.items()}
        differences = {
            key: scores[key] - beside[key].value for key, reasons in against.items() if not reasons and key in scores
        }
        lines.append(Line(f"published, {strategy}", {key: figure.value for key, figure in beside.items()}))
        lines += [Line("  difference", differences, signed=True)] if differences else []
        fair |= dict.fromkeys(dataset for dataset, _ in differences)
        unfair |= dict.fromkeys(reason for reasons in against.values() for reason in reasons)
        origins += [f"Published {evaluated.network}, {strategy}: {text}" for text in sources(beside)]
        origins += [f"Published {evaluated.network}, {strategy}: {text}" for text in disagreements(beside)]
    return lines, _comparisons(evaluated.network, list(rows.values()), list(fair), list(unfair)) + origins


def _comparisons(network: str, rows: Sequence[Figures], fair: list[str], unfair: list[str]) -> list[str]:
    """What compares with the published figures, and why the rest does not."""
    if not rows:
        return [f"No published figures of {network} are known for this setting"]
    sentences: list[str] = []
    if fair:
        compared = ", ".join(fair)
        sentences.append(f"Comparable with the published figures (same protocol, real and complete data): {compared}")
    if unfair:
        sentences.append(f"Not comparable with the published figures: {'; '.join(unfair)}")
    if not sentences:
        sets = dict.fromkeys(dataset for row in rows for dataset, _ in row if dataset != AVERAGE)
        sentences.append(f"Not comparable with the published figures, which are of {', '.join(sets)}")
    return sentences


def _obstacles(evaluated: Evaluated, dataset: str, figure: Figure) -> list[str]:
    """Why the score on ``dataset`` (or the average) does not compare with a published figure; empty if it does."""
    if run := evaluated.run:
        reasons = [] if run.config.setting == evaluated.setting else [f"trained on {run.config.setting}"]
        reasons += run_obstacles(run, evaluated.trained, evaluated.protocol, figure)
    else:
        reasons = [] if evaluated.size == "paper" else [f"{evaluated.size} networks"]
        reasons += protocols_differ(evaluated.protocol, figure)
    if reasons:
        return reasons
    if dataset == AVERAGE:
        tested = [images for images in evaluated.sets if images.role != Role.EXTRA]
        complete = all(images.complete for images in tested)
        return sets_differ(figure, [images.dataset for images in tested]) or ([] if complete else ["the average"])
    return [images.title for images in evaluated.sets if images.dataset == dataset and not images.complete]


def _leaks(sets: Sequence[DataRecord], scores: pd.DataFrame) -> list[str]:
    """PSNR without the images that are known to be in the training data."""
    sentences: list[str] = []
    for images in sets:
        if images.leaked:
            rows = scores[(scores["dataset"] == images.dataset) & (scores["metric"] == "psnr")]
            rest = rows[~rows["image"].isin(images.leaked)]
            without = f"without them {number(rest['value'].mean(), 2)} dB" if len(rest) else "that is all of them"
            count = f"{len(set(images.leaked))} of {len(rows)} images are in the training data"
            sentences.append(f"{images.dataset}: {count}; {without}")
    return sentences
