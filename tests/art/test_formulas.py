"""The formulas of strategies that are ours or that we drive, by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torchjd.scalarization import DWA, FAMO

import art
from art import TaskLosses

TRACES = np.load(Path(__file__).with_name("strategy_traces.npz"))
LOSSES = torch.from_numpy(TRACES["losses"])  # 12 steps of 5 tasks, 0.01 to 0.2
TASKS = ["denoise_15", "denoise_25", "denoise_50", "derain", "dehaze"]
ALL = torch.ones(5)


def step(strategy, losses, counts=ALL):
    strategy.backward(TaskLosses(losses.clone().requires_grad_(), counts))
    return strategy.weights


class Linear(torch.nn.Module):
    """A network whose task losses have the trace's values and gradients, in one parameter of 12 numbers."""

    output_layer = "layer"

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(12, 1, bias=False)

    def losses(self, number):
        shift = self.layer.weight.flatten() - self.layer.weight.detach().flatten()
        return LOSSES[number] + torch.from_numpy(TRACES["jacobian"][number]) @ shift


def test_gradnorm_is_its_papers_formula():
    """Chen et al. 2018, section 3.2: L_grad = sum_k | G_k - mean(G) r_k^alpha |, the target held constant, one Adam
    step on it, weights scaled to sum K."""
    network, strategy = Linear(), art.make("gradnorm:alpha=1.5:lr=0.025", TASKS)
    strategy.bind(network)
    weights = torch.nn.Parameter(torch.ones(5))
    optimizer = torch.optim.Adam([weights], lr=0.025)
    for number in range(12):
        network.zero_grad()
        strategy.backward(TaskLosses(network.losses(number), ALL))
        torch.testing.assert_close(strategy.weights, weights.detach())
        rows = torch.from_numpy(TRACES["jacobian"][number])
        torch.testing.assert_close(network.layer.weight.grad[0], strategy.weights @ rows)
        norms = weights * rows.norm(dim=1)
        decrease = LOSSES[number] / LOSSES[0]
        target = (norms.mean() * (decrease / decrease.mean()) ** 1.5).detach()
        optimizer.zero_grad()
        (norms - target).abs().sum().backward()
        optimizer.step()
        weights.data.mul_(5 / weights.data.sum())
    assert (weights - 1).abs().max() > 0.05


def test_stch_is_its_authors():
    """Sums of logarithms until the epoch after the warm-up has ended, whose mean loss is the nadir."""
    strategy = art.make("stch:mu=0.5:warmup=1", TASKS)
    for number in range(8):
        weights = step(strategy, LOSSES[number])
        nadir = LOSSES[2:4].mean(0)
        softmax = torch.softmax((LOSSES[number] / nadir).log() / 0.5, 0)
        expected = 1 / LOSSES[number] if number < 4 else 5 * softmax / LOSSES[number]
        torch.testing.assert_close(weights, expected)
        if number % 2:
            strategy.end_epoch()
    scalarizer = strategy.scalarizer
    torch.testing.assert_close(scalarizer.nadir, nadir)
    total = 5 * 0.5 * ((LOSSES[9] / nadir) ** 2).sum().log()
    torch.testing.assert_close(scalarizer(LOSSES[9]), total)
    assert strategy.remark(torch.ones(1, 5)) == ""


def test_stch_takes_batches_that_lack_tasks_and_epochs_without_losses():
    strategy, counts = art.make("stch:mu=1:warmup=0", TASKS), torch.tensor([1.0, 1, 0, 0, 1])
    strategy.end_epoch()  # the warm-up of an encoder
    step(strategy, torch.where(counts > 0, LOSSES[0], 0), counts)
    assert "within the 1 epochs" in strategy.remark(torch.ones(1, 5))
    strategy.end_epoch()
    weights = step(strategy, LOSSES[1])
    nadir = torch.where(counts > 0, LOSSES[0], LOSSES[1])  # of a task that was absent: its first loss
    torch.testing.assert_close(weights, 5 / nadir / (LOSSES[1] / nadir).sum())
    weights = step(strategy, torch.where(counts > 0, LOSSES[2], 0), counts)
    present = counts > 0
    expected = 3 / nadir / (LOSSES[2] / nadir)[present].sum()
    torch.testing.assert_close(weights, torch.where(present, expected, 0))


