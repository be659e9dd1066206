"""Passes that are compiled or replayed compute what eager ones do, and what cannot be so is said."""

from __future__ import annotations

import copy
import shutil
from contextlib import contextmanager

import pytest
import torch
import torch._inductor.config
from torch import nn

from baselines.network import Network, Output
from benchmarks.config.errors import UserError
from benchmarks.config.sections import TrainConfig
from benchmarks.training import forward
from benchmarks.training.forward import ForwardPass
from benchmarks.training.graphs import PassGraph

CPU = torch.device("cpu")
HAS_COMPILER = any(shutil.which(name) for name in ("g++", "clang++", "c++"))


class Plain(Network):
    """Convolution, batch norm, stochastic depth, a layer without use, and a loss of its own where asked for."""

    def __init__(self, auxiliary=False):
        super().__init__()
        self.first, self.norm, self.last = nn.Conv2d(3, 4, 3, 1, 1, bias=False), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1)
        self.idle, self.auxiliary = nn.Linear(2, 2), auxiliary

    def forward(self, image):
        features = self.norm(self.first(image))
        kept = features.new_empty(len(image), 1, 1, 1).bernoulli_(0.5)
        return image + self.last(features * kept)

    def training_forward(self, degraded, second=None, warmup=False):
        return Output(self(degraded), self.last.weight.square().sum() if self.auxiliary else None)


def recipe(**fields):
    return TrainConfig(
        **{"steps": 1000, "batch": 4, "patch": 16, "lr": 1e-2, "log_every": 1, "checkpoint_every": 1, **fields}
    )


def images(step, count=4):
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(step))


def walk(output, clean=0.5):
    restored, auxiliary = output
    loss = (restored - clean).abs().mean()
    (loss if auxiliary is None else loss + auxiliary).backward()


def steps(network, passes, count=8, walk=walk):
    """Train some steps; what came of them."""
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2, fused=True)
    for step in range(count):
        torch.manual_seed(step)
        optimizer.zero_grad(set_to_none=True)
        walk(passes(step, images(step)))
        optimizer.step()
    return {name: value.clone() for name, value in network.state_dict().items()}


@contextmanager
def recording():
    """Records work as a GPU does, but does it anew at each replay; a pass has the same memory each time."""

    def record(work):
        results = work()

        def replay():
            with torch.enable_grad():  # autograd replays without
                again = work()
            for mine, new in zip(results, again, strict=True):
                if mine is not None:
                    mine.detach().copy_(new)

        return results, replay

    yield record


def on_cpu(forward, network, images):
    return PassGraph(forward, network, images, recording)


class Pace:
    """Steps of so many seconds, with a host that is the slower one or not."""

    seconds, host_bound = 1.0, True

    def begin(self):
        pass

    launched = begin


def pace(seconds, host_bound=True):
    return type("Given", (Pace,), {"seconds": seconds, "host_bound": host_bound})()


@pytest.mark.skipif(not HAS_COMPILER, reason="no C++ compiler")
@pytest.mark.skipif(" " in torch.__path__[0], reason="torch's compiler for CPUs takes no folder with a space")
def test_compiled_and_eager_trainings_agree(monkeypatch):
    """The same random numbers too, in one compilation."""
    monkeypatch.setattr(torch._inductor.config, "compile_threads", 1)  # without a pool of processes
    torch.manual_seed(0)
    network = Plain(auxiliary=True)
    other = copy.deepcopy(network)
    passes = ForwardPass(other, recipe(compile="on"), CPU)
    expected = steps(network, ForwardPass(network, recipe(), CPU).joint, 4)
    found = steps(other, passes.joint, 4)
    assert passes.was_compiled
    assert passes.recompilations == 0
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_passes_of_any_number_of_samples_are_compiled_at_most_twice_and_walked_back_often():
    network = Plain()
    passes = ForwardPass(network, recipe(compile="on"), CPU, backend="aot_eager")
    for step, count in enumerate((3, 2, 5, 1, 4, 1, 7)):
        restored = passes.part(step, images(step, count)).restored
        torch.autograd.grad(restored.sum(), network.first.weight, retain_graph=True)
        restored.mean().backward()
    assert passes.was_compiled
    assert passes.recompilations <= 1  # one image alone


def test_a_network_that_is_compiled_anew_each_time_goes_on_eagerly_and_says_so_once(capsys):
    network = Plain()
    passes = ForwardPass(network, recipe(compile="on"), CPU, backend="eager")
    for step in range(12):
        passes.joint(step, images(step)[..., : 16 - step])
    assert not passes.was_compiled
    assert passes.recompilations == forward.RECOMPILATIONS + 1
    assert capsys.readouterr().err.count("goes on uncompiled") == 1


