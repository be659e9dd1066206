"""What settings need and what sets are, in words."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from benchmarks.config.data_sets import DataSet, Layout, known
from benchmarks.config.settings import Setting, Task


def sets_of(setting: Setting, extra: bool = False) -> list[str]:
    """Names of a setting's training and test sets, each once; with ``extra`` also its further ones."""
    names = [*setting.train_sets, *setting.test_sets]
    if extra:
        names += setting.catalogue.further(setting.task_names)
    return list(dict.fromkeys(names))


def describe(settings: Sequence[Setting], everything: bool, given: Mapping[str, DataSet]) -> str:
    """The settings, then every set they need with counts, places, home page and licence, and those ``given``; or
    ``everything`` known."""
    found: dict[str, DataSet] = {}
    for setting in settings:
        sets = [setting.data_set(name) for name in sets_of(setting, extra=True)]
        sets += [setting.data_set(data_set.instead) for data_set in sets if data_set.instead]
        found |= {data_set.whole: setting.data_set(data_set.whole) for data_set in sets}
    found |= known().sets if everything else {}
    found |= given
    return "\n\n".join([*map(_setting, settings), *map(_set, found.values())])


def _setting(setting: Setting) -> str:
    length = setting.list_length
    head = f"{setting.name}: {setting.title}"
    facts = (
        f"  {len(setting.tasks)} tasks, {length:,} training samples, mixing {setting.mixing}, scores {setting.protocol}"
    )
    return "\n".join([head, f"  {setting.source}", facts, *(_task(setting, task) for task in setting.tasks)])


def _task(setting: Setting, task: Task) -> str:
    train = " + ".join(f"{name} ({setting.data_set(name).expected:,})" for name in task.train)
    times = f" x {task.repeats}" if task.repeats > 1 else ""
    tests = ", ".join(f"{test.name}{_count(setting.data_set(test.set))}" for test in task.test) or "not tested"
    return f"    {task.name:14}{train}{times}; test {tests}"


def _count(data_set: DataSet) -> str:
    return f" ({data_set.expected:,})" if data_set.expected else ""


def _set(data_set: DataSet) -> str:
    name = data_set.name
    count = f"{data_set.expected:,} samples" if data_set.expected else "any number of samples"
    lines = [f"{name}: {data_set.title or 'a set of your own'}", f"    {count}"]
    if data_set.task:
        lines[-1] += f"; a further test set of {data_set.task} (--set evaluate.extra={name})"
    if data_set.trains:
        lines[-1] += f"; a further training set of {data_set.trains} (--set data.extra={name})"
    if data_set.make:
        lines[-1] += f"; may stand in where a {data_set.make} set is missing (--missing synthesise)"
    if data_set.parts:
        parts = ", ".join(f"{part} {fields.expected:,}" for part, fields in data_set.parts.items())
        lines.append(f"    parts    {parts}")
    folders = [os.path.normpath(os.path.join(data_set.root, place)) for place in data_set.folders]
    lines.append(f"    folder   {' or '.join(f'{place}/' for place in folders)}")
    lines += [f"    files    {_layout(layout)}" for layout in data_set.layouts]
    if data_set.lists:
        lines.append(f"    list     {' or '.join(data_set.lists)}, in the folder or beside it (optional)")
    lines += [f"    home     {data_set.home}"] if data_set.home else []
    return "\n".join([*lines, *([f"    licence  {data_set.licence}"] if data_set.licence else [])])


def _layout(layout: Layout) -> str:
    where = f" (in {' or '.join(layout.folders)}, with other sets)" if layout.folders else ""
    if layout.input is None:
        return f"{layout.target}/*{where}".replace("./", "")
    return f"{layout.input}/* with {layout.target}/*{where}".replace("./*", "*")
