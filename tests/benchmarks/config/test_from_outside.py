"""Settings, data sets and degradations from outside: the example of benchmarks/README.md, and plug-ins."""

import re
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from miniature import picture, save, three_task

import benchmarks
import benchmarks.conformance
from benchmarks import evaluate, run
from benchmarks.config import data_sets, degradations, outside, settings
from benchmarks.config.configuration import resolve, setting_of
from benchmarks.config.errors import UserError
from benchmarks.config.sections import DataConfig
from benchmarks.data import sources
from benchmarks.data.degradations import conformance
from results import find_runs
from results.records import State

LIGHT_HEAVY = (("light", 0.3), ("heavy", 0.8))  # two test sets of one task, both made of the same images
TEXT = (Path(benchmarks.__file__).parent / "README.md").read_text()


@pytest.fixture
def file(tmp_path, monkeypatch):
    """The setting's file of the README; the package with its degradation can be imported."""
    description, *_ = re.findall(r"^```toml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    (code,) = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    (tmp_path / "mypkg").mkdir()
    (tmp_path / "mypkg/fade.py").write_text(code)
    (tmp_path / "harbour.toml").write_text(description)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "harbour.toml"


def harbour(root):
    for part, count in (("train", 3), ("test", 2)):
        for number in range(count):
            day = picture(number)
            save(root / f"harbour/{part}/day/{number}.png", day)
            save(root / f"harbour/{part}/dusk/{number}_dusk.png", day // 2)
    return three_task(root)


def test_the_example_conforms_trains_and_is_scored(file, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sources, "SCENES", 2)
    monkeypatch.setattr(sources, "SCENE_SIZE", 64)
    output = tmp_path / "out"
    assert conformance.main(["mypkg.fade:fade"]) == 0
    assert benchmarks.conformance.main([str(file), "--output", str(output)]) == 0
    assert "its layouts find files with invented names" in capsys.readouterr().out
    command = ["--setting", str(file), "--data-root", str(harbour(tmp_path / "data")), "--baselines", "nafnet"]
    command += ["--strategies", "mix", "--jobs", "2", "--output", str(output), "--tracking-uri", "none"]
    assert run.main([*command, "--device", "cpu", "--set", "train.steps=3", "train.patch=32"]) == 0
    runs = find_runs(output, "harbour")
    assert len(runs) == 1 and all(one.status.state == State.DONE for one in runs)
    assert [record.origin for record in runs[0].data] == ["real"] * 4
    assert "harbour" in capsys.readouterr().out
    scored = ["--run", str(runs[0].folder), "--output", str(output), "--device", "cpu"]
    assert evaluate.main(scored) == 0
    file.write_text(file.read_text().replace("severity = 25", "severity = 50"))
    assert evaluate.main(scored) == 2
    assert f"the setting {file} has changed since this run" in capsys.readouterr().err
    file.unlink()
    assert evaluate.main(scored) == 2
    assert f"the file of the setting, {file}: No such file or directory." in capsys.readouterr().err


def test_photographs_in_place_of_test_sets_have_a_name_for_each(file, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "SCENES", 2)
    monkeypatch.setattr(sources, "SCENE_SIZE", 64)
    light, heavy = (f'{{ name = "{name}", set = "CBSD68", severity = {severity} }}' for name, severity in LIGHT_HEAVY)
    text = re.sub(r"test = \[.*Harbour.*\]", f"test = [{light}, {heavy}]", file.read_text())
    file.write_text(text)
    prepared = sources.prepare(settings.load(str(file)), DataConfig(), (), tmp_path / "cache")
    assert [(pool.dataset, pool.severity) for pool in prepared.tests] == [
        ("Photos-s25", None),
        ("Photos-light", 0.3),
        ("Photos-heavy", 0.8),
    ]


def test_what_a_file_says_is_identity_and_where_it_lies_is_not(file, tmp_path):
    setting = settings.load(str(file))
    config = resolve(setting, "nafnet", "mix")
    moved = tmp_path / "elsewhere/harbour.toml"
    moved.parent.mkdir()
    moved.write_text("# the same\n" + file.read_text().replace("Noise, and", "Fog and"))
    same = resolve(settings.load(str(moved)), "nafnet", "mix")
    assert config.identity(setting) == same.identity(setting) and config.setting_place != same.setting_place
    assert setting_of(config) == setting
    moved.write_text(file.read_text().replace("expected = 3", "expected = 4"))
    other = settings.load(str(moved))
    changed = resolve(other, "nafnet", "mix")
    identities = config.identity(setting), changed.identity(other)
    assert all(identities[0][key] != identities[1][key] for key in ("hash", "pair", "cohort"))
    ours = resolve(settings.load("three_task"), "nafnet", "mix").model_dump()
    assert not {"setting_place", "setting_digest"} & ours.keys()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("three_task.toml", "three_task is the name of another setting"),
        ("my setting.toml", "'my setting' cannot name a setting"),
        ("con.toml", "'con' cannot name a setting"),
        ("harbuor.toml", "No such file or directory"),
    ],
)
def test_files_that_cannot_be_a_setting(name, told, file, tmp_path):
    if "such" not in told:
        file.rename(tmp_path / name)
    with pytest.raises(UserError, match=told):
        settings.load(str(tmp_path / name))


