"""Strategies by name, and the interface a trainer drives."""

import inspect
import subprocess
import sys

import pytest
import torch

import art
from art import Conditions, TaskLosses, conformance
from art.adapters import ScalarizerStrategy
from art.gradients import task_gradients

TASKS = ["denoise_25", "derain", "dehaze"]


def one_step(strategy, losses, counts, auxiliary=None):
    """Gradient that a strategy leaves in a parameter which every task loss is linear in."""
    parameter = torch.nn.Parameter(torch.ones(3))
    strategy.backward(TaskLosses(losses * parameter, counts), auxiliary and auxiliary * parameter.sum())
    return parameter.grad


SOLVERS = {"cagrad": "clarabel", "nash_mtl": "ecos", "dualproj": "quadprog", "upgrad": "quadprog"}
DEPENDS_ON_ORDER = {"pcgrad", "gradvac", "rlw", "ldc_mtl", "pcd"}  # of pcd: the first task is the primary one


@pytest.mark.parametrize("name", [*art.names(), "art:tau=1", "fixed:derain=3"])
@pytest.mark.filterwarnings("ignore:You are solving a parameterized problem")
def test_every_strategy_conforms(name):
    if name in SOLVERS:
        pytest.importorskip(SOLVERS[name], reason="an optional solver")
    findings = {finding.name: finding for finding in conformance.check(name)}
    assert len(findings) == 9 and not [finding for finding in findings.values() if finding.passed is False]
    assert findings["acts"].passed is (None if name in ("mix", "equal") else True)
    assert findings["optimum"].passed is (True if name in ("uw", "imtl_l") else None)
    assert findings["search"].passed is (True if art.search_space(name, TASKS) else None)
    assert ("does not matter" in findings["equivariant"].note) == (name not in DEPENDS_ON_ORDER)


