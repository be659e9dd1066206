"""What may be searched of a strategy: of those with names, and of one's own."""

import math
import subprocess
import sys
from typing import ClassVar

import pytest
from torchjd.scalarization import Scalarizer

import art
from art import Choice, Range, Strategy, conformance

TASKS = ["denoise_25", "derain", "dehaze"]


class Mine(Scalarizer):
    """Of one's own, with every way to declare what may be searched."""

    search: ClassVar = {
        "strength": (0.1, 10.0, "log"),
        "depth": (1, 64, "log", "whole"),
        "mode": ["mean", "max"],
        "share": Range(0, 1),
        "open": (2, 4),
    }

    def __init__(self, open, strength=1.0, depth=4, mode="mean", share=0.5, other=3):
        super().__init__()
        self.given = dict(open=open, strength=strength, depth=depth, mode=mode, share=share, other=other)

    def forward(self, values, /):
        return values.mean() * self.given["strength"]


class Worst(Strategy):
    """Diverges at one end of what it says may be searched."""

    search: ClassVar = {"power": (1.0, 50.0)}

    def __init__(self, tasks, power=1.0):
        super().__init__(tasks)
        self.power = power

    def backward(self, losses, auxiliary=None, parameters=()):
        self.backward_weighted(losses, losses.values * 10.0**self.power, auxiliary)


@pytest.mark.parametrize("name", art.names())
def test_ranges_hold_the_defaults_of_what_the_strategy_takes(name):
    entry = art.entries()[name]
    assert entry.search.keys() <= entry.defaults.keys()
    for key, values in entry.search.items():
        assert values.holds(entry.defaults[key]) and entry.defaults[key] not in values.ends
        assert all(values.holds(values.at(place)) for place in (0, 0.2, 1)) and values.at(1) == values.ends[1]
    start = art.start(name, TASKS)
    assert start.keys() == art.search_space(name, TASKS).keys() == entry.search.keys()
    assert art.with_parameters(name, start, TASKS) == name


def test_what_is_left_to_the_defaults_is_known():
    """Every strategy with a parameter that shapes its updates can be searched."""
    fixed = {name for name in art.names() if art.entries()[name].defaults and not art.entries()[name].search}
    # a guard against 0, a solver's precision, a way of scaling, a number of steps
    assert fixed == {"tur", "mgda", "aligned_mtl"}


def test_what_a_spec_fixes_is_not_searched():
    assert art.search_space("art:tau=1", TASKS).keys() == {"momentum"}
    assert art.with_parameters("art:tau=1", {"momentum": 0.5}, TASKS) == "art:momentum=0.5:tau=1"
    assert art.search_space("mix", TASKS) == art.start("mix", TASKS) == {}


def test_the_weights_of_tasks():
    assert art.search_space("fixed", TASKS) == dict.fromkeys(TASKS, Range(0.1, 10, log=True))
    assert art.search_space("fixed:derain=2", TASKS).keys() == {"denoise_25", "dehaze"}
    assert art.search_space("fixed", ["derain"]) == {}  # of one task there is nothing to weigh
    assert art.with_parameters("fixed", art.start("fixed", TASKS), TASKS) == "equal"
    assert art.with_parameters("fixed:derain=2", {"dehaze": 4.0}, TASKS) == "fixed:dehaze=4:derain=2"
    with pytest.raises(ValueError, match="did you mean 'derain'"):
        art.search_space("fixed:derian=2", TASKS)


def test_ranges_in_equal_steps():
    assert [Range(0.1, 10, log=True).at(place) for place in (0, 0.25, 0.5, 1)] == [0.1, 0.3162, 1, 10]
    assert [Range(1, 3).at(place) for place in (0, 1 / 3, 1)] == [1, 1.667, 3]
    whole = [Range(1, 4, whole=True).at(place / 400) for place in range(401)]
    assert [whole.count(number) for number in (1, 2, 3, 4)] == [100, 100, 100, 101]
    assert [Range(1, 64, log=True, whole=True).at(place / 6) for place in range(7)] == [1, 2, 4, 8, 16, 32, 64]
    assert [Choice(("a", "b")).at(place) for place in (0, 0.49, 0.5, 1)] == ["a", "a", "b", "b"]
    assert not Range(0, 1).holds(True) and not Range(0, 1).holds(math.nan) and not Range(0, 4, whole=True).holds(0.5)


