"""Build the report of a setting from its run files: ``python -m reports.build --setting three_task``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from results import Damaged, Run, check_writable, find_runs, tuning
from results.command import announce, framed, leave
from results.kept import RUNS, kept_runs
from results.records import Note
from results.together import together
from results.tuning import Search
from results.visible import visible

if TYPE_CHECKING:
    from reports.numbers.findings import Findings
    from reports.numbers.model import Cohort

FORMATS = ("md", "csv", "tex", "html", "png", "svg")
"""Kinds of files that a build writes."""


class NothingToReport(ValueError):
    """No report can be made: there is no run, or nowhere to write; the message says so in one sentence for people."""

    def __init__(self, message: str):
        super().__init__(visible(message, lines=True))


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
    formats: Sequence[str] = FORMATS,
    collect: bool = False,
    pool: bool = False,
    tuned_in: Sequence[Path] = (),
    remarks: Mapping[str, Sequence[Note]] | None = None,
    own: Iterable[Run] | None = None,
    labels: Sequence[str] = (),
    columns: Sequence[str] = (),
) -> Report:
    """Write the report of a setting below ``<output>/reports/<setting>`` and return the text to print.

    The newest cohort (runs that one table may hold) gets ``gains.md``, ``gains.csv``, ``gains.tex``, ``runs.csv``, the
    page ``report.html``, ``gains.png``/``.svg``, ``rhythm-<baseline>.png``/``.svg`` and, where there is something to
    show, ``lengths.csv``, ``front.csv``, ``curves.csv``, ``targets.csv``, ``tuning.csv``, ``pooled.csv``,
    ``conflicts.csv``, and as ``.png``/``.svg`` ``length-<baseline>``, ``front-<baseline>``, ``curve-<baseline>``,
    ``tuning-<baseline>``, ``conflicts-<baseline>`` and ``sweep-<strategy>-<parameter>``; older cohorts get the same
    names with ``-<cohort>`` at the end. The same runs give byte-identical files.

    Args:
        setting: name of the setting.
        output: the results folder.
        runs: report these runs only, in any state; ``None`` takes all that ``output`` holds.
        baselines, strategies: report these only; the reference strategy always stays.
        protocol: use the scores of this protocol; ``None`` takes the one each cohort was evaluated with.
        formats: write these of :data:`FORMATS` only; files of other kinds stay as they are.
        collect: runs may still be going: name those of the grid that have not begun.
        pool: add verdicts over baselines (:mod:`reports.numbers.pooled`).
        tuned_in: folders that hold the searches for parameters; without any, ``output`` does.
        remarks: what is to be said of the runs of a cohort, by its key: where they are from.
        own: the runs of a command, in any state: their cohorts come first and are the ones printed, whole, with their
            rows marked; reports of other cohorts are left as they are, and written where they are lacking.
        labels: names for strategies, ``SPEC=NAME``.
        columns: of the tables in ``gains.tex``, by their headings; all without any.

    Raises:
        ValueError: a format that is none.
        NothingToReport: unknown setting, no runs, a baseline, strategy, protocol or column that none of them has, a
            label that cannot be, or a folder that cannot be written.
    """
    from reports.numbers.cohorts import collect as count_grid
    from reports.numbers.cohorts import gather
    from reports.numbers.findings import find

    mine = {run.folder: run.legible() for run in own or ()}
    if unknown := [kind for kind in formats if kind not in FORMATS]:
        raise ValueError(f"no format {', '.join(map(repr, unknown))}; there are: {', '.join(FORMATS)}")
    found = [run.legible() for run in (find_runs(output, setting) if runs is None else runs)]
    if not found:
        raise NothingToReport(_no_runs(setting, Path(output)))
    names = _named(found, labels)
    found = _selected(found, baselines, strategies, setting)
    if protocol:
        _check_protocol(found, protocol)
    cohorts = gather(found, protocol, names, mine)
    if not cohorts or (mine and not cohorts[0].is_own):
        return Report(visible(_not_configured(list(mine.values()) or found, setting), lines=True))
    folder = Path(output, "reports", setting)
    check_output(folder)
    for cohort in cohorts if collect else ():
        count_grid(cohort)
    for key, notes in (remarks or {}).items():
        for cohort in cohorts:
            cohort.remarks += notes if cohort.key == key[: len(cohort.key)] else []
    searched, unread = _searched(tuned_in or [Path(output)], setting)
    return _written(
        cohorts, lambda cohort: find(cohort, searched, pool), folder, formats, unread, columns, every=runs is None
    )


def _named(runs: Sequence[Run], labels: Sequence[str]) -> dict[str, str]:
    from reports.numbers import naming

    try:
        found = naming.parse(labels)
        naming.check(found, [record.config.asked for run in runs if (record := run.record)])
    except ValueError as error:
        raise NothingToReport(str(error)) from error
    return found


def _not_configured(found: Sequence[Run], setting: str) -> str:
    states = [[f"{run.status.state} {run.status.words}".rstrip(), *run.damage().values()] for run in found]
    listed = "".join(f"\n* {run.folder}: {'; '.join(said)}" for run, said in zip(found, states, strict=True))
    return f"No run of setting {setting!r} came as far as its configuration:{listed}\n"


def _searched(folders: Sequence[Path], setting: str) -> tuple[list[Search], list[str]]:
    """The searches of a setting, and what is to be said of those that are left out: damaged, or other ones of a name
    that an earlier folder has."""
    found: dict[str, tuple[Path, Search]] = {}
    left_out: list[str] = []
    for path in (path for folder in folders for path in tuning.files(folder, setting)):
        try:
            search = tuning.read(path)
        except Damaged as damaged:
            left_out.append(f"A search is left out: {path}: {damaged.reason}.")
            continue
        if search is not None:
            first, known = found.setdefault(path.name, (path, search))
            if known != search:
                left_out.append(f"A search is left out: {path} is another than {first}, of the same name.")
    return [search for _, search in found.values()], left_out


def check_output(folder: Path) -> None:
    """Whether a report can be written there, before it is made.

    Raises:
        NothingToReport: if not.
    """
    try:
        check_writable(folder)
    except OSError as error:
        raise NothingToReport(
            f"{folder} {error.strerror}; make it writable, or copy the runs elsewhere and name that folder by --output."
        ) from error


def _check_columns(several: Iterable[Findings], columns: Sequence[str], formats: Sequence[str]) -> None:
    from reports.formats.latex import column_names

    if columns and "tex" not in formats:
        raise NothingToReport("--columns chooses those of gains.tex; add tex to --format.")
    known = list(dict.fromkeys(name for findings in several for name in column_names(findings))) if columns else []
    folded = [name.casefold() for name in known]
    if unknown := [name for name in columns if name.casefold() not in folded]:
        raise NothingToReport(f"No column {', '.join(map(repr, unknown))}; there are: {', '.join(known)}.")


def _written(
    cohorts: Sequence[Cohort],
    find: Callable[[Cohort], Findings],
    folder: Path,
    formats: Sequence[str],
    unread: Sequence[str],
    columns: Sequence[str],
    every: bool,
) -> Report:
    from reports.formats.files import is_current, named, of_suffix, remove_stale, write_cohort
    from reports.formats.layout import width, wrapped
    from reports.numbers.findings import beside
    from reports.numbers.lengths import families

    suffixes = ["", *(f"-{cohort.key}" for cohort in cohorts[1:])]
    told = [cohort for cohort in cohorts if cohort.is_own] or list(cohorts)
    kin = families(cohorts)
    computed = {cohort.key: beside(find(cohort), kin.get(cohort.key, ())) for cohort in told}
    _check_columns(computed.values(), columns, formats)
    texts, tables, figures, kept = [], [], [], list[Path]()
    for cohort, suffix in zip(cohorts, suffixes, strict=True):
        if cohort not in told and is_current(cohort, folder, suffix, formats, kin.get(cohort.key, ())):
            kept += of_suffix(folder, suffix)
            continue
        others = [f"report{other}.html" for other in suffixes if other != suffix]
        findings = computed.get(cohort.key) or beside(find(cohort), kin.get(cohort.key, ()))
        text, written, drawn = write_cohort(findings, folder, suffix, formats, others, columns)
        if cohort not in told:
            kept += written + drawn
            continue
        texts.append(text if len(told) == 1 else f"[{len(texts) + 1} of {len(told)}] {text}")
        tables += written
        figures += drawn
    remove_stale(folder, tables + figures + kept, formats, every)
    texts[-1] += "".join(f"\n{wrapped('* ', words)}\n" for words in unread)
    texts[-1] += f"\n{wrapped(f'Written to {folder}: ', named(tables + figures) or 'nothing')}\n"
    if pages := [path.name for path in kept if path.name.startswith("report-")]:
        texts[-1] += f"{wrapped('Of runs that this table may not hold: ', ', '.join(pages))}\n"
    return Report(visible(f"\n{'=' * width()}\n\n".join(texts), lines=True), tables + figures)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code, 2 if there is nothing to report (others: :mod:`results.command`)."""
    return framed(lambda: _main(arguments), (NothingToReport, Damaged))


