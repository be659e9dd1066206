"""Gradients of single task losses, and the layer at whose place strategies look inside a network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from art.shapes import Scalar


def task_gradients(
    losses: Sequence[Scalar | None], parameters: Sequence[nn.Parameter], retain: bool = False
) -> Float[Tensor, "tasks numbers"]:
    """The Jacobian of task losses: (len(losses), P) float32, for P numbers in all parameters.

    Args:
        losses: scalars with graph; ``None`` gives a row of 0.
        parameters: what to differentiate for; 0 where a loss does not depend on one.
        retain: keep the last graph for a further backward pass.
    """
    ends = [0]
    for parameter in parameters:
        ends.append(ends[-1] + parameter.numel())
    rows = torch.zeros(len(losses), ends[-1], device=parameters[0].device)
    given = [(number, loss) for number, loss in enumerate(losses) if loss is not None]
    for number, loss in given:
        keep = retain or number < given[-1][0]
        gradients = torch.autograd.grad(loss, parameters, retain_graph=keep, allow_unused=True)
        for start, end, gradient in zip(ends, ends[1:], gradients, strict=False):
            if gradient is not None:  # pyright: ignore[reportUnnecessaryComparison] (torch: None where unused)
                rows[number, start:end] = gradient.reshape(-1)
    return rows


def add_to_gradients(update: Float[Tensor, " numbers"], parameters: Sequence[nn.Parameter]) -> None:
    """Add an update, P numbers for all parameters, to their ``.grad``."""
    start = 0
    for parameter in parameters:
        part = update[start : start + parameter.numel()].view_as(parameter)
        if parameter.grad is None:
            parameter.grad = torch.empty_like(parameter).copy_(part)  # in the parameter's memory layout
        else:
            parameter.grad = parameter.grad.add(part.to(parameter.dtype))
        start += parameter.numel()


def no_output_layer(network: nn.Module | None) -> str | None:
    """Why :func:`output_layer` cannot find the layer, or ``None`` if it can or there is no network yet."""
    if network is None or isinstance(getattr(network, "output_layer", None), str):
        return None
    return f"needs the output layer, and {type(network).__name__} does not name its own (attribute `output_layer`)"


def output_layer(network: nn.Module) -> nn.Module:
    """The network's last layer, which its attribute ``output_layer`` names as a submodule."""
    return network.get_submodule(str(network.output_layer))
