"""Runs of a grid in worker processes, each of which may die without harm to the others."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any

from benchmarks.execution.display import share_terminal
from results import Status
from results.command import waits_for
from results.records import State

_THREADS = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "BLIS", "VECLIB_MAXIMUM", "NUMBA")
_PATIENCE = 60  # seconds that interrupted workers have for the step at hand and their checkpoint
_POSIX = hasattr(signal, "pthread_sigmask")
# Those of a terminal (Ctrl-C, a closed window) go to the command, which then asks its workers; but Windows knows no way
# to ask, so there its workers hear them too.
_OF_TERMINAL = [signal.SIGINT, signal.SIGHUP] if _POSIX else []

Work = Callable[..., Status]


def run_in_workers(work: Work, items: Sequence[Any], places: Sequence[dict[str, Any]], threads: int) -> list[Status]:
    """``work(item, **place)`` for every item in a worker process, as many at a time as there are places.

    A worker that dies (killed for want of memory, a crash in native code) costs the item at hand only: its status says
    so, and the next items get a new worker. That is why every place has an executor of its own: one executor for all
    would lose all its work with one worker.

    Args:
        work: picklable; it returns the status of the item.
        items: what to do, in this order.
        places: further arguments, one set for each worker (such as its GPU).
        threads: of each worker's numeric libraries.

    Raises:
        KeyboardInterrupt: after the workers had the time to save.
    """
    import joblib.externals.loky  # noqa: F401  # here: several threads importing it at once see half of it

    waiting, done = deque(range(len(items))), [Status(State.ABSENT)] * len(items)
    lanes = [_Lane(work, place, threads) for place in places]
    stopping = threading.Event()

    def drive(lane: _Lane) -> None:
        try:
            while not stopping.is_set():
                try:
                    number = waiting.popleft()
                except IndexError:
                    return
                done[number] = lane(items[number])
        finally:
            lane.close()

    with (
        waits_for("runs at work finish their step and save"),
        ThreadPoolExecutor(len(lanes), "lane") as threads_of_lanes,
    ):
        driven = [threads_of_lanes.submit(drive, lane) for lane in lanes]
        try:
            while wait(driven, timeout=0.5).not_done:  # Windows lets nothing interrupt a longer wait
                pass
            for future in driven:
                future.result()
        except BaseException:
            stopping.set()
            for lane in lanes:
                lane.ask()
            try:
                wait(driven, timeout=_PATIENCE)
            finally:
                for lane in lanes:
                    lane.kill()
            raise
    return done


class _Lane:
    """One worker process after the other: a new one only where the last has died."""

    def __init__(self, work: Work, place: dict[str, Any], threads: int):
        self.work, self.place = work, place
        self._environment = {f"{name}_NUM_THREADS": str(threads) for name in _THREADS}
        self._executor: Any = None

    def __call__(self, item: Any) -> Status:
        from joblib.externals.loky import BrokenProcessPool, ProcessPoolExecutor

        if self._executor is None:
            self._executor = ProcessPoolExecutor(1, env=self._environment)
        _shield()
        try:
            return self._executor.submit(_in_worker, self.work, item, os.getpid(), self.place).result()
        except KeyboardInterrupt:  # of the worker: it was told to stop, and has saved
            return Status(State.RUNNING)
        except BrokenProcessPool as error:
            self.close()
            return Status(State.KILLED, _death(error))

    def ask(self) -> None:
        """Let the worker save and stop."""
        if _POSIX:
            self._send(signal.SIGTERM)

    def kill(self) -> None:
        """End the worker at once."""
        self._send(signal.SIGKILL if _POSIX else signal.SIGTERM)

    def _send(self, number: int) -> None:
        for process in list(getattr(self._executor, "_processes", None) or {}):
            with suppress(OSError):  # it has ended
                os.kill(process, number)

    def close(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(kill_workers=True)
            self._executor = None


def _shield() -> None:
    """Let a worker that this thread starts inherit that a terminal does not end it, not even while it starts."""
    if _POSIX:
        from multiprocessing import resource_tracker

        resource_tracker.ensure_running()  # which loky would do later, and which lifts the block
        signal.pthread_sigmask(signal.SIG_BLOCK, _OF_TERMINAL)


def _death(error: Exception) -> str:
    """Why a worker ended, from loky's words."""
    codes = re.search(r"exit codes of the workers are \{(.*?)\}", str(error))
    told = codes[1] if codes else "it ended unexpectedly"
    memory = "; the system does so when memory runs out: try fewer --jobs" if "KILL" in told else ""
    return f"its worker process died ({told}{memory})"


def _in_worker(work: Work, item: Any, parent: int, place: dict[str, Any]) -> Status:
    if parent not in _serving:
        _serving.append(parent)
        for number in _OF_TERMINAL:
            signal.signal(number, signal.SIG_IGN)
        share_terminal()
        _die_with(parent)
    return work(item, **place)


_serving: list[int] = []


def _die_with(parent: int) -> None:
    """End this worker when the command is killed, so that no orphan trains on beside the next one."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        print("the command was killed; its worker stops.", file=sys.stderr)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
