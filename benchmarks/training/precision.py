"""What a step computes in (``train.precision``), and what cuDNN may choose: set for a step, put back after it.

- ``fp32``: single precision throughout. On a GPU TF32 is off, in convolutions too, where it is on by default.
- ``tf32``: matrix products and convolutions of single precision numbers with 10 bits of mantissa, on a GPU that has it.
- ``bf16``: autocast, as trainings in mixed precision do it; what it leaves in single precision is that of ``fp32``.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from benchmarks.config.sections import TrainConfig

_TF32_SINCE = (8, 0)  # compute capability
_X86 = ("x86_64", "amd64", "i386", "i686")
_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


def has_tf32(device: torch.device) -> bool:
    """Whether a device has TF32: NVIDIA's GPUs from Ampere on."""
    return (
        device.type == "cuda" and torch.version.hip is None and torch.cuda.get_device_capability(device) >= _TF32_SINCE
    )


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bf16 numbers; elsewhere torch converts every one of them to fp32 and back."""
    if platform.machine().lower() in _X86:
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # nothing public tells
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001


def refusal(train: TrainConfig, device: torch.device) -> str | None:
    """Why a device should not train in ``train.precision``, in a sentence; ``None`` where it can."""
    if train.precision == "tf32" and not has_tf32(device):
        return f"train.precision=tf32 is for NVIDIA GPUs of compute capability 8.0 or more, not for {device}; use fp32"
    if train.precision == "bf16" and device.type == "cpu" and not (train.emulate or cpu_has_bf16()):
        return (
            "train.precision=bf16 would be about 14 times slower than fp32 on this CPU, which has no bf16 arithmetic; "
            "use fp32, or --set train.emulate=true to do it anyway"
        )
    return None


def autocast(train: TrainConfig, device: torch.device, cache: bool = True) -> AbstractContextManager[object]:
    """The context of a forward pass.

    Args:
        train: the recipe.
        device: where the network is.
        cache: keep what was converted for the pass; CUDA graphs cannot.
    """
    enabled = train.precision == "bf16"
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled, cache_enabled=cache)


def set_up(train: TrainConfig, device: torch.device, fixed_shapes: bool = True) -> AbstractContextManager[None]:
    """The context of a training's steps, on a GPU: TF32 on or off, and how cuDNN chooses its algorithms.

    What was set before comes back at its end, so that nothing else, such as scoring, is computed so.

    Args:
        train: the recipe; its ``precision`` and ``deterministic``.
        device: where it trains; on others than GPUs there is nothing to set.
        fixed_shapes: whether all steps have batches of one shape, so that it pays to try algorithms out.
    """
    return _on_gpu(train, fixed_shapes) if device.type == "cuda" else nullcontext()


@contextmanager
def _on_gpu(train: TrainConfig, fixed_shapes: bool) -> Generator[None]:
    before = _flags()
    choice = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    if train.deterministic:
        os.environ.setdefault(_WORKSPACE, ":4096:8")  # cuBLAS reads it at its first product
        torch.use_deterministic_algorithms(True, warn_only=True)
    tf32 = train.precision == "tf32"
    _set("high" if tf32 else "highest", tf32, fixed_shapes and not train.deterministic, train.deterministic)
    try:
        yield
    finally:
        _set(*before)
        if train.deterministic:
            torch.use_deterministic_algorithms(choice[0], warn_only=choice[1])


def _flags() -> tuple[str, bool, bool, bool]:
    cudnn = torch.backends.cudnn
    return torch.get_float32_matmul_precision(), cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic


def _set(products: str, convolutions: bool, benchmark: bool, deterministic: bool) -> None:
    """Set what :func:`_flags` reads. Torch's newer flags of TF32 follow these; to set those alone would leave the two
    at odds, and compiled steps would refuse to run."""
    torch.set_float32_matmul_precision(products)
    cudnn = torch.backends.cudnn
    cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic = convolutions, benchmark, deterministic
