"""Measuring what a training step costs with a strategy, over mix's: the two in turn, images and all."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from benchmarks.config.configuration import Config
from benchmarks.config.errors import UserError
from benchmarks.data import sources
from benchmarks.data.pools import Pool
from benchmarks.execution import environment, feasible, grid
from benchmarks.execution.locks import locked
from benchmarks.execution.plan import Plan
from benchmarks.execution.request import GridRequest
from benchmarks.execution.step_cost import StepCost
from benchmarks.execution.timing import interleaved
from benchmarks.training import distributed, precision
from benchmarks.training.loop import Training
from benchmarks.training.schedules import encoder_warmup_steps
from results import Run
from results.command import announce
from results.visible import visible

ROUNDS = 30  # steps of each of the two, after
WARM, WARM_GPU = 3, 15  # that are not measured; on a GPU until its steps are recorded as graphs


def measure(request: GridRequest) -> None:
    """Measure the strategies of a request by cost that have no ratio in its output folder yet, and keep all ratios.

    Raises:
        UserError: for what cannot be trained, and where that cannot be measured here as it is where the runs will be.
    """
    setting, costs = request.loaded, request.costs
    configs = request.raced_by_cost(request.configs(setting))
    lacking = list(
        {(costs.place(config), config.strategy): config for config in configs if not costs.ratio(config)}.values()
    )
    if lacking and (request.elsewhere or distributed.several()):
        names = ", ".join(sorted({config.strategy for config in lacking}))
        raise UserError(
            f"the cost of {names} cannot be measured here as it is where the runs will be; measure it there by a run "
            "without --cluster, --slurm or torchrun, or give it: --cost-ratio STRATEGY=RATIO."
        )
    if staged := [config for config in lacking if config.data.mixing.startswith("sequential")]:
        raise UserError(
            f"what a step of {staged[0].strategy} costs changes with the tasks that join in with data.mixing="
            f"{staged[0].data.mixing}, and is not measured; give it: --cost-ratio STRATEGY=RATIO."
        )
    grid.check_output(request.output)
    plans = [Plan.of(setting, config, request.output) for config in lacking]
    feasible.check(plans)
    feasible.check_networks(plans)
    device = environment.device(environment.used(request.device, request.gpus)[0])
    for plan in plans:
        precision.check(plan.config.train, device)
    with locked(request.cache / ".lock"):  # two commands must not make the same cache at once
        pools = sources.prepare(setting, lacking[0].data, (), request.cache).train if lacking else ()
    for config in lacking:
        announce(f"Measuring what a step of {config.strategy} costs on {config.baseline}, over mix's.")
        try:
            cost = _measured(config, pools, device)
        except Exception as error:  # a strategy or network of a user may raise anything
            raise UserError(
                f"the cost of {config.strategy} on {config.baseline} cannot be measured, for a step failed "
                f"({type(error).__name__}: {visible(error)}); leave it out, or give it: --cost-ratio STRATEGY=RATIO."
            ) from error
        costs.keep(config, cost)
    for config in configs:
        if config.strategy in costs.given:
            costs.keep(config, StepCost(ratio=costs.given[config.strategy]))


def _measured(config: Config, pools: Sequence[Pool], device: torch.device) -> StepCost:
    if config.train.compile == "auto":  # nothing may be compiled among the measured steps
        config = config.model_copy(update={"train": config.train.model_copy(update={"compile": "off"})})
    mix = config.model_copy(update={"strategy": "mix", "definition": 1})
    before = torch.get_num_threads()
    torch.set_num_threads(config.train.threads)
    try:
        with tempfile.TemporaryDirectory() as folder:
            ways = {
                way: _stepper(Training(chosen, pools, Run(Path(folder, way)), device))
                for way, chosen in (("mix", mix), ("strategy", config))
            }
            seconds = interleaved(ways, ROUNDS, WARM_GPU if device.type == "cuda" else WARM)
    finally:
        torch.set_num_threads(before)
    return StepCost(
        ratio=round(seconds["strategy"] / seconds["mix"], 4),
        mix_ms=round(1000 * seconds["mix"], 3),
        ms=round(1000 * seconds["strategy"], 3),
        device=device.type,
    )


def _stepper(training: Training) -> Callable[[], None]:
    """A call that takes the next step of a training past its encoder's warm-up, images and all, and waits for it."""
    last = training.config.train.steps - 1
    first = training.step = min(last, encoder_warmup_steps(training.config.train))

    def step() -> None:
        training.update(training.batches(training.step))
        if training.step > last:
            training.step = first
        if training.device.type == "cuda":
            torch.cuda.synchronize()

    return step
