"""Depth-wise convolution, GELU and gate in one pass: what PyTorch's operators give, on any number of threads."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

import baselines
from baselines import depthwise, sharing

NEVER = 2**60


def written(features, weight, bias, kind):
    result = F.conv2d(features, weight, bias, padding=1, groups=len(weight))
    if kind == "gelu":
        return F.gelu(result)
    gate, value = result.chunk(2, dim=1)
    return F.gelu(gate) * value


@pytest.fixture(params=[1, 2])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("kind", depthwise.KINDS)
@pytest.mark.parametrize("shape", [(1, 6, 1, 1), (3, 10, 5, 2), (1, 8, 2, 35), (2, 530, 7, 18)])
def test_values_and_gradients_are_those_of_the_operators(kind, shape):
    torch.manual_seed(0)
    channels = shape[1]
    tensors = [torch.randn(shape), torch.randn(channels, 1, 3, 3), torch.randn(channels)]
    tensors = [(2 * tensor).requires_grad_() for tensor in tensors]
    exact = [tensor.detach().double().requires_grad_() for tensor in tensors]
    ours, theirs = depthwise.fused(*tensors, kind), written(*exact, kind)
    grad = torch.randn_like(ours)
    found = (ours, *torch.autograd.grad(ours, tensors, grad))
    expected = (theirs, *torch.autograd.grad(theirs, exact, grad.double()))
    for value, reference in zip(found, expected, strict=True):
        assert (value - reference).abs().max() <= 3e-6 * reference.abs().max()


def test_gelu_is_exact_far_from_zero_and_passes_on_what_is_not_finite():
    center = torch.zeros(1, 1, 3, 3)
    center[..., 1, 1] = 1
    values = torch.tensor([-200.0, -6.0, -1e-30, 0.0, 1e-30, 6.0, 200.0])
    result = depthwise.fused(values[None, None, :, None], center, None, "gelu").flatten()
    torch.testing.assert_close(result, F.gelu(values), rtol=1e-6, atol=1e-7)
    for value in (torch.nan, torch.inf):
        result = depthwise.fused(torch.full((1, 1, 3, 3), value), center, None, "gelu")
        assert not result.isfinite().any()


@pytest.mark.parametrize("name", ["restormer", "transweather"])
def test_a_network_computes_the_same_with_it(name, monkeypatch):
    monkeypatch.setattr(depthwise, "WIDE", 0)
    found, calls = [], []
    monkeypatch.setattr(depthwise, "fused", lambda *a, fused=depthwise.fused: (calls.append(a), fused(*a))[1])
    for enough in (0, NEVER):
        monkeypatch.setattr(depthwise, "ENOUGH", enough)
        torch.manual_seed(0)
        network = baselines.build(name, "tiny").train()
        torch.manual_seed(1)
        with FlopCounterMode(display=False) as counter:
            restored = network.training_forward(torch.rand(2, 3, 64, 64)).restored
        restored.square().mean().backward()
        gradient = torch.cat([p.grad.flatten() for p in network.parameters()])
        found.append((gradient, counter.get_total_flops(), len(calls)))
    (ours, operations, used), (theirs, others, used_after) = found
    assert used > 0
    assert used_after == used
    assert (ours - theirs).norm() <= 1e-5 * theirs.norm()
    assert operations == others


def test_it_is_left_alone_where_it_does_not_fit():
    features = torch.rand(1, 4, 64, 64)
    assert depthwise.fits(features, 256)
    assert not depthwise.fits(features, 16)
    assert not depthwise.fits(features[..., :1, :1], 256)
    assert not depthwise.fits(features.double(), 256)
    assert not depthwise.fits(features.to("meta"), 256)
    with torch.autocast("cpu", torch.bfloat16):
        assert not depthwise.fits(features, 256)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("openmp", [True, False])
def test_every_unit_is_worked_on_once_and_failures_are_raised(openmp, monkeypatch):
    if not openmp:
        monkeypatch.setattr(sharing, "_openmp", lambda: None)
    done = []
    sharing.share(lambda tag, first, last: done.extend((tag, n) for n in range(first, last)), 7, 5)
    assert sorted(done) == [(5, n) for n in range(7)]

    def fail(first, last):
        raise ValueError(f"{first} {last}")

    with pytest.raises(ValueError, match=r"\d"):
        sharing.share(fail, 7)
