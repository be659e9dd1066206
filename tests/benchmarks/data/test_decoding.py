"""Image files of every kind become upright 8-bit RGB, or a reason why not."""

import io
import os
import random
import struct
import threading
import time
import warnings
import zlib

import numpy as np
import pytest
from miniature import picture
from PIL import Image, ImageOps

from benchmarks.data import decoding
from benchmarks.data.decoding import UnusableImage, attempts, decode, header_of, shape_of
from benchmarks.scoring import photos

CLEAN = picture(3, 24, 40)
GREY = CLEAN[..., 1]


def saved(path, image, **options):
    image.save(path, **options)
    assert shape_of(path) == decode(path).shape[:2]
    return decode(path)


def test_plain_files_are_their_pixels(tmp_path):
    for suffix in ("png", "bmp", "tif", "webp"):
        assert np.array_equal(saved(tmp_path / f"a.{suffix}", Image.fromarray(CLEAN), lossless=True), CLEAN)


def test_grey_palette_and_alpha(tmp_path):
    grey = np.repeat(GREY[..., None], 3, axis=2)
    assert np.array_equal(saved(tmp_path / "grey.png", Image.fromarray(GREY)), grey)
    assert np.array_equal(
        saved(tmp_path / "grey.jpg", Image.fromarray(GREY), quality=100)[..., 0], decode(tmp_path / "grey.jpg")[..., 2]
    )
    assert np.array_equal(saved(tmp_path / "palette.gif.png", Image.fromarray(GREY).convert("P")), grey)
    transparent = np.dstack([CLEAN, GREY])
    assert np.array_equal(saved(tmp_path / "alpha.png", Image.fromarray(transparent)), CLEAN)
    both = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(255 - GREY)])
    assert np.array_equal(saved(tmp_path / "both.png", both), grey)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    deep = GREY.astype(np.uint16) * 257
    for suffix in ("png", "tif"):
        assert np.array_equal(saved(tmp_path / f"deep.{suffix}", Image.fromarray(deep))[..., 0], GREY)
    half = np.full((20, 30), 32768, np.uint16)
    assert np.array_equal(saved(tmp_path / "half.png", Image.fromarray(half)), np.full((20, 30, 3), 128))


def test_cmyk_is_converted(tmp_path):
    found = saved(tmp_path / "print.tif", Image.fromarray(CLEAN).convert("CMYK"))
    assert np.abs(found.astype(int) - CLEAN).max() <= 1
    found = saved(tmp_path / "print.jpg", Image.fromarray(CLEAN).convert("CMYK"), quality=100, subsampling=0)
    assert np.abs(found.astype(int) - CLEAN).mean() < 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_camera_held_differently(orientation, suffix, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = saved(tmp_path / f"held.{suffix}", Image.fromarray(CLEAN), exif=exif)
    with Image.open(tmp_path / f"held.{suffix}") as image:
        assert np.array_equal(found, np.asarray(ImageOps.exif_transpose(image)))
    assert (found.shape[0] > found.shape[1]) == (orientation >= 5)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "an empty file"), (b"hello, I am text", "not an image (it starts with b'hello"), (b"\x89PNG\r\n\x1a\n", "")],
)
def test_what_is_no_image_says_why(content, reason, tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(content)
    for reads in (decode, shape_of):
        with pytest.raises(UnusableImage) as caught:
            reads(path)
        assert reason in str(caught.value)
    with pytest.raises(UnusableImage, match="cannot be read"):
        decode(tmp_path / "nowhere.png")


def test_floats_without_a_range_are_refused(tmp_path):
    Image.fromarray(np.zeros((20, 30), np.float32)).save(tmp_path / "x.tif")
    with pytest.raises(UnusableImage, match="range is not known"):
        decode(tmp_path / "x.tif")


def test_attempts_keep_the_order_and_tell_what_failed(tmp_path):
    def half(number):
        if number % 7 == 3:
            raise UnusableImage(f"no {number}")
        return number / 2

    found = list(attempts(half, range(100), "halving"))
    assert [path for path, _, _ in found] == list(range(100))
    assert all((value, problem) == ((None, f"no {n}") if n % 7 == 3 else (n / 2, "")) for n, value, problem in found)


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def exif(held=6):
    tags = Image.Exif()
    tags[decoding.ORIENTATION] = held
    return tags


def held(case, path):
    """A picture turned by what ``case`` says: ``kind of file, where it says so``."""
    kind, where = case
    more = {"xmp": {"xmp": XMP}, "exif": {"exif": exif()}, "tag": {"tiffinfo": {700: XMP}}}.get(where, {})
    packed = io.BytesIO()
    Image.fromarray(CLEAN).save(packed, kind, **more)
    content = packed.getvalue()
    late = content.index(b"IEND") - 4 if kind == "PNG" else 0
    if where.startswith("late"):
        note = chunk(b"eXIf", exif().tobytes()[6:]) if where == "late exif" else None
        note = note or chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)
        content = content[:late] + chunk(b"tEXt", b"date:create\0" + b"2020" * 9) + note + content[late:]
    path.write_bytes(content)


