"""Several runs on one device: what is put back when memory runs out, threads, images opened once."""

import threading
from dataclasses import replace

import pytest
import torch

from benchmarks.config.configuration import resolve
from benchmarks.config.errors import UserError
from benchmarks.config.settings import load
from benchmarks.data.pools import Prepared
from benchmarks.execution import job, local
from benchmarks.execution.job import ExecutionContext
from benchmarks.execution.plan import Plan, Todo
from results.records import State


@pytest.fixture
def plans(tmp_path):
    setting = load("three_task")
    return [Plan.of(setting, resolve(setting, "nafnet", "mix", seed=seed), tmp_path / "out") for seed in range(4)]


@pytest.fixture
def context(tmp_path):
    return ExecutionContext(tmp_path / "cache", "cpu", "none", "a test")


class Worker:
    """A worker that works in the command's process."""

    def __init__(self, context):
        self.context = context

    def execute(self, plan):
        return local.execute(plan, self.context)

    def ask(self):
        pass

    end = kill = ask


@pytest.fixture
def done(monkeypatch):
    """What runs were begun, in order, and whether beside others; those of the seeds in ``short`` lack memory."""
    begun, short, lock = [], {"beside": set(), "alone": set()}, threading.Lock()

    def do(self):
        with lock:
            begun.append((self.config.seed, self.context.device, self.context.shared))
        if self.config.seed in short["beside" if self.context.shared else "alone"]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(job._Job, "do", do)
    monkeypatch.setattr(job.environment, "device", lambda name: torch.device("cpu"))
    monkeypatch.setattr(local, "_Worker", Worker)
    return begun, short


def test_a_run_that_lacks_memory_beside_others_is_done_alone_after_them(plans, context, done, capsys):
    begun, short = done
    short["beside"] = {0, 1}
    outcomes = local.run_all(plans, 3, ["cuda:0"], context)
    assert [outcomes[plan.folder].state for plan in plans] == [State.DONE] * 4
    assert {entry[0] for entry in begun[:4]} == {0, 1, 2, 3} and all(shared for _, _, shared in begun[:4])
    assert begun[4:] == [(0, "cuda:0", False), (1, "cuda:0", False)]
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2 and all("beside other runs; it is tried again alone, after them." in line for line in told)


def test_a_run_that_lacks_memory_alone_fails_and_says_what_to_do(plans, context, done):
    begun, short = done
    short["beside"], short["alone"] = {2}, {2}
    outcomes = local.run_all(plans, 5, ["cuda:0", "cuda:1"], context)
    assert [outcomes[plan.folder].state for plan in plans] == ["done", "done", "failed", "done"]
    reason = plans[2].status.reason
    assert reason == outcomes[plans[2].folder].reason and "a smaller train.batch, or fewer --jobs" in reason
    assert "cuda:0 does not suffice for batches of 10 x 64x64" in reason and len(begun) == 5
    assert plans[2].todo == Todo.RETRY and "OutOfMemoryError" in (plans[2].folder / job.TRACEBACK).read_text()


def test_what_libraries_say_of_memory_counts_and_other_errors_do_not(plans, context, monkeypatch):
    cause = UserError("the degradation noise fails on cuda.")
    cause.__cause__ = torch.OutOfMemoryError("CUDA out of memory.")
    for error, state in (
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), State.CROWDED),
        (RuntimeError("CUDA error: out of memory"), State.CROWDED),
        (cause, State.CROWDED),
        (RuntimeError("an illegal memory access"), State.FAILED),
        (UserError("the images are not the same."), State.FAILED),
    ):
        monkeypatch.setattr(job._Job, "do", lambda self, error=error: (_ for _ in ()).throw(error))
        assert job.execute(plans[0], replace(context, shared=True)).state == state


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_that_is_full_is_recognised_and_freed(plans, context, monkeypatch):
    def do(self):
        held = [torch.empty(2**28, dtype=torch.uint8, device="cuda")]
        held.append(held)  # a cycle, as a traceback or a hook makes them
        torch.empty(2**50, dtype=torch.uint8, device="cuda")

    monkeypatch.setattr(job._Job, "do", do)
    job.release_memory()
    before = torch.cuda.memory_reserved()
    assert job.execute(plans[0], replace(context, device="cuda", shared=True)).state == State.CROWDED
    job.release_memory()
    assert torch.cuda.memory_reserved() == before


def test_runs_share_devices_in_turn_and_processors_on_gpus(plans, context, monkeypatch):
    monkeypatch.setattr(local.joblib, "cpu_count", lambda: 8)
    of = local._contexts(context, ["cuda:0", "cuda:1"], 3)
    assert [(one.device, one.shared, one.threads) for one in of] == [
        ("cuda:0", True, 2), ("cuda:1", False, 2), ("cuda:0", True, 2),
    ]  # fmt: skip
    many = plans[0].config.model_copy(update={"train": plans[0].config.train.model_copy(update={"threads": 6})})
    set_to = []
    monkeypatch.setattr(torch, "set_num_threads", set_to.append)
    for device in ("cuda", "cpu"):
        monkeypatch.setattr(job.environment, "device", lambda name, device=device: torch.device(device))
        job._Job(replace(plans[0], config=many), plans[0].run, of[0])
    assert set_to == [2, 6]  # on a CPU results depend on them


def test_a_worker_opens_the_images_once_for_all_its_runs(plans, context, monkeypatch):
    opened = []
    monkeypatch.setattr(job.sources, "prepare", lambda *args, **more: opened.append(args) or Prepared())
    for plan in plans:
        job._Job(plan, plan.run, context)._open()
    assert len(opened) == 1
