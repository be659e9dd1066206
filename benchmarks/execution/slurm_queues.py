"""Where jobs are submitted and looked for: Slurm, processes of this machine in its place, or the command itself."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import joblib

from benchmarks.config.errors import UserError
from benchmarks.execution import shared_folder
from benchmarks.execution.slurm_options import SlurmOptions
from results.visible import visible

if TYPE_CHECKING:
    from submitit import Job

    from benchmarks.execution.slurm_job import SlurmJob

_REQUEUES = 1000  # times that a job may reach the end of its time; each time it has saved what it has done
_ARRAY = 1000  # jobs of one array: Slurm's own limit, MaxArraySize, is 1001
_EVERY = 10.0  # seconds between two questions to Slurm, which serves many
_ANSWER = 60  # seconds that Slurm has to answer
_ENDED = ("COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "OUT_OF_MEMORY", "DEADLINE")
"""States after which nothing comes. One that is PREEMPTED or has lost its node may be requeued; if not, Slurm forgets
it soon."""

_USUAL = ("None", "Priority", "Resources", "JobArrayTaskLimit", "BeginTime", "Cleaning", "")
"""Why a job waits, where waiting is all that is needed."""


class Queue(ABC):
    """Takes jobs and knows which of them have not ended.

    Args:
        options: what jobs are to have.
        threads: of a run.
    """

    late: float = 0.0
    """Seconds after a job's end in which what it has left may not be seen yet."""

    def __init__(self, options: SlurmOptions, threads: int):
        self.options, self.threads = options, threads

    @staticmethod
    def lacking() -> str:
        """What is missing here; empty if nothing is."""
        return ""

    @abstractmethod
    def room(self, working: int) -> int:
        """How many further jobs may be submitted beside so many."""

    @abstractmethod
    def submit(self, folder: Path, jobs: Sequence[SlurmJob]) -> list[str]:
        """Submit jobs whose files lie in ``folder``; their names."""

    @abstractmethod
    def has(self, name: str) -> bool:
        """Whether a job waits or is at work, as far as is known."""

    @abstractmethod
    def told(self, names: Sequence[str], folder: Path) -> str:
        """What was submitted."""

    def look(self, at_once: bool = False) -> None:  # noqa: B027  # most need not ask
        """Ask what the state of the jobs is, unless that was asked a moment ago."""

    def ending(self, name: str) -> str:
        """How it ended, in words that follow "ended"."""
        return ""

    def cancel(self, names: Sequence[str]) -> str:
        """Let jobs save and end; what went wrong, or nothing."""
        return ""

    def left(self, names: Sequence[str]) -> str:
        """That jobs go on without the command, and how to end them."""
        return ""


