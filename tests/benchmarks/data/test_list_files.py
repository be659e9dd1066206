"""List files as people have them: what they name is used, and what cannot be understood is told."""

import os

import pytest
from miniature import all_weather, three_task

from benchmarks.config import settings
from benchmarks.config.data_sets import known
from benchmarks.config.sections import DataConfig
from benchmarks.data import layouts, locating, sources

SNOW = "sidewalk winter -grayscale -gray_05928"
OTS = "0025_0.8_0.04"


@pytest.fixture
def root(tmp_path):
    return three_task(all_weather(tmp_path / "data"))


def located(root, content, name="OTS", file="OTS/hazy_outside.txt"):
    (root / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    return layouts.locate(known().get(name), root)


CASES = {
    "plain": f"{OTS}.jpg\n",
    "with a mark": b"\xef\xbb\xbf" + f"{OTS}.jpg\r\n".encode(),
    "utf-16": f"{OTS}.jpg\r\n".encode("utf-16"),
    "utf-16 the other way round": b"\xfe\xff" + f"{OTS}.jpg\r\n".encode("utf-16-be"),
    "utf-16 without a mark": f"{OTS}.jpg\r\n".encode("utf-16-le"),
    "old Macintosh": f"{OTS}.jpg\r".encode(),
    "Windows paths": f"D:\\data\\OTS\\synthetic\\part1\\{OTS}.jpg\n",
    "in capitals": f"{OTS}.JPG\n",
    "in quotes, with blanks": f'  "./OTS/{OTS}.jpg"  \t\n\n',
    "comments": f"# chosen\n{OTS}.jpg\n#0026_0.8_0.04.jpg\n",
    "without ending": f"{OTS}\n",
    "input and target": f"synthetic/part1/{OTS}.jpg original/0025.jpg\n",
    "with commas": f"{OTS}.jpg,0025.jpg\n",
    "with tabs and a label": f"{OTS}\t0026\n",
    "with a label": f"{OTS}.jpg 1\n",
    "target and input": f"original/0025.jpg synthetic/part1/{OTS}.jpg\n",
}


@pytest.mark.parametrize("case", CASES)
def test_a_list_names_one_image(case, root):
    found = located(root, CASES[case])
    assert [pair.name for pair in found.pairs] == [OTS] and not found.problems
    assert found.notes == ("3 files that OTS/hazy_outside.txt does not name are left out",)


def test_targets_stand_for_all_their_inputs_and_what_is_not_there_is_told(root):
    found = located(root, "0026.jpg\n0027_1_0.2.jpg\n")
    assert [pair.target.name for pair in found.pairs] == ["0026.jpg"] * 2
    assert "OTS/hazy_outside.txt names 1 files that are not there, such as 0027_1_0.2.jpg" in found.notes


def test_names_with_blanks_and_several_names_in_a_line(root):
    both = located(root, "./part1/0026_0.8_0.04.jpg ./part1/0025_0.8_0.04.jpg\n")
    assert [pair.name for pair in both.pairs] == [OTS, "0026_0.8_0.04"]
    for line in (
        f"allweather/input/{SNOW}.jpg",
        f"input/{SNOW}.jpg\tgt/{SNOW}.jpg",
        SNOW,
        f"input/{SNOW}.jpg gt/{SNOW}.jpg",
    ):
        assert [pair.name for pair in located(root, line, "AllWeather:snow", "allweather.txt").pairs] == [SNOW]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is not text in UTF-8 or UTF-16"),
        (b"\xff\xfea", "is not text in UTF-8 or UTF-16"),
    ],
)
def test_a_list_that_cannot_be_read_is_a_problem(content, told, root):
    assert f"OTS/hazy_outside.txt: {told}" in located(root, content).problems[0]


def test_a_list_that_is_no_file_is_a_problem(root):
    os.mkfifo(root / "OTS/hazy_outside.txt")
    assert "hazy_outside.txt: not a regular file" in layouts.locate(known().get("OTS"), root).problems[0]


def test_notes_are_told_before_training_and_by_dry_runs(root):
    (root / "OTS/Hazy_Outside.TXT").write_text("nothing of this\n")
    (root / "hazy_outside.txt").write_text(f"{OTS}.jpg\n")
    data = DataConfig(source="files", root=str(root))
    setting = settings.load("three_task")
    notes = locating.notes(setting, data, ())
    assert "OTS/Hazy_Outside.TXT names none of the files and is not used" in notes
    assert "hazy_outside.txt is not used beside OTS/Hazy_Outside.TXT" in notes
    assert set(notes) <= set(sources.prepare(setting, data, (), root.parent / "cache").notes)
