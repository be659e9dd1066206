"""Several archives give one table: the same run once, other runs of one identity named, other images apart."""

import csv

import pytest
from synthetic_store import SETS, records, write_run

from reports.build import main
from results import tuning
from results.archive import main as keep
from results.records import State
from results.together import together
from results.tuning import Search, Trial


def store(place, runs, images="1"):
    """An archive of ``{(strategy, seed): gain}``, with all sets of digests of that kind."""
    data = [record | {"digest": f"p{images * 16}"} for record in records()]
    machine = {"commit": f"{place.name}0123456789", "device": f"machine {place.name}", "platform": "Linux"}
    for (strategy, seed), gain in runs.items():
        write_run(place / "out", strategy=strategy, seed=seed, psnr=gain, data=data, environment=machine)
    assert keep([str(place / "out"), str(place / "kept"), "--setting", "three_task"]) == 0
    return place / "kept"


@pytest.fixture
def two(tmp_path):
    one = store(tmp_path / "a", {("mix", 0): 3.0, ("mix", 1): 3.1, ("art", 0): 3.4, ("art", 1): 3.6})
    return one, store(tmp_path / "b", {("mix", 0): 3.0, ("mix", 1): 3.1, ("uw", 0): 3.2, ("uw", 1): 3.2})


def built(tmp_path, capsys, *archives, code=0):
    out = tmp_path / "out"
    assert main(["--from", *map(str, archives), "--output", str(out), "--format", "md", "csv"]) == code
    return " ".join(capsys.readouterr().out.split()), out / "reports" / "three_task"


def runs_of(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_same_run_is_counted_once_and_all_stand_in_one_table(two, tmp_path, capsys):
    told, folder = built(tmp_path, capsys, *two)
    assert not list(folder.glob("gains-*.md"))
    rows = runs_of(folder / "runs.csv")
    assert sorted((row["strategy"], row["seed"]) for row in rows) == sorted(
        (strategy, str(seed)) for strategy in ("mix", "art", "uw") for seed in (0, 1)
    )
    assert all(row["state"] == "counted" for row in rows)
    assert f"2 runs of {two[0]} are in {two[1]} too, with the same scores: counted once." in told
    for name, archive, count in (("a", two[0], 4), ("b", two[1], 2)):
        assert f"{archive}: {count} runs; commit {name}0123456789;" in told and f"machine {name}" in told
    assert f"p{'1' * 16}: RainTrainL, {', '.join(SETS)}" in told


def test_another_run_of_one_identity_is_named_and_the_first_archive_counts(two, tmp_path, capsys):
    other = store(tmp_path / "c", {("mix", 0): 3.0, ("mix", 1): 3.6, ("famo", 0): 3.2})
    for archives, psnr, first in (((two[0], other), 23.38, two[0]), ((other, two[0]), 23.88, other)):
        told, folder = built(tmp_path, capsys, *archives)
        assert "Two different runs of one identity: TransWeather, mix, seed 1" in told
        assert f"that of {first} counts" in told and "an image by up to 0.5 dB" in told
        (mix,) = [row for row in runs_of(folder / "runs.csv") if (row["strategy"], row["seed"]) == ("mix", "1")]
        assert float(mix["average_psnr"]) == pytest.approx(psnr)


def test_a_finished_run_takes_the_place_of_a_failed_one(two, tmp_path, capsys):
    failed = ("failed", "out of memory")
    write_run(tmp_path / "c/out", strategy="art", seed=0, status=failed, data=records())
    write_run(tmp_path / "c/out", strategy="mix", seed=0, psnr=3.0, data=records())
    assert keep([str(tmp_path / "c/out"), str(tmp_path / "c/kept"), "--setting", "three_task"]) == 0
    told, folder = built(tmp_path, capsys, tmp_path / "c/kept", two[0])
    assert f"(failed there, done here); that of {two[0]} counts." in told
    assert {row["state"] for row in runs_of(folder / "runs.csv")} == {"counted"}


def test_runs_on_other_images_stand_in_a_table_of_their_own(two, tmp_path, capsys):
    other = store(tmp_path / "c", {("mix", 0): 3.0, ("art", 0): 3.3}, images="2")
    told, folder = built(tmp_path, capsys, *two, other)
    first, second = sorted(folder.glob("gains*.md"), key=lambda path: -len(path.name))
    assert f"Runs of {other} were trained or scored on other images of CBSD68-s15" in told
    apart = next(path for path in (first, second) if f"p{'2' * 16}" in path.read_text("utf-8"))
    assert f"p{'1' * 16}" not in apart.read_text("utf-8")
    found = together([*two, other], "three_task")
    assert {len({run.origin for run in found.runs if run.record.cohort == key}) for key in found.notes} == {1, 2}


def test_searches_of_all_are_shown_and_other_ones_of_a_name_are_named(two, tmp_path, capsys):
    trial = Trial(number=0, strategy="famo", values={}, factor=1.0, lr=1e-3, state=State.DONE, score=20.0)
    (cohort,) = {run.record.cohort for run in together(two, "three_task").runs}
    search = Search(
        setting="three_task", baseline="transweather", size="tiny", profile="demo", display="TransWeather",
        strategy="famo", recipe="r", cohort=cohort, key="k", seeds=[100], validation=8, lr=1e-3, wanted=1,
        trials=[trial],
    )  # fmt: skip
    for archive, factor in zip(two, (1.0, 2.0), strict=True):
        place = tuning.place(archive, "three_task") / tuning.SEARCHES / "transweather-famo.json"
        tuning.write(place, search.model_copy(update={"lr": 1e-3 * factor}))
    told, folder = built(tmp_path, capsys, *two)
    assert "is another than" in told and len(runs_of(folder / "tuning.csv")) == 1


def test_mistakes_are_told(two, tmp_path, capsys):
    assert main(["--from", str(two[0]), str(tmp_path), "--output", str(tmp_path / "out")]) == 2
    assert f"No runs are kept in {tmp_path}" in capsys.readouterr().err
    for command in (["--from", *map(str, two)], ["--from", str(two[0]), str(two[0]), "--output", str(tmp_path)]):
        with pytest.raises(SystemExit):
            main(command)
        assert "--from names" in capsys.readouterr().err
    (two[1] / "scores.parquet").write_bytes(b"PAR1")
    assert main(["--from", *map(str, two), "--output", str(tmp_path / "out")]) == 2
    assert "scores.parquet is damaged" in capsys.readouterr().err
