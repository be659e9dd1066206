"""The files of a cohort's report: which there are, what they are called, and which are stale."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from reports.figures import style
from reports.figures.conflicts import conflict_figures
from reports.figures.curves import curve_figures
from reports.figures.front import front_figure
from reports.figures.gains import gain_figure
from reports.figures.rhythms import rhythm_figures
from reports.figures.style import KINDS
from reports.figures.sweeps import sweep_figure
from reports.formats import markdown, tidy
from reports.formats.front import control_table
from reports.formats.latex import latex
from reports.formats.page import page
from reports.formats.text import terminal
from reports.numbers.conflicts import Conflict, conflict_table, conflicts
from reports.numbers.contest import Contest, contest
from reports.numbers.curves import Curve, curve_table, curves
from reports.numbers.model import Cohort, GainTable
from reports.numbers.sweeps import Sweep, sweeps
from reports.numbers.tables import gain_table
from reports.numbers.targets import target_table
from results import write_atomically, write_text

OURS = re.compile(
    r"(gains|runs|report|conflicts|curves|targets|front|(?:rhythm|conflicts|sweep|curve|front)-.+?)(-[0-9a-f]{8})?(-part\d+)?\.(md|csv|tex|html|png|svg)"
)
"""Names that a build writes: what, cohort of an older one, part, format."""


def write_cohort(
    cohort: Cohort, folder: Path, suffix: str, formats: Sequence[str], others: Sequence[str] = ()
) -> tuple[str, list[Path], list[Path]]:
    """Write a cohort's files; returns the text for a terminal, the tables and pages, and the figures.

    Args:
        cohort: the runs.
        folder: where to.
        suffix: what stands behind each name, empty for the newest cohort.
        formats: of :data:`reports.build.FORMATS`.
        others: pages of other cohorts in the folder.
    """
    table, probed = gain_table(cohort), conflicts(cohort)
    swept, validated = sweeps(table), {baseline: curves(cohort, baseline) for baseline in cohort.baselines}
    held = contest(cohort)
    drawn = [kind for kind in KINDS if kind in formats]
    figures = _figures(table, probed, swept, validated, held, folder, suffix, drawn) if drawn else []
    contents: dict[str, str] = {}
    if "md" in formats:
        pictures = [path for path in figures if path.suffix == (".png" if "png" in formats else ".svg")]
        contents[f"gains{suffix}.md"] = markdown.page(table, pictures, swept, probed, held)
    if "csv" in formats:
        reached = {(row.baseline, row.strategy): row.targets for row in table.rows}
        frames = {"gains": tidy.tidy(table), "runs": tidy.runs(cohort), "conflicts": conflict_table(cohort)}
        frames |= {"curves": curve_table(validated), "targets": target_table(reached)}
        frames["front"] = control_table(cohort, held)
        for name, frame in frames.items():
            if name in ("gains", "runs") or len(frame):
                contents[f"{name}{suffix}.csv"] = tidy.csv_text(frame)
    if "tex" in formats:
        contents[f"gains{suffix}.tex"] = latex(table, held)
    if "html" in formats:
        contents[f"report{suffix}.html"] = page(table, probed, swept, validated, held, others)
    for name, content in contents.items():
        write_atomically(folder / name, lambda path, content=content: write_text(path, content))
    return terminal(table, swept, probed, held), [folder / name for name in contents], figures


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


def remove_stale(folder: Path, written: Sequence[Path], formats: Sequence[str], every: bool) -> None:
    """Remove files of an earlier build in these formats, so that no figure of other runs lies beside the new tables.

    A build of chosen runs (``every`` is false) leaves the suffixed files of other cohorts alone.
    """
    for path in sorted(folder.iterdir()):
        match = OURS.fullmatch(path.name)
        if match and match[4] in formats and path not in written and (every or not match[2]):
            path.unlink()


def _figures(
    table: GainTable,
    probed: Mapping[str, Sequence[Conflict]],
    swept: Sequence[Sweep],
    validated: Mapping[str, Sequence[Curve]],
    held: Contest,
    folder: Path,
    suffix: str,
    kinds: Sequence[str],
) -> list[Path]:
    figures = gain_figure(table, folder / f"gains{suffix}", kinds)
    for sweep in swept:
        name = style.file_name(f"sweep-{sweep.strategy}-{sweep.parameter}")
        figures += sweep_figure(table, sweep, folder / f"{name}{suffix}", kinds)
    for one in held.fronts:
        rows = [row for row in held.rows if row.baseline == one.baseline]
        stem = folder / f"front-{style.file_name(one.baseline)}{suffix}"
        figures += front_figure(table.cohort, one, rows, stem, kinds)
    for baseline in table.cohort.baselines:
        stem = folder / f"rhythm-{style.file_name(baseline)}{suffix}"
        figures += rhythm_figures(table.cohort, baseline, table.drawn(baseline), stem, kinds)
        stem = folder / f"curve-{style.file_name(baseline)}{suffix}"
        names = table.drawn(baseline)
        shown = sorted(
            (curve for curve in validated[baseline] if curve.strategy in names), key=lambda c: names.index(c.strategy)
        )
        figures += curve_figures(table.cohort, baseline, shown, stem, kinds)
    for baseline, found in probed.items():
        drawn = table.drawn(baseline)
        shown = sorted((c for c in found if c.strategy in drawn), key=lambda c: drawn.index(c.strategy))
        figures += conflict_figures(
            table.cohort, shown, folder / f"conflicts-{style.file_name(baseline)}{suffix}", kinds
        )
    return figures
