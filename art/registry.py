"""Strategies by name: ``art``, ``art:tau=1``, ``package.module:Class:param=value``."""

from __future__ import annotations

import difflib
import math
import re
import reprlib
import sys
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points

Parameter = bool | int | float | str  # value of a strategy's parameter

_LONGEST = 1000  # characters of a spec


@dataclass(frozen=True)
class Entry:
    """One known strategy.

    Attributes:
        target: ``module:Class`` of the strategy, scalarizer or aggregator.
        about: one line.
        source: its paper.
        defaults: its parameters; where a library or paper leaves one open, ``about`` says whose value this is.
        cost: ``losses`` (task losses only), ``losses twice`` (a second forward pass), ``last layer`` (its gradient for
            every task), ``gradients`` (every task's gradient of all parameters), ``features`` (a small head).
        solver: whether it needs the optional dependencies ``solvers``.
        universal: whether it works under all :class:`art.Conditions`, which spares asking it (and importing torch).
        epochs: that pass before it acts.
        definition: raised whenever what the name and its parameters mean changes, so that runs from before and after
            are not taken for the same.
    """

    target: str
    about: str
    source: str = ""
    defaults: dict[str, Parameter] = field(default_factory=dict[str, Parameter])
    cost: str = "losses"
    solver: bool = False
    universal: bool = False
    epochs: int = 0
    definition: int = 1


def _aggregator(
    name: str, about: str, source: str, solver: bool = False, stateful: bool = False, **defaults: Parameter
) -> Entry:
    universal = not (solver or stateful)
    return Entry(f"torchjd.aggregation:{name}", about, source, defaults, "gradients", solver, universal)


