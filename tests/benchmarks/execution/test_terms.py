"""Runs on other terms than an ordinary one: by cost, one network a task, some of the tasks."""

import json

import pytest
from small_network import SMALL

from benchmarks.config.configuration import resolve
from benchmarks.config.errors import UserError
from benchmarks.config.settings import load
from benchmarks.run import main
from reports.numbers.cohorts import gather
from results import State, Status, find_runs
from results.records import Role

SETTING = load("three_task")
QUICK = ["train.steps=5", "train.batch=5", "train.patch=16"]


@pytest.fixture(scope="module")
def data(three_task_root):
    return three_task_root


def arguments(data, output, *more):
    return ["--setting", "three_task", "--baselines", SMALL, "--data-root", str(data), "--output", str(output),
            "--device", "cpu", "--tracking-uri", "none", "--jobs", "1", "--set", *QUICK, *more]  # fmt: skip


def test_terms_are_no_part_of_what_pairs_runs_but_of_what_a_run_is():
    usual = resolve(SETTING, "nafnet", "art", overrides=["train.steps=100"])
    raced = usual.on_terms(share=1 / 3, rate=2.0, budget="cost", ratio=3.0)
    assert (raced.train.steps, raced.train.lr) == (33, 2 * usual.train.lr)
    assert (raced.terms.steps, raced.terms.lr) == (100, usual.train.lr)
    assert raced.usual == usual and usual.on_terms() == usual
    ours, theirs = raced.identity(SETTING), usual.identity(SETTING)
    assert (ours["pair"], ours["cohort"]) == (theirs["pair"], theirs["cohort"]) and ours["hash"] != theirs["hash"]
    assert len({raced.hash, usual.on_terms(share=1 / 3).hash, usual.on_terms(task="derain").hash, usual.hash}) == 4
    assert raced.on_terms(share=0.5).terms.steps == 100
    assert not {"terms", "tasks"} & usual.model_dump(mode="json").keys()


def test_single_task_networks_are_one_row_where_all_of_them_count(data, tmp_path, capsys):
    assert main(arguments(data, tmp_path, "--strategies", "mix", "single", "single:full=true")) == 0
    printed = capsys.readouterr().out
    runs = {
        (run.record.config.strategy, run.record.config.terms.task): run for run in find_runs(tmp_path, "three_task")
    }
    assert len(runs) == 1 + 5 + 5
    for (strategy, task), run in runs.items():
        steps = {"mix": 5, "single": 1, "single:full": 5}[strategy]  # balanced: a fifth of mix's samples
        assert run.rhythm()["step"].max() == steps
        assert not task or {record.task for record in run.data} == set(run.rhythm()["task"]) == {task}
    (cohort,) = gather(runs.values())
    assert cohort.strategies(SMALL) == ["mix", "single", "single:full"]
    (outcome,) = cohort.counted(SMALL, "single")
    sets = {
        task: next(r.dataset for r in runs["single", task].data if r.role == Role.TEST) for task in SETTING.task_names
    }
    for task, dataset in sets.items():
        scores = runs["single", task].scores()
        assert set(scores["dataset"]) == {dataset}
        assert outcome.mean(dataset, "psnr") == pytest.approx(scores[scores["metric"] == "psnr"]["value"].mean())
    assert "single:full" in printed and "one network for each task, 1 step" in printed
    runs["single", "derain"].write_status(Status(State.FAILED, "out of luck"))
    outcome = gather(find_runs(tmp_path, "three_task"))[0].select(SMALL, "single")[0]
    assert not outcome.counts and outcome.reason == "derain: out of luck"


