"""Sweeps of a strategy's parameter: which strategies make one, and where their values stand."""

import math

import pytest
from synthetic_store import write_run

from reports.figures.sweeps import sweep_figure
from reports.formats.text import sweep_text
from reports.numbers.cohorts import gather
from reports.numbers.sweeps import positions, sweeps
from reports.numbers.tables import gain_table
from results import find_runs


def table_of(output):
    (cohort,) = gather(find_runs(output, "three_task"))
    return gain_table(cohort, images=False)


def write_sweep(output, gains, baseline="transweather", seeds=2, recorded=True, **fixed):
    """Runs of art; the one at tau 0.1 is spelled without it, as the grid does."""
    for seed in range(seeds):
        write_run(output, baseline, "mix", seed, 3.0)
        for tau, gain in gains.items():
            spec = ":".join(["art", *(f"{k}={v}" for k, v in fixed.items()), *([f"tau={tau:g}"] if tau != 0.1 else [])])
            parameters = {"tau": tau, "momentum": 0.01, "released": False} | fixed if recorded else None
            write_run(output, baseline, spec, seed, 3.0 + gain + 0.1 * seed, parameters=parameters)


def test_defaults_come_from_the_record(tmp_path):
    write_sweep(tmp_path, {0.1: -1.0, 1: 0.2, 10: 0.5})
    write_sweep(tmp_path, {0.1: -0.5, 10: 0.1}, baseline="airnet")
    (sweep,) = sweeps(table_of(tmp_path))
    assert (sweep.strategy, sweep.parameter, sweep.values) == ("art", "tau", [0.1, 1, 10])
    assert [line.name for line in sweep.lines] == ["AirNet", "TransWeather"]
    text = sweep_text(sweep, several_seeds=True)
    assert "tau=0.1" in text and "-0.95 ±0.07" in text and text.count("\n") == 4


def test_without_a_record_a_missing_parameter_is_unknown(tmp_path):
    write_sweep(tmp_path, {0.1: -1.0, 1: 0.2, 10: 0.5}, recorded=False)
    assert sweeps(table_of(tmp_path)) == []
    write_sweep(tmp_path, {3: 0.3}, recorded=False)
    (sweep,) = sweeps(table_of(tmp_path))
    assert sweep.values == [1, 3, 10]


def test_other_parameters_make_lines_of_their_own_and_flags_no_sweep(tmp_path):
    for momentum in (0.01, 0.1):
        write_sweep(tmp_path, {0.1: -1.0, 1: 0.2, math.inf: 0.5}, momentum=momentum, seeds=1)
    table = table_of(tmp_path)
    (sweep,) = sweeps(table)  # two momenta are too few, released is no number
    assert [line.name for line in sweep.lines] == ["TransWeather, momentum=0.01", "TransWeather, momentum=0.1"]
    assert len(sweep_figure(table, sweep, tmp_path / "sweep")) == 2


def test_decades_are_logarithmic_and_infinity_stands_beyond():
    places, ticks = positions([0.1, 1.0, 10.0, math.inf])
    assert list(places.values()) == pytest.approx([-1, 0, 1, 2]) and "∞" in ticks.values()
    assert positions([0.0, 5.0, 20.0])[0] == {0.0: 0.0, 5.0: 5.0, 20.0: 20.0}
    assert list(positions([1.0, 2.0, 4.0])[0]) == list(positions([1.0, 2.0, 4.0])[0].values())
