"""Complete states of TorchJD's stateful methods, so that a resumed run continues as if never stopped.

Some of them keep part of their state in plain attributes, in buffers made on first use, or in an optimizer of their
own, none of which ``state_dict`` carries. What this reads of TorchJD is private, hence the upper bound on its version
in pyproject.toml; "resumes exactly" in tests/art/test_strategies.py (test_every_strategy_conforms: famo, gradvac,
nash_mtl) fails if it changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer
from torchjd import Stateful
from torchjd.scalarization import FAMO

_INTERNAL = frozenset(vars(nn.Module()))
_ARRAY, _DTYPE, _OPTIMIZER = "numpy", "dtype", "optimizer"


def hidden_state(module: nn.Module) -> dict[str, dict[str, object]]:
    """What stateful parts of ``module`` hold in plain attributes: numbers, texts, tensors, arrays, lists of them, and
    optimizers; by the part's name. Safe for ``torch.load(weights_only=True)``."""
    state: dict[str, dict[str, object]] = {}
    for name, part in module.named_modules():
        if isinstance(part, Stateful):
            packed = {key: _packed(value) for key, value in vars(part).items() if key not in _INTERNAL}
            state[name] = {key: value for key, value in packed.items() if value is not NotImplemented}
    return state


def restore_hidden_state(module: nn.Module, state: Mapping[str, Mapping[str, object]]) -> None:
    """Restore what :func:`hidden_state` returned."""
    parts = dict(module.named_modules())
    for name, attributes in state.items():
        part = parts[name]
        for key, value in attributes.items():
            if isinstance(value, dict) and _OPTIMIZER in value:
                _restore_optimizer(part, key, value[_OPTIMIZER])
            else:
                setattr(part, key, _unpacked(value))
        set_up = getattr(part, "_init_optim_problem", None)
        if callable(set_up) and part.step:
            set_up()  # Nash-MTL sets its solver up at step 0 only


def allow_late_buffers(module: nn.Module, state: Mapping[str, object]) -> None:
    """Make room for buffers of ``state`` that ``module`` creates on first use (GradVac's)."""
    parts = dict(module.named_modules())
    for name, value in state.items():
        path, _, key = name.rpartition(".")
        if isinstance(value, torch.Tensor) and path in parts and getattr(parts[path], key, value) is None:
            setattr(parts[path], key, torch.empty_like(value))


def _packed(value: object) -> object:
    """``value`` in types that a checkpoint may hold, or ``NotImplemented``."""
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
        return NotImplemented if any(item is NotImplemented for item in packed) else type(value)(packed)
    return NotImplemented


def _unpacked(value: Any) -> Any:
    if isinstance(value, dict):
        return getattr(torch, value[_DTYPE]) if _DTYPE in value else value[_ARRAY].numpy()
    if isinstance(value, list | tuple):
        return type(value)(_unpacked(item) for item in value)
    return value


def _restore_optimizer(part: nn.Module, key: str, state: dict[str, Any]) -> None:
    if isinstance(part, FAMO) and getattr(part, key) is None:  # it makes its own Adam at its first update
        logits = part._w  # pyright: ignore[reportPrivateUsage] (no public way to them)
        setattr(part, key, torch.optim.Adam([logits], lr=part.lr, weight_decay=part.weight_decay))
    getattr(part, key).load_state_dict(state)
