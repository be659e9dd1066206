"""Measure what the suite's own parts cost: ratios in one process, interleaved, medians; a table and a CSV.

python -m benchmarks.speed                       # everything but the slow `grid`
python -m benchmarks.speed strategies step       # these kinds
python -m benchmarks.speed networks              # parameters, multiply-adds, step time, memory of every network
python -m benchmarks.speed gpu --seconds 480     # the GPU table, in one sitting
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.config.errors import UserError
from benchmarks.speed.timing import Measure
from results.command import announce, framed, leave

if TYPE_CHECKING:
    from results.records import Environment

GPU_ROWS = tuple(
    f"gpu {what}" for what in ("limits", "step", "memory", "data", "art", "many", "scoring", "logging", "checks")
)
KINDS = {
    "art": "training step with Art over mix, fixed batch",
    "strategies": "training step with each strategy over mix, fixed batch",
    "data": "training step with its data over one on a fixed batch",
    "loading": "patches a second, ours over the field's loader, one thread",
    "step": "training step, plain over ours",
    "deform_conv": "AirNet's step and its deformable convolution, one grid_sample a tap over ours",
    "limits": "operations a second over those of a matrix product",
    "logging": "share of rhythm and checkpoints in a training's time",
    "evaluation": "restoring and scoring, plain over ours",
    "memory": "peak memory of training, ours over plain",
    "commands": "seconds until a command answers",
    "grid": "the four runs of make run, one job over two",
    "scaling": "step time against tasks, batch and patch",
    "networks": "every network by itself",
    "gpu": "everything about a GPU, in one sitting; its rows are " + ", ".join(GPU_ROWS),
}
SLOW = ("grid", "networks", "gpu")
MET = {None: "", True: "yes", False: "no"}


def measures(kind: str, options: argparse.Namespace, folder: Path) -> Iterator[Measure]:
    """The measures of one kind.

    Args:
        kind: a key of :data:`KINDS`, but ``networks``.
        options: of the command.
        folder: for files of the measurement.
    """
    from benchmarks.execution import environment
    from benchmarks.speed import commands, gpu, limits, loading, scoring, steps, training

    device, rounds, root = environment.device(options.device), options.rounds, options.data_root
    half, third = max(rounds // 2, 3), max(rounds // 3, 3)

    def bench() -> steps.Bench:
        return steps.Bench(folder, device)

    scored = [("transweather", "tiny"), ("nafnet", "tiny"), ("transweather", "paper")]
    calls: dict[str, Callable[[], Iterator[Measure]]] = {
        "art": lambda: steps.art_over_mix(bench(), rounds),
        "strategies": lambda: steps.every_strategy(bench(), options.names, rounds),
        "data": lambda: loading.share(bench(), ["transweather", "nafnet"], 4 * rounds),
        "loading": lambda: loading.patches(bench(), root, 2 * rounds),
        "step": lambda: training.steps(device, half, threads=2),
        "deform_conv": lambda: training.deformable(half, threads=2),
        "limits": lambda: limits.shares(third, threads=2),
        "logging": lambda: training.logging_share(bench()),
        "evaluation": lambda: scoring.evaluations(bench(), scored, root, third, threads=2),
        "memory": lambda: training.memory(device),
        "commands": lambda: commands.answers(rounds),
        "grid": lambda: commands.grid(folder),
        "scaling": lambda: training.scaling(bench(), rounds),
        "gpu": lambda: gpu.measures(folder, device, options.seconds, rounds),
    }
    yield from calls[kind]()


def table(rows: Iterable[Measure]) -> str:
    """The measures as a Markdown table."""
    lines = ["| what | case | ratio | goal | met | medians |", "|---|---|--:|---|---|---|"]
    for row in rows:
        values = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in row.values.items())
        ratio, values = ("not measured", row.missing) if row.missing else (f"{row.ratio:.3g}", values)
        lines.append(f"| {row.what} | {row.case} | {ratio} | {row.goal} | {MET[row.met]} | {values} |")
    return "\n".join(lines)


def write_csv(rows: Sequence[Measure], path: Path, facts: Environment) -> None:
    """Add the measures to a CSV with versions and device, in place of older ones of the same kinds."""
    import pandas as pd

    from results import write_atomically

    fresh = pd.DataFrame(
        {
            "what": row.what,
            "case": row.case,
            "ratio": "not measured" if row.missing else f"{row.ratio:.4g}",
            "goal": row.goal,
            "met": MET[row.met],
            "medians": row.missing or "; ".join(f"{name}={value:.5g}" for name, value in row.values.items()),
            "rounds": row.rounds,
            "device": facts.device,
            "torch": facts.versions["torch"],
            "commit": facts.commit,
        }
        for row in rows
    )
    if path.exists():
        older = pd.read_csv(path, dtype=str, keep_default_na=False)
        fresh = pd.concat([older[~older["what"].isin(set(fresh["what"]))], fresh.astype(str)], ignore_index=True)
    fresh["what"] = pd.Categorical(fresh["what"], [*KINDS, *GPU_ROWS], ordered=True)
    fresh = fresh.sort_values("what", kind="stable")
    write_atomically(path, lambda temporary: fresh.to_csv(temporary, index=False, lineterminator="\n"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code (:mod:`results.command`)."""
    return framed(lambda: _main(arguments), UserError)


