"""The gain table in LaTeX (booktabs): gains in brackets, best bold and second underlined within each baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence

from reports import header
from reports.summary import LOWER_IS_BETTER
from reports.tables import GainTable, Row
from reports.text import DIGITS, metric_name, number

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
}


def escape(text: str) -> str:
    """``text`` as LaTeX prints it literally."""
    return "".join(SPECIAL.get(character, character) for character in text).replace("±", r"$\pm$").replace("–", "--")


def latex(table: GainTable) -> str:
    """One ``table`` environment a metric; needs the package ``booktabs``. The header stands above as comments."""
    comments = "\n".join(f"% {label}: {value}" for label, value in header.facts(table.cohort))
    notes = "\n".join(f"% {note}" for note in table.notes)
    bodies = [_metric(table, metric) for metric in table.cohort.metrics if table.datasets]
    return "\n".join(["% \\usepackage{booktabs}", comments, *([notes] if notes else []), *bodies]).rstrip("\n") + "\n"


def _metric(table: GainTable, metric: str) -> str:
    import pandas as pd

    digits = DIGITS.get(metric, 3)
    names = ["Baseline", "Strategy", "$n$", *(escape(table.heading(dataset)) for dataset in table.datasets)]
    rows = [["Degraded input", "", "", *(_plain(number(table.inputs[d, metric], digits)) for d in table.datasets)]]
    for baseline in dict.fromkeys(row.baseline for row in table.ranked):
        rows += _block(table, [row for row in table.ranked if row.baseline == baseline], metric, digits)
    frame = pd.DataFrame(rows, columns=names)
    return frame.style.hide(axis="index").to_latex(
        hrules=True,
        column_format="llr" + "r" * len(table.datasets),
        caption=_caption(table, metric),
        label=f"tab:{table.cohort.setting}-{metric}-{table.cohort.key}",
        position="htbp",
        position_float="centering",
    )


def _block(table: GainTable, rows: Sequence[Row], metric: str, digits: int) -> list[list[str]]:
    lines: list[list[str]] = []
    ranked = {dataset: _ranked(rows, dataset, metric, digits) for dataset in table.datasets}
    for row in rows:
        if row.n:
            cells = [_cell(row, dataset, metric, digits, ranked[dataset]) for dataset in table.datasets]
        else:
            cells = ["--"] * (len(table.datasets) - 1) + [escape(row.remark)]
        lines.append(["" if lines else escape(row.display), escape(row.strategy), row.count, *cells])
        if any((dataset, metric) in row.published for dataset in table.datasets):
            shown = [row.published.get((dataset, metric)) for dataset in table.datasets]
            values = [_plain(number(figure.value if figure else math.nan, digits)) for figure in shown]
            lines.append(["", escape(f"{row.strategy}, published"), "", *values])
    return lines


def _ranked(rows: Sequence[Row], dataset: str, metric: str, digits: int) -> list[float]:
    """Printed values of a column, best first, each once."""
    values = {round(row.cells[dataset, metric].score.mean, digits) for row in rows if row.n}
    return sorted((v for v in values if not math.isnan(v)), reverse=metric not in LOWER_IS_BETTER)


def _cell(row: Row, dataset: str, metric: str, digits: int, ranked: list[float]) -> str:
    cell = row.cells[dataset, metric]
    text = _plain(number(cell.score.mean, digits))
    place = ranked.index(round(cell.score.mean, digits)) if not math.isnan(cell.score.mean) else 2
    if len(ranked) > 1 and place < 2:
        text = rf"\textbf{{{text}}}" if place == 0 else rf"\underline{{{text}}}"
    if not math.isnan(cell.score.std):
        text += rf" {{\scriptsize$\pm${number(cell.score.std, digits)}}}"
    if cell.gain is not None and not math.isnan(cell.gain.mean):
        text += f" (${number(cell.gain.mean, digits, signed=True)}$)"
    return text


def _plain(text: str) -> str:
    return "--" if text == "–" else text


def _caption(table: GainTable, metric: str) -> str:
    config = table.cohort.config
    data = "data from files" if config.get("data", {}).get("source") == "files" else "embedded data"
    size, profile = config.get("size"), config.get("profile")
    spread = "mean $\\pm$ standard deviation over $n$ seeds" if table.several_seeds else "one seed"
    return (
        f"{escape(header.title(table.cohort))}: {escape(metric_name(metric))}, {spread}, gain over mix in brackets. "
        + escape(f"{data.capitalize()}, {size} networks, {profile} profile, protocol {table.cohort.protocol}.")
    )
