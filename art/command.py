"""How the commands of this package begin and end: they write no files, so they may stop anywhere."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from io import TextIOWrapper
from types import FrameType
from typing import NoReturn

_CLOSED = 141  # exit code when the reader has gone (``| head``)


def begin(what: str = "") -> None:
    """Say what is about to be done, and end without a traceback on Ctrl-C, also while torch is imported."""

    def stop(number: int, _frame: FrameType | None) -> None:
        os.write(2, b"\ninterrupted.\n")
        os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if what and not {"-h", "--help"} & set(sys.argv):
        with _pipe_may_close():
            print(what, flush=True)


def end(main: Callable[[], int]) -> NoReturn:
    """Run the command and leave with its exit code."""
    with _pipe_may_close():
        try:
            code = main()
        finally:  # argparse leaves by itself
            sys.stdout.flush()
    sys.exit(code)


@contextmanager
def _pipe_may_close() -> Generator[None]:
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_CLOSED)
