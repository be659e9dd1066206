"""Scoring: the degraded input beside every score, noise by image, collapse noticed."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from miniature import picture

import baselines
import benchmarks
from baselines.network import Network
from benchmarks.config.data_sets import known
from benchmarks.config.errors import UserError
from benchmarks.config.settings import load
from benchmarks.data import layouts
from benchmarks.data.decoding import decode
from benchmarks.data.pools import TestPool
from benchmarks.scoring import inputs
from benchmarks.scoring.scores import evaluate
from results.records import Fault

TASKS = {task.name: task for task in load("three_task").tasks}
SHARED = Path(os.environ.get("RESTORATION_DATA", Path(__file__).parents[4] / "shared" / "data"))
CPU = torch.device("cpu")


class Untouched(Network):
    def restore(self, image):
        return image


class Constant(Network):
    def restore(self, image):
        return torch.full_like(image, 0.4)


def noisy(names):
    return TestPool(TASKS["denoise_25"], names, [picture(ord(name), 65, 83) for name in names], dataset="mini-s25")


def test_the_input_is_scored_as_a_network_that_does_nothing():
    rows, flaw = evaluate(Untouched().eval(), [noisy(["a", "b"])], "airnet_rgb", CPU)
    assert len(rows) == 4 and flaw.fault == Fault.NONE
    assert all(row["value"] == row["input_value"] for row in rows)
    assert [round(row["value"]) for row in rows if row["metric"] == "psnr"] == [20, 20]


def test_an_images_noise_does_not_depend_on_the_others():
    alone, together = noisy(["b"]).pair(0)[0], noisy(["a", "b"]).pair(1)[0]
    assert torch.equal(alone, together)
    assert not torch.equal(together[:, :64, :80], noisy(["a", "b"]).pair(0)[0][:, :64, :80])


def test_images_are_cut_at_the_centre_as_the_protocol_wants():
    degraded, clean = noisy(["a"]).pair(0, multiple=16)
    assert degraded.shape == clean.shape == (3, 64, 80)
    expected = picture(ord("a"), 65, 83)[0:64, 1:81]
    assert np.array_equal((clean * 255).round().byte().permute(1, 2, 0).numpy(), expected)


def test_inputs_are_scored_once_until_something_of_them_changes(monkeypatch):
    scored = []
    monkeypatch.setattr(inputs, "score", lambda *of: scored.append(of[2]) or {"psnr": 1.0, "ssim": 0.5})
    inputs.forget()
    pool, severe = noisy(["a", "b"]), noisy(["a"])
    severe.severity = 50
    others = [TestPool(pool.task, ["a"], [picture(7, 65, 83)], dataset="mini-s25"), severe]
    for pools in ([pool], [noisy(["b"]), noisy(["a"])]):
        evaluate(Untouched().eval(), pools, "airnet_rgb", CPU)
    assert len(scored) == 2
    evaluate(Untouched().eval(), others, "airnet_rgb", CPU)
    evaluate(Untouched().eval(), others[:1], "cdd_rgb", CPU)
    inputs.forget()
    assert sorted(scored) == ["airnet_rgb"] * 4 + ["cdd_rgb"]


def test_images_on_cores_of_their_own_score_the_same():
    network, pools, before = baselines.build("nafnet", "tiny").eval(), [noisy(["a", "b", "c"])], torch.get_num_threads()
    found = {}
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found[threads], _ = evaluate(network, pools, "airnet_rgb", CPU)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert [row["image"] for row in found[2]] == ["a", "a", "b", "b", "c", "c"]
    for one, two in zip(found[1], found[2], strict=True):
        assert two == one | {"value": pytest.approx(one["value"], abs=1e-5)}
    with pytest.raises(ValueError, match="evaluation mode"):
        evaluate(network.train(), pools, "airnet_rgb", CPU)


def test_a_constant_output_is_a_collapse():
    _, flaw = evaluate(Constant().eval(), [noisy(["a", "b"])], "airnet_rgb", CPU)
    assert flaw == (Fault.COLLAPSED, "constant output on mini-s25")


@pytest.mark.skipif(not (SHARED / "CBSD68").is_dir(), reason="needs the real CBSD68 (set RESTORATION_DATA)")
def test_degraded_cbsd68_has_the_published_psnr():
    pairs = layouts.locate(known().get("CBSD68"), SHARED).pairs
    pool = TestPool(TASKS["denoise_25"], [pair.name for pair in pairs], [decode(pair.target) for pair in pairs])
    values = [benchmarks.score(*pool.pair(number, 16))["psnr"] for number in range(len(pool.names))]
    assert np.mean(values) == pytest.approx(20.54, abs=0.02)


class Broken(Network):
    """NaN for one image, another shape where asked for."""

    def __init__(self, shape=False):
        super().__init__()
        self.shape, self.seen = shape, 0

    def restore(self, image):
        self.seen += 1
        if self.shape:
            return image[:, :1]
        return torch.full_like(image, torch.nan) if self.seen == 1 else image


def test_scoring_names_images_that_are_not_finite_and_outputs_of_another_shape():
    rows, (fault, reason) = evaluate(Broken().eval(), [noisy(["a", "b"])], "airnet_rgb", CPU)
    assert fault == Fault.NOT_FINITE
    assert reason[:-2] == "NaN or infinite output on mini-s25 (1 of 2 images: " and reason[-2] in "ab"
    assert len({row["pixels"] for row in rows}) == 2
    with pytest.raises(UserError, match="for an image of"):
        evaluate(Broken(shape=True).eval(), [noisy(["a"])], "airnet_rgb", CPU)
