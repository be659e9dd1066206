"""Checkpoints of weights that lie otherwise in memory, as those of a GPU do."""

from __future__ import annotations

import torch
from test_nosync import trained
from torch import nn


def test_a_checkpoint_in_nhwc_memory_goes_on_in_the_usual_one(tmp_path):
    """With the same weights and moments, and the gradients of an aggregator lie as their weights."""
    first = trained("graddrop", tmp_path, "cpu")
    nn.utils.convert_conv2d_weight_memory_format(first.network, torch.channels_last)
    first.update(first.batches(0))
    for parameter in first.network.parameters():
        assert parameter.grad is None or parameter.grad.stride() == parameter.stride()
    first.save()
    second = trained("graddrop", tmp_path, "cpu")
    assert second.step == 1
    for one, other in zip(first.network.parameters(), second.network.parameters(), strict=True):
        mine, given = second.optimizer.state[other], first.optimizer.state[one]
        assert torch.equal(one, other)
        for name in ("exp_avg", "exp_avg_sq"):
            assert torch.equal(mine[name], given[name])
            assert mine[name].stride() == other.stride()
    assert any(
        weight.stride() != other.stride()
        for weight, other in zip(first.network.parameters(), second.network.parameters(), strict=True)
    )
