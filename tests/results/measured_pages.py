"""Pages on the runs kept in git, written from the files: results in them are computed, and what is concluded from them
is checked as far as a comparison of numbers can.

python tests/results/measured_pages.py      # after a change of the runs, the reports or a template

``results/measured/README.md.jinja`` becomes ``results/measured/README.md``; ``results/measured/front.md.jinja`` becomes
the part of the front page between its two marks.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from functools import cache, cached_property
from pathlib import Path

import jinja2

ROOT = Path(__file__).parents[2]
MEASURED = ROOT / "results" / "measured"
FRONT = re.compile(r"(?<=<!-- measured -->\n).*(?=<!-- end of measured -->)", re.DOTALL)
VERDICTS = ("gain", "loss")
NUMBERS = {2: "two", 3: "three"}


class Claim(AssertionError):
    """A sentence of a template does not hold for the files."""


@cache
def cohorts_of(folder):
    """The findings of every cohort of a kept grid."""
    from reports.numbers.cohorts import gather
    from reports.numbers.findings import find
    from results.kept import kept_runs
    from results.tuning import searches

    found = gather(kept_runs(MEASURED / folder))
    return [find(cohort, searches(MEASURED / folder, cohort.setting)) for cohort in found]


class Grid:
    """One cohort of a kept grid, for templates; ``baseline`` is needed where it has several."""

    def __init__(self, findings):
        self.findings, self.table = findings, findings.table

    @property
    def baselines(self):
        return list(dict.fromkeys(row.display for row in self.table.rows))

    def row(self, strategy, baseline=None):
        rows = [row for row in self.table.rows if row.strategy == strategy and baseline in (None, row.display)]
        if len(rows) != 1:
            raise Claim(f"{len(rows)} rows of {strategy!r} on {baseline or 'any baseline'}")
        return rows[0]

    def cell(self, strategy, dataset="average", baseline=None):
        return self.row(strategy, baseline).cells[dataset, "psnr"]

    def value(self, strategy, dataset="average", baseline=None):
        """The mean gain, dB."""
        return self.cell(strategy, dataset, baseline).gain.mean

    def gain(self, strategy, dataset="average", baseline=None):
        """``-1.28 ±0.06``, bold where it has a verdict."""
        return told(self.cell(strategy, dataset, baseline))

    def by_task(self, strategy):
        """The mean gain over the tasks, dB: their test sets, of which one may have several, count as one."""
        cohort, tasks = self.table.cohort, {}
        for column in cohort.columns:
            if column.dataset in cohort.tested:
                tasks.setdefault(column.task, []).append(self.value(strategy, column.dataset))
        return sum(sum(gains) / len(gains) for gains in tasks.values()) / len(tasks)

    def widest(self, dataset):
        """By how much the farthest strategy is from mix, dB."""
        rows = [row for row in self.table.rows if not row.is_reference]
        return max(abs(row.cells[dataset, "psnr"].gain.mean) for row in rows)

    def psnr(self, strategy, dataset="average", baseline=None):
        return self.cell(strategy, dataset, baseline).score.mean

    def on(self, seeds, strategy="mix"):
        """The average PSNR over some seeds of the one baseline, dB."""
        cohort = self.table.cohort
        runs = [one for one in cohort.counted(cohort.baselines[0], strategy) if one.seed in seeds]
        assert len(runs) == len(seeds)
        return sum(one.average(cohort.tested, "psnr") for one in runs) / len(runs)

    def input(self, dataset="average"):
        return self.table.inputs[dataset, "psnr"]

    def verdict(self, strategy, baseline=None):
        return self.cell(strategy, baseline=baseline).verdict

    def score(self, strategy, baseline=None):
        """What Art's weights follow (:mod:`reports.numbers.score_noise`)."""
        (one,) = (o for o in self.findings.noises if o.strategy == strategy and baseline in (None, o.display))
        return one

    def seeds_for(self, effect, baseline=None):
        """Seeds that it takes to see an average gain of so many dB, as the first of all comparisons."""
        from reports.numbers.power import pooled_deviation, seeds_needed

        gains = [row.average.gain for row in self.table.rows if baseline in (None, row.display)]
        return seeds_needed(pooled_deviation(gains), effect, self.table.comparisons)

    def gains(self, *baselines):
        """The Markdown table of the average gains, by falling gain of the last baseline."""
        baselines, rows = baselines or self.baselines, {}
        for row in self.table.rows:
            if not (row.is_reference or row.control):
                rows.setdefault(row.strategy, {})[row.display] = row.average
        rows = {name: cells for name, cells in rows.items() if baselines[-1] in cells}
        lines = [f"| strategy | n | {' | '.join(baselines)} |", f"|---|--:|{'--:|' * len(baselines)}"]
        for name in sorted(rows, key=lambda name: -rows[name][baselines[-1]].gain.mean):
            cells = [rows[name].get(baseline) for baseline in baselines]
            count = next(cell.gain.n for cell in cells if cell)
            lines.append(f"| `{name}` | {count} | {' | '.join(told(cell) if cell else '' for cell in cells)} |")
        return "\n".join([*lines, "", f"Bold: a verdict, corrected for {self.table.comparisons} comparisons."])

    def sets(self, *strategies, baseline=None, called=None):
        """The Markdown table of the gains on every test set, and of what they are over.

        Args:
            strategies: in the order of the rows.
            baseline: of several.
            called: what to call a strategy whose name is long.
        """
        cohort = self.table.cohort
        further = [column.dataset for column in cohort.columns if column.dataset not in cohort.tested]
        names = [*cohort.tested, "average", *further]
        lines = [f"| | n | {' | '.join(names)} |", f"|---|--:|{'--:|' * len(names)}"]
        lines.append(f"| degraded input | | {' | '.join(f'{self.input(name):.2f}' for name in names)} |")
        mix = [f"{self.psnr('mix', name, baseline):.2f}" for name in names]
        lines.append(f"| mix | {self.row('mix', baseline).n} | {' | '.join(mix)} |")
        for strategy in strategies:
            cells = [self.gain(strategy, name, baseline) for name in names]
            name = (called or {}).get(strategy, f"`{strategy}`")
            lines.append(f"| {name} | {self.cell(strategy, baseline=baseline).gain.n} | {' | '.join(cells)} |")
        return "\n".join(lines)

    def weights(self, strategy="art", baseline=None):
        """The Markdown table of what each task's losses do and what it weighs."""
        head = "| task | samples a batch | noise of the loss | easiest batch | mean score | share | if nothing moved |"
        lines = [head, "|---|" + "--:|" * 6]
        for task in self.score(strategy, baseline).tasks:
            numbers = (task.loss_noise, task.best, task.score, task.weight, task.still)
            lines.append(f"| {task.task} | {task.samples:.3g} | {' | '.join(f'{n:.2f}' for n in numbers)} |")
        return "\n".join(lines)

    def share(self, strategy, task, baseline=None):
        """A task's mean share of a strategy's weights."""
        from reports.numbers.summary import shares

        row = self.row(strategy, baseline)
        tables = [shares(one.rhythm()) for one in self.findings.cohort.counted(row.baseline, strategy)]
        return sum(table[table.task == task].share.mean() for table in tables) / len(tables)

    def best_other(self, baseline):
        """The largest gain over mix of all strategies at their defaults."""
        rows = [row for row in self.table.rows if row.display == baseline and not (row.is_reference or row.control)]
        return max(row.average.gain.mean for row in rows if "(" not in row.strategy)

    def spread(self, strategy, baseline):
        """``23.54 ±0.25``, of the average PSNR."""
        score = self.cell(strategy, baseline=baseline).score
        return f"{score.mean:.2f} ±{score.std:.2f}"

    @property
    def variance(self):
        """Of the average PSNR over the seeds, mean over the rows."""
        variances = [row.average.score.std**2 for row in self.table.rows]
        return sum(variances) / len(variances)

    def best_trial(self, strategy, baseline):
        searches = [one for several in self.findings.tunings.values() for one in several]
        (search,) = (one for one in searches if (one.strategy, one.display) == (strategy, baseline))
        return max((trial for trial in search.trials if trial.state == "done"), key=lambda trial: trial.score)

    def rate(self, baseline):
        """The learning rate that a search found for mix, over the recipe's."""
        return f"{self.best_trial('mix', baseline).factor:.1f}"

    def found(self, strategy, parameter, baseline):
        return f"{self.best_trial(strategy, baseline).values[parameter]:.3g}"

    def collapsed(self, strategy):
        """How many runs of a strategy left a constant picture."""
        from reports.numbers.outcome import Standing

        outcomes = self.findings.cohort.outcomes
        return sum(one.strategy == strategy and one.standing == Standing.COLLAPSED for one in outcomes)

    def steps_alone(self, strategy):
        """The steps of each task's own network."""
        from reports.numbers.joined import parts_of

        cohort = self.findings.cohort
        (several,) = {
            tuple((part.config.terms.task, part.config.train.steps) for part in parts_of(one))
            for one in cohort.counted(cohort.baselines[0], strategy)
        }
        return dict(several)

    def apart(self, baseline):
        """Cells of one network a task over mix, by test set."""
        from reports.numbers.race import together

        (one,) = (one for one in together(self.table) if one.display == baseline)
        return one.cells

    @cached_property
    def hours(self):
        return hours(self.findings.cohort.outcomes)


