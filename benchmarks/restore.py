"""Restore photographs of any size with a trained network, or compare several networks on them.

python -m benchmarks.restore photo.jpg holiday/ --run results/runs/three_task/airnet/art/0-1234abcd
python -m benchmarks.restore photo.jpg --compare results/runs/three_task/airnet/mix/0-* promptir=model.ckpt
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.config.errors import UserError
from benchmarks.scoring import weights
from results.command import announce, command, leave


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        "python -m benchmarks.restore",
        description="Restore photographs of any size with a trained network, names and formats stay; or show what "
        "several networks make of them on one sheet.",
    )
    result.add_argument("inputs", nargs="*", type=Path, metavar="IMAGE_OR_FOLDER", help="folders with all below them")
    weights.add_arguments(result)
    add = result.add_argument
    add("--output", type=Path, default=Path("restored"), metavar="DIR", help="default: restored")
    add("--overwrite", action="store_true", help="replace what an earlier call wrote; inputs are never replaced")
    add("--side-by-side", action="store_true", help="also NAME.side-by-side.png: before and after in one picture")
    add(
        "--tile",
        type=int,
        metavar="N",
        help="in tiles of at most N pixels (default: whole, tiles where memory is short)",
    )
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    group = result.add_argument_group(
        "several networks", "DIR/comparison.png and .pdf: the input, what each network makes of it and, where it is "
        "known, the clean picture side by side, with regions enlarged"
    )  # fmt: skip
    group.add_argument("--compare", nargs="+", metavar="NETWORK",
        help="run folders, or checkpoints as BASELINE=FILE; without pictures: on the test images of runs")  # fmt: skip
    group.add_argument("--clean", nargs="+", type=Path, metavar="IMAGE_OR_FOLDER",
        help="the clean pictures: a folder with the names of the inputs, or as many files in their order")  # fmt: skip
    group.add_argument("--crop", nargs="+", type=_region, metavar="X,Y,W,H",
        help="regions to enlarge, in pixels, up to four (default: two where the networks differ most)")  # fmt: skip
    return result


def _region(text: str) -> tuple[int, int, int, int]:
    try:
        x, y, width, height = map(int, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not X,Y,W,H, four whole numbers of pixels") from None
    return x, y, width, height


@command(parser, UserError, "interrupted; what was written is whole.")
def main(options: argparse.Namespace) -> int:
    """Run the command; returns the exit code, 1 if a file could not be restored (others: :mod:`results.command`)."""
    given = vars(options)
    inputs = f"{options.inputs[0]}{' ...' * (len(options.inputs) > 1)}" if options.inputs else ""
    if options.compare:
        announce(f"Comparing {len(options.compare)} networks on {inputs or 'their test images'}, in {options.output}.")
        alone = [name for name in ("run", "checkpoint", "baseline", "side_by_side") if given.pop(name)]
        if alone:
            raise UserError(f"--compare names the networks; leave out --{alone[0].replace('_', '-')}.")
        return _compare(given)
    if strange := [name for name in ("compare", "clean", "crop") if given.pop(name)]:
        raise UserError(f"--{strange[0]} belongs to --compare, which shows what several networks make of a picture.")
    if not inputs:
        raise UserError("name pictures or folders to restore.")
    announce(f"Restoring {inputs} with {options.run or options.checkpoint} into {options.output}.")
    from benchmarks.execution.restoration import RestorationRequest, restore_all

    summary = restore_all(RestorationRequest(**given))
    print(summary.text())
    return _failed(summary.failed)


def _compare(given: dict[str, Any]) -> int:
    """Draw sheet by sheet, with the pictures of one in memory, scaled to it."""
    from benchmarks.execution.comparison import KINDS, ROWS, Comparison, ComparisonRequest, places
    from benchmarks.scoring.regions import Region
    from reports.figures.comparison import draw, panel

    given["crop"] = [Region(*region) for region in given["crop"] or ()]
    given["clean"] = given["clean"] or []
    comparison = Comparison(ComparisonRequest(**given))
    rows = comparison.rows()
    written: list[Path] = []
    while panels := [panel(row.name, row.pictures, row.psnr, row.regions) for row in islice(rows, ROWS)]:
        paths = places(given["output"], len(written) // len(KINDS))
        has_clean = any(len(panel.wholes) > len(comparison.labels) + 1 for panel in panels)
        headings = [["Input"], *comparison.labels, *([["Clean"]] if has_clean else [])]
        scored = any(panel.scores for panel in panels)
        draw(panels, headings, f"PSNR by {comparison.protocol}; bold: the best network." if scored else "", paths)
        written += paths
    print(comparison.text(written))
    return _failed(comparison.summary.failed)


def _failed(failed: Mapping[Path, str]) -> int:
    for path, reason in failed.items():
        print(f"not restored: {path}: {reason}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    leave(main())
