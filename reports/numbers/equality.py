"""Only scores of equal images are compared: which runs were scored on others, and which images have no finite score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reports.numbers.model import LeftOut
from reports.numbers.outcome import Images, Outcome
from reports.numbers.words import listed

TOLERANCE = {"psnr": 0.005, "ssim": 0.0005}
"""Scores of one degraded image that differ by less are the same: half of the last printed digit."""

INFINITE, MISSING = "infinite", "missing"
"""Kinds of scores that are left out of every mean."""


def compare(outcomes: Sequence[Outcome]) -> LeftOut:
    """Make the scores of these counted runs comparable, test set by test set.

    A run that was scored on other images than the newest one (other names, other pixels, other scores of the degraded
    input) has no score on that set, and :attr:`reports.numbers.outcome.Outcome.apart` says why. An image whose score is
    infinite (restored without any error) or missing in one run is left out of the means of all.

    Returns:
        By ``(dataset, metric)`` the images that were left out: ``{INFINITE: names, MISSING: names}``.
    """
    newest = sorted(outcomes, key=lambda outcome: outcome.ended, reverse=True)
    for dataset in dict.fromkeys(name for outcome in outcomes for name, _ in outcome.images):
        scored = [outcome for outcome in newest if any(name == dataset for name, _ in outcome.images)]
        for outcome in scored[1:]:
            if difference := _difference(_of(scored[0], dataset), _of(outcome, dataset)):
                outcome.apart[dataset] = difference
                for key in [key for key in outcome.images if key[0] == dataset]:
                    del outcome.images[key]
    return _left_out(outcomes)


def _of(outcome: Outcome, dataset: str) -> dict[str, Images]:
    """The run's scores on a test set, by metric."""
    return {metric: images for (name, metric), images in outcome.images.items() if name == dataset}


def _difference(newest: dict[str, Images], older: dict[str, Images]) -> str:
    """How the images differ, in words; empty where they are the same as far as the runs recorded them."""
    metrics = [metric for metric in older if metric in newest]
    if not metrics:
        return ""
    first, second = newest[metrics[0]], older[metrics[0]]
    if first.names is not second.names and set(first.names) != set(second.names):
        return f"scored on {len(set(second.names))} other images, the newest run on {len(set(first.names))}"
    different: set[str] = set()
    for metric in metrics:
        first, second = newest[metric], older[metric]
        if first.names is not second.names:
            if first.names.has_duplicates or second.names.has_duplicates:
                return "an image stands in it twice"
            second = second.only(first.names, second.names.get_indexer(first.names))
        different |= set(first.names[_unequal(metric, first, second)])
    return f"{len(different)} of {len(first.names)} images differ: {listed(sorted(different))}" if different else ""


def _unequal(metric: str, first: Images, second: Images) -> NDArray[np.bool_]:
    """(images,) bool: other pixels, where both recorded them, or another score of the degraded input."""
    pixels = (first.pixels != second.pixels) & (first.pixels != "") & (second.pixels != "")
    with np.errstate(invalid="ignore"):
        apart = np.abs(first.inputs - second.inputs) > TOLERANCE.get(metric, np.inf)
    return pixels | apart


def _left_out(outcomes: Sequence[Outcome]) -> LeftOut:
    found: LeftOut = {}
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
            finite = ~images.names.isin(odd)
            outcome.images[key] = images.only(outcome.shared(key[0], images.names[finite]), finite)
    return found
