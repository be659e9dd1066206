"""AdaIR's split of the spectrum, on features large enough for its box to hold something."""

import math

import torch

import baselines


def split_by_definition(module, mapped):
    """Roll the spectrum's centre to the middle, cut the box out, roll back, image by image."""
    height, width = mapped.shape[-2:]
    highs, lows = [], []
    for one in mapped.split(1):
        rates = module.rate_conv(one.mean((2, 3), keepdim=True)).sigmoid().flatten().tolist()
        up, side = int(math.floor(height / 128) * rates[0]), int(math.floor(width / 128) * rates[1])
        spectrum = torch.roll(torch.fft.fft2(one, norm="forward"), (height // 2, width // 2), (2, 3))
        box = torch.zeros_like(one)
        box[..., height // 2 - up : height // 2 + up, width // 2 - side : width // 2 + side] = 1
        parts = (
            torch.fft.ifft2(torch.roll(part, (-(height // 2), -(width // 2)), (2, 3)), norm="forward").abs()
            for part in (spectrum * (1 - box), spectrum * box)
        )
        highs, lows = ([*all_, part] for all_, part in zip((highs, lows), parts, strict=True))
    return torch.cat(highs), torch.cat(lows)


def test_split_follows_the_definition():
    module = baselines.build("adair", "tiny").fre3
    with torch.no_grad():  # boxes of different sizes for the images
        module.rate_conv[2].weight.mul_(50)
    for size in ((64, 400), (96, 80), (391, 384)):
        mapped = torch.randn(2, module.conv1.out_channels, *size, requires_grad=True)
        ours, right = module.split(mapped), split_by_definition(module, mapped)
        for part, definition in zip(ours, right, strict=True):
            torch.testing.assert_close(part, definition, rtol=1e-4, atol=1e-5)
        if size[0] > 300:
            assert right[1].any()
        gradients = (torch.autograd.grad((high - 2 * low).sum(), mapped)[0] for high, low in (ours, right))
        # Magnitudes have no derivative at 0, which half of the values are next to: so the direction is compared.
        first, second = (gradient.flatten() for gradient in gradients)
        assert torch.cosine_similarity(first, second, dim=0) > 0.999
