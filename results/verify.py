"""Say whether an archive of runs, or an output folder, is whole, and whether its scores come out again.

python -m results.verify results/measured/NAME
python -m results.verify results/measured/NAME --weights DIR --rescore
python -m results.verify results/measured/NAME --settings mine.toml     # runs of a setting of one's own
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from results.above import Missing, Own, Remark, Sought, Unusable, above
from results.checks import Checked, check, weights_of
from results.command import announce, command, leave
from results.kept import KeptRun, sha256, weights_at
from results.records import State
from results.visible import visible

TOLERANCE = {"psnr": 0.01, "ssim": 0.001}
"""By how much a score of one image may differ when it is computed again, on another processor or GPU."""


class CannotVerify(ValueError):
    """There is nothing to look at; the message says why in one sentence."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        "python -m results.verify",
        description="Say whether archives of runs (results.archive), or output folders, are whole: digests, tables, "
        "configurations, strategies, test images, pairs with mix. Exit code 1 where one is not.",
        epilog=f"With --rescore every image must have its recorded score, within {TOLERANCE['psnr']:g} dB of PSNR and "
        f"{TOLERANCE['ssim']:g} of SSIM.",
    )
    add = result.add_argument
    add("folders", nargs="+", type=Path, metavar="FOLDER", help="such as results/measured/NAME, or results")
    add("--weights", type=Path, metavar="DIR", help="where the weights of an archive's runs lie: compare their digests")
    add(
        "--rescore",
        nargs="?",
        type=_count,
        const=0,
        metavar="N",
        help="score the weights again, of all runs that have some, or of N spread over them",
    )
    add(
        "--data-root",
        type=Path,
        metavar="DIR",
        help="the images of runs on files: compare their digests, or score on them",
    )
    add("--settings", nargs="+", type=Path, default=[], metavar="FILE",
        help="settings from outside that runs were made in: check tasks, test sets and identities too")  # fmt: skip
    add("--data-sets", nargs="+", type=Path, default=[], metavar="FILE",
        help="where sets from outside lie (benchmarks/DATA.md)")  # fmt: skip
    add("--trust", nargs="+", default=[], metavar="PACKAGE.MODULE:CLASS",
        help="for --rescore: networks from outside that may be imported, which runs their code")  # fmt: skip
    add("--device", default="auto", help="for --rescore: auto, cpu, cuda, cuda:N or mps")
    return result


