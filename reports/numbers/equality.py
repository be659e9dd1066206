"""Only scores of equal images are compared: which runs were scored on others, and which images have no finite score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from reports.numbers.cohorts import Images, Outcome

TOLERANCE = {"psnr": 0.005, "ssim": 0.0005}
"""Scores of one degraded image that differ by less are the same: half of the last printed digit."""

NAMED = 3
"""Images that a sentence names."""

INFINITE, MISSING = "infinite", "missing"
"""Kinds of scores that are left out of every mean."""

Odd = dict[tuple[str, str], dict[str, list[str]]]


def compare(outcomes: Sequence[Outcome]) -> Odd:
    """Make the scores of these counted runs comparable, test set by test set.

    A run that was scored on other images than the newest one (other names, other pixels, other scores of the degraded
    input) has no score on that set, and :attr:`reports.numbers.cohorts.Outcome.apart` says why. An image whose score is
    infinite (restored without any error) or missing in one run is left out of the means of all.

    Returns:
        By ``(dataset, metric)`` the images that were left out: ``{INFINITE: names, MISSING: names}``.
    """
    newest = sorted(outcomes, key=lambda outcome: outcome.ended, reverse=True)
    for dataset in dict.fromkeys(name for outcome in outcomes for name, _ in outcome.images):
        there = [outcome for outcome in newest if any(name == dataset for name, _ in outcome.images)]
        for outcome in there[1:]:
            if told := _difference(_of(there[0], dataset), _of(outcome, dataset)):
                outcome.apart[dataset] = told
                for key in [key for key in outcome.images if key[0] == dataset]:
                    del outcome.images[key]
    return _left_out(outcomes)


def _of(outcome: Outcome, dataset: str) -> dict[str, Images]:
    """The run's scores on a test set, by metric."""
    return {metric: images for (name, metric), images in outcome.images.items() if name == dataset}


def _difference(newest: dict[str, Images], own: dict[str, Images]) -> str:
    """How the images differ, in words; empty where they are the same as far as the runs recorded them."""
    metrics = [metric for metric in own if metric in newest]
    if not metrics:
        return ""
    first, second = newest[metrics[0]], own[metrics[0]]
    if first.names is not second.names and set(first.names) != set(second.names):
        return f"scored on {len(set(second.names))} other images, the newest run on {len(set(first.names))}"
    different: set[str] = set()
    for metric in metrics:
        first, second = newest[metric], own[metric]
        if first.names is not second.names:
            if first.names.has_duplicates or second.names.has_duplicates:
                return "an image stands in it twice"
            second = _in_order(second, first)
        different |= set(first.names[_unequal(metric, first, second)])
    return f"{len(different)} of {len(first.names)} images differ: {named(sorted(different))}" if different else ""


def _in_order(images: Images, like: Images) -> Images:
    order = images.names.get_indexer(like.names)
    return images._replace(names=like.names, **{
        name: getattr(images, name)[order] for name in ("values", "inputs", "pixels")
    })  # fmt: skip


def _unequal(metric: str, first: Images, second: Images) -> np.ndarray:
    """(images,) bool: other pixels, where both recorded them, or another score of the degraded input."""
    pixels = (first.pixels != second.pixels) & (first.pixels != "") & (second.pixels != "")
    with np.errstate(invalid="ignore"):
        apart = np.abs(first.inputs - second.inputs) > TOLERANCE.get(metric, np.inf)
    return pixels | apart


def _left_out(outcomes: Sequence[Outcome]) -> Odd:
    found: Odd = {}
    for key in dict.fromkeys(key for outcome in outcomes for key in outcome.images):
        several = [outcome for outcome in outcomes if key in outcome.images]
        kinds: dict[str, set[str]] = {INFINITE: set(), MISSING: set()}
        for images in (outcome.images[key] for outcome in several):
            kinds[INFINITE] |= set(images.names[np.isinf(images.values)])
            kinds[MISSING] |= set(images.names[np.isnan(images.values)])
        odd = kinds[INFINITE] | kinds[MISSING]
        if not odd:
            continue
        found[key] = {kind: sorted(names) for kind, names in kinds.items() if names}
        for outcome in several:
            images = outcome.images[key]
            kept = ~images.names.isin(odd)
            outcome.images[key] = images._replace(names=outcome.shared(key[0], images.names[kept]), **{
                name: getattr(images, name)[kept] for name in ("values", "inputs", "pixels")
            })  # fmt: skip
    return found


def named(names: Sequence[str], limit: int = NAMED) -> str:
    """``a, b, c and 4 more``."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(map(str, names[:limit])) + more
