"""Losses of restored images, against their definitions."""

import numpy as np
import pytest
import torch

from baselines.losses import spectral_l1


@pytest.mark.parametrize(("spectrum", "columns"), [("whole", 9), ("half", 5)])
def test_spectral_l1_is_the_mean_over_real_and_imaginary_parts(spectrum, columns):
    restored, clean = torch.rand(2, 2, 3, 6, 9, dtype=torch.float64)
    transforms = np.fft.fft2((restored - clean).numpy())[..., :columns]
    expected = (np.abs(transforms.real) + np.abs(transforms.imag)).mean((1, 2, 3)) / 2
    np.testing.assert_allclose(spectral_l1(restored, clean, spectrum).numpy(), expected, rtol=1e-12)
