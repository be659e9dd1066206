"""Sets of one's own (``--data-sets``): any folder of pairs, where known sets lie, and what a run records of them."""

import pickle
import re
import tomllib
from pathlib import Path

import pytest
from miniature import picture, rainy, save, three_task

import benchmarks
from benchmarks import conformance, evaluate, run, tune
from benchmarks.config import data_sets, settings
from benchmarks.config.configuration import Config, resolve, setting_of
from benchmarks.config.errors import UserError
from benchmarks.config.sections import DataConfig
from benchmarks.data import layouts, locating, sources
from benchmarks.data.__main__ import main
from benchmarks.execution.plan import Plan
from results import find_runs
from results.records import Role

DOCUMENTED = (Path(benchmarks.__file__).parent / "DATA.md").read_text().partition("## Pairs of your own")[2]


def written(path, text):
    path.write_text(text)
    return path


@pytest.fixture
def pairs(tmp_path):
    """Rainy and clean pictures on a share that nobody may write to."""
    share = tmp_path / "a share"
    for number in (1, 2):
        save(share / f"night/rain/{number:03d}_rain.png", rainy(picture(number)))
        save(share / f"clear/{number}.png", picture(number))
    folders = [share, *(path for path in share.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    yield share
    for folder in folders:
        folder.chmod(0o755)


@pytest.fixture
def file(pairs, tmp_path):
    """Three lines."""
    text = f'task = "derain"\ninput = "{pairs}/night/rain"\ntarget = "{pairs}/clear"\ninput_name = "{{key}}_rain"\n'
    return written(tmp_path / "my sets.toml", f"[Harbour]\n{text}")


def located(text, root=None, name="Mine"):
    found, problems = data_sets.parse(tomllib.loads(text), data_sets.known().sets)
    assert not problems
    return layouts.locate(found[name], root)


def small(output, *more):
    return ["--setting", "three_task", "--baselines", "nafnet", "--strategies", "mix", "--output", str(output),
            "--device", "cpu", "--tracking-uri", "none", *map(str, more), "--set", "train.steps=1", "train.batch=5",
            "train.patch=16", "data.validation=0"]  # fmt: skip


def test_three_lines_are_checked_scored_and_scored_again_from_the_run_alone(
    file, pairs, few_embedded, tmp_path, capsys
):
    assert main(["check", "--data-sets", str(file)]) == 0
    assert re.search(r"Harbour +2 +complete", capsys.readouterr().out)
    out = tmp_path / "out"
    command = small(out, "--data-sets", file, "--jobs", 1)
    assert run.main([*command, "evaluate.extra=Harbour"]) == 0
    (done,) = find_runs(out, "three_task")
    scores = done.scores()
    assert len(scores[scores["dataset"] == "Harbour"]) == 4
    (record,) = [record for record in done.data if record.dataset == "Harbour"]
    assert (record.role, record.found, record.expected, record.origin) == (Role.EXTRA, 2, None, "real")
    noted = done.record.config.data_sets
    assert noted["Harbour"]["root"] == str(pairs)
    # a checkpoint needs no data root for them
    published = ["--baseline", "nafnet", "--size", "tiny", "--checkpoint", str(done.folder / "checkpoint.pt")]
    published += ["--setting", "three_task", "--output", str(out), "--device", "cpu", "--set", "evaluate.extra=Harbour"]
    assert evaluate.main(published) == 2
    assert "unknown data set 'Harbour'" in capsys.readouterr().err
    assert evaluate.main([*published, "--data-sets", str(file)]) == 0
    assert "Harbour" in capsys.readouterr().out
    text = file.read_text()
    file.unlink()  # the run suffices
    capsys.readouterr()
    assert evaluate.main(["--run", str(done.folder), "--output", str(out), "--device", "cpu"]) == 0
    assert "Harbour" in capsys.readouterr().out
    # the same name for other pictures: those are scored
    for number in (1, 2):
        save(tmp_path / f"others/rain/{number}_rain.png", rainy(picture(50 + number)))
        save(tmp_path / f"others/clear/{number}.png", picture(50 + number))
    file.write_text(
        text.replace(str(pairs / "night"), str(tmp_path / "others")).replace(str(pairs), str(tmp_path / "others"))
    )
    assert run.main([*command, "evaluate.extra=Harbour"]) == 0
    again = done.scores()
    changed = {
        one
        for one, rows in again.groupby("dataset")
        if {*rows["pixels"]} != {*scores[scores["dataset"] == one]["pixels"]}
    }
    assert changed == {"Harbour"} and find_runs(out, "three_task")[0].record.config.data_sets != noted
    assert not list(pairs.rglob(".*")) and sorted(path.name for path in pairs.iterdir()) == ["clear", "night"]


def test_names_that_pair_with_none_are_told_with_the_way_out(file, tmp_path, capsys):
    file.write_text(file.read_text().replace("{key}_rain", "{key}"))
    assert main(["check", "--data-sets", str(file)]) == 1
    told = capsys.readouterr().out
    assert re.search(r"Such as \S.*/1.png: no input with that name \(input_name and target_name say how", told)
    assert "1 set: 1 defective." in told
    below = written(tmp_path / "below.toml", '[Harbour]\ntask = "derain"\ninput = "rain"\ntarget = "clear"\n')
    assert main(["check", "--data-sets", str(below)]) == 2
    assert "below it Harbour should lie; or give their folders in --data-sets as absolute" in capsys.readouterr().err


def test_workers_and_clusters_are_sent_them(file, tmp_path):
    setting = settings.load("three_task", data_sets.read([file]))
    config = resolve(setting, "nafnet", "mix", overrides=["evaluate.extra=Harbour"])
    assert config.identity(setting) == resolve(settings.load("three_task"), "nafnet", "mix").identity(setting)
    plan = pickle.loads(pickle.dumps(Plan.of(setting, config, tmp_path)))
    assert plan.setting.data_set("Harbour") == setting.data_set("Harbour") and plan.config == config
    again = Config.model_validate_json(config.model_dump_json())
    assert setting_of(again).data_set("Harbour") == setting.data_set("Harbour")
    assert "data_sets" not in resolve(setting, "nafnet", "mix").model_dump()  # only what a run names is noted


def test_pairs_of_ones_own_join_a_training(file, tmp_path, capsys):
    root = three_task(tmp_path / "data")
    file.write_text(file.read_text() + 'trains = "derain"\nexpected = 2\n')
    given = data_sets.read([file])
    setting = settings.load("three_task", given)
    data = DataConfig(source="files", root=str(root), extra=("Harbour@3",))
    prepared = sources.prepare(setting, data, ("Harbour",), tmp_path / "cache")
    derain = next(pool for pool in prepared.train if pool.task.name == "derain")
    assert len(derain.names) == 3 + 3 * 2 and locating.expected_samples(setting, data)["derain"] == 202
    prints = {locating.fingerprint(setting, DataConfig(source="files", root=str(root), extra=extra))
              for extra in ((), ("Harbour",))}  # fmt: skip
    assert len(prints) == 2
    assert run.main([*small(tmp_path / "out", "--data-sets", file), "data.extra=Harbour"]) == 2
    assert "Harbour joins sets that lie in files" in capsys.readouterr().err


def test_where_a_known_set_lies_is_no_part_of_a_run(tmp_path, capsys):
    root = three_task(tmp_path / "data")
    plain = settings.load("three_task")
    data = DataConfig(source="files", root=str(root))
    before = locating.fingerprint(plain, data)
    moved = (root / "BSD400").rename(tmp_path / "elsewhere")
    (root / "Rain100L").rename(root / "rain of mine")
    file = written(tmp_path / "places.toml",
                   f'[BSD400]\nfolder = "{moved}"\n[Rain100L]\nfolder = "rain of mine"\n')  # fmt: skip
    assert locating.fingerprint(plain, data) != before
    setting = settings.load("three_task", data_sets.read([file]))
    assert setting.data_set("BSD400").expected == 400 and setting.data_set("BSD400").make == "train"
    assert locating.locate(setting, "Rain100L", root).pairs
    configs = [resolve(one, "nafnet", "mix", data=data).with_fingerprint(locating.fingerprint(one, data))
               for one in (setting,)]  # fmt: skip
    assert setting.digest == "" and [*configs[0].data_sets] == ["BSD400", "Rain100L"]
    names = {path.name for path in layouts.locate(setting.data_set("BSD400"), root).files()}
    assert names == {path.name for path in moved.iterdir()}
    moved.rename(root / "BSD400")
    (root / "rain of mine").rename(root / "Rain100L")
    usual = resolve(plain, "nafnet", "mix", data=data).with_fingerprint(locating.fingerprint(plain, data))
    assert configs[0].identity(setting) == usual.identity(plain)
    main(["check", "--setting", "three_task", "--data-root", str(root), "--data-sets", str(file)])
    assert f"! BSD400 is to lie in {moved}, which is not a folder" in capsys.readouterr().out


def test_a_setting_of_ones_own_may_name_them(file, tmp_path, capsys):
    mine = written(tmp_path / "mine.toml", """
title = "Rain at night"
source = "ours"
protocol = "airnet_rgb"
[[tasks]]
name = "derain"
degradation = "rain"
train = ["Harbour"]
test = [{ name = "Harbour", set = "Harbour" }]
""")  # fmt: skip
    command = ["--setting", str(mine), "--data-sets", str(file), "--output", str(tmp_path / "out")]
    with pytest.raises(UserError, match="unknown data set 'Harbour'"):
        settings.load(str(mine))
    assert run.main([*command, "--dry-run"]) == 2
    assert "tasks.0.train: Harbour says no expected number of samples" in capsys.readouterr().err
    file.write_text(file.read_text() + "expected = 2\n")
    one = settings.load(str(mine), data_sets.read([file]))
    file.write_text(file.read_text().replace("expected = 2", "expected = 3"))
    other = settings.load(str(mine), data_sets.read([file]))
    assert resolve(one, "nafnet", "mix").hash != resolve(other, "nafnet", "mix").hash
    assert setting_of(resolve(other, "nafnet", "mix")) == other
    assert run.main([*command, "--data-root", str(tmp_path), "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "1 runs, 1 to do" not in told and "derain" in told
    assert tune.main([*command, "--data-root", str(tmp_path), "--dry-run", "--strategies", "art"]) == 0
    assert conformance.main([str(mine), "--data-sets", str(file), "--output", str(tmp_path / "out")]) == 0
    assert "its layouts find files with invented names" in capsys.readouterr().out


@pytest.mark.parametrize(
    "keys, files, names",
    [
        ('input = "in"\ntarget = "gt"', ["in/a 1.png", "gt/a 1.jpg"], ["a 1"]),
        ('input = "hazy"\ntarget = "clear"\ninput_name = "{key}_*"',
         ["hazy/0001_0.8_0.2.jpg", "hazy/0001_1_0.1.jpg", "clear/0001.png"], ["0001_0.8_0.2", "0001_1_0.1"]),
        ('input = "."\ntarget = "."\ninput_name = "rain-{key}"\ntarget_name = "norain-{key}"',
         ["rain-1.png", "norain-1.png", "rain-10.png", "norain-10.png"], ["rain-1", "rain-10"]),
        ('input = "*/blur"\ntarget = "*/sharp"', ["a/blur/1.png", "a/sharp/1.png", "b/blur/1.png", "b/sharp/1.png"],
         ["a_1", "b_1"]),
        ('input = "x"\ntarget = "y"\ninput_name = "(?P<key>\\\\d+)[ab]"', ["x/7a.png", "x/7b.png", "y/7.png"],
         ["7a", "7b"]),
        ('input = "x"\ntarget = "y"\ninput_name = "n(1)+{key}"', ["x/n(1)+5.png", "y/5.png"], ["n(1)+5"]),
        ("", ["1.png", "2.png"], ["1", "2"]),
        ('target = "clean"\ntarget_name = "im*-{key}"', ["clean/im07-x.png"], ["im07-x"]),
        ('input = "in"\ntarget = "gt"\nlists = ["test.txt"]',
         ["in/1.png", "gt/1.png", "in/2.png", "gt/2.png"], ["2"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["below the data root", "named by an absolute path", "in two places"])
def test_how_files_lie_and_pair(keys, files, names, place, tmp_path):
    folder = tmp_path / "my {set}"
    for file in files:
        save(folder / file, picture(len(file)))
    (folder / "test.txt").write_text("in/2.png\n")
    if place == "below the data root":
        found = located(f'[Mine]\nfolder = "my {{set}}"\n{keys}', tmp_path)
    elif place == "named by an absolute path":
        found = located(f'[Mine]\nfolder = "{folder}"\n{keys}')
    else:
        absolute = re.sub(r'^(input|target) = "', rf'\1 = "{folder}/', keys, flags=re.MULTILINE)
        found = located(f"[Mine]\n{absolute}" + (f'\nfolder = "{folder}"' if "target =" not in keys else ""))
        if "lists" in keys:  # they stand in the folder that both have in common
            assert Path(found.data_set.root) == folder
    assert [pair.name for pair in found.pairs] == names and found.problems == ()


def test_files_outside_the_data_root_are_named_by_their_whole_path(file, pairs, tmp_path, capsys):
    (pairs / "clear").chmod(0o755)
    save(pairs / "clear/9.png", picture(9))
    assert main(["check", "--data-sets", str(file)]) == 1
    assert f"! {pairs}/clear/9.png: no input with that name" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"a share/clear/9\.png: no input"):
        setting = settings.load("three_task", data_sets.read([file]))
        sources.prepare(setting, DataConfig(), ("Harbour",), tmp_path / "cache")


@pytest.mark.parametrize(
    "text, told",
    [
        ('[A]\ninptu = "x"', "A.inptu: unknown key; did you mean 'input'?"),
        ('[A]\nfolder = "x"\nfolders = ["y"]', "A: folder and folders exclude each other"),
        ('[A]\ninput = "x"\nlayouts = [{ target = ".", target_name = "{key}" }]', "A: input and layouts exclude"),
        ('[A]\ninput = "/x"\ntarget = "y"', "A: input and target lie both below the folder, or both at absolute paths"),
        ('[A]\ntarget_name = "x"', "A.target_name: 'x' lacks the group (?P<key>...), or {key} as in 'rain-{key}'"),
        ('[A]\ntarget_name = "{key}.png"', "A.target_name: '{key}.png': names are given without their ending"),
        ('[A]\ntarget_name = "{key}{key}"', "A.target_name: '{key}{key}' holds {key} more than once"),
        ('[A]\ninput = "{x}"', "A.layouts.0.input: '{x}': of braces, only {part} can stand in it"),
        ('[A]\ninput = ""', "A.input: String should have at least 1 character"),
        ("[CBSD68]\nexpected = 10", "CBSD68: how many samples a known set has cannot be changed"),
        ("[CDD-11]\nparts = { low = { expected = 3 } }", "CDD-11: how many samples a known set has cannot be changed"),
        ("[A]\nexpected = -1", "A.expected: Input should be greater than or equal to 0"),
        ('["a b"]\nfolder = "x"', "'a b' cannot name a data set"),
        ('["A:b"]\nfolder = "x"', "A:b: a set goes by the name of its table, without a colon"),
        ("A = 3", "A: a table of a data set is needed"),
        ("[A", "is not TOML"),
        ('[CDD-11]\nparts = 3', "CDD-11.parts: Input should be a valid dictionary"),
    ],
)  # fmt: skip
def test_mistakes_in_the_file_are_told(text, told, tmp_path, capsys):
    file = written(tmp_path / "bad.toml", f"{text}\n")
    assert run.main(["--setting", "three_task", "--data-sets", str(file), "--dry-run"]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"error: {file}") and told in message


def test_files_that_are_not_there_or_say_a_set_twice(file, tmp_path, capsys):
    assert run.main(["--setting", "three_task", "--data-sets", "no.toml", "--dry-run"]) == 2
    assert "the file of data sets, no.toml: No such file or directory." in capsys.readouterr().err
    twin = written(tmp_path / "twin.toml", file.read_text())
    assert main(["check", "--data-sets", str(file), str(twin)]) == 2
    assert "Harbour is in another of the files too" in capsys.readouterr().err
    assert main(["check"]) == 2 and "--data-root missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change, told", [("", "its table says which by task"), ('task = "dejpeg"', "(its task is 'dejpeg')")]
)
def test_a_set_of_no_task_is_refused_as_a_test_set(change, told, file, tmp_path):
    file.write_text(file.read_text().replace('task = "derain"', change))
    with pytest.raises(UserError) as caught:
        setting = settings.load("three_task", data_sets.read([file]))
        sources.prepare(setting, DataConfig(), ("Harbour",), tmp_path / "cache")
    assert f"Harbour: not a further test set of any task of three_task{';' if not change else ''}" in str(caught.value)
    assert told in str(caught.value)


def test_the_documented_examples_are_read(tmp_path):
    examples = re.findall(r"^```toml\n(.*?)^```", DOCUMENTED.partition("\n## ")[0], re.MULTILINE | re.DOTALL)
    for number, example in enumerate(examples):
        assert data_sets.read([written(tmp_path / f"{number}.toml", example)])
    assert len(examples[0].strip().splitlines()) == 1 + 3


def test_list_shows_them(file, pairs, capsys):
    file.write_text(file.read_text() + 'title = "the harbour"\n')
    assert main(["list", "--setting", "three_task", "--data-sets", str(file)]) == 0
    told = capsys.readouterr().out.partition("Harbour: the harbour")[2]
    assert "a further test set of derain (--set evaluate.extra=Harbour)" in told and f"folder   {pairs}/" in told
    assert "home" not in told
