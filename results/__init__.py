"""The run store, the schema of what a run leaves behind, and the published figures."""

from results.integrity import Damaged
from results.published import published
from results.store import ReadOnlyRun, Run, Status, check_writable, find_runs, write_atomically, write_text

__all__ = [
    "Damaged",
    "ReadOnlyRun",
    "Run",
    "Status",
    "check_writable",
    "find_runs",
    "published",
    "write_atomically",
    "write_text",
]
