"""Gradients of several processes: as of one, whatever a strategy does and whichever experts a sample takes.

Run as a program, this file is one of two processes.
"""

import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
import torch
from torch import nn

from benchmarks.training import gradient_sum
from benchmarks.training.distributed import Group
from benchmarks.training.gradient_sum import GradientSum

STEPS = 6
# Of 4 samples a step; the even ones are the first process's. Expert 2 is used by one of them, once, expert 3 never.
EXPERTS = [(0, 1, 0, 1), (0, 0, 1, 1), (1, 0, 1, 0), (0, 1, 2, 1), (0, 0, 0, 0), (1, 1, 1, 1)]


class Mixture(nn.Module):
    """A stem for all, an expert for each sample, a head for all, and a layer that no pass uses."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1).to(memory_format=torch.channels_last)
        self.experts = nn.ModuleList(nn.Conv2d(4, 4, 1) for _ in range(4))
        self.head = nn.Conv2d(4, 3, 1)
        self.never = nn.Conv2d(3, 3, 1)

    def forward(self, images, experts):
        features = self.stem(images)
        return self.head(torch.cat([self.experts[e](one[None]) for e, one in zip(experts, features, strict=True)]))


def once(loss, network, gradients):
    loss.backward()


def twice(loss, network, gradients):
    (0.3 * loss).backward(retain_graph=True)
    (0.7 * loss).backward()


def made_of_gradients(loss, network, gradients):
    """As an aggregator with an auxiliary loss: a pass, then other gradients put in their place."""
    loss.backward()
    for parameter in network.parameters():
        if parameter.grad is not None:
            parameter.grad = parameter.grad * 2


def asking_the_others(loss, network, gradients):
    """As a strategy that needs a sum of its own in the midst of its backward pass."""
    loss.backward(retain_graph=True)
    total = loss.detach().clone()
    gradients.add_up(total)
    (total * loss).backward()


WAYS = (once, twice, made_of_gradients, asking_the_others)


def trained(way, group):
    """Weights after some steps, and how many sums each step's backward pass had begun."""
    torch.manual_seed(0)
    network, early = Mixture(), []
    gradients = GradientSum(group, network.parameters())
    share = slice(group.rank, None, group.size)
    for experts in EXPERTS:
        images = torch.rand(4, 3, 6, 6)
        network.zero_grad()
        loss = (network(images[share], experts[share]) - images[share]).square().sum() / images.numel()
        gradients.begin()
        with mock.patch("torch.distributed.all_reduce", wraps=torch.distributed.all_reduce) as sums:
            way(loss, network, gradients)
        early.append(sums.call_count)
        gradients.finish()
        used = [expert in experts for expert in range(4)]
        assert [expert.weight.grad is not None for expert in network.experts] == used
        assert network.never.weight.grad is None
        with torch.no_grad():  # torch.optim would import torch's compiler
            for parameter in network.parameters():
                if parameter.grad is not None:
                    parameter -= 0.1 * parameter.grad + 0.01 * parameter
    return network.state_dict(), early


def two(folder: Path) -> list[dict]:
    """What two processes come to."""
    command = [sys.executable, __file__, str(folder)]
    path = os.pathsep.join([str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")])
    places = [os.environ | {"RANK": str(rank), "OMP_NUM_THREADS": "1", "PYTHONPATH": path} for rank in range(2)]
    started = [subprocess.Popen(command, env=place) for place in places]
    try:
        assert [process.wait(timeout=120) for process in started] == [0, 0]
    finally:
        for process in started:
            process.kill()
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return two(tmp_path_factory.mktemp("two"))


@pytest.mark.parametrize("way", WAYS)
def test_two_processes_train_as_one_with_experts_that_not_all_of_them_use(way, found):
    alone, _ = trained(way, Group())
    for weights, _ in (process[way.__name__] for process in found):
        torch.testing.assert_close(weights, alone, rtol=1e-5, atol=1e-6)
    assert torch.equal(found[0][way.__name__][0]["stem.weight"], found[1][way.__name__][0]["stem.weight"])


def test_sums_begin_within_a_single_backward_pass_and_behind_all_others(found):
    sent = [{name: early for name, (_, early) in process.items()} for process in found]
    # the layer that no pass uses holds the first step's buckets back; then head, stem's bias and its weight go early
    assert sent[0] == sent[1] and sent[0]["once"] == [0, 3, 3, 3, 3, 3]
    for name in ("twice", "made_of_gradients"):
        assert sent[0][name][1] > 0 and set(sent[0][name][2:]) == {0}, name
    assert sent[0]["asking_the_others"][2:] == [1] * (STEPS - 2)  # its own


def test_one_process_has_no_hooks_and_keeps_its_gradients():
    network = Mixture()
    gradients = GradientSum(Group(), network.parameters())
    assert not any(getattr(one, "_post_accumulate_grad_hooks", None) for one in network.parameters())
    gradients.begin()
    network(torch.rand(1, 3, 6, 6), [0]).sum().backward()
    before = network.head.weight.grad
    gradients.finish()
    assert network.head.weight.grad is before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_nothing_waits_and_gradients_are_those_of_the_backward_pass(tmp_path):
    """The sums of one process, told that there are two, are its own gradients; NCCL refuses two on one GPU."""
    store = torch.distributed.FileStore(str(tmp_path / "meeting"), 1)
    torch.distributed.init_process_group("cpu:gloo,cuda:nccl", store=store, rank=0, world_size=1)
    try:
        network = Mixture().cuda()
        Group(0, 2).agree(network)
        assert Group(0, 2).same("a word") == "a word"
        images = torch.rand(4, 3, 6, 6, device="cuda")
        expected = torch.autograd.grad(network(images, EXPERTS[0]).sum(), [network.stem.weight, network.head.weight])
        gradients = GradientSum(Group(0, 2), network.parameters())
        for step in range(3):
            torch.cuda.set_sync_debug_mode("error" if step else "default")  # NCCL starts at the first sum
            network.zero_grad()
            gradients.begin()
            network(images, EXPERTS[0]).sum().backward()
            gradients.finish()
            torch.cuda.set_sync_debug_mode("default")
            torch.testing.assert_close([network.stem.weight.grad, network.head.weight.grad], list(expected))
            assert network.stem.weight.grad.stride() == network.stem.weight.stride()
    finally:
        torch.cuda.set_sync_debug_mode("default")
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    place, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{place}/meeting", rank=rank, world_size=2)
    gradient_sum.BUCKET = 64  # bytes: each parameter travels in its own
    torch.save({way.__name__: trained(way, Group(rank, 2)) for way in WAYS}, place / f"{rank}.pt")
    torch.distributed.destroy_process_group()
