"""Draw what a step costs against tasks, batch and patch: ``python -m reports.speed results/measured/speed-cpu.csv``.

The rows of kind ``scaling`` that ``python -m benchmarks.speed --csv`` wrote.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from results.command import announce, framed, leave

UNITS = {"tasks": "tasks", "batch": "samples a batch", "patch": "side of a patch, pixels"}


def scaling_figure(table: Path, stem: Path) -> list[Path]:
    """Write ``stem`` as PNG and SVG; returns the files.

    Raises:
        ValueError: if the table has no such rows.
    """
    import pandas as pd

    from reports.figures import style

    rows = pd.read_csv(table)
    rows = rows[rows["what"] == "scaling"]
    if rows.empty:
        raise ValueError(f"{table} has no rows of kind scaling; measure them with benchmarks.speed scaling --csv.")
    rows[["axis", "value"]] = rows["case"].str.extract(r"(\w+) (\d+)")
    milliseconds = rows["medians"].str.extract(r"ours_ms=([\d.]+)", expand=False).astype(float)
    with style.look():
        figure = style.canvas(9, 3.4, fixed=True)
        style.headline(figure, f"A training step of tiny TransWeather with Art ({rows['device'].iloc[0]})")
        axes = figure.subplots(1, len(UNITS), sharey=True)
        figure.subplots_adjust(left=0.08, right=0.98, bottom=0.18, top=0.84, wspace=0.1)
        for axis, (name, unit) in zip(axes, UNITS.items(), strict=True):
            chosen = rows["axis"] == name
            axis.plot(rows["value"][chosen].astype(int), milliseconds[chosen], "o-", color=style.BLUE)
            axis.set(xlabel=unit, xticks=rows["value"][chosen].astype(int))
        axes[0].set(ylabel="step, ms", ylim=(0, 1.08 * milliseconds.max()))
        return style.save(figure, stem)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code, 2 if there is nothing to draw (others: :mod:`results.command`)."""
    return framed(lambda: _main(arguments), ValueError)


def _main(arguments: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(
        "python -m reports.speed", description="Draw what a step costs against tasks, batch and patch."
    )
    parser.add_argument("table", type=Path)
    options = parser.parse_args(arguments)
    announce(f"Drawing what {options.table} holds.", beside=True)
    files = scaling_figure(options.table, options.table.with_name(options.table.stem + "-scaling"))
    print("Written:", *files)
    return 0


if __name__ == "__main__":
    leave(main())
