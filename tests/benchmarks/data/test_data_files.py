"""Real data in the published layouts: found, checked, and every defect told by name."""

import shutil

import numpy as np
import pytest
import torch
from miniature import picture, rainy, save, spoil, three_task

from benchmarks.config import settings
from benchmarks.config.configuration import resolve
from benchmarks.config.data_sets import known
from benchmarks.config.errors import UserError
from benchmarks.config.sections import DataConfig
from benchmarks.data import images, layouts, locating, sources
from benchmarks.data.batches import Batches

SETTING = settings.load("three_task")


@pytest.fixture
def root(tmp_path):
    return three_task(tmp_path / "data")


def prepare(root, missing="error", extra=(), further=()):
    data = DataConfig(source="files", root=str(root), missing=missing, extra=further)
    return sources.prepare(SETTING, data, extra, root.parent / "cache")


def problems(root, **options):
    with pytest.raises(UserError) as caught:
        prepare(root, **options)
    return caught.value.problems


def origins(prepared, role):
    return {record.dataset: (record.found, record.origin) for record in prepared.records if record.role == role}


def test_a_complete_root(root):
    prepared = prepare(root, extra=["Rain100H"])
    assert origins(prepared, "train") == {
        "BSD400": (4, "real"),
        "WED": (2, "real"),
        "RainTrainL": (3, "real"),
        "OTS": (4, "real"),
    }
    assert [pool.dataset for pool in prepared.tests] == [
        "CBSD68-s15", "CBSD68-s25", "CBSD68-s50", "Rain100L", "SOTS-outdoor", "Rain100H",
    ]  # fmt: skip
    assert prepared.tests[-1].extra and prepared.tests[-1].inputs is not None
    assert len(prepared.train[0].names) == 6 and prepared.train[0].clean[5].shape == (80, 96, 3)
    haze = prepared.train[4]
    assert [name[:4] for name in haze.names] == ["0025", "0025", "0026", "0026"]
    assert all(haze.clean[n].shape == haze.inputs[n].shape for n in range(4))


def test_a_missing_set_is_named_with_its_layout_and_source(root):
    shutil.rmtree(root / "OTS")
    shutil.rmtree(root / "Rain100L")
    told = problems(root)
    assert len(told) == 2
    assert "OTS (training of dehaze) is missing" in told[0] and "OTS/synthetic/part*/ with OTS/original/" in told[0]
    assert "https://" in told[0] and "--missing synthesise" in told[0]
    assert "Rain100L (test of derain)" in told[1]


def test_missing_sets_are_synthesised_on_request_and_marked(root):
    for name in ("OTS", "RainTrainL", "Rain100L", "WED"):
        shutil.rmtree(root / name)
    prepared = prepare(root, missing="synthesise")
    assert origins(prepared, "train") == {
        "BSD400": (4, "real"), "WED": (0, "absent"), "RainTrainL": (4, "synthesised"), "OTS": (4, "synthesised"),
    }  # fmt: skip
    assert origins(prepared, "test")["Rain100L"] == (2, "synthesised")
    assert (
        prepared.train[3].inputs is None and prepared.train[4].depths[0].shape == prepared.train[4].clean[0].shape[:2]
    )


def test_a_further_set_joins_pairs_and_made_samples(root):
    shutil.rmtree(root / "RainTrainL")
    for number in (1, 2):
        save(root / f"RainTrainH/norain-{number}.png", picture(60 + number))
        save(root / f"RainTrainH/rain-{number}.png", rainy(picture(60 + number)))
    prepared = prepare(root, missing="synthesise", further=["RainTrainH@3"])
    assert [record.repeats for record in prepared.records if record.dataset == "RainTrainH"] == [3]
    pool = prepared.train[3]
    assert pool.makes and len(pool.names) == len(pool.clean) == len(pool.inputs) == 6 + 3 * 2  # BSD400, WED, the pairs
    assert [pool.partner(number) is None for number in range(12)] == 6 * [True] + 6 * [False]
    config = resolve(SETTING, "airnet", "mix", overrides=["train.patch=64", "train.batch=20"])
    batches = Batches(prepared.train, config, torch.device("cpu"))
    batches.cropping.mixture = lambda step: (np.full(12, 3), np.arange(12))
    batch, crops = batches(0), batches.cropping(0)
    assert crops.synthetic.tolist() == 6 * [True] + 6 * [False]
    clean, pairs = torch.from_numpy(crops.pixels).float() / 255
    assert torch.equal(clean[0], batch.clean)
    assert torch.equal(batch.degraded[6:], pairs[0, 6:]) and torch.equal(batch.second[6:], pairs[1, 6:])
    lighter = (batch.degraded - batch.clean).flatten(1).mean(1)
    assert (lighter > 0).all() and (batch.degraded[:6] != pairs[0, :6]).flatten(1).any(
        1
    ).all()  # rain falls on the others


