"""Protocols against values of scikit-image and of BasicSR's code."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import benchmarks
from benchmarks.config.errors import UserError
from benchmarks.config.protocols import PROTOCOLS

HERE = Path(__file__).parent
CASES = np.load(HERE / "metric_cases.npz")
VALUES = pd.read_csv(HERE / "metric_cases.csv")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_reference_values(protocol):
    cases = VALUES[VALUES["protocol"] == protocol]
    assert len(cases) >= 4
    for row in cases.itertuples():
        scores = benchmarks.score(CASES[f"{row.case}__restored"], CASES[f"{row.case}__clean"], protocol)
        assert scores[row.metric] == pytest.approx(row.value, abs={"psnr": 1e-3, "ssim": 1e-4}[row.metric]), row


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_smallest_image_is_the_smallest(protocol):
    least, chance = PROTOCOLS[protocol].smallest, np.random.default_rng(0)
    clean, restored = chance.integers(0, 256, (2, least, least + 3, 3), np.uint8)
    assert all(np.isfinite(value) for value in benchmarks.score(restored, clean, protocol).values())
    with pytest.raises(ValueError):
        benchmarks.score(restored[:-1], clean[:-1], protocol)


def test_layout_and_type_do_not_matter():
    clean, restored = CASES["cbsd_96x112__clean"], CASES["cbsd_96x112__restored"]
    expected = benchmarks.score(restored, clean)
    tensors = torch.from_numpy(restored).permute(2, 0, 1), torch.from_numpy(clean).permute(2, 0, 1)
    assert benchmarks.score(*tensors) == pytest.approx(expected)
    assert benchmarks.score(restored, clean.astype(np.float64) / 255) == pytest.approx(expected)
    assert benchmarks.score(clean, clean)["psnr"] == float("inf")


def test_refuses_what_cannot_be_compared():
    image = CASES["cbsd_96x112__clean"]
    with pytest.raises(UserError, match="did you mean 'airnet_rgb'"):
        benchmarks.score(image, image, "airnetrgb")
    with pytest.raises(ValueError, match="different sizes"):
        benchmarks.score(image[:64], image)
    with pytest.raises(ValueError, match="RGB"):
        benchmarks.score(image[..., 0], image[..., 0])
    with pytest.raises(ValueError, match="int64"):
        benchmarks.score(image.astype(np.int64), image)
