"""Weights that are learned: where they start, at what rate, and that absent tasks rest."""

import math

import pytest
import torch
from torchjd.scalarization import Scalarizer

import art
from art import TaskLosses
from art.adapters import ScalarizerStrategy
from art.construction import wrap
from art.learning import Learner

TASKS = ["denoise_25", "derain", "dehaze"]
ALL = torch.ones(3)


def step(strategy, losses, counts=ALL):
    strategy.backward(TaskLosses(torch.tensor(losses, requires_grad=True), counts))
    return strategy.weights


def test_the_learner_is_adam():
    torch.manual_seed(0)
    parameter, learner = torch.nn.Parameter(torch.randn(4)), Learner((4,), 0.01)
    values, optimizer = parameter.detach().clone(), torch.optim.Adam([parameter], lr=0.01)
    for _ in range(20):
        parameter.grad = torch.randn(4)
        optimizer.step()
        values = learner.step(values, parameter.grad)
        torch.testing.assert_close(values, parameter.detach())


def test_an_absent_tasks_entry_rests():
    torch.manual_seed(0)
    alone, among = Learner((1,), 0.1), Learner((2,), 0.1)
    values, pair = torch.ones(1), torch.ones(2)
    for number in range(12):
        slope = torch.randn(2)
        present = torch.tensor([True, number % 3 == 0])
        before = pair
        pair = among.step(pair, slope, present)
        if present[1]:
            values = alone.step(values, slope[1:])
        else:
            assert pair[1] == before[1]
        assert pair[1] == values[0] and pair[0] != before[0]


@pytest.mark.parametrize(("name", "factor"), [("uw", 0.5), ("imtl_l", 1.0)])
def test_weights_start_where_the_first_losses_put_them(name, factor):
    strategy = art.make(name, TASKS)
    weights = step(strategy, [0.2, 0.0, 0.05], torch.tensor([2.0, 0.0, 1.0]))
    torch.testing.assert_close(weights, torch.tensor([factor / 0.2, 0.0, factor / 0.05]))
    weights = step(strategy, [0.2, 0.01, 0.05])  # the second task's first losses
    torch.testing.assert_close(weights, factor / torch.tensor([0.2, 0.01, 0.05]))
    weights = step(strategy, [0.4, 0.02, 0.1])
    torch.testing.assert_close(weights, factor / torch.tensor([0.2, 0.01, 0.05]))  # learned from then on


def test_the_formulas_of_uw_and_imtl_l():
    losses, s = torch.tensor([0.3, 0.1, 0.02]), torch.tensor([-1.0, -2.0, 0.5])
    uw, imtl = art.make("uw", TASKS).scalarizer, art.make("imtl_l", TASKS).scalarizer
    for scalarizer, start in ((uw, s), (imtl, -s)):
        next(scalarizer.parameters()).data.copy_(start)
        scalarizer.started.fill_(True)
    expected = sum(0.5 * math.exp(-a) * b + 0.5 * a for a, b in zip(s.tolist(), losses.tolist(), strict=True))
    assert uw(losses).item() == pytest.approx(expected) and imtl(losses).item() == pytest.approx(2 * expected)
    present = torch.tensor([True, True, False])
    expected = sum(0.5 * math.exp(-a) * b + 0.5 * a for a, b in list(zip(s.tolist(), losses.tolist(), strict=True))[:2])
    assert uw.forward(losses, present).item() == pytest.approx(expected)


@pytest.mark.parametrize("name", ["uw", "imtl_l"])
def test_the_rate_is_the_strategys_own(name):
    """Neither the network's optimizer nor its schedule or weight decay has a part in it."""
    moved = {}
    for rate in (0.025, 0.05):
        strategy = art.make(f"{name}:lr={rate}", TASKS)
        optimizer = torch.optim.AdamW(strategy.parameters(), lr=100.0, weight_decay=100.0)
        step(strategy, [0.2, 0.2, 0.2])
        before = next(strategy.parameters()).detach().clone()
        step(strategy, [0.1, 0.1, 0.1])
        optimizer.step()
        moved[rate] = (next(strategy.parameters()) - before).detach().abs()
        assert moved[rate].gt(rate / 2).all() and moved[rate].le(rate).all()
    torch.testing.assert_close(moved[0.05], 2 * moved[0.025], rtol=1e-4, atol=0)


class OwnRate(Scalarizer):
    """A user's: one number for all tasks."""

    def __init__(self, tasks, learning_rate=None):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.zeros(1))
        if learning_rate is not None:
            self.learning_rate = learning_rate

    def forward(self, values):
        return (self.scale.exp() * values).sum() - self.scale.sum()


def test_a_users_scalarizer_may_have_a_rate_too():
    own, shared = wrap(OwnRate, TASKS, {"learning_rate": 0.5}), wrap(OwnRate, TASKS, {})
    for strategy in (own, shared):
        assert isinstance(strategy, ScalarizerStrategy)
        step(strategy, [0.1, 0.1, 0.1])
    assert own.scalarizer.scale.item() == pytest.approx(0.5, rel=1e-4) and own.scalarizer.scale.grad is None
    assert shared.scalarizer.scale.item() == 0 and shared.scalarizer.scale.grad is not None  # the network's optimizer's


@pytest.mark.parametrize("name", ["uw", "imtl_l"])
def test_refuses_a_rate_that_is_none(name):
    with pytest.raises(ValueError, match="lr must be positive"):
        art.make(f"{name}:lr=0", TASKS)
