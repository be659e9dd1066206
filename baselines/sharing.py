"""Numba's kernels on PyTorch's own threads."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor


def share(kernel: Callable[..., None], units: int, *arguments: Tensor | int) -> None:
    """Run ``kernel(*arguments, first, last)`` for units 0 to ``units``, shared among as many threads as torch uses.

    Tensors are given as arrays. The kernel must release the interpreter's lock.

    Raises:
        Exception: what the kernel raised.
    """
    arrays = [argument.numpy() if isinstance(argument, Tensor) else argument for argument in arguments]
    threads = min(torch.get_num_threads(), units)
    if threads <= 1:
        return kernel(*arrays, 0, units)
    bounds = [units * thread // threads for thread in range(threads + 1)]
    failures: list[BaseException] = []

    def work(thread: int) -> None:
        try:
            kernel(*arrays, bounds[thread], bounds[thread + 1])
        except BaseException as error:  # no exception may leave a thread of OpenMP's
            failures.append(error)

    _run(work, threads)
    if failures:
        raise failures[0]


def _run(work: Callable[[int], None], threads: int) -> None:
    """Call ``work`` with every number below ``threads``, at the same time.

    OpenMP's threads wait for milliseconds without giving up their cores; threads beside them would get half a core. So
    the work is given to them, where torch's OpenMP is known.
    """
    openmp = _openmp()
    if openmp is None:
        list(_pool(threads).map(work, range(threads)))
        return
    done = [False] * threads

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    def body(_: int | None) -> None:
        number = openmp.omp_get_thread_num()
        if number < threads:
            done[number] = True
            work(number)

    openmp.GOMP_parallel(body, None, threads, 0)
    for number in range(threads):  # of fewer threads than asked for
        if not done[number]:
            work(number)


@functools.cache
def _openmp() -> ctypes.CDLL | None:
    """GNU's OpenMP if it is the one in torch's folders, which torch uses."""
    home = Path(torch.__file__).parent
    try:
        lines = Path("/proc/self/maps").read_text("utf-8").splitlines()
        loaded = {Path(line.split(maxsplit=5)[5]) for line in lines if "libgomp" in line}
        (path,) = {
            path for path in loaded if {home.resolve(), home.with_name("torch.libs").resolve()} & set(path.parents)
        }
        library = ctypes.CDLL(str(path))
        library.GOMP_parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        library.GOMP_parallel.restype = None
        return library
    except (OSError, ValueError, AttributeError):  # another system, another OpenMP, none or several
        return None


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="kernels")
