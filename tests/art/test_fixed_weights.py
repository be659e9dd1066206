"""Weights that stay as given: their update, and the one spelling they have."""

import math
import random

import pytest
import torch

import art
from art import Conditions, TaskLosses, conformance

TASKS = ["denoise_15", "denoise_25", "denoise_50", "derain", "dehaze"]


def update(spec, losses, counts, network, auxiliary=None):
    """The gradient a strategy leaves, and its weights."""
    strategy = art.make(spec, TASKS)
    network.zero_grad()
    strategy.backward(TaskLosses(losses, torch.tensor(counts, dtype=torch.float32)), auxiliary)
    return torch.cat([parameter.grad.flatten() for parameter in network.parameters()]), strategy.weights


def batch(network, counts):
    torch.manual_seed(1)
    errors = (network(torch.rand(sum(counts), 3, 8, 8)) - torch.rand(sum(counts), 3, 8, 8)).abs()
    return conformance.task_losses(errors, counts)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((2, 2, 2, 2, 2), [2 / 6.5, 1 / 6.5, 1 / 6.5, 2 / 6.5, 0.5 / 6.5]),
        ((0, 3, 0, 1, 1), [0, 1 / 3.5, 0, 2 / 3.5, 0.5 / 3.5]),  # over those present
    ],
)
def test_the_update_is_the_gradient_of_the_weighted_sum(counts, expected):
    torch.manual_seed(0)
    network = conformance.ToyNetwork()
    losses = batch(network, counts)
    own = network.output.weight.square().sum()
    total = sum(weight * loss for weight, loss in zip(expected, losses.separate, strict=True)) + own
    by_hand = torch.autograd.grad(total, list(network.parameters()), retain_graph=True)
    found, weights = update("fixed:derain=2:dehaze=0.5:denoise_15=2", losses.stacked, counts, network, own)
    torch.testing.assert_close(weights, torch.tensor(expected))
    torch.testing.assert_close(found, torch.cat([gradient.flatten() for gradient in by_hand]))


def test_equal_weights_are_equal_bit_for_bit():
    """Which lets both have one name; also with tasks missing."""
    states = []
    for spec in ("equal", "fixed:derain=1", "fixed:denoise_15=3:denoise_25=3:denoise_50=3:derain=3:dehaze=3"):
        assert art.canonical(spec, TASKS) == "equal"
        torch.manual_seed(0)
        network, strategy = conformance.ToyNetwork(), art.make(spec, TASKS)
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
        for counts in [(2, 2, 2, 2, 2), (1, 0, 4, 0, 1), (0, 0, 0, 3, 0), (1, 2, 3, 1, 1)] * 3:
            optimizer.zero_grad()
            strategy.backward(batch(network, counts))
            optimizer.step()
        states.append(torch.cat([parameter.detach().flatten() for parameter in network.parameters()]))
    assert states[0].isfinite().all() and all(torch.equal(states[0], state) for state in states[1:])


def test_a_task_of_weight_0_is_not_trained_and_the_run_says_so():
    network = conformance.ToyNetwork()
    strategy = art.make("fixed:derain=0:dehaze=0", TASKS)
    counts = (0, 0, 0, 2, 3)
    alone, weights = update("fixed:derain=0:dehaze=0", batch(network, counts).stacked, counts, network)
    assert not alone.any() and not weights.any()
    seen = torch.tensor([[0.2, 0.4, 0.4, 0, 0]])
    assert strategy.remark(seen) == "not trained, for their weight is 0: derain, dehaze"
    assert "no effect" in art.make("fixed:derain=1.001", TASKS).remark(torch.full((1, 5), 0.2))
    assert art.make("fixed:derain=2", TASKS).remark(seen) == ""