class Slurm(Queue):
    """The jobs of this user in Slurm, as ``squeue`` lists them; accounting is not needed."""

    late = 60.0  # NFS remembers for so long what was not there

    def __init__(self, options: SlurmOptions, threads: int):
        super().__init__(options, threads)
        self._states: dict[str, tuple[str, str]] | None = None  # none while Slurm has not answered
        self._next = 0.0
        self._submitted: dict[str, float] = {}  # when
        self._answered = -1.0
        self._told: set[str] = set()
        self._endings: dict[str, str] = {}  # which Slurm forgets soon

    @staticmethod
    def lacking() -> str:
        """Slurm's commands that cannot be found."""
        absent = [name for name in ("sbatch", "srun", "squeue", "scancel", "scontrol") if shutil.which(name) is None]
        return f"there is no Slurm here: {', '.join(absent)} cannot be found" if absent else ""

    def room(self, working: int) -> int:
        """An array's jobs at a time."""
        return _ARRAY

    def submit(self, folder: Path, jobs: Sequence[SlurmJob]) -> list[str]:
        """Submit one array; its jobs' names, ``12_0``, ``12_1``, ..."""
        from submitit import SlurmExecutor

        executor = SlurmExecutor(folder, max_num_timeout=_REQUEUES)
        executor.update_parameters(**self.options.for_sbatch(self.threads))
        with executor.batch():
            submitted: list[Job[None]] = [executor.submit(job) for job in jobs]
        names = [job.job_id for job in submitted]
        self._submitted |= dict.fromkeys(names, time.monotonic())
        self._next = 0.0
        return names

    def look(self, at_once: bool = False) -> None:
        """Ask ``squeue``; why jobs wait is told where waiting does not suffice."""
        asked = time.monotonic()
        if not at_once and asked < self._next:
            return
        self._next = asked + _EVERY
        command = ["squeue", "-h", "-r", "-t", "all", "-u", getpass.getuser(), "-o", "%i|%T|%r"]
        try:
            told = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER, check=True)
        except (OSError, subprocess.SubprocessError) as error:  # a busy Slurm answers the next time
            self._warn(f"squeue does not answer ({visible(_words(error))}); it is asked again")
            return
        rows = [line.split("|") for line in told.stdout.splitlines()]
        self._states = {row[0]: (row[1], row[2]) for row in rows if len(row) == 3}
        self._answered = asked
        self._endings |= {name: state for name, (state, _) in self._states.items() if state in _ENDED}
        for name in self._submitted:
            state, why = self._states.get(name, ("", ""))
            if state == "PENDING" and why.strip("()") not in _USUAL:
                self._warn(f"jobs wait in Slurm's queue: {visible(why)}")

    def _warn(self, words: str) -> None:
        if words not in self._told:
            self._told.add(words)
            print(f"note: {words}.", file=sys.stderr, flush=True)

    def has(self, name: str) -> bool:
        """Whether Slurm lists it as one that has not ended, or has not answered since it was submitted."""
        if self._states is None or self._answered <= self._submitted.get(name, -1.0):
            return True
        return name in self._states and self._states[name][0] not in _ENDED

    def ending(self, name: str) -> str:
        """``(OUT_OF_MEMORY)``."""
        state = self._endings.get(name, "COMPLETED")
        return f" ({state})" if state != "COMPLETED" else ""

    def cancel(self, names: Sequence[str]) -> str:
        """Let Slurm cancel them."""
        try:
            subprocess.run(["scancel", *names], capture_output=True, text=True, timeout=_ANSWER, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            return visible(_words(error))
        return ""

    def told(self, names: Sequence[str], folder: Path) -> str:
        """Arrays, and where the logs are."""
        whole = _arrays(names)
        return f"Submitted {len(names)} job{'s' * (len(names) > 1)} to Slurm: {whole}. Logs: {folder}"

    def left(self, names: Sequence[str]) -> str:
        """With Slurm's own commands."""
        whole = _arrays(names)
        return (
            f"The jobs go on in Slurm: squeue --jobs {whole} lists them, scancel {whole.replace(',', ' ')} ends them, "
            "and the same command waits for them again."
        )


class Local(Queue):
    """Processes of this machine in place of jobs, which outlive the command as jobs do."""

    late = 1.0

    def __init__(self, options: SlurmOptions, threads: int):
        super().__init__(options, threads)
        self._room = options.at_once or max(1, joblib.cpu_count() // threads)
        self._jobs: dict[str, Job[None]] = {}

    @staticmethod
    def lacking() -> str:
        """Signals that submitit needs."""
        return "" if hasattr(signal, "pthread_sigmask") else "submitit does not work on this system"

    def room(self, working: int) -> int:
        """As many as have their threads."""
        return max(0, self._room - working)

    def submit(self, folder: Path, jobs: Sequence[SlurmJob]) -> list[str]:
        """Start a process for each; their numbers."""
        from submitit import LocalExecutor

        executor = LocalExecutor(folder, max_num_timeout=_REQUEUES)
        options = self.options
        executor.update_parameters(
            timeout_min=options.minutes, signal_delay_s=options.notice, gpus_per_node=options.gpus,
            stderr_to_stdout=True,
        )  # fmt: skip
        with _unheard():
            submitted: list[Job[None]] = [executor.submit(job) for job in jobs]
        self._jobs |= {job.job_id: job for job in submitted}
        return [job.job_id for job in submitted]

    def has(self, name: str) -> bool:
        """Whether its process lives."""
        if name in self._jobs:
            return not self._jobs[name].done()
        return _is_submitits(name)  # of an earlier command

    def cancel(self, names: Sequence[str]) -> str:
        """Let their processes end; a run saves before."""
        for name in names:
            with suppress(OSError, ValueError):
                os.kill(int(name), signal.SIGTERM)  # passed on to the run, which saves
        return ""

    def told(self, names: Sequence[str], folder: Path) -> str:
        """Processes, and where the logs are."""
        return f"Started {len(names)} job{'s' * (len(names) > 1)} on this machine: {', '.join(names)}. Logs: {folder}"

    def left(self, names: Sequence[str]) -> str:
        """As processes."""
        return (
            f"The jobs go on as processes of this machine: kill {' '.join(names)} ends them, and the same command "
            "waits for them again."
        )


class Debug(Queue):
    """The runs one after the other in the command itself, through submitit."""

    def room(self, working: int) -> int:
        """One at a time."""
        return 1

    def submit(self, folder: Path, jobs: Sequence[SlurmJob]) -> list[str]:
        """Do the runs, one after the other."""
        from submitit.local.debug import DebugExecutor

        executor = DebugExecutor(folder)
        names: list[str] = []
        for job in jobs:
            submitted = executor.submit(job)
            names.append(submitted.job_id)
            submitted.result()
        return names

    def has(self, name: str) -> bool:
        """Never: it has ended when it is submitted."""
        return False

    def told(self, names: Sequence[str], folder: Path) -> str:
        """What was done."""
        return f"Did {', '.join(names)} in this process."


QUEUES: dict[str, type[Queue]] = {"slurm": Slurm, "local": Local, "debug": Debug}


def check(options: SlurmOptions, output: Path) -> None:
    """Whether there is Slurm here, and a folder that submitit can use; a folder that may not be shared is told.

    Raises:
        UserError: if not.
    """
    if find_spec("submitit") is None:
        raise UserError('--slurm needs submitit; in this project: pip install -e ".[cluster]".')
    if "%" in str(output.absolute()):
        raise UserError(f"the output folder {output} has a % in its name, which Slurm takes for a pattern; rename it.")
    if problem := QUEUES[options.executor].lacking():
        raise UserError(f"{problem}; --slurm executor=local tries the same with processes of this machine.")
    if options.executor == "slurm" and (doubt := shared_folder.doubt(output)):
        print(f"note: {doubt}", file=sys.stderr, flush=True)


@contextmanager
def _unheard() -> Generator[None]:
    """Processes that are started meanwhile do not hear Ctrl-C, nor that the terminal is closed."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGHUP])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _is_submitits(name: str) -> bool:
    """Whether a process of that number is a job of submitit, and no other that has got its number since."""
    try:
        os.kill(int(name), 0)
    except PermissionError:
        return False
    except (OSError, ValueError):
        return False
    try:
        return b"submitit" in Path(f"/proc/{name}/cmdline").read_bytes()
    except OSError:
        return not Path("/proc/self").exists()  # another system, which has no such files


def _arrays(names: Sequence[str]) -> str:
    """``12,15``: the arrays, of which names are ``12_0``, ``12_1``, ..."""
    return ",".join(dict.fromkeys(name.partition("_")[0] for name in names))


def _words(error: BaseException) -> str:
    told = getattr(error, "stderr", "") or str(error)
    return next(iter(str(told).splitlines()), type(error).__name__)
