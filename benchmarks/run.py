"""Train baselines with strategies on a setting, score them, and tabulate the gains.

python -m benchmarks.run --setting three_task
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import textwrap
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from benchmarks.config.errors import UserError, tell_notes
from benchmarks.execution import feasible
from benchmarks.training import distributed
from results.command import announce, framed, leave, waits_for
from results.records import State

# glibc returns freed tensors to the system by default; keeping them makes CPU training 15-35 % faster. Set before the
# worker processes start, which is when it takes effect.
_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TRIM_THRESHOLD_": "268435456"}


def parser() -> argparse.ArgumentParser:
    """The command line; its help lists everything by name without importing torch."""
    import art
    import baselines
    from benchmarks.config import settings

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
    own = "package.module:Class, which imports that module and so runs its code"
    lines = [
        f"baselines (your own: {own}; described in package/module.toml):",
        *known,
        "",
        f"strategies (with parameters: art:tau=1; your own: {own}; package.module:Class:a=b):",
    ]
    result = argparse.ArgumentParser(
        "python -m benchmarks.run",
        description="Train baselines with strategies on a setting, score them, and tabulate the gains over mix.",
        epilog="\n".join([*lines, *strategies]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = result.add_argument
    add("--setting", required=True, help=f"one of: {', '.join(settings.names())}")
    add("--baselines", nargs="+", default=["transweather", "airnet"], metavar="NAME",
        help="names from below, package.module:Class, or: all")  # fmt: skip
    add("--strategies", nargs="+", default=["mix", "art"], metavar="SPEC", help="or: all")
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
    add("--dry-run", action="store_true", help="list the runs, their state and cost, and stop")
    add("--fresh", action="store_true", help="run again what is there already; the old runs are kept aside")
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code, which is 1 if a run failed (others: :mod:`results.command`)."""
    leads = not distributed.is_follower()

    def work() -> int:
        options = parser().parse_args(arguments)
        if leads:
            grid = f"{', '.join(options.baselines)} with {', '.join(options.strategies)}"
            announce(textwrap.shorten(f"Preparing runs on {options.setting}: {grid}", 100, placeholder=" ..."))
        return _together(options) if distributed.several() else _main(options)

    return framed(work, UserError, "interrupted; the same command continues.", leads, again=not distributed.several())


def _together(options: argparse.Namespace) -> int:
    """The command as one of the processes that torchrun started; the first of them talks and writes."""
    from benchmarks.execution import environment

    if options.cluster:
        raise UserError("torchrun and --cluster are two ways to use several machines; take one.")
    if options.jobs not in (None, 1):
        raise UserError("under torchrun all processes work on one run at a time; leave out --jobs.")
    options.jobs = 1
    device = environment.device(options.device)
    if device.type == "mps":
        raise UserError("torchrun's processes cannot share an Apple GPU; leave out torchrun, or use --device cpu.")
    options.device = str(distributed.join(device))
    try:
        if distributed.is_follower():
            with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
                return _main(options)
        return _main(options)
    finally:
        distributed.leave()


def _main(options: argparse.Namespace) -> int:
    from benchmarks.config import settings
    from benchmarks.execution import aside, grid

    for name, value in _MEMORY.items():
        os.environ.setdefault(name, value)
    plans = _plans(options)
    feasible.check_schedules(plans)
    feasible.check_strategies(plans)
    feasible.tell_epochs(plans)
    states = [grid.state(plan) for plan in plans]
    if options.dry_run:
        print(_listing(plans, states))
        _tell_files(plans[0].config)
        return 0
    _check_output(options.output)
    if options.fresh and not distributed.is_follower():
        aside.put([plan.folder for plan in plans], options.output)
        states = [grid.state(plan) for plan in plans]
    if distributed.several():
        states = distributed.current().same(states)  # before the first process changes them
    images: list = []
    if not distributed.several() and "done" in states:
        states, images = _again(plans, states, options)
    wanted = [plan for plan, state in zip(plans, states, strict=True) if state != "done"]
    uri = "none" if distributed.is_follower() else options.tracking_uri or _default_uri(options.output)
    announce(f"{settings.load(options.setting).title}: {len(plans)} runs, {len(plans) - len(wanted)} done already.")
    changed = sum(grid.replaced(plan) for plan in wanted if grid.state(plan) == "new")
    if changed:
        print(f"The training images have changed since {changed} of these runs were done; they are done anew.")
    command = _command(options)
    if wanted:
        images = _check(wanted, options, images)
    uri = _prepared_tracking(uri, options)
    outcomes = _train(wanted, options, uri, command, images) if wanted else {}
    return 0 if distributed.is_follower() else _report(plans, outcomes, options, uri, command)