def test_every_mistake_is_told_at_once(file):
    text = file.read_text().replace('degradation = "fade"', 'degradation = "fad"').replace("licence", "license")
    file.write_text(text.replace("airnet_rgb", "airnet_rbg").replace("BSD400", "BSD40") + "epochs = 3\n")
    with pytest.raises(UserError) as caught:
        settings.load(str(file))
    for told in (
        "data_sets.Harbour.license: unknown key; did you mean 'licence'?",
        "tasks.1.degradation: unknown degradation 'fad'; did you mean 'fade'?",
        "tasks.0.train: unknown data set 'BSD40'; did you mean 'BSD400'?",
        "protocol: unknown protocol 'airnet_rbg'; did you mean 'airnet_rgb'?",
    ):
        assert told in str(caught.value)


def test_a_degradation_that_cannot_be_imported_is_a_sentence(file, tmp_path, capsys):
    file.write_text(file.read_text().replace("mypkg.fade:fade", "mypkg.fade:fog"))
    command = ["--setting", str(file), "--output", str(tmp_path / "out"), "--tracking-uri", "none", "--device", "cpu"]
    assert run.main(command) == 2
    assert "the degradation mypkg.fade:fog cannot be imported" in capsys.readouterr().err


def test_plug_ins_bring_settings_data_sets_and_degradations(file, tmp_path, monkeypatch):
    sets = file.read_text().partition("[data_sets.Harbour]")[2].partition("[recipe")[0]
    (tmp_path / "mypkg/sets.toml").write_text(f"[Port]{sets}")
    (tmp_path / "mypkg/plug.py").write_text(
        "from pathlib import Path\nFILE = Path(__file__).parents[1] / 'harbour.toml'\n"
        "SETS = Path(__file__).with_name('sets.toml')\n"
    )
    values = {"settings": ("port", "mypkg.plug:FILE"), "data_sets": ("port", "mypkg.plug:SETS"),
              "degradations": ("dusk", "mypkg.fade:fade")}  # fmt: skip
    cached = (outside.points, data_sets.known, degradations.known)
    monkeypatch.setattr(
        outside, "entry_points",
        lambda group: [EntryPoint(*values[group.partition(".")[2]], group)],
    )  # fmt: skip
    try:
        for function in cached:
            function.cache_clear()
        assert "port" in settings.names() and degradations.known()["dusk"] == "mypkg.fade:fade"
        assert data_sets.known().get("Port:train").expected == 3
        file.write_text(file.read_text().replace('"fade"', '"dusk"').replace("Harbour:", "Port:"))
        setting = settings.load("port")
        assert (setting.name, setting.place) == ("port", "port") and setting.tasks[1].list_length == 3
        assert setting_of(resolve(setting, "nafnet", "mix")) == setting
    finally:
        monkeypatch.undo()
        for function in cached:
            function.cache_clear()
