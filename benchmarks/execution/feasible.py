"""What the runs of a grid cannot do, said before anything is trained: strategies, networks, processes, mixing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.config.errors import UserError
from benchmarks.training import distributed, schedules


def check_schedules(plans: Sequence) -> None:
    """Refuse schedules whose rates cannot be computed."""
    for plan in plans:
        schedules.check(plan.config.train)


def check_strategies(plans: Sequence) -> None:
    """What a strategy cannot do is said before training; those that can do everything need no import for it."""
    import art
    from benchmarks.config import settings

    problems = [
        f"a batch of {plan.config.train.batch} for {distributed.count()} processes; set train.batch higher"
        for plan in plans
        if plan.config.train.batch < distributed.count()
    ]
    for config in (plan.config for plan in plans):
        entry = art.entries().get(config.strategy)
        if entry and entry.universal:  # spares --dry-run the import of torch
            continue
        try:
            strategy = art.make(config.strategy, settings.load(config.setting).task_names)
        except ValueError as error:
            problems.append(str(error))
            continue
        if reason := strategy.unsupported(art.Conditions(processes=distributed.count())):
            problems.append(f"strategy {config.strategy!r} {reason}")
        if reason := strategy.unsupported(art.Conditions(absent_tasks=_leaves_out(config))):
            problems.append(
                f"strategy {config.strategy!r} {reason}; {config.data.mixing} mixing in batches of "
                f"{config.train.batch} leaves some out. Use --set data.mixing=balanced"
            )
    if problems:
        raise UserError("these runs cannot be:", dict.fromkeys(problems))


def tell_epochs(plans: Sequence) -> None:
    """Warn of strategies that act from some epoch on which their run never reaches."""
    import art
    from benchmarks.training.schedules import epoch_steps

    known, told = art.entries(), []
    for config in (plan.config for plan in plans):
        name = art.parse(config.strategy)[0]
        needed = known[name].epochs if name in known else 0
        epoch = epoch_steps(config.train, config.train.steps)  # at most
        if needed and config.train.steps <= needed * epoch:
            told.append(
                f"warning: {config.strategy} acts after {needed} epochs of {epoch} steps, and a run of "
                f"{config.train.steps} steps ends before; train longer, or --set train.epoch lower."
            )
    for sentence in dict.fromkeys(told):
        print(sentence, file=sys.stderr)


def _leaves_out(config: Any) -> bool:
    """Whether batches of this run may lack a task."""
    from benchmarks.config import settings

    if config.data.mixing == "stratified":
        lengths = [task.list_length for task in settings.load(config.setting).tasks]
        return config.train.batch * min(lengths) < sum(lengths)
    return config.data.mixing == "shuffled"


def check_networks(plans: Sequence) -> None:
    """Patch sizes that a network cannot take, and strategies that cannot look inside it."""
    import art
    import baselines
    from benchmarks.config import settings

    problems, networks = set(), {}
    for config in (plan.config for plan in plans):
        key = config.baseline, config.size
        try:
            network = networks[key] = networks.get(key) or baselines.build(*key)
        except ValueError as error:
            problems.add(str(error))
            continue
        if config.train.patch % network.multiple:
            problems.add(
                f"{key[0]} needs patches of a multiple of {network.multiple}; train.patch={config.train.patch}"
            )
        strategy = art.make(config.strategy, settings.load(config.setting).task_names)
        if reason := strategy.unsupported(art.Conditions(network=network)):
            problems.add(f"strategy {config.strategy!r} {reason}")
    if problems:
        raise UserError("these runs cannot be:", sorted(problems))