def test_ones_own_class():
    spec = f"{__name__}:Mine"
    space = art.search_space(spec, TASKS)
    assert space == {
        "strength": Range(0.1, 10, log=True),
        "depth": Range(1, 64, log=True, whole=True),
        "mode": Choice(("mean", "max")),
        "share": Range(0, 1),
        "open": Range(2, 4),
    }
    start = art.start(spec, TASKS)
    assert start == {"strength": 1, "depth": 4, "mode": "mean", "share": 0.5, "open": 3}  # open: the middle
    for key, values in space.items():
        for value in values.ends:
            built = art.make(art.with_parameters(f"{spec}:other=8", start | {key: value}, TASKS), TASKS)
            assert built.scalarizer.given == start | {key: value, "other": 8}
    assert art.search_space(f"{spec}:mode=max:open=2", TASKS).keys() == {"strength", "depth", "share"}
    assert art.search_space("torchjd.scalarization:STCH", TASKS) == {}


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"strength": (10, 0.1)}, r"Mine.search, 'strength': a range goes from"),
        ({"strength": (0.0, 5.0, "log")}, r"'strength': a logarithmic range starts above 0"),
        ({"strength": (0.1, 5.0, "lg")}, r"'strength': expected \(low, high\)"),
        ({"strength": 3}, r"'strength': expected \(low, high\)"),
        ({"strength": (0.1,)}, r"'strength': expected \(low, high\)"),
        ({"strength": ("a", "b")}, r"'strength': a range goes from"),
        ({"strength": (2.0, 3.0)}, r"'strength': its default 1.0 is not in 2 to 3"),
        ({"mode": ["max", "min"]}, r"'mode': its default 'mean' is not in max or min"),
        ({"depth": (0.5, 8, "whole")}, r"'depth': a range of whole numbers"),
        ({"mode": ["mean"]}, r"'mode': a choice has two values or more"),
        ({"mode": ["mean", "a:b"]}, r"'mode': 'a:b' is no number"),
        ({"mode": ["mean", "1"]}, r"'mode': '1' is no number"),
        ({"mode": ["mean", ["a"]]}, r"'mode': \['a'\] is no number"),
        ({"strenght": (0.1, 5.0)}, r"'strenght': its constructor has no such parameter"),
        (["strength"], r"Mine.search must be a dictionary"),
    ],
)
def test_a_malformed_declaration_is_named(declared, message, monkeypatch):
    monkeypatch.setattr(Mine, "search", declared)
    with pytest.raises(ValueError, match=message):
        art.search_space(f"{__name__}:Mine", TASKS)


@pytest.mark.parametrize(
    ("spec", "values", "message"),
    [
        ("art", {"tua": 1.0}, "'tua' is not searched; these are: tau, momentum"),
        ("art:tau=1", {"tau": 2.0}, "'tau' is not searched; these are: momentum"),
        ("art", {"tau": 1e3}, "tau=1000.0 is not in 0.05 to 50"),
        ("mix", {"tau": 1.0}, "these are: none"),
        ("fixed:design=4", {}, "stands for several"),
    ],
)
def test_a_trial_stays_within_the_space(spec, values, message):
    with pytest.raises(ValueError, match=message):
        art.with_parameters(spec, values, TASKS)


def test_conformance_steps_at_the_ends_of_every_range(capsys):
    found = {finding.name: finding for finding in conformance.check(f"{__name__}:Worst")}
    assert found["learns"].passed and found["search"].passed is False and "power=50" in found["search"].note
    found = {finding.name: finding for finding in conformance.check("fixed:derain=3")}
    assert found["search"].passed and "denoise_25, dehaze, deblur" in found["search"].note


def test_spaces_of_names_and_checks_import_no_torch():
    code = "import sys, art; art.search_space('art', ['a', 'b']); art.expand('fixed:a=2', ['a', 'b']);"
    code += "art.expand('fixed:design=4', ['a', 'b']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
