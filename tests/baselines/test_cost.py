"""What descriptions say of weights and memory, counted without computing anything."""

import pytest
import torch

import baselines

PATCH, BATCH = 128, 2


def counted(name, size):
    """Numbers in all weights, and MiB that a training's forward pass keeps for each sample."""
    kept = {}

    def keep(tensor):
        if not isinstance(tensor, torch.nn.Parameter):
            storage = tensor.untyped_storage()
            kept[storage._cdata] = storage  # held, so that its address is taken once
        return tensor

    with torch.device("meta"):
        network = baselines.build(name, size).train()
        images = torch.rand(BATCH, 3, PATCH, PATCH)
    second = images if baselines.recipe(name, "paper")["views"] == 2 else None
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network.training_forward(images, second)
    saved = sum(storage.nbytes() for storage in kept.values())
    return sum(parameter.numel() for parameter in network.parameters()), saved / BATCH / 2**20


# the paper sizes take up to 5 s each: one of them stands for all
@pytest.mark.parametrize(("name", "size"), [*((name, "tiny") for name in baselines.names()), ("transweather", "paper")])
def test_parameters_and_saved_memory_are_those_of_the_network(name, size):
    cost = baselines.describe(name).cost
    parameters, saved = counted(name, size)
    assert cost.parameters[size] == parameters
    assert cost.saved_mib[size] == pytest.approx(saved, rel=0.15)  # an estimate of what a GPU needs


@pytest.mark.parametrize("name", baselines.names())
def test_parameters_of_paper_sizes_are_those_of_the_network(name):
    with torch.device("meta"):
        network = baselines.build(name)
    assert baselines.describe(name).cost.parameters["paper"] == sum(one.numel() for one in network.parameters())
