"""Locks between processes, so that two commands may work on one output folder at the same time.

They are the operating system's (``flock``): a process that has ended, in whatever way, holds none.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


class Busy(Exception):
    """Another process holds the lock."""


@contextmanager
def locked(path: Path, wait: bool = True) -> Generator[None]:
    """Hold the lock of that file.

    Args:
        path: the lock file; it is created with its folder where it is missing, and stays.
        wait: for the process that holds it, with a message; otherwise give up.

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
