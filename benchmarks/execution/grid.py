"""A grid done: its data opened, what is left of its runs done here or on a cluster, its report written."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import joblib

from benchmarks.config import protocols
from benchmarks.config.errors import UserError, tell_notes
from benchmarks.data import sources
from benchmarks.data.pools import Prepared
from benchmarks.execution import (
    aside,
    cluster,
    continuing,
    environment,
    feasible,
    local,
    slurm,
    slurm_queues,
    tracking,
)
from benchmarks.execution.addresses import shown
from benchmarks.execution.job import ExecutionContext, forget_other_scores
from benchmarks.execution.locks import Busy, locked
from benchmarks.execution.plan import Plan, Todo
from benchmarks.execution.progress import ProgressView
from benchmarks.execution.request import GridRequest
from benchmarks.execution.slurm_options import SlurmOptions
from benchmarks.scoring import arithmetic, metrics
from benchmarks.training import distributed, precision
from benchmarks.training.checkpoint import latest
from results import Run, Status, check_writable
from results.command import announce, waits_for
from results.integrity import differing
from results.records import Role, State


class Report(Protocol):
    """What a command's reporter has made."""

    @property
    def text(self) -> str:
        """The tables for a terminal."""
        ...

    @property
    def files(self) -> Sequence[Path]:
        """What was written, tables first."""
        ...


Reporter = Callable[[str, Path, Sequence[Run]], Report]
"""Makes the report of a setting's runs below an output folder."""


def run(request: GridRequest, plans: Sequence[Plan], reporter: Reporter) -> int:
    """Do what is left of the plans and report on all of them; returns the exit code, 1 if a run failed.

    Under ``torchrun`` every process calls this; the first of them writes.

    Raises:
        UserError: for whatever the user can mend.
        KeyboardInterrupt: after runs at work were saved.
    """
    if not distributed.several():
        return _run(request, plans, reporter)
    device = environment.device(request.device)
    if device.type == "mps":
        raise UserError("torchrun's processes cannot share an Apple GPU; leave out torchrun, or use --device cpu.")
    request = replace(request, jobs=1, device=str(distributed.join(device)))
    try:
        return _run(request, plans, reporter)
    finally:
        distributed.leave()


def _run(request: GridRequest, plans: Sequence[Plan], reporter: Reporter) -> int:
    check_output(request.output)
    if request.jobs_of_slurm:
        slurm_queues.check(request.jobs_of_slurm, request.output)
    leads = not distributed.is_follower()
    if request.fresh and leads:
        aside.put([plan.folder for plan in plans], request.output)
    todos = distributed.current().same([plan.todo for plan in plans])  # before the first process changes them
    data = None
    if Todo.NOTHING in todos and not distributed.several():
        data = _reopened(request, plans, todos)
        todos = [plan.todo for plan in plans]
    left = [plan for plan, todo in zip(plans, todos, strict=True) if todo != Todo.NOTHING]
    announce(f"{plans[0].setting.title}: {len(plans)} runs, {len(plans) - len(left)} done already.")
    changed = sum(plan.replaces_another() for plan, todo in zip(plans, todos, strict=True) if todo == Todo.START)
    _print_changed(changed)
    if left:
        for words in continuing.told(left):
            announce(words)
        data = check(request, left, data)
    uri = prepared_store(request, plans[0].setting.name) if leads else tracking.NONE
    outcomes = execute(request, left, uri, data) if left and data else {}
    return _report(request, plans, outcomes, uri, reporter) if leads else 0


def check_output(output: Path) -> None:
    """Whether the output folder can be written.

    Raises:
        UserError: if not.
    """
    if re.search(r"[\x00-\x1f\x7f]", str(output)):
        raise UserError(f"the output folder {output} has a line end or another control character in its name.")
    try:
        check_writable(output)
    except OSError as error:
        raise UserError(f"the output folder {output} {error.strerror}; name another one by --output.") from error


def _reopened(request: GridRequest, plans: Sequence[Plan], todos: Sequence[Todo]) -> Prepared | None:
    """The data, after runs were put aside that saw other training images under the same names, and scores of other test
    images; ``None`` where they cannot be opened and nothing depends on them."""
    try:
        data = _opened(request, plans)
    except UserError as error:
        if set(todos) != {Todo.NOTHING}:
            raise
        print(f"warning: the images were not looked at again: {error}", file=sys.stderr)
        return None
    changed: list[Plan] = []
    rescored: set[str] = set()
    for plan in (plan for plan, todo in zip(plans, todos, strict=True) if todo == Todo.NOTHING):
        if differing(plan.run.data, data.records, Role.TRAIN):
            changed.append(plan)
            continue
        with suppress(Busy), locked(plan.folder / ".lock", wait=False):
            rescored |= set(forget_other_scores(plan.run, data.records))
    aside.put([plan.folder for plan in changed], request.output)
    _print_changed(len(changed))
    if rescored:
        names = ", ".join(sorted(rescored))
        print(f"The test images of {names} have changed since some of these runs were scored; those are scored again.")
    return data


def _print_changed(count: int) -> None:
    if count:
        print(f"The training images have changed since {count} of these runs were done; they are done anew.")


def _opened(request: GridRequest, plans: Sequence[Plan]) -> Prepared:
    """The data of the grid, checked and opened; decoded images are cached, and notes on them printed."""
    setting, config = plans[0].setting, plans[0].config
    with locked(request.cache / ".lock"):  # two commands must not make the same cache at once
        data = sources.prepare(
            setting, config.data, config.evaluate.extra, request.cache,
            protocol=config.evaluate.protocol, patch=max(plan.config.train.patch for plan in plans),
        )  # fmt: skip
    tell_notes(data.notes)
    return data