def test_it_works_under_all_conditions():
    strategy = art.make("fixed:derain=2", TASKS)
    bare = torch.nn.Linear(2, 2)
    assert not any(map(strategy.unsupported, [Conditions(True), Conditions(processes=2), Conditions(network=bare)]))
    assert "fixed" in art.entries() and "fixed" not in art.names()  # which `--strategies all` are


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("fixed:derain=2:dehaze=1", "fixed:derain=2"),
        ("fixed:derain=0.1:dehaze=0.3:denoise_15=0.1:denoise_25=0.1:denoise_50=0.1", "fixed:dehaze=3"),
        ("fixed:derain=2:dehaze=2:denoise_15=2", "fixed:denoise_25=0.5:denoise_50=0.5"),
        ("fixed:derain=2:denoise_15=2:denoise_50=4", "fixed:denoise_15=2:denoise_50=4:derain=2"),  # of two, the smaller
        ("fixed:derain=1.00000001", "equal"),
        ("fixed:denoise_15=0:derain=9:dehaze=3:denoise_50=3:denoise_25=3", "fixed:denoise_15=0:derain=3"),
        ("fixed:denoise_15=0:derain=9:dehaze=2:denoise_50=3", "fixed:dehaze=2:denoise_15=0:denoise_50=3:derain=9"),
    ],
)
def test_one_spelling_of_one_training(spec, expected):
    assert art.canonical(spec, TASKS) == expected == art.canonical(expected, TASKS)


def test_the_spelling_stays_and_forgets_a_common_factor():
    """Also where rounding makes weights equal that were not, which changes what the most frequent one is."""
    chance = random.Random(0)
    cases = [[chance.choice([0, 1, 3, 3.0000001, 3.0000002, 0.1, 7.77777777, 250]) for _ in TASKS] for _ in range(300)]
    for values in [*cases, [1, 1, 3, 3.0000001, 3.0000002]]:
        if not any(values):
            continue

        def spelt(factor, values=values):
            weights = ":".join(f"{task}={value * factor!r}" for task, value in zip(TASKS, values, strict=True))
            return art.canonical(f"fixed:{weights}", TASKS)

        spec = spelt(1)
        assert art.canonical(spec, TASKS) == spec == spelt(2) == spelt(0.25)
        named = dict(part.split("=") for part in spec.split(":")[1:])
        again = [float(named.get(task, 1)) for task in TASKS]
        assert again == pytest.approx([value * max(again) / max(values) for value in values], rel=2e-5)


def test_without_tasks_the_spelling_only_sorts():
    assert art.canonical("fixed:derain=2:dehaze=1") == "fixed:dehaze=1:derain=2"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("fixed", "fixed:derain=2 .* fixed:design=16"),
        ("fixed:derian=2", "did you mean 'derain'"),
        ("fixed:derian=2:haze=1", "did you mean 'derain'.* 'haze'; did you mean 'dehaze'.* The tasks: denoise_15"),
        ("fixed:derain=-1", "derain weighs -1"),
        ("fixed:derain=nan", "derain takes a finite number"),
        ("fixed:derain=inf", "derain takes a finite number"),
        ("fixed:derain=heavy", "derain takes a finite number"),
        ("fixed:derain", "derain takes a finite number"),
        ("fixed:=2", "expected parameter=value"),
        ("fixed:derain=1:derain=2", "given twice"),
        ("fixed:derain=1e9", "more than a factor of 1e.06"),
        ("fixed:denoise_15=0:denoise_25=0:denoise_50=0:derain=0:dehaze=0", "all tasks weigh 0"),
        ("fixed:design=16", "stands for several strategies"),
        ("fixd:derain=2", "did you mean 'fixed'"),
    ],
)
def test_refuses_what_is_no_set_of_weights(spec, message):
    for ask in (art.make, art.check, art.canonical):
        with pytest.raises(ValueError, match=message):
            ask(spec, TASKS)


def test_tasks_may_have_any_name_that_a_spec_can_hold():
    tasks = ["tasks", "light rain", "50 %", "a:b"]
    torch.testing.assert_close(
        update_of("fixed:tasks=2:light rain=3:50 %=4", tasks), torch.tensor([0.2, 0.3, 0.4, 0.1])
    )
    with pytest.raises(ValueError, match="no spec can name the task 'a:b'"):
        art.canonical("fixed:tasks=2:light rain=2:50 %=2", tasks)


def update_of(spec, tasks):
    strategy = art.make(art.canonical(spec, tasks), tasks)
    strategy.backward(TaskLosses(torch.ones(len(tasks), requires_grad=True), torch.ones(len(tasks))))
    assert math.isclose(strategy.weights.sum(), 1, rel_tol=1e-6)
    return strategy.weights
