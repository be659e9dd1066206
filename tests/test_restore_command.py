"""The restore command: names, formats and kinds of pictures stay; inputs are safe; bad files do not stop the others."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from miniature import picture
from PIL import Image

import baselines
from benchmarks.data.decoding import decode
from benchmarks.restore import main
from benchmarks.scoring import photos

ORIENTATION, MAKER = 0x0112, 271


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A checkpoint of a tiny NAFNet that changes little: most of every picture can be told in the result."""
    torch.manual_seed(0)
    built = baselines.build("nafnet", "tiny")
    torch.nn.init.normal_(built.ending.weight, std=0.002)
    path = tmp_path_factory.mktemp("weights") / "net.pth"
    torch.save({"params": built.state_dict()}, path)
    return ["--baseline", "nafnet", "--size", "tiny", "--checkpoint", str(path), "--device", "cpu"]


def saved(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def near(path, expected, within=12):
    with Image.open(path) as image:
        found = np.asarray(image)
    assert found.shape == expected.shape and found.dtype == expected.dtype
    difference = np.abs(found.astype(float) - expected)
    assert 0 < difference.mean() < within * (257 if found.dtype == np.uint16 else 1)
    return found


COLOUR, GREY = picture(1, 61, 45), picture(2, 61, 45)[..., 0]
ALPHA = np.arange(61 * 45, dtype=np.uint16).astype(np.uint8).reshape(61, 45)
PICTURES = {
    "colour.png": COLOUR,
    "colour.bmp": COLOUR,
    "colour.tif": COLOUR,
    "one_row.png": COLOUR[:1],
    "grey.png": GREY,
    "deep_grey.png": GREY.astype(np.uint16) * 257,
    "alpha.png": np.dstack([COLOUR, ALPHA]),
    "alpha.webp": np.dstack([COLOUR, ALPHA]),
    "grey_alpha.png": np.dstack([GREY, ALPHA]),
    "photo.jpg": COLOUR,
    "grey.jpeg": GREY,
}


def test_names_formats_and_kinds_stay(network, tmp_path, capsys):
    for name, array in PICTURES.items():
        saved(tmp_path / "in" / name, array, **({"quality": 95} if name.endswith(("jpg", "jpeg")) else {}))
    before = {path: path.read_bytes() for path in (tmp_path / "in").iterdir()}
    assert main([str(tmp_path / "in"), *network, "--output", str(tmp_path / "out")]) == 0
    for name, array in PICTURES.items():
        found = near(tmp_path / "out" / name, array)
        if "alpha" in name:
            assert np.array_equal(found[..., -1], ALPHA)
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(PICTURES)
    assert before == {path: path.read_bytes() for path in (tmp_path / "in").iterdir()}
    printed = capsys.readouterr().out
    assert "11 pictures restored" in printed and "lose a little when saved again (quality 95) (2 files)" in printed


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_of_colour_stay(channels, suffix, network, tmp_path):
    cv2 = pytest.importorskip("cv2")
    deep = np.dstack([COLOUR, ALPHA])[..., :channels].astype(np.uint16) * 257
    source, target = tmp_path / f"deep.{suffix}", tmp_path / f"out/deep.{suffix}"
    cv2.imwrite(str(source), deep[..., [2, 1, 0, 3][:channels]])
    assert main([str(source), *network, "--output", str(tmp_path / "out")]) == 0
    found = cv2.imread(str(target), cv2.IMREAD_UNCHANGED)
    assert found.dtype == np.uint16 and found.shape == deep.shape and len(np.unique(found % 257)) > 20
    difference = np.abs(found[..., [2, 1, 0, 3][:channels]].astype(float) - deep)
    assert 0 < difference[..., :3].mean() < 12 * 257 and not difference[..., 3:].any()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright(orientation, network, tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKER] = orientation, "Camera"
    source = saved(tmp_path / "turned.png", COLOUR, exif=exif)
    assert main([str(source), *network, "--output", str(tmp_path / "out")]) == 0
    turn = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}.get(orientation)  # Pillow's Transpose, by number
    upright = Image.fromarray(COLOUR) if turn is None else Image.fromarray(COLOUR).transpose(Image.Transpose(turn))
    near(tmp_path / "out/turned.png", np.asarray(upright))
    with Image.open(tmp_path / "out/turned.png") as image:
        assert image.getexif().get(ORIENTATION, 1) == 1 and image.getexif()[MAKER] == "Camera"