def check(request: GridRequest, plans: Sequence[Plan], data: Prepared | None) -> Prepared:
    """Check all that can be checked before training: device, data, metrics, networks, checkpoints.

    Returns:
        The data, which are opened if they are not yet.
    """
    check_runs(request, plans)
    data = data or _opened(request, plans)
    continuing.check_images(plans, data.records)
    for plan in plans:
        latest(plan.folder, plan.config, len(plan.setting.tasks))
    return data


def check_runs(request: GridRequest, plans: Sequence[Plan]) -> str:
    """Check what needs no images: device, precision, metrics, networks, strategies.

    Returns:
        The kind of this machine's device, ``cpu`` or ``cuda``; ``cpu`` where the runs are done elsewhere.

    Raises:
        UserError: for what cannot be.
    """
    device = environment.device("cpu" if request.elsewhere else environment.used(request.device, request.gpus)[0])
    for plan in () if request.elsewhere else plans:
        precision.check(plan.config.train, device)
        arithmetic.check(protocols.get(plan.config.evaluate.protocol), device)
    metrics.further(plans[0].config.evaluate.metrics, device)
    feasible.check_networks(plans)
    return device.type


def prepared_store(request: GridRequest, experiment: str) -> str:
    """Address of the MLflow store, prepared for several processes; ``none`` where it cannot be used."""
    uri = request.tracking_uri or tracking.default_uri(request.output)
    if uri == tracking.NONE:
        return uri
    with locked(request.cache / ".lock"):  # two commands must not create it at once
        problem = tracking.prepare(uri, experiment, request.output)
    if not problem:
        return uri
    print(
        f"warning: no tracking, MLflow at {shown(uri)} failed ({problem}); the same command logs the runs later.",
        file=sys.stderr,
    )
    return tracking.NONE


def execute(
    request: GridRequest, plans: Sequence[Plan], uri: str, data: Prepared, command: str | None = None
) -> dict[Path, Status]:
    """Do the runs; what became of each, by its folder.

    Args:
        request: where and how many at a time.
        plans: the runs.
        uri: of the MLflow store.
        data: what they train on.
        command: in words, where it is not the request's.
    """
    command = command or request.command
    with nullcontext() if distributed.is_follower() else ProgressView(plans):
        if request.cluster:
            with waits_for("the checkpoints of the workers' runs are collected"):
                return cluster.run_all(plans, request.cluster, request.device, command, data.records)
        if request.jobs_of_slurm:
            return _as_jobs(request.jobs_of_slurm, request, plans, uri, data, command)
        context = ExecutionContext(request.cache, request.device, uri, command, data=data)
        return local.run_all(plans, jobs(request, plans), environment.used(request.device, request.gpus), context)


def _as_jobs(
    options: SlurmOptions, request: GridRequest, plans: Sequence[Plan], uri: str, data: Prepared, command: str
) -> dict[Path, Status]:
    """Do the runs as jobs of Slurm; MLflow gets them as they end.

    Jobs log themselves only where the store is a server without a password: a SQLite file takes no writers from several
    machines, and what a job is given is written to a file.
    """
    there = uri if tracking.reachable_by_jobs(uri) else tracking.NONE
    context = ExecutionContext(request.cache.absolute(), request.device, there, command, expected=data.records)
    trials = any(plan.trial for plan in plans)
    return slurm.run_all(
        plans, options, request.output, context, lambda plan: tracking.mirror(uri, [plan.run], command, trials)
    )


def jobs(request: GridRequest, plans: Sequence[Plan]) -> int:
    """How many runs are at work at a time: as asked for, else one on a GPU, or as many as have their threads on a
    CPU."""
    devices = environment.used(request.device, request.gpus)
    return request.jobs or (_cpu_jobs(plans) if devices == ["cpu"] else len(devices))


def _cpu_jobs(plans: Sequence[Plan]) -> int:
    """As many runs at a time as have their threads on the CPU."""
    return max(1, joblib.cpu_count() // max(plan.config.train.threads for plan in plans))


def _report(
    request: GridRequest, plans: Sequence[Plan], outcomes: Mapping[Path, Status], uri: str, reporter: Reporter
) -> int:
    """Write and print the report and what failed, mirror both; returns the exit code."""
    setting = plans[0].setting.name
    with locked(request.output / "reports" / ".lock"):
        report = reporter(setting, request.output, [plan.run for plan in plans])
    print(report.text)
    failed = {plan: status for plan in plans if (status := outcomes.get(plan.folder) or plan.status).state in _FAILED}
    if failed:
        print(f"{len(failed)} of {len(plans)} runs failed; the same command tries them again.", file=sys.stderr)
    for plan, status in failed.items():
        mends = "; the same command mends it." * (status.state == State.DAMAGED)
        print(f"failed: {plan.title}: {status.reason}{mends}\n        {plan.folder}", file=sys.stderr)
    if uri != tracking.NONE:
        tracking.mirror(uri, [plan.run for plan in plans], request.command)
        tracking.log_gains(uri, [plan.run for plan in plans])
        if problem := tracking.log_summary(uri, setting, request.command, report.files):
            print(f"warning: the report is not in MLflow ({problem}).", file=sys.stderr)
        print(f"MLflow:  {tracking.viewer(uri)}")
    return 1 if failed else 0


_FAILED = (State.FAILED, State.DAMAGED)
