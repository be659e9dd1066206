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

import art
import baselines
from benchmarks.config import settings
from benchmarks.config.errors import UserError
from benchmarks.training import distributed
from results import Run, find_runs
from results.command import announce, command, leave

if TYPE_CHECKING:
    from benchmarks.execution.plan import Plan


def parser() -> argparse.ArgumentParser:
    """The command line; its help lists everything by name without importing torch."""
    plugins = baselines.plugins()  # listed without reading them, which would import their packages
    known = [
        f"  {name:16}{about.about}\n{'':18}{about.paper}"
        for name, about in ((name, baselines.describe(name)) for name in baselines.names() if name not in plugins)
    ]
    known += [f"  {name:16}from {point.dist.name if point.dist else point.value}" for name, point in plugins.items()]
    strategies = [
        f"  {name:16}{entry.about}{f' ({entry.source})' if entry.source else ''}"
        for name, entry in sorted(art.entries().items())
    ]
    outside = "package.module:Class, which imports that module and so runs its code"
    lines = [
        f"baselines (your own: {outside}; described in package/module.toml):",
        *known,
        "",
        f"strategies (with parameters: art:tau=1; your own: {outside}; package.module:Class:a=b):",
    ]
    result = argparse.ArgumentParser(
        "python -m benchmarks.run",
        description="Train baselines with strategies on a setting, score them, and tabulate the gains over mix.",
        epilog="\n".join([*lines, *strategies]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = result.add_argument
    add("--setting", required=True, help=f"one of: {', '.join(settings.names())}; or a file, mine.toml")
    add("--baselines", nargs="+", default=["transweather", "airnet"], metavar="NAME",
        help="names from below, package.module:Class, or: all")  # fmt: skip
    add("--strategies", nargs="+", default=["mix", "art"], metavar="SPEC", help="or: all")
    add("--tasks", nargs="+", metavar="TASK", help="train on these tasks of the setting only (default: all)")
    add("--seeds", nargs="+", type=int, default=[0], metavar="N")
    add("--profile", choices=["demo", "paper"], default="demo", help="minutes on a laptop, or the published schedule")
    add("--size", choices=["tiny", "paper"], help="of the networks (default: tiny for demo, paper for paper)")
    add("--data-root", type=Path, metavar="DIR", help="real images in the published layouts; without it, embedded ones")
    add("--missing", choices=["error", "synthesise"], default="error",
        help="where a real set is missing: stop, or degrade the real clean images that are there")  # fmt: skip
    add("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", dest="overrides",
        help="anything in the configuration, e.g. train.steps=200 evaluate.extra=Rain100H; "
        "of two for one key the later counts")  # fmt: skip
    add(
        "--output", type=Path, default=Path("results"), metavar="DIR", help="runs, reports and cache (default: results)"
    )
    add("--metrics", nargs="+", metavar="NAME", help="further metrics, by pyiqa: fsim vif gmsd vsi lpips niqe ...")
    add("--tracking-uri", metavar="URI", help="MLflow server or store (default: a SQLite file in the output), or none")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    add("--jobs", type=int, metavar="N", help="runs at a time (default: the CPU cores, or 1 on a GPU)")
    add(
        "--cluster",
        metavar="tcp://HOST:PORT",
        help="run on the workers of a Dask scheduler instead of this machine; also tls://HOST:PORT",
    )
    add(
        "--probe-conflicts", type=int, metavar="EVERY", help="record cosines between task gradients every so many steps"
    )
    add("--budget", nargs="+", choices=["steps", "cost"], default=["steps"],
        help="what strategies have alike: mix's steps, or as many steps as fit into mix's cost (measured here); "
        "or both")  # fmt: skip
    add("--cost-ratio", nargs="+", default=[], metavar="SPEC=RATIO", dest="cost_ratios",
        help="cost of a strategy's step over mix's, in place of measuring it")  # fmt: skip
    add("--pool", action="store_true", help="with a verdict on each strategy over all baselines")
    add("--dry-run", action="store_true", help="list the runs, their state and cost, and stop")
    add("--fresh", action="store_true", help="run again what is there already; the old runs are kept aside")
    return result


@command(
    parser,
    UserError,
    "interrupted; the same command continues.",
    leads=not distributed.is_follower(),
    again=not distributed.several(),
)
def main(options: argparse.Namespace) -> int:
    """Run the command; returns the exit code, which is 1 if a run failed (others: :mod:`results.command`)."""
    if distributed.is_follower():
        with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
            return _main(options)
    names = f"{', '.join(options.baselines)} with {', '.join(options.strategies)}"
    announce(textwrap.shorten(f"Preparing runs on {options.setting}: {names}", 100, placeholder=" ..."))
    return _main(options)


def _main(options: argparse.Namespace) -> int:
    from benchmarks.execution.request import GridRequest, listing  # late, as is torch below, for a fast --help

    request = GridRequest(**{name: value for name, value in vars(options).items() if name != "pool"})
    if request.by_cost and not request.dry_run:
        from benchmarks.execution import costing

        costing.measure(request)
    plans = request.plans()
    if request.dry_run:
        print("\n".join([listing(plans), *_seeds_needed(request.output, plans)]))
        return 0
    from benchmarks.execution import grid
    from reports.build import NothingToReport, Report, build

    def report(setting: str, output: Path, runs: Sequence[Run]) -> Report:
        try:
            return build(setting, output, runs, pool=options.pool)
        except NothingToReport as error:
            raise UserError(f"{error} The runs are kept.") from error

    return grid.run(request, plans, report)


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
