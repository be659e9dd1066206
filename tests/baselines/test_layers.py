"""What is made again in the backward pass instead of kept (the same gradients from less memory), and norms in bf16."""

import weakref

import pytest
import torch
import torch.nn.functional as F

import baselines
from baselines import layers

NEVER = 2**60


def gradients(name, precision):
    torch.manual_seed(0)
    network = baselines.build(name, "tiny").train()
    image = torch.rand(2, 3, 64, 64)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        restored = network.training_forward(image).restored
    restored.float().square().mean().backward()
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["transweather", "nafnet", "restormer"])
def test_gradients_are_the_same_bits(name, precision, monkeypatch):
    found = []
    for large in (0, NEVER):
        monkeypatch.setattr(layers, "LARGE", large)
        found.append(gradients(name, precision))
    assert torch.equal(*found)


@pytest.mark.parametrize("large", [0, NEVER])
def test_what_is_remade_is_not_kept(large, monkeypatch):
    monkeypatch.setattr(layers, "LARGE", large)
    first, second, weight = (torch.randn(8, 8, requires_grad=True) for _ in range(3))
    gone, product = [], first * second
    weakref.finalize(product.untyped_storage(), gone.append, True)
    with layers.remade(product, lambda: first.detach() * second.detach()):
        result = F.linear(product, weight)
    del product
    assert bool(gone) == (large == 0)
    result.sum().backward()
    torch.testing.assert_close(weight.grad, (first * second).sum(0).expand(8, 8))


def test_norms_sum_the_gradients_of_their_weights_in_single_precision():
    norm, gradient = layers.ChannelNorm(3), torch.rand(2, 3, 64, 64)
    norm(torch.randn(2, 3, 64, 64).bfloat16()).backward(gradient.bfloat16())
    torch.testing.assert_close(norm.bias.grad, gradient.sum((0, 2, 3)), rtol=1e-2, atol=0)
