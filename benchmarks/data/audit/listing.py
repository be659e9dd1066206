"""What settings need and what sets are, in words."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.config import data_sets, settings
from benchmarks.config.settings import Setting, Task


def sets_of(setting: Setting, extra: bool = False) -> list[str]:
    """Names of a setting's training and test sets, each once; with ``extra`` also its further ones."""
    names = [*setting.train_sets, *setting.test_sets]
    if extra:
        names += data_sets.further(setting.task_names)
    return list(dict.fromkeys(names))


def describe(names: Iterable[str]) -> str:
    """The settings of those names, then every set they need with counts, places, home page and licence; of all
    settings, every set that is known."""
    loaded = [settings.load(name) for name in names]
    blocks = [_setting(setting) for setting in loaded]
    wanted = [name for setting in loaded for name in sets_of(setting, extra=True)]
    wanted += [instead for name in wanted if (instead := data_sets.get(name).instead)]
    if len(loaded) == len(settings.names()):
        wanted += data_sets.known()
    sets = dict.fromkeys(name.partition(":")[0] for name in wanted)
    return "\n\n".join([*blocks, *(_set(name) for name in sets)])


def _setting(setting: Setting) -> str:
    length = setting.list_length
    head = f"{setting.name}: {setting.title}"
    facts = (
        f"  {len(setting.tasks)} tasks, {length:,} training samples, mixing {setting.mixing}, scores {setting.protocol}"
    )
    return "\n".join([head, f"  {setting.source}", facts, *(_task(task) for task in setting.tasks)])


def _task(task: Task) -> str:
    train = " + ".join(f"{name} ({data_sets.get(name).expected:,})" for name in task.train)
    times = f" x {task.repeats}" if task.repeats > 1 else ""
    tests = ", ".join(f"{test.name} ({data_sets.get(test.set).expected:,})" for test in task.test) or "not tested"
    return f"    {task.name:14}{train}{times}; test {tests}"


def _set(name: str) -> str:
    data_set = data_sets.get(name)
    lines = [f"{name}: {data_set.title}", f"    {data_set.expected:,} samples"]
    if data_set.task:
        lines[-1] += f"; a further test set of {data_set.task} (--set evaluate.extra={name})"
    if data_set.trains:
        lines[-1] += f"; a further training set of {data_set.trains} (--set data.extra={name})"
    if data_set.make:
        lines[-1] += f"; may stand in where a {data_set.make} set is missing (--missing synthesise)"
    if data_set.parts:
        parts = ", ".join(f"{part} {fields.expected:,}" for part, fields in data_set.parts.items())
        lines.append(f"    parts    {parts}")
    lines.append(f"    folder   {' or '.join(f'{place}/' for place in data_set.folders)}")
    lines += [f"    files    {_layout(layout)}" for layout in data_set.layouts]
    if data_set.lists:
        lines.append(f"    list     {' or '.join(data_set.lists)}, in the folder or beside it (optional)")
    return "\n".join([*lines, f"    home     {data_set.home}", f"    licence  {data_set.licence}"])


def _layout(layout: data_sets.Layout) -> str:
    where = f" (in {' or '.join(layout.folders)}, with other sets)" if layout.folders else ""
    if layout.input is None:
        return f"{layout.target}/*{where}".replace("./", "")
    return f"{layout.input}/* with {layout.target}/*{where}".replace("./*", "*")
