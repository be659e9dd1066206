"""Data sets: what a setting needs, whether it is there and sound, and what it looks like.

python -m benchmarks.data list
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.config import data_sets, settings
from benchmarks.config.data_sets import Catalogue, DataSet, known
from benchmarks.config.errors import UserError, tell_notes
from benchmarks.config.settings import Setting
from results.command import announce, command, leave

if TYPE_CHECKING:
    from benchmarks.data.audit.check import Report


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser("python -m benchmarks.data", description=(__doc__ or "").split("\n")[0])
    subparsers = result.add_subparsers(required=True, metavar="COMMAND")

    def subcommand(
        name: str, about: str, run: Callable[[argparse.Namespace], int], root: str, doing: str = ""
    ) -> argparse.ArgumentParser:
        """``root``: whether --data-root is ``needed``, ``optional``, ``made`` where it is not, not needed for ``files``
        that lie elsewhere, or no option; ``doing``: said first."""
        added = subparsers.add_parser(name, help=about, description=about)
        added.add_argument(
            "--setting", metavar="NAME", help=f"one of: {', '.join(settings.names())}, or a file (default: all)"
        )
        if root != "made":
            data_sets.add_argument(added)
        if root:
            where = "the folder that the data sets lie in" + ("; without it, embedded data" * (root == "optional"))
            added.add_argument("--data-root", type=Path, metavar="DIR", required=root == "needed", help=where)
        added.set_defaults(run=run, doing=doing)
        return added

    subcommand("list", "Settings, the sets they need, how many images, where from, and under which licence.", _list, "")
    check = subcommand(
        "check", "Decode every file and report every defect by name.", _check, "files", "Checking every file below"
    )
    check.add_argument("--all", action="store_true", help="list all problems, not the first ten of a set")
    leaks = subcommand("leaks", "Find test images that are training images, or crops of them.", _leaks, "needed",
        "Comparing test with training images below")  # fmt: skip
    leaks.add_argument("--csv", type=Path, metavar="FILE", help="write the findings there")
    cache = subcommand("cache", "Decode images once, for all runs.", _cache, "needed", "Decoding images below")
    show = subcommand("show", "A contact sheet: clean, degraded, difference for every task.", _show, "optional",
        "Drawing a sheet of")  # fmt: skip
    show.add_argument("--train", action="store_true", help="training images instead of test images")
    show.add_argument("--images", type=int, default=2, metavar="N", help="images a task (default: 2)")
    show.add_argument("--missing", choices=["error", "synthesise"], default="error",
        help="where a real set is missing: stop, or degrade the real clean images that are there")  # fmt: skip
    show.add_argument("--file", type=Path, metavar="FILE", help="the PNG (default: OUTPUT/sheets/SETTING.png)")
    about = "Fetch sets that lie complete in public repositories, every file by its SHA-256."
    fetch = subcommand("fetch", about, _fetch, "made")
    fetch.add_argument(
        "names", nargs="*", metavar="SET", help="which sets; without any, and without --setting: list them"
    )
    fetch.add_argument("--mirror", action="append", default=[], metavar="URL", dest="mirrors",
        help="asked first: a server with the files as in DIR, such as python -m http.server in another's")  # fmt: skip
    for added in (cache, show):
        added.add_argument("--output", type=Path, default=Path("results"), metavar="DIR",
            help="holds the cache of decoded images (default: results)")  # fmt: skip
    return result


@command(parser, UserError)
def main(options: argparse.Namespace) -> int:
    """Run the command; returns the exit code, 1 if data are missing, defective or leaked (others:
    :mod:`results.command`)."""
    given = options.given = data_sets.read(getattr(options, "data_sets", ()))
    if options.setting:
        settings.load(options.setting, given)
    if getattr(options, "data_root", None) and options.run is not _fetch:
        from benchmarks.data.locating import data_root

        data_root(options.data_root)
    if options.doing:
        where = "where they say that they lie" if given and options.run is _check else "the embedded data"
        announce(f"{options.doing} {options.data_root or where}.", beside=True)
    return options.run(options)


def _settings(options: argparse.Namespace) -> list[Setting]:
    names = [options.setting] if options.setting else settings.names()
    return [settings.load(name, options.given) for name in names]


def _sets(options: argparse.Namespace) -> dict[str, DataSet]:
    """The sets that the settings need, by name."""
    from benchmarks.data.audit.listing import sets_of

    return {name: setting.data_set(name) for setting in _settings(options) for name in sets_of(setting)}


def _list(options: argparse.Namespace) -> int:
    from benchmarks.data.audit.listing import describe

    print(describe(_settings(options), everything=not options.setting, given=options.given))
    return 0


def _fetch(options: argparse.Namespace) -> int:
    from benchmarks.data.fetch.request import FetchRequest, fetch, listing

    setting = settings.load(options.setting) if options.setting else None
    if setting is None and not options.names:
        print(listing(known()))
        return 0
    if options.data_root is None:
        raise UserError("--data-root missing: name the folder that the sets are to lie in.")
    catalogue = setting.catalogue if setting else known()
    return int(not fetch(FetchRequest(options.names, setting, options.data_root, options.mirrors, catalogue)))


def _check(options: argparse.Namespace) -> int:
    from benchmarks.data import layouts
    from benchmarks.data.audit.check import check

    if options.data_root is None:
        return _check_given(options)
    loaded, sets = _settings(options), _sets(options)
    catalogue = Catalogue({name: data_set for setting in loaded for name, data_set in setting.catalogue.sets.items()})
    tasks = {task for setting in loaded for task in setting.task_names}
    # further sets, what may stand in, and without a setting whatever else is known, as far as it is there
    further = [data_set.instead for data_set in sets.values() if data_set.instead]
    further += catalogue.further(tasks) if options.setting else catalogue.sets
    sets |= {name: catalogue.get(name) for name in _given_names(options)}
    wholes = {data_set.whole for data_set in sets.values()}
    found = [name for name in further if name not in wholes and layouts.locate(catalogue.get(name), options.data_root)]
    return _checked(check(dict.fromkeys([*sets, *found]), catalogue, options.data_root, _least(loaded)), options)


def _checked(reports: Sequence[Report], options: argparse.Namespace) -> int:
    from benchmarks.data.audit.check import text

    print(text(reports, options.all))
    return int(any(report.state != "complete" for report in reports))


def _check_given(options: argparse.Namespace) -> int:
    """Without a data root: the sets that the user brings along and that lie in folders of their own."""
    from benchmarks.data.audit.check import check

    sets: dict[str, DataSet] = options.given
    below = [name for name, data_set in sets.items() if not data_set.root]
    if below or not sets:
        absolute = "; or give their folders in --data-sets as absolute paths" if below else ""
        raise UserError(f"--data-root missing: below it {' and '.join(below) or 'the sets'} should lie{absolute}.")
    loaded = [settings.load(options.setting, options.given)] if options.setting else []
    catalogue = Catalogue({**known().sets, **options.given})
    return _checked(check(_given_names(options), catalogue, None, _least(loaded)), options)


def _given_names(options: argparse.Namespace) -> list[str]:
    """The sets, or all parts of them, that the user brings along."""
    sets: dict[str, DataSet] = options.given
    parts = {name: [f"{name}:{part}" for part in data_set.parts] for name, data_set in sets.items()}
    return [one for name, several in parts.items() for one in several or [name]]


def _least(loaded: Iterable[Setting]) -> dict[str, tuple[int, str]]:
    """By test set: how many pixels a side its images need, and for which protocol."""
    from benchmarks.config import protocols

    found: dict[str, tuple[int, str]] = {}
    for setting in loaded:
        need = protocols.get(setting.protocol).smallest, setting.protocol
        for name in (*setting.test_sets, *setting.catalogue.further(setting.task_names, trains=False)):
            found[name] = max(need, found.get(name, need))
    return found


def _leaks(options: argparse.Namespace) -> int:
    from benchmarks.data.audit import leaks

    def tell(problem: str) -> None:
        print(f"not read: {problem}", file=sys.stderr)

    found, tests, trains = leaks.search(options.data_root, _settings(options), tell)
    print(leaks.text(found, tests, trains))
    if options.csv:
        leaks.write(found, options.csv)
    return int(bool(found))


def _cache(options: argparse.Namespace) -> int:
    from benchmarks.data import layouts
    from benchmarks.data.sources import open_set

    trains = {name for setting in _settings(options) for name in setting.train_sets}
    problems = []
    for name, data_set in _sets(options).items():
        located = layouts.locate(data_set, options.data_root)
        if located is None or not located.pairs:
            print(f"{name}: not there")
            problems += located.problems if located else ()
            continue
        opened = open_set(located, options.output / "cache", name in trains)
        problems += opened.problems
        tell_notes(opened.notes)
        paired = opened.inputs is not None
        for title, images in (("targets" if paired else "images", opened.targets), ("inputs", opened.inputs)):
            if images is not None and not opened.problems:
                how = "are decoded when asked for" if images.streams else "cached"
                print(f"{name}: {len(set(images.paths)):,} {title}, {images.bytes / 2**20:,.0f} MiB decoded, {how}")
    if problems:
        raise UserError("these files cannot be used:", problems)
    return 0


def _show(options: argparse.Namespace) -> int:
    from benchmarks.config.sections import DataConfig
    from benchmarks.data import sources
    from benchmarks.data.audit.sheet import write

    data = DataConfig()
    if options.data_root:
        data = DataConfig(source="files", root=str(options.data_root.resolve()), missing=options.missing)
    for setting in _settings(options):
        prepared = sources.prepare(setting, data, (), options.output / "cache")
        tell_notes(prepared.notes)
        path = options.file or options.output / "sheets" / f"{setting.name}{'-train' if options.train else ''}.png"
        write(prepared, path, images=options.images, train=options.train)
        print(path)
    return 0


if __name__ == "__main__":
    leave(main())