def _main(arguments: Sequence[str] | None) -> int:
    options, kinds = _parsed(arguments)
    announce(f"Measuring {', '.join(kinds)}.", beside=True)
    return _measure(kinds, options)


def _parsed(arguments: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """The options, and the kinds that they ask for."""
    listed = "\n".join(f"  {kind:12}  {about}" for kind, about in KINDS.items())
    parser = argparse.ArgumentParser(
        "python -m benchmarks.speed",
        description=(__doc__ or "").partition("\n")[0],
        epilog=f"kinds:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kinds", nargs="*", metavar="KIND", help="default: all but " + " and ".join(SLOW))
    parser.add_argument(
        "--rounds", type=int, default=15, help="of each way; some kinds take more or fewer (default: 15)"
    )
    parser.add_argument("--names", nargs="+", metavar="NAME", help="only these strategies, or networks")
    parser.add_argument(
        "--data-root", type=Path, help="loading, evaluation: measure on BSD400 and CBSD68 below this folder"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, ... (default: the fastest)")
    parser.add_argument(
        "--seconds", type=float, default=480.0, help="gpu: that the sitting may take; the rest is named (default: 480)"
    )
    parser.add_argument("--csv", type=Path, help="add the rows to this file (results/measured/speed-DEVICE.csv)")
    options = parser.parse_args(arguments)
    if unknown := [kind for kind in options.kinds if kind not in KINDS]:
        parser.error(f"no kind {', '.join(unknown)}; there are: {', '.join(KINDS)}")
    return options, options.kinds or [kind for kind in KINDS if kind not in SLOW]


def _measure(kinds: Sequence[str], options: argparse.Namespace) -> int:
    if "networks" in kinds:
        from benchmarks.speed import networks

        networks.main(options.names, options.device, options.csv)
        kinds = [kind for kind in kinds if kind != "networks"]
    rows: list[Measure] = []
    facts: Environment | None = None
    with tempfile.TemporaryDirectory() as folder:
        for kind in kinds:
            earlier = len(rows)
            for row in measures(kind, options, Path(folder)):
                found = f"not measured ({row.missing})" if row.missing else f"{row.ratio:.3f}"
                print(f"{row.what}: {row.case}: {found} {row.goal and f'({row.goal})'}", file=sys.stderr, flush=True)
                rows.append(row)
                if options.csv:
                    facts = facts or _facts(options.device)
                    write_csv(rows[earlier:], options.csv, facts)
    if rows:
        print(table(rows))
    return 0


def _facts(device_name: str) -> Environment:
    from benchmarks.execution import environment

    return environment.describe(environment.device(device_name))


if __name__ == "__main__":
    leave(main())
