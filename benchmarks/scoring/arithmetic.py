"""The arithmetic in which networks are scored: float32 to the last bit, whatever a training in this process uses."""

from __future__ import annotations

import platform
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch.backends import cudnn

from benchmarks.config.errors import UserError
from benchmarks.config.protocols import Protocol


@contextmanager
def exact(device: torch.device) -> Generator[None]:
    """Within this, matrix products and convolutions on a GPU are of true float32, not TF32, and cuDNN does not try its
    algorithms: test images come in many sizes, each of which it would try anew. Afterwards all is as it was; on other
    devices nothing changes."""
    if device.type != "cuda":
        yield
        return
    matmul = torch.backends.cuda.matmul
    was = _tf32(matmul), _tf32(cudnn), cudnn.benchmark
    try:
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = False, False, False
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = was


def _tf32(backend: Any) -> bool:
    """Whether a backend may use TF32. Set are always the older of its two switches, which keep both kinds in step."""
    try:
        return backend.allow_tf32
    except RuntimeError:  # somebody has set the newer one alone
        return getattr(backend, "conv", backend).fp32_precision == "tf32"


def check(convention: Protocol, device: torch.device) -> None:
    """Refuse bfloat16 where it would be many times slower.

    Raises:
        UserError: for a protocol in bfloat16 on a CPU that has no arithmetic for it.
    """
    if convention.half and device.type == "cpu" and not cpu_has_bf16():
        raise UserError("@bf16: this processor has no arithmetic for bfloat16; leave it out, or take a GPU.")


def precision(convention: Protocol, device: torch.device) -> torch.autocast:
    """A context for the calls of a network, of the thread that enters it: bfloat16 where the protocol says so."""
    return torch.autocast(device.type, torch.bfloat16, enabled=convention.half)


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 numbers; elsewhere torch converts every one of them and back."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # nothing public tells
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001
