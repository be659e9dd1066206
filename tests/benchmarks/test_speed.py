"""The benchmark command measures, judges and keeps; what is compared computes the same."""

import sys

import pandas as pd
import pytest
import torch

import baselines
from benchmarks.execution.timing import interleaved
from benchmarks.scoring import arithmetic
from benchmarks.speed import commands, plain, scoring, training
from benchmarks.speed.__main__ import main
from benchmarks.speed.timing import Measure
from reports.speed import main as draw


@pytest.mark.parametrize("name", ["transweather", "nafnet", "restormer"])
def test_the_plain_network_is_the_same_network(name):
    torch.manual_seed(0)
    network, image = baselines.build(name, "tiny"), torch.rand(2, 3, 64, 64)
    gradients = []
    for plainly in (False, True):
        network.zero_grad()
        if plainly:
            with plain.plainly():
                network.training_forward(image).restored.square().mean().backward()
        else:
            network.training_forward(image).restored.square().mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]))
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-6)


def test_a_convolution_a_tap_is_the_same_convolution():
    from baselines.deform_conv import deform_conv

    torch.manual_seed(0)
    features, offset = torch.randn(2, 4, 9, 11), 2 * torch.randn(2, 18, 9, 11)
    mask, weight = torch.rand(2, 9, 9, 11), torch.randn(5, 4, 3, 3)
    torch.testing.assert_close(
        plain.per_tap(features, offset, mask, weight), deform_conv(features, offset, mask, weight), rtol=1e-4, atol=1e-4
    )


def test_ways_take_turns_and_goals_are_judged():
    calls = []
    medians = interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3)
    assert set(medians) == {"a", "b"} and "".join(calls) == "abbaabba"
    assert Measure("x", "", 1.005, "<= 1.01").met and not Measure("x", "", 5.9, ">= 6").met
    assert Measure("x", "", 1.0).met is None


def test_scoring_on_a_gpu_is_measured_against_the_fields_loop(tmp_path, monkeypatch):
    monkeypatch.setattr(arithmetic, "cpu_has_bf16", lambda: True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    row, bf16 = scoring.on_gpu(tmp_path, device, 1, ("nafnet", "tiny"), count=2, sides=(49, 65))
    assert row.ratio > 0 and row.goal == ">= 8" and "2 drawn images of 49x65" in row.case
    assert bf16.goal == "" and bf16.values["largest_difference_db"] > row.values["largest_difference_db"]
    assert row.values["largest_difference_db"] < 1e-3 and row.values["network_alone_images_per_s"] > 0


def test_the_command_measures_and_keeps_rows_of_other_kinds(few_embedded, tmp_path, capsys, monkeypatch):
    """A small network, small batches and an idle command stand for those that are measured."""
    batch_of, network_of = training.batch_of, training.network_of
    monkeypatch.setattr(training, "network_of", lambda name, *more: network_of("nafnet", *more))
    monkeypatch.setattr(training, "batch_of", lambda batch, patch, *more, **tasks: batch_of(11, 16, *more, **tasks))
    monkeypatch.setattr(commands, "RUN", [sys.executable, "-S", "-c", ""])
    table = tmp_path / "speed.csv"
    for kind in ("commands", "scaling"):
        assert main([kind, "--rounds", "1", "--csv", str(table), "--device", "cpu"]) == 0
    rows = pd.read_csv(table)
    assert set(rows["what"]) == {"commands", "scaling"} and (rows["ratio"] > 0).all()
    assert "| scaling | tasks 3 | 1 |" in capsys.readouterr().out
    assert draw([str(table)]) == 0 and (tmp_path / "speed-scaling.png").exists()