def _again(plans: Sequence, states: list[str], options: argparse.Namespace) -> tuple[list[str], list]:
    """The states, where finished runs saw other images than those that are there now under the same names; and the
    records of the images that are there."""
    from benchmarks.execution import aside, grid
    from benchmarks.execution.locks import Busy, locked
    from results.integrity import differing
    from results.records import Role

    try:
        records = _opened(plans, options).records
    except UserError as error:
        if set(states) != {"done"}:
            raise
        print(f"warning: the images were not looked at again: {error}", file=sys.stderr)  # nothing depends on them
        return states, []
    anew, sets = [], set()
    for plan, state in zip(plans, states, strict=True):
        if state != "done":
            continue
        if differing(plan.run.data, records, Role.TRAIN):
            anew.append(plan)
            continue
        with suppress(Busy), locked(plan.folder / ".lock", wait=False):
            sets |= set(grid.forget_other_scores(plan.run, records))
    if anew:
        aside.put([plan.folder for plan in anew], options.output)
        print(f"The training images have changed since {len(anew)} of these runs were done; they are done anew.")
    if sets:
        told = f"The test images of {', '.join(sorted(sets))} have changed since some of these runs were scored"
        print(f"{told}; those are scored again.")
    return [grid.state(plan) for plan in plans], records


def _opened(plans: Sequence, options: argparse.Namespace) -> Any:
    """The data of the grid, checked and opened; decoded images are cached, and what is to be noted is told."""
    from benchmarks.config import settings
    from benchmarks.data import sources
    from benchmarks.execution.locks import locked

    config, cache = plans[0].config, options.output / "cache"
    with locked(cache / ".lock"):  # two commands must not make the same cache at once
        prepared = sources.prepare(
            settings.load(config.setting), config.data, config.evaluate.extra, cache,
            protocol=config.evaluate.protocol, patch=max(plan.config.train.patch for plan in plans),
        )  # fmt: skip
    tell_notes(prepared.notes)
    return prepared


def _plans(options: argparse.Namespace) -> list:
    """Every run of the grid, resolved; unknown names stop here."""
    import art
    import baselines
    from benchmarks.config import data_sets, protocols, settings
    from benchmarks.config.configuration import resolve
    from benchmarks.config.sections import DataConfig
    from benchmarks.data import sources
    from benchmarks.execution import grid

    if options.jobs is not None and options.jobs < 1:
        raise UserError(f"--jobs {options.jobs}: at least one run at a time is needed.")
    try:
        (options.output / "runs").exists()
    except OSError as error:
        raise UserError(f"the output folder {options.output} cannot be: {error.strerror}.") from error
    setting = settings.load(options.setting)
    data = DataConfig()
    if options.data_root is not None:
        data = DataConfig(source="files", root=str(options.data_root.resolve()), missing=options.missing)
    overrides = list(options.overrides)
    if options.probe_conflicts is not None:
        overrides.append(f"train.probe_every={options.probe_conflicts}")
    if options.metrics:
        overrides.append(f"evaluate.metrics={','.join(options.metrics)}")
    names = baselines.names() if options.baselines == ["all"] else options.baselines
    specs = art.names() if options.strategies == ["all"] else options.strategies
    chosen = resolve(options.setting, names[0], specs[0], data=data, overrides=overrides).data
    data = data.model_copy(update={"fingerprint": sources.fingerprint(setting, chosen)})
    plans = {}
    for baseline in names:
        for spec in specs:
            for seed in options.seeds:
                config = resolve(
                    options.setting, baseline, spec, seed=seed, profile=options.profile,
                    size=options.size, data=data, overrides=overrides,
                )  # fmt: skip
                plan = grid.plan(config, options.output)
                plans[plan.folder] = plan  # the same run named twice (art, art:tau=0.1) is one
    config = next(iter(plans.values())).config
    protocols.get(config.evaluate.protocol)
    for name in config.evaluate.extra:
        data_sets.get(name)
    return list(plans.values())


def _check_output(output: Path) -> None:
    from results import check_writable

    if re.search(r"[\x00-\x1f\x7f]", str(output)):
        raise UserError(f"the output folder {output} has a line end or another control character in its name.")
    try:
        check_writable(output)
    except OSError as error:
        raise UserError(f"the output folder {output} {error.strerror}; name another one by --output.") from error


def _default_uri(output: Path) -> str:
    from benchmarks.execution.tracking import default_uri

    return default_uri(output)


def _command(options: argparse.Namespace) -> str:
    """The grid in words, the same for the same request."""
    parts = [f"--setting {options.setting}", "--baselines", *options.baselines, "--strategies", *options.strategies]
    parts += ["--seeds", *map(str, options.seeds), "--profile", options.profile]
    parts += [f"--size {options.size}"] if options.size else []
    parts += [f"--data-root {options.data_root} --missing {options.missing}"] if options.data_root else []
    parts += ["--set", *options.overrides] if options.overrides else []
    return " ".join(parts)


def _prepared_tracking(uri: str, options: argparse.Namespace) -> str:
    """The MLflow store, made ready for several processes; ``none`` where it cannot be used, which is told."""
    if uri == "none":
        return uri
    from benchmarks.execution import tracking
    from benchmarks.execution.addresses import shown
    from benchmarks.execution.locks import locked

    with locked(options.output / "cache" / ".lock"):  # two commands must not create it at once
        trouble = tracking.prepare(uri, options.setting, options.output)
    if trouble:
        print(
            f"warning: no tracking, MLflow at {shown(uri)} failed ({trouble}); the same command logs the runs later.",
            file=sys.stderr,
        )
    return tracking.NONE if trouble else uri