def test_bad_files_are_named_and_the_others_restored(network, tmp_path, capsys):
    folder, out = tmp_path / "in", tmp_path / "in/restored"
    saved(folder / "a/good.png", COLOUR)
    (folder / "b").mkdir()
    (folder / "b/text.png").write_text("no picture")
    (folder / "notes.txt").write_text("no picture either")
    cut = saved(folder / "cut.jpg", COLOUR)
    cut.write_bytes(cut.read_bytes()[:300])
    Image.fromarray(np.ones((4, 4), np.float32)).save(folder / "float.tif")
    command = [str(folder), *network, "--output", str(out), "--side-by-side"]
    assert main(command) == 1
    told = capsys.readouterr().err
    assert "b/text.png: not an image" in told and "cut.jpg: damaged or cut short" in told
    assert "float.tif: values of 32 bits" in told and "notes" not in told
    assert sorted(path.name for path in out.rglob("*.png")) == ["good.png", "good.png.side-by-side.png"]
    with Image.open(out / "a/good.png.side-by-side.png") as image:
        assert np.array_equal(np.asarray(image)[:, :45], COLOUR) and image.size == (90, 61)
    assert main([*command, "--overwrite"]) == 1  # what lies in the output is no input
    assert len(list(out.rglob("*.png"))) == 2


def test_every_kind_of_picture_is_restored_or_named(network, tmp_path, capsys):
    folder = tmp_path / "in"
    for name, kind in (("b.JFIF", "JPEG"), ("c.jpe", "JPEG"), ("d.gif", "GIF"), ("e.ppm", "PPM"), ("f.pgm", "PPM")):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(GREY if kind == "PPM" and name[0] == "f" else COLOUR).save(folder / name, kind)
    Image.fromarray(GREY > 99).save(folder / "g.pbm", "PPM")
    Image.fromarray(COLOUR).save(folder / "h.jpg", "GIF")  # what is in a file decides
    saved(folder / "._a.png", COLOUR)
    saved(folder / "__MACOSX/a.png", COLOUR)
    saved(tmp_path / "elsewhere/i.png", COLOUR)
    for link, to in (("linked", tmp_path / "elsewhere"), ("up", ".."), ("self", "self"), ("j.png", "nowhere.png")):
        (folder / link).symlink_to(to)
    (folder / "k.heic").write_bytes(b"\0\0\0\x18ftypheic")
    os.mkfifo(folder / "l.png")
    assert main([str(folder), *network, "--output", str(tmp_path / "out")]) == 1
    there = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    wanted = ["b.JFIF", "c.jpe", "d.gif.png", "e.ppm", "f.pgm", "g.pbm.png", "h.jpg.png", "linked/i.png"]
    assert there[: len(wanted)] == wanted and there[len(wanted) :] == []
    told = capsys.readouterr()
    assert "j.png: cannot be read (a link that leads nowhere)" in told.err
    assert "k.heic: HEIC pictures cannot be read here" in told.err and "l.png: not a regular file" in told.err
    assert "GIF files become PNG files (2 files)" in told.out and "PBM files become PNG files" in told.out
    assert "2 hidden or system files or folders are left out" in told.out
    assert f"{folder}/self: a link that leads nowhere" in told.out
    near(tmp_path / "out/e.ppm", COLOUR)


def malformed(path, entry):
    """A JPEG file whose EXIF data hold one ``entry`` (tag, type, count, content) that Pillow reads and cannot write."""
    saved(path, COLOUR, quality=95)
    content = path.read_bytes()
    tiff = b"II*\0" + struct.pack("<LHHHL4s", 8, 1, *entry) + bytes(4)
    segment = b"Exif\0\0" + tiff
    path.write_bytes(content[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + content[2:])


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_notes_of_a_camera_are_left_out_and_the_picture_restored(network, tmp_path, capsys):
    malformed(tmp_path / "in/float.jpg", (0x10E, 11, 1, struct.pack("<f", 1)))
    malformed(tmp_path / "in/ratio.jpg", (0x9003, 5, 1, struct.pack("<L", 4000)))
    malformed(tmp_path / "in/where.jpg", (0x8825, 4, 1, struct.pack("<L", 9999)))
    saved(tmp_path / "in/whole.jpg", COLOUR)
    assert main([str(tmp_path / "in"), *network, "--output", str(tmp_path / "out")]) == 0
    assert len(list((tmp_path / "out").iterdir())) == 4
    assert "damaged notes of the camera or colour profiles are not kept" in capsys.readouterr().out
    near(tmp_path / "out/float.jpg", COLOUR)


def test_a_resolution_that_cannot_be_written_is_left_out(tmp_path):
    for name in ("a.jpg", "a.png"):
        photo = photos.read(saved(tmp_path / name, COLOUR, dpi=(300, 300)))
        photo.metadata["dpi"] = (float("nan"), 300)
        photo.write(tmp_path / "out" / name)
        assert photo.losses[-1].startswith("damaged notes")
        assert photos.read(tmp_path / "out" / name).pixels.shape == COLOUR.shape


def test_trouble_with_one_picture_leaves_the_others(network, tmp_path, capsys, monkeypatch):
    for name in ("a.png", "b.png", "c.png"):
        saved(tmp_path / "in" / name, COLOUR)
    read = photos.read

    def fails(path):
        if path.name == "b.png":
            raise MemoryError
        return read(path)

    monkeypatch.setattr(photos, "read", fails)
    assert main([str(tmp_path / "in"), *network, "--output", str(tmp_path / "out")]) == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]
    assert "b.png: MemoryError: no message" in capsys.readouterr().err


