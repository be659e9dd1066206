"""Build the report of a setting from its run files: ``python -m reports.build --setting three_task``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from results import Run, find_runs, write_atomically

if TYPE_CHECKING:
    from reports.cohorts import Cohort
    from reports.sweeps import Sweep
    from reports.tables import GainTable


class NothingToReport(ValueError):
    """There is no run to report; the message says so in one sentence for people."""


@dataclass(frozen=True)
class Report:
    """``text``: the tables for a terminal; ``files``: what was written, tables first."""

    text: str
    files: list[Path] = field(default_factory=list)


def build(
    setting: str,
    output: Path | str = "results",
    runs: Iterable[Run] | None = None,
    *,
    baselines: Sequence[str] = (),
    strategies: Sequence[str] = (),
    protocol: str | None = None,
) -> Report:
    """Write tables and figures of a setting below ``<output>/reports/<setting>`` and return the text to print.

    The newest cohort (runs that one table may hold) gets ``gains.md``, ``gains.csv``, ``gains.tex``, ``runs.csv``,
    ``gains.png``/``.svg`` and ``rhythm-<baseline>.png``/``.svg``; older cohorts get the same names with ``-<cohort>``
    at the end. The same files give byte-identical tables.

    Args:
        setting: name of the setting.
        output: the results folder.
        runs: report these runs only (those of a grid, in any state); ``None`` takes all that ``output`` holds.
        baselines, strategies: report these only; the reference strategy always stays.
        protocol: use the scores of this protocol; ``None`` takes the one each cohort was evaluated with.

    Raises:
        NothingToReport: unknown setting, no runs, or a baseline, strategy or protocol that none of them has.
    """
    from reports.cohorts import gather
    from reports.text import WIDTH, wrapped

    found = find_runs(output, setting) if runs is None else list(runs)
    if not found:
        raise NothingToReport(_no_runs(setting, Path(output)))
    found = _selected(found, baselines, strategies, setting)
    if protocol:
        _check_protocol(found, protocol)
    cohorts = gather(found, protocol)
    if not cohorts:
        listed = "".join(f"\n* {run.folder}: {run.status.state} {run.status.reason}".rstrip() for run in found)
        return Report(f"No run of setting {setting!r} came as far as its configuration:{listed}\n")
    folder = Path(output, "reports", setting)
    folder.mkdir(parents=True, exist_ok=True)
    texts, tables, figures = [], [], []
    for position, cohort in enumerate(cohorts):
        text, written, drawn = _write(cohort, folder, "" if position == 0 else f"-{cohort.key}")
        texts.append(text if len(cohorts) == 1 else f"[{position + 1} of {len(cohorts)}] {text}")
        tables += written
        figures += drawn
    _remove_stale(folder, tables + figures, every=runs is None)
    texts[-1] += f"\n{wrapped(f'Written to {folder}: ', _told(tables + figures))}\n"
    return Report(f"\n{'=' * WIDTH}\n\n".join(texts), tables + figures)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code (2: nothing to report)."""
    parser = argparse.ArgumentParser(prog="python -m reports.build", description=__doc__.split(":")[0] + ".")
    parser.add_argument("--setting", required=True, help="name of the setting, such as three_task")
    parser.add_argument("--output", type=Path, default=Path("results"), help="the results folder (default: results)")
    parser.add_argument("--baselines", nargs="+", default=[], metavar="NAME", help="only these baselines")
    parser.add_argument("--strategies", nargs="+", default=[], metavar="NAME", help="only these strategies, and mix")
    parser.add_argument(
        "--protocol", help="use scores of this protocol (default: the one the runs were evaluated with)"
    )
    options = parser.parse_args(arguments)
    try:
        report = build(
            options.setting,
            options.output,
            baselines=options.baselines,
            strategies=options.strategies,
            protocol=options.protocol,
        )
    except NothingToReport as error:
        print(error, file=sys.stderr)
        return 2
    print(report.text)
    return 0


