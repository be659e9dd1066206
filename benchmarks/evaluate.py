"""Score a checkpoint, published or of a run, on a setting's test sets, the published figures beside.

python -m benchmarks.evaluate --baseline promptir --checkpoint model.ckpt --setting three_task --data-root DIR
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.config import data_sets, settings
from benchmarks.config.errors import UserError
from benchmarks.scoring import weights
from results.command import announce, command, leave


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        "python -m benchmarks.evaluate",
        description="Score a checkpoint, published or of a run, on a setting's test sets, with the published figures.",
    )
    weights.add_arguments(result)
    add = result.add_argument
    add("--setting", help=f"one of: {', '.join(settings.names())}, or a file (default: that of the run)")
    add("--data-root", type=Path, metavar="DIR",
        help="real images in the published layouts (default: the run's data, or embedded photographs)")  # fmt: skip
    data_sets.add_argument(result)
    add("--missing", choices=["error", "synthesise"], default="error",
        help="where a real test set is missing: stop, or degrade the real clean images that are there")  # fmt: skip
    add("--protocol", help="how scores are computed (default: the setting's)")
    add("--metrics", nargs="+", default=[], metavar="NAME", help="further metrics of pyiqa, e.g. fsim vif gmsd")
    add("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", dest="overrides",
        help="of the configuration's evaluate section, e.g. evaluate.extra=Rain100H")  # fmt: skip
    add("--output", type=Path, default=Path("results"), metavar="DIR", help="default: results")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    return result


@command(parser, UserError, "interrupted; there are no scores.")
def main(options: argparse.Namespace) -> int:
    """Run the command; returns the exit code (:mod:`results.command`)."""
    announce(f"Scoring {options.run or options.checkpoint} on {options.setting or 'the test sets of its run'}.")
    from benchmarks.execution.evaluation import EvaluationRequest, evaluate_checkpoint
    from reports.formats.scorecard import scorecard_page, scorecard_text
    from reports.numbers.scorecard import scorecard
    from results import write_atomically, write_text

    done = evaluate_checkpoint(EvaluationRequest(**vars(options)))
    card = scorecard(done.evaluated, done.scores)
    write_atomically(done.folder / "table.md", lambda path: write_text(path, scorecard_page(card)))
    print(f"{scorecard_text(card)}\nWritten to {done.folder}: table.md, scores.csv, samples, and what they are from.\n")
    return 0


if __name__ == "__main__":
    leave(main())
