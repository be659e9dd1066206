"""What a mixing comes to: each task's rate at a step, and shares and passes over a whole training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from benchmarks.config.configuration import Config
from benchmarks.config.mixing import Balanced, Cooldown, Mixing, Rates, Sequential, Temperature
from benchmarks.config.settings import Setting, Task

LAST_STAGE = 4  # times as long as any other stage of sequential learning (MiOIR: 400k steps, and 100k)
_CHUNK = 2**16  # steps at a time

_Steps = Int[np.ndarray, "step"]
_PerStep = Float[np.ndarray, "step"]
_Rates = Float[np.ndarray, "step task"]


def rates(mixing: Mixing, at: _Steps, steps: int, tasks: Sequence[Task]) -> _Rates:
    """Each task's share of the samples at steps ``at`` (0, 1, ...) of a training of ``steps``; a row sums to 1.

    Later steps have the rates of the last one. Of mixings that draw from lists these are the shares on average. A task
    alone has all samples.
    """
    if len(tasks) == 1:
        return np.ones((len(at), 1))
    at = np.minimum(at, steps - 1)
    match mixing:
        case Temperature(temperature):
            return _tempered(np.full(len(at), temperature), tasks)
        case Cooldown(first, last):
            done = at / max(steps - 1, 1)
            return _tempered(first ** (1 - done) * last**done, tasks)
        case Sequential(order):
            return _staged(at, steps, order or tuple(task.name for task in tasks), tasks)
        case Rates(shares):
            given = dict(shares)
            others = sum(task.name not in given for task in tasks)
            rest = max(0.0, 1 - sum(given.values())) / max(others, 1)
            parts = [given.get(task.name, rest) for task in tasks]
        case Balanced():
            parts = [1 for _ in tasks]
        case _:
            parts = [task.list_length for task in tasks]
    return np.tile(np.array(parts) / sum(parts), (len(at), 1))


def rates_at_the_ends(config: Config, setting: Setting) -> tuple[tuple[str, ...], _Rates]:
    """The tasks that a run trains on, and their rates at its first and last step, (2, K).

    The least rate of any step is among them, and a task that both leave out is never trained.
    """
    steps, trained = config.train.steps, _trained(config, setting)
    return trained.task_names, rates(Mixing.parse(config.data.mixing), np.array([0, steps - 1]), steps, trained.tasks)


def _trained(config: Config, setting: Setting) -> Setting:
    """The setting with the tasks that the run trains on: one, of a single-task network."""
    return setting.only([config.terms.task]) if config.terms.task else setting


def expected_shares(mixing: str, setting: Setting, steps: int) -> dict[str, float]:
    """Each task's expected share of all samples that ``steps`` steps draw; they sum to 1.

    Of a list (``shuffled``, ``stratified``) they are its lengths with repeats, over their sum.
    """
    how = Mixing.parse(mixing)
    last = steps if isinstance(how, Cooldown | Sequential) else 1
    chunks = (np.arange(start, min(start + _CHUNK, last)) for start in range(0, last, _CHUNK))
    sums = [rates(how, chunk, steps, setting.tasks).sum(axis=0) for chunk in chunks]
    return dict(zip(setting.task_names, (np.sum(sums, axis=0) / last).tolist(), strict=True))


def expected_epochs(config: Config, setting: Setting, samples: Mapping[str, int]) -> dict[str, float]:
    """Expected passes over each trained task's samples: steps x batch x share / samples.

    Args:
        config: the run.
        setting: its setting.
        samples: distinct samples of every task that is trained, each > 0. A sample that stands in a list several times
            is drawn more often than others; the passes are the mean over all. Several crops of one draw count once.
    """
    train = config.train
    shares = expected_shares(config.data.mixing, _trained(config, setting), train.steps)
    return {task: float(f"{train.steps * train.batch * share / samples[task]:.6g}") for task, share in shares.items()}


def _tempered(temperatures: _PerStep, tasks: Sequence[Task]) -> _Rates:
    """Rates proportional to n^(1/T), from logarithms, so that no power overflows."""
    sizes = np.log([max(task.samples, 1) for task in tasks])
    with np.errstate(over="ignore"):
        powers = np.exp((sizes - sizes.max()) / temperatures[:, None])
    return powers / powers.sum(axis=1, keepdims=True)


def _staged(at: _Steps, steps: int, order: Sequence[str], tasks: Sequence[Task]) -> _Rates:
    """Stage i draws alike from the first i tasks of the order."""
    turns = np.array([order.index(task.name) for task in tasks])
    last = len(tasks) - 1
    stage = np.minimum(at * (last + LAST_STAGE) // steps, last)[:, None]
    return (turns <= stage) / (stage + 1.0)
