"""PSNR and SSIM by torch have scikit-image's values, on the CPU and on a GPU, whatever the protocol and the size."""

import numpy as np
import pytest
import torch
from miniature import picture

from benchmarks.config.protocols import PROTOCOLS, get
from benchmarks.scoring import fidelity, on_device

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]


def clean_of(height, width):
    return torch.from_numpy(picture(height + width, height, width)).permute(2, 0, 1).float() / 255


def compare(name, device, restored, clean):
    """The device's values beside scikit-image's, both (images, 2)."""
    found = on_device.scores(restored.to(device), clean.to(device), get(name)).cpu()
    pairs = zip(restored, clean, strict=True)
    return found, torch.tensor([list(fidelity.score(*pair, name).values()) for pair in pairs], dtype=torch.float64)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size", ["smallest", (65, 83), (48, 128)])
@pytest.mark.parametrize("name", PROTOCOLS)
def test_values_are_those_of_scikit_image(name, size, device):
    height, width = (get(name).smallest,) * 2 if size == "smallest" else size
    clean = clean_of(height, width)
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal(clean.shape)).float()
    outputs = [clean + 0.2 * noise, clean + 0.003 * noise, 0.999 * clean, torch.full_like(clean, 0.3), clean]
    found, expected = compare(name, device, torch.stack(outputs), clean.expand(len(outputs), -1, -1, -1))
    # beyond 150 dB images are equal: NumPy's product for Y can round equal pixels differently
    torch.testing.assert_close(found.clamp(max=150), expected.clamp(max=150), rtol=0, atol=2e-7)
    assert found[-1, 0] == float("inf")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", PROTOCOLS)
def test_constant_images_have_scikit_images_rounding(name, device):
    """Their variances are what float32 leaves of the difference of two equal numbers."""
    first, second = (torch.full((1, 3, 32, 48), value) for value in (0.31, 0.3))
    found, expected = compare(name, device, first, second)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-7)


def test_an_image_does_not_depend_on_the_others_of_its_batch():
    clean = torch.stack([clean_of(65, 83), clean_of(65, 83).flip(2)])
    noisy = clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    for name in PROTOCOLS:
        together = on_device.scores(noisy, clean, get(name))
        assert torch.equal(together[1:], on_device.scores(noisy[1:], clean[1:], get(name)))
