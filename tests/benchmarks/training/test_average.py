"""The weight average is torch's own, in one operation."""

from __future__ import annotations

import io

import torch
from test_forward import Plain, images
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from benchmarks.training.average import WeightAverage


def test_average_and_checkpoint_are_those_of_torchs_class():
    torch.manual_seed(0)
    network = Plain()
    theirs = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    ours = WeightAverage(network, 0.9)
    for step in range(6):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter))
            network(images(step))  # moves the batch statistics
        theirs.update_parameters(network)
        ours.update(network)
        if step == 3:  # from a checkpoint on, which either may have written
            file = io.BytesIO()
            torch.save(theirs.state_dict(), file)
            file.seek(0)
            ours = WeightAverage(Plain(), 0.9)
            ours.load_state_dict(torch.load(file, weights_only=True))
    expected, found = theirs.state_dict(), ours.state_dict()
    assert list(found) == sorted(expected, key=list(found).index)
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
