"""CR-MOGM: a spec that holds another, and weights smoothed over the steps."""

from pathlib import Path

import numpy as np
import pytest
import torch
from test_formulas import Linear

import art
from art import Conditions, Strategy, TaskLosses, conformance

TRACES = np.load(Path(__file__).with_name("more_traces.npz"))
LOSSES = torch.from_numpy(TRACES["losses"])
TASKS = ["denoise_15", "denoise_25", "denoise_50", "derain", "dehaze"]
ALL = torch.ones(5)


def step(strategy, losses, counts=ALL):
    strategy.backward(TaskLosses(losses.clone().requires_grad_(), counts))
    return strategy.weights


@pytest.mark.parametrize(("trace", "inner"), [("MGDA", "mgda"), ("UPGrad", "upgrad")])
def test_is_torchjds_on_gradients(trace, inner):
    if inner == "upgrad":
        pytest.importorskip("quadprog", reason="an optional solver")
    network, strategy = Linear(), art.make(f"crmogm:of={inner}", TASKS)
    for number in range(12):
        network.zero_grad()
        strategy.backward(TaskLosses(network.losses(number), ALL), None, network.parameters())
        weights, update = (torch.from_numpy(TRACES[f"CRMOGM_{trace}_{what}"][number]) for what in ("weights", "update"))
        torch.testing.assert_close(strategy.weights.double(), weights, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(network.layer.weight.grad[0].double(), update, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("inner", ["art:tau=1", "stch:warmup=0", "uw:lr=0.2", "gradnorm"])
def test_is_the_running_mean_of_what_the_other_alone_gives(inner):
    """Which goes on learning as if alone; the update is the gradient of the sum by these weights."""
    network, other = Linear(), Linear()
    strategy, alone = art.make(f"crmogm:alpha=0.7:of={inner}", TASKS), art.make(inner, TASKS)
    strategy.bind(network)
    alone.bind(other)
    mean = None
    for number in range(6):
        network.zero_grad()
        strategy.backward(TaskLosses(network.losses(number), ALL), None, network.parameters())
        alone.backward(TaskLosses(other.losses(number), ALL), None, other.parameters())
        mean = alone.weights if mean is None else 0.7 * mean + 0.3 * alone.weights
        torch.testing.assert_close(strategy.weights, mean)
        rows = torch.from_numpy(TRACES["jacobian"][number])
        torch.testing.assert_close(network.layer.weight.grad[0], mean @ rows)
        for each in (strategy, alone):
            each.end_epoch()
    assert not torch.allclose(strategy.weights, alone.weights, rtol=0.01)


@pytest.mark.parametrize("inner", ["equal", "mgda"])
def test_the_weight_of_an_absent_task_rests(inner):
    network, strategy = conformance.ToyNetwork(), art.make(f"crmogm:alpha=0.5:of={inner}", TASKS)
    alone = art.make(inner, TASKS)
    expected = torch.full((5,), torch.nan)
    for counts in [(1, 1, 0, 0, 2), (0, 2, 2, 0, 1), (2, 0, 1, 1, 1)]:
        losses = []
        for _ in range(2):
            torch.manual_seed(sum(counts[:2]))
            errors = (network(torch.rand(sum(counts), 3, 8, 8)) - torch.rand(sum(counts), 3, 8, 8)).abs()
            losses.append(conformance.task_losses(errors, counts))
        for each, given in zip((strategy, alone), losses, strict=True):
            each.backward(given, None, network.parameters())
        present = torch.tensor(counts) > 0
        before = torch.where(expected.isnan(), alone.weights, expected)
        expected = torch.where(present, 0.5 * before + 0.5 * alone.weights, expected)
        torch.testing.assert_close(strategy.weights, torch.where(present, expected, 0))


@pytest.mark.parametrize("spec", ["crmogm:of=art:tau=1", "crmogm:of=mgda", "crmogm:of=famo", "crmogm:of=dwa"])
def test_conforms(spec):
    findings = {finding.name: finding for finding in conformance.check(spec)}
    assert not [finding for finding in findings.values() if finding.passed is False]
    assert findings["resumes exactly"].passed and findings["acts"].passed and findings["search"].passed


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("crmogm:alpha=0.90:of=art:tau=0.1", "crmogm:of=art"),
        ("crmogm:of=art:tau=1.0:momentum=0.5", "crmogm:of=art:momentum=0.5:tau=1"),
        ("crmogm:alpha=0.50:of=gradnorm:alpha=0.50", "crmogm:alpha=0.5:of=gradnorm:alpha=0.5"),
        ("crmogm:of=mypkg.opt:Mine:gamma=1:beta=2", "crmogm:of=mypkg.opt:Mine:beta=2:gamma=1"),
    ],
)
def test_has_one_spelling(spec, expected):
    assert art.canonical(spec, TASKS) == expected == art.canonical(expected)
    assert not {*expected} & {*"()*?&;|<>$ '\""}  # a shell leaves it alone


