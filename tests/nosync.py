"""A context in which nothing may wait for the device."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

READS = {
    torch.Tensor.item, torch.Tensor.tolist, torch.Tensor.cpu, torch.Tensor.numpy, torch.Tensor.__bool__,
    torch.Tensor.__int__, torch.Tensor.__float__, torch.Tensor.__index__, torch.Tensor.nonzero, torch.nonzero,
    torch.Tensor.__array__, torch.Tensor.masked_select, torch.masked_select,
}  # fmt: skip
INDEXED = {torch.Tensor.__getitem__, torch.Tensor.__setitem__}
ON_A_CPU_ONLY = {torch.nanquantile, torch.quantile}  # there torch looks at their arguments
OPERATORS = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select")


class Waits(AssertionError):
    """Something would wait for a GPU."""


class _Functions(TorchFunctionMode):
    """Refuses what Python code reads of tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in READS and not _of_torchs_optimizers():
            raise Waits(f"{function.__name__} of a tensor")
        if function in INDEXED and _places(args[1]):
            raise Waits("an index that is a mask, a list or an array")
        self.inside += function in ON_A_CPU_ONLY
        try:
            return function(*args, **(kwargs or {}))
        finally:
            self.inside -= function in ON_A_CPU_ONLY


class _Operators(TorchDispatchMode):
    """Refuses the operators that read, whoever calls them; also those of a backward pass."""

    def __init__(self, functions: _Functions) -> None:
        super().__init__()
        self.functions = functions

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        masked = name in ("index", "index_put", "index_put_") and any(
            place is not None and place.dtype in (torch.bool, torch.uint8) for place in args[1]
        )
        unknown = name == "repeat_interleave" and (kwargs or {}).get("output_size") is None  # how long the result is
        if (name in OPERATORS or masked or unknown) and not self.functions.inside and not _of_torchs_optimizers():
            raise Waits(f"the operator {name}{' with a mask' * masked}")
        return function(*args, **(kwargs or {}))


def _places(index: Any) -> bool:
    """Whether an index takes something to the device, or reads a mask there."""
    parts = index if isinstance(index, tuple) else (index,)
    masks = [part for part in parts if isinstance(part, torch.Tensor) and part.dtype in (torch.bool, torch.uint8)]
    return bool(masks) or any(isinstance(part, list) or type(part).__name__ == "ndarray" for part in parts)


def _of_torchs_optimizers() -> bool:
    """Whether one of torch's optimizers asks: it counts its steps on the host."""
    frame = sys._getframe(2)
    while frame:
        if "/torch/optim/" in frame.f_code.co_filename.replace("\\", "/"):
            return True
        frame = frame.f_back
    return False


@contextmanager
def refuses_waiting(device: torch.device | str = "cpu") -> Generator[None]:
    """Within this, what would wait for a GPU raises an error: :class:`Waits` on a CPU, torch's own on a GPU.

    A CPU cannot tell what comes from the host to the device; only a GPU does.
    """
    if torch.device(device).type == "cuda":
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(before)
        return
    functions = _Functions()
    with functions, _Operators(functions):
        yield
