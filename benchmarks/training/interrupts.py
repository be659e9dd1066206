"""Signals that ask a training to stop are heeded between its steps."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from results.command import AGAIN

_in_other_threads: list[list[int]] = []  # signals of the trainings outside the main thread


def interrupt() -> None:
    """Let trainings outside the main thread save and stop, as a signal does in the main thread."""
    for signals in _in_other_threads:
        signals.append(signal.SIGTERM)


@contextmanager
def interrupts_wait(twice: bool) -> Generator[list[int]]:
    """Collect the signals that ask to stop, instead of being interrupted by them.

    Args:
        twice: whether a second signal, :data:`results.command.AGAIN` seconds after the first, interrupts at once.
    """
    signals: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # handlers can be set in the main thread only
        _in_other_threads.append(signals)
        try:
            yield signals
        finally:
            _in_other_threads.remove(signals)
        return
    first = math.inf

    def note(number: int, _: FrameType | None) -> None:
        nonlocal first
        if twice and time.monotonic() - first > AGAIN:
            raise KeyboardInterrupt
        first = min(first, time.monotonic())
        signals.append(number)

    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    handlers = {number: signal.signal(number, note) for number in numbers if signal.getsignal(number) != signal.SIG_IGN}
    try:
        yield signals
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
