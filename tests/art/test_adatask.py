"""AdaTask: its authors' steps, absent tasks, clipping, decay, a loss of the network's own, what it must be given."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

import art
from art import TaskLosses

TRACES = np.load(Path(__file__).with_name("more_traces.npz"))
JACOBIANS, THETA = (torch.from_numpy(TRACES[name]).float() for name in ("jacobian", "adatask_theta"))
TASKS = ["denoise_15", "denoise_25", "denoise_50", "derain", "dehaze"]


class Loop:
    """A network of 12 numbers in which the task losses have the traces' gradients."""

    def __init__(self, spec="adatask", optimizer=torch.optim.Adam, strategy=None, **options):
        self.network = torch.nn.Linear(12, 1, bias=False)
        torch.nn.init.zeros_(self.network.weight)
        self.numbers = self.network.weight
        self.strategy = strategy or art.make(spec, TASKS)
        self.strategy.bind(self.network)
        self.optimizer = optimizer(self.network.parameters(), **({"lr": 1e-3} | options))

    def step(self, step, present=(1, 1, 1, 1, 1), auxiliary=None, factor=None):
        self.optimizer.zero_grad()
        losses = 1 + JACOBIANS[step % 12] @ (self.numbers - self.numbers.detach())[0]
        own = None if auxiliary is None else (auxiliary * self.numbers).sum()
        self.strategy.backward(TaskLosses(losses, torch.tensor(present).float()), own, [self.numbers])
        if factor is not None:
            self.numbers.grad.mul_(factor)
        self.strategy.step(self.optimizer, factor)
        return self.numbers.detach().clone()


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.AdamW])
def test_steps_are_those_of_its_authors(optimizer):
    loop = Loop(optimizer=optimizer, weight_decay=0.0)
    for step, expected in enumerate(THETA):
        torch.testing.assert_close(loop.step(step)[0], expected, rtol=1e-5, atol=1e-8)
    assert loop.strategy.weights.isnan().all() and not loop.optimizer.state


def test_one_task_is_adam_with_weight_decay_and_a_schedule():
    options = {"weight_decay": 0.1, "betas": (0.8, 0.95)}
    loop, number = Loop(optimizer=torch.optim.AdamW, **options), torch.nn.Parameter(torch.zeros(1, 12))
    loop.numbers.data.fill_(0.5)
    number.data.fill_(0.5)
    optimizer = torch.optim.AdamW([number], lr=1e-3, **options)
    for step in range(12):
        for group in (*loop.optimizer.param_groups, *optimizer.param_groups):
            group["lr"] = 1e-2 / (1 + step)
        number.grad = JACOBIANS[step, 2:3].clone()
        optimizer.step()
        torch.testing.assert_close(loop.step(step, (0, 0, 1, 0, 0)), number.detach(), rtol=1e-5, atol=1e-7)


def test_moments_and_step_count_of_an_absent_task_rest():
    loop, shorter = Loop(), Loop()
    loop.step(0)
    before = loop.strategy.moments[:, 3].clone()
    loop.step(1, (1, 1, 1, 0, 1))
    assert torch.equal(loop.strategy.moments[:, 3], before) and loop.strategy.steps.tolist() == [2, 2, 2, 1, 2]
    for step in range(3):  # a task alone moves as if the other steps had not been
        loop.step(step, (0, 0, 0, 1, 0))
    shorter.step(0)
    for step in range(3):
        shorter.step(step, (0, 0, 0, 1, 0))
    starts = [one.numbers.detach().clone() for one in (loop, shorter)]
    moves = [one.step(5, (0, 0, 0, 1, 0)) - start for one, start in zip((loop, shorter), starts, strict=True)]
    assert moves[0].abs().max() > 1e-4 and not torch.equal(*starts)
    torch.testing.assert_close(*moves)


def test_scale_and_constant_factors_of_the_losses():
    whole, fifth, clipped = Loop(), Loop("adatask:scale=0.2"), Loop()
    for step in range(4):
        ends = whole.step(step), fifth.step(step), clipped.step(step, factor=torch.tensor(0.01))
    torch.testing.assert_close(ends[1], ends[0] / 5)
    torch.testing.assert_close(ends[2], ends[0], rtol=1e-4, atol=1e-7)  # every step by one factor: no other steps


def test_clipping_shortens_the_step_it_is_of():
    plain, clipped = Loop(), Loop()
    for step in range(3):
        ends = plain.step(step), clipped.step(step, factor=torch.tensor(1e-3) if step == 1 else None)
    assert not torch.allclose(*ends, rtol=1e-2)
    shortened = (0.1 * 1e-3 * JACOBIANS[1] + 0.09 * JACOBIANS[0]) * 0.9 + 0.1 * JACOBIANS[2]
    torch.testing.assert_close(clipped.strategy.moments[0], shortened)


def test_a_loss_of_the_networks_own_has_moments_too():
    loop, own = Loop(), torch.linspace(-1, 1, 12)
    end = loop.step(0, auxiliary=own)
    torch.testing.assert_close(end, -1e-3 * (JACOBIANS[0].sign().sum(0) + own.sign())[None], rtol=1e-3, atol=1e-6)
    state = copy.deepcopy(loop.strategy.state_dict())
    resumed = Loop(strategy=art.make("adatask", TASKS))
    resumed.strategy.load_state_dict(state)
    resumed.numbers.data.copy_(end)
    assert torch.equal(loop.step(1, auxiliary=own), resumed.step(1, auxiliary=own))
    assert loop.strategy.own_steps.tolist() == [2]


def test_a_step_that_is_left_out_leaves_no_trace():
    loop = Loop()
    loop.step(0)
    before = copy.deepcopy(loop.strategy.state_dict())
    loop.strategy.backward(TaskLosses(1 + JACOBIANS[1] @ loop.numbers[0], torch.ones(5)), None, [loop.numbers])
    assert all(
        torch.equal(value, before[key]) for key, value in loop.strategy.state_dict().items() if "extra" not in key
    )


def test_what_it_must_be_given():
    with pytest.raises(ValueError, match="scale must be positive"):
        art.make("adatask:scale=0", TASKS)
    with pytest.raises(ValueError, match="works without any"):
        art.make("crmogm:of=adatask", TASKS)
    with pytest.raises(ValueError, match="the optimizer is SGD"):
        Loop(optimizer=torch.optim.SGD).step(0)
    loop = Loop()
    loop.optimizer.param_groups[0]["params"] = [torch.nn.Parameter(torch.zeros(1))]
    with pytest.raises(ValueError, match="must have all parameters"):
        loop.step(0)
    with pytest.raises(ValueError, match="a backward before it"):
        Loop().strategy.step(loop.optimizer)
