"""``python -m benchmarks.data``: what is there, what is wrong with it, how to mend it, and what it looks like."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from miniature import SETTINGS, picture, rainy, save, spoil, three_task
from PIL import Image

from benchmarks.config import data_sets
from benchmarks.config.data_sets import Catalogue, known
from benchmarks.data import layouts
from benchmarks.data.__main__ import main
from benchmarks.data.audit import leaks
from benchmarks.data.audit.check import check
from benchmarks.data.audit.misplaced import fix
from benchmarks.data.audit.near_duplicates import find

SHARED = Path(os.environ.get("RESTORATION_DATA", Path(__file__).parents[4] / "shared" / "data"))


@pytest.fixture
def root(tmp_path):
    return three_task(tmp_path / "data")


def reports(root, *names):
    return {report.data_set.name: report for report in check(names, known(), root)}


def names(root, data_set):
    located = layouts.locate(known().get(data_set), root)
    assert not located.problems
    return [pair.name for pair in located.pairs]


def test_check_tells_every_defect_and_what_is_whole(root, capsys):
    expected = spoil(root)
    save(root / "RainTrainL/rainy/rain-10.png", picture(30))  # the degraded image is the clean one
    save(root / "BSD400/23025.jpg", picture(0))  # as a117025.jpg
    assert main(["check", "--setting", "three_task", "--data-root", str(root), "--all"]) == 1
    told = capsys.readouterr().out
    for defect, piece in expected.items():
        assert piece in told, defect
    assert "RainTrainL/rainy/rain-10.png equals its target RainTrainL/gt/norain-10.png" in told
    assert "the same picture: BSD400/23025.jpg, BSD400/a117025.jpg" in told
    states = {name: report.state for name, report in reports(root, "CBSD68", "OTS", "SOTS-outdoor").items()}
    assert states == {"CBSD68": "defective", "OTS": "partial", "SOTS-outdoor": "partial"}
    assert "OTS" in told and "4 of  72,135  partial" in told and "Rain100H" in told


def test_check_is_content_with_a_complete_set(root):
    names = ("Rain100L", "Rain100H", "SOTS-outdoor")
    whole = {name: known().get(name).model_copy(update={"expected": 2}) for name in names}
    found = {report.data_set.name: report for report in check(names, Catalogue(whole), root)}
    assert [report.state for report in found.values()] == ["complete", "complete", "partial"]


@pytest.mark.parametrize(
    ("change", "name", "told"),
    [
        (("Rain100L", "Rain100L_test/Rain100L"), "Rain100L", "its files are in Rain100L_test/Rain100L/: move them"),
        (("Rain100L", "Rain100L/Rain100L"), "Rain100L", "its files are in Rain100L/Rain100L/: move them to Rain100L/"),
        (("Rain100L/target", "Rain100L/gt"), "Rain100L", "Rain100L/ looks like it: rename gt/ to target/"),
        (("OTS", "RESIDE/ots"), "OTS", "its files are in RESIDE/ots/: move them to OTS/"),
        (("WED", "unpacked"), "WED", ""),
    ],
)
def test_a_layout_that_is_nearly_right_is_recognised(change, name, told, root):
    shutil.move(root / change[0], root / "aside")
    (root / change[1]).parent.mkdir(parents=True, exist_ok=True)
    shutil.move(root / "aside", root / change[1])
    assert fix(known().get(name), known(), root).startswith(told) and bool(told) == bool(
        fix(known().get(name), known(), root)
    )
    (report,) = check([name], known(), root)
    assert report.state in ("missing", "defective") and (not told or report.notes[0].startswith(told))


def test_an_archive_is_to_be_unpacked(root):
    shutil.rmtree(root / "WED")
    (root / "WED.zip").write_bytes(b"PK")
    assert fix(known().get("WED"), known(), root) == "WED.zip looks like it: unpack it to WED/"
    assert fix(known().get("GoPro"), known(), root) == ""


def test_folders_of_promptir_and_any_case_of_letters(root):
    merged = root / "train/denoise"
    merged.mkdir(parents=True)
    for path in [*(root / "BSD400").iterdir(), *(root / "WED").iterdir()]:
        path.rename(merged / path.name.upper())
    for folder in ("BSD400", "WED"):
        (root / folder).rmdir()
    assert len(names(root, "BSD400")) == 4 and names(root, "WED") == ["00001", "00002"]
    (root / "Rain100L").rename(root / "RAIN100l")
    (root / "RAIN100l/input").rename(root / "RAIN100l/Input")
    (root / "RAIN100l/Input/1.png").rename(root / "RAIN100l/Input/001.PNG")
    assert names(root, "Rain100L") == ["001", "31"]


def test_sequences_keep_their_name(tmp_path):
    root = SETTINGS["five_task"](tmp_path)
    expected = [f"{sequence}_00000{n}" for sequence in ("GOPR0372_07_00", "GOPR0374_11_01") for n in (1, 2)]
    assert names(root, "GoPro-train") == expected


def test_leaks_are_found_and_written(root, capsys):
    whole = picture(0, 200, 260)
    whole[::3, ::5] //= 2  # something to see in it
    save(root / "BSD400/a117025.jpg", whole)
    crop = np.asarray(Image.open(root / "BSD400/a117025.jpg"))[11:171, 20:240]
    save(root / "Rain100L/target/31.png", crop)
    save(root / "Rain100L/input/31.png", rainy(crop))
    save(root / "SOTS/outdoor/clear/0001.png", picture(21))  # as a whole among RainTrainL's
    found = root.parent / "leaks.csv"
    assert main(["leaks", "--setting", "three_task", "--data-root", str(root), "--csv", str(found)]) == 1
    told = capsys.readouterr().out
    assert "31 is in a117025.jpg from row 11 and column 20 on, pixel for pixel" in told
    assert "SOTS-outdoor: 1 images are in RainTrainL (1 not known before)" in told
    assert found.read_text().splitlines()[1] == "Rain100L,31,BSD400,a117025.jpg,11,20,1.0,0.0"


def test_list_names_home_and_licence_of_everything(capsys):
    assert main(["list"]) == 0
    told = capsys.readouterr().out
    for data_set in known().sets.values():
        assert data_set.home in told and data_set.title in told and f"licence  {data_set.licence}" in told
    assert "162,646 training samples" in told and "AllWeather:snow (9,001)" in told


def test_cache_and_show(root, tmp_path, capsys):
    output = tmp_path / "out"
    common = ["--setting", "three_task", "--data-root", str(root), "--output", str(output)]
    assert main(["cache", *common]) == 0
    assert "BSD400: 4 images, 0 MiB decoded, cached" in capsys.readouterr().out
    assert main(["show", *common, "--images", "1"]) == 0
    with Image.open(output / "sheets/three_task.png") as sheet:
        assert sheet.width == 3 * 262 + 12 and sheet.height == 5 * 284 + 6
    (root / "CBSD68/3096.jpg").write_text("text")
    assert main(["cache", *common]) == 2
    assert "CBSD68/3096.jpg: not an image" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["check", "--data-root", "/nowhere/at/all"], "is not a folder"),
        (["list", "--setting", "tree_task"], "did you mean 'three_task'"),
        (["show", "--setting", "three_task", "--data-root", "."], "OTS (training of dehaze) is missing"),
    ],
)
def test_mistakes_are_sentences(command, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(command) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ") and told in message


def test_one_flat_image_does_not_stop_leaks(root, capsys):
    save(root / "BSD400/77.png", np.full((96, 96, 3), 128, np.uint8))
    save(root / "SOTS/outdoor/clear/0001.png", picture(21))  # among RainTrainL's
    assert main(["leaks", "--setting", "three_task", "--data-root", str(root)]) == 1
    assert "SOTS-outdoor: 1 images are in RainTrainL" in capsys.readouterr().out


def test_check_names_what_the_protocol_cannot_score_and_what_is_not_used(root, capsys):
    for side in ("input", "target"):
        save(root / f"Rain100H/{side}/2.png", picture(1, 15, 40))
    save(root / "WED/._00001.bmp", picture(1))
    frames = [Image.fromarray(picture(number)) for number in (1, 2)]
    frames[0].save(root / "CBSD68/5.gif", save_all=True, append_images=frames[1:])
    main(["check", "--setting", "three_task", "--data-root", str(root)])
    told = capsys.readouterr().out
    assert "! Rain100H/target/2.png: 15x40 pixels, too small to be scored: airnet_rgb needs 16 a side at least" in told
    assert "- 1 hidden or system file or folder is left out, such as WED/._00001.bmp" in told
    assert "- CBSD68/5.gif: of several frames or pages only the first is used" in told
    assert "RainTrainL/gt" not in told  # training images may be small


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('target = "gt"', 'targt = "gt"', "RainTrainL.layouts.0.targt: unknown key; did you mean 'target'?"),
        ("expected = 200\n", "", "RainTrainL.expected: missing"),
        ("expected = 200", 'expected = "many"', "RainTrainL.expected: Input should be a valid integer"),
        ("norain-(?P<key>", "norain-((?P<key>", "is no regular expression"),
        ("norain-(?P<key>", "norain-(?P<number>", "RainTrainL.layouts.0.target_name: 'norain-(?P<number>"),
        ("[RainTrainL]", "[RainTrainL", "sets.toml is not TOML"),
        ("licence", "license", "RainTrainL.license: unknown key; did you mean 'licence'?"),
    ],
)
def test_a_mistake_in_the_file_of_sets_is_a_sentence(old, new, told, tmp_path, monkeypatch, capsys):
    whole = data_sets.SETS.read_text(encoding="utf-8")
    head, name, tail = whole.partition("[RainTrainL]")
    path = tmp_path / "sets.toml"
    path.write_text(head + (name + tail).replace(old, new, 1), encoding="utf-8")
    monkeypatch.setattr(data_sets, "SETS", path)
    monkeypatch.setattr(data_sets, "known", data_sets.known.__wrapped__)
    assert main(["list", "--setting", "all_weather"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: sets.toml") and told in message


def test_help_imports_nothing_heavy():
    code = "import sys; from benchmarks.data.__main__ import parser; parser().format_help(); " \
           "print([m for m in ('torch', 'scipy', 'PIL', 'pandas') if m in sys.modules])"  # fmt: skip
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.skipif(not (SHARED / "Rain100H").is_dir(), reason="needs real images, named by RESTORATION_DATA")
def test_leaks_on_real_images():
    with (SHARED / "lists/rain100_clean_to_BSDS500.csv").open() as file:
        rows = {row["rain100_index_png"]: row for row in csv.DictReader(file)}
    truth = {name: Path(row["bsds500_path"]).name for name, row in rows.items() if row["in_BSD400"] == "1"}
    shipped = {
        leak.image + ".png": leak.train_image + ".jpg" for leak in leaks.known("Rain100H") if leak.train_set == "BSD400"
    }
    assert shipped == truth and len(truth) == 75
    tests = sorted((SHARED / "Rain100H/target").iterdir())[::5]
    wanted = {test.name: truth[test.name] for test in tests if test.name in truth}
    every = sorted((SHARED / "BSD400").iterdir())
    matches = find(
        tests,
        [path for path in every[::10] if path.name not in wanted.values()]
        + [path for path in every if path.name in wanted.values()],
    )
    assert {match.crop.name: match.whole.name for match in matches} == wanted
    assert all(match.difference == 0 and match.share == 1 for match in matches)