@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiff_of_every_depth_stands_upright(orientation, tmp_path):
    pytest.importorskip("cv2")
    deep = COLOUR.astype("<u2") * 257
    entries = [(256, 4, 1, 45), (257, 4, 1, 61), (258, 3, 3, 134), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 140)]
    entries += [(274, 3, 1, orientation), (277, 3, 1, 3), (278, 4, 1, 61), (279, 4, 1, deep.nbytes)]
    head = b"II*\0" + struct.pack("<LH", 8, len(entries)) + b"".join(struct.pack("<HHLL", *entry) for entry in entries)
    (tmp_path / "deep.tif").write_bytes(head + bytes(4) + struct.pack("<3H", 16, 16, 16) + deep.tobytes())
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    for form in ("tiff_adobe_deflate", None):
        flat = photos.read(saved(tmp_path / "flat.tif", COLOUR, exif=exif, compression=form))
        found = photos.read(tmp_path / "deep.tif")
        assert found.pixels.dtype == np.uint16 and np.array_equal(found.pixels, flat.pixels.astype(np.uint16) * 257)
        assert np.array_equal(flat.pixels, decode(tmp_path / "flat.tif"))


def refused(capsys, *command):
    assert main([str(part) for part in command]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and "Traceback" not in told
    return told


def test_nothing_is_overwritten(network, tmp_path, capsys):
    one, two = saved(tmp_path / "1/x.png", COLOUR), saved(tmp_path / "2/x.png", COLOUR)
    out = tmp_path / "out"
    assert "x.png is an input" in refused(capsys, one, *network, "--output", tmp_path / "1", "--overwrite")
    assert "would both become" in refused(capsys, one, two, *network, "--output", out)
    assert main([str(one.parent), str(two.parent), *network, "--output", str(out)]) == 0
    assert (out / "1/x.png").exists() and (out / "2/x.png").exists()
    written = (out / "1/x.png").read_bytes()
    assert "exists; --overwrite replaces it" in refused(capsys, one, *network, "--output", out / "1")
    assert (out / "1/x.png").read_bytes() == written and np.array_equal(np.asarray(Image.open(one)), COLOUR)


def test_tiles_are_told(network, tmp_path, capsys):
    source = saved(tmp_path / "wide.png", picture(4, 90, 300))
    assert main([str(source), *network, "--output", str(tmp_path / "out"), "--tile", "128"]) == 0
    assert "restored 300x90 pixels in overlapping tiles of at most 128: NAFNet looks at" in capsys.readouterr().out
    near(tmp_path / "out/wide.png", picture(4, 90, 300))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--tile", "20"], "too small for NAFNet"),
        (["--device", "gpu"], "unknown device 'gpu'"),
        (["--output", "/dev/null/here"], "cannot be written"),
        (["--run", "somewhere"], "--run names a network already"),
        (["--size", "paper"], "They fit nafnet, size tiny"),
    ],
)
def test_mistakes_are_one_sentence(more, message, network, tmp_path, capsys):
    source = saved(tmp_path / "x.png", COLOUR)
    assert message in refused(capsys, source, *network, "--output", tmp_path / "out", *more)


def test_inputs_that_are_not_there(network, tmp_path, capsys):
    assert "nothing.png is not there" in refused(capsys, tmp_path / "nothing.png", *network)
    assert "there is no picture in" in refused(capsys, tmp_path, *network)
    assert "--checkpoint and --baseline missing" in refused(capsys, saved(tmp_path / "x.png", COLOUR))


def test_help_needs_no_torch():
    code = "import sys; from benchmarks import restore, evaluate\n"
    code += "for parser in (restore.parser(), evaluate.parser()): parser.format_help()\n"
    code += "sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[1]).returncode == 0