def test_conformance_tells_what_a_broken_strategy_breaks(tmp_path, monkeypatch, capsys):
    (tmp_path / "broken.py").write_text(
        "import torch\n"
        "from torchjd.scalarization import Scalarizer\n"
        "class Forgetful(Scalarizer):\n"
        "    steps = 0\n"
        "    def forward(self, values):\n"
        "        self.steps += 1\n"
        "        return (values * (1 + self.steps % 3)).sum()\n"
        "class Blind(Scalarizer):\n"
        "    def forward(self, values): return (values * float('nan')).sum()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert conformance.main(["broken:Forgetful"]) == 1 and conformance.main(["broken:Blind"]) == 1
    printed = capsys.readouterr().out
    assert "resumes exactly FAILED" in printed and "finite          FAILED" in printed
    assert conformance.main(["equal"]) == 0 and conformance.main(["nothing"]) == 2


def test_gradients_apart_are_those_of_one_graph():
    """K graphs over their own samples and one graph over all give the same Jacobian."""
    torch.manual_seed(0)
    network, images = torch.nn.Linear(4, 1), torch.randn(6, 4)
    apart = [network(images[2 * k : 2 * k + 2]).abs().mean() for k in range(3)]
    together = network(images).abs().reshape(3, 2).mean(1)
    parameters = list(network.parameters())
    one, other = task_gradients(apart, parameters), task_gradients(list(together), parameters)
    torch.testing.assert_close(one, other)
    torch.testing.assert_close(one.mean(0)[:4], torch.autograd.grad(together_again(network, images), parameters)[0][0])


def together_again(network, images):
    return network(images).abs().mean()


def test_mix_weighs_samples_and_equal_weighs_tasks():
    losses, counts = torch.tensor([0.1, 0.2, 0.0]), torch.tensor([6.0, 2, 0])
    mix, equal = art.make("mix", TASKS), art.make("equal", TASKS)
    one_step(mix, losses, counts)
    one_step(equal, losses, counts)
    torch.testing.assert_close(mix.weights, torch.tensor([0.75, 0.25, 0]))
    torch.testing.assert_close(equal.weights, torch.tensor([0.5, 0.5, 0]))


def test_the_networks_own_loss_is_added_unweighted():
    gradient = one_step(art.make("art", TASKS), torch.zeros(3), torch.ones(3), auxiliary=2.0)
    torch.testing.assert_close(gradient, torch.full((3,), 2.0))


def test_strategy_equals_the_bare_scalarizer():
    losses, counts = torch.tensor([0.12, 0.2, 0.08]), torch.full((3,), 2.0)
    strategy, criterion = art.make("art:tau=1", TASKS), art.Art(3, tau=1)
    parameter = torch.nn.Parameter(torch.ones(3))
    criterion(losses * parameter).backward()
    torch.testing.assert_close(one_step(strategy, losses, counts), parameter.grad)


@pytest.mark.parametrize("name", sorted(set(art.names()) - {"tur"}))
@pytest.mark.filterwarnings("ignore:You are solving a parameterized problem")
def test_one_graph_and_a_graph_per_task_are_one_update(name):
    if name in SOLVERS:
        pytest.importorskip(SOLVERS[name], reason="an optional solver")
    updates = []
    for separate in (False, True):
        torch.manual_seed(0)
        network, strategy = conformance.ToyNetwork(), art.make(name, TASKS)
        strategy.bind(network)
        errors = (network(torch.rand(6, 3, 8, 8)) - torch.rand(6, 3, 8, 8)).abs()
        losses = conformance.task_losses(errors, (1, 3, 2))
        strategy.backward(
            TaskLosses(losses.separate, losses.counts) if separate else losses, None, network.parameters()
        )
        updates.append(torch.cat([parameter.grad.flatten() for parameter in network.parameters()]))
    assert updates[0].any() and torch.equal(*updates)


@pytest.mark.parametrize("name", art.names())
def test_what_the_registry_calls_universal_works_under_all_conditions(name):
    entry = art.entries()[name]
    if name in SOLVERS:
        pytest.importorskip(SOLVERS[name], reason="an optional solver")
    strategy, nameless = art.make(name, TASKS), torch.nn.Linear(2, 2)
    conditions = [Conditions(absent_tasks=True), Conditions(processes=2), Conditions(network=nameless)]
    reasons = [strategy.unsupported(condition) for condition in conditions]
    assert strategy.unsupported(Conditions(network=conformance.ToyNetwork())) is None
    assert entry.universal == (reasons == [None] * 3 and not entry.solver)
    assert (reasons[2] is not None) == (name in ("tur", "gradnorm"))


def test_aggregators_see_the_gradients_of_all_processes():
    """Two processes with the same samples: twice the gradients, half of their mean from each."""
    parameter, strategy = torch.nn.Parameter(torch.ones(3)), art.make("torchjd.aggregation:Mean", TASKS)
    strategy.distribute(2, lambda rows: rows.mul_(2))
    strategy.backward(TaskLosses(parameter * torch.arange(1.0, 4), torch.ones(3)), None, [parameter])
    torch.testing.assert_close(parameter.grad, torch.arange(1.0, 4) / 3)


def test_registered_parameters_are_those_of_the_classes():
    for name, entry in art.entries().items():
        module, _, attribute = entry.target.partition(":")
        signature = inspect.signature(getattr(__import__(module, fromlist=[attribute]), attribute)).parameters
        for key, value in entry.defaults.items():
            assert signature[key].default in (value, inspect.Parameter.empty), (name, key)
        assert entry.family and entry.about and (entry.source or name in ("mix", "equal", "single")), name


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("art:tau=0.1", "art"),
        ("art:tau=1.0:momentum=0.5", "art:momentum=0.5:tau=1"),
        ("art:released=true", "art:released"),
        ("art:released", "art:released"),
        ("nowhere.opt:Mine:gamma=0.5", "nowhere.opt:Mine:gamma=0.5"),
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
        ("no.such.module:Thing", "cannot import .*in the folder that it lies in, or name that in PYTHONPATH"),
        ("imports_what_is_not_there:Thing", r"\(No module named 'nowhere'\)"),
        ("exits_at_import:Thing", r"cannot import 'exits_at_import:Thing' \(SystemExit: bye\)"),
        ("raises_at_import:Thing", r"cannot import 'raises_at_import:Thing' \(ZeroDivisionError: division by zero\)"),
        ("exits_when_made:Thing", "SystemExit: 3"),
        ("artt:released", "did you mean 'art'"),
        ("collections:OrderedDict", "neither an art.Strategy"),
        ("os.path:join", "neither an art.Strategy"),
        ("art:tau=0", "tau must be positive"),
        ("art:tau=warm", "strategy 'art:tau=warm'"),
    ],
)
def test_refuses_what_it_does_not_know(spec, message, tmp_path, monkeypatch):
    (tmp_path / "exits_at_import.py").write_text("raise SystemExit('bye')")
    (tmp_path / "imports_what_is_not_there.py").write_text("import nowhere")
    (tmp_path / "raises_at_import.py").write_text("1 / 0")
    (tmp_path / "exits_when_made.py").write_text(
        "import sys, torch\nfrom torchjd.scalarization import Mean\n"
        "class Thing(Mean):\n    def __init__(self):\n        sys.exit(3)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=message):
        art.make(spec, TASKS)


def test_released_freezes_snow_where_there_is_snow():
    strategy = art.make("art:released", ["desnow", "derain", "dehaze"])
    one_step(strategy, torch.tensor([0.3, 0.3, 0.3]), torch.ones(3))
    assert strategy.scalarizer.running[0] == torch.tensor(0.1) and strategy.scalarizer.running[1:].gt(0.1).all()


def test_a_users_scalarizer_by_its_path():
    strategy = art.make("torchjd.scalarization:UW", TASKS)
    assert isinstance(strategy, ScalarizerStrategy) and strategy.unsupported(Conditions(absent_tasks=True))
    assert len(list(strategy.parameters())) == 1
    found = {finding.name: finding for finding in conformance.check("torchjd.scalarization:UW")}
    assert found["acts"].passed is None and "no effect" in found["acts"].note  # learned at the network's rate


def test_listing_the_names_imports_no_torch():
    code = "import sys, art; art.names(); art.canonical('art:tau=1'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