def _main(arguments: Sequence[str] | None) -> int:
    options = _parsed(arguments)
    announce(f"Building reports from {', '.join(map(str, options.archives)) or options.output}.", beside=True)
    kept = {folder: _kept_settings(folder) for folder in options.archives}
    if empty := [str(folder) for folder, settings in kept.items() if not settings]:
        raise NothingToReport(f"No runs are kept in {', '.join(empty)}: there is no {RUNS}.")
    known = sorted({name for settings in kept.values() for name in settings})
    settings = [options.setting] if options.setting else known
    return max(_report(setting, options) for setting in settings)


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m reports.build", description="Build the report of a setting from its run files."
    )
    parser.add_argument("--setting", help="name of the setting, such as three_task (needed without --from)")
    parser.add_argument("--output", type=Path, help="the results folder (default: results, or what --from names)")
    parser.add_argument(
        "--from", type=Path, nargs="+", default=[], dest="archives", metavar="DIR",
        help="read the runs kept in this folder, such as results/measured/weather; of several, all in one table",
    )  # fmt: skip
    parser.add_argument("--baselines", nargs="+", default=[], metavar="NAME", help="only these baselines")
    parser.add_argument("--strategies", nargs="+", default=[], metavar="NAME", help="only these strategies, and mix")
    parser.add_argument(
        "--protocol", help="use scores of this protocol (default: the one the runs were evaluated with)"
    )
    parser.add_argument(
        "--format", nargs="+", default=FORMATS, choices=FORMATS, metavar="KIND", dest="formats",
        help=f"write these only, of {' '.join(FORMATS)} (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--label", nargs="+", action="extend", default=[], metavar="SPEC=NAME", dest="labels",
        help="what to call a strategy, such as mypkg.opt:Mine=Ours",
    )  # fmt: skip
    parser.add_argument(
        "--columns", nargs="+", default=[], metavar="NAME",
        help="of the tables in gains.tex, such as Rain100L average 'average gain' verdict (default: all)",
    )  # fmt: skip
    parser.add_argument("--collect", action="store_true", help="runs are still going: name what is missing")
    parser.add_argument("--pool", action="store_true", help="add a verdict on each strategy over all baselines")
    options = parser.parse_args(arguments)
    archives = options.archives
    if not (options.setting or archives):
        parser.error("name a --setting, or a folder of kept runs with --from")
    if len({folder.resolve() for folder in archives}) < len(archives):
        parser.error("--from names a folder twice")
    if len(archives) > 1 and not options.output:
        parser.error("--from names several folders: say with --output where their report goes")
    options.output = options.output or (archives[0] if archives else Path("results"))
    return options