def test_what_is_known_of_it_is_known_of_the_other(monkeypatch):
    assert "crmogm" not in art.names()
    known = art.specs.known("crmogm:of=stch")
    assert (known.epochs, known.cost) == (5, "losses") and art.specs.known("crmogm:of=mypkg.opt:Mine") is None
    assert art.definition("crmogm:of=art") == 1 and art.definition("crmogm:of=stch") == art.definition("stch") == 2
    strategy = art.make("crmogm:of=famo", TASKS)
    assert strategy.unsupported(Conditions(absent_tasks=True)) == "needs every task in every batch"
    assert strategy.unsupported(Conditions()) is None


def test_the_others_parameters_are_searched_with_its_own():
    spec = "crmogm:of=art:momentum=0.5"
    assert art.search_space(spec, TASKS).keys() == {"alpha", "of.tau"}
    assert art.start(spec, TASKS) == {"alpha": 0.9, "of.tau": 0.1}
    values = {"alpha": 0.6, "of.tau": 2.0}
    assert art.with_parameters(spec, values, TASKS) == "crmogm:alpha=0.6:of=art:momentum=0.5:tau=2"
    assert art.with_parameters("crmogm:of=art", art.start("crmogm:of=art", TASKS), TASKS) == "crmogm:of=art"
    with pytest.raises(ValueError, match=r"of\.tau=900\.0 is not in 0\.05 to 50"):
        art.with_parameters(spec, {"of.tau": 900.0}, TASKS)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("crmogm", "crmogm:of=art:tau=1"),
        ("crmogm:alpha=0.5", "needs another strategy, last"),
        ("crmogm:of=", "unknown strategy ''"),
        ("crmogm:of=artt", "did you mean 'art'"),
        ("crmogm:of=art:alpha=0.5", "'art' has no parameter 'alpha'"),
        ("crmogm:beta=1:of=art", "did you mean|It has: alpha"),
        ("crmogm:alpha=1:of=art", r"alpha must lie in \[0, 1\)"),
        *((f"crmogm:of={inner}", "no weights of its own") for inner in ("fixed:derain=2", "single", "crmogm:of=art")),
        *((f"crmogm:of={inner}", "works without any") for inner in ("tur", "graddrop", "config")),
    ],
)
def test_refuses_what_it_cannot_smooth(spec, message):
    with pytest.raises(ValueError, match=message):
        art.make(spec, TASKS)


class OfOnesOwn(Strategy):
    """Never asks for the weights it should apply."""

    def backward(self, losses, auxiliary=None, parameters=()):
        losses.stacked.sum().backward()


def test_ones_own_strategy_that_keeps_its_weights_is_named():
    with pytest.raises(ValueError, match="does not call backward_weighted"):
        step(art.make(f"crmogm:of={__name__}:OfOnesOwn", TASKS), LOSSES[0])


@pytest.mark.parametrize("name", art.names())
def test_whatever_it_does_not_refuse_it_smooths(name):
    if name in ("cagrad", "nash_mtl", "dualproj", "upgrad"):
        pytest.importorskip("cvxpy", reason="an optional solver")
        pytest.importorskip("quadprog", reason="an optional solver")
    try:
        loop = conformance._Loop(f"crmogm:of={name}")
    except ValueError as error:
        assert "works without any" in str(error)
        assert name in ("tur", "graddrop", "config", "db_mtl", "moco", "adatask")
        return
    first, *_, last = loop.steps(range(4))
    assert first.isfinite().all() and last.isfinite().all() and loop.parameters().isfinite().all()
