"""The build from end to end: files, cohorts, repeatability, what people see when there is nothing."""

import os
import re
import shutil
import subprocess
import sys
from itertools import pairwise

import pytest
from PIL import Image
from synthetic_store import TASKS, simulate, write_run

from reports.build import FORMATS, NothingToReport, build, main
from reports.figures import labels, style
from results import Run, State, Status, find_runs


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two cohorts; in the newer one a collapsed and a failed run."""
    output = tmp_path_factory.mktemp("results")
    collapsed = ("done", "collapsed: constant output on 5 of 5 test sets")
    for seed in range(2):
        for strategy, psnr in (("mix", 3.0), ("art", 2.5), ("pcgrad", 3.4)):
            rhythm = simulate(strategy, steps=60, seed=seed)
            write_run(output, "transweather", strategy, seed, psnr + 0.1 * seed, rhythm=rhythm)
    write_run(output, "airnet", "mix", 0, -9.0, status=collapsed, rhythm=simulate("mix", steps=60))
    write_run(output, "airnet", "art", 0, status=("failed", "out of memory"))
    short = {"config": {"train.steps": 20}, "overrides": ("train.steps=20",), "age": 1000}
    for strategy in ("mix", "art"):
        write_run(output, "transweather", strategy, 0, 1.0, rhythm=simulate(strategy, steps=20, absent=0.5), **short)
    return output


@pytest.fixture(scope="module")
def built(store):
    return build("three_task", store)


@pytest.fixture
def without_figures(monkeypatch):
    """Drawing is most of the time; these tests look at tables."""
    monkeypatch.setattr("reports.formats.files._figures", lambda *arguments: [])


def test_files_of_every_cohort(store, built):
    report = built
    names = [path.name for path in report.files]
    assert all(path.exists() for path in report.files)
    older = next(name for name in names if re.fullmatch(r"gains-[0-9a-f]{8}\.md", name))[6:14]
    for suffix in ("", f"-{older}"):
        for name in (
            "gains{}.md",
            "gains{}.csv",
            "gains{}.tex",
            "runs{}.csv",
            "gains{}.svg",
            "rhythm-transweather{}.png",
        ):
            assert name.format(suffix) in names
    assert "rhythm-airnet.png" in names  # the collapsed run's rhythm shows how it collapsed
    first, second = report.text.split("=" * 118)
    assert first.startswith("[1 of 2]") and "train.steps=20" not in first
    assert "train.steps=20" in second and "AirNet" not in second
    page = (store / "reports/three_task/gains.md").read_text()
    assert "rhythm-transweather.png" in page and older not in page


def test_pictures_are_small_and_of_print_quality(built):
    for path in built.files:
        if path.suffix == ".png":
            assert path.stat().st_size < 400_000
            with Image.open(path) as image:
                assert image.info["dpi"][0] == pytest.approx(150, abs=1)


def test_rebuilding_in_another_process_gives_the_same_bytes(store, built):
    first = {path: path.read_bytes() for path in built.files}
    assert {path.suffix[1:] for path in first} == set(FORMATS)
    shutil.rmtree(store / "reports")
    command = [sys.executable, "-m", "reports.build", "--setting", "three_task", "--output", str(store)]
    other = {"PYTHONHASHSEED": "7"}  # no order of a set may reach a file
    again = subprocess.run(command, env=os.environ | other, capture_output=True, text=True, check=True)
    assert {path: path.read_bytes() for path in (store / "reports/three_task").iterdir()} == first
    assert again.stdout == built.text + "\n"


def test_chosen_formats_are_written_and_the_others_left(store, tmp_path, capsys):
    output = shutil.copytree(store / "runs", tmp_path / "runs").parent
    build("three_task", output, strategies=["art"], baselines=["transweather"], formats=["md", "svg"])
    folder = output / "reports/three_task"
    assert {path.suffix for path in folder.iterdir()} == {".md", ".svg"}
    assert "rhythm-transweather.svg" in (folder / "gains.md").read_text()
    before = sorted(folder.iterdir())
    assert main(["--setting", "three_task", "--output", str(output), "--format", "csv"]) == 0
    assert all(path.exists() for path in before) and (folder / "gains.csv").exists()
    with pytest.raises(ValueError, match="no format 'pdf'; there are: md, csv"):
        build("three_task", output, formats=["pdf"])


def test_collecting_tells_what_is_missing(tmp_path, capsys):
    arguments = ["--setting", "three_task", "--output", str(tmp_path), "--collect", "--format", "html"]
    assert main(arguments) == 0
    assert "Nothing to collect yet" in capsys.readouterr().out
    for seed in range(2):
        write_run(tmp_path, strategy="mix", seed=seed, psnr=3.0)
    write_run(tmp_path, strategy="art", seed=1, status=("running", ""), rhythm=simulate("art", 40))
    write_run(tmp_path, "airnet", "mix", 0, status=("running", ""))
    assert main(arguments) == 0
    text = capsys.readouterr().out.replace("\n  ", " ")
    assert "art, seed 1: unfinished: started, recorded up to step 40 of 600." in text
    assert "Progress: 2 of 8 runs are finished, 2 started and not finished, 4 not started." in text
    assert "Not started: AirNet, mix, seed 1; AirNet, art, seeds 0, 1; TransWeather, art, seed 0." in text
    page = (tmp_path / "reports/three_task/report.html").read_text()
    assert "recorded up to step 40 of 600" in page and "Not started: AirNet, mix, seed 1" in page
    alone = build("three_task", tmp_path, formats=[]).text
    assert "Not started" not in alone and "Progress" not in alone
    for strategy in ("pcgrad", "cagrad"):
        write_run(tmp_path, strategy=strategy, seed=1, psnr=3.0)
    text = build("three_task", tmp_path, formats=[], collect=True).text.replace("\n  ", " ")
    assert "AirNet, each of art, cagrad, pcgrad, seeds 0, 1" in text


def test_chosen_runs_make_one_cohort_and_leave_the_others_files(store, built, tmp_path):
    output = shutil.copytree(store, tmp_path / "copy")
    report = build("three_task", output, runs=find_runs(output, "three_task", {"baseline": ["airnet"]}))
    assert "TransWeather" not in report.text
    folder = output / "reports" / "three_task"
    assert not (folder / "rhythm-transweather.png").exists()  # would belong to no table now
    older = [path.name for path in built.files if re.search(r"-[0-9a-f]{8}\.", path.name)]
    assert older and all((folder / name).exists() for name in older)


def test_selecting_keeps_the_reference(store, tmp_path, without_figures):
    store = shutil.copytree(store / "runs", tmp_path / "runs").parent
    report = build("three_task", store, baselines=["transweather"], strategies=["art"])
    assert "pcgrad" not in report.text and "AirNet" not in report.text
    assert re.search(r"^  mix ", report.text, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--setting", "thre_task"], "No runs of setting 'thre_task'"),
        (["--setting", "three_task", "--strategies", "artt"], "there are: art, mix, pcgrad"),
        (["--setting", "three_task", "--baselines", "x"], "there are: airnet, transweather"),
        (["--setting", "three_task", "--protocol", "weather_y"], "there are: airnet_rgb"),
    ],
)
def test_mistakes_get_a_sentence_and_code_2(store, capsys, arguments, sentence):
    assert main([*arguments, "--output", str(store)]) == 2
    told = capsys.readouterr()
    assert sentence in told.err and not told.out
    assert told.err.count("\n") == 1


def test_missing_everything(tmp_path, capsys):
    assert main(["--setting", "three_task", "--output", str(tmp_path / "nowhere")]) == 2
    assert "python -m benchmarks.run --setting three_task" in capsys.readouterr().err
    with pytest.raises(NothingToReport):
        build("three_task", tmp_path)


def test_runs_that_never_came_to_their_configuration(tmp_path, without_figures):
    run = Run(tmp_path / "runs/three_task/airnet/mix/0-abcdef01")
    run.write_status(Status(State.FAILED, "Rain100L: no such folder"))
    assert "Rain100L: no such folder" in build("three_task", tmp_path, runs=[run]).text
    good = write_run(tmp_path, psnr=3.0)
    assert "Not started: airnet, mix, seed 0 (failed: Rain100L: no such folder)" in build(
        "three_task", tmp_path, runs=[run, good]
    ).text.replace("\n  ", " ")


def test_only_failed_runs_still_make_a_report(tmp_path):
    write_run(tmp_path, status=("failed", "out of memory"))
    report = build("three_task", tmp_path)
    assert "No run counts so far." in report.text and "failed: out of memory" in report.text
    write_run(tmp_path, "airnet", psnr=-9.0, status=("done", "collapsed: constant output on Rain100L"))
    text = build("three_task", tmp_path).text.replace("\n  ", " ")
    assert "AirNet, mix, seed 0: collapsed: constant output on Rain100L." in text


def test_the_help_imports_nothing_heavy():
    code = (
        "import sys, reports.build; print([m for m in ('pandas', 'matplotlib', 'scipy', 'torch') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_tasks_shown_together_never_look_alike():
    eleven = ["low", "haze", "rain", "snow", "low_haze", "low_rain", "low_snow", "haze_rain", "haze_snow",
              "low_haze_rain", "low_haze_snow"]  # fmt: skip
    for tasks in (TASKS, ["desnow", "rain_fog", "raindrop"], [*TASKS, "deblur", "low_light"], eleven):
        looks = list(style.task_styles(tasks).values())
        assert len(set(map(str, looks))) == len(looks)
    assert style.task_styles(["dehaze"])["dehaze"] == style.task_styles(TASKS)["dehaze"]


def test_labels_move_apart_within_their_bounds():
    places = labels.spread_apart([0.5, 0.5, 0.51, 0.99, 1.0], 0.1, 0.02, 0.98)
    assert max(places) <= 0.98
    assert all(b - a >= 0.1 - 1e-9 for a, b in pairwise(sorted(places)))