def test_what_cannot_be_compiled_trains_eagerly_and_nothing_has_changed(capsys, monkeypatch):
    def refuses(graph, inputs):
        monkeypatch.setattr(torch, "__path__", ["/my project/torch"])
        raise RuntimeError("CppCompileError: C++ compile error")

    torch.manual_seed(0)
    network = Plain()
    other = copy.deepcopy(network)
    expected = steps(network, ForwardPass(network, recipe(), CPU).joint)
    found = steps(other, ForwardPass(other, recipe(compile="on"), CPU, backend=refuses).joint)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    said = capsys.readouterr().err
    assert "trains uncompiled" in said and "a folder with a space, /my project/torch)" in said


@pytest.mark.parametrize(("seconds", "compiles"), [(1.0, True), (0.1, False), (None, False)])
def test_auto_compiles_where_enough_time_is_left(seconds, compiles):
    passes = ForwardPass(Plain(), recipe(), CPU, pace=pace(seconds), backend="eager")
    for step in range(2):
        passes.joint(step, images(step))
    assert passes.was_compiled == compiles


@pytest.mark.parametrize("fields", [{}, {"compile": "on"}, {"precision": "bf16", "emulate": True}])
@pytest.mark.parametrize("auxiliary", [False, True])
def test_replayed_steps_are_the_same_bits(auxiliary, fields):
    """Weights, statistics, random numbers; parameters without use keep no gradient."""
    torch.manual_seed(0)
    network = Plain(auxiliary)
    other = copy.deepcopy(network)
    passes = ForwardPass(other, recipe(**fields), CPU, pace=pace(0.01), graph=on_cpu, backend="eager")
    expected = steps(network, ForwardPass(network, recipe(**fields), CPU, backend="eager").joint)
    found = steps(other, passes.joint)
    assert passes.was_graphed
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert other.idle.weight.grad is None


def test_a_second_walk_through_a_replayed_step_is_an_error():
    network = Plain()
    passes = ForwardPass(network, recipe(graphs="on"), CPU, graph=on_cpu)
    steps(network, passes.joint, 5)
    assert passes.was_graphed
    output = passes.joint(5, images(5))
    output.restored.mean().backward(retain_graph=True)
    with pytest.raises(UserError, match=r"train\.graphs=off"):
        output.restored.mean().backward()
    stale = passes.joint(6, images(6)).restored
    passes.joint(7, images(7))
    with pytest.raises(UserError, match=r"train\.graphs=off"):
        stale.mean().backward()


def twice(output):
    output.restored.mean().backward(retain_graph=True)
    output.restored.square().mean().backward()


def apart(output):
    output.restored.mean().backward(retain_graph=True)
    output.auxiliary.backward()


@pytest.mark.parametrize("walk", [twice, apart])
def test_strategies_that_walk_back_twice_are_not_replayed(walk, capsys):
    network = Plain(auxiliary=True)
    passes = ForwardPass(network, recipe(graphs="on"), CPU, graph=on_cpu)
    steps(network, passes.joint, 6, walk)
    assert not passes.was_graphed
    assert "more than once" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("choices", "reason"),
    [
        ({"graph": None}, "CUDA"), ({"processes": 2}, "processes"), ({"hooked": True}, "from outside"),
        ({"broken": True}, "out of luck"),
    ],
)  # fmt: skip
def test_why_steps_are_not_replayed_is_said_once(choices, reason, capsys):
    def broken(*_):
        raise RuntimeError("out of luck")

    torch.manual_seed(0)
    network = Plain()
    if choices.pop("hooked", False):
        network.last.register_forward_pre_hook(lambda *_: None)
    choices = {"graph": broken if choices.pop("broken", False) else on_cpu, **choices}
    other = copy.deepcopy(network)
    expected = steps(network, ForwardPass(network, recipe(), CPU).joint)
    passes = ForwardPass(other, recipe(graphs="on"), CPU, **choices)
    torch.testing.assert_close(steps(other, passes.joint), expected, rtol=0, atol=0)
    assert not passes.was_graphed
    assert capsys.readouterr().err.count(reason) == 1


@pytest.mark.parametrize("given", [{"pace": pace(0.01, host_bound=False)}, {}])
def test_auto_leaves_a_gpu_alone_that_the_host_keeps_busy_and_other_devices(given, capsys):
    network = Plain()
    passes = ForwardPass(network, recipe(), CPU, graph=on_cpu, **given)
    steps(network, passes.joint)
    assert not passes.was_graphed
    assert not capsys.readouterr().err


def test_the_same_bits_again_are_asked_for_by_deterministic():
    network = Plain()
    passes = ForwardPass(network, recipe(deterministic=True), CPU, pace=pace(9.0), graph=on_cpu, backend="eager")
    steps(network, passes.joint)
    assert not passes.was_compiled
    assert not passes.was_graphed


def test_images_of_another_shape_are_not_replayed():
    network = Plain()
    passes = ForwardPass(network, recipe(graphs="on"), CPU, graph=on_cpu)
    steps(network, passes.joint, 5)
    assert passes.joint(5, images(5, 2)).restored.shape == (2, 3, 16, 16)
