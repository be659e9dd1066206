"""How the commands of this package begin and end: they write no files, so they may stop anywhere."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn


def begin(what: str = "") -> None:
    """Say what is about to be done, and end without a traceback on Ctrl-C, also while torch is imported."""

    def stop(number: int, _: Any) -> None:
        os.write(2, b"\ninterrupted.\n")
        os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    sys.stdout.reconfigure(errors="backslashreplace")
    if what and not {"-h", "--help"} & set(sys.argv):
        print(what, flush=True)


def end(main: Callable[[], int]) -> NoReturn:
    """Run the command and leave with its exit code; with 141 where nobody reads to the end (``| head``)."""
    try:
        try:
            code = main()
        finally:  # argparse leaves by itself
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    sys.exit(code)
