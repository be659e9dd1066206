"""Locks between processes, so that two commands may work on one output folder at the same time.

They are the operating system's (``flock``): a process that ends, however it ends, holds none any more.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


class Busy(Exception):
    """Another process holds the lock."""


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[None]:
    """Hold the lock of that file.

    Args:
        path: the lock file; it is made where it is missing, with its folder, and stays.
        wait: for the process that holds it, telling so; otherwise give up.

    Raises:
        Busy: if another process holds it and ``wait`` is false.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        if not wait:
            raise Busy(f"another process is working on {path.parent}") from None
        print(f"  waiting for another command that works on {path.parent}", file=sys.stderr, flush=True)
        lock.acquire(timeout=-1)
    try:
        yield
    finally:
        lock.release()
