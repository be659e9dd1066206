"""Histoformer's parts, whose precision the whole network, which sorts, does not show."""

import torch
import torch.nn.functional as F

from baselines.histoformer import _FeedForward


def by_definition(layer, features):
    value, gate = F.pixel_shuffle(layer.project_in(features), 2).chunk(2, 1)
    gate = F.conv2d(gate, layer.dwconv_dilated2_1.weight, padding=2, dilation=2, groups=gate.shape[1])
    return layer.project_out(F.pixel_unshuffle(F.mish(gate) * layer.dwconv_5(value), 2))


def test_feed_forward_and_its_gradients_follow_the_definition_in_bf16_too():
    layer, features = _FeedForward(8, 16), torch.randn(2, 8, 16, 12)
    found = []
    for compute, bf16 in ((by_definition, False), (_FeedForward.forward, False), (_FeedForward.forward, True)):
        layer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            result = compute(layer, features).float()
        result.square().mean().backward()
        found.append([result, *(parameter.grad for parameter in layer.parameters())])
    expected, single, rough = found
    torch.testing.assert_close(single, expected)
    assert all((one - right).norm() < 0.02 * right.norm() for one, right in zip(rough, expected, strict=True))
