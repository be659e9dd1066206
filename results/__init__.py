"""The run store, the schema of what a run leaves behind, and the published figures."""

from results.find import find_runs
from results.integrity import Damaged
from results.published import published
from results.records import DataRecord, RunRecord, State, Status
from results.store import ReadOnlyRun, Run, check_writable, write_atomically, write_text

__all__ = [
    "Damaged",
    "DataRecord",
    "ReadOnlyRun",
    "Run",
    "RunRecord",
    "State",
    "Status",
    "check_writable",
    "find_runs",
    "published",
    "write_atomically",
    "write_text",
]
