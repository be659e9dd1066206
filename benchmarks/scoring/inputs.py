"""Scores of the degraded images, which no network changes: computed once a process, however many runs it scores."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.data.images import digest_of
from benchmarks.data.pools import TestPool
from benchmarks.scoring.fidelity import score
from benchmarks.scoring.metrics import Image

_known: dict[tuple[object, ...], Mapping[str, float]] = {}


def scores(
    pool: TestPool, number: int, digest: str, degraded: Image, clean: Image, protocol: str
) -> Mapping[str, float]:
    """PSNR and SSIM of a degraded image by a protocol.

    Args:
        pool, number: where it is from.
        digest: :func:`benchmarks.scoring.rows.pixels` of it.
        degraded, clean: :meth:`TestPool.pair` of it.
        protocol: a name for :func:`benchmarks.config.protocols.get`.
    """
    key = (*_origin(pool, number), digest, protocol)
    if key not in _known:
        _known[key] = score(degraded, clean, protocol)
    return _known[key]


def forget() -> None:
    """Forget all, as a new process has: for measurements."""
    _known.clear()


def _origin(pool: TestPool, number: int) -> tuple[object, ...]:
    """All that a degraded image is made from beside the pixels of its files."""
    if pool.partner(number) is not None:
        return ()
    kind, task = pool.degradation, pool.task
    depth = digest_of(pool.depth(number)) if kind.needs_depth else ""
    return task.degradation_at, task.severity, pool.severity, pool.dataset, pool.names[number], depth