def test_further_sets_that_cannot_be(root):
    told = problems(root, further=["RainTrainX", "Rain100H", "RainTrainH@0"])
    assert len(told) == 3 and "did you mean 'RainTrainL'?" in told[0] and "'0' is no number of repeats" in told[2]
    assert "'x' is no number of repeats" in problems(root, further=["RainTrainH@x"])[0]
    with pytest.raises(ValueError, match="each once"):
        DataConfig(extra=["RainTrainH", "RainTrainH@2"])
    assert "RainTrainH (further training of derain) is missing" in problems(root, further=["RainTrainH"])[0]
    with pytest.raises(UserError, match="name their folder with --data-root"):
        locating.fingerprint(SETTING, DataConfig(extra=["RainTrainH"]))


def test_every_defect_is_told_by_name(root):
    expected = spoil(root)
    told = "\n".join(problems(root))
    for defect, piece in expected.items():
        assert piece in told, defect


def test_many_defects_are_told_in_part(root):
    for number in range(30):
        (root / f"BSD400/strange-{number}.png").write_text("")
    told = problems(root)
    assert len(told) == 21 and "BSD400: 10 more; `python -m benchmarks.data check` lists them all" in told[-1]


def test_known_leaks_are_recorded_with_the_test_set(root):
    prepared = prepare(root, extra=["Rain100H"])
    leaked = {record.dataset: record.leaked for record in prepared.records if record.role != "train"}
    assert leaked["Rain100L"] == leaked["Rain100H"] == ["1", "31"] and leaked["CBSD68-s15"] == []
    shutil.rmtree(root / "BSD400")
    records = prepare(root, missing="synthesise").records
    assert not any(record.leaked for record in records)  # BSD400 is not trained on


def test_an_empty_folder_is_not_a_set(root):
    shutil.rmtree(root / "BSD400")
    (root / "BSD400").mkdir()
    assert "BSD400: no image that fits the layout" in problems(root, missing="synthesise")[0]


def test_no_root():
    with pytest.raises(UserError, match="is not a folder"):
        locating.fingerprint(SETTING, DataConfig(source="files", root="/nowhere/at/all"))


def test_pairs_in_one_folder_and_with_leading_zeros(tmp_path):
    for number in (1, 2):
        save(tmp_path / f"Rain100L/rain-{number:03d}.png", picture(number))
        save(tmp_path / f"Rain100L/norain-{number:03d}.png", picture(number))
    located = layouts.locate(known().get("Rain100L"), tmp_path)
    assert [(pair.input.name, pair.target.name) for pair in located.pairs] == [
        ("rain-001.png", "norain-001.png"), ("rain-002.png", "norain-002.png"),
    ]  # fmt: skip
    assert not located.problems


def test_fingerprint_follows_the_files_not_the_place(root, tmp_path):
    before = layouts.locate(known().get("BSD400"), root).fingerprint()
    moved = tmp_path / "moved"
    shutil.copytree(root, moved)
    assert layouts.locate(known().get("BSD400"), moved).fingerprint() == before
    (moved / "BSD400/8049.jpg").unlink()
    assert layouts.locate(known().get("BSD400"), moved).fingerprint() != before


def test_the_cache_holds_the_pixels_and_notices_a_changed_file(root, tmp_path):
    paths = sorted((root / "CBSD68").iterdir())
    for _ in range(2):
        opened, bad = images.open_images(paths, tmp_path / "cache", "CBSD68")
        assert not bad and not opened.streams and not opened[0].flags.writeable
        assert all(np.array_equal(opened[n], images.decode(path)) for n, path in enumerate(paths))
    save(paths[0], picture(7))
    opened, _ = images.open_images(paths, tmp_path / "cache", "CBSD68")
    assert np.array_equal(opened[0], images.decode(paths[0])) and len(list((tmp_path / "cache").iterdir())) == 2


def test_sets_over_the_limit_are_decoded_when_asked_for(root, tmp_path):
    paths = sorted((root / "CBSD68").iterdir())
    for _ in range(2):  # the second time, sizes are known from the first
        opened, bad = images.open_images(paths, tmp_path / "cache", "CBSD68", limit=1000)
        assert not bad and opened.streams and opened.shape(1) == (75, 101)
        assert np.array_equal(opened[1], images.decode(paths[1]))
    assert [path.name for path in (tmp_path / "cache").glob("*/*")] == ["index.json"]
    paths[1].write_text("gone bad since")
    with pytest.raises(UserError, match=r"12084\.jpg|3096\.jpg"):
        opened[1]
