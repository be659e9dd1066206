"""A grid of runs as jobs of Slurm, by submitit: one array, one run a job, on a file system that all machines share.

Every job writes its run's folder itself, so what a run leaves needs no sending. This process submits what is missing
and not in the queue yet, looks for ends, and reports. It may be stopped: jobs go on, and the same command finds them
again, by what ``job.json`` in a run's folder says.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import JsonValue

from benchmarks.config.errors import UserError
from benchmarks.execution.job import ExecutionContext, mend, write_failure
from benchmarks.execution.locks import Busy, locked
from benchmarks.execution.plan import Plan, Todo
from benchmarks.execution.slurm_job import SlurmJob
from benchmarks.execution.slurm_options import SlurmOptions
from benchmarks.execution.slurm_queues import QUEUES, Queue
from benchmarks.training.checkpoint import resumable
from benchmarks.training.interrupts import interrupts_wait
from results import Damaged, Status
from results.command import waits_for
from results.records import State
from results.visible import visible

FOLDER = "slurm"
"""Below the output folder: submitit's files and the jobs' logs, a folder a submission."""

JOB = "job.json"
_INTERVAL = 1.0  # seconds between two looks at the jobs
_PATIENCE = 60  # seconds that cancelled jobs have for the step at hand and their checkpoint
_CONTINUES = "the same command continues from its last checkpoint"

Ended = Callable[[Plan], None]


@dataclass(frozen=True)
class Submitted:
    """A run's job.

    Attributes:
        name: Slurm's, ``123_4``, or the number of the local process.
        executor: that it was given to.
        folder: of its log.
    """

    name: str
    executor: str
    folder: Path

    @property
    def log(self) -> Path:
        """What the job has printed."""
        return self.folder / f"{self.name}_0_log.out"

    @property
    def over(self) -> Path:
        """A file that submitit writes when the job ends by itself."""
        return self.folder / f"{self.name}_0_result.pkl"

    def forget_pickles(self) -> None:
        """Remove what nobody reads any more; the log stays."""
        for path in (self.over, self.folder / f"{self.name}_submitted.pkl"):
            with suppress(OSError):
                path.unlink(missing_ok=True)


def run_all(
    plans: Sequence[Plan], options: SlurmOptions, output: Path, context: ExecutionContext, ended: Ended
) -> dict[Path, Status]:
    """Do the runs as jobs; what became of each, by its folder.

    Args:
        plans: the runs.
        options: what the jobs are to have.
        output: the output folder, which jobs must see below the same path.
        context: of the jobs.
        ended: called with every run whose job has ended, as soon as that is seen.

    Raises:
        UserError: where the jobs cannot be submitted.
        KeyboardInterrupt: after it was said what becomes of the jobs.
    """
    grid = _Grid(plans, options, output, context, ended)
    what = "the jobs go on" if options.interrupt == "leave" else "the jobs save and are cancelled"
    with waits_for(what):
        try:
            return grid.finish()
        except KeyboardInterrupt:
            grid.interrupted()
            raise


class _Grid:
    def __init__(
        self, plans: Sequence[Plan], options: SlurmOptions, output: Path, context: ExecutionContext, ended: Ended
    ):
        self.options, self.ended = options, ended
        self.context = replace(context, data=None, opened=[])
        self.folder = output.absolute() / FOLDER
        self.outcomes: dict[Path, Status] = {}
        self.queue: Queue = QUEUES[options.executor](options, max(plan.config.train.threads for plan in plans))
        self.jobs: dict[Plan, Submitted] = {}
        self.left = list(plans)
        self._seen_ended: dict[Plan, float] = {}

    def finish(self) -> dict[Path, Status]:
        """Submit what is neither done nor in the queue, and wait for all."""
        self._find()
        while self.left or self.jobs:
            room = self.queue.room(len(self.jobs))
            if self.left and room:
                self._submit(self.left[:room])
            self.queue.look()
            for plan in list(self.jobs):
                self._take(plan)
            if self.jobs:
                time.sleep(_INTERVAL)
        return self.outcomes

    def _find(self) -> None:
        """Take up the jobs of an earlier command that are still in the queue."""
        known = {plan: job for plan in self.left if (job := _noted(plan)) and job.executor == self.options.executor}
        self.queue.look()
        self.jobs = {plan: job for plan, job in known.items() if not job.over.exists() and self.queue.has(job.name)}
        self.left = [plan for plan in self.left if plan not in self.jobs]
        if self.jobs:
            count = len(self.jobs)
            print(
                f"{count} of these runs {'is' if count == 1 else 'are'} in the queue already, and waited for.",
                flush=True,
            )

    def _submit(self, plans: Sequence[Plan]) -> None:
        """Submit these runs; whatever interrupts meanwhile waits until their jobs are noted."""
        for plan in plans:
            self._prepare(plan)
        folder = self.folder / time.strftime("%Y%m%d-%H%M%S")
        whole = [
            SlurmJob(
                replace(plan, folder=plan.folder.absolute()),
                replace(self.context, device=self.options.device(self.context.device)),
                apart=self.options.executor != "debug",
            )
            for plan in plans
        ]
        with interrupts_wait(twice=False) as signals:
            try:
                names = self.queue.submit(folder, whole)
            except Exception as error:  # submitit and Slurm refuse in many ways
                raise UserError(f"the jobs cannot be submitted: {_reason(error)}.") from error
            for plan, name in zip(plans, names, strict=True):
                job = Submitted(name, self.options.executor, folder)
                content: dict[str, JsonValue] = {"job": name, "executor": job.executor, "folder": str(folder)}
                plan.run.write_json(JOB, content)
                self.jobs[plan] = job
            self.left = [plan for plan in self.left if plan not in self.jobs]
        print(self.queue.told(names, folder), flush=True)
        if signals:
            raise KeyboardInterrupt

    def _prepare(self, plan: Plan) -> None:
        """Forget an earlier failure, so that what stands there at the job's end is of this job."""
        with suppress(Busy), locked(plan.folder / ".lock", wait=False):
            mend(plan.run)
            if plan.status.state == State.FAILED:
                plan.run.write_status(Status(State.RUNNING))

    def _take(self, plan: Plan) -> None:
        """Note what became of a run, if its job has ended."""
        job = self.jobs[plan]
        if not job.over.exists() and self.queue.has(job.name):
            self._seen_ended.pop(plan, None)
            return
        since = self._seen_ended.setdefault(plan, time.monotonic())
        status = self._found(plan, job, since)
        if status is None:
            return
        self.outcomes[plan.folder] = status
        del self.jobs[plan]
        job.forget_pickles()
        self.ended(plan)

    def _found(self, plan: Plan, job: Submitted, since: float) -> Status | None:
        """What became of a run whose job has ended; ``None`` while that cannot be told yet: a network's file system
        shows files late, and another command's process may be at work on the run."""
        with suppress(OSError):
            os.listdir(plan.folder)  # lets NFS look again
        try:
            if plan.status.state == State.FAILED:
                return plan.status
            if plan.todo == Todo.NOTHING:
                return plan.status
        except Damaged:
            pass
        if time.monotonic() - since < self.queue.late:
            return None
        try:
            with locked(plan.folder / ".lock", wait=False):
                return write_failure(plan.run, self._loss(plan, job))
        except Busy:
            return None

    def _loss(self, plan: Plan, job: Submitted) -> str:
        how = self.queue.ending(job.name)
        if not job.log.exists():
            return (
                f"its job {job.name} ended{how} and has left no log in {job.folder}; can the machines that jobs run on "
                "see that folder?"
            )
        continues = f"; {_CONTINUES}" if resumable(plan.folder) else "; the same command runs it again"
        return f"its job {job.name} ended{how}{continues}. Its log: {job.log}"

    def interrupted(self) -> None:
        """Say what becomes of the jobs, or cancel them and wait for them to save."""
        names = [job.name for job in self.jobs.values()]
        if not names:
            return
        if self.options.interrupt == "leave":
            unsubmitted = f" Not submitted yet: {len(self.left)}." if self.left else ""
            print(f"{self.queue.left(names)}{unsubmitted}", file=sys.stderr, flush=True)
            return
        problem = self.queue.cancel(names)
        until = time.monotonic() + _PATIENCE
        while not problem and time.monotonic() < until:
            self.queue.look(at_once=True)
            if not any(self.queue.has(name) for name in names):
                break
            time.sleep(_INTERVAL)
        done = f"could not be cancelled ({problem})" if problem else "are cancelled"
        print(f"The jobs {done}: {', '.join(names)}.", file=sys.stderr, flush=True)


def _noted(plan: Plan) -> Submitted | None:
    """The last job of a run, as its folder says."""
    try:
        found = plan.run.read_json(JOB)
    except Damaged:
        return None
    values: Mapping[str, object] = found
    name, executor, folder = (values.get(key) for key in ("job", "executor", "folder"))
    if isinstance(name, str) and isinstance(executor, str) and isinstance(folder, str):
        return Submitted(name, executor, Path(folder))
    return None


def _reason(error: BaseException) -> str:
    """The last line that says something: submitit puts what sbatch has printed at the end."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if "error" in line.lower()] or lines
    return visible(told[-1].rstrip(".") if told else type(error).__name__)[:400]
