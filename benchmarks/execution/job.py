"""One run done by this process: data, training, scores, status."""

from __future__ import annotations

import gc
import os
import sys
import time
import traceback
from collections.abc import Iterable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import torch
from pydantic import JsonValue

import art
import baselines
from baselines.network import Network
from benchmarks.config.errors import UserError
from benchmarks.config.shares import expected_epochs
from benchmarks.data import sources
from benchmarks.data.pools import Prepared
from benchmarks.execution import environment
from benchmarks.execution.locks import Busy, locked
from benchmarks.execution.plan import Plan, Todo
from benchmarks.execution.progress import ProgressFile
from benchmarks.execution.tracking import Tracker
from benchmarks.scoring import metrics
from benchmarks.scoring.scores import Flaw, evaluate, write_samples
from benchmarks.scoring.tiling import is_out_of_memory
from benchmarks.training import distributed
from benchmarks.training.checkpoint import resumable
from benchmarks.training.loop import Training
from benchmarks.training.nonfinite import Diverged
from benchmarks.training.rhythm import Rhythm
from results import ReadOnlyRun, Run, Status
from results.integrity import differing
from results.records import DataRecord, Environment, Progress, Role, RunRecord, State
from results.schema import CONFIG, DATA, DIGESTS, GUARDED, PREVIOUS, PROGRESS, SCORES, STATUS, STORE
from results.visible import visible

TRACEBACK = "traceback.txt"


@dataclass(frozen=True)
class ExecutionContext:
    """What the runs of a command share.

    Attributes:
        cache: folder of decoded images.
        device: where to train, such as ``cuda:1``.
        tracking_uri: of the MLflow store that mirrors the runs, or ``none``.
        command: the command in words, noted in MLflow.
        wait: for another process that is working on the same run; otherwise its status is :attr:`State.BUSY`.
        expected: records of the images that this machine must have.
        data: opened already by this process; without them, its first run of the command opens them.
        shared: whether other runs of the command use the device at the same time.
        threads: of the CPU for a run on a GPU, at most; 0 for as many as its configuration says.
        opened: the images, once a run has opened them.
    """

    cache: Path
    device: str
    tracking_uri: str
    command: str
    wait: bool = True
    expected: Sequence[DataRecord] = ()
    data: Prepared | None = None
    shared: bool = False
    threads: int = 0
    opened: list[Prepared] = field(default_factory=list)


def execute(plan: Plan, context: ExecutionContext) -> Status:
    """Train and score one run. A failure is written to its status and returned, never raised.

    Where the device's memory does not suffice beside other runs, the status is :attr:`State.CROWDED`, not written.

    Raises:
        KeyboardInterrupt: passed on; the run can be continued.
    """
    follows = distributed.is_follower()
    run = ReadOnlyRun(plan.folder) if follows else plan.run
    try:
        with nullcontext() if follows else locked(plan.folder / ".lock", context.wait):
            # asked again under the lock: the process that held it may have done the run
            if distributed.current().same(plan.todo != Todo.NOTHING):
                _Job(plan, run, context).do()
            return Status(State.DONE)
    except Busy as busy:
        return Status(State.BUSY, f"{busy}.")
    except UserError as error:
        if _lacks_memory(error.__cause__):
            return _short_of_memory(plan, run, context)
        return write_failure(run, str(error))
    except SystemExit as error:  # from a strategy or network of a user; the command and its other runs go on
        reason = f"code of the strategy or the network ended the process (SystemExit: {error.code})"
        return _fail_alone(run, reason)
    except OSError as error:
        message = f"{error.filename} {error.strerror}" if error.filename else str(error)
        return _fail_alone(run, f"{message}; what was written before is kept, and the same command goes on from there.")
    except Exception as error:  # the failure of one run never stops the others
        if _lacks_memory(error):
            return _short_of_memory(plan, run, context)
        return _fail_alone(run, f"{type(error).__name__}: {str(error).strip() or 'no message'}")


def write_failure(run: Run, reason: str) -> Status:
    """Write ``failed`` to the run's status, unless the disk refuses; returns that status.

    Args:
        run: the run.
        reason: may contain text from a user's file; control characters are made visible.
    """
    reason = visible(reason, lines=True)
    status = Status(State.FAILED, reason)
    with suppress(OSError):
        run.write_status(status)
    return status


def _fail_alone(run: Run, reason: str) -> Status:
    """Write a failure and its traceback.

    Other processes of the same run may not fail and would wait for this one for ever. So under ``torchrun`` the process
    ends, and ``torchrun`` then ends the others.
    """
    if not distributed.is_follower():
        with suppress(OSError):
            (run.folder / TRACEBACK).write_text(traceback.format_exc(), "utf-8", "backslashreplace")
    status = write_failure(run, reason)
    if distributed.several():
        print(f"failed: {run.folder}: {reason}", file=sys.stderr, flush=True)
        os._exit(1)
    return status


