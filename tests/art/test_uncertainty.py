"""TUR against the traces of the released losses, and in a network."""

from pathlib import Path

import numpy as np
import pytest
import torch

import art
from art.conformance import ToyNetwork, task_losses
from art.uncertainty import uncertain_loss

TRACES = np.load(Path(__file__).with_name("strategy_traces.npz"))
FORMS = {"softplus": "tur:eps=0", "noacc": "tur", "airnet": "tur:released"}  # name in the traces: ours
TASKS = ["denoise_15", "denoise_25", "denoise_50", "derain", "dehaze"]


def trace(name):
    return torch.from_numpy(TRACES[f"tur_{name}"])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", ["all_present", "absent", "one_sample_each"])
def test_is_the_released_loss(case, form):
    strategy = art.make(FORMS[form], TASKS)
    ids, samples = trace(f"{case}_task_ids"), trace(f"{case}_samples")
    order = ids.argsort(stable=True)  # a task's samples lie together
    restored, maps = (trace(name)[samples[order]].requires_grad_() for name in ("restored", "map"))
    counts = ids.bincount(minlength=5).float()
    errors = (restored - trace("target")[samples[order]]).abs()
    total, weighted = uncertain_loss(errors, maps + strategy.eps, counts, strategy.released)
    assert total.item() == pytest.approx(TRACES[f"tur_{case}_{form}_total"], rel=1e-5)
    total.backward()
    for given, name in ((restored, "grad_restored"), (maps, "grad_map")):
        torch.testing.assert_close(given.grad, trace(f"{case}_{form}_{name}")[order], rtol=1e-5, atol=1e-7)
    assert weighted[counts == 0].eq(0).all() and weighted[counts > 0].gt(0).all()


def test_learns_maps_of_the_images_size_along_with_the_network():
    torch.manual_seed(0)
    network, strategy = ToyNetwork().train(), art.make("tur", TASKS)
    strategy.bind(network)
    degraded, clean = torch.rand(2, 5, 3, 8, 8)
    counts = torch.tensor([2.0, 0.0, 1.0, 2.0, 0.0])
    with torch.no_grad():
        maps = strategy.predictor(torch.nn.functional.gelu(network.body(degraded))) + 1e-6
    assert maps.shape == clean.shape and maps.gt(0).all()
    errors = (network(degraded) - clean).abs()
    losses = task_losses(errors, counts.int().tolist())
    strategy.backward(losses, 3 * network.output.bias.sum())
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in strategy.parameters())
    _, weighted = uncertain_loss(errors, maps, counts)
    torch.testing.assert_close(strategy.weights, torch.where(counts > 0, weighted / losses.values, 0))
    with_auxiliary = network.output.bias.grad.clone()
    network.zero_grad()
    errors = (network(degraded) - clean).abs()
    strategy.backward(task_losses(errors, counts.int().tolist()))
    torch.testing.assert_close(
        with_auxiliary - network.output.bias.grad, torch.full((3,), 3.0)
    )  # its own loss, unweighted


def test_a_wide_error_widens_the_map():
    """With maps alone to be learned, each element ends at half its error: the minimum of e / u + 2 log u."""
    errors = torch.tensor([0.02, 0.2]).view(2, 1, 1, 1).expand(2, 3, 4, 4)
    raw = torch.zeros(2, 3, 4, 4, requires_grad=True)
    optimizer = torch.optim.Adam([raw], lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        uncertain_loss(errors, raw.exp(), torch.ones(2))[0].backward()
        optimizer.step()
    torch.testing.assert_close(raw.exp(), errors / 2, rtol=1e-2, atol=0)


def test_refuses_a_negative_eps():
    with pytest.raises(ValueError, match="eps must not be negative"):
        art.make("tur:eps=-1", TASKS)
