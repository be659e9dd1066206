"""What the page draws: curves, cosines, per-image gains and pictures, thinned, as plain lists for JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.figures import style
from reports.figures.samples import Album, samples
from reports.numbers.conflicts import Conflict
from reports.numbers.contest import Control
from reports.numbers.controls import Front, Trained
from reports.numbers.curves import Axis, Course, Curve
from reports.numbers.findings import Findings
from reports.numbers.lengths import Lengths
from reports.numbers.model import AVERAGE, REFERENCE, GainTable, Row
from reports.numbers.outcome import LEAK_FREE, Outcome
from reports.numbers.rhythms import Rhythm, rhythms, thin
from reports.numbers.statistics import NO_GAIN
from reports.numbers.sweeps import Sweep, positions
from reports.numbers.tables import seed_gains

CURVE_POINTS, CURVES = 120, 120_000
"""Points of a curve, and numbers in all curves of a page: of many runs the curves get fewer points."""

DOTS, LEAST_DOTS = 80_000, 60
"""Images in all scatter plots of a page, and in one of them at least; means and histograms are over all images."""

BARS = 24
"""Bars of a histogram, about."""

EXTREMES = 3
"""Images with the largest gains and losses that are named."""


AXES: tuple[Axis, ...] = ("step", "images", "seconds")

Entry = dict[str, object]
"""What the script draws as one chart; its keys are those of ``page_charts.js``."""


def page_data(findings: Findings) -> Entry:
    """Everything the page's script draws; missing numbers are ``None``."""
    table, cohort, probed, album = findings.table, findings.cohort, findings.probed, Album()
    compared = {
        baseline: [row.strategy for row in table.compared if row.baseline == baseline] for baseline in cohort.baselines
    }
    shown = {baseline: rhythms(cohort, baseline, compared[baseline]) for baseline in cohort.baselines}
    tasks = [task for several in shown.values() for rhythm in several for task in rhythm.loss.columns]
    tasks += [task for several in probed.values() for conflict in several for task in conflict.tasks]
    drawn = 3 * sum(len(rhythm.loss.columns) for several in shown.values() for rhythm in several)
    points = max(30, min(CURVE_POINTS, CURVES // max(1, drawn)))
    sets = [c.dataset for c in cohort.columns if not c.dataset.endswith(LEAK_FREE)]
    pairs = [row for row in table.ranked if row.pairs]
    dots = max(LEAST_DOTS, DOTS // max(1, len(pairs) * len(sets)))
    baselines = [
        {
            "name": cohort.display(baseline),
            "strategies": sorted(
                (row.strategy for row in table.ranked if row.baseline == baseline), key=lambda name: name != REFERENCE
            ),
            "rhythms": [_rhythm(rhythm, points) for rhythm in shown[baseline]],
            "curves": _validation([c for c in findings.curves.get(baseline, ()) if c.strategy in compared[baseline]]),
            "conflicts": [_conflict(conflict) for conflict in probed.get(baseline, ())],
            "images": [
                entry
                for dataset in sets
                if (entry := _set(table, dataset, [row for row in pairs if row.baseline == baseline], dots))
            ],
            "samples": samples(cohort, baseline, table.drawn(baseline), album),
        }
        for baseline in cohort.baselines
    ]
    looks = style.task_styles(tasks)
    return {
        "baselines": baselines,
        "tasks": [{"name": name, "colour": colour, "dash": _dash(line)} for name, (colour, line) in looks.items()],
        "lengths": _lengths(findings.lengths),
        "sweeps": [_sweep(table, sweep) for sweep in findings.swept],
        "fronts": [_front(one, findings.held.rows) for one in findings.held.fronts],
        "pictures": album.encoded(),
    }


def numbers(values: Iterable[float], digits: int = 4) -> list[float | None]:
    """Rounded to ``digits`` significant ones; what JSON cannot say becomes ``None``."""
    return [float(f"{value:.{digits}g}") if math.isfinite(value) else None for value in values]


def histogram(values: NDArray[np.floating]) -> Entry:
    """``start, width, counts`` of bars with a round width and an edge at 0, over all finite ``values`` (images,)."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    raw = (high - low) / BARS or 1.0
    power = 10.0 ** math.floor(math.log10(raw))
    width = next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / width), math.floor(high / width)
    place = np.clip(np.floor(values / width).astype(int), first, last) - first
    counts = np.bincount(place, minlength=last - first + 1)
    return {"start": round(first * width, 10), "width": round(width, 10), "counts": counts.tolist()}


def _rhythm(rhythm: Rhythm, points: int) -> Entry:
    smooth, level, shares = (thin(table, points) for table in (rhythm.smooth, rhythm.level, rhythm.smooth_shares))
    return {
        "strategy": rhythm.outcome.strategy,
        "title": f"{rhythm.title}, seed {rhythm.outcome.seed}",
        "window": rhythm.window,
        "words": rhythm.share_words.replace("\n", " "),
        "loss": _curves(smooth),
        "level": _curves(level),
        "share": _curves(shares),
    }


def _curves(table: pd.DataFrame) -> Entry:
    lines = [{"name": str(name), "values": numbers(column)} for name, column in table.items()]
    return {"x": [int(step) for step in table.index], "lines": lines}


def _validation(found: Sequence[Curve]) -> list[Entry]:
    """Curves of every strategy: level and gain over each axis, the average and every task."""
    return [
        {
            "strategy": curve.strategy,
            "colour": style.COLOURS[place % len(style.COLOURS)],
            "dash": _dash(style.LINES[place // len(style.COLOURS) % len(style.LINES)]),
            "level": _along(dict.fromkeys(AXES, curve.level)),
            "gain": _along(dict(zip(AXES, (curve.gain, curve.gain_of_images, curve.gain_of_time), strict=True))),
        }
        for place, curve in enumerate(found)
    ]


def _along(courses: Mapping[Axis, Course]) -> Entry:
    return {axis: _courses(course, axis) for axis, course in courses.items()}


def _courses(course: Course, axis: Axis) -> list[Entry]:
    """The average first."""
    tasks = sorted(course, key=lambda task: task != AVERAGE)
    points = {task: list(course[task].values()) for task in tasks}
    return [
        {
            "name": task,
            "x": numbers((getattr(point, axis) for point in several), 6),
            "values": numbers(point.value.mean for point in several),
            "low": numbers(point.value.low for point in several),
            "high": numbers(point.value.high for point in several),
        }
        for task, several in points.items()
    ]


def _conflict(conflict: Conflict) -> Entry:
    mean = conflict.pairs.mean(axis=1)
    worst = conflict.worst
    return {
        "strategy": conflict.strategy,
        "title": conflict.title + (f", mean over {len(conflict.seeds)} seeds" if len(conflict.seeds) > 1 else ""),
        "tasks": conflict.tasks,
        "cosine": [numbers(row, 3) for row in conflict.cosine.to_numpy(dtype=float)],
        "worst": list(worst) if worst else None,
        "steps": [int(step) for step in conflict.pairs.index],
        "mean": numbers(mean, 3),
        "least": numbers(conflict.pairs[worst], 3) if worst else [],
        "norms": _curves(conflict.norms),
    }


def _set(table: GainTable, dataset: str, rows: Sequence[Row], dots: int) -> Entry | None:
    """Gains of one baseline's strategies on every image of a test set; ``None`` where there are none."""
    reference = table.cohort.counted(rows[0].baseline, REFERENCE) if rows else []
    entries: list[Entry] = []
    level, names = pd.Series(dtype=float), list[str]()
    for row in rows:
        differences = table.images.get((row.baseline, row.strategy, dataset))
        if differences is None or not np.isfinite(differences.to_numpy()).any():
            continue
        differences = differences[np.isfinite(differences.to_numpy()) & ~differences.index.duplicated()]
        values = differences.to_numpy()
        if not entries:
            level = _reference(reference, dataset)
            names = list(thin(level, dots).index)
        view = row.cells[dataset, "psnr"].images
        order = np.argsort(values, kind="stable")
        few = min(EXTREMES, len(values) // 2)  # no image is among the best and among the worst
        worst, best = (
            [[str(differences.index[i]), round(float(values[i]), 2)] for i in places]
            for places in (order[:few], order[::-1][: max(few, 1)])
        )
        entries.append({
            "strategy": row.strategy,
            "gains": numbers(differences.reindex(names), 3),
            "bars": histogram(values),
            "n": len(values),
            "view": numbers((view.mean, view.low, view.high, view.p), 3) if view else [None] * 4,
            "worst": worst,
            "best": best,
        })  # fmt: skip
    if not entries:
        return None
    return {
        "dataset": dataset,
        "names": list(map(str, names)),
        "level": numbers(level.reindex(names)),
        "strategies": entries,
    }


def _reference(reference: Sequence[Outcome], dataset: str) -> pd.Series[float]:
    """Mean over mix's runs of every image's PSNR."""
    found = [o.images[dataset, "psnr"] for o in reference if (dataset, "psnr") in o.images]
    series = [pd.Series(images.values, images.names) for images in found]
    return pd.concat([scores[~scores.index.duplicated()] for scores in series], axis=1).mean(axis=1)


def _sweep(table: GainTable, sweep: Sweep) -> Entry:
    places, ticks = positions(sweep.values)
    looks = style.strategy_styles([line.name for line in sweep.lines])
    lines: list[Entry] = []
    for line in sweep.lines:
        rows = [line.rows.get(value) for value in sweep.values]
        means = [row.average.gain.mean if row else math.nan for row in rows]
        seeds = [numbers(seed_gains(table.cohort, row, AVERAGE)) if row else [] for row in rows]
        lines.append({"name": line.name, "colour": looks[line.name][0], "values": numbers(means), "seeds": seeds})
    return {
        "title": f"{sweep.parameter} of {sweep.strategy}",
        "x": [places[value] for value in sweep.values],
        "names": [f"{sweep.parameter}={value:g}" for value in sweep.values],
        "ticks": [{"at": at, "label": label} for at, label in ticks.items()],
        "lines": lines,
    }


def _lengths(found: Lengths) -> list[Entry]:
    """A chart a baseline; the places are logarithms of the steps."""
    charts: list[Entry] = []
    for baseline in found.baselines:
        rows = [row for row in found.rows if row.baseline == baseline]
        steps = sorted({point.steps for row in rows for point in row.points})
        looks = style.strategy_styles([row.strategy for row in rows])
        lines: list[Entry] = []
        for row in rows:
            points = {point.steps: point for point in row.points}
            gains = [points[at].gain if at in points else NO_GAIN for at in steps]
            lines.append({
                "name": row.strategy,
                "colour": looks[row.strategy][0],
                "values": numbers(gain.mean for gain in gains),
                "low": numbers(gain.low for gain in gains),
                "high": numbers(gain.high for gain in gains),
                "seeds": [numbers(points[at].seeds.values()) if at in points else [] for at in steps],
            })  # fmt: skip
        places = [round(math.log10(at), 6) for at in steps]
        charts.append({
            "title": rows[0].display,
            "x": places,
            "names": [f"{at:,} steps" for at in steps],
            "ticks": [{"at": place, "label": f"{at:,}"} for place, at in zip(places, steps, strict=True)],
            "lines": lines,
        })  # fmt: skip
    return charts


def _front(one: Front, rows: Sequence[Control]) -> Entry:
    """Points of the fixed weightings and the strategies on every axis that can be chosen: groups of tasks, tasks, their
    average, and the two bundles of the main plane. What a seed does to all fixed weightings is taken off."""
    tasks = [task for several in one.groups.values() for task in several]
    bundles = dict(zip(one.main.names, (one.main.left, one.main.up), strict=True)) if one.main else {}
    axes = list(dict.fromkeys([*one.groups, *tasks, AVERAGE, *bundles]))
    verdicts = {row.strategy: row for row in rows if row.baseline == one.baseline}

    def places(trained: Trained) -> NDArray[np.float64]:
        chosen = [one.side(bundles.get(name, (name,)), trained.tasks) for name in axes if name != AVERAGE]
        return np.insert(np.stack(chosen, axis=-1), axes.index(AVERAGE), trained.average, axis=-1)

    every = {name: places(trained) for name, trained in one.fixed.items()}
    common = np.mean(list(every.values()), axis=0)
    common = common - common.mean(axis=0)
    points: list[Entry] = []
    for name, trained in (one.fixed | one.strategies).items():
        seeds = places(trained) - common[trained.places]
        points.append({
            "name": name,
            "fixed": name in one.fixed,
            "verdict": verdicts[name].verdict if name in verdicts else "",
            "values": numbers(seeds.mean(axis=0), 6),
            "seeds": [numbers(seed, 6) for seed in seeds],
        })  # fmt: skip
    return {"title": one.display, "axes": axes, "main": [axes.index(name) for name in bundles], "points": points}


def _dash(line: style.LineStyle) -> str:
    """matplotlib's line style as SVG's ``stroke-dasharray``, in units of a line 1.8 wide."""
    return "" if isinstance(line, str) else " ".join(f"{1.8 * length:g}" for length in line[1])