def _lacks_memory(error: BaseException | None) -> bool:
    """Whether memory ran out, also where that was the cause of another error."""
    return error is not None and (is_out_of_memory(error) or _lacks_memory(error.__cause__))


def _short_of_memory(plan: Plan, run: Run, context: ExecutionContext) -> Status:
    train = plan.config.train
    batches = f"batches of {train.batch} x {train.patch}x{train.patch}"
    lacking = f"the memory of {context.device} does not suffice for {batches}"
    if context.shared:
        return Status(State.CROWDED, f"{lacking} beside other runs")
    return _fail_alone(run, f"{lacking}; take a smaller train.batch, or fewer --jobs, or end what else uses it.")


def release_memory() -> None:
    """Give back what a run has left of a GPU's memory, for the runs of other processes beside this one."""
    if torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()


class _Job:
    """A run while it is worked on.

    Args:
        plan: what to do.
        run: the files to write, if this process is the one that writes.
        context: of the command.
    """

    def __init__(self, plan: Plan, run: Run, context: ExecutionContext):
        self.plan, self.config, self.run, self.context = plan, plan.config, run, context
        self.progress = ProgressFile(run)
        self.group = distributed.current()
        environment.keep_freed_memory()
        self.device = environment.device(context.device)
        threads = self.config.train.threads
        if context.threads and self.device.type != "cpu":  # results do not depend on it there
            threads = min(threads, context.threads)
        torch.set_num_threads(threads)

    def do(self) -> None:
        """Train, score, and write the status."""
        config, run = self.config, self.run
        data = self._open()
        before, mended = self.group.same(mend(run) if self.group.leads else (Status(State.ABSENT), set[str]()))
        self._check_same_images(data.records)
        forget_other_scores(run, data.records)
        run.write_record(record(self.plan, set(run.scores()["metric"]), data.records))
        run.write_data(data.records)
        whole = before.state == State.DONE and mended <= {CONFIG, DATA} and self.plan.is_scored
        if self.group.same(whole):  # nothing to train or to score
            return
        facts = run.environment.content() | environment.describe(self.device).content() | {"processes": self.group.size}
        run.write_environment(Environment.model_validate(facts))
        run.write_status(Status(State.RUNNING))
        tracker = Tracker(self.context.tracking_uri, run, config, self.context.command, self.plan.trial)
        tracker.start()
        try:
            network, trained = self._train(data, tracker)
            flaw, scored = (Flaw(), {}) if self.plan.trial else self._score(data, network)
        except Exception:
            tracker.finish(State.FAILED)
            raise
        run.write_environment(Environment.model_validate(facts | trained | scored))
        skipped = trained["skipped_updates"]
        skipped = f"{skipped} updates that were not finite skipped" if skipped else ""
        remarks = filter(None, [flaw.reason, skipped, trained["remark"]])
        status = Status(State.DONE, "; ".join(map(str, remarks)), flaw.fault)
        tracker.finish(State.DONE)
        only_rescored = before.state == State.DONE and not status.words  # keeps an earlier warning
        run.write_status(before if only_rescored else status)
        if self.group.leads:
            for name in (PROGRESS, PREVIOUS):
                (run.folder / name).unlink(missing_ok=True)

    def _open(self) -> Prepared:
        """The images of the run.

        Raises:
            UserError: where they are not those that the command expects.
        """
        data, config, opened = self.context.data, self.config, self.context.opened
        if data is None:
            if not opened:
                evaluate, cache = config.evaluate, self.context.cache
                opened.append(
                    sources.prepare(self.plan.setting, config.data, evaluate.extra, cache, protocol=evaluate.protocol)
                )
            data = opened[0]
        if changed := differing(self.context.expected, data.records, *Role):
            raise UserError(
                f"the images of {', '.join(changed)} below {config.data.root} are not the same on this machine."
            )
        return data.of(config.terms.task)

    def _check_same_images(self, records: Sequence[DataRecord]) -> None:
        """Whether a run that goes on would go on with the images it began with.

        Raises:
            UserError: if not.
        """
        if not resumable(self.plan.folder) or self.run.status.state == State.DONE:
            return
        if changed := differing(self.run.data, records, Role.TRAIN):
            raise UserError(
                f"the training images of {', '.join(changed)} are others than those it began with, under the same "
                "names and with the same sizes; put those back, or start anew with --fresh."
            )

    def _train(self, data: Prepared, tracker: Tracker) -> tuple[Network, dict[str, JsonValue]]:
        """The trained network, and what the environment record says of its training."""
        train = self.config.train
        memory = environment.PeakMemory(self.device)
        training = Training(self.config, data.train, self.run, self.device, data.validation)
        started, first = time.perf_counter(), training.step

        def report(step: int, rhythm: Rhythm) -> None:
            seconds = time.perf_counter() - started
            left = seconds / max(step - first, 1) * (train.steps - step)
            content = {"phase": "training", "done": step, "total": train.steps, "left": left, "tasks": rhythm.last()}
            self.progress.write(Progress.model_validate(content))
            if step % train.checkpoint_every == 0:
                tracker.rhythm(rhythm.table())
                if training.curve:
                    tracker.curve(training.curve.table())

        try:
            network = training.finish(report)
        except Diverged:
            training.write_tables()
            raise
        training.write_tables()  # also where they were lost after the last step
        tracker.rhythm(training.rhythm.table())
        facts: dict[str, JsonValue] = {
            "train_seconds": round(training.seconds, 2),
            "step_seconds": round(training.seconds / train.steps, 5),
            "skipped_updates": training.skipped,
            "remark": training.remark(),
        }
        if (clipped := training.clipping.clipped) is not None:
            facts["clipped_share"] = round(clipped / train.steps, 4)
        if first < train.steps:  # else the network was only loaded
            facts |= memory.facts().content() | training.facts()
        if training.curve:
            tracker.curve(training.curve.table())
            facts["validation_seconds"] = round(training.curve.seconds, 2)
        return network, facts

    def _score(self, data: Prepared, network: Network) -> tuple[Flaw, dict[str, JsonValue]]:
        """Score what is not scored yet; what is wrong with the outputs, and the seconds it took."""
        protocol, scored = self.config.evaluate.protocol, self.plan.scored_sets()
        pools = [pool for pool in data.tests if pool.dataset not in scored]
        started = time.perf_counter()

        def report(done: int, total: int) -> None:
            left = (time.perf_counter() - started) / done * (total - done)
            self.progress.write(Progress(phase="scoring", done=done, total=total, left=left))

        further = metrics.further(self.config.evaluate.metrics, self.device)
        rows, flaw = evaluate(network, pools, protocol, self.device, report, further, group=self.group)
        new, scores = pd.DataFrame(rows), self.run.scores()
        replaced = (scores["protocol"] == protocol) & scores["dataset"].isin([pool.dataset for pool in pools])
        old = scores[~replaced]
        self.run.write_scores(pd.concat([old, new], ignore_index=True) if len(old) else new)
        if self.group.leads:
            write_samples(network, pools, self.run.folder / "samples", self.device)
        return flaw, {"evaluate_seconds": round(time.perf_counter() - started, 2)}


