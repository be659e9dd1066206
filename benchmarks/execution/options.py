"""Options that several commands have alike; help needs no torch."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import art
import baselines
from benchmarks.config import data_sets, settings

OUTSIDE = "package.module:Class, which imports that module and so runs its code"


USUAL = {
    "--baselines": ["transweather", "airnet"],
    "--strategies": ["mix", "art"],
    "--seeds": [0],
    "--profile": "demo",
}
"""What options that name runs are where they are not given."""


def parser(command: str, description: str) -> argparse.ArgumentParser:
    """A command line whose help ends with everything that has a name."""
    plugins = baselines.plugins()  # listed without reading them, which would import their packages
    known = [
        f"  {name:16}{about.about}\n{'':18}{about.paper}"
        for name, about in ((name, baselines.describe(name)) for name in baselines.names() if name not in plugins)
    ]
    known += [f"  {name:16}from {point.dist.name if point.dist else point.value}" for name, point in plugins.items()]
    strategies = [
        f"  {name:16}{entry.about}{f' ({entry.source})' if entry.source else ''}"
        for name, entry in sorted(art.entries().items())
    ]
    lines = [
        f"baselines (your own: {OUTSIDE}; described in package/module.toml):",
        *known,
        "",
        f"strategies (with parameters: art:tau=1; your own: {OUTSIDE}; package.module:Class:a=b):",
    ]
    return argparse.ArgumentParser(
        f"python -m benchmarks.{command}",
        description=description,
        epilog="\n".join([*lines, *strategies]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_runs(
    parser: argparse.ArgumentParser, seeds: Sequence[int], about_seeds: str | None = None, continues: bool = False
) -> None:
    """Which runs there are: names, data, recipe; ``seeds`` by default; or runs that the command ``continues``."""
    add = parser.add_argument
    if continues:
        add("--continue", nargs="+", type=Path, default=[], metavar="RUN", dest="continued",
            help="train these finished runs on to more steps: --set train.steps=N; all else is theirs")  # fmt: skip
    add("--setting", required=not continues, help=f"one of: {', '.join(settings.names())}; or a file, mine.toml")
    add("--baselines", nargs="+", default=USUAL["--baselines"], metavar="NAME",
        help="names from below, package.module:Class, or: all")  # fmt: skip
    add("--strategies", nargs="+", default=USUAL["--strategies"], metavar="SPEC", help="or: all")
    add("--tasks", nargs="+", metavar="TASK", help="train on these tasks of the setting only (default: all)")
    add("--seeds", nargs="+", type=int, default=seeds, metavar="N", help=about_seeds)
    add(
        "--profile",
        choices=["demo", "paper"],
        default=USUAL["--profile"],
        help="minutes on a laptop, or the published schedule",
    )
    add("--size", choices=["tiny", "paper"], help="of the networks (default: tiny for demo, paper for paper)")
    add("--data-root", type=Path, metavar="DIR", help="real images in the published layouts; without it, embedded ones")
    data_sets.add_argument(parser)
    add("--missing", choices=["error", "synthesise"], default="error",
        help="where a real set is missing: stop, or degrade the real clean images that are there")  # fmt: skip
    add("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", dest="overrides",
        help="anything in the configuration, e.g. train.steps=200 evaluate.extra=Rain100H; "
        "of two for one key the later counts")  # fmt: skip
    add(
        "--output", type=Path, default=Path("results"), metavar="DIR", help="runs, reports and cache (default: results)"
    )


def add_place(parser: argparse.ArgumentParser) -> None:
    """Where runs are done, and where they are mirrored."""
    add = parser.add_argument
    add("--tracking-uri", metavar="URI", help="MLflow server or store (default: a SQLite file in the output), or none")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    add("--devices", metavar="N,N", help="several GPUs of this machine, by number: 0,2; runs are dealt over them")
    add("--jobs", type=int, metavar="N", help="runs at a time (default: the CPU cores, or 1 on a GPU)")
    add(
        "--cluster",
        metavar="tcp://HOST:PORT",
        help="run on the workers of a Dask scheduler instead of this machine; also tls://HOST:PORT",
    )
    add("--slurm", metavar="KEY=VALUE,...", help="run as jobs of Slurm: partition=gpu,gpus=1,hours=24; also account, "
        "qos, constraint, exclude, reservation, gres, cpus, memory (GB), at_once, interrupt=leave|cancel, "
        "executor=slurm|local|debug (benchmarks/CLUSTERS.md)")  # fmt: skip
    add("--dry-run", action="store_true", help="list what there is to do, its state and cost, and stop")
