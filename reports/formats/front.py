"""Strategies against fixed weights: columns, sentences and legend for every format, and the table as text and CSV."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pandas as pd

from reports.formats.columns import Column, csv_fields
from reports.formats.layout import blocks, grid, width, wrapped
from reports.numbers.contest import Contest, Control
from reports.numbers.controls import Front
from reports.numbers.front import ROOM, chosen
from reports.numbers.model import Cohort
from reports.numbers.statistics import LEVEL, PairedGain
from reports.numbers.words import EMPTY, interval, number, plural, with_spread

TITLE = "Beyond fixed weights?"


def _fields(name: str, of: Callable[[Control], PairedGain]) -> dict[str, Callable[[Control], str | float | None]]:
    return {
        name: lambda row: of(row).mean,
        f"{name}_std": lambda row: of(row).std,
        f"{name}_low": lambda row: of(row).low,
        f"{name}_high": lambda row: of(row).high,
    }


def _both_ends(of: Callable[[Control], PairedGain]) -> Column[Control]:
    return Column("interval", lambda row: interval(of(row).low, of(row).high, EMPTY), lambda row: of(row).low)


CONTROLS: list[Column[Control]] = [
    Column("n", lambda row: str(row.best.n), lambda row: float(row.best.n), {"n": lambda row: row.best.n}),
    Column(
        "over the best",
        lambda row: with_spread(row.best, 2, signed=True),
        lambda row: row.best.mean,
        {"weightings": lambda row: row.weightings} | _fields("over_best", lambda row: row.best),
        "average PSNR less that of the fixed weighting which was best on the other seeds, dB",
    ),
    _both_ends(lambda row: row.best),
    Column(
        "verdict",
        lambda row: row.best_verdict,
        fields={
            "over_best_margin": lambda row: row.best_margin,
            "over_best_p_holm": lambda row: row.best_p,
            "over_best_verdict": lambda row: row.best_verdict,
        },
    ),
    Column(
        "to the front",
        lambda row: with_spread(row.distance, 2, signed=True),
        lambda row: row.distance.mean,
        {"axis_1": lambda row: (row.plane or ("", ""))[0], "axis_2": lambda row: (row.plane or ("", ""))[1]}
        | _fields("distance", lambda row: row.distance),
        "so many dB must be taken from both axes before a fixed weighting is as good (below 0: they are missing)",
    ),
    _both_ends(lambda row: row.distance),
    Column(
        "place",
        lambda row: row.verdict,
        fields={
            "distance_margin": lambda row: row.margin,
            "distance_p_holm": lambda row: row.p,
            "distance_verdict": lambda row: row.verdict,
        },
    ),
    Column(
        "area",
        lambda row: EMPTY if math.isnan(row.volume) else f"{number(row.volume, 2, signed=True)} %",
        lambda row: row.volume,
        {"hypervolume_percent": lambda row: row.volume},
        "by how much the strategy enlarges the hypervolume of the front above the degraded input, without verdict",
    ),
]
"""A row a strategy that is no fixed weighting."""


def about(one: Front) -> str:
    """What a baseline's strategies are measured against."""
    names, places = list(one.fixed), chosen(one.level)
    best = dict.fromkeys(names[place] for place in places)
    by = "last validation" if one.validated else "average over the test sets"
    text = (
        f"{one.display}: {one.count} fixed weightings, {plural(len(one.seeds), 'seed')} "
        f"{', '.join(map(str, one.seeds))}; best by the {by}{' of the other seeds' if len(one.seeds) > 1 else ''}: "
        f"{', '.join(best)}. A gain must pass {number(one.best_margin, 2)} dB"
    )
    if not one.main:
        return f"{text}. Its tasks are of one kind: there is no front"
    left, up = one.main.names
    return (
        f"{text}, a distance {number(one.front_margin, 2)} dB. Front: mean PSNR of {left} against that of {up}, the "
        "split that fixed weights trade off most"
    )


def legend(several: Contest) -> list[str]:
    """What the columns mean, and what the verdicts rest on."""
    meant = "; ".join(f"{column.heading}: {column.about}" for column in CONTROLS if column.about)
    count = sum(row.best.n > 1 for row in several.rows)
    rule = (
        f"gain, beyond: by Student's t over paired seeds more than {ROOM:g} times what the best fixed weighting has "
        "over all others, or the farthest beyond them, so that one more random weighting would seldom be called so; "
        "loss, behind: less than 0; "
        f"Holm-corrected over {count} {plural(count, 'comparison')}; interval: {LEVEL:.0%}, not corrected"
    )
    return [meant, rule]


def control_text(several: Contest) -> str:
    """The table for a terminal, with what each baseline is measured against."""
    head = [TITLE, *(column.heading for column in CONTROLS)]
    lines: list[list[str]] = []
    for name, rows in by_baseline(several.rows).items():
        lines.append([name, *[""] * len(CONTROLS)])
        lines += [[f"  {row.strategy}", *(column.text(row) for column in CONTROLS)] for row in rows]
    text = grid([head, *lines]) if lines else TITLE
    if max(map(len, text.splitlines())) > width():
        text = "\n\n".join(blocks(TITLE, [["", *head[1:]]], lines))
    told = [*(wrapped("  ", about(one)) for one in several.fronts), *(wrapped("  ", line) for line in legend(several))]
    return "\n".join([text, *told])


def control_table(cohort: Cohort, several: Contest) -> pd.DataFrame:
    """One row a baseline and strategy; empty where no baseline has a front.

    Columns: ``setting, cohort, baseline, strategy, n, weightings``; over the best fixed weighting ``over_best`` with
    ``_std, _low, _high, _margin, _p_holm, _verdict``; to their front ``axis_1, axis_2, distance`` with the same; and
    ``hypervolume_percent``.
    """
    shared = {"setting": cohort.setting, "cohort": cohort.key}
    return pd.DataFrame([
        {**shared, "baseline": row.baseline, "strategy": row.strategy, **csv_fields(CONTROLS, row)}
        for row in several.rows
    ])  # fmt: skip


def weighting_cells(one: Front) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of a table of the fixed weightings, best average first: PSNR of every group of tasks."""
    groups = [[one.tasks.index(task) for task in tasks] for tasks in one.groups.values()]
    rows: list[tuple[float, list[str]]] = []
    for name, trained in one.fixed.items():
        means = trained.tasks.mean(axis=0)
        cells = [number(float(means[places].mean()), 2) for places in groups]
        average = float(trained.average.mean())
        rows.append((average, [one.display, name, *cells, number(average, 2)]))
    ordered = sorted(rows, key=lambda row: -row[0])
    return ["baseline", "fixed weighting", *one.groups, "average"], [cells for _, cells in ordered]


def by_baseline(rows: Sequence[Control]) -> dict[str, list[Control]]:
    """Rows under the names of their baselines, in order."""
    return {name: [row for row in rows if row.display == name] for name in dict.fromkeys(row.display for row in rows)}
