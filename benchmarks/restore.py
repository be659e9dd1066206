"""Restore photographs of any size with a trained network.

python -m benchmarks.restore photo.jpg holiday/ --run results/runs/three_task/airnet/art/0-1234abcd
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.config.errors import UserError
from benchmarks.scoring import weights
from results.command import announce, command, leave


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        "python -m benchmarks.restore",
        description="Restore photographs of any size with a trained network; names and formats stay.",
    )
    result.add_argument("inputs", nargs="+", type=Path, metavar="IMAGE_OR_FOLDER", help="folders with all below them")
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
    return result


@command(parser, UserError, "interrupted; what was written is whole.")
def main(options: argparse.Namespace) -> int:
    """Run the command; returns the exit code, 1 if a file could not be restored (others: :mod:`results.command`)."""
    inputs = f"{options.inputs[0]}{' ...' * (len(options.inputs) > 1)}"
    announce(f"Restoring {inputs} with {options.run or options.checkpoint} into {options.output}.")
    from benchmarks.execution.restoration import RestorationRequest, restore_all

    summary = restore_all(RestorationRequest(**vars(options)))
    print(summary.text())
    for path, reason in summary.failed.items():
        print(f"not restored: {path}: {reason}", file=sys.stderr)
    return 1 if summary.failed else 0


if __name__ == "__main__":
    leave(main())
