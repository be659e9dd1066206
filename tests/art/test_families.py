"""The registry's families are what strategies do: where steady losses lead the weights of each."""

import torch

import art
from art import TaskLosses
from art.uncertainty import uncertain_loss

TASKS = list("abcde")
LEVELS = torch.tensor([0.02, 0.04, 0.08, 0.12, 0.2])
KIN = {name for name, entry in art.entries().items() if entry.family == "1/L"}
OF_LOSSES = [
    name
    for name, entry in art.entries().items()
    if entry.cost in ("losses", "losses twice") and not (entry.wraps or entry.apart or entry.of_tasks)
]


def slope(name):
    """Of the logarithms of the weights over those of the losses, which fluctuate about their levels."""
    strategy, chance, weights = art.make(name, TASKS), torch.Generator().manual_seed(0), []
    torch.manual_seed(0)
    for step in range(600):
        losses = (LEVELS * (1 + 0.1 * torch.randn(5, generator=chance)).clamp(0.5, 1.5)).requires_grad_()
        strategy.backward(TaskLosses(losses, torch.ones(5)))
        strategy.after_step(lambda losses=losses: losses.detach() * 0.999)
        weights.append(strategy.weights)
        if step % 60 == 59:
            strategy.end_epoch()
    places = LEVELS.log() - LEVELS.log().mean()
    return float(places @ torch.stack(weights[-300:]).mean(0).log() / places.square().sum())


def test_those_of_one_family_weigh_by_one_over_the_loss_and_no_others_do():
    slopes = {name: slope(name) for name in OF_LOSSES}
    like = {name for name, one in slopes.items() if abs(one + 1) < 0.1}
    assert like == (KIN - {"tur"}) | {"stch"}, (
        slopes
    )  # declared to be like `log`; it follows the loss farthest above its nadir
    assert {"log", "uw", "imtl_l", "geometric_mean", "famo", "tur"} == KIN
    for name, entry in art.entries().items():
        if name in OF_LOSSES and entry.family == "smallest loss":
            assert slopes[name] < -0.2 and name not in like, slopes


def test_turs_weights_are_one_over_the_error_where_its_maps_are_best():
    errors = LEVELS.view(5, 1, 1, 1).expand(5, 3, 4, 4)
    maps = (errors / 2).clone().requires_grad_()
    loss, weighted = uncertain_loss(errors, maps, torch.ones(5))
    assert torch.autograd.grad(loss, maps)[0].abs().max() < 1e-6
    torch.testing.assert_close(weighted / LEVELS, 2 / LEVELS / 5)
