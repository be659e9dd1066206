"""Searches: rounds, interruptions, failures; then the commands, with a class of one's own, on real trainings."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest
from small_network import SMALL
from torchjd.scalarization import Scalarizer

from benchmarks import run, tune
from benchmarks.config.errors import UserError
from benchmarks.execution.job import record
from benchmarks.execution.request import GridRequest
from benchmarks.execution.tuning import TuneRequest, search_all
from results import Run, State, Status, find_runs, tuning
from results.schema import CURVE_COLUMNS, SCORES

STRATEGIES = ["mix", "art", "fixed"]


class Gentle(Scalarizer):
    """A strategy of one's own that says what may be searched of it."""

    search: ClassVar = {"power": (0.5, 4.0, "log")}

    def __init__(self, power=1.0):
        super().__init__()
        self.power = power

    def forward(self, values, /):
        return (values**self.power).mean()


class Unsound(Gentle):
    search: ClassVar = {"strength": (1.0, 2.0)}


def request(output, trials, *overrides, strategies=STRATEGIES, seeds=(100,), **more):
    options = dict(
        setting="three_task", tasks=None, baselines=["nafnet"], strategies=strategies, seeds=seeds, profile="demo",
        size=None, data_root=None, missing="error", overrides=overrides, output=output, tracking_uri="none",
        device="cpu", jobs=1, cluster=None, dry_run=False,
    )  # fmt: skip
    return TuneRequest(GridRequest(**options | more), trials)


class Machine:
    """Stands for training: what a run reaches follows from its configuration. Above ``diverges`` it fails; after so
    many calls it is interrupted."""

    def __init__(self, diverges=math.inf, stops=math.inf):
        self.diverges, self.stops, self.calls, self.done = diverges, stops, 0, []

    def __call__(self, plans):
        self.calls += 1
        if self.calls > self.stops:
            raise KeyboardInterrupt
        return {plan.folder: self.train(plan) for plan in plans}

    def train(self, plan):
        config = plan.config
        self.done.append(plan)
        plan.run.write_record(record(plan))
        status = Status(State.FAILED, "Diverged") if config.train.lr > self.diverges else Status(State.DONE)
        best = 20 - abs(math.log(config.train.lr / 4e-3)) - len(config.strategy) / 100 + config.seed / 1000
        rows = [(step, task, 1, 1.0, best * step / 10 + place)
                for step in (5, 10) for place, task in enumerate(("rain", "haze"))]  # fmt: skip
        plan.run.write_curve(pd.DataFrame(rows, columns=list(CURVE_COLUMNS)))
        (plan.folder / "checkpoint.pt").write_bytes(b"weights")
        plan.run.write_status(status)
        return status


def searched(request, machine, jobs=1):
    studies = request.studies()
    for study in studies:
        study.load()
        study.keep()
    search_all(studies, jobs, machine)
    return {study.strategy: study.search for study in studies}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    output = tmp_path_factory.mktemp("whole")
    return output, searched(request(output, 11), Machine())


def test_all_strategies_get_as_many_trials_from_their_defaults_on(whole):
    _, found = whole
    assert {name: len(search.done) for name, search in found.items()} == dict.fromkeys(STRATEGIES, 11)
    firsts = {name: search.trials[0] for name, search in found.items()}
    assert {name: trial.strategy for name, trial in firsts.items()} == {"mix": "mix", "art": "art", "fixed": "equal"}
    for search in found.values():
        assert search.trials[0].factor == 1 and search.trials[0].lr == search.lr
        assert search.best.score == max(trial.score for trial in search.trials) >= search.default.score
        assert search.trials[0].tasks["haze"] - search.trials[0].tasks["rain"] == pytest.approx(1)
    assert found["mix"].gain > 0.5 and found["fixed"].best.number == 0  # whose spec this machine holds against it
    assert found["mix"].varied == [] and found["art"].varied == ["tau", "momentum"] and len(found["fixed"].varied) == 5