def mend(run: Run) -> tuple[Status, set[str]]:
    """Put damaged files aside, so that they are made again.

    What cannot be told apart from what is damaged goes too: all files where their digests are lost, and the scores
    where the status is, which may have carried a warning about them.

    Returns:
        The run's status, and the names of the files that were put aside.
    """
    damage = run.damage()
    for reason in damage.values():
        print(f"warning: {run.folder}: {reason}; it is made anew.", file=sys.stderr, flush=True)
    names = set(damage)
    if DIGESTS in names:
        names |= {name for name in GUARDED if (run.folder / name).exists()}
    if STATUS in names:
        names.add(SCORES)
    for name in sorted(names, key=lambda name: name != DIGESTS):
        run.set_aside(name)
    return run.status, names


def forget_other_scores(run: Run, records: Sequence[DataRecord]) -> list[str]:
    """Remove the scores of test images that have changed, so that they are scored again.

    The file as it was is kept as ``scores.csv.replaced``.

    Returns:
        The test sets whose scores were removed.
    """
    changed, scores = differing(run.data, records, Role.TEST, Role.EXTRA), run.scores()
    removed = scores["dataset"].isin(changed)
    if removed.any():
        run.keep(SCORES, "replaced")
        run.write_scores(scores[~removed])
    return sorted(set(scores[removed]["dataset"]))


def record(plan: Plan, scored: Iterable[str] = (), data: Sequence[DataRecord] = ()) -> RunRecord:
    """What ``config.json`` holds.

    Args:
        plan: the run.
        scored: metrics that the run has scores of already, beside those that are asked for.
        data: the images it uses; without them it is not said how often they are seen.
    """
    config = plan.config
    tasks = [config.terms.task] if config.terms.task else plan.setting.task_names
    trained = [used for used in data if used.role == Role.TRAIN]
    samples = {task: sum(used.found or 0 for used in trained if used.task == task) for task in tasks}
    content = {
        **config.identity(plan.setting),
        "overrides": config.overrides(plan.setting),
        "parameters": art.parameters(config.strategy),
        "display": {"setting": plan.setting.title, "baseline": baselines.describe(config.baseline).name},
        "metrics": metrics.facts([*config.evaluate.metrics, *sorted(scored)]),
        "config": config.model_dump(mode="json"),
        "store": STORE,
    }
    if all(samples.values()):
        content["epochs"] = expected_epochs(config, plan.setting, samples)
    return RunRecord.model_validate(content)
