"""What the trials of a search are asked for: from defaults over an even spread to where trials went well."""

import math

import pytest

import art
from art import Choice, Range
from benchmarks.execution.asking import DESIGN, ask, batch

SPACE = {"tau": Range(0.05, 50, log=True), "n": Range(1, 9, whole=True), "way": Choice((True, False)),
         "c": Range(-1, 1)}  # fmt: skip
START = {"tau": 0.1, "n": 3, "way": False, "c": 0.0}


def score(values):
    """Best at tau = 3, n = 7, way = True, c = 0.5; a failure for the smallest tau."""
    if values["tau"] < 0.1:
        return None
    distance = abs(math.log(values["tau"] / 3)) + abs(values["n"] - 7) / 4 + abs(values["c"] - 0.5)
    return -distance + values["way"]


def search(wanted, told=(), stream="s", space=SPACE, start=START, judge=score):
    told = list(told)
    for number in range(len(told), wanted):
        values = ask(space, start, told, number, stream)
        told.append((values, judge(values)))
    return told


@pytest.fixture(scope="module")
def whole():
    return search(16)


def test_the_first_trial_has_the_defaults_and_the_others_are_new_and_within(whole):
    asked = [values for values, _ in whole]
    assert asked[0] == START
    for values in asked:
        assert values.keys() == SPACE.keys() and all(SPACE[key].holds(value) for key, value in values.items())
        assert all(float(f"{values[key]:.4g}") == values[key] for key in ("tau", "c"))
        assert asked.count(values) == 1


@pytest.mark.parametrize("stopped", [1, 5, DESIGN, DESIGN + 1, 13])
def test_an_interrupted_search_asks_for_the_same(whole, stopped):
    assert search(16, whole[:stopped]) == whole


def test_a_longer_search_begins_with_the_shorter_one(whole):
    assert search(18)[:16] == whole


def test_the_design_is_spread_evenly_and_does_not_depend_on_scores(whole):
    design = [values for values, _ in whole[1 : DESIGN + 1]]
    assert [ask(SPACE, START, (), number, "s") for number in range(1, DESIGN + 1)] == design
    logs = sorted(math.log(values["tau"] / 0.05) / math.log(1000) for values in design)
    assert [int(place * DESIGN) for place in logs] == list(range(DESIGN))  # one in every eighth of the range
    assert [values["way"] for values in design].count(True) == DESIGN // 2
    others = [ask(SPACE, START, (), number, "other") for number in range(1, DESIGN + 1)]
    assert others != design


def test_later_trials_come_from_where_scores_were_high():
    space = {"tau": Range(0.05, 50, log=True)}
    told = search(24, space=space, start={"tau": 0.05}, judge=lambda values: -abs(math.log(values["tau"] / 3)))
    late = [abs(math.log(values["tau"] / 3)) for values, _ in told[DESIGN + 1 :]]
    early = [abs(math.log(values["tau"] / 3)) for values, _ in told[: DESIGN + 1]]
    assert sum(late) / len(late) < 0.6 * sum(early) / len(early) and min(late) < min(early)


def test_where_all_fail_the_search_goes_on_evenly():
    told = search(16, judge=lambda values: None)
    assert len({values["tau"] for values, _ in told}) == 16


def test_several_are_asked_for_at_once_only_where_none_depends_on_another():
    assert [batch(told, 16, 4) for told in (0, 4, 7, 8, 9, 10, 15, 16)] == [4, 4, 2, 1, 1, 1, 1, 0]
    assert batch(0, 3, 8) == 3 and batch(0, 16, 1) == 1


def test_every_strategy_can_be_asked():
    tasks = ["rain", "haze"]
    for name in [*art.names(), "fixed"]:
        space = art.search_space(name, tasks)
        for number in (0, 3):
            art.with_parameters(name, ask(space, art.start(name, tasks), (), number, name) if space else {}, tasks)
