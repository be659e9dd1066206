"""How the commands of this package begin and end: they write no files, so they may stop anywhere."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

_CLOSED = 141  # nobody reads to the end (``| head``)


def begin(what: str = "") -> None:
    """Say what is about to be done, and end without a traceback on Ctrl-C, also while torch is imported."""

    def stop(number: int, _: Any) -> None:
        os.write(2, b"\ninterrupted.\n")
        os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    sys.stdout.reconfigure(errors="backslashreplace")
    if what and not {"-h", "--help"} & set(sys.argv):
        with _read():
            print(what, flush=True)


def end(main: Callable[[], int]) -> NoReturn:
    """Run the command and leave with its exit code."""
    with _read():
        try:
            code = main()
        finally:  # argparse leaves by itself
            sys.stdout.flush()
    sys.exit(code)


@contextmanager
def _read() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_CLOSED)