def told(cell):
    from reports.numbers.words import with_spread

    bold = "**" if cell.verdict in VERDICTS else ""
    return f"{bold}{with_spread(cell.gain, 2, signed=True)}{bold}" if cell.gain.n else ""


def seeds(count):
    return "one seed" if count == 1 else f"{NUMBERS.get(count, count)} seeds"


def signed(value):
    from reports.numbers.words import number

    return number(value, 2, signed=True)


def series(parts):
    """``a, b and c``."""
    *most, last = parts
    return f"{', '.join(most)} and {last}"


def of_scores(grids, name, digits=2):
    """``2.9, 3.0 and 2.6``: a number of Art's score in several grids; ``spread``: of batches over that of tasks."""
    scores = [one.score("art") for one in grids]
    return series([f"{1 / one.ratio if name == 'spread' else getattr(one, name):.{digits}f}" for one in scores])


def hours(outcomes):
    """Hours of one core that runs took: training, validation and scoring."""
    environments = [outcome.run.environment for outcome in outcomes]
    names = ("train_seconds", "validation_seconds", "evaluate_seconds")
    return sum(getattr(one, name) or 0 for one in environments for name in names) / 3600


def grid(folder, **fields):
    """The one cohort of a kept grid whose configuration has these values (``steps``, ``batch``, ``mixing``)."""
    found = [Grid(one) for one in cohorts_of(folder) if _has(one.cohort.config, fields)]
    if len(found) != 1:
        raise Claim(f"{len(found)} cohorts of {folder} with {fields}")
    return found[0]


