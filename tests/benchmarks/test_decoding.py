"""Image files of every kind become upright 8-bit RGB, or a reason why not."""

import numpy as np
import pytest
from miniature import picture
from PIL import Image

from benchmarks.data.images import UnusableImage, attempts, decode, shape_of

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
    from PIL import ImageOps

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
