"""Which files are pictures, one rule for data sets and restore; what is wrong with a folder is told."""

import os
import unicodedata

import pytest
from miniature import picture, save, three_task
from PIL import Image

from benchmarks.config import settings
from benchmarks.config.data_sets import known
from benchmarks.config.errors import UserError
from benchmarks.config.sections import DataConfig
from benchmarks.data import files, layouts, sources


@pytest.fixture
def root(tmp_path):
    return three_task(tmp_path / "data")


def prepare(root, **more):
    data = DataConfig(source="files", root=str(root))
    return sources.prepare(settings.load("three_task"), data, (), root.parent / "cache", **more)


def problems(root, **more):
    with pytest.raises(UserError) as caught:
        prepare(root, **more)
    return caught.value.problems


def test_what_lies_in_a_folder(tmp_path):
    for name in ("a.PNG", "b.jfif", "c.heic", "notes.txt", "._a.png", "Thumbs.db", "__MACOSX/x.png", "sub/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    os.symlink("self.png", tmp_path / "self.png")
    os.symlink("loop", tmp_path / "loop")
    os.symlink("sub", tmp_path / "other")
    found = files.look(tmp_path)
    names = {part: [path.name for path in getattr(found, part)] for part in ("pictures", "folders", "hidden", "lost")}
    assert names == {
        "pictures": ["a.PNG", "b.jfif", "c.heic", "self.png"],
        "folders": ["other", "sub"],
        "hidden": ["._a.png", "__MACOSX"],
        "lost": ["loop"],
    }
    assert not found.problem and files.look(tmp_path / "nowhere") == files.Folder(tmp_path / "nowhere")


def test_links_are_followed_once(tmp_path):
    for folder in ("a/deep", "b"):
        (tmp_path / "in" / folder).mkdir(parents=True)
    (tmp_path / "else").mkdir()
    os.symlink("..", tmp_path / "in/a/deep/up")
    os.symlink("b", tmp_path / "in/also_b")
    os.symlink(tmp_path / "else", tmp_path / "in/linked")
    found = [str(listed.folder.relative_to(tmp_path / "in")) for listed in files.walk(tmp_path / "in")]
    assert sorted(found) == [".", "a", "a/deep", "b", "linked"]


def test_bad_entries_hide_nothing(root):
    os.symlink("CBSD68", root / "CBSD68/CBSD68")
    os.symlink(root / "nowhere", root / "OTS/synthetic/part3")
    save(root / "CBSD68/._3096.png", picture(1))
    notes = prepare(root).notes
    assert {"CBSD68/CBSD68: a link that leads nowhere", "OTS/synthetic/part3: a link that leads nowhere"} <= set(notes)
    assert "1 hidden or system file or folder is left out, such as CBSD68/._3096.png" in notes


def test_what_cannot_be_read_is_named(root):
    os.mkfifo(root / "BSD400/5.png")
    os.symlink("6.png", root / "BSD400/6.png")
    os.symlink("/dev/zero", root / "BSD400/7.png")
    (root / "WED/00009.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (root / "CBSD68/1.png").write_bytes(b"\0\0\0\x18ftypheic")  # as telephones name them
    told = "\n".join(problems(root))
    for piece in (
        "BSD400/5.png: not a regular file",
        "BSD400/6.png: cannot be read",
        "BSD400/7.png: not a regular file",
        "WED/00009.heic: HEIC pictures cannot be read here; convert it",
        "CBSD68/1.png: HEIC pictures cannot be read here",
    ):
        assert piece in told


@pytest.mark.parametrize("folder", ["CBSD68", "OTS/synthetic/part2", "SOTS", ""])
def test_a_folder_that_cannot_be_read_is_named(folder, root, monkeypatch):
    scandir = os.scandir

    def locked(path):
        if os.path.samefile(path, root / folder):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
    if folder:
        if folder == "SOTS":  # its parts are looked for by exact names, then in any case of letters
            (root / "SOTS/outdoor").rename(root / "SOTS/Outdoor")
        assert any(told.startswith(f"{folder}: cannot be read (Permission denied)") for told in problems(root))
    else:
        with pytest.raises(UserError, match=r"the data root .*cannot be read \(Permission denied\)"):
            prepare(root)


def test_a_link_in_place_of_a_set_that_leads_nowhere(root):
    (root / "CBSD68").rename(root.parent / "elsewhere")
    (root / "CBSD68").symlink_to("nowhere")
    assert "CBSD68: a link that leads nowhere" in problems(root)


def test_names_in_another_unicode_form_or_none(tmp_path):
    name = "café_00001.png"
    for side, form in (("synthetic", "NFC"), ("gt", "NFD")):
        save(tmp_path / "Snow100K-S" / side / unicodedata.normalize(form, name), picture(1))
        (tmp_path / "Snow100K-L" / side).mkdir(parents=True)
        latin = os.fsencode(tmp_path / "Snow100K-L" / side) + b"/caf\xe9_00001.png"
        Image.fromarray(picture(2)).save(os.fsdecode(latin))
    small, large = (layouts.locate(known().get(name), tmp_path) for name in ("Snow100K-S", "Snow100K-L"))
    assert len(small.pairs) == 1 and not small.problems
    assert [pair.name for pair in large.pairs] == ["caf\\xe9_00001"]  # a name that can be printed and written
    assert len(large.fingerprint()) == 16 and large.fingerprint() != small.fingerprint()
    assert not sources.open_set(large, tmp_path / "cache", trains=True).problems


def test_images_too_small_for_the_protocol_or_the_patch(root):
    for side in ("input", "target"):
        save(root / f"Rain100L/{side}/2.png", picture(1, 40, 18))
    prepared = prepare(root, patch=90)
    assert (
        "WED: 2 images are smaller than patches of 90 pixels and mirrored at the edges to fill them, such as "
        "WED/00001.bmp" in prepared.notes
    )
    assert not any("mirrored" in note for note in prepare(root, patch=80).notes)
    told = "Rain100L/target/2.png: 40x18 pixels, too small to be scored: mio_rgb_b4 needs 19 a side at least"
    assert problems(root, protocol="mio_rgb_b4") == [told]
