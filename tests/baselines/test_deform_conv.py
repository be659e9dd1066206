"""The deformable convolution against its definition, pixel by pixel."""

import importlib
import math

import pytest
import torch
from torch.nn import functional as F

from baselines.deform_conv import convolve, deform_conv, fastest
from benchmarks.scoring.torchvision_compat import prepare


def inputs(batch=2, channels=3, outputs=4, height=5, width=6, spread=1.5, dtype=torch.float64):
    """Offsets reach over every edge and beyond the pixels around the image."""
    return (
        torch.randn(batch, channels, height, width, dtype=dtype, requires_grad=True),
        (spread * torch.randn(batch, 18, height, width, dtype=dtype)).requires_grad_(),
        torch.rand(batch, 9, height, width, dtype=dtype, requires_grad=True),
        torch.randn(outputs, channels, 3, 3, dtype=dtype, requires_grad=True),
    )


def naive(features, offset, mask, weight):
    """The definition: bilinear samples at the shifted taps, zero outside, one pixel and tap at a time."""
    batch, _, height, width = features.shape
    result = torch.zeros(batch, len(weight), height, width, dtype=features.dtype)
    for b in range(batch):
        for i in range(height):
            for j in range(width):
                for tap in range(9):
                    y = i + tap // 3 - 1 + offset[b, 2 * tap, i, j]
                    x = j + tap % 3 - 1 + offset[b, 2 * tap + 1, i, j]
                    top, left = math.floor(y.item()), math.floor(x.item())
                    value = torch.zeros(features.shape[1], dtype=features.dtype)
                    for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
                        if 0 <= row < height and 0 <= column < width:
                            value = value + features[b, :, row, column] * (1 - abs(y - row)) * (1 - abs(x - column))
                    change = weight[:, :, tap // 3, tap % 3] @ value * mask[b, tap, i, j]
                    result[b, :, i, j] = result[b, :, i, j] + change
    return result


@pytest.mark.parametrize("way", ["kernels", "grid"])
def test_result_and_gradients_follow_the_definition(way):
    tensors = inputs()
    ours, definition = deform_conv(*tensors, way=way), naive(*tensors)
    torch.testing.assert_close(ours, definition)
    direction = torch.randn_like(definition)
    expected = torch.autograd.grad(definition, tensors, direction)
    for gradient, right in zip(torch.autograd.grad(ours, tensors, direction), expected, strict=True):
        torch.testing.assert_close(gradient, right)


def test_kernels_pass_gradcheck():
    tensors = inputs(batch=1, channels=2, outputs=2, height=3, width=4)
    assert torch.autograd.gradcheck(lambda *tensors: deform_conv(*tensors, way="kernels"), tensors)


def test_ways_agree_in_float32_whatever_the_memory_layout_and_threads():
    features, offset, mask, weight = inputs(batch=3, channels=16, height=17, width=23, dtype=torch.float32)
    grid = deform_conv(features, offset, mask, weight, way="grid")
    threads = torch.get_num_threads()
    for count, layout in ((1, torch.channels_last), (2, torch.contiguous_format)):
        torch.set_num_threads(count)
        moved = (tensor.contiguous(memory_format=layout) for tensor in (features, offset, mask))
        torch.testing.assert_close(deform_conv(*moved, weight, way="kernels"), grid, atol=1e-4, rtol=1e-4)
    torch.set_num_threads(threads)


def test_without_offsets_it_is_a_convolution():
    features, offset, mask, weight = inputs()
    plain = deform_conv(features, torch.zeros_like(offset), torch.ones_like(mask), weight)
    torch.testing.assert_close(plain, F.conv2d(features, weight, padding=1))


@pytest.mark.parametrize("way", ["kernels", "grid"])
def test_far_offsets_give_nothing_and_nan_shows(way):
    features, offset, mask, weight = inputs()
    assert not deform_conv(features, torch.full_like(offset, 1e9), mask, weight, way=way).any()
    if way == "kernels":  # grid_sample takes a position that is no number for one outside
        assert deform_conv(features, torch.full_like(offset, math.nan), mask, weight, way=way).isnan().all()


def test_operator_is_registered_correctly():
    features, offset, mask, weight = inputs()
    maps = (tensor.detach().permute(0, 2, 3, 1).contiguous() for tensor in (features, offset, mask))
    matrix = weight.detach().permute(2, 3, 1, 0).flatten(0, 2)
    torch.library.opcheck(convolve, tuple(tensor.requires_grad_() for tensor in (*maps, matrix)))


def test_half_precision_is_sampled_in_float32():
    tensors = inputs(dtype=torch.float32)
    half = deform_conv(*(tensor.bfloat16() for tensor in tensors))
    assert (half.float() - deform_conv(*tensors)).abs().max() < 0.1 * half.abs().max()


def test_torchvision_is_importable_with_or_without_its_operators():
    assert fastest("cpu") == "kernels" and fastest("meta") in ("torchvision", "grid")  # may try and fail to import it
    prepare()
    assert importlib.import_module("torchvision").ops.deform_conv2d
