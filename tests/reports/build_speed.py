"""Time and memory of a build over 200 runs with 5,000 images each: ``python tests/reports/build_speed.py``.

The goal is 20 s and 1 GiB on two cores. A benchmark, not a test: a busy machine takes longer.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from synthetic_store import big

from results import find_runs


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        big(Path(folder))
        runs = len(find_runs(folder, "three_task"))
        command = [sys.executable, "-m", "reports.build", "--setting", "three_task", "--output", folder]
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - began
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        page = Path(folder, "reports/three_task/report.html").stat().st_size
    print(
        f"{runs} runs, all formats: {seconds:.1f} s ({used.ru_utime + used.ru_stime:.1f} s of CPU), "
        f"peak {used.ru_maxrss / 1024:.0f} MiB, page {page / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    main()
