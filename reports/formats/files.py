"""The files of a cohort's report: which there are, what they are called, and which are stale."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import pandas as pd

from reports.figures import style
from reports.figures.conflicts import conflict_figures
from reports.figures.curves import curve_figures
from reports.figures.front import front_figure
from reports.figures.gains import gain_figure
from reports.figures.lengths import length_figures
from reports.figures.rhythms import rhythm_figures
from reports.figures.style import KINDS
from reports.figures.sweeps import sweep_figure
from reports.figures.tuning import tuning_figures
from reports.formats import markdown, tidy
from reports.formats.front import control_table
from reports.formats.latex import latex
from reports.formats.lengths import lengths_table
from reports.formats.page import page
from reports.formats.text import terminal
from reports.numbers.conflicts import conflict_table
from reports.numbers.curves import curve_table
from reports.numbers.findings import Findings
from reports.numbers.model import Cohort
from reports.numbers.score_noise import score_table
from reports.numbers.targets import target_table
from reports.numbers.tuning import tuning_table
from results import write_atomically, write_text

OURS = re.compile(
    r"(gains|runs|report|conflicts|curves|targets|tuning|pooled|score|front|lengths"
    r"|(?:rhythm|conflicts|sweep|curve|tuning|front|length)-.+?)"
    r"(-[0-9a-f]{8})?(-part\d+)?\.(md|csv|tex|html|png|svg)"
)
"""Names that a build writes: what, cohort of an older one, part, format."""


def write_cohort(
    findings: Findings,
    folder: Path,
    suffix: str,
    formats: Sequence[str],
    others: Sequence[str] = (),
    columns: Sequence[str] = (),
) -> tuple[str, list[Path], list[Path]]:
    """Write a cohort's files; returns the text for a terminal, the tables and pages, and the figures.

    Args:
        findings: what was computed of it.
        folder: where to.
        suffix: what stands behind each name, empty for the newest cohort.
        formats: of :data:`reports.build.FORMATS`.
        others: pages of other cohorts in the folder.
        columns: of the tables in LaTeX; all without any.
    """
    drawn = [kind for kind in KINDS if kind in formats]
    figures = _figures(findings, folder, suffix, drawn) if drawn else []
    contents: dict[str, str] = {}
    if "md" in formats:
        pictures = [path for path in figures if path.suffix == (".png" if "png" in formats else ".svg")]
        contents[f"gains{suffix}.md"] = markdown.page(findings, pictures)
    if "csv" in formats:
        for name, frame in _frames(findings).items():
            if name in ("gains", "runs") or len(frame):
                contents[f"{name}{suffix}.csv"] = tidy.csv_text(frame)
    if "tex" in formats:
        contents[f"gains{suffix}.tex"] = latex(findings, columns)
    if "html" in formats:
        contents[f"report{suffix}.html"] = page(findings, others)
    for name, content in contents.items():
        write_atomically(folder / name, lambda path, content=content: write_text(path, content))
    return terminal(findings), [folder / name for name in contents], figures


def _frames(findings: Findings) -> dict[str, pd.DataFrame]:
    """The CSV files by name."""
    cohort, rows = findings.cohort, findings.table.rows
    return {
        "gains": tidy.tidy(findings.table),
        "runs": tidy.runs(cohort),
        "conflicts": conflict_table(cohort),
        "curves": curve_table(findings.curves),
        "targets": target_table({(row.baseline, row.strategy): row.targets for row in rows}),
        "tuning": tuning_table(findings.tunings),
        "front": control_table(cohort, findings.held),
        "lengths": lengths_table(cohort, findings.lengths),
        "pooled": tidy.pooled_table(cohort, findings.across or ()),
        "score": score_table(cohort, findings.noises),
    }


def named(paths: Sequence[Path]) -> str:
    """``gains (md csv png), report.html``: every name once, with its kinds and parts."""
    kinds: dict[str, list[str]] = {}
    parts: dict[str, int] = {}
    for path in paths:
        name, _, part = path.stem.partition("-part")
        kinds[name] = list(dict.fromkeys([*kinds.get(name, []), path.suffix[1:]]))
        parts[name] = max(parts.get(name, 1), int(part or 1))
    texts: list[str] = []
    for name, several in kinds.items():
        count = f", {parts[name]} parts" if parts[name] > 1 else ""
        texts.append(f"{name} ({' '.join(several)}{count})" if len(several) > 1 else f"{name}.{several[0]}")
    return ", ".join(texts)


def of_suffix(folder: Path, suffix: str) -> list[Path]:
    """The files of earlier builds whose names have this suffix, a cohort's."""
    matches = ((path, OURS.fullmatch(path.name)) for path in sorted(folder.iterdir()))
    return [path for path, match in matches if match and match[2] == suffix]