@pytest.mark.parametrize(("stops", "jobs"), [(1, 1), (1, 6), (6, 1)])
def test_an_interrupted_search_becomes_the_uninterrupted_one(whole, stops, jobs, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        searched(request(tmp_path, 7), Machine(stops=stops), jobs)
    again = Machine()
    searched(request(tmp_path, 7), again, jobs)
    assert searched(request(tmp_path, 11), Machine(), jobs) == whole[1]
    assert len({plan.folder for plan in again.done}) == len(again.done)


def test_weights_are_kept_of_the_best_only(whole):
    output, found = whole
    kept = {path.parent.parent.name for path in output.rglob("checkpoint.pt")}
    assert len(kept) == 3 and all(search.best.score for search in found.values())


def test_failed_trials_count_and_are_listed(tmp_path):
    machine = Machine(diverges=4e-3)
    found = searched(request(tmp_path, 11, strategies=["mix", "uw"]), machine)
    for search in found.values():
        assert len(search.trials) == 11 and search.failures and search.best.lr <= 4e-3
        assert {trial.reason for trial in search.failures} == {"Diverged"}
        assert all((trial.score is None) == (trial.lr > 4e-3) for trial in search.trials)
    failed = [plan.folder for plan in machine.done if plan.config.train.lr > 4e-3]
    assert all(failed.count(folder) == 2 for folder in failed)  # once more, as it may have been chance
    tuning.summarise(tuning.place(tmp_path, "three_task"), tuning.searches(tmp_path, "three_task"))
    best = {
        entry["strategy"]: entry
        for entry in json.loads((tuning.place(tmp_path, "three_task") / "best.json").read_text())
    }
    assert best["uw"]["failures"] == len(found["uw"].failures) and best["uw"]["found"] == found["uw"].best.strategy
    table = pd.read_csv(tuning.place(tmp_path, "three_task") / "trials.csv")
    assert len(table) == 22 and (table["state"] == "failed").sum() == sum(len(s.failures) for s in found.values())


def test_another_recipe_other_seeds_or_other_images_are_another_search(tmp_path):
    keys = [
        request(tmp_path, 2, *overrides, strategies=["art"], seeds=seeds).studies()[0].search.key
        for overrides, seeds in [
            ((), [100]), (("train.steps=9",), [100]), ((), [101]), ((), [100, 101]), (("data.validation=4",), [100]),
        ]
    ]  # fmt: skip
    assert len(set(keys)) == 5
    two = searched(request(tmp_path, 1, strategies=["mix"], seeds=[100, 200]), Machine())["mix"].trials[0]
    each = [
        searched(request(tmp_path, 1, strategies=["mix"], seeds=[seed]), Machine())["mix"].trials[0]
        for seed in (100, 200)
    ]
    assert two.score == pytest.approx((each[0].score + each[1].score) / 2) and each[0].score != each[1].score


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"strategies": ["mix", "single"]}, "single trains a network for each task"),
        ({"overrides": ("data.validation=0",)}, "data.validation=8"),
        ({"strategies": ["artt"]}, "did you mean 'art'"),
        ({"strategies": [f"{__name__}:Unsound"]}, "Unsound.search, 'strength'"),
    ],
)
def test_what_cannot_be_searched(more, said, tmp_path):
    with pytest.raises(UserError, match=said):
        request(tmp_path, 2, *more.pop("overrides", ()), **more).studies()


def test_a_damaged_search_is_said(tmp_path):
    study = request(tmp_path, 2).studies()[0]
    study.keep()
    study.path.write_text(study.path.read_text().replace('"wanted": 2', '"wanted": "two"'))
    with pytest.raises(UserError, match="it is no search"):
        study.load()


COMMON = ["--setting", "three_task", "--baselines", SMALL, "--tasks", "derain", "dehaze", "--device", "cpu",
          "--jobs", "1", "--tracking-uri", "none",
          "--set", "train.steps=2", "train.batch=2", "train.patch=32", "data.validation=1"]  # fmt: skip
MINE = f"{__name__}:Gentle"


@pytest.fixture(scope="module")
def tuned(few_embedded, tmp_path_factory):
    """Two searches of two trials, one of a class of one's own, and the runs with what they found."""
    output = tmp_path_factory.mktemp("tuned")
    common = [*COMMON, "--output", str(output)]
    assert tune.main([*common, "--strategies", "mix", MINE, "--trials", "2"]) == 0
    assert run.main([*common, "--strategies", "mix", MINE, "--tuned"]) == 0
    return output, common


