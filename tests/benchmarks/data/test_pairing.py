"""One sample in two files, sets in two places: never scored twice, never lost, always told."""

import shutil

import pytest
from miniature import picture, save, three_task
from PIL import Image

from benchmarks.config.data_sets import known
from benchmarks.data.layouts import locate


@pytest.fixture
def root(tmp_path):
    return three_task(tmp_path / "data")


def again(root, first, second):
    """The picture of one file in another, in the format of its name."""
    (root / second).parent.mkdir(parents=True, exist_ok=True)
    if first[-3:] == second[-3:]:
        shutil.copy(root / first, root / second)
    else:
        Image.open(root / first).save(root / second)


OTS = "OTS/synthetic/part1/0025_0.8_0.04.jpg"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Rain100L/input/1.png", "Rain100L/input/1.bmp"),
        ("Rain100L/input/1.png", "Rain100L/input/001.png"),
        ("Rain100L/target/1.png", "Rain100L/target/01.tif"),
        ("CBSD68/3096.jpg", "CBSD68/03096.jpg"),
        ("CBSD68/3096.jpg", "CBSD68/a3096.png"),
        ("WED/00001.bmp", "WED/00001.png"),
        (OTS, "OTS/synthetic/part2/0025_0.8_0.04.jpg"),
    ],
)
def test_one_sample_in_two_files(first, second, root):
    name = first.partition("/")[0]
    count = len(locate(known().get(name), root).pairs)
    again(root, first, second)
    located = locate(known().get(name), root)
    shown = " and ".join(sorted((first, second)))
    assert len(located.pairs) == count and not located.problems
    assert f"{shown}: one picture in 2 files; the first is used" in located.notes
    save(root / second, picture(77))
    assert locate(known().get(name), root).problems == (f"{shown}: 2 files of one sample; keep one of them in the set",)


def test_leading_zeros_count_where_two_sets_share_a_folder(tmp_path):
    for number, name in enumerate(("0001.png", "000001.png", "0002.png")):  # of DIV2K and of Flickr2K
        save(tmp_path / "DF2K" / name, picture(number))
        for folder in ("rain", "GT"):
            save(tmp_path / "MiO/train" / folder / name, picture(number))
    assert [pair.name for pair in locate(known().get("DF2K"), tmp_path).pairs] == ["000001", "0001", "0002"]
    located = locate(known().get("MiO-train:rain"), tmp_path)
    assert [pair.input.name == pair.target.name for pair in located.pairs] == [True] * 3 and not located.problems


def test_pictures_in_further_folders_are_told(root):
    for name in ("BSD400/more/1.png", "Rain100L/input/old/1.png", "Rain100L/input/notes/1.txt.png"):
        save(root / name, picture(1))
    (root / "Rain100L/input/notes/1.txt.png").rename(root / "Rain100L/input/notes/1.txt")
    assert locate(known().get("BSD400"), root).notes == ("BSD400: pictures in its folders more/ are not used",)
    assert locate(known().get("Rain100L"), root).notes == ("Rain100L/input: pictures in its folders old/ are not used",)


def test_several_inputs_of_one_target_are_samples(root):
    save(root / "SOTS/outdoor/hazy/0001_1_0.16.png", picture(3))
    located = locate(known().get("SOTS-outdoor"), root)
    assert len(located.pairs) == 2 and not located.problems and not located.notes


def test_a_set_in_several_places_is_told(root):
    for side in ("rain", "norain"):
        save(root / f"Rain100L/{side}-7.png", picture(7))
    shutil.copytree(root / "Rain100L/input", root / "Rain100L/Input")
    shutil.copytree(root / "CBSD68", root / "test/denoise/bsd68")
    shutil.copytree(root / "CBSD68", root / "cbsd68")
    located = locate(known().get("Rain100L"), root)
    assert len(located.pairs) == 2
    assert "Rain100L/Input/ is not used beside Rain100L/input/" in located.notes
    assert (
        "Rain100L lies in several places: Rain100L/input/ with Rain100L/target/ is used, not used are Rain100L/ "
        "(1 samples)" in located.notes
    )
    (note,) = locate(known().get("CBSD68"), root).notes
    assert "CBSD68/ is used, not used are cbsd68/ (2 samples); test/denoise/bsd68/ (2 samples)" in note
    (root / "linked").symlink_to(root / "CBSD68")
    (root / "BSD68").symlink_to("CBSD68")  # the same folder again
    assert locate(known().get("CBSD68"), root).notes == (note,)
