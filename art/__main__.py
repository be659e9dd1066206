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


def likenesses() -> str:
    """The strategies whose updates have the same direction, and what some are before they act, as a Markdown list."""
    lines: list[str] = []
    for name, entry in sorted(art.entries().items()):
        lines += [f"- `{name}` and `{other}`: {why}." for other, why in sorted(entry.same.items())]
    waiting = [(name, entry) for name, entry in sorted(art.entries().items()) if entry.waits]
    lines += [f"- `{name}` is `{entry.waits}` in its first {entry.epochs} epochs." for name, entry in waiting]
    return "\n".join(lines)


def main() -> int:
    """The command."""
    print(f"{table()}\n\nThe same updates up to a factor, at the defaults:\n\n{likenesses()}")
    return 0


if __name__ == "__main__":
    begin()
    end(main)
