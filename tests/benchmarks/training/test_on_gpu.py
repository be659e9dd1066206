"""What only a GPU can show of training steps; elsewhere these tests are skipped."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from nosync import refuses_waiting
from test_forward import Plain, images, recipe, steps

from baselines.network import Output
from benchmarks.config.configuration import resolve
from benchmarks.config.settings import load
from benchmarks.data.pools import Pool
from benchmarks.training.forward import ForwardPass
from benchmarks.training.graphs import NotRecordable, PassGraph
from benchmarks.training.loop import Training
from results import Run

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
GPU, SETTING = torch.device("cuda"), load("three_task")
NETWORKS = ("transweather", "nafnet", "restormer", "promptir", "airnet")


def trained(folder, baseline="nafnet", device=GPU, count=8, *, strategy="mix", overrides=()):
    chance = np.random.default_rng(0)
    images = chance.integers(0, 256, (2, 80, 80, 3), dtype=np.uint8)
    pools = [Pool(task, ["a", "b"], images, depths=images[..., 0]) for task in SETTING.tasks]
    small = [f"train.steps={count}", "train.patch=64", "train.checkpoint_every=4", "train.encoder_warmup=0", *overrides]
    return Training(resolve(SETTING, baseline, strategy, overrides=small), pools, Run(folder), device)


def weights(network):
    return torch.cat([parameter.detach().flatten().cpu() for parameter in network.parameters()])


@pytest.mark.parametrize("baseline", NETWORKS)
def test_replayed_steps_are_eager_ones(baseline, tmp_path):
    """Up to rounding: some backward passes add up in another order each time."""
    found = []
    for graphs in ("off", "on"):
        training = trained(tmp_path / graphs, baseline, overrides=[f"train.graphs={graphs}", "train.compile=off"])
        for step in range(8):
            training.update(training.batches(step))
        found.append(weights(training.network))
        assert training.forward.was_graphed == (graphs == "on")
    assert (found[0] - found[1]).norm() <= 1e-3 * (
        found[0] - weights(trained(tmp_path / "start", baseline).network)
    ).norm()


def test_replayed_random_numbers_are_those_of_eager_steps_and_no_step_waits():
    torch.manual_seed(0)
    network = Plain(auxiliary=True).to(GPU)
    other = copy.deepcopy(network)
    eager = ForwardPass(network, recipe(graphs="off", compile="off"), GPU)
    replayed = ForwardPass(other, recipe(graphs="on", compile="off"), GPU)
    expected = steps(network, lambda step, batch: eager.joint(step, batch.to(GPU)))
    torch.testing.assert_close(
        steps(other, lambda step, batch: replayed.joint(step, batch.to(GPU))), expected, rtol=1e-4, atol=1e-5
    )
    assert replayed.was_graphed
    assert other.idle.weight.grad is None
    batch = images(9).to(GPU)
    with refuses_waiting(GPU):
        replayed.joint(9, batch).restored.mean().backward()


def test_compiled_and_replayed_steps_are_eager_ones():
    torch.manual_seed(0)
    network = Plain().to(GPU)
    other = copy.deepcopy(network)
    eager = ForwardPass(network, recipe(graphs="off", compile="off"), GPU)
    fast = ForwardPass(other, recipe(graphs="on", compile="on"), GPU)
    expected = steps(network, lambda step, batch: eager.joint(step, batch.to(GPU)))
    found = steps(other, lambda step, batch: fast.joint(step, batch.to(GPU)))
    assert fast.was_compiled
    assert fast.was_graphed
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


class Waiting(Plain):
    def training_forward(self, degraded, second=None, warmup=False):
        return Output(self(degraded) * float(degraded.mean()), None)


class Drawing(Plain):
    def training_forward(self, degraded, second=None, warmup=False):
        return Output(self(degraded) * torch.rand(()).to(degraded.device, non_blocking=True), None)


@pytest.mark.parametrize(("kind", "reason"), [(Waiting, "waits"), (Drawing, "random numbers on the host")])
def test_what_a_replay_would_leave_out_is_found_before(kind, reason):
    network = kind().to(GPU).train()
    with pytest.raises(NotRecordable, match=reason):
        PassGraph(lambda image: [network.training_forward(image).restored], network, [images(0).to(GPU)])
    assert torch.cuda.get_sync_debug_mode() == 0
    steps(network, lambda step, batch: network.training_forward(batch.to(GPU)), 2)  # nothing is broken by it


@pytest.mark.parametrize("baseline", ["nafnet", "transweather"])
def test_a_resumed_run_has_the_same_bits_where_they_are_asked_for(baseline, tmp_path):
    asked = ["train.deterministic=true", "train.ema=0.9"]
    straight = trained(tmp_path / "straight", baseline, overrides=asked)
    straight.finish()
    halfway = trained(tmp_path / "resumed", baseline, overrides=asked)
    while halfway.step < 4:
        halfway.update(halfway.batches(halfway.step))
    halfway.save()
    resumed = trained(tmp_path / "resumed", baseline, overrides=asked)
    assert resumed.step == 4
    resumed.finish()
    assert torch.equal(weights(straight.average.module), weights(resumed.average.module))


def test_a_checkpoint_of_a_gpu_goes_on_on_a_cpu(tmp_path):
    """Though weights and moments lie in another order in memory there."""
    first = trained(tmp_path, overrides=["train.graphs=off"])
    for step in range(4):
        first.update(first.batches(step))
    first.save()
    cpu = trained(tmp_path, device=torch.device("cpu"))
    assert cpu.step == 4
    assert torch.equal(weights(cpu.network), weights(first.network))
    moments = [state["exp_avg"] for state in first.optimizer.state.values()]
    for mine, given in zip(cpu.optimizer.state.values(), moments, strict=True):
        assert torch.equal(mine["exp_avg"], given.cpu())
    assert all(state["exp_avg"].stride() == weight.stride() for weight, state in cpu.optimizer.state.items())
    cpu.finish()


@pytest.mark.parametrize("strategy", ["graddrop", "tur", "gradnorm"])
def test_strategies_that_look_inside_train_with_graphs_and_compilation_asked_for(strategy, tmp_path, capsys):
    training = trained(tmp_path, strategy=strategy, overrides=["train.graphs=on"])
    for step in range(6):
        training.update(training.batches(step))
    assert not training.forward.was_graphed
    assert capsys.readouterr().err.count("train.graphs is off") == 1
