"""What the runs of a grid cannot do, said before anything is trained."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Sequence

import art
import baselines
from art.registry import weights_only
from art.specs import known
from benchmarks.config.errors import UserError
from benchmarks.config.mixing import Cooldown, Mixing, Temperature
from benchmarks.config.shares import rates_at_the_ends
from benchmarks.execution.plan import Plan
from benchmarks.training import distributed, schedules
from results.visible import visible


def check(plans: Sequence[Plan]) -> None:
    """Check schedules, batches and strategies; warn of strategies that would never act.

    Strategies that work everywhere are not built, which spares ``--dry-run`` the import of torch.

    Raises:
        UserError: with everything that cannot be.
    """
    for plan in plans:
        schedules.check(plan.config.train)
    processes, entries = distributed.count(), art.entries()
    problems = [
        f"a batch of {plan.config.train.batch} for {processes} processes; set train.batch higher"
        for plan in plans
        if plan.config.train.batch < processes
    ]
    for plan in plans:
        config = plan.config
        name, _ = art.parse(config.strategy)
        entry = entries.get(name)
        try:
            art.check(config.strategy, plan.setting.task_names)
            if entry and entry.universal and (config.strategy in entries or weights_only(name)):
                continue
            strategy = art.make(config.strategy, plan.setting.task_names)
        except ValueError as error:
            problems.append(str(error))
            continue
        if reason := strategy.unsupported(art.Conditions(processes=processes)):
            problems.append(f"strategy {config.strategy!r} {reason}")
        if reason := strategy.unsupported(art.Conditions(absent_tasks=_leaves_out(plan))):
            problems.append(
                f"strategy {config.strategy!r} {reason}; {config.data.mixing} mixing in batches of "
                f"{config.train.batch} leaves some out. Use --set data.mixing=balanced"
            )
    if problems:
        raise UserError("these runs cannot be:", dict.fromkeys(problems))
    warnings = [say(plan) for plan in plans for say in (_never_acts, _never_trains, _tells_none_apart)]
    for warning in dict.fromkeys(filter(None, warnings)):
        print(f"warning: {warning}", file=sys.stderr)


def _never_acts(plan: Plan) -> str:
    """What to say of a strategy that acts from an epoch on that its run does not reach."""
    train, strategy = plan.config.train, plan.config.strategy
    entry = known(strategy)
    epochs = entry.epochs if entry else 0
    epoch = schedules.epoch_steps(train, train.steps)  # at most
    if not epochs or train.steps > epochs * epoch:
        return ""
    return (
        f"{strategy} acts after {epochs} epochs of {epoch} steps, and a run of {train.steps} steps ends before; train "
        "longer, or --set train.epoch lower."
    )


def _leaves_out(plan: Plan) -> bool:
    """Whether batches of this run may lack a task."""
    if plan.config.data.mixing == "shuffled":
        return True
    _, rates = rates_at_the_ends(plan.config, plan.setting)
    # every other mixing rounds a task's share of a batch up or down
    return plan.config.train.batch * float(rates.min()) < 1 - 1e-9


def _never_trains(plan: Plan) -> str:
    """What to say of a run that never sees some of its tasks."""
    config = plan.config
    tasks, rates = rates_at_the_ends(config, plan.setting)
    unseen = [task for task, rate in zip(tasks, rates.max(axis=0).tolist(), strict=True) if not rate]
    if not unseen:
        return ""
    return f"{config.data.mixing} mixing in {config.train.steps} steps never trains {', '.join(unseen)}."


def _tells_none_apart(plan: Plan) -> str:
    """What to say of a mixing by the tasks' sizes where all have one size."""
    mixing, tasks = Mixing.parse(plan.config.data.mixing), plan.setting.tasks
    sizes = {task.samples for task in tasks}
    by_size = isinstance(mixing, Temperature | Cooldown) and mixing != Temperature(math.inf)
    if not by_size or len(tasks) == 1 or len(sizes) > 1:
        return ""
    return (
        f"{mixing} mixing draws all tasks alike, as temperature:inf does: each has {sizes.pop():,} samples without "
        "repeats. For other shares use --set data.mixing=rates:TASK=SHARE"
    )


def check_networks(plans: Sequence[Plan]) -> None:
    """Check patch sizes, and strategies that look inside the network; builds the networks.

    Raises:
        UserError: with everything that cannot be.
    """
    build = functools.cache(baselines.build)
    problems: set[str] = set()
    for plan in plans:
        config = plan.config
        try:
            network = build(config.baseline, config.size)
        except ValueError as error:
            problems.add(str(error))
            continue
        except Exception as error:  # a network of a user may raise anything
            problems.add(f"network {config.baseline!r} of size {config.size} cannot be built ({_words(error)})")
            continue
        if config.train.patch % network.multiple:
            problems.add(
                f"{config.baseline} needs patches of a multiple of {network.multiple}; train.patch={config.train.patch}"
            )
        try:
            strategy = art.make(config.strategy, plan.setting.task_names)
            reason = strategy.unsupported(art.Conditions(network=network))
        except ValueError as error:
            problems.add(str(error))
            continue
        if reason:
            problems.add(f"strategy {config.strategy!r} {reason}")
    if problems:
        raise UserError("these runs cannot be:", sorted(problems))


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {visible(error)}".rstrip(": ")
