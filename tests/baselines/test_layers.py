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


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (layers.Convolution(6, 64, 7, 4, 3), torch.nn.Conv2d(6, 64, 7, 4, 3)),
        (layers.Convolution(6, 64, 2, 2), torch.nn.Conv2d(6, 64, 2, 2)),
        (layers.Upsampling(64, 6), torch.nn.ConvTranspose2d(64, 6, 4, 2, 1)),
    ],
    ids=["patches", "reduction", "upsampling"],
)
def test_a_product_for_few_pixels_is_the_convolution(ours, theirs, monkeypatch):
    theirs.load_state_dict(ours.state_dict())
    image = torch.randn(2, ours.in_channels, 4, 3)
    found = []
    for layer in (ours, theirs):
        given = layers.nhwc(image).requires_grad_()
        result = layer(given)
        found.append((result, *torch.autograd.grad(result.square().sum(), (given, *layer.parameters()))))
        monkeypatch.setattr(layers.F, "linear" if isinstance(ours, layers.Convolution) else "fold", None)
    for value, reference in zip(*found, strict=True):
        torch.testing.assert_close(value, reference, rtol=1e-4, atol=1e-4)
    assert found[0][0].is_contiguous(memory_format=torch.channels_last)
    with pytest.raises(TypeError, match="NoneType"):  # so it was a product
        ours(image)
    assert ours(image.repeat(9, 1, 9, 9)).isfinite().all()  # and with more pixels it is none
