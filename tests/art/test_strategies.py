"""Strategies by name, and the interface a trainer drives."""

import inspect
import subprocess
import sys

import pytest
import torch

import art
from art.strategy import MixStrategy, ScalarizerStrategy, Strategy

TASKS = ["denoise_25", "derain", "dehaze"]


def one_step(strategy, losses, counts, auxiliary=None):
    """Gradient that a strategy leaves in a parameter which every task loss is linear in."""
    parameter = torch.nn.Parameter(torch.ones(3))
    strategy.backward(losses * parameter, counts, None if auxiliary is None else auxiliary * parameter.sum())
    return parameter.grad


@pytest.mark.parametrize("name", art.names())
def test_every_name_makes_a_strategy_with_finite_weights(name):
    strategy = art.make(name, TASKS)
    assert isinstance(strategy, Strategy)
    gradient = one_step(strategy, torch.tensor([0.1, 0.2, 0.3]), torch.tensor([4, 4, 2]))
    assert gradient.isfinite().all() and strategy.weights.isfinite().all()
    torch.testing.assert_close(gradient, strategy.weights * torch.tensor([0.1, 0.2, 0.3]))


def test_mix_weighs_samples_and_equal_weighs_tasks():
    losses, counts = torch.tensor([0.1, 0.2, 0.0]), torch.tensor([6, 2, 0])
    mix, equal = art.make("mix", TASKS), art.make("equal", TASKS)
    one_step(mix, losses, counts)
    one_step(equal, losses, counts)
    torch.testing.assert_close(mix.weights, torch.tensor([0.75, 0.25, 0]))
    torch.testing.assert_close(equal.weights, torch.tensor([0.5, 0.5, 0]))


def test_the_networks_own_loss_is_added_unweighted():
    gradient = one_step(art.make("art", TASKS), torch.zeros(3), torch.tensor([1, 1, 1]), auxiliary=2.0)
    torch.testing.assert_close(gradient, torch.full((3,), 2.0))


def test_strategy_equals_the_bare_scalarizer():
    losses, counts = torch.tensor([0.12, 0.2, 0.08]), torch.tensor([2, 2, 2])
    strategy, criterion = art.make("art:tau=1", TASKS), art.Art(3, tau=1)
    parameter = torch.nn.Parameter(torch.ones(3))
    criterion(losses * parameter).backward()
    torch.testing.assert_close(one_step(strategy, losses, counts), parameter.grad)


def test_registered_defaults_are_those_of_the_classes():
    for name, entry in art.entries().items():
        module, _, attribute = entry.target.partition(":")
        method = getattr(__import__(module, fromlist=[attribute]), attribute)
        signature = inspect.signature(method.__init__ if issubclass(method, Strategy) else method).parameters
        for key, value in entry.defaults.items():
            assert signature[key].default == value, (name, key)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("art:tau=0.1", "art"),
        ("art:tau=1.0:momentum=0.5", "art:momentum=0.5:tau=1"),
        ("art:released=true", "art:released"),
        ("art:released", "art:released"),
        ("mypkg.opt:Mine:gamma=0.5", "mypkg.opt:Mine:gamma=0.5"),
    ],
)
def test_canonical_spelling(spec, expected):
    assert art.canonical(spec) == expected == art.canonical(expected)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("artt", "did you mean 'art'"),
        ("art:momentm=1", "did you mean 'momentum'"),
        ("art:=1", "expected parameter=value"),
        ("art:tau=", "expected parameter=value"),
        ("no.such.module:Thing", "cannot import"),
        ("collections:OrderedDict", "unknown strategy"),
        ("os.path:join", "neither an art.Strategy"),
        ("art:tau=0", "tau must be positive"),
        ("art:tau=warm", "strategy 'art:tau=warm'"),
    ],
)
def test_refuses_what_it_does_not_know(spec, message):
    with pytest.raises(ValueError, match=message):
        art.make(spec, TASKS)


def test_released_freezes_snow_where_there_is_snow():
    strategy = art.make("art:released", ["desnow", "derain", "dehaze"])
    one_step(strategy, torch.tensor([0.3, 0.3, 0.3]), torch.tensor([1, 1, 1]))
    assert strategy.scalarizer.running[0] == torch.tensor(0.1) and strategy.scalarizer.running[1:].gt(0.1).all()


def test_a_users_scalarizer_by_its_path():
    strategy = art.make("torchjd.scalarization:UW", TASKS)
    assert isinstance(strategy, ScalarizerStrategy) and not strategy.handles_absent
    assert not isinstance(strategy, MixStrategy) and len(list(strategy.parameters())) == 1


def test_listing_the_names_imports_no_torch():
    code = "import sys, art; art.names(); art.canonical('art:tau=1'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
