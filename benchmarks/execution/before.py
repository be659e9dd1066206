"""What is looked at before any money is spent: everything that would stop the runs later, without opening an image.

Importing torch takes seconds. So names of this project with its recipes, which the tests build, are taken as they are,
and whatever else is asked for (a GPU, paper schedules, other values, code from outside) is built and tried.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import art
import baselines
from benchmarks.config.errors import UserError
from benchmarks.data import locating
from benchmarks.execution import slurm_queues
from benchmarks.execution.plan import Plan
from benchmarks.execution.request import GridRequest


def check(request: GridRequest, plans: Sequence[Plan]) -> None:
    """Check what needs no torch: the folder, Slurm, the data by their names.

    Raises:
        UserError: for what would fail later.
    """
    _check_folder(request.output)
    config, setting = plans[0].config, plans[0].setting
    if request.jobs_of_slurm:
        slurm_queues.check(request.jobs_of_slurm, request.output)
    if problems := locating.problems(setting, config.data, config.evaluate.extra):
        raise UserError(f"the data below {config.data.root or 'no --data-root'} cannot be used as they are:", problems)


def device_kind(request: GridRequest) -> str:
    """``cuda`` or ``cpu``: where the runs will train, as far as that can be told without torch."""
    jobs = request.jobs_of_slurm
    asked = jobs.device(request.device) if jobs else request.device
    return "cuda" if request.gpus or asked.startswith("cuda") else "cpu"


def needs_torch(request: GridRequest, plans: Sequence[Plan]) -> bool:
    """Whether something is asked for that no test of this project has built, or there may be a GPU."""
    names = {art.parse(plan.config.strategy)[0] for plan in plans}
    outside = set(baselines.plugins()) | {plan.config.baseline for plan in plans if ":" in plan.config.baseline}
    return bool(
        (not request.elsewhere and (request.device not in ("auto", "cpu") or shutil.which("nvidia-smi")))
        or request.gpus
        or request.metrics
        or request.overrides
        or any(plan.config.profile == "paper" or plan.config.size == "paper" for plan in plans)
        or outside & {plan.config.baseline for plan in plans}
        or not names <= set(art.entries())
    )


def _check_folder(output: Path) -> None:
    """Whether the output folder can be written, without making it."""
    folder = next(path for path in (output, *output.absolute().parents) if path.exists())
    if not folder.is_dir():
        raise UserError(f"the output folder {output} cannot be: {folder} is a file.")
    if not os.access(folder, os.W_OK):
        raise UserError(f"the output folder {output} cannot be written ({folder}); name another one by --output.")
