"""Strategies against traces of their authors', LibMTL's and TorchJD's code, and tasks that a batch lacks."""

from pathlib import Path

import numpy as np
import pytest
import torch

import art
from art import TaskLosses
from art.jacobian import JacobianStrategy

TRACES = {
    name: torch.from_numpy(value) for name, value in np.load(Path(__file__).with_name("balancing_traces.npz")).items()
}
LOSSES, JACOBIANS, PRESENT = TRACES["losses"], TRACES["jacobian"], TRACES["present"]
TASKS = ["denoise_15", "denoise_25", "denoise_50", "derain", "dehaze"]
NAMES = ["log", "uw_so", "db_mtl", "moco", "excess_mtl", "go4align", "ldc_mtl"]


class Linear(torch.nn.Module):
    """A network of 12 numbers, in which the task losses have the traces' values and gradients."""

    def __init__(self):
        super().__init__()
        self.numbers = torch.nn.Parameter(torch.zeros(12))

    def losses(self, step, scale=1):
        moved = self.numbers - self.numbers.detach()
        return LOSSES[step % 12] + scale * JACOBIANS[step % 12] @ moved


def made(spec, tasks=TASKS):
    strategy, network = art.make(spec, tasks), Linear()
    strategy.bind(network)
    return strategy, network


def update(strategy, network, losses, present=None):
    """(12,) the gradient that a step leaves."""
    network.zero_grad()
    counts = torch.ones(len(losses)) if present is None else present.float()
    strategy.backward(TaskLosses(losses, counts), None, network.parameters())
    return network.numbers.grad.clone()


@pytest.mark.parametrize(
    ("spec", "trace", "factor"),
    [
        ("db_mtl", "db_mtl", 1),
        ("db_mtl:beta_sigma=0.5", "db_mtl_beta_sigma", 1),
        ("moco", "moco", 1),
        ("moco:gamma=2000:rho=0.01", "moco_gamma", 1),
        ("excess_mtl:step_size=0.01:warmup=0", "excess_mtl", 5),  # LibMTL's weights have sum K
        ("excess_mtl:step_size=1:warmup=0", "excess_mtl_step_1", 5),
        ("excess_mtl:step_size=1:warmup=1", "excess_mtl_warmup", 1),  # an epoch of three steps
    ],
)
def test_updates_of_gradients_are_libmtls_and_torchjds(spec, trace, factor):
    strategy, network = made(spec)
    for step, expected in enumerate(TRACES[f"{trace}_update"]):
        found = factor * update(strategy, network, network.losses(step))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
        if (weights := TRACES.get(f"{trace}_weights")) is None:
            assert strategy.weights.isnan().all()
        else:
            torch.testing.assert_close(factor * strategy.weights, weights[step], rtol=1e-5, atol=0)
        if step == 2:
            strategy.end_epoch()


@pytest.mark.parametrize(
    ("spec", "trace"),
    [
        ("uw_so:temperature=1", "uw_so_T_1"),
        ("uw_so:temperature=10", "uw_so_T_10"),
        ("uw_so", "uw_so_T_50"),
        ("uw_so:temperature=10", "uw_so_T_10_absent"),
        ("go4align:groups=1", "go4align_groups_1"),
        ("go4align", "go4align_groups_2"),
        ("go4align:groups=3", "go4align_groups_3"),
        ("go4align:groups=3:eta=1", "go4align_groups_3_eta_1"),
        ("go4align:groups=5", "go4align_groups_5"),
        ("ldc_mtl:scale=none:lamb=0.01:lr=0.001", "ldc_mtl_celeba"),
        ("ldc_mtl:scale=none:lamb=0.01:lr=0.1", "ldc_mtl_celeba_lr_01"),
        ("ldc_mtl:lr=0.001", "ldc_mtl_ratio"),
        ("ldc_mtl:scale=log:lr=0.001", "ldc_mtl_log"),
    ],
)
def test_weights_of_losses_are_the_traces(spec, trace):
    strategy = art.make(spec, TASKS)
    totals = []
    strategy.scalarizer.register_forward_hook(lambda _module, _inputs, total: totals.append(total.detach()))
    for step, expected in enumerate(TRACES[f"{trace}_weights"]):
        present = PRESENT[step] if trace.endswith("absent") else torch.ones(5)
        losses = torch.where(present > 0, LOSSES[step], 0).requires_grad_()
        strategy.backward(TaskLosses(losses, present.float()))
        torch.testing.assert_close(strategy.weights, expected, rtol=1e-5, atol=1e-12)
        torch.testing.assert_close(totals[-1], TRACES[f"{trace}_total"][step], rtol=1e-5, atol=1e-7)
        if f"{trace}_raw" in TRACES:
            raw = strategy.scalarizer.raw.detach()
            torch.testing.assert_close(raw, TRACES[f"{trace}_raw"][step], rtol=1e-5, atol=1e-5)


