"""One run as a job of Slurm, by submitit's protocol: what is called there, and how it goes on after an interruption.

A job is asked to stop by SIGUSR2 (its time is nearly over, or it is preempted) or by SIGTERM (it is preempted or
cancelled). It finishes its step and saves; then it is requeued, unless it was cancelled, and continues from there.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

from benchmarks.execution.job import ExecutionContext, execute
from benchmarks.execution.plan import Plan

_ANSWER = 30  # seconds that Slurm has to answer


@dataclass
class SlurmJob:
    """What submitit calls in the job.

    Attributes:
        plan: the run.
        context: of the command; its images are opened by the job itself.
        apart: whether it has a process of its own, with submitit's signals.
    """

    plan: Plan
    context: ExecutionContext
    apart: bool = True

    def __call__(self) -> None:
        """Do the run, or what is left of it; what became of it stands in its folder."""
        context = replace(self.context, opened=[])
        if not self.apart:
            execute(self.plan, context)
            return
        requeue, asked = signal.getsignal(signal.SIGUSR2), list[int]()
        _listen(asked)
        try:
            execute(self.plan, context)
        except KeyboardInterrupt:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # Slurm ends the processes of a job that is requeued
            if callable(requeue) and (signal.SIGUSR2 in asked or _still_wanted()):
                print("stopped; the job is requeued and goes on from the last checkpoint.", flush=True)
                requeue(signal.SIGUSR2, None)  # submitit's: calls checkpoint(), asks Slurm for the job again, and exits
            print("stopped; the job ends.", flush=True)
            sys.exit(1)

    def checkpoint(self) -> Any:
        """What is to be called when the job is requeued: the same, which continues from the run's checkpoint."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _listen(asked: list[int]) -> None:
    """Let both signals interrupt the run as Ctrl-C does: a training finishes its step first, and saves."""

    def stop(number: int, _: FrameType | None) -> None:
        asked.append(number)
        raise KeyboardInterrupt

    def usr(number: int, _: FrameType | None) -> None:
        asked.append(number)
        signal.raise_signal(signal.SIGTERM)  # which a training heeds between its steps

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGUSR2, usr)


def _still_wanted() -> bool:
    """Whether Slurm calls this job running: then it was not cancelled, but is about to be preempted.

    A job that Slurm itself ends is completing or gone; one that it requeues itself needs no second asking.
    """
    job = os.environ.get("SLURM_JOB_ID", "")
    if not job:
        return False
    try:
        told = subprocess.run(
            ["squeue", "-h", "-j", job, "-o", "%T"], capture_output=True, text=True, timeout=_ANSWER, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return told.stdout.strip() == "RUNNING"
