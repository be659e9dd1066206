"""Crops are found wherever they were cut, exactly or after compression, and nothing else is."""

import numpy as np
import pytest
from miniature import save
from PIL import Image

from benchmarks.data.audit.near_duplicates import find
from benchmarks.data.decoding import decode
from benchmarks.data.photographs import photographs


@pytest.fixture
def wholes(tmp_path):
    paths = []
    for name, image in photographs().items():
        paths.append(tmp_path / f"whole/{name}.png")
        save(paths[-1], image)
    return paths


@pytest.mark.parametrize("quality", [None, 90, 40])
def test_crops_are_found_at_their_place(quality, wholes, tmp_path):
    chance, crops, places = np.random.default_rng(0), [], {}
    for path in wholes:
        down, across = chance.integers(0, 77, 2)
        crop = tmp_path / f"crop/{path.stem}.{'jpg' if quality else 'png'}"
        crop.parent.mkdir(exist_ok=True)
        Image.fromarray(decode(path)[down : down + 180, across : across + 180]).save(crop, quality=quality or 75)
        crops.append(crop)
        places[crop.name] = (path.name, (down, across))
    found = {match.crop.name: (match.whole.name, match.offset) for match in find(crops, wholes)}
    assert found == places
    assert all((match.difference == 0) == (quality is None) and match.share == 1 for match in find(crops, wholes))


def test_other_images_are_not(wholes):
    half = len(wholes) // 2
    assert find(wholes[:half], wholes[half:]) == []
    assert find([], wholes) == [] and find(wholes, []) == []


def test_equal_images_without_anything_to_see_and_files_that_cannot_be_read(tmp_path):
    for name in ("a", "b"):
        save(tmp_path / f"{name}.png", np.full((40, 50, 3), 90, np.uint8))
    (tmp_path / "c.png").write_text("text")
    told = []
    (match,) = find([tmp_path / "a.png", tmp_path / "c.png"], [tmp_path / "b.png"], told.append)
    assert (match.whole.name, match.share, match.difference) == ("b.png", 1, 0)
    assert len(told) == 1 and "c.png: not an image" in told[0]
