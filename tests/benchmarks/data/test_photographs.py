"""The embedded test photographs: what they are, that they do not overlap, and what a missing file says."""

import numpy as np
import pytest

from benchmarks.data import photographs as module
from benchmarks.data.photographs import depth_of, photographs


def test_photographs_are_rgb_of_one_size_and_cannot_be_written_to():
    pictures = photographs()
    assert len(pictures) >= 8
    for name, picture in pictures.items():
        assert picture.shape == (256, 256, 3) and picture.dtype == np.uint8, name
        assert picture.std() > 20, name  # a picture, not an empty corner
        with pytest.raises(ValueError, match="read-only"):
            picture[0, 0] = 0


def test_crops_of_one_file_do_not_overlap():
    crops = list(module._CROPS.values())
    for index, a in enumerate(crops):
        for b in crops[index + 1 :]:
            apart = max(abs(a.top - b.top), abs(a.left - b.left))
            assert a.file != b.file or apart >= module.SIDE


def test_depth_spans_near_to_far_with_the_ground_in_front():
    for name in photographs():
        depth = depth_of(name)
        assert depth.shape == (256, 256) and depth.dtype == np.float32
        assert 0 <= depth.min() < 0.2 and depth.max() == pytest.approx(1, abs=1e-5)
        assert depth[:64].mean() > depth[-64:].mean(), name
    with pytest.raises(KeyError, match="chelsea"):
        depth_of("chelsee")


def test_a_missing_file_is_named():
    with pytest.raises(FileNotFoundError, match=r"nothing\.png.*reinstall scikit-image"):
        module._decode("nothing.png")