def is_current(
    cohort: Cohort, folder: Path, suffix: str, formats: Sequence[str], family: Sequence[Cohort] = ()
) -> bool:
    """Whether a cohort's tables and page in these formats were written after its newest run ended, and have the lengths
    of its ``family`` beside it, which of several cohorts only the first has."""
    names = {"md": "gains", "csv": "gains", "tex": "gains", "html": "report"}
    paths = [folder / f"{names[kind]}{suffix}.{kind}" for kind in formats if kind in names]
    newest = max(outcome.ended[0] for one in [cohort, *family] for outcome in one.outcomes)
    if "csv" in formats and (folder / f"lengths{suffix}.csv").exists() != bool(family):
        return False
    return bool(paths) and all(path.exists() and path.stat().st_mtime_ns > newest for path in paths)


def remove_stale(folder: Path, written: Sequence[Path], formats: Sequence[str], every: bool) -> None:
    """Remove files of an earlier build in these formats, so that no figure of other runs lies beside the new tables.

    A build of chosen runs (``every`` is false) leaves the suffixed files of other cohorts alone.
    """
    for path in sorted(folder.iterdir()):
        match = OURS.fullmatch(path.name)
        if match and match[4] in formats and path not in written and (every or not match[2]):
            path.unlink()


def _figures(findings: Findings, folder: Path, suffix: str, kinds: Sequence[str]) -> list[Path]:
    table, cohort = findings.table, findings.cohort

    def stem(name: str, *parts: str) -> Path:
        return folder / f"{style.file_name('-'.join([name, *parts]))}{suffix}"

    figures = gain_figure(table, stem("gains"), kinds)
    for baseline in findings.lengths.baselines:
        courses = [row for row in findings.lengths.rows if row.baseline == baseline]
        figures += length_figures(cohort, courses, stem("length", baseline), kinds)
    for sweep in findings.swept:
        figures += sweep_figure(table, sweep, stem("sweep", sweep.strategy, sweep.parameter), kinds)
    for one in findings.held.fronts:
        rows = [row for row in findings.held.rows if row.baseline == one.baseline]
        figures += front_figure(cohort, one, rows, stem("front", one.baseline), kinds)
    for baseline in cohort.baselines:
        drawn = table.drawn(baseline)
        figures += rhythm_figures(cohort, baseline, drawn, stem("rhythm", baseline), kinds)
        shown = _in_order(findings.curves.get(baseline, ()), drawn)
        figures += curve_figures(cohort, baseline, shown, stem("curve", baseline), kinds)
    for baseline, found in findings.probed.items():
        shown = _in_order(found, table.drawn(baseline))
        figures += conflict_figures(cohort, shown, stem("conflicts", baseline), kinds)
    for baseline, searches in findings.tunings.items():
        figures += tuning_figures(cohort, searches, stem("tuning", baseline), kinds)
    return figures


class _OfStrategy(Protocol):
    @property
    def strategy(self) -> str: ...


_S = TypeVar("_S", bound=_OfStrategy)


def _in_order(found: Sequence[_S], drawn: Sequence[str]) -> list[_S]:
    """Those of the strategies that are drawn, in that order."""
    return sorted((one for one in found if one.strategy in drawn), key=lambda one: drawn.index(one.strategy))
