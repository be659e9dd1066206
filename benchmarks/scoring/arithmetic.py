"""The arithmetic in which networks are scored: float32 to the last bit, whatever a training in this process uses."""

from __future__ import annotations

import platform
from collections.abc import Generator
from contextlib import contextmanager

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
    # read from the newer switches, which never refuse; set by the older ones, which keep both kinds in step
    convolution = cudnn.conv.fp32_precision  # pyright: ignore[reportAttributeAccessIssue]  # put there as a module loads
    was = matmul.fp32_precision == "tf32", convolution == "tf32", cudnn.benchmark
    try:
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = False, False, False
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = was


def precision(convention: Protocol, device: torch.device) -> torch.autocast:
    """A context for the calls of a network, of the thread that enters it: bfloat16 where the protocol says so.

    Raises:
        UserError: on a CPU that has no arithmetic for it, where it would be many times slower.
    """
    if convention.half and device.type == "cpu" and not cpu_has_bf16():
        raise UserError("@bf16: this processor has no arithmetic for bfloat16; leave it out, or take a GPU.")
    return torch.autocast(device.type, torch.bfloat16, enabled=convention.half)


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 numbers; elsewhere torch converts every one of them and back."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # nothing public tells
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001
