"""What is made again in the backward pass instead of kept: the same gradients from less memory."""

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


@pytest.mark.parametrize("few", [True, False])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (layers.Convolution(6, 64, 3, 2, 1), torch.nn.Conv2d(6, 64, 3, 2, 1)),
        (layers.Convolution(6, 64, 2, 2), torch.nn.Conv2d(6, 64, 2, 2)),
        (layers.Upsampling(64, 6), torch.nn.ConvTranspose2d(64, 6, 4, 2, 1)),
    ],
)
def test_convolutions_of_few_pixels_are_convolutions(ours, theirs, few):
    theirs.load_state_dict(ours.state_dict())
    side = 5 if few else 13
    found = []
    image = torch.randn(2, ours.in_channels, side, side - 1)
    for layer in (ours, theirs):
        given = layers.nhwc(image).requires_grad_()
        result = layer(given)
        found.append((result, *torch.autograd.grad(result.square().sum(), (given, *layer.parameters()))))
    for value, reference in zip(*found, strict=True):
        torch.testing.assert_close(value, reference, rtol=1e-4, atol=1e-3)
    assert found[0][0].is_contiguous(memory_format=torch.channels_last)