def _count(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of runs")
    return int(text)


@command(parser, (CannotVerify, Missing, Unusable))
def main(options: argparse.Namespace) -> int:
    """Run the command; returns the exit code, 1 where a folder is not whole (others: :mod:`results.command`)."""
    announce(f"Looking at {', '.join(map(str, options.folders))}.", beside=True)
    for folder in options.folders:
        _check_place(folder)
    if options.weights and not options.weights.is_dir():
        raise CannotVerify(f"{options.weights} is not a folder; name the one that results.archive --weights wrote.")
    whole = [_verified(folder, options) for folder in options.folders]
    return 0 if all(whole) else 1


def _check_place(folder: Path) -> None:
    if folder.is_file():
        raise CannotVerify(
            f"{folder} is no folder; unpack it into a new one, such as by python -m zipfile -e {folder} NEW, and name "
            "that."
        )
    if not folder.is_dir():
        raise CannotVerify(f"{folder} is not there.")


def _verified(folder: Path, options: argparse.Namespace) -> bool:
    found = check(folder)
    if not found.runs and not found.problems:
        raise CannotVerify(f"{folder} holds neither an archive of runs nor an output folder with some.")
    if found.runs:
        own = Own(options.settings, options.data_sets, options.trust)
        _ask_above(found, own)
        _weights(found, options.weights)
        if options.rescore is not None:
            _rescore(found, options, own)
        elif options.data_root:
            _images(found, options.data_root, own)
    print(_text(found), flush=True)
    return not found.problems


def _ask_above(found: Checked, own: Own) -> None:
    try:
        knows = above("checking configurations, strategies and test images")
    except Missing as missing:
        found.notes.add(f"not checked: {missing}")
        return
    sought = [Sought(run, record, run.data) for run, record in found.runs]
    _say(found, sought, knows.remarks(sought, own))


def _weights(found: Checked, weights: Path | None) -> None:
    """Whether the weights that an archive knows are those of its digests."""
    kept = [run for run, _ in found.runs if isinstance(run, KeptRun) and run.entry.weights]
    if weights is None:
        if kept:
            found.notes.add(f"the weights of {len(kept)} runs are kept elsewhere: name their folder by --weights")
        return
    for run in kept:
        recorded, path = run.entry.weights, weights_at(weights, run.entry.folder)
        if not path.is_file():
            found.problems.add(f"weights that are not in {weights}", found.name(run))
        elif not path.resolve().is_relative_to(weights.resolve()):
            found.problems.add(f"weights that are links out of {weights}", found.name(run))
        elif recorded and sha256(path) != recorded.sha256:
            found.problems.add("weights that are not those of the digest in the archive", found.name(run))


def _images(found: Checked, data_root: Path, own: Own) -> None:
    sought = [Sought(run, record, run.data) for run, record in found.ended]
    with tempfile.TemporaryDirectory() as cache:
        _say(found, sought, above("--data-root").images(sought, data_root, Path(cache), own))


def _say(found: Checked, sought: Sequence[Sought], remarks: Sequence[tuple[int, Remark]]) -> None:
    for place, remark in remarks:
        (found.problems if remark.problem else found.notes).add(remark.text, found.name(sought[place].run))


def _rescore(found: Checked, options: argparse.Namespace, own: Own) -> None:
    """Score again what has weights, unless something is wrong already: a stranger's file is opened whole or not."""
    if found.problems:
        found.notes.add("not scored again, because of the problems above")
        return
    sought = [
        Sought(run, record, run.data, path)
        for run, record in found.ended
        if (path := weights_of(run, options.weights)) is not None
    ]
    if not sought:
        raise CannotVerify(
            f"no run in {found.folder} has weights to be scored again; an archive's are where results.archive "
            "--weights wrote them."
        )
    if missing := len(found.ended) - len(sought):
        found.notes.add(f"not scored again: {missing} runs without weights")
    wanted = options.rescore or len(sought)
    if wanted < len(sought):
        found.notes.add(f"chosen to be scored again: {wanted} of the {len(sought)} runs that have weights")
        sought = [sought[place * len(sought) // wanted] for place in range(wanted)]
    knows = above("--rescore")
    with tempfile.TemporaryDirectory() as cache:
        done = knows.rescore(sought, options.data_root, Path(cache), options.device, TOLERANCE, own)
    _say(found, sought, done.remarks)
    if done.done:
        runs = f"{done.done} run{'s' * (done.done != 1)}"
        found.notes.add(f"scored again: {runs}; every image as recorded, to {done.psnr:.1g} dB and {done.ssim:.1g}")
    elif not found.problems:
        found.notes.add("no run was scored again")


def _text(found: Checked) -> str:
    """What was found, for a terminal."""
    settings = Counter(record.config.setting for _, record in found.runs)
    parts = [f"{count} run{'s' * (count != 1)} of {visible(setting)}" for setting, count in settings.items()]
    what = ", ".join(parts) or "nothing that can be read"
    states = Counter(run.status.state for run, _ in found.runs)
    counted = ", ".join(f"{count} {state}" for state, count in states.items() if state != State.DONE)
    lines = [f"{visible(found.folder)}: {what}{f' ({counted})' * bool(counted)}."]
    lines += [f"  problem: {line}" for line in found.problems.told(len(found.runs))]
    lines += [f"  note: {line}" for line in found.notes.told(len(found.runs))]
    kind = "archive" if found.kept else "output folder"
    problems = len(found.problems.lines)
    lines.append(
        f"  This {kind} has {problems} problem{'s' * (problems != 1)}." if problems else f"  This {kind} is whole."
    )
    return "\n".join(lines)


if __name__ == "__main__":
    leave(main())
