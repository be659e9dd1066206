"""What does not do its part is named: weights of a wrong shape, no gradient, nothing learned, NaN."""

import pytest
import torch
from torch import nn

import art
from benchmarks.config.errors import UserError
from benchmarks.training.checks import check_end, check_update


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
