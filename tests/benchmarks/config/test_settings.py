"""Every setting: as published, and usable on embedded data and on files in the published layouts."""

import numpy as np
import pytest
import torch
from miniature import SETTINGS

from benchmarks import conformance
from benchmarks.config import settings
from benchmarks.config.configuration import resolve
from benchmarks.config.data_sets import known
from benchmarks.config.errors import UserError
from benchmarks.config.sections import DataConfig
from benchmarks.data import layouts, locating, sources
from benchmarks.data.audit.invented import not_found
from benchmarks.data.batches import Batches
from results import published

PUBLISHED = {  # tasks, samples of the training list, protocol
    "three_task": (5, 142431, "airnet_rgb"),
    "five_task": (7, 162646, "airnet_rgb"),
    "all_weather": (3, 18069, "weather_y"),
    "seven_task": (7, 24150, "mio_rgb_b4"),
    "cdd11": (11, 13013, "cdd_rgb"),
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def test_they_are_the_published_ones():
    found = {}
    for name in settings.names():
        setting = settings.load(name)
        found[name] = len(setting.tasks), setting.list_length, setting.protocol
    assert found == PUBLISHED
    table = published()
    for name in settings.names():  # figures are published of further ones, and of cdd11 averages only
        columns = {test.name for task in settings.load(name).tasks for test in task.test}
        printed = set(table.loc[table["setting"] == name, "dataset"])
        assert printed - {"average"} == (set() if name == "cdd11" else columns)


def first_batch(name, data, prepared):
    small = ["train.patch=32"]
    config = resolve(settings.load(name), "transweather", "mix", data=data, overrides=small)
    return Batches(prepared.train, config, torch.device("cpu"))(0)


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_does_what_every_setting_must(name, cache, monkeypatch):
    monkeypatch.setattr(sources, "SCENES", 2)
    monkeypatch.setattr(sources, "SCENE_SIZE", 64)
    findings = list(conformance.check(settings.load(name), cache))
    assert len(findings) == 3 and all(finding.passed for finding in findings), findings


def test_every_layout_finds_what_it_describes():
    whole = known().sets.items()
    names = [part for name, one in whole for part in ([f"{name}:{part}" for part in one.parts] or [name])]
    assert [problem for name in names for problem in not_found(known().get(name))] == []


def test_the_severities_of_snow_differ(cache):
    small, large = sources.prepare(settings.load("all_weather"), DataConfig(), (), cache).tests[:2]
    assert (small.dataset, large.dataset) == ("Photos-snow-S", "Photos-snow-L")
    pairs = (pool.pair(0) for pool in (small, large))
    errors = [float((degraded - clean).abs().mean()) for degraded, clean in pairs]
    assert errors[1] > 2 * errors[0]


@pytest.mark.parametrize("name", PUBLISHED)
def test_files_in_the_published_layouts(name, tmp_path):
    root = SETTINGS[name](tmp_path / "data")
    setting = settings.load(name)
    data = DataConfig(source="files", root=str(root))
    prepared = sources.prepare(setting, data, (), tmp_path / "cache")
    assert {record.origin for record in prepared.records} == {"real"}
    assert all(pool.names for pool in (*prepared.train, *prepared.tests))
    batch = first_batch(name, data, prepared)
    assert all(torch.isfinite(side).all() for side in (batch.degraded, batch.clean))
    for pool in prepared.tests:
        degraded, clean = pool.pair(0)
        assert degraded.shape == clean.shape and not torch.equal(degraded, clean), pool.dataset


def test_all_weather_tells_tasks_by_file_name(tmp_path):
    root = SETTINGS["all_weather"](tmp_path)
    names = {part: [pair.name for pair in layouts.locate(known().get(f"AllWeather:{part}"), root).pairs] for part in
             ("snow", "rain_fog", "raindrop")}  # fmt: skip
    assert names == {
        "snow": ["city_read_14216", "sidewalk winter -grayscale -gray_05928"],
        "rain_fog": ["im_0280_s90_a05", "im_0280_s95_a04"],
        "raindrop": ["0_rain", "461_rain"],
    }
    notes = layouts.locate(known().get("AllWeather:snow"), root).notes
    assert "1 files that allweather.txt does not name are left out" in notes[0] and "castle_00001.jpg" in notes[1]
    (root / "allweather.txt").write_text("something else\n")
    assert "names none of the files" in layouts.locate(known().get("AllWeather:rain_fog"), root).notes[0]


def test_missing_weather_sets_are_made_from_clean_ones(tmp_path):
    root = SETTINGS["three_task"](SETTINGS["all_weather"](tmp_path / "data"))
    for folder in ("allweather", "Snow100K-L", "RainDrop"):
        (root / folder).rename(root / f"unused-{folder}")
    setting = settings.load("all_weather")
    data = DataConfig(source="files", root=str(root), missing="synthesise")
    prepared = sources.prepare(setting, data, (), tmp_path / "cache")
    told = {record.dataset: (record.origin, record.made_from) for record in prepared.records}
    assert told["AllWeather:snow"] == ("synthesised", ["BSD400", "WED"])
    assert told["Snow100K-L"] == ("synthesised", ["CBSD68"]) and told["Snow100K-S"] == ("real", [])
    snow = next(pool for pool in prepared.tests if pool.dataset == "Snow100K-L")
    degraded, clean = snow.pair(0)
    assert not torch.equal(degraded, clean) and first_batch("all_weather", data, prepared).counts.min() == 4
    before = locating.fingerprint(setting, data)
    (root / "BSD400/8049.jpg").unlink()
    assert locating.fingerprint(setting, data) != before
    # training pairs of RainDrop stand in for the part of AllWeather that was taken from them
    (root / "unused-RainDrop/test_a").rename(root / "RainDrop")
    records = sources.prepare(setting, data, (), tmp_path / "cache").records
    assert ("train", "RainDrop-train", 2, 818, "real") in [
        (r.role, r.dataset, r.found, r.expected, r.origin) for r in records
    ]


def test_depths_of_large_images_are_made_small_and_enlarged():
    from benchmarks.data.pools import Pool, with_depths

    task = next(task for task in settings.load("seven_task").tasks if task.name == "dehaze")
    ramp = np.linspace(0, 255, 1600, dtype=np.uint8)[:, None, None] * np.ones((1, 800, 3), np.uint8)
    pool = with_depths(Pool(task, ["large", "small"], [ramp, ramp[:96]]))
    assert pool.depths[0].shape == (1600, 800) and pool.depths[1].shape == (96, 800)
    assert np.array_equal(pool.depths[0], pool.depths[0]) and pool.depths[0].max() > 200


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("[recipe.demo]\nbatches = 3", "train.batches: unknown key; did you mean 'batch'?"),
        ("[recipe.fast]\nbatch = 3", "recipe.fast.[key]: Input should be 'demo' or 'paper'"),
        ("[recipe.demo.promtir]\nbatch = 3", "recipe: demo.promtir: no such baseline; did you mean 'promptir'?"),
        ("[recipe.demo.transweather]\nbatches = 3", "train.batches: unknown key"),
        ("[recipe.demo]\nsteps = 5\nepochs = 3", "mine.toml, demo recipe: steps and epochs exclude each other"),
        ("[recipe.demo]\nepochs = 'all'", "train.epochs: unknown key"),
        ("[recipe.demo]\nmixing = 'mixed'", "data.mixing: unknown mixing 'mixed'. Known: shuffled, balanced, "),
        ("speed = 3", "speed: unknown key"),
        ("title = ", "mine.toml is not TOML"),
        ("name = 'other'", "mine.toml gives a name; a setting goes by that of its file"),
        ("title = " + "[" * 9999, "mine.toml is not TOML"),
        ("[[tasks]]\nname = 'a/b'\ndegradation = 'rain'\ntrain = ['x']\n", "tasks.3.name: 'a/b' cannot name a file"),
        ("[[tasks]]\nname = 'a'\ndegradation = 'rain'\nseverity = nan\ntrain = ['x']\n", "should be a finite number"),
        (
            "[[tasks]]\nname = 'a'\ndegradation = 'snwo'\ntrain = ['BSD40']\n",
            "tasks.3.degradation: unknown degradation 'snwo'; did you mean 'snow'? Known: ",
        ),
        (
            "[[tasks]]\nname = 'a'\ndegradation = 'snwo'\ntrain = ['BSD40']\n",
            "tasks.3.train: unknown data set 'BSD40'; did you mean 'BSD400'?",
        ),
        ("[[tasks]]\nname = 'a'\ndegradation = 'fog'\ntrain = ['WED']\n[degradations]\nfog = 'fog.py'", "should match"),
        ("[data_sets.Mine]\nexpectd = 3", "data_sets.Mine.expectd: unknown key; did you mean 'expected'?"),
    ],
)
def test_mistakes_in_a_settings_file_are_told(change, told, tmp_path, monkeypatch):
    text = (settings.FOLDER / "all_weather.toml").read_text()
    text = text.split("[recipe")[0] + change if "[" in change else change + "\n" + text
    (tmp_path / "mine.toml").write_text(text)
    monkeypatch.setattr(settings, "FOLDER", tmp_path)
    with pytest.raises(UserError) as caught:
        resolve(settings.load("mine"), "transweather", "mix")
    assert told in str(caught.value)
