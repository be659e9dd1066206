"""The GPU sitting, with a CPU and tiny networks in the GPU's place: every part answers, and what fails is named."""

import tomllib
from pathlib import Path

import pandas as pd
import pytest
import torch

import baselines
from benchmarks.data import sources
from benchmarks.speed import gpu, gpu_checks, gpu_many, gpu_network, gpu_parts
from benchmarks.speed.__main__ import GPU_ROWS, main
from benchmarks.speed.steps import Bench
from benchmarks.speed.timing import Measure, in_turn
from benchmarks.speed.workers import Failed, Worker
from benchmarks.training.loop import Training

CPU = torch.device("cpu")
SMALL = {"profile": "demo", "overrides": ["train.batch=2", "train.patch=32", "data.mixing=shuffled"]}
FP32 = {"fp32": ["train.precision=fp32"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sitting")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "SCENES", 4)  # drawn once; whoever comes later finds them
        Bench(folder, CPU)
    return folder


@pytest.fixture(autouse=True)
def _flags():
    """What the parts set in processes of their own is put back here."""
    cudnn = torch.backends.cudnn
    before = torch.get_float32_matmul_precision(), cudnn.benchmark, cudnn.allow_tf32, torch.get_num_threads()
    yield
    torch.set_float32_matmul_precision(before[0])
    cudnn.benchmark, cudnn.allow_tf32 = before[1:3]
    torch.set_num_threads(before[3])


class Here:
    """A worker in this process: the same questions and answers."""

    def __init__(self, module, log, environment=None):
        self.station, self.answers = {"gpu_network": gpu_network, "gpu_parts": gpu_parts}[module].Station(), []

    def tell(self, do, **arguments):
        try:
            self.answers.append(getattr(self.station, do)(**arguments))
        except Exception as error:
            self.answers.append(Failed(str(error)))

    def answer(self, patience):
        answer = self.answers.pop(0)
        if isinstance(answer, Failed):
            raise answer
        return answer

    def ask(self, patience, do, **arguments):
        self.tell(do, **arguments)
        return self.answer(patience)

    def stop(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def sitting(monkeypatch, folder, seconds=600, **plan):
    """Rows of a small sitting on the CPU; limits and checks are left out, other parts have no time."""
    monkeypatch.setattr(gpu, "Worker", Here)
    monkeypatch.setattr(gpu_parts, "limits", lambda _: [Measure("", "product, fp32, TFLOP/s", 0.1)])
    monkeypatch.setattr(gpu_checks, "all_of", lambda *_: iter(()))
    never = dict.fromkeys(("gpu art", "gpu many", "gpu scoring", "gpu logging"), 1e9)
    usual = {"names": ["nafnet"], "size": "tiny", "bench": SMALL, "ways": FP32, "compiled": [], "network_seconds": 0.1}
    return list(gpu.Sitting(folder, "cpu", seconds, 1, gpu.Plan(**usual | {"part_seconds": never} | plan)).rows())


def test_a_sitting_fills_its_rows_and_names_what_there_was_no_time_for(monkeypatch, folder):
    rows = sitting(monkeypatch, folder)
    steps = {row.case.rpartition(", patch 32, ")[2]: row for row in rows if row.what == "gpu step"}
    assert set(steps) == {"fp32", "the field's, fp32", "the field's, PyTorch's defaults"}
    assert steps["the field's, fp32"].ratio == pytest.approx(1)
    values = steps["fp32"].values
    assert values["images_per_s"] == pytest.approx(2 / (values["ms"] / 1000))
    assert values["share_of_product"] == pytest.approx(values["tflop_per_s"] / 0.1)
    missing = {row.what: row.missing for row in rows if row.missing}
    assert set(missing) == {"gpu art", "gpu many", "gpu scoring", "gpu logging"}
    assert all("no time" in why for why in missing.values()) and all(row.what in gpu.WHATS for row in rows)


def test_a_network_that_does_not_compile_keeps_its_other_rows(monkeypatch, folder):
    monkeypatch.setattr(gpu_network, "PAUSE", 0)
    ways = FP32 | {"tf32": ["train.precision=tf32"]}  # which a CPU has not
    rows = sitting(monkeypatch, folder, compiled=["train.compile=off"], ways=ways)
    rows = [row for row in rows if row.what == "gpu step"]
    by_way = {row.case.rpartition(", ")[2]: row for row in rows}
    assert "uncompiled" in by_way["bf16 compiled"].missing and by_way["bf16 compiled"].met is None
    assert "train.precision=tf32 is for NVIDIA GPUs" in by_way["tf32"].missing
    assert by_way["fp32"].ratio > 0


def test_without_the_field_s_step_ours_keep_their_images_a_second(folder):
    found = {"s": 0.5, "batch": 8, "mib": 3.0, "first_s": 1.0}
    answer = {"ways": {"bf16": found}, "errors": {"plain": "too large"}, "rounds": 3, "patch": 128, "difference": None}
    sitting = gpu.Sitting(folder, "cpu", 1, 1)
    sitting.work = {"promptir": 1e9}
    missing, ours = sitting._steps("promptir", answer)
    assert missing.missing == "too large" and ours.ratio == 16 and "images a second" in ours.case


def test_a_compiled_way_is_measured_beside_the_others_and_its_losses_are_compared(monkeypatch, folder):
    facts = {"compiled": True, "recompilations": 0, "graphs": True}
    monkeypatch.setattr(Training, "facts", lambda _: facts)  # it costs a minute to compile for a CPU
    station = gpu_network.Station()
    station.prepare(str(folder), "cpu", "nafnet", "tiny", ["train.compile=off"], **SMALL)
    answer = station.measure(0.1, 1, {"bf16": ["train.precision=fp32"]})
    assert set(answer["ways"]) == {"bf16", "plain", "plain_default", "compiled"} and not answer["errors"]
    assert answer["difference"] == 0  # here the two are one: same weights, batch and steps
    station.ways["bf16"].losses[-1] *= 1.5
    assert station._difference("compiled", "bf16") == pytest.approx(1 / 3)
    data = station.data(0.1, 1)
    assert data["way"] == "compiled" and set(data["medians"]) == {"fixed", "own"}


def test_what_does_not_fit_is_halved_until_it_does(folder):
    station = gpu_network.Station()
    station.prepare(str(folder), "cpu", "nafnet", "tiny", **SMALL)
    asked = []

    def make(batch):
        asked.append(batch)
        if batch is None:
            raise torch.OutOfMemoryError
        return station._plain(False, batch)

    station._find("plain", make)
    assert asked == [None, 1] and station.ways["plain"].batch == 1


def test_art_and_mix_take_turns(folder):
    station = gpu_network.Station()
    station.prepare(str(folder), "cpu", "nafnet", "tiny", **SMALL)
    assert set(station.art(0.1, 1, [])["medians"]) == {"mix", "art"}


def test_the_field_s_airnet_has_its_contrastive_loss():
    from benchmarks.speed import plain
    from benchmarks.speed.training import batch_of, network_of

    data, before, after = (
        batch_of(2, 32, CPU, views=2),
        network_of("airnet", "tiny", CPU),
        network_of("airnet", "tiny", CPU),
    )
    plain.stepper(after, data.degraded, data.clean, data.tasks, 5, data.second)()
    changed = [name for name, value in before.named_parameters() if not value.equal(after.get_parameter(name))]
    assert any(name.startswith("E.E.encoder_q.mlp") for name in changed)  # only that loss reaches it


def test_operations_are_three_forward_passes():
    gmac = tomllib.loads(Path(baselines.__file__).with_name("nafnet.toml").read_text("utf-8"))["cost"]["gmac"]["tiny"]
    assert gpu.operations("nafnet", "tiny", 128) / 6e9 == pytest.approx(gmac, rel=0.01)


def test_the_device_s_limits_are_rates():
    rows = gpu_parts.limits(CPU, side=64, copied=2**12, rounds=1)
    assert [row.case.split(", ")[1] for row in rows] == ["bf16", "tf32", "fp32", "GB/s"]
    assert all(row.ratio > 0 for row in rows)


def test_checks_tell_right_from_wrong(monkeypatch, folder):
    bench = Bench(folder, CPU)
    assert all(row.met for row in gpu_checks.agreement(["nafnet"], CPU, patch=32))
    assert all(row.met for row in gpu_checks.resume(bench, "nafnet", "mix", SMALL["overrides"]))
    (row,) = gpu_checks.waiting(bench, ["mix"], "nafnet", 1, SMALL["overrides"])
    assert row.met

    wrong = iter([1.0, 1.1])
    network_of = gpu_checks.network_of

    def other(*arguments):
        network, factor = network_of(*arguments), next(wrong)
        with torch.no_grad():
            [parameter.mul_(factor) for parameter in network.parameters()]
        return network

    monkeypatch.setattr(gpu_checks, "network_of", other)
    assert not any(row.met for row in gpu_checks.agreement(["nafnet"], CPU, patch=32))

    def update(training, batch):
        training.step += 1
        if training.step > bench_start + 1:
            raise RuntimeError("called a synchronizing CUDA operation")

    bench_start = bench.training("nafnet", "mix").step
    monkeypatch.setattr(Training, "update", update)
    (row,) = gpu_checks.waiting(bench, ["mix"], "nafnet", 1, SMALL["overrides"])
    assert row.ratio == 3 and row.met is False and "synchronizing" in row.case


def test_a_check_that_fails_leaves_the_others_alone(monkeypatch, folder):
    def agreement(names, device):
        if names == ["nafnet"]:
            raise ValueError("no")
        yield Measure("gpu checks", names[0], 0.0)

    monkeypatch.setattr(gpu_checks, "agreement", agreement)
    monkeypatch.setattr(gpu_checks, "waiting", lambda *_: iter(()))
    monkeypatch.setattr(gpu_checks, "resume", lambda *_: iter([Measure("gpu checks", "resumed", 0.0)]))
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # put back afterwards
    rows = list(gpu_checks.all_of(folder, CPU, ["nafnet", "airnet"]))
    assert [row.missing for row in rows] == ["ValueError: no", "", ""]


def test_steps_are_counted_between_reports_of_the_window_over_the_ends_of_trainings(monkeypatch, folder):
    clock = [0.0]

    def finish(training, report):
        while training.step < 30:
            training.step, clock[0] = training.step + 10, clock[0] + 0.5
            report(training.step, None)

    monkeypatch.setattr(Training, "finish", finish)
    monkeypatch.setattr(gpu_many.time, "time", lambda: clock[0])
    monkeypatch.setattr(gpu_many.os, "sched_setaffinity", lambda *_: None, raising=False)
    station = gpu_many.Station()
    station.prepare(str(folder), "cpu", "nafnet", settling=10)
    assert station.count(1.2, 6.3) == {"steps_per_s": 20.0}
    with pytest.raises(RuntimeError, match="too short"):
        station.count(clock[0], clock[0] + 0.6)


def test_rounds_end_with_the_time():
    calls = []
    medians, rounds = in_turn({"a": lambda: calls.append(1) or 2.0}, 50, until=0.0)
    assert medians == {"a": 2.0} and rounds == 3 == len(calls)


def test_a_worker_answers_fails_with_a_sentence_and_does_not_keep_anyone_waiting(tmp_path):
    with Worker("gpu_parts", tmp_path / "log") as worker:
        with pytest.raises(Failed, match="no answer within 0 s"):
            worker.ask(0, "limits", device="nothing")
        with pytest.raises(Failed, match="unknown device 'nothing'"):
            worker.answer(60)
        worker.stop()
        with pytest.raises(Failed, match="ended with exit code"):
            worker.ask(10, "limits", device="cpu")


def test_what_is_not_measured_is_written_with_its_reason(monkeypatch, tmp_path, capsys):
    assert tuple(gpu.WHATS) == GPU_ROWS
    rows = [Measure("gpu art", "tiny", 1.0, "<= 1.005"), Measure.none("gpu step", "all", "no time", ">= 4")]
    monkeypatch.setattr(gpu, "measures", lambda *_: iter(rows))
    table = tmp_path / "speed.csv"
    assert main(["gpu", "--device", "cpu", "--csv", str(table)]) == 0
    kept = pd.read_csv(table, keep_default_na=False, dtype=str)
    assert kept[["what", "ratio", "met", "medians"]].to_numpy().tolist() == [
        ["gpu step", "not measured", "", "no time"],
        ["gpu art", "1", "yes", ""],
    ]
    assert "| gpu step | all | not measured | >= 4 |  | no time |" in capsys.readouterr().out


def test_without_a_gpu_the_command_says_so(capsys):
    assert main(["gpu", "--device", "cpu"]) == 2
    assert "needs a CUDA device" in capsys.readouterr().err