def test_by_cost_strategies_get_the_steps_that_fit_into_mixs_cost(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("benchmarks.execution.costing.ROUNDS", 3)
    command = arguments(data, tmp_path, "--strategies", "mix", "art", "pcgrad", "--budget", "steps", "cost",
                        "--cost-ratio", "pcgrad=2.5")  # fmt: skip
    assert main(command) == 0
    costs = json.loads((tmp_path / "costs.json").read_text())
    (kept,) = costs.values()
    assert kept["pcgrad"] == {"ratio": 2.5, "device": ""} and kept["art"]["ms"] > 0 and "mix" not in kept
    ratio = kept["art"]["ms"] / kept["art"]["mix_ms"]
    assert kept["art"]["ratio"] == pytest.approx(ratio, rel=1e-3)
    runs = {run.record.config.label: run for run in find_runs(tmp_path, "three_task")}
    assert runs.keys() == {"mix", "art", "pcgrad", "art (equal cost)", "pcgrad (equal cost)"}
    assert runs["pcgrad (equal cost)"].rhythm()["step"].max() == 2
    assert runs["art (equal cost)"].rhythm()["step"].max() == max(1, round(5 / kept["art"]["ratio"]))
    assert len({run.record.pair for run in runs.values()}) == len({run.record.cohort for run in runs.values()}) == 1
    printed = capsys.readouterr().out
    assert "pcgrad (equal cost): 2 steps, each costing 2.5 of mix's" in printed
    assert main(command[:-2]) == 0  # the ratios that runs were planned with stay
    assert "5 runs, 5 done already" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--budget", "cost", "--cost-ratio", "pcgrad=none"], "expected STRATEGY=RATIO"),
        (["--budget", "cost", "--cost-ratio", "pcgrd=2"], "did you mean 'pcgrad'"),
        (["--budget", "cost", "--cost-ratio", "pcgrad=-1"], "lies above 0"),
        (["--cost-ratio", "pcgrad=2"], "belongs to --budget cost"),
        (["--budget", "cost", "--cluster", "tcp://127.0.0.1:1"], "cannot be measured here"),
        (["--tasks", "derian"], "did you mean 'derain'"),
    ],
)
def test_what_cannot_be_is_a_sentence(options, told, data, tmp_path, capsys):
    command = arguments(data, tmp_path, "--strategies", "mix", "pcgrad", *options)
    assert main(command) == 2
    assert told in capsys.readouterr().err and not find_runs(tmp_path, "three_task")
    (tmp_path / "costs.json").write_text('{"x": {"art": {"ratio": "fast"}}}')
    assert main(arguments(data, tmp_path, "--budget", "cost")) == 2
    assert "costs.json cannot be read" in capsys.readouterr().err


def test_a_strategy_that_fails_while_it_is_measured_is_a_sentence(data, tmp_path, capsys, monkeypatch):
    (tmp_path / "brittle.py").write_text(
        "from torchjd.scalarization import Scalarizer\n"
        "class Brittle(Scalarizer):\n    def forward(self, values, /):\n        raise RuntimeError('glass')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    command = arguments(data, tmp_path / "out", "--strategies", "mix", "brittle:Brittle", "--budget", "cost")
    assert main(command) == 2
    assert "a step failed (RuntimeError: glass)" in capsys.readouterr().err
    command = arguments(
        data, tmp_path / "out", "--strategies", "mix", "dwa", "--budget", "cost", "--set", "data.mixing=shuffled"
    )
    assert main(command) == 2
    assert "leaves some out" in capsys.readouterr().err and not find_runs(tmp_path / "out", "three_task")


def test_some_of_the_tasks(data, tmp_path, capsys):
    assert main(arguments(data, tmp_path, "--strategies", "mix", "--tasks", "dehaze", "derain")) == 0
    (run,) = find_runs(tmp_path, "three_task")
    assert set(run.rhythm()["task"]) == {"derain", "dehaze"} == {record.task for record in run.data}
    assert run.record.config.tasks == ["derain", "dehaze"]
    whole, part = resolve(SETTING, "nafnet", "mix"), resolve(SETTING.only(["derain", "dehaze"]), "nafnet", "mix")
    assert whole.identity(SETTING)["cohort"] != part.identity(SETTING)["cohort"] and whole.tasks == ()
    assert resolve(SETTING.only(SETTING.task_names), "nafnet", "mix") == whole
    with pytest.raises(UserError, match="no test set"):
        SETTING.only([])
    from benchmarks.evaluate import main as evaluate

    assert evaluate(["--run", str(run.folder), "--device", "cpu", "--output", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "Rain100L" in printed and "CBSD68" not in printed
