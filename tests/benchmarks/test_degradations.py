"""Degradations: reproducible, in range, worse with severity, and each with the property that defines it."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from benchmarks.data.degradations import DEGRADATIONS, degrade, haze, noise, rain
from benchmarks.data.photographs import depth_of, photographs

NAMES = list(DEGRADATIONS)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def psnr(degraded, clean):
    return -10 * torch.log10((degraded - clean).square().mean((1, 2, 3)))


@pytest.fixture(scope="module")
def pictures():
    """Four photographs, every second pixel, with their depths: (4, 3, 128, 128) and (4, 1, 128, 128)."""
    names = list(photographs())[::2]
    images = torch.stack([torch.from_numpy(photographs()[name].copy()) for name in names])
    depths = torch.stack([torch.from_numpy(depth_of(name).copy()) for name in names])
    return images.permute(0, 3, 1, 2)[..., ::2, ::2].float() / 255, depths[:, None, ::2, ::2]


@pytest.mark.parametrize("name", NAMES)
def test_the_generator_decides_and_the_image_is_left_alone(name, pictures):
    images, depths = pictures
    before = images.clone()
    first = degrade(name, images, seeded(1), depth=depths)
    assert torch.equal(images, before)
    assert first.shape == images.shape and first.dtype == torch.float32
    assert torch.isfinite(first).all() and first.min() >= 0 and first.max() <= 1
    assert torch.equal(first, degrade(name, images, seeded(1), depth=depths))
    assert not torch.equal(first, degrade(name, images, seeded(2), depth=depths))


@pytest.mark.parametrize("name", NAMES)
def test_more_severe_is_farther_from_the_clean_image(name, pictures):
    images, depths = pictures
    mild, strong = DEGRADATIONS[name].training
    values = [
        psnr(degrade(name, images, seeded(3), depth=depths, severity=s), images).mean()
        for s in np.linspace(mild, strong, 4)
    ]
    assert all(a > b + 0.2 for a, b in pairwise(values)), values


@pytest.mark.parametrize("name", NAMES)
def test_severity_belongs_to_each_image_of_a_batch(name, pictures):
    images, depths = pictures
    mild, strong = DEGRADATIONS[name].training
    severity = torch.tensor([mild, strong, mild, strong])
    same = degrade(
        name, images[:1].expand(4, -1, -1, -1), seeded(4), depth=depths[:1].expand(4, -1, -1, -1), severity=severity
    )
    values = psnr(same, images[:1])
    assert values[0::2].min() > values[1::2].max()


@pytest.mark.parametrize("name", NAMES)
def test_odd_sizes_and_single_images(name):
    image, depth = torch.rand(1, 3, 37, 53, generator=seeded()), torch.rand(1, 1, 37, 53, generator=seeded())
    assert degrade(name, image, seeded(), depth=depth).shape == image.shape


def test_wrong_calls_say_what_is_wrong(pictures):
    images, depths = pictures
    with pytest.raises(KeyError, match="noise, rain"):
        degrade("fog", images, seeded())
    with pytest.raises(ValueError, match="haze needs a depth"):
        degrade("haze", images, seeded())
    with pytest.raises(ValueError, match="needs a depth"):
        degrade("haze", images, seeded(), depth=depths[:, :, :9])
    with pytest.raises(ValueError, match="between 0 and 1"):
        degrade("rain", images, seeded(), severity=25)
    with pytest.raises(ValueError, match="one value or"):
        degrade("rain", images, seeded(), severity=torch.rand(3))
    with pytest.raises(ValueError, match="floats"):
        degrade("rain", (images * 255).byte(), seeded())


def test_noise_is_truncated_to_grey_levels_with_the_known_bias():
    grey = torch.full((4, 3, 128, 128), 128 / 255)
    noisy = noise(grey, torch.full((4,), 15.0), seeded()) * 255
    assert (noisy - noisy.round()).abs().max() < 1e-4
    # Truncation costs half a level on average; the field's figure on photographs is -0.47 (clipping at 0 gives back).
    assert (noisy - 128).mean().item() == pytest.approx(-0.5, abs=0.1)
    assert (noisy - 128).std().item() == pytest.approx(15, rel=0.01)
    levels = torch.arange(256.0).div(255).repeat(1, 3, 2, 1)
    assert torch.equal(noise(levels, torch.zeros(1), seeded()), levels)


def test_noise_matches_the_formula_in_numpy(pictures):
    images = pictures[0][:1]
    sample = torch.randn(images.shape, generator=seeded(9)).numpy()
    grey = np.rint(images.numpy() * 255)
    expected = np.clip(grey + np.float32(25) * sample, 0, 255).astype(np.uint8)
    found = noise(images, torch.tensor([25.0]), seeded(9)).numpy() * 255
    assert np.array_equal(np.rint(found), expected)


def test_haze_keeps_what_is_near_and_ends_in_airlight(pictures):
    images = pictures[0]
    severity = torch.ones(len(images))
    assert torch.equal(haze(images, torch.zeros_like(images[:, :1]), severity, seeded()), images)
    far = haze(images, torch.full_like(images[:, :1], 50), severity, seeded())
    assert far.std(dim=(2, 3)).max() < 1e-5
    assert far.min() >= 0.8 and far.max() <= 1


def test_haze_is_the_scattering_model(pictures):
    images, depths = pictures
    severity = torch.full((4,), 0.5)
    transmission = torch.exp(-1.5 * 0.5 * depths)
    hazy = haze(images, depths, severity, seeded())
    airlight = ((hazy - images * transmission) / (1 - transmission)).flatten(2)
    assert (airlight - airlight.mean(2, keepdim=True)).abs().max() < 1e-4


def test_rain_falls_in_one_direction():
    black = torch.zeros(6, 3, 128, 128)
    streaks = rain(black, torch.full((6,), 0.4), seeded(2)).mean(1)
    rows, columns = torch.gradient(streaks, dim=(1, 2))
    # The structure tensor's anisotropy: 0 for noise, 1 for perfectly parallel lines.
    xx, yy, xy = (columns**2).mean((1, 2)), (rows**2).mean((1, 2)), (rows * columns).mean((1, 2))
    coherence = torch.sqrt((xx - yy) ** 2 + 4 * xy**2) / (xx + yy)
    assert coherence.min() > 0.6
    tilt = 0.5 * torch.rad2deg(torch.atan2(2 * xy, xx - yy)).abs()
    assert tilt.max() < 40  # gradients across, so streaks within 40 degrees of the vertical


def test_rain_only_adds_light(pictures):
    images = pictures[0]
    assert (rain(images, torch.ones(4), seeded()) >= images - 1e-6).all()