_KNOWN = {
    "mix": Entry(
        "art.equal_weights:Mix", "one loss over the shuffled mixture, equal weight per sample", universal=True
    ),
    "equal": Entry("art.equal_weights:Equal", "mean of the task losses, equal weight per task", universal=True),
    "single": Entry(
        "art.equal_weights:Single",
        "no multi-task training: one network for each task, on as many samples of it (full: as many steps)",
        defaults={"full": False},
        universal=True,
    ),
    "art": Entry(
        "art.active_reweighting:Art",
        "active reweighting by pace and distance from the best (parameters: the release's)",
        "Wu et al., ACM MM 2024",
        {"tau": 0.1, "momentum": 0.01, "start": 0.1, "released": False},
        universal=True,
    ),
    "tur": Entry(
        "art.uncertainty:TUR",
        "errors divided by maps predicted from the network's last features (eps: the release's for AirNet)",
        "Wu et al., AAAI 2025",
        {"eps": 1e-6, "released": False},
        "features",
        definition=2,  # 1: one number per task
    ),
    "gradnorm": Entry(
        "art.gradnorm:GradNorm",
        "weights that even out gradient norms by training rate (alpha: the paper's for NYUv2; lr: the paper's)",
        "Chen et al., ICML 2018",
        {"alpha": 1.5, "lr": 0.025},
        "last layer",
    ),
    "uw": Entry(
        "art.learned:UW",
        "learned homoscedastic uncertainty (lr, start at the first losses: ours)",
        "Kendall et al., CVPR 2018",
        {"lr": 0.025},
        universal=True,
        definition=2,  # 1: learned at the network's rate, from equal weights on
    ),
    "dwa": Entry(
        "torchjd.scalarization:DWA",
        "weights by the losses' decrease over epochs (temperature: the paper's)",
        "Liu et al., CVPR 2019",
        {"temperature": 2.0},
        epochs=2,
        definition=2,  # 1: an epoch was always a pass over the training list
    ),
    "famo": Entry(
        "torchjd.scalarization:FAMO",
        "equal relative decrease of all losses (lr, weight_decay: the paper's; its code decays by 1e-5)",
        "Liu et al., NeurIPS 2023",
        {"lr": 0.025, "weight_decay": 1e-3},
        "losses twice",
    ),
    "imtl_l": Entry(
        "art.learned:IMTLL",
        "learned loss scales (lr, start at the first losses: ours)",
        "Liu et al., ICLR 2021",
        {"lr": 0.025},
        universal=True,
        definition=2,  # as of uw
    ),
    "geometric_mean": Entry(
        "torchjd.scalarization:GeometricMean", "geometric mean of the losses", "Chennupati et al., CVPRW 2019"
    ),
    "rlw": Entry("torchjd.scalarization:Random", "random weights, new every step", "Lin et al., TMLR 2022"),
    "stch": Entry(
        "art.tchebycheff:STCH",
        "smooth maximum of the losses over their nadirs (mu, warmup in epochs: its authors' code)",
        "Lin et al., ICML 2024",
        {"mu": 1.0, "warmup": 4},
        universal=True,
        epochs=5,
        definition=2,  # 1: of the losses as they are
    ),
    "pcgrad": _aggregator("PCGrad", "projects conflicting gradients", "Yu et al., NeurIPS 2020"),
    "cagrad": _aggregator(
        "CAGrad", "conflict-averse direction (c: LibMTL's)", "Liu et al., NeurIPS 2021", solver=True, c=0.5
    ),
    "mgda": _aggregator(
        "MGDA",
        "minimum-norm point of the gradients' hull (epsilon, max_iters: TorchJD's)",
        "Desideri 2012; Sener, Koltun, NeurIPS 2018",
        epsilon=1e-3,
        max_iters=100,
    ),
    "nash_mtl": _aggregator(
        "NashMTL",
        "Nash bargaining solution (parameters: its authors' code)",
        "Navon et al., ICML 2022",
        solver=True,
        max_norm=1.0,
        update_weights_every=1,
        optim_niter=20,
    ),
    "aligned_mtl": _aggregator(
        "AlignedMTL",
        "aligned principal components (scale_mode: the paper's; its code's is rmse)",
        "Senushkin et al., CVPR 2023",
        scale_mode="min",
    ),
    "imtl_g": _aggregator("IMTLG", "equal projections on every gradient", "Liu et al., ICLR 2021"),
    "graddrop": _aggregator("GradDrop", "drops entries by sign agreement", "Chen et al., NeurIPS 2020"),
    "gradvac": _aggregator(
        "GradVac",
        "aligns gradients to running similarities (beta: LibMTL's; the paper's is 0.01)",
        "Wang et al., ICLR 2021",
        stateful=True,
        beta=0.5,
        eps=1e-8,
    ),
    "config": _aggregator("ConFIG", "equal projection on unit gradients", "Liu et al., ICLR 2025"),
    "fairgrad": _aggregator("FairGrad", "alpha-fair update (alpha: LibMTL's)", "Ban, Ji, ICML 2024", alpha=1.0),
    "dualproj": _aggregator(
        "DualProj", "mean gradient projected on the dual cone", "Lopez-Paz, Ranzato, NeurIPS 2017", solver=True
    ),
    "upgrad": _aggregator("UPGrad", "every gradient projected on the dual cone", "Quinton, Rey 2024", solver=True),
}


@cache
def entries() -> dict[str, Entry]:
    """All named strategies: this project's and those of the entry-point group ``art.strategies``."""
    plugged = {
        point.name: Entry(point.value, f"from {point.dist.name if point.dist else point.value}")
        for point in entry_points(group="art.strategies")
    }
    return plugged | _KNOWN


def names() -> list[str]:
    """Names that :func:`art.make` knows."""
    return sorted(entries())


def defaults(name: str) -> dict[str, Parameter]:
    """A strategy's parameters at their defaults; none of a class by its path."""
    return entries()[name].defaults if name in entries() else {}