def test_trials_are_real_runs_that_never_see_test_images(tuned):
    output, _ = tuned
    folders = [path.parent for path in (output / "tuning").rglob("status")]
    assert len(folders) == 4 and all(Run(folder).status.state == State.DONE for folder in folders)
    assert not any((folder / SCORES).exists() for folder in folders)
    mine = next(search for search in tuning.searches(output, "three_task") if search.strategy == MINE)
    trial = mine.trials[1]
    (folder,) = [
        f for f in folders if Run(f).record.config.train.lr == trial.lr and MINE in Run(f).record.config.strategy
    ]
    config, curve = Run(folder).record.config, Run(folder).curve()
    assert config.strategy == trial.strategy == f"{MINE}:power={trial.values['power']:g}"
    ends = curve[curve["step"] == 2].set_index("task")["psnr"]
    assert trial.tasks == pytest.approx(dict(ends), abs=1e-5) and trial.score == pytest.approx(ends.mean(), abs=1e-5)


def test_tuned_runs_stand_beside_ordinary_ones(tuned):
    output, _ = tuned
    runs = find_runs(output, "three_task")
    terms = {(one.record.config.label, one.record.config.terms.trials) for one in runs}
    assert terms == {("mix", 0), (MINE, 0), ("mix (tuned)", 2), (f"{MINE} (tuned)", 2)}
    found = {search.strategy: search.best for search in tuning.searches(output, "three_task")}
    for config in (one.record.config for one in runs if one.record.config.terms.tuned):
        best = found[config.terms.tuned]
        assert (config.strategy, config.train.lr) == (best.strategy, best.lr)
    assert len({one.record.pair for one in runs}) == 1 and len({one.record.cohort for one in runs}) == 1
    reports = output / "reports/three_task"
    assert len(pd.read_csv(reports / "tuning.csv")) == 4
    assert "## Tuning" in (reports / "gains.md").read_text() and 'id="tuning"' in (reports / "report.html").read_text()


def test_a_finished_search_trains_nothing_again(tuned, capsys):
    output, common = tuned
    before = {path: path.stat().st_mtime_ns for path in (output / "tuning").rglob("status")}
    assert tune.main([*common, "--strategies", "mix", MINE, "--trials", "2"]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in (output / "tuning").rglob("status")}
    assert "gain by tuning" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--strategies", MINE], "add mix to --strategies"),
        (["--strategies", "mix", "--seeds", "0", "100"], "seed 100 chose what would be judged on it: of mix"),
        (["--strategies", "mix", "uw", "fixed"], "--strategies uw fixed"),
        (["--strategies", "mix", "--set", "train.steps=3"], f"mix on {SMALL} has no finished search"),
    ],
)
def test_tuned_refuses(more, said, tuned, capsys):
    assert run.main([*tuned[1], *more, "--tuned", "--dry-run"]) == 2
    assert said in capsys.readouterr().err


def test_tuning_that_was_not_alike_is_said_and_fits_into_a_budget_by_cost(tuned, capsys):
    output, common = tuned
    (path,) = (path for path in tuning.files(output, "three_task") if "Gentle" in path.name)
    search = tuning.read(path)
    tuning.write(path, search.model_copy(update={"trials": search.trials[:1], "wanted": 1}))
    costs = ["--budget", "cost", "--cost-ratio", f"{MINE}=2"]
    assert run.main([*common, "--strategies", "mix", MINE, "--tuned", *costs, "--dry-run"]) == 0
    tuning.write(path, search)
    printed = capsys.readouterr()
    assert f"not tuned alike, trials 2: mix; 1: {MINE}" in printed.err
    assert "(tuned, equal cost) seed 0" in printed.out and "1 steps of" in printed.out


def test_a_class_of_ones_own_races_by_cost_and_against_fixed_weights(tuned):
    output, common = tuned
    costs = ["--budget", "steps", "cost", "--cost-ratio", f"{MINE}=2"]
    assert run.main([*common, "--strategies", "mix", MINE, "fixed:design=5", *costs]) == 0
    front = pd.read_csv(output / "reports/three_task/front.csv")
    assert {MINE, f"{MINE} (equal cost)"} <= set(front["strategy"])
    (raced,) = [one for one in find_runs(output, "three_task") if one.record.config.label == f"{MINE} (equal cost)"]
    assert raced.rhythm()["step"].max() == 1


def test_help_needs_no_torch():
    code = "import sys; from benchmarks import run, tune\nfor command in (run, tune): command.parser().format_help()\n"
    code += "sys.exit(bool({'torch', 'pandas', 'optuna'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[3]).returncode == 0
