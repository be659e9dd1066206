"""Further metrics by pyiqa."""

import json
import math
import urllib.error

import pandas as pd
import pytest
import torch

from benchmarks.config import settings
from benchmarks.config.configuration import resolve
from benchmarks.config.errors import UserError
from benchmarks.data.pools import TestPool
from benchmarks.execution import job
from benchmarks.execution.plan import Plan
from benchmarks.scoring.metrics import Metric, facts, further
from benchmarks.scoring.scores import evaluate
from results.records import DataRecord, MetricFacts, Origin, Role, RunRecord, State, Status
from results.schema import SCORE_COLUMNS

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
        further(["fsimm", "fid", "psnr", "lpips", "fsim", "fgresq_pair"])
    assert [problem[:12] for problem in caught.value.problems] == [
        "fsimm is unk",
        "fid compares",
        "psnr is the ",
        "lpips needs ",
        "fgresq_pair ",
    ]
    assert "did you mean 'fsim'?" in str(caught.value) and "no network" in str(caught.value)
    assert further([]) == {}


def planned(output, metric):
    setting = settings.load("three_task")
    config = resolve(setting, "transweather", "mix", overrides=[f"evaluate.metrics={metric}"])
    return Plan.of(setting, config, output)


def test_a_run_records_which_way_is_better_with_what_it_is_and_was_scored_with(tmp_path):
    record = job.record(planned(tmp_path, "pieapp"), ["mad"])
    assert list(record.metrics) == ["psnr", "ssim", "pieapp", "mad"]
    assert record.metrics["pieapp"] == MetricFacts(lower_is_better=True, title="PieAPP", unit="", digits=3)
    assert RunRecord.model_validate(json.loads(json.dumps(record.content()))) == record


def test_a_run_that_recorded_no_direction_is_not_done(tmp_path):
    plan = planned(tmp_path, "gmsd")
    config = plan.config
    rows = [("Set", "t", "0", config.evaluate.protocol, name, 0.5, 0.4, "") for name in ("psnr", "ssim", "gmsd")]
    used = DataRecord(role=Role.TEST, task="t", dataset="Set", found=1, expected=1, origin=Origin.REAL)
    plan.run.write_data([used])
    plan.run.write_scores(pd.DataFrame(rows, columns=list(SCORE_COLUMNS)))
    record = job.record(plan)
    for known, state in ((record.metrics, "done"), ({}, "to score")):
        plan.run.write_record(record.model_copy(update={"metrics": known}))
        plan.run.write_status(Status(State.DONE))
        assert plan.todo == state


def test_of_a_metric_that_nobody_knows_no_direction_is_claimed():
    assert facts(["sharpness"])["sharpness"].lower_is_better is None


def test_noise_does_not_make_an_image_better_by_entropy():
    """Why it has no direction: it calls the noisy image the richer one."""
    flat = torch.full((3, 64, 64), 0.5)
    noisy = (flat + 0.1 * torch.randn(flat.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    entropy = further(["entropy"])["entropy"]
    assert entropy.lower_is_better is None and entropy(noisy, flat) > entropy(flat, flat)


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