class Lengths:
    """Grids of one kept folder that differ in the length of the training alone, for templates."""

    def __init__(self, folder, **fields):
        from reports.numbers.findings import beside

        found = [one for one in cohorts_of(folder) if _has(one.cohort.config, fields)]
        self.grids = {one.cohort.config.train.steps: Grid(one) for one in found}
        self.steps = sorted(self.grids)
        shortest = self.grids[self.steps[0]].findings
        self.found = beside(shortest, [self.grids[steps].findings.cohort for steps in self.steps]).lengths

    def course(self, strategy):
        (one,) = (row for row in self.found.rows if row.strategy == strategy)
        return one

    def slope(self, strategy):
        """``-1.23 (-1.62 to -0.84)``, dB a tenfold length; of points that are on no line, their verdict."""
        from reports.numbers.lengths import BENDS

        course = self.course(strategy)
        if course.bend == BENDS:
            return f"no line: {BENDS}"
        trend = course.trend
        return f"{trend.slope.value:+.2f} ({trend.slope.low:+.2f} to {trend.slope.high:+.2f})" if trend else ""

    def points(self, strategy):
        """What its line is through: ``9 single points, 5 after 800 steps, 3 after 2,400 and 1 after 8,000``."""
        points = self.course(strategy).points
        each = [f"{point.gain.n} after {point.steps:,}" for point in points]
        each[0] += " steps"
        return f"{sum(point.gain.n for point in points)} single points, {series(each)}"

    def alike(self, strategy, steps):
        """The average PSNR at one length, over the seeds of ``art`` in the longest training, dB."""
        return self.grids[steps].on(self.course("art").last.seeds, strategy)

    def gains(self, *strategies):
        """The Markdown table of mix and the average gains over it at every length, and what a tenfold length adds."""
        heads = [f"{steps:,} steps" for steps in self.steps]
        lines = [f"| | {' | '.join(heads)} | a tenfold length |", f"|---|{'--:|' * (len(heads) + 1)}"]
        mixes = [f"{self.grids[steps].psnr('mix'):.2f}" for steps in self.steps]
        lines.append(f"| mix | {' | '.join(mixes)} | |")
        for strategy in strategies:
            cells = [self._cell(steps, strategy) for steps in self.steps]
            lines.append(f"| `{strategy}` | {' | '.join(cells)} | {self.slope(strategy)} |")
        return "\n".join(lines)

    @property
    def beyond(self):
        """How many times as long as the longest of these trainings the published one is."""
        from baselines import registry

        (baseline,) = self.grids[self.steps[-1]].findings.cohort.baselines
        return registry.recipe(baseline, "paper")["steps"] / self.steps[-1]

    def _cell(self, steps, strategy):
        grid = self.grids[steps]
        if strategy not in {row.strategy for row in grid.table.rows}:
            return ""
        return grid.gain(strategy) + (" (one seed)" if grid.cell(strategy).gain.n == 1 else "")