def test_log_weighs_by_one_over_the_loss():
    strategy, authors = art.make("log", TASKS), art.make("stch", TASKS)  # STCH warms up with this sum
    for losses in LOSSES:
        for one in (strategy, authors):
            one.backward(TaskLosses(losses.clone().requires_grad_(), torch.ones(5)))
        torch.testing.assert_close(strategy.weights, 1 / losses)
        torch.testing.assert_close(strategy.weights, authors.weights)
        assert strategy.scalarizer(losses) == losses.log().sum()


@pytest.mark.parametrize("name", NAMES)
def test_the_tasks_present_are_weighed_as_if_there_were_no_other(name):
    """Whatever stands in place of an absent task's loss."""
    few, network = made(name, TASKS[:3] + TASKS[4:])
    more, other = made(name)
    present = torch.tensor([True, True, True, False, True])
    for step in range(12):
        losses = other.losses(step)
        expected = update(few, network, network.losses(step)[present])
        found = update(more, other, torch.where(present, losses, losses * 100), present)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
        torch.testing.assert_close(more.weights[present], few.weights, equal_nan=True)
        if step % 2:
            few.end_epoch()
            more.end_epoch()
    assert more.weights[3] == 0 or more.weights.isnan().all()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_learned_about_an_absent_task(name):
    strategy, network = made(name if name != "excess_mtl" else "excess_mtl:warmup=1")
    for step in range(12):
        before = {key: value.clone() for key, value in strategy.state_dict().items() if torch.is_tensor(value)}
        assert update(strategy, network, network.losses(step), PRESENT[step]).isfinite().all()
        for key, value in strategy.state_dict().items():
            if torch.is_tensor(value) and 5 in value.shape:
                tasks = value.movedim(value.shape.index(5), 0)
                was = before[key].movedim(value.shape.index(5), 0)
                assert torch.equal(tasks[~PRESENT[step]].nan_to_num(-1), was[~PRESENT[step]].nan_to_num(-1)), key
        strategy.end_epoch()


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_run_goes_on_bit_for_bit(name):
    straight, network = made(name)
    resumed, other = made(name)
    for step in range(24):
        if step == 14:
            state = {
                key: value.clone() if torch.is_tensor(value) else value for key, value in straight.state_dict().items()
            }
            resumed.load_state_dict(state)
        expected = update(straight, network, network.losses(step), PRESENT[step % 12])
        if step >= 14:
            assert torch.equal(update(resumed, other, other.losses(step), PRESENT[step % 12]), expected)
        for strategy in (straight, resumed)[: 1 + (step >= 14)]:
            strategy.end_epoch()


@pytest.mark.parametrize("name", NAMES)
def test_several_processes_make_the_same_update(name):
    """Two with the same samples: each has half of the batch's gradient, and the loop adds up their updates."""
    alone, network = made(name)
    shared, other = made(name)
    shared.distribute(2, lambda rows: rows.mul_(2))
    assert alone.unsupported(art.Conditions(absent_tasks=True, processes=2)) is None
    for step in range(8):
        expected = update(alone, network, network.losses(step))
        found = 2 * update(shared, other, other.losses(step, scale=0.5))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
        alone.end_epoch()
        shared.end_epoch()


