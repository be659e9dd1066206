"""A setting's published table with what was measured: ``python -m reports.published --setting three_task``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from reports.build import NothingToReport, Report, check_output
from results import Damaged, Run, find_runs, published, write_atomically, write_text
from results.command import announce, framed, leave
from results.kept import kept_runs
from results.visible import visible

TOLERANCE = 0.2
"""Mean absolute PSNR difference (dB) over the compared test sets up to which a row counts as reproduced."""


def report(
    setting: str,
    output: Path | str = "results",
    tolerance: float = TOLERANCE,
    runs: Sequence[Run] | None = None,
) -> Report:
    """Write ``published.md`` and ``published.csv`` below ``<output>/reports/<setting>``.

    Args:
        setting: name of the setting.
        output: the results folder.
        tolerance: see :data:`TOLERANCE`.
        runs: what was measured; ``None`` takes the runs that ``output`` holds.

    Raises:
        NothingToReport: for a setting without published figures, or where the folder cannot be written.
    """
    from reports.formats.published import csv, page, text
    from reports.numbers.reproduction import claims, compare

    measured = find_runs(output, setting) if runs is None else runs
    comparisons = compare(setting, measured, tolerance)
    if not comparisons:
        known = ", ".join(name for name in published()["setting"].unique() if name != "headline")
        raise NothingToReport(f"No published figures for setting {setting!r}; there are some for: {known}.")
    gains = claims(comparisons, measured, tolerance)
    folder = Path(output, "reports", setting)
    check_output(folder)
    contents = {
        "published.md": page(setting, comparisons, gains, tolerance),
        "published.csv": csv(setting, comparisons),
    }
    for name, content in contents.items():
        write_atomically(folder / name, lambda path, content=content: write_text(path, content))
    words = visible(text(setting, comparisons, gains, tolerance), lines=True)
    return Report(words, [folder / name for name in contents])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code, 2 if nothing is published (others: :mod:`results.command`)."""
    return framed(lambda: _main(arguments), (NothingToReport, Damaged))


def _main(arguments: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m reports.published",
        description="Regenerate a setting's published table with what was measured beside it.",
    )
    parser.add_argument("--setting", required=True, help="name of the setting, such as three_task")
    parser.add_argument("--output", type=Path, help="the results folder (default: results, or what --from names)")
    parser.add_argument(
        "--from", type=Path, dest="archive", metavar="DIR",
        help="read the runs kept in this folder, such as results/measured/race",
    )  # fmt: skip
    parser.add_argument(
        "--tolerance", type=float, default=TOLERANCE, help=f"dB that count as reproduced (default: {TOLERANCE})"
    )
    options = parser.parse_args(arguments)
    output, place = options.output or options.archive or Path("results"), options.archive or options.output
    announce(f"Comparing the published figures of {options.setting} with the runs in {place or output}.", beside=True)
    runs = kept_runs(options.archive, options.setting) if options.archive else None
    if options.archive and not runs:
        raise NothingToReport(f"No runs of {options.setting} are kept in {options.archive}.")
    written = report(options.setting, output, options.tolerance, runs)
    print(written.text)
    print("Written:\n" + "\n".join(f"  {path}" for path in written.files))
    return 0


if __name__ == "__main__":
    leave(main())