def _has(config, fields):
    values = config.train.model_dump() | {"mixing": config.data.mixing}
    return all(values[key] == value for key, value in fields.items())


def recipe(ours, baseline, setting, published, data):
    """The Markdown table of what these runs are and what the published recipe is.

    Args:
        ours: the grid.
        baseline: name of the network.
        setting, published: of the runs, a file below ``results/measured/settings``, and as the field has it.
        data: what the two columns say of their images.
    """
    from baselines import registry
    from benchmarks.config import settings

    config = next(one.config for one in ours.findings.cohort.outcomes if one.config.baseline == baseline)
    display = registry.describe(baseline).name
    train, paper, cost = config.train.model_dump(), registry.recipe(baseline, "paper"), registry.describe(baseline).cost
    lists = [settings.load(str(MEASURED / "settings" / setting)), settings.load(published)]
    rows = [
        ("images", *data),
        ("list", *(", ".join(f"{task.name} {task.list_length:,}" for task in one.tasks) for one in lists)),
        ("mixing", config.data.mixing, paper.get("mixing", lists[1].mixing)),
        *((key, *(f"{one[key]:,}" for one in (train, paper))) for key in ("batch", "patch", "steps")),
        ("learning rate", _rate(train), _rate(paper)),
        ("clipping", _clipping(train), _clipping(paper)),
        ("weight average", *(one["ema"] or "none" for one in (train, paper))),
        ("parameters", *(f"{cost.parameters[size]:,}" for size in ("tiny", "paper"))),
        (
            "a training on this processor",
            f"{_minutes(ours, baseline):.0f} minutes, one core",
            f"{_days(paper, cost):,.0f} days, two cores, by the time of a step",
        ),
        ("Art over mix, average", f"{ours.gain('art', baseline=display)} dB", _told(claimed(display, published))),
    ]
    lines = ["| | these runs | published |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {one} | {other} |" for name, one, other in rows)])