def _report(setting: str, options: argparse.Namespace) -> int:
    archives: list[Path] = options.archives
    runs, remarks = None, None
    if len(archives) > 1:
        joined = together(archives, setting)
        runs, remarks = joined.runs, joined.notes
    elif archives and options.output != archives[0]:
        runs = kept_runs(archives[0], setting)
    try:
        report = build(
            setting,
            options.output,
            runs,
            baselines=options.baselines,
            strategies=options.strategies,
            protocol=options.protocol,
            formats=options.formats,
            collect=options.collect,
            pool=options.pool,
            tuned_in=archives,
            remarks=remarks,
            labels=options.labels,
            columns=options.columns,
        )
    except NothingToReport as error:
        if not options.collect or find_runs(options.output, setting):
            raise
        print(f"Nothing to collect yet. {error}")
        return 0
    print(report.text)
    return 0


def _kept_settings(folder: Path) -> list[str]:
    return sorted({run.record.config.setting for run in kept_runs(folder)})


def _selected(runs: list[Run], baselines: Sequence[str], strategies: Sequence[str], setting: str) -> list[Run]:
    from reports.numbers.model import REFERENCE

    for key, wanted in (("baseline", baselines), ("strategy", strategies)):
        names = {run.folder: getattr(record.config, key) for run in runs if (record := run.record)}
        known = sorted(set(names.values()))
        if unknown := [name for name in wanted if name not in known]:
            raise NothingToReport(
                f"No run of {key} {', '.join(map(repr, unknown))} in setting {setting!r}; "
                f"there are: {', '.join(known)}."
            )
        if wanted:
            chosen = {*wanted, REFERENCE} if key == "strategy" else set(wanted)
            runs = [run for run in runs if names.get(run.folder) in chosen]
    return runs


def _check_protocol(runs: Iterable[Run], protocol: str) -> None:
    known = sorted({name for run in runs for name in run.scores()["protocol"].unique()})
    if protocol not in known:
        choice = f"there are: {', '.join(known)}" if known else "no run has scores yet"
        raise NothingToReport(f"No scores with protocol {protocol!r}; {choice}.")


def _no_runs(setting: str, output: Path) -> str:
    settings = sorted(path.name for path in (output / "runs").glob("*") if path.is_dir())
    others = f" (settings with runs: {', '.join(settings)})" if settings else ""
    return (
        f"No runs of setting {setting!r} below {output / 'runs'}{others}; "
        f"make some with: python -m benchmarks.run --setting {setting}"
    )


if __name__ == "__main__":
    leave(main())
