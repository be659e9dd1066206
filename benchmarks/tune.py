"""Search the parameters and the learning rate of every strategy alike, mix included, judged on held-out images.

python -m benchmarks.tune --setting three_task --strategies mix art uw --trials 16

Then python -m benchmarks.run --tuned trains what was found on other seeds, and scores it.
"""

from __future__ import annotations

import argparse
import textwrap

from benchmarks.config.errors import UserError
from benchmarks.execution import options
from results.command import announce, command, leave

SEED = 100
"""Trials have it by default: comparisons usually begin at seed 0, and what was tuned on a seed is not judged on it."""


def parser() -> argparse.ArgumentParser:
    """The command line; its help lists everything by name without importing torch."""
    result = options.parser(
        "tune", "Search the parameters and the learning rate of every strategy alike, judged on held-out images."
    )
    options.add_runs(result, [SEED], f"each trial is trained with, its score is the mean (default: {SEED})")
    about_trials = "of every strategy, the first at its defaults; more than before go on from there (default: 16)"
    result.add_argument("--trials", type=int, default=16, metavar="N", help=about_trials)
    options.add_place(result)
    return result


@command(parser, UserError, "interrupted; the same command continues.")
def main(given: argparse.Namespace) -> int:
    """Run the command; returns the exit code, 1 if all trials of a search failed (others: :mod:`results.command`)."""
    names = f"{', '.join(given.baselines)} with {', '.join(given.strategies)}"
    announce(textwrap.shorten(f"Preparing searches on {given.setting}: {names}", 100, placeholder=" ..."))
    return _main(given)


def _main(given: argparse.Namespace) -> int:
    from benchmarks.execution.request import GridRequest  # late, as is torch below, for a fast --help

    request = vars(given)
    trials = request.pop("trials")
    grid = GridRequest(**request)
    from benchmarks.execution.tuning import TuneRequest, listing, run
    from reports.formats.text import tuning_text

    if grid.dry_run:
        print(listing(TuneRequest(grid, trials)))
        return 0
    return run(TuneRequest(grid, trials), tuning_text)


if __name__ == "__main__":
    leave(main())
