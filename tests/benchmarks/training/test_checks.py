"""What does not do its part is named: outputs and weights of a wrong shape, no gradient, nothing learned, NaN."""

import pytest
import torch
from torch import nn

import art
from benchmarks.config.errors import UserError
from benchmarks.data.batches import Batch
from benchmarks.training.checks import check_end, check_update
from benchmarks.training.losses import task_losses

CPU = torch.device("cpu")


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (2, 3, 1, 1), (1, 3, 8, 8), (2, 3, 8, 9)])
def test_an_output_of_another_shape_is_no_loss(shape):
    clean = torch.rand(2, 3, 8, 8)
    batch = Batch(clean, clean, torch.tensor([0, 1]), torch.tensor([1.0, 1.0]), (1, 1))
    with pytest.raises(ValueError, match=r"the network gives \(.*for images of \(2, 3, 8, 8\)"):
        task_losses(torch.rand(shape), batch)


def test_weights_and_gradients_are_looked_at():
    strategy, network = art.make("equal", ["a", "b"]), nn.Linear(2, 2)
    with pytest.raises(UserError, match="'mine' left no gradient"):
        check_update(strategy, "mine", list(network.parameters()))
    network(torch.ones(1, 2)).sum().backward()
    check_update(strategy, "mine", list(network.parameters()))
    strategy.weights = torch.ones(3)
    with pytest.raises(UserError, match=r"'mine': its weights are \(3,\); it must give one for each of 2 tasks"):
        check_update(strategy, "mine", list(network.parameters()))


def test_an_end_without_learning_or_with_broken_weights_is_none():
    network = nn.Linear(2, 2)
    check_end(network, True, "mine")
    with pytest.raises(UserError, match="nothing was learned: with strategy 'mine'"):
        check_end(network, False, "mine")
    network.bias.data[1] = torch.nan
    with pytest.raises(UserError, match="weights are not finite at the end: bias"):
        check_end(network, True, "mine")