@pytest.mark.parametrize("groups", [1, 2, 3, 4, 6])
def test_go4aligns_groups_are_the_best_there_are(groups):
    torch.manual_seed(groups)
    for present in ([1, 1, 1, 1, 1, 1], [0, 1, 1, 1, 0, 1], [0, 0, 0, 1, 0, 0]):
        scalarizer = art.make(f"go4align:groups={groups}", list("abcdef")).scalarizer
        mask = torch.tensor(present) > 0
        indicators = torch.rand(6)
        found = scalarizer._grouped(indicators, mask)[mask]
        values = indicators[mask]
        best = min(
            (sum(float((values[group] - values[group].mean()).square().sum()) for group in split), split)
            for split in partitions([*range(len(values))], groups)
        )[1]
        for group in best:
            torch.testing.assert_close(found[group], values[group].mean().expand(len(group)))


def partitions(items, groups):
    """All ways to put items into at most so many groups."""
    if not items:
        yield []
        return
    for split in partitions(items[1:], groups):
        for place in range(len(split)):
            yield [[items[0], *part] if number == place else part for number, part in enumerate(split)]
        if len(split) < groups:
            yield [[items[0]], *split]


def test_excess_mtl_without_a_warmup_trusts_one_step_and_with_one_does_not():
    """The first step is of another scale than all others."""
    largest = {}
    for warmup in (0, 1):
        strategy, network = made(f"excess_mtl:warmup={warmup}")
        for step in range(40):
            scale = torch.tensor([1e-3, 1, 1, 1, 1]) if step == 0 else torch.ones(5)
            losses = LOSSES[step % 12] + scale * (JACOBIANS[step % 12] @ (network.numbers - network.numbers.detach()))
            update(strategy, network, losses)
            if step % 10 == 9:
                strategy.end_epoch()
        largest[warmup] = float(strategy.weights.max())
    assert largest[0] > 0.999 and largest[1] < 0.9


def test_remarks_tell_what_did_not_act():
    moco, network = made("moco")
    update(moco, network, network.losses(0))
    assert "never differed from equal ones" in moco.remark(torch.full((1, 5), torch.nan))
    moco, network = made("moco:gamma=2000")
    update(moco, network, network.losses(0))
    assert moco.remark(torch.full((1, 5), torch.nan)) == ""
    excess, network = made("excess_mtl")
    update(excess, network, network.losses(0))
    assert "within the 3 epochs" in excess.remark(torch.full((1, 5), 0.2))
    excess.epoch.fill_(3)
    assert "no effect" in excess.remark(torch.full((1, 5), 0.2))
    assert excess.remark(torch.tensor([[0.1, 0.3, 0.2, 0.2, 0.2]])) == ""


def test_ldc_mtl_takes_the_first_losses_of_every_epoch_for_logarithms():
    strategy = art.make("ldc_mtl:scale=log", TASKS)
    for step in range(4):
        strategy.backward(TaskLosses(LOSSES[step].clone().requires_grad_(), torch.ones(5)))
        torch.testing.assert_close(strategy.scalarizer.first, LOSSES[step // 2 * 2])
        if step % 2:
            strategy.end_epoch()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("uw_so:temperature=0", "temperature must be positive"),
        ("db_mtl:beta=1", r"beta in \[0, 1\)"),
        ("moco:gamma=0", "gamma > 0"),
        ("excess_mtl:step_size=0", "step_size > 0"),
        ("go4align:groups=0", "1 group or more"),
        ("ldc_mtl:lr=0", "lr must be positive"),
        ("ldc_mtl:lamb=-1", "lamb must not be negative"),
        ("ldc_mtl:scale=sqrt", "one of ratio, log, none"),
    ],
)
def test_refuses_parameters_out_of_range(spec, message):
    with pytest.raises(ValueError, match=message):
        art.make(spec, TASKS)


def test_those_with_a_memory_of_gradients_need_no_more_than_its_room():
    for name in ("db_mtl", "moco", "excess_mtl"):
        strategy, _ = made(name)
        assert isinstance(strategy, JacobianStrategy)
        assert [tuple(value.shape) for value in strategy.buffers() if 12 in value.shape] == [(5, 12)]
