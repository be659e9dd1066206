"""Checks made once a run: a network or a strategy that does not do its part is named and not trained on."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from art import Strategy
from benchmarks.config.errors import UserError

_NAMED = 3  # parameters that a message names


def check_update(strategy: Strategy, name: str, parameters: Sequence[nn.Parameter]) -> None:
    """Look at the weights and gradients after a strategy's first :meth:`art.Strategy.backward`.

    Args:
        strategy: with K tasks.
        name: of the strategy, as messages say it.
        parameters: of the network.

    Raises:
        UserError: for weights that are not K numbers (NaN stands for none), and where no parameter has a gradient.
    """
    count, weights = len(strategy.tasks), strategy.weights
    if tuple(weights.shape) != (count,):
        raise UserError(
            f"strategy {name!r}: its weights are {tuple(weights.shape)}; it must give one for each of {count} tasks."
        )
    if all(parameter.grad is None for parameter in parameters):
        raise UserError(
            f"strategy {name!r} left no gradient on any of the network's parameters; its backward() must call "
            "backward() on the loss, or its scalarizer return a loss that depends on the task losses."
        )


def check_end(network: nn.Module, learned: bool, name: str) -> None:
    """Look at a network after its last step.

    Args:
        network: what was trained.
        learned: whether any gradient was other than 0.
        name: of the strategy.

    Raises:
        UserError: for weights or buffers that are not finite, and where nothing was learned.
    """
    if broken := [key for key, value in network.state_dict().items() if not value.isfinite().all()]:
        others = f" and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
        raise UserError(f"the network's weights are not finite at the end: {', '.join(broken[:_NAMED])}{others}.")
    if not learned:
        raise UserError(f"nothing was learned: with strategy {name!r} every gradient was 0 at every step.")