def parse(spec: str) -> tuple[str, dict[str, Parameter]]:
    """Split a spec into the strategy's name (or ``package.module:Class``) and its parameters.

    ``art:released`` is short for ``art:released=true``.

    Raises:
        ValueError: for an unknown name or parameter or a malformed spec, naming the nearest known one.
    """
    if several_lines(spec) or len(spec) > _LONGEST:
        raise ValueError(
            f"strategy {reprlib.repr(spec)}: expected one line of at most {_LONGEST} printable characters."
        )
    head, *rest = spec.split(":")
    mistyped = "." not in head and difflib.get_close_matches(head[:100], names(), n=1)
    if head not in entries() and rest and "=" not in rest[0] and not mistyped:
        head, rest = f"{head}:{rest[0]}", rest[1:]
    if head not in entries() and not _is_class(head):
        known = ", ".join(names())
        raise ValueError(f"unknown strategy {head!r}{_nearest(head, names())} Known: {known}; or package.module:Class.")
    parameters: dict[str, Parameter] = {}
    for part in rest:
        key, separator, text = part.partition("=")
        if not re.fullmatch(r"[A-Za-z_]\w*", key) or (separator and not text):
            raise ValueError(f"strategy {spec!r}: expected parameter=value, found {part!r}.")
        if key in parameters:
            raise ValueError(f"strategy {spec!r}: {key} is given twice.")
        parameters[key] = _value(spec, text) if separator else True
    if head in _KNOWN:
        parameters = {key: _checked(spec, head, key, value) for key, value in parameters.items()}
    return head, parameters


def several_lines(text: str) -> bool:
    """Whether a text holds line breaks, other control characters, or what no encoding can write."""
    return any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in text)


def _is_class(head: str) -> bool:
    """Whether this has the form ``package.module:Class``."""
    module, _, name = head.partition(":")
    return all(part.isidentifier() for part in (*module.split("."), name))


def _checked(spec: str, name: str, key: str, value: Parameter) -> Parameter:
    """A parameter of one of this project's names, of the same kind as its default.

    Raises:
        ValueError: for an unknown one, or a value of another kind.
    """
    known = defaults(name)
    if key not in known:
        raise ValueError(
            f"strategy {name!r} has no parameter {key!r}{_nearest(key, known)} It has: {', '.join(known) or 'none'}."
        )
    default, number = known[key], value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if isinstance(default, bool):
        kind, fits = "true or false", isinstance(value, int)  # or a task's number
    elif isinstance(default, int):
        kind, fits = "a whole number", number == number // 1
        value = int(number) if fits else value
    elif isinstance(default, float):
        kind, fits = "a finite number", abs(number) <= sys.float_info.max
    else:
        kind, fits = "a word", isinstance(value, str)
    if not fits:
        raise ValueError(f"strategy {spec!r}: {key} takes {kind}, not {reprlib.repr(value)}.")
    return value


def canonical(spec: str) -> str:
    """The one spelling of a spec: parameters sorted, those at their default left out (``art:tau=0.1`` is ``art``)."""
    name, parameters = parse(spec)
    known = defaults(name)
    changed = {key: value for key, value in sorted(parameters.items()) if key not in known or known[key] != value}
    return ":".join([name, *(key if value is True else f"{key}={_text(value)}" for key, value in changed.items())])


def definition(spec: str) -> int:
    """Which definition of its strategy a spec has today (:attr:`Entry.definition`); 1 for a class by its path."""
    name, _ = parse(spec)
    return entries()[name].definition if name in entries() else 1


def _value(spec: str, text: str) -> Parameter:
    """The truth value, number or text that a parameter is; numbers keep all their digits.

    Raises:
        ValueError: for a number that a float cannot hold, such as 1e999.
    """
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        if value in (math.inf, -math.inf) and any(letter.isdigit() for letter in text):
            break
        return value
    else:
        return text
    raise ValueError(f"strategy {reprlib.repr(spec)}: {reprlib.repr(text)} is too large a number.")


def _text(value: Parameter) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        short = f"{value:g}"
        return "0" if not value else short if float(short) == value else repr(value)
    return str(value)


def _nearest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word[:100], list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else "."
