"""Training images of files that are held out for validation: by content, from every task, and always the same ones."""

import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from miniature import hazy, picture, rainy, save, three_task

from benchmarks.config import settings
from benchmarks.config.sections import DataConfig
from benchmarks.data import sources
from benchmarks.data.holding_out import SHARE, choose
from benchmarks.data.images import digest_of

SETTING = settings.load("three_task")
WHOLE = {"BSD400": 16, "WED": 2, "RainTrainL": 12, "OTS": 20}


def made(root, order=1):
    """More images, numbered in one ``order`` or the other; clean images of rain are BSD400's, as other files."""
    three_task(root)
    for name in ("BSD400", "RainTrainL", "OTS"):
        shutil.rmtree(root / name)
    for place, number in enumerate(range(16)[::order]):
        save(root / f"BSD400/{1000 + place}.png", picture(number))
    for place, number in enumerate(range(10, 22)[::order]):
        save(root / f"RainTrainL/gt/norain-{place + 1}.bmp", picture(number))
        save(root / f"RainTrainL/rainy/rain-{place + 1}.png", rainy(picture(number)))
    for place, number in enumerate(range(30, 40)[::order]):
        save(root / f"OTS/original/{place:04d}.png", picture(number))
        for part, shade in enumerate((0, 20)[::order]):
            save(root / f"OTS/synthetic/part1/{place:04d}_0.8_0.{part}4.png", hazy(picture(number)) - np.uint8(shade))
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return made(tmp_path_factory.mktemp("held") / "data")


def prepare(root, count, missing="error"):
    data = DataConfig(source="files", root=str(root), validation=count, missing=missing)
    return sources.prepare(SETTING, data, (), root.parent / "cache")


def trained(prepared):
    """Digests of the clean images of each task's training samples."""
    return [[digest_of(pool.clean[number]) for number in range(len(pool.names))] for pool in prepared.train]


def validated(prepared):
    """The pairs of each task's validation images."""
    return [[tuple(map(bytes, map(np.asarray, pool.pair(number)))) for number in range(len(pool.names))]
            for pool in prepared.validation]  # fmt: skip


def found(prepared, role="train"):
    return {record.dataset: record.found for record in prepared.records if record.role == role}


def test_what_is_held_out_leaves_every_task(root):
    prepared, whole = prepare(root, 2), prepare(root, 0)
    assert found(whole) == WHOLE and not whole.validation
    held = [{digest_of(pool.clean[number]) for number in range(2)} for pool in prepared.validation]
    assert [pool.task.name for pool in prepared.validation] == list(SETTING.task_names) and held[0] == held[1] == held[
        2
    ]
    every = set.union(*held)
    for task, (some, before) in enumerate(zip(trained(prepared), trained(whole), strict=True)):
        assert some == [content for content in before if content not in every]
        assert held[task] <= set(before) and len(before) - len(some) >= 2
    assert len(trained(prepared)[4]) == 20 - 2 * 2 and len(trained(prepared)[0]) < 18  # both hazes of a scene
    shared = every & set(trained(whole)[0]) & set(trained(whole)[3])
    assert shared, "no image of two tasks is held out: nothing is shown of those"
    left = found(prepared)
    assert [left["BSD400"] + left["WED"], left["RainTrainL"], left["OTS"]] == [
        len(trained(prepared)[task]) for task in (0, 3, 4)
    ]
    assert found(prepared, "validation") == {f"validation-{name}": 2 for name in SETTING.task_names}
    digests = [
        {r.dataset: r.digest for r in p.records if r.role == "train"} for p in (prepared, whole, prepare(root, 2))
    ]
    assert digests[0] == digests[2] and all(digests[0][name] != digests[1][name] for name in ("BSD400", "OTS"))


def test_names_order_and_caching_do_not_matter(root, tmp_path, monkeypatch):
    expected = prepare(root, 2)
    other = prepare(made(tmp_path / "data", order=-1), 2)
    assert validated(other) == validated(expected)
    assert [sorted(task) for task in trained(other)] == [sorted(task) for task in trained(expected)]
    monkeypatch.setattr(sources, "CACHE_LIMIT", 0)
    (tmp_path / "streamed").mkdir()
    (tmp_path / "streamed/data").symlink_to(root)
    for _ in range(2):  # the second time from what was kept
        streamed = prepare(tmp_path / "streamed/data", 2)
        assert streamed.train[4].streams and validated(streamed) == validated(expected)
        assert trained(streamed) == trained(expected)


def test_stand_ins_are_held_out_alike(root, tmp_path):
    shutil.copytree(root, tmp_path / "data")
    for name in ("RainTrainL", "OTS"):
        shutil.rmtree(tmp_path / "data" / name)
    prepared = prepare(tmp_path / "data", 3, missing="synthesise")
    assert [len(set(task)) for task in trained(prepared)] == [16 - 3] * 5
    records = {record.dataset: record for record in prepared.records if record.role == "validation"}
    assert [records[f"validation-{name}"].origin for name in ("denoise_15", "derain", "dehaze")] == [
        "real", "synthesised", "synthesised",
    ]  # fmt: skip
    clean = [[pair[1] for pair in pairs] for pairs in validated(prepared)]
    assert clean[0] == clean[3] == clean[4] and len({str(pairs) for pairs in validated(prepared)}) == 5


def test_never_more_than_a_quarter_and_of_very_few_none(root, tmp_path):
    prepared = prepare(root, 1000)
    assert found(prepared, "validation")["validation-dehaze"] == 10 // SHARE
    assert any(
        "dehaze: 2 of 10 clean training images are held out for validation, not 1000" in note for note in prepared.notes
    )
    small = prepare(three_task(tmp_path / "data"), 8)
    assert not small.validation and len(small.train[3].names) == 3
    assert any("no validation curve" in note and "derain (3), dehaze (2)" in note for note in small.notes)


@given(
    st.lists(st.lists(st.integers(0, 40), min_size=SHARE, max_size=40), min_size=1, max_size=4),
    st.integers(1, 9),
    st.randoms(),
)
def test_no_choice_takes_much_of_any_task(pools, wanted, chance):
    contents = {f"task {place}": [f"{number:x}" for number in pool] for place, pool in enumerate(pools)}
    held = choose(contents, wanted)
    if any(len(set(pool)) < SHARE for pool in contents.values()):
        assert not held.all and len(held.notes) == 1
        return
    for task, pool in contents.items():
        assert len(set(pool) & held.all) <= len(set(pool)) // SHARE
        assert set(held.chosen[task]) <= set(pool) and len(set(held.chosen[task])) == len(held.chosen[task]) <= wanted
    assert choose({task: chance.sample(pool, len(pool)) for task, pool in contents.items()}, wanted) == held