def test_torchjds_stch_by_its_path():
    strategy = art.make("torchjd.scalarization:STCH:mu=0.1", TASKS)
    mean = art.make("equal", TASKS)
    for number, losses in enumerate(LOSSES):
        total, weights = TRACES["stch_total"][number], torch.from_numpy(TRACES["stch_weights"][number]).float()
        torch.testing.assert_close(step(strategy, losses), weights, rtol=1e-5, atol=0)
        assert strategy.scalarizer(losses).item() == pytest.approx(total, rel=1e-5)
        assert mean.scalarizer(losses).item() == pytest.approx(TRACES["mean_total"][number], rel=1e-5)


def test_dwa_compares_the_last_two_epochs():
    strategy = art.make("dwa", TASKS)
    for number in range(9):
        weights = step(strategy, LOSSES[number])
        if number % 3 == 2:
            strategy.end_epoch()
        if number < 6:
            torch.testing.assert_close(weights, torch.ones(5))
    rates = LOSSES[3:6].mean(0) / LOSSES[:3].mean(0)
    torch.testing.assert_close(weights, 5 * torch.softmax(rates / 2, 0))
    assert isinstance(strategy.scalarizer, DWA) and strategy.scalarizer.temperature == 2


def test_famo_learns_from_the_losses_after_each_step():
    strategy, alone = art.make("famo", TASKS), FAMO(5, lr=0.025, weight_decay=1e-3)
    for number in range(6):
        weights = step(strategy, LOSSES[number])
        values = LOSSES[number].clone().requires_grad_()
        alone(values).backward()
        torch.testing.assert_close(weights, values.grad)
        again = LOSSES[number] * torch.tensor([0.9, 1.0, 1.1, 0.8, 1.0])
        strategy.after_step(lambda again=again: again)
        alone.update(again)
    assert weights.max() > 1.2 * weights.min()


def angles(spec):
    """Degrees between a strategy's updates and those of equal weights, over the traces' losses and gradients."""
    network, strategy, found = Linear(), art.make(spec, TASKS), []
    strategy.bind(network)
    for number in range(11):
        torch.manual_seed(number)
        network.zero_grad()
        losses = network.losses(number)
        strategy.backward(TaskLosses(losses, ALL), None, network.parameters())
        strategy.after_step(lambda number=number: LOSSES[number + 1])
        strategy.end_epoch()
        equal = torch.from_numpy(TRACES["jacobian"][number]).mean(0)
        cosine = torch.cosine_similarity(network.layer.weight.grad[0], equal, dim=0)
        found.append(float(cosine.clamp(-1, 1).arccos().rad2deg()))
    return found


SOLVERS = {"cagrad": "clarabel", "nash_mtl": "ecos", "dualproj": "quadprog", "upgrad": "quadprog"}


# of tur, and of the steps that adatask takes itself: their conformance
@pytest.mark.parametrize("name", sorted(set(art.names()) - {"mix", "equal", "tur", "adatask"}))
@pytest.mark.filterwarnings("ignore:You are solving a parameterized problem")
def test_every_strategy_acts_on_the_losses_of_restoration(name):
    """At its defaults, on losses of 0.01 to 0.2, and after what it must wait for."""
    if name in SOLVERS:
        pytest.importorskip(SOLVERS[name], reason="an optional solver")
    found = angles(name)
    assert max(found[art.entries()[name].epochs + 1 :]) > 5


def test_equal_weights_are_reported_as_no_effect():
    assert max(angles("equal")) < 0.1
    dwa = art.make("dwa", TASKS)
    seen = torch.stack([step(dwa, losses) for losses in LOSSES])  # its epoch never ends
    assert "no effect" in dwa.remark(seen)
    dwa.end_epoch()
    step(dwa, LOSSES[0])
    dwa.end_epoch()
    assert dwa.remark(torch.cat([seen, step(dwa, LOSSES[1])[None]])) == ""
    counts = torch.tensor([[1, 1, 0, 0, 0], [0, 0, 2, 0, 0]])
    assert "no effect" in dwa.remark(counts / 2) and dwa.remark(counts[1:] / 2) == ""  # one task is no comparison
    assert all(art.make(name, TASKS).remark(seen) == "" for name in ("mix", "equal"))
    assert art.make("graddrop", TASKS).remark(seen * torch.nan) == ""
