"""A design: sets of fixed weights that are spread evenly over all there are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from art.registry import defaults
from art.specs import canonical, check, parse, spelt, weighs_tasks
from art.task_weights import DESIGN, sayable

CENTRE = 0.1  # share of equal weights in every point, so that no task falls below a tenth of its equal share
MOST = 1024  # sets in a design
_BITS = 30  # of SciPy's Sobol points


def expand(spec: str, tasks: Sequence[str]) -> list[str]:
    """The strategies that a spec stands for: those of ``fixed:design=16`` or ``pbi:design=16``, or the one it is.

    Raises:
        ValueError: for a design that cannot be, and as :func:`art.check`.
    """
    name, parameters = parse(spec)
    own = {key: value for key, value in parameters.items() if key in defaults(name)}
    if not weighs_tasks(name) or parameters.keys() - own.keys() != {DESIGN}:
        check(spec, tasks)
        return [spec]
    count = parameters[DESIGN]
    if isinstance(count, float) and count % 1:
        raise ValueError(f"strategy {spec!r}: a design has a whole number of sets.")
    sets = (parse(fixed)[1] for fixed in design(int(count), tasks))
    return [canonical(spelt(name, own | weights), tasks) for weights in sets]


def design(count: int, tasks: Sequence[str]) -> list[str]:
    """Specs of ``count`` different sets of fixed weights, spread evenly over the simplex.

    The first n sets of every design for these tasks are the design of n sets: a larger one goes on where a smaller one
    ended. Points are those of a Sobol sequence (Sobol 1967; direction numbers of Joe and Kuo 2008) with a constant
    digital shift, mapped to the uniform distribution on the simplex, and mixed with its centre: w = 0.9 s + 0.1 / K. No
    task falls below a tenth of its equal share: one that is starved teaches nothing about weights. Weights are written
    over the smallest, with 3 significant digits; sets that this makes equal, to one another or to equal weights, are
    passed over.

    Args:
        count: sets, 2 to 1024.
        tasks: names of the K >= 2 tasks.

    Returns:
        Canonical specs, ``fixed:dehaze=3.2:derain=1.6``.

    Raises:
        ValueError: for a count out of range, a single task, or a task whose name no spec can hold.
    """
    if not 2 <= count <= MOST:
        raise ValueError(f"fixed:design={count}: a design has 2 to {MOST} sets of weights.")
    if len(tasks) < 2:
        raise ValueError(f"fixed:design={count}: a single task has no weights to choose.")
    if wrong := [task for task in tasks if not sayable(task)]:
        raise ValueError(f"fixed:design={count}: no spec can name the task {wrong[0]!r}; rename it in the setting.")
    found: dict[str, None] = {}
    power = (count - 1).bit_length()
    while len(found) < count:
        found = dict.fromkeys(_spec(tasks, point) for point in points(power, len(tasks)).tolist())
        found.pop("equal", None)
        power += 1
    return list(found)[:count]


def points(power: int, tasks: int) -> npt.NDArray[np.float64]:
    """The first ``2**power`` points of the design for ``tasks`` tasks: (2**power, K) weights with sum 1."""
    from scipy.stats import qmc  # takes a second, and names and help need none of it

    # The stream of PCG64 and the unscrambled sequence are the same in every version of NumPy and SciPy.
    shift = np.random.PCG64(0).random_raw(tasks - 1) >> np.uint64(64 - _BITS)
    sobol = qmc.Sobol(tasks - 1, scramble=False).random_base2(power) * 2**_BITS
    cube = ((sobol.astype(np.uint64) ^ shift) + 0.5) / 2**_BITS
    return (1 - CENTRE) * on_the_simplex(cube) + CENTRE / tasks


def on_the_simplex(cube: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(N, K - 1) uniform numbers in [0, 1) as (N, K) uniform on the simplex.

    Each task in turn breaks its piece off what is left of a stick, by the distribution that the piece has: a Beta
    distribution with parameters 1 and the number of tasks to come. This keeps the evenness of the points better than
    spacings of K exponential numbers.
    """
    rest = np.ones(len(cube))
    pieces: list[npt.NDArray[np.float64]] = []
    for column, to_come in zip(cube.T, range(cube.shape[1], 0, -1), strict=True):
        left = rest * (1 - column) ** (1 / to_come)
        pieces.append(rest - left)
        rest = left
    return np.column_stack([*pieces, rest])


def _spec(tasks: Sequence[str], point: Sequence[float]) -> str:
    """The canonical spec of one point."""
    smallest = min(point)
    weights = {task: float(f"{weight / smallest:.3g}") for task, weight in zip(tasks, point, strict=True)}
    return canonical(spelt("fixed", weights), tasks)
