"""List the strategies with their papers, parameters and cost: ``python -m art``."""

from __future__ import annotations

import art
from art.command import begin, end

COSTS = {
    "losses": "task losses only",
    "losses twice": "task losses, before and after the step",
    "last layer": "every task's gradient at the output layer",
    "features": "the error of every pixel and a small head on the last features",
    "gradients": "every task's gradient",
}


def table() -> str:
    """All strategies as a Markdown table."""
    lines = ["| name | family | what it does | source | parameters | looks at |", "|---|---|---|---|---|---|"]
    for name, entry in sorted(art.entries().items()):
        given = [f"{key}={value}" for key, value in entry.defaults.items()] + ["of=STRATEGY"] * entry.wraps
        given += ["TASK=1"] * (entry.of_tasks is not None)
        parameters = ", ".join(given) or "–"
        looks_at = "what the other does" if entry.wraps else COSTS[entry.cost]
        about = f"{entry.about}; needs `solvers`" if entry.solver else entry.about
        lines.append(
            f"| `{name}` | {entry.family or '–'} | {about} | {entry.source or '–'} | {parameters} | {looks_at} |"
        )
    return "\n".join(lines)


def main() -> int:
    """The command."""
    print(table())
    return 0


if __name__ == "__main__":
    begin()
    end(main)
