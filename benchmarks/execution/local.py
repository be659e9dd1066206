"""Runs of a grid on this machine: one after the other in this process, or in worker processes.

A worker may die without harm to the other runs.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import cast

import joblib

from benchmarks.execution.job import ExecutionContext, execute, release_memory, write_failure
from benchmarks.execution.plan import Plan
from benchmarks.execution.terminal import share_terminal
from benchmarks.training import distributed
from benchmarks.training.checkpoint import resumable
from results import Status
from results.command import waits_for
from results.records import State

_THREADS = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "BLIS", "VECLIB_MAXIMUM", "NUMBA")
_LEAVE = 5  # seconds that a worker without work has to end by itself
_PATIENCE = 60  # seconds that interrupted workers have for the step at hand and their checkpoint
_POSIX = hasattr(signal, "pthread_sigmask")
# Signals of a terminal (Ctrl-C, a closed window) go to the command, which then asks its workers to stop. Windows has no
# way to ask, so there the workers react to them too.
_OF_TERMINAL = [signal.SIGINT, signal.SIGHUP] if _POSIX else []


def run_all(plans: Sequence[Plan], jobs: int, devices: Sequence[str], context: ExecutionContext) -> dict[Path, Status]:
    """Do the runs, ``jobs`` at a time, in worker processes; with one at a time in this process.

    A run that another command is working on comes last: then this command waits, and takes what the other has done, or
    continues what it has left. A run for which the device's memory does not suffice beside others comes after all of
    them, alone there, once.

    Args:
        plans: the runs.
        jobs: how many at a time.
        devices: shared out among them.
        context: of the command; its device is not used.

    Returns:
        What became of each run, by its folder; also where the disk was too full to write it there.

    Raises:
        KeyboardInterrupt: after the workers had the time to save.
    """
    outcomes = {plan.folder: Status(State.BUSY) for plan in plans}

    def do(state: State, at_a_time: int, wait: bool) -> None:
        left = [plan for plan in plans if outcomes[plan.folder].state == state]
        contexts = _contexts(replace(context, wait=wait), devices, min(at_a_time, len(left)))
        if jobs == 1:
            outcomes.update({plan.folder: execute(plan, contexts[0]) for plan in left})
        elif left:
            outcomes.update(_in_workers(left, contexts))

    for wait_for_others in [True] if distributed.several() else [False, True]:
        do(State.BUSY, jobs, wait_for_others)
    do(State.CROWDED, len(devices), wait=True)
    return outcomes


def _contexts(context: ExecutionContext, devices: Sequence[str], count: int) -> list[ExecutionContext]:
    """Of so many runs at a time, with the devices shared out in turn."""
    used = [devices[number % len(devices)] for number in range(count)]
    threads = max(1, joblib.cpu_count() // max(1, count))
    return [replace(context, device=device, shared=used.count(device) > 1, threads=threads) for device in used]


def _note_death(plan: Plan, reason: str) -> Status:
    continues = "; the same command continues from its last checkpoint" * resumable(plan.folder)
    return write_failure(plan.run, f"{reason}{continues}.")


def _in_workers(plans: Sequence[Plan], contexts: Sequence[ExecutionContext]) -> dict[Path, Status]:
    """Do the runs in worker processes, one for each context."""
    waiting, outcomes = deque(plans), dict[Path, Status]()
    workers = [_Worker(replace(context, data=None)) for context in contexts]
    stopping = threading.Event()

    def drive(worker: _Worker) -> None:
        try:
            while not stopping.is_set():
                try:
                    plan = waiting.popleft()
                except IndexError:
                    return
                status = worker.execute(plan)
                if status.state == State.KILLED:
                    status = _note_death(plan, status.reason)
                if status.state == State.CROWDED:
                    told = f"{plan.title}: {status.reason}; it is tried again alone, after them."
                    print(told, file=sys.stderr, flush=True)
                outcomes[plan.folder] = status
        finally:
            worker.end()

    asked = max(plan.config.train.threads for plan in plans)
    with (
        _threads(asked if contexts[0].device == "cpu" else min(asked, contexts[0].threads)),
        waits_for("runs at work finish their step and save"),
        ThreadPoolExecutor(len(workers), "worker") as threads,
    ):
        driven = [threads.submit(drive, worker) for worker in workers]
        try:
            while wait(driven, timeout=0.5).not_done:  # on Windows nothing interrupts a longer wait
                pass
            for future in driven:
                future.result()
        except BaseException:
            stopping.set()
            for worker in workers:
                worker.ask()
            try:
                wait(driven, timeout=_PATIENCE)
            finally:
                for worker in workers:
                    worker.kill()
            raise
    return outcomes


@contextmanager
def _threads(count: int) -> Generator[None]:
    """Let processes that are started meanwhile use so many threads in their numeric libraries."""
    before = dict(os.environ)
    os.environ.update({f"{name}_NUM_THREADS": str(count) for name in _THREADS})
    try:
        yield
    finally:
        for name in _THREADS:
            os.environ.pop(f"{name}_NUM_THREADS")
        os.environ.update(before)


class _Worker:
    """A process that does one run after the other. Where it dies, the next run gets a new one."""

    def __init__(self, context: ExecutionContext):
        self.context = context
        self._process: SpawnProcess | None = None
        self._connection: Connection[Plan, Status] | None = None

    def execute(self, plan: Plan) -> Status:
        """Do the run; where the process dies, the status says so."""
        if self._process is None or self._connection is None:
            self._process, self._connection = self._start()
        process, connection = self._process, self._connection
        try:
            connection.send(plan)
            while not connection.poll(0.5):
                if not process.is_alive() and not connection.poll():
                    raise EOFError
            return connection.recv()
        except (EOFError, OSError):
            process.join()
            self._process = None
            connection.close()
            return Status(State.KILLED, f"its worker process died ({_death(process.exitcode or 0)})")

    def _start(self) -> tuple[SpawnProcess, Connection[Plan, Status]]:
        if _POSIX:  # the worker inherits that a terminal does not end it, not even while it starts
            resource_tracker.ensure_running()  # otherwise started below, which would lift the block
            signal.pthread_sigmask(signal.SIG_BLOCK, _OF_TERMINAL)
        spawn = multiprocessing.get_context("spawn")
        here, there = spawn.Pipe()
        process = spawn.Process(target=_serve, args=(there, os.getpid(), self.context), name="worker")
        process.start()
        there.close()
        return process, cast("Connection[Plan, Status]", here)  # Windows has another class of the same methods

    def ask(self) -> None:
        """Let the worker save and stop."""
        if _POSIX and self._process is not None:
            self._process.terminate()

    def end(self) -> None:
        """Let the worker end by itself, which gives back what its libraries hold; at once where that takes long."""
        if self._process is not None and self._connection is not None:
            self._connection.close()
            self._process.join(_LEAVE)
        self.kill()

    def kill(self) -> None:
        """End the worker at once."""
        if self._process is not None:
            self._process.kill()
            self._process.join()


def _death(code: int) -> str:
    """Why a process ended, from its exit code, which is minus the signal that has killed it."""
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name
    memory = "; the system does so when memory runs out: try fewer --jobs" if name == "SIGKILL" else ""
    return f"{name}({code}){memory}"


def _serve(connection: Connection[Status, Plan], parent: int, context: ExecutionContext) -> None:
    """In a worker: do the runs that come, until the command closes the connection."""
    for number in _OF_TERMINAL:
        signal.signal(number, signal.SIG_IGN)
    share_terminal()
    _end_with(parent)
    with suppress(EOFError):
        while True:
            plan = connection.recv()
            try:
                status = execute(plan, context)
            except KeyboardInterrupt:  # it was asked to stop, and has saved
                status = Status(State.RUNNING)
            if context.shared:
                release_memory()
            connection.send(status)


def _end_with(parent: int) -> None:
    """End this worker when the command is killed, so that it does not train on beside the next one."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        print("the command was killed; its worker stops.", file=sys.stderr)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