def _check(wanted: Sequence, options: argparse.Namespace, images: list) -> list:
    """Everything that can be said before training: device, data (the cache is made as well), networks, checkpoints.

    Returns:
        The records of the ``images``, which are opened where there are none yet.
    """
    from benchmarks.execution import environment
    from benchmarks.scoring import metrics
    from benchmarks.training.checkpoint import latest

    device = environment.device("cpu" if options.cluster else options.device)  # of a cluster, its workers see to it
    images = images or _opened(wanted, options).records
    metrics.further(wanted[0].config.evaluate.metrics, device)
    feasible.check_networks(wanted)
    for plan in wanted:
        latest(plan.folder, plan.config)
    return images


def _train(wanted: Sequence, options: argparse.Namespace, uri: str, command: str, images: list) -> dict:
    """Do the runs; what became of each, by its folder."""
    from benchmarks.execution import environment, grid
    from benchmarks.execution.overview import Overview

    if options.cluster:
        from benchmarks.execution import cluster

        with Overview(wanted), waits_for("the checkpoints of the workers' runs are collected"):
            return cluster.run_all(wanted, options.cluster, options.device, command, images)
    device = environment.device(options.device)
    devices = environment.devices(device)
    jobs = options.jobs or (_parallel(wanted) if device.type == "cpu" else len(devices))
    cache = options.output / "cache"
    with nullcontext() if distributed.is_follower() else Overview(wanted):
        return grid.run_all(wanted, jobs, devices, cache=cache, tracking_uri=uri, command=command)


def _parallel(wanted: Sequence) -> int:
    """As many runs as have their threads on the CPU."""
    return max(1, (os.cpu_count() or 1) // max(plan.config.train.threads for plan in wanted))


def _report(plans: Sequence, outcomes: dict, options: argparse.Namespace, uri: str, command: str) -> int:
    from benchmarks.execution import grid
    from benchmarks.execution.locks import locked
    from reports.build import NothingToReport, build

    try:
        with locked(options.output / "reports" / ".lock"):
            report = build(options.setting, options.output, runs=[plan.run for plan in plans])
    except NothingToReport as error:
        raise UserError(f"{error} The runs are kept.") from error
    print(report.text)
    ends = [(plan, outcomes.get(plan.folder) or grid.status(plan)) for plan in plans]
    failed = [(plan, end) for plan, end in ends if end.state == State.FAILED]
    if failed:
        print(f"{len(failed)} of {len(plans)} runs failed; the same command tries them again.", file=sys.stderr)
    for plan, end in failed:
        print(f"failed: {plan.title}: {end.reason}\n        {plan.folder}", file=sys.stderr)
    if uri != "none":
        from benchmarks.execution.tracking import log_summary, mirror, viewer

        mirror(uri, [plan.run for plan in plans], command)
        trouble = log_summary(uri, options.setting, command, report.files)
        if trouble:
            print(f"warning: the report is not in MLflow ({trouble}).", file=sys.stderr)
        print(f"MLflow:  {viewer(uri)}")
    return 1 if failed else 0


def _listing(plans: Sequence, states: Sequence[str]) -> str:
    """The runs with their state and cost, for ``--dry-run``."""
    from benchmarks.execution.cost import estimate
    from benchmarks.execution.overview import duration

    rows, total = [], 0.0
    for plan, state in zip(plans, states, strict=True):
        seconds = 0.0 if state == "done" else estimate(plan)
        total += seconds
        train = plan.config.train
        size = f"{plan.config.size}, {train.steps} steps of {train.batch} x {train.patch}x{train.patch}"
        rows.append(f"  {plan.title:34} {state:9} {size:40} about {duration(seconds):>10}  {plan.folder}")
    todo = sum(state != "done" for state in states)
    rows.append(f"{len(plans)} runs, {todo} to do, about {duration(total)} of training one after another on this CPU.")
    return "\n".join(rows + _gpu_hours(plans))


def _tell_files(config: Any) -> None:
    """What is to be noted about the image files, which ``--dry-run`` does not open."""
    from benchmarks.config import settings
    from benchmarks.data import sources

    tell_notes(sources.notes(settings.load(config.setting), config.data, config.evaluate.extra))


def _gpu_hours(plans: Sequence) -> list[str]:
    """What the published schedules need, from their operations: step times are known for a CPU only."""
    from benchmarks.execution.cost import operations

    published = {plan.config.baseline: plan for plan in reversed(plans) if plan.config.profile == "paper"}
    lines = ["", "One training on a GPU that sustains 20 TFLOP/s (arithmetic, no measurement):"] if published else []
    for name, plan in published.items():
        done = operations(plan)
        told = f"{done / 20e12 / 3600:,.0f} GPU-hours ({done / 1e18:.2g} EFLOP)" if done else "no gmac in its [cost]"
        lines.append(f"  {name:14} {told}")
    return lines


if __name__ == "__main__":
    leave(main())
