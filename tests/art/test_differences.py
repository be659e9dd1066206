"""No two strategies are the same by accident: all pairs, on losses and gradients as a training has them.

A small network is led along one fixed course. In every step all strategies meet the same weights and the same batch,
and their updates are compared up to a factor: a constant one is nothing to Adam and to clipping at a percentile, and
one that changes slowly is little.
"""

import itertools
from functools import cache

import pytest
import torch
import torch.nn.functional as F

import art
from art import Conditions, conformance

TASKS = ["denoise_25", "derain", "dehaze", "deblur", "lowlight"]
STEPS, EPOCH = 21, 3  # seven epochs; the longest wait is for the end of the fifth
SAME = 0.5  # degrees, the median over the steps: closer updates count as the same
SPECS = {"fixed": "fixed:derain=2", "crmogm": "crmogm:of=art"}  # those that need more than their name
COUNTS = {
    "balanced": [(2, 2, 2, 2, 2)] * STEPS,
    "shuffled": [(1, 2, 3, 2, 2), (2, 1, 0, 3, 4), (4, 2, 2, 1, 1)] * (STEPS // 3),
}


def degraded(task, clean, chance):
    """Noise, streaks, haze, blur, darkness; haze and darkness, noise and blur pull in opposite directions."""
    noise = torch.randn(clean.shape, generator=chance)
    ways = [
        clean + 0.1 * noise,
        torch.maximum(clean, (noise[:, :1] > 1.7) * 0.9),
        0.6 * clean + 0.35,
        F.avg_pool2d(F.pad(clean, (1, 1, 1, 1), mode="reflect"), 3, 1),
        0.35 * clean + 0.02 * noise,
    ]
    return ways[task]


def losses(network, step, counts):
    parts = []
    for task, count in enumerate(counts):
        chance = torch.Generator().manual_seed(100 * step + task)
        coarse = torch.rand(count, 3, 4, 4, generator=chance)
        clean = F.interpolate(coarse, size=(12, 12), mode="bilinear") if count else torch.zeros(0, 3, 12, 12)
        parts.append((degraded(task, clean, chance), clean))
    images, clean = (torch.cat(side) for side in zip(*parts, strict=True))
    return conformance.task_losses((network(images) - clean).abs(), counts)


def flat(tensors):
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


@cache
def course(mixing):
    """The weights before every step and after the last: of a training with equal weights."""
    torch.manual_seed(0)
    network = conformance.ToyNetwork()
    optimizer, weights = torch.optim.Adam(network.parameters(), lr=3e-3), []
    for step, counts in enumerate(COUNTS[mixing]):
        weights.append([one.detach().clone() for one in network.parameters()])
        optimizer.zero_grad()
        losses(network, step, counts).stacked.mean().backward()
        optimizer.step()
    return [*weights, [one.detach().clone() for one in network.parameters()]]


@torch.no_grad()
def put(network, weights):
    for one, value in zip(network.parameters(), weights, strict=True):
        one.copy_(value)


@cache
def updates(name, mixing):
    """(STEPS, P) what a strategy does at every step: gradients, or its own steps; None where it refuses."""
    strategy, network = art.make(SPECS.get(name, name), TASKS), conformance.ToyNetwork()
    strategy.bind(network)
    if strategy.unsupported(Conditions(absent_tasks=mixing == "shuffled")):
        return None
    own = type(strategy).step is not art.Strategy.step
    optimizer, found = torch.optim.Adam([*network.parameters(), *strategy.parameters()], lr=1e-3), []
    for step, counts in enumerate(COUNTS[mixing]):
        torch.manual_seed(step)
        put(network, course(mixing)[step])
        optimizer.zero_grad()
        strategy.backward(losses(network, step, counts), None, network.parameters())
        gradient = flat(one.grad for one in network.parameters())
        strategy.step(optimizer)
        move = flat(course(mixing)[step]) - flat(network.parameters())
        found.append(move if own else gradient)
        put(network, course(mixing)[step + 1])
        with torch.no_grad():
            strategy.after_step(lambda step=step, counts=counts: losses(network, step, counts).values)
        if step % EPOCH == EPOCH - 1:
            strategy.end_epoch()
    return torch.stack(found)


def angle(one, other):
    """Degrees between two strategies' updates at every step."""
    return F.cosine_similarity(one.double(), other.double(), dim=1).clamp(-1, 1).arccos().rad2deg()


NAMES = [name for name, entry in sorted(art.entries().items()) if not entry.apart]  # single is no one network
NEEDS = ("clarabel", "ecos", "quadprog")


def test_the_course_has_conflicts_and_losses_of_unequal_size():
    network = conformance.ToyNetwork()
    for step in (0, STEPS - 1):
        put(network, course("balanced")[step])
        found = losses(network, step, COUNTS["balanced"][step])
        rows = F.normalize(
            torch.stack(
                [
                    flat(torch.autograd.grad(one, list(network.parameters()), retain_graph=True))
                    for one in found.separate
                ]
            ),
            dim=1,
        )
        cosines = (rows @ rows.T)[~torch.eye(5, dtype=torch.bool)]
        assert cosines.min() < -0.3 and cosines.max() > 0.3
        assert found.values.min() > 0 and found.values.max() > 3 * found.values.min()


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_those_that_make_the_same_updates_are_declared_and_there_are_no_others():
    for solver in NEEDS:
        pytest.importorskip(solver, reason="an optional solver")
    found = set()
    for mixing, (one, other) in itertools.product(COUNTS, itertools.combinations(NAMES, 2)):
        sides = updates(one, mixing), updates(other, mixing)
        if all(side is not None for side in sides) and angle(*sides).median() < SAME:
            found.add(frozenset((one, other)))
    declared = {frozenset((name, other)) for name, entry in art.entries().items() for other in entry.same}
    assert {*map(tuple, map(sorted, found))} == {*map(tuple, map(sorted, declared))}


def test_those_that_wait_are_what_they_say_until_then_and_not_after():
    waiting = {name: entry for name, entry in art.entries().items() if entry.epochs}
    assert set(waiting) == {"dwa", "stch", "excess_mtl"}
    for name, entry in waiting.items():
        degrees = angle(updates(name, "balanced"), updates(entry.waits, "balanced"))
        assert degrees[: entry.epochs * EPOCH].max() < 0.01 and degrees[entry.epochs * EPOCH :].min() > 0.1, name
