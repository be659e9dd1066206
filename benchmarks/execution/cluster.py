"""A grid of runs on several machines: a Dask cluster without a shared file system.

A worker trains and scores a run in a folder of its own and sends back what the run left. Where a worker dies, the
scheduler gives its run to another one. The local store is written by this
process alone, so that reports, MLflow and continuing need nothing of the workers.

What workers send is data (:mod:`benchmarks.execution.transport`), checked before it is used
(:mod:`benchmarks.execution.answers`).
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.config.configuration import Config
from benchmarks.config.errors import UserError
from benchmarks.config.settings import Setting
from benchmarks.data import locating
from benchmarks.execution import answers, environment, transport
from benchmarks.execution.answers import Files
from benchmarks.execution.job import ExecutionContext, execute, mend, record, write_failure
from benchmarks.execution.locks import Busy, locked
from benchmarks.execution.plan import Plan, Todo
from benchmarks.training import interrupts, starts
from results import Run, Status
from results import schema as names
from results.records import DataRecord, Progress, State
from results.visible import visible

START = (
    "dask scheduler --host ADDRESS  and on every machine  dask worker tcp://ADDRESS:8786 --host OWN --nworkers N "
    "--nthreads 1  (benchmarks/CLUSTERS.md)"
)
LONELY = 60  # seconds without any worker after which the runs that are left are given up
_PATIENCE = 60  # seconds that interrupted workers have for the step at hand and their checkpoint
_INTERVAL = 2  # seconds between two messages of a worker on its progress
VERSIONS = ("torch", "numpy", "distributed")  # of packages that are compared with the workers'
_ANSWER = 30  # seconds that a worker has to answer what the command asks it


def run_all(
    plans: Sequence[Plan], address: str, device: str, command: str, images: Sequence[DataRecord]
) -> dict[Path, Status]:
    """Execute the plans on the cluster; what became of each run, by its folder.

    Args:
        plans: the runs.
        address: of the scheduler, ``tcp://HOST:PORT``.
        device: where workers train.
        command: the grid the runs are part of.
        images: records of the images that are here, and that each worker must have too.

    Raises:
        UserError: if there is no cluster at that address, or its workers cannot do this project's runs.
        KeyboardInterrupt: after the workers' checkpoints were collected.
    """
    outcomes = {plan.folder: Status(State.BUSY) for plan in plans}
    with _connected(address) as client:
        _check_workers(client, address)
        for wait in (False, True):  # runs that another command works on come last
            left = [plan for plan in plans if outcomes[plan.folder].state == State.BUSY]
            with ExitStack() as locks:
                mine: dict[str, Plan] = {}
                for plan in left:
                    try:
                        locks.enter_context(locked(plan.folder / ".lock", wait=wait))
                    except Busy as busy:
                        outcomes[plan.folder] = Status(State.BUSY, str(busy))
                        continue
                    if plan.todo == Todo.NOTHING:
                        outcomes[plan.folder] = Status(State.DONE)
                    else:
                        mine[f"run-{uuid.uuid4().hex}"] = plan
                if mine:
                    outcomes |= _Round(client, address, mine, images).finish(device, command)
    return outcomes


@contextmanager
def _connected(address: str) -> Generator[Any]:
    with ExitStack() as stack:
        try:
            client = stack.enter_context(transport.client(address, timeout=15))
        except ImportError:
            raise UserError('--cluster needs Dask; in this project: pip install -e ".[cluster]".') from None
        except TypeError as error:
            raise UserError(
                f"{address} needs certificates, and Dask's configuration names none ({error}); see the section on "
                "whom a cluster trusts in benchmarks/README.md."
            ) from None
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0].replace("data+", "") if str(error) else type(error).__name__
            raise UserError(f"no Dask scheduler answers at {address} ({visible(reason)}). Start one: {START}") from None
        yield client


def _check_workers(client: Any, address: str) -> None:
    """Whether there are workers, with one thread each, that have this project; other versions are told."""
    try:
        client.wait_for_workers(1, timeout=30)
    except TimeoutError:
        raise UserError(f"the scheduler at {address} has no workers. Start some: {START}") from None
    workers = client.scheduler_info(n_workers=-1)["workers"]
    if crowded := [visible(name) for name, worker in workers.items() if worker["nthreads"] != 1]:
        raise UserError("each worker needs one thread, as runs share torch's generator: --nthreads 1.", crowded)
    try:
        found = client.run(facts, on_error="return", callback_timeout=_ANSWER)
    except Exception as error:  # one that does not answer, or one whose answer cannot be told
        raise UserError(
            f"a worker at {address} does not answer ({visible(error)}); stop it, or start it anew."
        ) from None
    here = facts()
    good = {name: fact for name, fact in found.items() if isinstance(fact, dict) and fact.keys() == here.keys()}
    if wrong := [visible(f"{name}: {fact}") for name, fact in found.items() if name not in good]:
        raise UserError("these workers cannot import this project; install it there:", wrong)
    for name, fact in good.items():
        different = [f"{key} {fact[key]}, here {value}" for key, value in here.items() if fact[key] != value]
        if different:
            versions = visible(f"worker {name} has {', '.join(different)}")
            print(f"warning: {versions}; results may differ.", file=sys.stderr)


def facts() -> dict[str, str | None]:
    """What the results of a process depend on."""
    return {"commit": environment.commit(), **{name: environment.version_of(name) for name in VERSIONS}}


class _Round:
    """Runs that were handed to the cluster, by the key of their task."""

    def __init__(self, client: Any, address: str, plans: Mapping[str, Plan], images: Sequence[DataRecord]):
        self.client, self.address, self.plans, self.images = client, address, dict(plans), list(images)
        self.topic = f"progress-{uuid.uuid4().hex}"
        self.outcomes: dict[Path, Status] = {}
        self._waiting: dict[str, Any] = {}

    def finish(self, device: str, command: str) -> dict[Path, Status]:
        self.client.subscribe_topic(self.topic, self._hear)
        for key, plan in self.plans.items():
            mend(plan.run)
            files = answers.packed(plan.folder, answers.FILES) | starts.packed(plan.config, plan.folder)
            arguments = (plan.setting, plan.config, plan.trial, files, self.images, device, command, self.topic)
            plan.run.write_record(record(plan, data=self.images))
            plan.run.write_status(Status(State.RUNNING))
            self._waiting[key] = self.client.submit(perform, key, *arguments, key=key, pure=False)
        try:
            self._collect()
        except KeyboardInterrupt:
            with suppress(Exception):  # whatever is left of the cluster: then their checkpoints are not collected
                self.client.run(_interrupt)
                self._collect(until=time.monotonic() + _PATIENCE)
            raise
        finally:
            self.client.unsubscribe_topic(self.topic)
            self.client.cancel(list(self._waiting.values()), force=True)
        return self.outcomes

    def _collect(self, until: float = float("inf")) -> None:
        """Take in results as they come; with no worker for a while, give up the rest."""
        seen = time.monotonic()
        while self._waiting and time.monotonic() < until:
            for key in [key for key, future in self._waiting.items() if future.done()]:
                self._take(key, self._waiting.pop(key))
            if self.client.status == "running" and self.client.scheduler_info(n_workers=-1)["workers"]:
                seen = time.monotonic()
            if time.monotonic() - seen > LONELY:
                for key in list(self._waiting):
                    self._lose(self.plans[key], f"no worker is left at {self.address}")
                    self._waiting.pop(key).release()
            time.sleep(0.5)

    def _take(self, key: str, future: Any) -> None:
        plan = self.plans[key]
        try:
            status, files = answers.opened(future.result(timeout=120), record(plan), _needed(plan))
            _unpack(files, plan.folder)
            plan.run.write_status(status)  # last: a run whose results did not all come is not done
            self.outcomes[plan.folder] = status
        except OSError as error:
            self._lose(plan, f"its results could not be written here: {visible(error)}")
        except answers.AnswerError as error:
            self._lose(plan, f"what its worker sent is not taken: {error}")
        except Exception as error:  # dask tells a dead worker, a lost scheduler and its own troubles in many ways
            self._lose(plan, f"lost on the cluster ({type(error).__name__}: {visible(error)})")
        finally:
            (plan.folder / names.PROGRESS).unlink(missing_ok=True)

    def _lose(self, plan: Plan, reason: str) -> None:
        self.outcomes[plan.folder] = write_failure(plan.run, f"{reason}; the same command runs it again.")

    def _hear(self, event: Any) -> None:
        """Write a worker's progress into the run's folder, where the view of all runs reads it."""
        with suppress(answers.AnswerError, OSError):  # no run is worth losing over its progress
            key, progress = answers.progress(event[1])
            if key in self._waiting:
                self.plans[key].run.write_progress(progress)


def perform(
    key: str,
    setting: Setting,
    config: Config,
    trial: bool,
    files: Files,
    images: list[DataRecord],
    device: str,
    command: str,
    topic: str,
) -> list[bytes]:
    """On a worker: do one run, continuing what ``files`` hold of it, where its images are those of the command's
    machine; its status and everything it left, as :func:`benchmarks.execution.answers.sealed`."""
    from distributed import get_worker

    worker = get_worker()
    cache = Path(worker.local_directory) / "restoration-cache"
    with _one_run, tempfile.TemporaryDirectory(prefix="run-") as place:
        plan = Plan.of(setting, config, Path(place), trial)
        start = files.pop(names.START, None)
        _unpack(files, plan.folder)
        if start:
            plan.folder.mkdir(parents=True, exist_ok=True)
            (plan.folder / names.START).write_bytes(start)
        context = ExecutionContext(cache, device, "none", command, expected=images)
        with _sending(plan, lambda progress: worker.log_event(topic, (key, progress.content()))):
            try:
                status = _data_failure(plan) or execute(plan, context)
            except KeyboardInterrupt:
                status = Status(State.RUNNING, "interrupted")
        written = plan.run.status
        samples = [path.relative_to(plan.folder).as_posix() for path in plan.folder.glob("samples/*")]
        content = answers.packed(plan.folder, [*answers.FILES, *samples, answers.TRACE])
        # what was written of a finished run may have a warning
        return answers.sealed(written if written.state == status.state else status, content)


def _needed(plan: Plan) -> Sequence[str]:
    """Files without which this run is not done."""
    return [name for name in answers.DONE if name != names.SCORES] + [names.CURVE] if plan.trial else answers.DONE


_one_run = threading.Lock()  # runs in one process would share torch's generator


def _data_failure(plan: Plan) -> Status | None:
    """A failure where the worker's data are not those that the run is for."""
    data = plan.config.data
    try:
        if locating.fingerprint(plan.setting, data) == data.fingerprint:
            return None
        reason = f"the training images below {data.root} are not the same on this worker"
    except UserError as error:
        reason = str(error)
    from distributed import get_worker

    return write_failure(plan.run, f"worker {get_worker().address}: {reason}")


@contextmanager
def _sending(plan: Plan, send: Callable[[Progress], None]) -> Generator[None]:
    """Send the run's progress, now and then, while it goes on."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_INTERVAL):
            progress = plan.run.progress()
            if progress:
                with suppress(Exception):  # no run is worth losing over its progress
                    send(progress)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _interrupt() -> None:
    """On a worker: let its run save and stop."""
    interrupts.interrupt()


def _unpack(files: Files, folder: Path) -> None:
    """Write files below the run's folder.

    Raises:
        ValueError: for files that are none of a run, or would lie elsewhere; nothing is written then.
    """
    answers.check_files(files)
    answers.all_below(folder, list(files))
    run = Run(folder)
    for name in sorted(files, key=lambda name: name == names.DIGESTS):  # after those that writing the others makes
        run.write(name, lambda path, name=name: path.write_bytes(files[name]))
