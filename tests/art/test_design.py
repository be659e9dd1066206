"""Designs of fixed weights cover the simplex evenly, and a larger one keeps the smaller."""

import warnings

import numpy as np
import pytest
from scipy.stats import kstest, qmc

import art
from art.simplex import CENTRE, points

TASKS = ["denoise_15", "denoise_25", "denoise_50", "derain", "dehaze"]


def weights(spec, tasks=TASKS):
    """(K,) with sum 1, from a spec."""
    _, named = art.parse(spec)
    values = np.array([named.get(task, 1.0) for task in tasks])
    return values / values.sum()


def in_the_cube(simplex):
    """The inverse of the map onto the simplex: what is left of the stick, to the power of the tasks to come."""
    left = 1 - np.concatenate([np.zeros((len(simplex), 1)), simplex.cumsum(1)[:, :-1]], 1)
    to_come = np.arange(simplex.shape[1] - 1, 0, -1)
    return 1 - (left[:, 1:] / left[:, :-1]) ** to_come


@pytest.mark.parametrize("tasks", [2, 3, 7])
def test_points_are_uniform_on_the_simplex(tasks):
    """Each weight has the distribution Beta(1, K - 1), whichever its place; two of them correlate by -1 / (K - 1)."""
    simplex = (points(13, tasks) - CENTRE / tasks) / (1 - CENTRE)
    np.testing.assert_allclose(simplex.sum(1), 1, rtol=1e-12)
    for column in simplex.T:
        assert kstest(column, "beta", (1, tasks - 1)).statistic < 0.005
    correlations = np.corrcoef(simplex.T)[~np.eye(tasks, dtype=bool)]
    np.testing.assert_allclose(correlations, -1 / (tasks - 1), atol=0.01)


def test_it_covers_more_evenly_than_chance_does():
    spread = (points(4, len(TASKS)) - CENTRE / len(TASKS)) / (1 - CENTRE)
    chance = [np.random.default_rng(seed).dirichlet(np.ones(len(TASKS)), 16) for seed in range(50)]
    assert qmc.discrepancy(in_the_cube(spread)) < 0.5 * min(qmc.discrepancy(in_the_cube(draw)) for draw in chance)
    dimensions = in_the_cube(spread)
    assert all(len({*(column * 16 // 1)}) == 16 for column in dimensions.T)  # one point in every sixteenth


@pytest.mark.parametrize("count", [2, 6, 16, 100])
def test_every_set_is_one_of_its_own_and_starves_no_task(count):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = art.design(count, TASKS)
    assert len(found) == len({*found}) == count and "equal" not in found
    for spec in found:
        assert art.canonical(spec, TASKS) == spec and art.make(spec, TASKS)
        assert weights(spec).min() > 0.99 * CENTRE / len(TASKS)


def test_specs_are_the_points_to_three_digits():
    for spec, point in zip(art.design(16, TASKS), points(4, len(TASKS)), strict=True):
        np.testing.assert_allclose(weights(spec), point, rtol=0.01)


def test_a_larger_design_keeps_the_smaller():
    long = art.design(1024, TASKS)
    assert all(art.design(count, TASKS) == long[:count] for count in (2, 7, 8, 16, 200))


def test_the_design_is_the_same_everywhere():
    """A change of these values would make new runs of those there are."""
    assert art.design(2, TASKS) == FIRST
    assert art.design(3, ["a", "b"]) == ["fixed:a=1.65", "fixed:b=4.77", "fixed:b=1.51"]


FIRST = [
    "fixed:dehaze=20.7:denoise_15=7.34:denoise_25=2.97:denoise_50=1.09",
    "fixed:dehaze=3.7:denoise_25=6.77:denoise_50=3.64:derain=3.92",
]


def test_two_tasks_have_enough_sets_for_the_largest_design():
    """Where three digits make many points equal."""
    found = art.design(1024, ["a", "b"])
    assert len({*found}) == 1024 and found[:50] == art.design(50, ["a", "b"])


def test_a_spec_of_a_design_is_written_out():
    assert art.expand("fixed:design=4", TASKS) == art.design(4, TASKS) == art.expand("fixed:design=4.0", TASKS)
    assert art.expand("art:tau=1", TASKS) == ["art:tau=1"] and art.expand("fixed:derain=2", TASKS) == ["fixed:derain=2"]


@pytest.mark.parametrize(
    ("spec", "tasks", "message"),
    [
        ("fixed:design=1", TASKS, "2 to 1024"),
        ("fixed:design=1025", TASKS, "2 to 1024"),
        ("fixed:design=2.5", TASKS, "whole number"),
        ("fixed:design=few", TASKS, "a finite number"),
        ("fixed:design=4:derain=2", TASKS, "no weights beside it"),
        ("fixed:design=4", ["derain"], "a single task"),
        ("fixed:design=4", ["derain", "design"], "no spec can name the task 'design'"),
        ("fixed:derian=4", TASKS, "did you mean 'derain'"),
    ],
)
def test_refuses_what_is_no_design(spec, tasks, message):
    with pytest.raises(ValueError, match=message):
        art.expand(spec, tasks)
