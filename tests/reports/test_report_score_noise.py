"""What Art's weights follow, on losses whose noise is known and weighed by Art itself."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from synthetic_store import records, simulate, write_run

from art import Art
from reports.build import build
from reports.numbers.cohorts import gather
from reports.numbers.score_noise import Rule, _Scores, score_noise, score_table
from results import find_runs

LEVELS, NOISE = np.array([0.02, 0.05, 0.1]), np.array([0.05, 0.1, 0.2])
TASKS = ["light", "rain", "snow"]
DEFAULTS = {"tau": 0.1, "momentum": 0.01, "start": 0.1, "released": False, "score": "both", "best": "batch"}


def weighed(steps=600, noise=NOISE, absent=0.0, seed=0, **parameters):
    """A rhythm of steady levels with that relative noise, as a training with Art records it."""
    chance = np.random.default_rng(seed)
    criterion = Art(len(TASKS), **parameters)
    rows = []
    for step in range(1, steps + 1):
        losses = torch.tensor(LEVELS * np.exp(noise * chance.standard_normal(3)))
        present = torch.tensor(chance.random(3) >= absent)
        before = criterion.running.clone()
        criterion(losses, present=present)
        for k, task in enumerate(TASKS):
            loss = float(losses[k]) if present[k] else np.nan
            level = float(criterion.running[k])
            rows.append((step, task, loss, level, loss / float(before[k]), float(criterion.weights[k])))
    return pd.DataFrame(rows, columns=["step", "task", "loss", "running", "pace", "weight"])


def found_in(folder, strategy="art", rhythm=None, **parameters):
    data = [{"role": "train", "task": task, "dataset": "BSD400", "found": 100, "origin": "embedded"} for task in TASKS]
    data += [record for record in records() if record["role"] == "test"]
    run = write_run(
        folder, strategy=strategy, rhythm=weighed(**parameters) if rhythm is None else rhythm, psnr=1.0,
        parameters=DEFAULTS | parameters, data=data, config={"train.steps": 600},
    )  # fmt: skip
    content = run.read_json("config.json")
    run.write_json("config.json", content | {"epochs": {"light": 30.0, "rain": 27.0, "snow": 3.0}})
    (cohort,) = gather(find_runs(folder, "three_task"))
    return cohort


@pytest.mark.parametrize("parameters", [{}, {"tau": 1.0}, {"best": "level"}, {"start": 0.05, "momentum": 0.1}], ids=str)
def test_the_scores_are_those_that_weighed(tmp_path, parameters):
    (outcome,) = found_in(tmp_path, rhythm=weighed(absent=0.2, **parameters), **parameters).counted()
    scores = _Scores.of(outcome)
    powers = np.nan_to_num(
        np.exp(scores.scores / scores.rule.tau - np.nanmax(scores.scores / scores.rule.tau, 1, keepdims=True))
    )
    shares = powers / np.maximum(powers.sum(axis=1, keepdims=True), 1e-300)
    np.testing.assert_allclose(shares, scores.weight, atol=1e-4)


@pytest.mark.parametrize("parameters", [{}, {"tau": 1.0, "best": "level"}, {"start": 0.05, "momentum": 0.1}], ids=str)
def test_the_rule_without_a_network_is_that_of_art(parameters):
    chance = np.random.default_rng(1)
    losses = 0.1 * np.exp(0.5 * chance.standard_normal((300, 4)))
    present = chance.random(losses.shape) > 0.2
    criterion, expected = Art(4, **parameters), []
    for row, held in zip(torch.tensor(losses), torch.tensor(present), strict=True):
        criterion(row.float(), present=held)
        expected.append(criterion.weights.clone())
    found = Rule(**parameters).weights(np.where(present, losses, np.nan))
    np.testing.assert_allclose(found, torch.stack(expected).numpy(), atol=1e-4)


def test_noise_is_found_and_decides_on_the_weight(tmp_path):
    (one,) = score_noise(found_in(tmp_path))
    losses = [task.loss_noise for task in one.tasks]
    assert losses == pytest.approx(NOISE, rel=0.15) and one.by_noise > 0.9
    assert [task.level for task in one.tasks] == pytest.approx(LEVELS, rel=0.1)
    assert [task.samples for task in one.tasks] == pytest.approx([5, 4.5, 0.5])
    assert one.tasks[2].weight > 0.5 and one.tasks[2].best < 0.65 < one.tasks[0].best
    assert [task.still for task in one.tasks] == pytest.approx([task.weight for task in one.tasks], abs=0.1)
    assert one.noise > one.signal and 0 < one.shared < 0.7


def test_with_a_best_level_the_lucky_batches_are_gone(tmp_path):
    (usual,) = score_noise(found_in(tmp_path / "batch"))
    (level,) = score_noise(found_in(tmp_path / "level", best="level"))
    assert level.signal < 0.3 * usual.signal
    assert level.steady < usual.steady and min(task.best for task in level.tasks) > 0.9


def test_losses_without_noise_are_all_signal(tmp_path):
    (one,) = score_noise(found_in(tmp_path, rhythm=weighed(noise=np.zeros(3))))
    assert one.noise == pytest.approx(0, abs=1e-3) and one.largest == pytest.approx(one.steady, abs=1e-3)


def test_only_runs_of_art_that_are_long_enough_and_whole_are_read(tmp_path):
    assert not score_noise(found_in(tmp_path / "short", rhythm=weighed(steps=60)))
    assert not score_noise(found_in(tmp_path / "mix", "mix", rhythm=simulate("mix", 600)))
    assert not score_noise(found_in(tmp_path / "pace", rhythm=weighed(score="pace"), score="pace"))
    assert not score_noise(found_in(tmp_path / "stuck", rhythm=weighed(released=True), released=True))


def test_table_and_section(tmp_path):
    cohort = found_in(tmp_path)
    table = score_table(cohort, score_noise(cohort)).set_index("task")
    assert list(table.index) == TASKS and (table["batch"] == 10).all() and table.at["snow", "samples"] == 0.5
    report = build("three_task", tmp_path, formats=["md", "csv"])
    page = (tmp_path / "reports/three_task/gains.md").read_text(encoding="utf-8")
    assert "What do Art's weights follow?" in page and "Art's weights" not in report.text  # too wide for it
    assert re.search(r"snow 0\.\d\d \(0\.\d\d\)", page)
    kept = pd.read_csv(tmp_path / "reports/three_task/score.csv")
    assert kept["signal"].nunique() == 1 and kept["loss_noise"].tolist() == table["loss_noise"].tolist()
