"""Complete states of TorchJD's stateful methods, so that a resumed run continues as if never stopped.

Some of them keep part of their state in plain attributes, in buffers made on first use, or in an optimizer of their
own, none of which ``state_dict`` carries.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer
from torchjd import Stateful

_INTERNAL = frozenset(vars(nn.Module()))
_ARRAY, _DTYPE, _OPTIMIZER = "numpy", "dtype", "optimizer"


def hidden_state(module: nn.Module) -> dict[str, dict[str, Any]]:
    """What stateful parts of ``module`` hold in plain attributes: numbers, texts, tensors, arrays, lists of them, and
    optimizers; by the part's name. Safe for ``torch.load(weights_only=True)``."""
    found = {}
    for name, part in module.named_modules():
        if isinstance(part, Stateful):
            kept = {key: _packed(value) for key, value in vars(part).items() if key not in _INTERNAL}
            found[name] = {key: value for key, value in kept.items() if value is not NotImplemented}
    return found


def restore_hidden_state(module: nn.Module, state: Mapping[str, Mapping[str, Any]]) -> None:
    """Put back what :func:`hidden_state` gave."""
    parts = dict(module.named_modules())
    for name, attributes in state.items():
        part = parts[name]
        for key, value in attributes.items():
            if isinstance(value, dict) and _OPTIMIZER in value:
                _restore_optimizer(part, key, value[_OPTIMIZER])
            else:
                setattr(part, key, _unpacked(value))
        if getattr(part, "step", 0) and hasattr(part, "_init_optim_problem"):
            part._init_optim_problem()  # Nash-MTL sets its solver up at step 0 only


def allow_late_buffers(module: nn.Module, state: Mapping[str, Any]) -> None:
    """Make room for buffers of ``state`` that ``module`` creates on first use (GradVac's)."""
    for name, part in module.named_modules():
        for key, value in part._buffers.items():
            stored = state.get(f"{name}.{key}" if name else key)
            if value is None and isinstance(stored, torch.Tensor):
                part._buffers[key] = torch.empty_like(stored)


def _packed(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str | torch.Tensor):
        return value
    if isinstance(value, np.ndarray):
        return {_ARRAY: torch.from_numpy(value.copy())}
    if isinstance(value, torch.dtype):
        return {_DTYPE: str(value).removeprefix("torch.")}
    if isinstance(value, Optimizer):
        return {_OPTIMIZER: value.state_dict()}
    if isinstance(value, list | tuple):
        packed = [_packed(item) for item in value]
        return NotImplemented if NotImplemented in map(_marked, packed) else type(value)(packed)
    return NotImplemented


def _marked(value: Any) -> Any:
    return value if value is NotImplemented else None  # tensors cannot be compared with `in`


def _unpacked(value: Any) -> Any:
    if isinstance(value, dict):
        return getattr(torch, value[_DTYPE]) if _DTYPE in value else value[_ARRAY].numpy()
    if isinstance(value, list | tuple):
        return type(value)(_unpacked(item) for item in value)
    return value


def _restore_optimizer(part: Any, key: str, state: dict[str, Any]) -> None:
    if getattr(part, key) is None:  # FAMO makes its own Adam at its first update
        setattr(part, key, torch.optim.Adam([part._w], lr=part.lr, weight_decay=part.weight_decay))
    getattr(part, key).load_state_dict(state)
