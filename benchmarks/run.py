"""Train baselines with strategies on a setting, score them, and tabulate the gains.

python -m benchmarks.run --setting three_task
"""

from __future__ import annotations

import argparse
import os
import textwrap
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.config import settings
from benchmarks.config.errors import UserError
from benchmarks.execution import options
from benchmarks.training import distributed
from results import Run, find_runs
from results.command import announce, command, leave

if TYPE_CHECKING:
    from benchmarks.execution.plan import Plan


def parser() -> argparse.ArgumentParser:
    """The command line; its help lists everything by name without importing torch."""
    result = options.parser(
        "run", "Train baselines with strategies on a setting, score them, and tabulate the gains over mix."
    )
    options.add_runs(result, seeds=[0], continues=True)
    add = result.add_argument
    add("--metrics", nargs="+", metavar="NAME", help="further metrics, by pyiqa: fsim vif gmsd vsi lpips niqe ...")
    options.add_place(result)
    add(
        "--probe-conflicts", type=int, metavar="EVERY", help="record cosines between task gradients every so many steps"
    )
    add("--budget", nargs="+", choices=["steps", "cost"], default=["steps"],
        help="what strategies have alike: mix's steps, or as many steps as fit into mix's cost (measured here); "
        "or both")  # fmt: skip
    add("--cost-ratio", nargs="+", default=[], metavar="SPEC=RATIO", dest="cost_ratios",
        help="cost of a strategy's step over mix's, in place of measuring it")  # fmt: skip
    about_tuned = "beside the ordinary runs, those with what python -m benchmarks.tune has found for each strategy"
    add("--tuned", action="store_true", help=about_tuned)
    add("--pool", action="store_true", help="with a verdict on each strategy over all baselines")
    add("--label", nargs="+", action="extend", default=[], metavar="SPEC=NAME", dest="labels",
        help="what tables and figures call a strategy, such as mypkg.opt:Mine=Ours")  # fmt: skip
    add("--fresh", action="store_true", help="run again what is there already; the old runs are kept aside")
    return result


@command(
    parser,
    UserError,
    "interrupted; the same command continues.",
    leads=not distributed.is_follower(),
    again=not distributed.several(),
)
def main(given: argparse.Namespace) -> int:
    """Run the command; returns the exit code, which is 1 if a run failed (others: :mod:`results.command`)."""
    if distributed.is_follower():
        with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
            return _main(given)
    if not (given.setting or given.continued):
        raise UserError(f"--setting missing: one of {', '.join(settings.names())}, or a file, mine.toml.")
    names = f"on {given.setting}: {', '.join(given.baselines)} with {', '.join(given.strategies)}"
    names = f"that go on from {', '.join(map(str, given.continued))}" if given.continued else names
    announce(textwrap.shorten(f"Preparing runs {names}", 100, placeholder=" ..."))
    return _main(given)


def _main(given: argparse.Namespace) -> int:
    from benchmarks.execution.request import GridRequest, listing  # late, as is torch below, for a fast --help

    request = GridRequest(**{name: value for name, value in vars(given).items() if name not in ("pool", "labels")})
    if request.by_cost and not request.dry_run:
        from benchmarks.execution import costing

        costing.measure(request)
    plans = request.plans()
    labels = _labels(given.labels, request.output, plans)
    if request.dry_run:
        from benchmarks.execution import before

        before.check(request, plans)
        kind = before.device_kind(request)
        if before.needs_torch(request, plans):
            from benchmarks.execution import grid

            here = grid.check_runs(request, plans)
            kind = kind if request.elsewhere else here
        told = listing(plans, kind, here=not request.elsewhere)
        print("\n".join([told, *_seeds_needed(request.output, plans)]))
        return 0
    from benchmarks.execution import grid
    from reports.build import NothingToReport, Report, build

    def report(setting: str, output: Path, runs: Sequence[Run]) -> Report:
        try:
            return build(setting, output, own=runs, pool=given.pool, labels=labels)
        except NothingToReport as error:
            raise UserError(f"{error} The runs are kept.") from error

    return grid.run(request, plans, report)


def _labels(given: Sequence[str], output: Path, plans: Sequence[Plan]) -> list[str]:
    """The labels with strategies in their one spelling, checked before anything is trained.

    Raises:
        UserError: for those that cannot be.
    """
    import art
    from reports.numbers import naming

    setting = plans[0].setting
    try:
        typed = naming.parse(given)
        labels = {art.canonical(spec, setting.task_names): name for spec, name in typed.items()}
        known = [plan.config.terms.tuned or plan.config.strategy for plan in plans]
        if labels:
            found = [run.legible().record for run in find_runs(output, setting.name)]
            known += [record.config.asked for record in found if record]
            naming.check(labels, known)
    except ValueError as error:
        raise UserError(str(error)) from error
    return [f"{spec}={name}" for spec, name in labels.items()]


def _seeds_needed(output: Path, plans: Sequence[Plan]) -> list[str]:
    """How many seeds gains take, as far as runs that one table holds with these tell; reports are asked, not torch."""
    from reports.formats.layout import wrapped
    from reports.numbers.cohorts import gather
    from reports.numbers.power import seeds_note
    from reports.numbers.tables import gain_table

    plan, baselines_planned = plans[0], {plan.config.baseline for plan in plans}
    key = plan.config.identity(plan.setting)["cohort"]
    runs = find_runs(output, plan.config.setting, {"baseline": baselines_planned})
    cohorts = [cohort for cohort in gather(runs) if cohort.key == key[: len(cohort.key)]]
    notes = [note for cohort in cohorts for note in seeds_note(gain_table(cohort, images=False).rows)]
    return ["", *(wrapped("", note.text) for note in notes)] if notes else []


if __name__ == "__main__":
    leave(main())
