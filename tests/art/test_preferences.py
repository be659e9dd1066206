"""COSMOS, PBI and PCD: a preference between the tasks, or a primary one."""

from pathlib import Path

import numpy as np
import pytest
import torch
from test_formulas import Linear

import art
from art import Conditions, TaskLosses, conformance

TRACES = np.load(Path(__file__).with_name("more_traces.npz"))
LOSSES = torch.from_numpy(TRACES["losses"])
TASKS = ["denoise_15", "denoise_25", "denoise_50", "derain", "dehaze"]
PREFERENCE = "denoise_15=0.1:denoise_25=0.2:denoise_50=0.3:derain=0.15:dehaze=0.25"  # of the traces


def step(strategy, losses, counts):
    strategy.backward(TaskLosses(losses.clone().requires_grad_(), counts))
    return strategy.weights


@pytest.mark.parametrize(("name", "own"), [("COSMOS", "penalty=1"), ("PBI", "theta=5")])
def test_is_torchjds(name, own):
    strategy = art.make(f"{name.lower()}:{own}:{PREFERENCE}", TASKS)
    for number, losses in enumerate(LOSSES):
        weights = torch.from_numpy(TRACES[f"{name}_weights"][number]).float()
        torch.testing.assert_close(step(strategy, losses, torch.ones(5)), weights, rtol=1e-5, atol=1e-5)
        assert strategy.scalarizer(losses).item() == pytest.approx(TRACES[f"{name}_total"][number], rel=1e-5)


@pytest.mark.parametrize("spec", ["cosmos:b=3:d=2", "pbi:b=3:d=2"])
def test_of_an_absent_task_nothing_is_read(spec):
    """The update is that of the tasks present alone."""
    counts = torch.tensor([2.0, 1, 0, 1])
    losses = torch.tensor([0.1, 0.05, 0, 0.2])
    alone = art.make(spec, ["a", "b", "d"])
    weights = step(alone, losses[[0, 1, 3]], torch.ones(3))
    strategy = art.make(spec, ["a", "b", "c", "d"])
    torch.testing.assert_close(step(strategy, losses, counts), torch.stack([*weights[:2], torch.zeros(()), weights[2]]))
    nothing = step(strategy, torch.zeros(4), torch.zeros(4))
    assert nothing.isfinite().all() and not nothing.any()


def test_pbi_draws_the_losses_to_the_preferences_ratios():
    strategy, losses = art.make("pbi:b=2", ["a", "b"]), torch.tensor([0.2, 0.1])
    for _ in range(120):
        losses = losses - 5e-4 * step(strategy, losses, torch.ones(2))
    assert losses[1] / losses[0] == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("cosmos:derain=1", "cosmos"),
        ("pbi:theta=5:derain=4:dehaze=2:denoise_15=2:denoise_25=2:denoise_50=2", "pbi:derain=2"),
        ("cosmos:penalty=0.5:dehaze=3", "cosmos:dehaze=3:penalty=0.5"),
        ("crmogm:of=pbi:derain=1.0", "crmogm:of=pbi"),
    ],
)
def test_has_one_spelling(spec, expected):
    assert art.canonical(spec, TASKS) == expected == art.canonical(expected, TASKS)
    assert art.make(expected, TASKS).unsupported(Conditions(absent_tasks=True, processes=2)) is None


def test_a_sweep_has_the_points_of_a_design():
    swept = art.expand("pbi:theta=2:design=3", TASKS)
    points = [spec.removeprefix("fixed:") for spec in art.design(3, TASKS)]
    assert [spec.removeprefix("pbi:").removesuffix(":theta=2") for spec in swept] == points
    assert art.expand("cosmos", TASKS) == ["cosmos"]
    space = art.search_space("pbi:derain=2", TASKS)
    assert space.keys() == {"theta", *TASKS} - {"derain"}
    assert art.with_parameters("cosmos", art.start("cosmos", TASKS), TASKS) == "cosmos"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("pbi:derian=2", "did you mean 'derain'"),
        ("cosmos:penalty=-1", "penalty must not be negative"),
        ("pbi:theta=-1", "theta must not be negative"),
        ("pbi:theta=much", "theta takes a finite number"),
        ("cosmos:derain=-1", "derain weighs -1: give a number, 0 or more"),
        ("pcd:primary=derian", "no task is called 'derian'; did you mean 'derain'"),
        ("pcd:tau=2", "tau"),
    ],
)
def test_refuses_what_is_no_preference(spec, message):
    with pytest.raises(ValueError, match=message):
        art.make(spec, TASKS)


@pytest.mark.parametrize(("spec", "trace"), [("pcd", "PCD"), ("pcd:tau=0.5", "PCD_tau_half")])
def test_pcd_is_torchjds(spec, trace):
    network, strategy = Linear(), art.make(spec, TASKS)
    for number, update in enumerate(torch.from_numpy(TRACES[f"{trace}_update"]).float()):
        network.zero_grad()
        strategy.backward(TaskLosses(network.losses(number), torch.ones(5)), None, network.parameters())
        torch.testing.assert_close(network.layer.weight.grad[0], update, rtol=1e-5, atol=1e-5)


def test_pcds_primary_task_is_where_it_is_named():
    """The same tasks in another order, with the same primary one, have the same update and weights."""
    order = [3, 0, 4, 1, 2]
    updates = []
    for places in (range(5), order):
        network, strategy = Linear(), art.make("pcd:primary=derain:tau=0.5", [TASKS[place] for place in places])
        for number in range(3):
            network.zero_grad()
            losses = network.losses(number)[list(places)]
            strategy.backward(TaskLosses(losses, torch.ones(5)), None, network.parameters())
        updates.append((network.layer.weight.grad[0], strategy.weights))
    torch.testing.assert_close(updates[0][0], updates[1][0])
    torch.testing.assert_close(updates[0][1][order], updates[1][1])
    primary = torch.from_numpy(TRACES["jacobian"][2][3])  # whose length the update has
    torch.testing.assert_close(updates[0][0].norm(), primary.norm())


@pytest.mark.parametrize("spec", ["cosmos:derain=2", "pbi:dehaze=3"])
def test_conforms(spec):
    assert not [finding for finding in conformance.check(spec) if finding.passed is False]