def _write(cohort: Cohort, folder: Path, suffix: str) -> tuple[str, list[Path], list[Path]]:
    from reports import markdown, tidy
    from reports.conflicts import conflict_table, conflict_text, conflicts
    from reports.latex import latex
    from reports.sweeps import sweep_text, sweeps
    from reports.tables import gain_table
    from reports.text import terminal

    table, probed = gain_table(cohort), conflicts(cohort)
    swept = sweeps(table)
    figures = _figures(table, probed, swept, folder, suffix)
    sections = [markdown.sweep_section(sweep) for sweep in swept]
    sections += [markdown.conflict_section(probed)] if probed else []
    pictures = [path for path in figures if path.suffix == ".png"]
    contents = {
        f"gains{suffix}.md": markdown.page(table, pictures, sections),
        f"gains{suffix}.csv": tidy.tidy(table).to_csv(index=False, lineterminator="\n"),
        f"gains{suffix}.tex": latex(table),
        f"runs{suffix}.csv": tidy.runs(cohort).to_csv(index=False, lineterminator="\n"),
    }
    if probed:
        contents[f"conflicts{suffix}.csv"] = conflict_table(cohort).to_csv(index=False, lineterminator="\n")
    for name, content in contents.items():
        write_atomically(folder / name, lambda path, content=content: path.write_text(content, encoding="utf-8"))
    more = [sweep_text(sweep, table.several_seeds) for sweep in swept] + [conflict_text(probed)]
    return terminal(table, more), [folder / name for name in contents], figures


def _figures(table: GainTable, probed: Mapping, swept: Sequence[Sweep], folder: Path, suffix: str) -> list[Path]:
    from reports.conflict_plots import conflict_figures
    from reports.gain_plots import gain_figure
    from reports.rhythm_plots import rhythm_figures
    from reports.sweeps import sweep_figure

    figures = gain_figure(table, folder / f"gains{suffix}")
    for sweep in swept:
        figures += sweep_figure(table, sweep, folder / f"{sweep.stem}{suffix}")
    for baseline in table.cohort.baselines:
        stem = folder / f"rhythm-{baseline}{suffix}"
        figures += rhythm_figures(table.cohort, baseline, table.drawn(baseline), stem)
    for baseline, found in probed.items():
        drawn = table.drawn(baseline)
        shown = sorted((c for c in found if c.strategy in drawn), key=lambda c: drawn.index(c.strategy))
        figures += conflict_figures(table.cohort, shown, folder / f"conflicts-{baseline}{suffix}")
    return figures


def _told(paths: Sequence[Path]) -> str:
    """``gains (md csv png), runs.csv``: every name once, with its kinds and parts."""

    kinds: dict[str, list[str]] = {}
    parts: dict[str, int] = {}
    for path in paths:
        name, _, part = path.stem.partition("-part")
        kinds[name] = list(dict.fromkeys([*kinds.get(name, []), path.suffix[1:]]))
        parts[name] = max(parts.get(name, 1), int(part or 1))
    told = []
    for name, several in kinds.items():
        more = f", {parts[name]} parts" * (parts[name] > 1)
        told.append(f"{name} ({' '.join(several)}{more})" if len(several) > 1 else f"{name}.{several[0]}")
    return ", ".join(told)


def _remove_stale(folder: Path, written: Sequence[Path], every: bool) -> None:
    """Remove this command's files of an earlier build, so that no figure of other runs lies beside the new tables.

    A build of chosen runs leaves the suffixed files of other cohorts alone.
    """
    import re

    ours = re.compile(
        r"(gains|runs|conflicts|(?:rhythm|conflicts|sweep)-.+?)(-[0-9a-f]{8})?(-part\d+)?\.(md|csv|tex|png|svg)"
    )
    for path in sorted(folder.iterdir()):
        match = ours.fullmatch(path.name)
        if match and path not in written and (every or not match[2]):
            path.unlink()


def _selected(runs: list[Run], baselines: Sequence[str], strategies: Sequence[str], setting: str) -> list[Run]:
    from reports.cohorts import REFERENCE

    for key, wanted in (("baseline", baselines), ("strategy", strategies)):
        there = sorted({run.config[key] for run in runs if key in run.config})
        if unknown := [name for name in wanted if name not in there]:
            raise NothingToReport(
                f"No run of {key} {', '.join(map(repr, unknown))} in setting {setting!r}; "
                f"there are: {', '.join(there)}."
            )
        if wanted:
            kept = {*wanted, REFERENCE} if key == "strategy" else set(wanted)
            runs = [run for run in runs if run.config.get(key) in kept]
    return runs


def _check_protocol(runs: Iterable[Run], protocol: str) -> None:
    there = sorted({name for run in runs for name in run.scores()["protocol"].unique()})
    if protocol not in there:
        known = f"there are: {', '.join(there)}" if there else "no run has scores yet"
        raise NothingToReport(f"No scores with protocol {protocol!r}; {known}.")


def _no_runs(setting: str, output: Path) -> str:
    there = sorted(path.name for path in (output / "runs").glob("*") if path.is_dir())
    others = f" (settings with runs: {', '.join(there)})" if there else ""
    return (
        f"No runs of setting {setting!r} below {output / 'runs'}{others}; "
        f"make some with: python -m benchmarks.run --setting {setting}"
    )


if __name__ == "__main__":
    sys.exit(main())
