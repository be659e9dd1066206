"""What a device computes in, and that nothing else is computed so."""

from __future__ import annotations

import pytest
import torch
from test_forward import recipe

from benchmarks.config.configuration import resolve
from benchmarks.config.errors import UserError
from benchmarks.config.settings import load
from benchmarks.execution import feasible
from benchmarks.execution.plan import Plan
from benchmarks.training import precision
from benchmarks.training.loop import Training
from results import Run

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def planned(tmp_path, *overrides):
    setting = load("three_task")
    return Plan.of(setting, resolve(setting, "nafnet", "mix", overrides=overrides), tmp_path)


def test_bf16_is_refused_on_a_cpu_without_it_unless_it_is_to_be_emulated(monkeypatch, tmp_path):
    asked = [planned(tmp_path, "train.precision=bf16")]
    forced = [planned(tmp_path, "train.precision=bf16", "train.emulate=true")]
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)
    feasible.check_device(asked, CPU)
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: False)
    feasible.check_device(forced, CPU)
    with pytest.raises(UserError, match=r"14 times slower.*train\.emulate=true"):
        feasible.check_device(asked, CPU)
    with pytest.raises(UserError, match="14 times slower"):  # also where a cluster's worker finds out
        Training(asked[0].config, [], Run(tmp_path), CPU)
    assert asked[0].config.hash == forced[0].config.hash


def test_tf32_is_for_gpus_that_have_it(monkeypatch, tmp_path):
    plans = [planned(tmp_path, "train.precision=tf32")]
    for device in (CPU, torch.device("mps")):
        with pytest.raises(UserError, match=f"not for {device.type}"):
            feasible.check_device(plans, device)
    for capability, refused in (((7, 5), True), ((8, 0), False), ((9, 0), False)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, found=capability: found)
        assert bool(precision.refusal(plans[0].config.train, GPU)) == refused


def flags():
    cudnn = torch.backends.cudnn
    products = torch.get_float32_matmul_precision(), torch.backends.cuda.matmul.allow_tf32
    deterministic = cudnn.deterministic, torch.are_deterministic_algorithms_enabled()
    return products, cudnn.allow_tf32, cudnn.benchmark, deterministic


@pytest.mark.parametrize("name", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize("deterministic", [False, True])
def test_what_is_set_for_a_step_is_put_back(name, deterministic, monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before, train = flags(), recipe(precision=name, deterministic=deterministic)
    with precision.set_up(train, CPU):
        assert flags() == before
    tf32 = name == "tf32"
    with precision.set_up(train, GPU):
        products = ("high" if tf32 else "highest", tf32)
        assert flags() == (products, tf32, not deterministic, (deterministic, deterministic))
    assert flags() == before
    with precision.set_up(train, GPU, fixed_shapes=False):
        assert not torch.backends.cudnn.benchmark
    with pytest.raises(KeyError), precision.set_up(train, GPU):
        raise KeyError
    assert flags() == before
