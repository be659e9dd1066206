"""What a run was computed with: commit, versions, device."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from pydantic import JsonValue

from benchmarks.config.errors import UserError
from results.records import Environment

KNOWN = "auto, cpu, cuda, cuda:N or mps"
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
PACKAGES = ("torch", "torchvision", "torchjd", "numpy", "scikit-image", "pyiqa", "mlflow")


def device(name: str) -> torch.device:
    """``auto`` (CUDA where there is one, else the CPU), ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    ``auto`` leaves Apple's ``mps`` alone: some operations are missing there, and nobody has measured whether its scores
    are those of a CPU; so it is for those who ask.

    Raises:
        UserError: for a device that torch does not know or that is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(name)
    except RuntimeError:
        raise UserError(f"unknown device {name!r}; use {KNOWN}.") from None
    if chosen.type not in ("cpu", "cuda", "mps"):
        raise UserError(f"device {name!r} is not supported; use {KNOWN}.")
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise UserError(f"device {name!r} is not there: this torch or this machine has no Apple GPU; use cpu.")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device {name!r} is not there: torch sees {torch.cuda.device_count()} CUDA devices.")
    return chosen


def devices(chosen: torch.device) -> list[str]:
    """What runs are shared out among: every GPU where none is named, else the device itself."""
    if str(chosen) == "cuda":
        return [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    return [str(chosen)]


def used(name: str, gpus: Sequence[int] = ()) -> list[str]:
    """What runs are shared out among: the GPUs of these numbers, ``["cuda:0", "cuda:2"]``, else :func:`devices`.

    Raises:
        UserError: for a device that is not there.
    """
    if not gpus:
        return devices(device(name))
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if absent := [str(number) for number in gpus if number >= there]:
        what = f"has {there} CUDA device{'s' * (there > 1)}" if there else "has no CUDA device that torch can use"
        raise UserError(
            f"--devices {','.join(map(str, gpus))}: no {' and no '.join(absent)} is there; this machine {what}."
        )
    return [f"cuda:{number}" for number in gpus]


def describe(chosen: torch.device) -> Environment:
    """Commit, versions, device and threads."""
    return Environment(
        commit=commit(),
        python=platform.python_version(),
        versions={name: version_of(name) for name in PACKAGES},
        device=_name(chosen),
        device_type=chosen.type,
        threads=torch.get_num_threads(),
        platform=platform.platform(),
    )


def _name(chosen: torch.device) -> str:
    if chosen.type == "cuda":
        return torch.cuda.get_device_name(chosen)
    return f"{'Apple GPU (mps) of ' * (chosen.type == 'mps')}{_processor()}"


def keep_freed_memory() -> None:
    """Let glibc keep what tensors free, where it is in use; this makes training on a CPU 15-35 % faster.

    By default it returns memory of large tensors to the system at once, and every page must be cleared again.
    """
    with suppress(AttributeError, OSError, TypeError):  # other systems have no mallopt
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 2**25)
        mallopt(_M_TRIM_THRESHOLD, 2**28)


def peak_memory() -> float | None:
    """MiB of main memory that this process has held at most; ``None`` where the system does not tell (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, others KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


class PeakMemory:
    """What is held at most from now on: main memory of this process, and that of the tensors on a GPU.

    Args:
        chosen: the device that works.
    """

    def __init__(self, chosen: torch.device):
        self._device = chosen
        if chosen.type == "cuda":
            torch.cuda.reset_peak_memory_stats(chosen)
        self._own = _restart_peak()

    def facts(self) -> Environment:
        """The peaks so far, in MiB; where the system cannot begin anew, main memory since the process began."""
        of, peak = ("training", _peak_since_restart()) if self._own else ("process", peak_memory())
        facts: dict[str, JsonValue] = {"not_recorded": "peak memory: this system does not tell it"}
        if peak is not None:
            facts = {"peak_memory_mib": round(peak), "peak_memory_of": of}
        if self._device.type == "cuda":
            facts["peak_gpu_memory_mib"] = round(torch.cuda.max_memory_allocated(self._device) / 2**20)
        return Environment.model_validate(facts)


def _restart_peak() -> bool:
    """Let Linux forget this process's peak; whether it could (proc(5): 5 written to clear_refs resets VmHWM).

    What earlier runs have freed is handed back before: glibc keeps it (:func:`keep_freed_memory`), and it would count.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5", "utf-8")
        return _peak_since_restart() is not None
    except OSError:
        return False


def _peak_since_restart() -> float | None:
    with suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text("utf-8", "replace").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) / 1024
    return None


def commit() -> str | None:
    """The project's git commit, with ``+changes`` when the work tree differs; ``None`` outside a checkout."""
    folder = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--dirty=+changes", "--exclude=*"],
            cwd=folder, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def version_of(package: str) -> str | None:
    """Of an installed package; ``None`` where it is not."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} CPUs"
