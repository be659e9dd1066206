"""What scoring tells of one image: its rows, and what is wrong with the output."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.data.images import digest_of, identity
from benchmarks.data.pools import TestPool
from benchmarks.scoring.metrics import Image
from results.records import Fault
from results.schema import SCORE_COLUMNS

FLAT = 0.1  # an output with less than this share of the clean image's spread counts as constant

Compute = Callable[[Image, Image], float]  # a metric of a restored and a clean image
Row = dict[str, str | float]  # of results.schema.SCORE_COLUMNS
Scored = tuple[Fault, list[Row]]


def rows_of(
    pool: TestPool,
    number: int,
    protocol: str,
    digest: str,
    after: Mapping[str, float],
    before: Mapping[str, float],
) -> list[Row]:
    """One row a metric.

    Args:
        pool, number: of the image.
        protocol: by which it was scored.
        digest: :func:`pixels` of it.
        after, before: by metric, of the restored and of the degraded image.
    """
    key = (pool.dataset, pool.task.name, pool.names[number], protocol)
    rows = [(*key, metric, value, before[metric], digest) for metric, value in after.items()]
    return [dict(zip(SCORE_COLUMNS, row, strict=True)) for row in rows]


def fault(finite: bool, spread: float, clean_spread: float) -> Fault:
    """Whether one output is not finite, or constant.

    Args:
        finite: whether all its pixels are.
        spread: standard deviation of its pixels, the mean over the channels.
        clean_spread: the clean image's.
    """
    if not finite:
        return Fault.NOT_FINITE
    return Fault.NONE if spread >= FLAT * clean_spread else Fault.COLLAPSED


def pixels(pool: TestPool, number: int) -> str:
    """A digest of a test image's pixels as the files hold them: of the clean image and of its degraded partner, if any.
    Synthetic degradations depend only on the names of the test set and the image."""
    images = (pool.clean[number], pool.partner(number))
    return identity(f"p{digest_of(image)}" for image in images if image is not None)
