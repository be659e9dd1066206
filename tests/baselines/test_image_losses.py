"""Losses of restored images, against their definitions."""

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from baselines.losses import decorrelation, ms_ssim, spectral_l1


@pytest.mark.parametrize(("spectrum", "columns"), [("whole", 9), ("half", 5)])
def test_spectral_l1_is_the_mean_over_real_and_imaginary_parts(spectrum, columns):
    restored, clean = torch.rand(2, 2, 3, 6, 9, dtype=torch.float64)
    transforms = np.fft.fft2((restored - clean).numpy())[..., :columns]
    expected = (np.abs(transforms.real) + np.abs(transforms.imag)).mean((1, 2, 3)) / 2
    np.testing.assert_allclose(spectral_l1(restored, clean, spectrum).numpy(), expected, rtol=1e-12)


def test_decorrelation_is_half_of_what_the_correlation_lacks():
    restored, clean = torch.rand(2, 3, 3, 6, 9, dtype=torch.float64)
    expected = [
        (1 - np.corrcoef(one.ravel(), other.ravel())[0, 1]) / 2 for one, other in zip(restored, clean, strict=True)
    ]
    np.testing.assert_allclose(decorrelation(restored, clean).numpy(), expected, rtol=1e-12)
    flat = torch.full((1, 3, 4, 4), 0.5, requires_grad=True)
    loss = decorrelation(flat, torch.rand(1, 3, 4, 4))
    loss.sum().backward()
    assert loss.item() == 0.5 and flat.grad is not None and flat.grad.isfinite().all()


def test_ms_ssim_of_one_scale_is_skimages_ssim():
    restored, clean = torch.rand(2, 2, 3, 20, 18, dtype=torch.float64)
    for found, one, other in zip(ms_ssim(restored, clean), restored, clean, strict=True):
        maps = structural_similarity(
            one.numpy(), other.numpy(), channel_axis=0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
            data_range=1, full=True,
        )[1]  # fmt: skip
        assert found.item() == pytest.approx(max(maps[:, 5:-5, 5:-5].mean(), 1e-6), rel=1e-9)


def test_ms_ssim_is_1_for_equal_images_and_counts_the_last_scale_for_each_other():
    clean = torch.rand(1, 3, 176, 176)
    assert ms_ssim(clean, clean).item() == pytest.approx(1)
    assert 0 <= ms_ssim(1 - clean, clean).item() < 1e-3
    # At 44 pixels there are three scales; a shift of the mean is seen by SSIM's luminance, at the coarsest scale only.
    flat, brighter = torch.full((1, 3, 44, 44), 0.4), torch.full((1, 3, 44, 44), 0.6)
    luminance = (2 * 0.4 * 0.6 + 1e-4) / (0.4**2 + 0.6**2 + 1e-4)
    weight = 0.3001 / (0.0448 + 0.2856 + 0.3001)
    assert ms_ssim(flat, brighter).item() == pytest.approx(luminance ** (2 * weight), rel=1e-3)
    with pytest.raises(ValueError, match="at least 11x11"):
        ms_ssim(clean[..., :10], clean[..., :10])
