"""Further metrics by pyiqa."""

import math
import urllib.error

import pytest
import torch

from benchmarks import settings
from benchmarks.data.sources import TestPool
from benchmarks.errors import UserError
from benchmarks.evaluation import evaluate
from benchmarks.metrics import Metric, further

IMAGE = torch.rand(3, 96, 120, generator=torch.Generator().manual_seed(0))


def test_each_points_its_way_and_knows_what_it_looks_at():
    metrics = further(["fsim", "gmsd", "piqe", "fsim"])
    assert list(metrics) == ["fsim", "gmsd", "piqe"]
    worse = (IMAGE + 0.2 * torch.randn(IMAGE.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    assert metrics["fsim"](IMAGE, IMAGE) > 0.999 > metrics["fsim"](worse, IMAGE)
    assert metrics["gmsd"](IMAGE, IMAGE) < 0.001 < metrics["gmsd"](worse, IMAGE)
    assert metrics["gmsd"].lower_is_better and not metrics["fsim"].lower_is_better
    assert metrics["piqe"](IMAGE, IMAGE) == metrics["piqe"](IMAGE, worse) and not metrics["piqe"].needs_clean


def test_an_image_too_small_for_a_metric_has_no_value():
    def ms_ssim(restored, clean):
        raise RuntimeError("Kernel size can't be greater than actual input size")

    assert math.isnan(Metric("ms_ssim", True, False, ms_ssim, torch.device("cpu"))(IMAGE, IMAGE))


def test_what_cannot_be_computed_is_told_before_anything_is(monkeypatch):
    import pyiqa

    made = pyiqa.create_metric

    def offline(name, **options):
        if name == "lpips":
            raise urllib.error.URLError("no network")
        return made(name, **options)

    monkeypatch.setattr(pyiqa, "create_metric", offline)
    with pytest.raises(UserError) as caught:
        further(["fsimm", "fid", "psnr", "lpips", "fsim"])
    assert [problem[:12] for problem in caught.value.problems] == [
        "fsimm is unk",
        "fid compares",
        "psnr is the ",
        "lpips needs ",
    ]
    assert "did you mean 'fsim'?" in str(caught.value) and "no network" in str(caught.value)
    assert further([]) == {}


def test_they_stand_beside_the_protocols_scores():
    class Untouched:
        def restore(self, image):
            return image

    task = next(task for task in settings.load("three_task").tasks if task.name == "denoise_25")
    picture = (IMAGE.permute(1, 2, 0) * 255).byte().numpy()
    rows, _ = evaluate(
        Untouched(), [TestPool(task, ["a"], [picture], dataset="mini")], "airnet_rgb", torch.device("cpu"),
        further=further(["gmsd"]),
    )  # fmt: skip
    assert [row["metric"] for row in rows] == ["psnr", "ssim", "gmsd"]
    assert rows[2]["value"] == rows[2]["input_value"] > 0 and rows[2]["protocol"] == "airnet_rgb"