def claimed(display, setting):
    """What is published of Art on average, by source: its authors' headlines, else from the tables of a setting."""
    rows = _published()
    rows = rows[(rows.baseline == display) & (rows.dataset == "average")]
    headlines = rows[(rows.setting == "headline") & (rows.strategy == "art")]
    if len(headlines):
        return {f"{row.source}; {row.note}": f"{row.value:+.2f}" for row in headlines.itertuples()}
    rows = rows[(rows.setting == setting) & (rows.metric == "psnr")].set_index("strategy")
    return {rows.source["art"]: f"{rows.value['art'] - rows.value['mix']:+.2f}"}


@cache
def _published():
    import pandas as pd

    return pd.read_csv(ROOT / "results" / "published" / "published.csv")


def _told(claims):
    return "; ".join(f"{gain} dB ({source})" for source, gain in claims.items())


def _minutes(ours, baseline):
    runs = [one.run for one in ours.findings.cohort.counted(baseline, "mix")]
    return sum(run.environment.train_seconds for run in runs) / len(runs) / 60


def _days(paper, cost):
    """Of the published training: a step of one sample with a patch of 64 was measured."""
    return paper["steps"] * paper["batch"] * (paper["patch"] / 64) ** 2 * cost.step_ms["paper"] / 1000 / 86400


def _rate(train):
    return f"{train['lr']:g}, {train['schedule']}".replace("_", " ")


def _clipping(train):
    return "yes" if train.get("clip_norm") or train.get("clip_percentile") else "none"


def all_hours(*folders):
    return sum(Grid(one).hours for folder in folders for one in cohorts_of(folder))


def holds(claim):
    """Nothing, where the sentence it stands in is true."""
    if not claim:
        raise Claim("a sentence does not hold any more")
    return ""


def rendered(name):
    """A template below ``results/measured`` with what the files say."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(MEASURED), undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.globals.update(grid=grid, lengths=Lengths, holds=holds, recipe=recipe, claimed=claimed)
    environment.globals.update(all_hours=all_hours, seeds=seeds, of_scores=of_scores)
    environment.filters.update(db=signed, two=lambda value: f"{value:.2f}")
    return environment.get_template(name).render()


def pages():
    """Every page by its path, as it is to be."""
    front = (ROOT / "README.md").read_text(encoding="utf-8")
    text = rendered("front.md.jinja")
    return {
        MEASURED / "README.md": rendered("README.md.jinja"),
        ROOT / "README.md": FRONT.sub(lambda _: text, front),
    }


def kept_reports():
    """Folders of the reports that are kept beside their runs."""
    return sorted(path for path in MEASURED.glob("*/reports/*") if path.is_dir())


def built(report, output, formats):
    """The report of a grid, made anew in ``output``; its folder there."""
    from reports.build import build
    from results.kept import kept_runs

    folder = report.parents[1]
    build(report.name, output, kept_runs(folder), formats=formats, tuned_in=[folder])
    return output / "reports" / report.name


def renew(report):
    """Make those files of a kept report anew that are there; its tables name no figures, of which few are kept."""
    with tempfile.TemporaryDirectory() as output:
        made = built(report, Path(output), ["md", "csv"])
        built(report, Path(output), ["png"])
        for path in sorted(report.iterdir()):
            if (made / path.name).exists():
                shutil.copyfile(made / path.name, path)
            else:
                print(f"{path.relative_to(ROOT)} is no file of this report any more")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    for folder in kept_reports():
        renew(folder)
    for path, content in pages().items():
        path.write_text(content, encoding="utf-8", newline="\n")
