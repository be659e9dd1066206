"""What stands above every table: where its numbers come from, so that it can be read apart from the project."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath

from reports.numbers.joined import parts_of
from reports.numbers.model import Cohort
from reports.numbers.outcome import Outcome
from reports.numbers.words import listed, plural
from results.kept import KeptRun
from results.records import Origin, Role, passes, varied
from results.together import digests, machines

TRAINING = (
    ("steps", "{} steps"),
    ("batch", "batch {}"),
    ("patch", "patch {}"),
    ("optimizer", "{}"),
    ("lr", "learning rate {:g}"),
    ("schedule", "schedule {}"),
    ("precision", "{}"),
    ("clip_norm", "gradient norm clipped at {:g}"),
    ("clip_percentile", "gradients clipped at percentile {:g} of their norms"),
)
"""Training settings in the header, where the configuration has them."""

DATA = {
    "embedded": "embedded: procedural training images, photographs of scikit-image as test images, made degradations",
    "files": "files in the published layouts",
}


def title(cohort: Cohort) -> str:
    """The setting in words and by name."""
    return cohort.title if cohort.title == cohort.setting else f"{cohort.title} ({cohort.setting})"


def context(cohort: Cohort) -> str:
    """What a reader of a figure must know about the numbers: ``tiny network, demo profile, embedded data``."""
    config = cohort.config
    source = {"embedded": "embedded data", "files": f"images of {_sets(cohort)}"}.get(config.data.source or "", "data")
    return f"{config.size} network, {config.profile} profile, {source}"


def _sets(cohort: Cohort) -> str:
    """The sets of files that were trained on."""
    records = [record for outcome in cohort.outcomes for record in outcome.data]
    names = dict.fromkeys(record.dataset for record in records if record.role == Role.TRAIN and record.found)
    return listed(list(names)) if names else "files"


def facts(cohort: Cohort) -> list[tuple[str, str]]:
    """``(label, value)`` lines; where runs differ, each value stands with its baselines."""
    config = cohort.config
    source = DATA.get(config.data.source or "", "not recorded")
    if config.data.missing == "synthesise":
        source += "; missing sets synthesised from clean images"
    longest = max(cohort.outcomes, key=lambda outcome: len(outcome.record.overrides))
    apart = [text for text in varied(longest.record.overrides) if text not in longest.common]
    overrides = [text for text in longest.record.overrides if text not in apart]
    lines = [
        ("setting", title(cohort)),
        ("data", source),
        ("networks", f"size {config.size or 'not recorded'}"),
        ("profile", config.profile or "not recorded"),
    ]
    if overrides:
        lines.append(("changed", ", ".join(overrides)))
    lines += [("training", text) for text in _by_baseline(cohort, _training)]
    lines += [("start", text) for text in _by_baseline(cohort, start) if text]
    lines += [("terms", text) for text in _terms(cohort)]
    lines += [("mixing", text) for text in _by_baseline(cohort, _mixing)]
    lines += [("epochs", text) for text in _by_baseline(cohort, _epochs) if text]
    lines.append(("scores", f"protocol {cohort.protocol}; mean over images, then over test sets"))
    lines += [("weights", text) for text in _by_baseline(cohort, _selection)]
    lines.append(("seeds", ", ".join(str(seed) for seed in sorted({o.seed for o in cohort.counted()})) or "none"))
    lines += [(label, text) for label in ("commit", "device") for text in _environment(cohort, label)]
    lines += [("trained on", text) for text in _by_baseline(cohort, _train_sets)]
    lines.append(("test sets", "; ".join(_test_sets(cohort)) or "none scored"))
    return lines + _archives(cohort)


def _training(outcome: Outcome) -> str:
    values = {key: outcome.config.recipe.get(key) for key, _ in TRAINING}
    return ", ".join(template.format(values[key]) for key, template in TRAINING if values[key]) or "not recorded"


def _terms(cohort: Cohort) -> list[str]:
    """What rows were given apart from the recipe: steps by cost, parameters and rate that a search found, one task."""
    found: dict[str, set[str]] = {}
    for outcome in cohort.counted():
        terms, train = outcome.config.terms, outcome.config.train
        single = outcome.strategy.startswith("single")
        parts = [
            f"{outcome.config.strategy}, learning rate {train.lr:g}, best of {_counted(terms.trials, 'trial')}"
            * bool(terms.tuned),
            "one network for each task" * single,
            _steps(outcome) * bool(terms.steps),
            f"each costing {terms.ratio:g} of mix's" * (terms.budget == "cost"),
        ]
        if words := ", ".join(filter(None, parts)):
            found.setdefault(f"{outcome.display}, {outcome.strategy}", set()).add(words)
    return [f"{name}: {' or '.join(sorted(words))}" for name, words in found.items()]


def _steps(outcome: Outcome) -> str:
    """The steps of a row; of networks of one task each, the steps of every task where they differ."""
    parts = [part.config for part in parts_of(outcome)]
    counts = {config.terms.task: config.train.steps or 0 for config in parts}
    if len(set(counts.values())) == 1:
        return _counted(next(iter(counts.values())), "step")
    return f"steps: {', '.join(f'{task} {steps}' for task, steps in counts.items())}"


def start(outcome: Outcome) -> str:
    """Where a training began that did not begin with fresh weights; empty for one that did."""
    train, origin = outcome.config.train, outcome.config.origin
    if origin.run:
        more = f"up to {train.steps}, by the schedule of {train.steps} steps from there on" if train.steps else "on"
        return f"trained on from the end of a finished run, after step {origin.step}, {more}"
    return f"from the weights {train.weights} ({PurePath(train.init).name})" if train.weights else ""


def _counted(count: int, noun: str) -> str:
    return f"{count} {plural(count, noun)}"


def _mixing(outcome: Outcome) -> str:
    return outcome.config.data.mixing or "not recorded"


def _epochs(outcome: Outcome) -> str:
    epochs, terms = outcome.record.epochs, outcome.config.terms
    if not epochs or terms.steps or terms.task:  # rows of other steps, whose terms say so
        return ""
    return f"{passes(epochs)} (expected passes over each task's training images)"


def _selection(outcome: Outcome) -> str:
    average = outcome.config.train.ema
    return f"after the last step, {f'exponential moving average (decay {average:g})' if average else 'no average'}"


def _by_baseline(cohort: Cohort, describe: Callable[[Outcome], str]) -> list[str]:
    """One line where all baselines agree, otherwise one a text with its baselines in front; of some rows there may be
    nothing to say."""
    texts: dict[str, list[str]] = {}
    for outcome in cohort.counted() or cohort.outcomes:
        names = texts.setdefault(describe(outcome), [])
        if outcome.display not in names:
            names.append(outcome.display)
    everyone = {name for names in texts.values() for name in names}
    filled = {text: names for text, names in texts.items() if text}
    if len(filled) == 1 and everyone == {name for names in filled.values() for name in names}:
        return list(filled)
    return [f"{', '.join(names)}: {text}" for text, names in filled.items()]


def _environment(cohort: Cohort, label: str) -> list[str]:
    values = sorted({getattr(outcome.environment, label) or "" for outcome in cohort.counted()} - {""})
    if not values:
        return []
    text = ", ".join(values)
    return [f"{text} (the runs are from {len(values)} commits)" if label == "commit" and len(values) > 1 else text]


def _archives(cohort: Cohort) -> list[tuple[str, str]]:
    """Which archives the runs are from, where there are several, and the digests of their images."""
    parts = [part for outcome in cohort.outcomes for part in parts_of(outcome)]
    runs = [part.run for part in parts if isinstance(part.run, KeptRun) and part.run.origin]
    if not runs:
        return []
    return [("archive", text) for text in machines(runs)] + [("images", "; ".join(digests(runs)))]


def _train_sets(outcome: Outcome) -> str:
    """Every training set once: how many images, and whether they are what the set's name says."""
    sets: dict[str, str] = {}
    for record in outcome.data:
        if record.role == Role.TRAIN:
            found, expected = record.found, record.expected
            count = f"{found} of {expected}" if record.partial else f"{found} images"
            kinds: dict[str, str] = {
                Origin.SYNTHESISED: f"synthesised from {found} clean images",
                Origin.ABSENT: f"absent, 0 of {expected}",
            }
            count += f", each {record.repeats} times" if record.repeats else ""
            sets[record.dataset] = kinds.get(record.origin, count)
    return "; ".join(f"{name} ({kind})" for name, kind in sets.items()) or "not recorded"


def _test_sets(cohort: Cohort) -> list[str]:
    texts: list[str] = []
    same = len({column.mark for column in cohort.columns}) == 1  # the data line says it already
    for column in cohort.columns:
        counts = {o.datasets[column.dataset] for o in cohort.counted() if column.dataset in o.datasets}
        images = " or ".join(str(count) for count in sorted(counts))
        mark = f", {column.mark}" if column.mark and not same else ""
        noun = plural(1 if counts == {1} else 2, "image")
        texts.append(f"{column.dataset} ({column.task}, {images} {noun}{mark})")
    return texts
