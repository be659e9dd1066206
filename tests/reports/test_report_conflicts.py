"""Conflicts of task gradients, on probes worked by hand."""

import math

import pandas as pd
import pytest
from synthetic_store import probe, write_run

from reports.build import build
from reports.figures.conflicts import colour_limit, conflict_figures
from reports.formats.text import conflict_text
from reports.numbers.cohorts import gather
from reports.numbers.conflicts import conflict_table, conflicts
from results import find_runs

TASKS = ("noise", "rain", "haze")


def probes(first: tuple[float, float, float], second: tuple[float, float, float]) -> pd.DataFrame:
    """Two probes; cosines of noise-rain, noise-haze, rain-haze; norms 1, 2, 3 times the probe's number."""
    rows = []
    for number, cosines in ((1, first), (2, second)):
        pairs = dict(zip([(0, 1), (0, 2), (1, 2)], cosines, strict=True))
        for a, task in enumerate(TASKS):
            for b, other in enumerate(TASKS):
                cosine = 1.0 if a == b else pairs[min(a, b), max(a, b)]
                rows.append((100 * number, task, other, cosine, float((a + 1) * number)))
    return pd.DataFrame(rows, columns=["step", "task", "other", "cosine", "norm"])


@pytest.fixture
def cohort(tmp_path):
    write_run(tmp_path, strategy="mix", seed=0, psnr=3.0, conflict=probes((0.4, -0.2, 0.6), (0.2, -0.6, 0.8)))
    write_run(tmp_path, strategy="mix", seed=1, psnr=3.0, conflict=probes((0.4, -0.4, 0.6), (0.2, -0.4, 0.8)))
    write_run(tmp_path, strategy="art", seed=0, status=("running", ""), conflict=probes((0, 0, 0), (0, 0, 0.1)))
    write_run(tmp_path, strategy="equal", psnr=3.0)
    (cohort,) = gather(find_runs(tmp_path, "three_task"))
    return cohort


def test_means_over_probes_and_seeds_by_hand(cohort):
    mix, art = conflicts(cohort)["transweather"]
    assert (mix.seeds, art.title) == ((0, 1), "art (unfinished)")
    assert mix.cosine.at["noise", "haze"] == mix.cosine.at["haze", "noise"] == pytest.approx(-0.4)
    assert mix.mean == pytest.approx((0.3 - 0.4 + 0.7) / 3)
    assert mix.negative == pytest.approx(1 / 3)
    assert mix.worst == ("noise", "haze")
    assert mix.norms.loc[200].tolist() == [2.0, 4.0, 6.0]
    assert mix.pairs[("noise", "rain")].tolist() == pytest.approx([0.4, 0.2])
    assert colour_limit([mix, art]) == 0.75
    text = conflict_text({"transweather": [mix, art]})
    assert "noise – haze (-0.40)" in text and "33%" in text


def test_the_table_has_a_row_a_run_and_pair(cohort):
    frame = conflict_table(cohort).set_index(["strategy", "seed", "task", "other"])
    row = frame.loc[("mix", 0, "noise", "haze")]
    assert (row["cosine"], row["cosine_first"], row["cosine_last"], row["cosine_least"]) == (-0.4, -0.2, -0.6, -0.6)
    assert (row["below_zero"], row["probes"], row["norm"], row["norm_other"]) == (1.0, 2, 1.5, 4.5)
    assert len(frame) == 3 * 3 and frame.loc[("art", 0, "noise", "rain"), "state"] == "unfinished"


def test_the_share_below_zero_is_counted_as_in_the_table(tmp_path):
    for seed in range(3):  # a mean over seeds would have fewer, or more, below 0 than the seeds have
        write_run(tmp_path, seed=seed, psnr=3.0, conflict=probe(seed=seed))
    (cohort,) = gather(find_runs(tmp_path, "three_task"))
    ((mix,),) = conflicts(cohort).values()
    rows = conflict_table(cohort)
    assert mix.negative == pytest.approx((rows["below_zero"] * rows["probes"]).sum() / rows["probes"].sum())
    assert mix.negative != pytest.approx(float((mix.pairs.to_numpy() < 0).mean()))


def test_one_task_has_no_pair(tmp_path):
    write_run(tmp_path, psnr=3.0, conflict=probe(tasks=["derain"]))
    (cohort,) = gather(find_runs(tmp_path, "three_task"))
    (found,) = conflicts(cohort).values()
    assert found[0].worst is None and math.isnan(found[0].mean)
    assert "–" in conflict_text({"transweather": found})
    assert conflict_table(cohort).empty
    assert len(conflict_figures(cohort, found, tmp_path / "one")) == 2


def test_figures_are_written_and_vanish_with_their_runs(tmp_path):
    run = write_run(tmp_path, psnr=3.0, conflict=probe())
    names = {path.name for path in build("three_task", tmp_path).files}
    assert {"conflicts.csv", "conflicts-transweather.png", "conflicts-transweather.svg"} <= names
    (run.folder / "conflicts.parquet").unlink()
    build("three_task", tmp_path)
    assert not list((tmp_path / "reports/three_task").glob("conflicts*"))
