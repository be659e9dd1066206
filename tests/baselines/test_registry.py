"""Networks by name and from outside: the README's example trains and is used, what is wrong is said in a sentence."""

import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from PIL import Image

import baselines
from baselines import conformance, registry
from baselines.description import Recipe
from benchmarks import evaluate, restore, run
from benchmarks.config.sections import TrainConfig
from results import find_runs
from results.records import OBSERVING

TEXT = (Path(baselines.__file__).parent / "README.md").read_text()
CODE = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)[1]
(DESCRIPTION,) = re.findall(r"^```toml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
RUNTIME = {"threads", "log_every", "init", "weights", *OBSERVING}  # no part of a recipe


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A package outside this project, with the network of the README; a function that writes modules into it."""
    registry._described.cache_clear()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")  # for processes of their own

    def write(module, code=CODE, description=DESCRIPTION):
        folder = tmp_path / "mypkg"
        folder.mkdir(exist_ok=True)
        (folder / f"{module}.py").write_text(code)
        if description is not None:
            (folder / f"{module}.toml").write_text(description)

    yield write
    registry._described.cache_clear()


def test_the_readmes_network_conforms_trains_and_is_used(outside, three_task_root, tmp_path, capsys):
    outside("net")
    assert len((CODE + DESCRIPTION).splitlines()) < 60
    assert conformance.main(["mypkg.net:Plain"]) == 0
    output = str(tmp_path / "out")
    command = ["--setting", "three_task", "--data-root", str(three_task_root), "--strategies", "mix"]
    command += ["--baselines", "mypkg.net:Plain"]
    command += ["--output", output, "--tracking-uri", f"sqlite:///{tmp_path}/mlflow.db", "--device", "cpu"]
    assert run.main([*command, "--jobs", "2", "--set", "train.steps=2", "train.batch=5", "train.patch=64"]) == 0
    runs = find_runs(output, "three_task", {"baseline": ["mypkg.net:Plain"]})
    assert len(runs) == 1 and all(one.status.state == "done" for one in runs)
    assert {one.folder.parents[1].name for one in runs} == {"mypkg.net,Plain"}
    told = capsys.readouterr().out
    assert re.search(r"^ *Plain\b", told, re.MULTILINE)  # in the table, by its display name
    assert evaluate.main(["--run", str(runs[0].folder), "--output", output, "--device", "cpu"]) == 0
    Image.new("RGB", (40, 30), "olive").save(tmp_path / "a.png")
    checkpoint = ["--baseline", "mypkg.net:Plain", "--size", "tiny", "--checkpoint", f"{runs[0].folder}/checkpoint.pt"]
    assert restore.main([*checkpoint, f"{tmp_path}/a.png", "--output", f"{tmp_path}/restored", "--device", "cpu"]) == 0


def test_a_class_can_carry_its_description_and_a_package_a_short_name(outside, monkeypatch):
    mapping = "{'name': 'Other', 'about': '', 'sizes': {'tiny': {'width': 4}}, 'recipe': {}}"
    recipe = "{'demo': {'lr': 1e-3, 'steps': 5, 'batch': 5, 'patch': 32}}"
    other = f"\n\nclass Other(Plain):\n    description = {mapping} | {{'recipe': {recipe}}}\n"
    outside("nets", CODE + other, 'class = "Plain"\n' + DESCRIPTION)
    assert baselines.describe("mypkg.nets:Plain").name == "Plain"
    assert baselines.describe("mypkg.nets:Other").name == "Other"
    assert baselines.build("mypkg.nets:Other", "tiny").last.in_channels == 4
    with pytest.raises(ValueError, match=r"has no size 'paper'\. It has: tiny"):
        baselines.build("mypkg.nets:Other")
    points = {"plain": EntryPoint("plain", "mypkg.nets:Plain", "baselines.networks")}
    monkeypatch.setattr(registry, "plugins", lambda: points)
    assert "plain" in baselines.names() and baselines.describe("plain").about.startswith("Three convolutions")
    assert type(baselines.build("plain", "tiny")).__name__ == "Plain"


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    """One folder for all mistakes, so that images are decoded once."""
    return tmp_path_factory.mktemp("out")


def said(change, new, code=CODE):
    return "mypkg.wrong:Plain", code, DESCRIPTION.replace(change, new)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (("nafnett", CODE, ""), "unknown baseline 'nafnett'; did you mean 'nafnet'"),
        (("mypkg.wrong", CODE, ""), "unknown baseline 'mypkg.wrong'.*package.module:Class"),
        (("mypkg.absent:Plain", CODE, ""), "there is no module 'mypkg.absent'"),
        (
            ("nopkg.wrong:Plain", CODE, ""),
            "cannot import 'nopkg.wrong' .*in the folder that it lies in, or .* PYTHONPATH",
        ),
        (("mypkg.wrong:Plane", CODE, DESCRIPTION), "cannot import 'mypkg.wrong:Plane'"),
        (("mypkg.wrong:Plain", CODE, None), "has no recipe: neither .*wrong.toml nor"),
        (("mypkg.wrong:Plain", CODE, 'class = "Other"'), "has no recipe"),
        (("mypkg.wrong:Plain", CODE, "name = "), "wrong.toml cannot be read"),
        (said("steps", "stepz"), "recipe.paper.stepz: no such key; did you mean 'steps'"),
        (said("lr = 2e-4", "lr = 'much'"), "recipe.paper.lr: Input should be a valid number"),
        (said("lr = 2e-3", "lr = -1.0"), "train.lr: .*greater than 0"),
        (said("[sizes.tiny]\nwidth = 16", ""), "has no size 'tiny'"),
        (said("recipe.demo", "recipe.paperr"), "recipe.paperr"),
        (said("width = 16", "depth = 16"), "unexpected keyword argument 'depth'"),
        (said("", "", CODE.replace("(Network)", "(nn.Module)")), "no class derived from baselines.network.Network"),
        (said("", "", "raise SystemExit(3)"), "cannot import 'mypkg.wrong:Plain'.*SystemExit: 3"),
    ],
)
def test_what_is_wrong_is_said_before_training(given, sentence, outside, few_embedded, output, capsys, monkeypatch):
    name, code, description = given
    monkeypatch.delitem(sys.modules, "mypkg.wrong", raising=False)
    outside("wrong", code, description)
    command = ["--setting", "three_task", "--baselines", name, "--output", str(output), "--tracking-uri", "none"]
    assert run.main([*command, "--device", "cpu"]) == 2
    assert re.search(sentence, capsys.readouterr().err)
    assert not list(output.glob("runs/*/*/*/*"))


def test_recipes_have_the_keys_of_a_configurations_training():
    assert set(Recipe.__annotations__) - {"mixing", "epochs", "each"} == set(TrainConfig.model_fields) - RUNTIME


def test_every_network_has_a_row_in_the_readme(name):
    assert f"\n| `{name}` | " in TEXT


def test_names_and_recipes_need_no_torch():
    code = "import baselines, sys; baselines.recipe('airnet', 'demo'); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