@pytest.mark.parametrize("case", [
    ("JPEG", "xmp"), ("JPEG", "exif"), ("WEBP", "xmp"), ("PNG", "exif"), ("PNG", "late exif"), ("PNG", "late xmp"),
    ("TIFF", "tag"), ("TIFF", "exif"),
])  # fmt: skip
def test_every_reader_turns_by_exif_and_xmp(case, tmp_path):
    path = tmp_path / "held.png"
    held(case, path)
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert upright.shape == (40, 24, 3) and shape_of(path) == (40, 24)
    assert np.array_equal(decode(path), upright) and np.array_equal(photos.read(path).pixels, upright)


def test_other_programs_are_never_started(tmp_path, monkeypatch):
    Image.init()
    for name in ("EPS", "PSD", "WMF"):
        monkeypatch.setitem(Image.OPEN, name, (lambda *_: pytest.fail("opened"), lambda prefix: True))
    (tmp_path / "photo.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    for reads in (decode, shape_of, photos.read):
        with pytest.raises(UnusableImage, match="not an image"):
            reads(tmp_path / "photo.png")


def test_pipes_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    for reads in (decode, shape_of, photos.read):
        with pytest.raises(UnusableImage, match="not a regular file"):
            reads(tmp_path / "a.png")


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG", "WEBP"])
def test_of_several_frames_the_first_is_used_and_noted(kind, tmp_path):
    frames = [Image.fromarray(picture(number, 24, 40)) for number in (3, 4)]
    frames[0].save(tmp_path / "several.png", kind, save_all=True, append_images=frames[1:], lossless=True)
    frames[0].save(tmp_path / "one.png", kind, lossless=True)
    assert "only the first is used" in header_of(tmp_path / "several.png").note
    assert np.array_equal(decode(tmp_path / "several.png"), decode(tmp_path / "one.png"))
    assert not header_of(tmp_path / "one.png").note


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_a_damaged_second_page_leaves_the_first(tmp_path):
    path = tmp_path / "pages.tif"
    Image.fromarray(CLEAN).save(path, save_all=True, append_images=[Image.fromarray(CLEAN[::-1])])
    content = bytearray(path.read_bytes())
    (first,) = struct.unpack("<L", content[4:8])
    (count,) = struct.unpack("<H", content[first : first + 2])
    link = first + 2 + 12 * count
    content[link : link + 4] = struct.pack("<L", len(content) - 3)  # its directory lies beyond the end
    path.write_bytes(content)
    assert np.array_equal(decode(path), CLEAN) and np.array_equal(photos.read(path).pixels, CLEAN)
    assert "only" in header_of(path).note and header_of(path).note in photos.read(path).notes


@pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP", "PPM"])
def test_whatever_is_damaged_gives_a_picture_or_a_reason(kind, tmp_path):
    more = {"exif": exif()} if kind in ("PNG", "JPEG", "TIFF", "WEBP") else {}
    whole, path, chance = io.BytesIO(), tmp_path / "x.png", random.Random(kind)
    Image.fromarray(picture(1, 12, 16)).save(whole, kind, **more)
    for _ in range(int(os.environ.get("FUZZ_CASES", 60))):
        content = bytearray(whole.getvalue())
        for _ in range(chance.choice([1, 2, 9])):
            content[chance.randrange(chance.choice([40, len(content)]))] = chance.randrange(256)
        path.write_bytes(content[: chance.choice([len(content), chance.randrange(1, len(content))])])
        found = []
        for reads in (lambda path: decode(path).shape[:2], lambda path: photos.read(path).pixels.shape[:2]):
            try:
                found.append(reads(path))
            except UnusableImage as reason:
                found.append(None)
                assert 5 < len(str(reason)) < 300 and "\n" not in str(reason)
        assert found[0] == found[1] and (found[0] is None or shape_of(path) == found[0])


def test_a_large_picture_is_no_noise_and_one_too_large_says_the_limit(tmp_path, monkeypatch):
    Image.fromarray(CLEAN).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", CLEAN[..., 0].size - 1)
    decoding._formats.cache_clear()
    with warnings.catch_warnings(record=True) as told:
        assert np.array_equal(decode(tmp_path / "a.png"), CLEAN) and not told
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(
        UnusableImage, match="more pixels than are read of one picture, 179 million; cut it up or scale"
    ):
        photos.read(tmp_path / "a.png")
    decoding._formats.cache_clear()  # it ignores warnings once for a process; pytest has undone that


def test_pictures_decoded_at_once_share_their_room():
    room, inside, most = decoding._Room(100), [], []

    def take(size):
        with room.taken(size):
            inside.append(min(size, 100))
            most.append(sum(inside))
            time.sleep(0.002)
            inside.remove(min(size, 100))

    threads = [threading.Thread(target=take, args=(size,)) for size in [30, 60, 500, 20, 90] * 6]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(most) == len(threads) and max(most) <= 100 and room.free == 100
