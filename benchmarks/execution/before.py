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
from benchmarks.execution.plan import Plan
from benchmarks.execution.request import GridRequest


def check(request: GridRequest, plans: Sequence[Plan]) -> None:
    """Check what a dry run can: folder, device, data by their names, networks, strategies, metrics.

    Raises:
        UserError: for what would fail later.
    """
    _check_folder(request.output)
    config, setting = plans[0].config, plans[0].setting
    if request.jobs_of_slurm:
        from benchmarks.execution import slurm

        slurm.check(request.jobs_of_slurm, request.output)
    if problems := locating.problems(setting, config.data, config.evaluate.extra):
        raise UserError(f"the data below {config.data.root or 'no --data-root'} cannot be used as they are:", problems)
    if _needs_torch(request, plans):
        from benchmarks.execution import grid

        grid.check_runs(request, plans)


def device_kind(request: GridRequest) -> str:
    """``cuda`` or ``cpu``: where the runs will train."""
    jobs = request.jobs_of_slurm
    asked = jobs.device(request.device) if jobs else request.device
    if request.devices is not None or asked.startswith("cuda"):
        return "cuda"
    if asked == "auto" and not request.elsewhere and shutil.which("nvidia-smi"):
        return "cuda" if request.used_devices()[0].startswith("cuda") else "cpu"
    return "cpu"


def _needs_torch(request: GridRequest, plans: Sequence[Plan]) -> bool:
    """Whether something is asked for that no test of this project has built."""
    names = {art.parse(plan.config.strategy)[0] for plan in plans}
    outside = set(baselines.plugins()) | {plan.config.baseline for plan in plans if ":" in plan.config.baseline}
    return bool(
        (request.device not in ("auto", "cpu") and not request.elsewhere)
        or request.devices
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
