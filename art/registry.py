"""Strategies by name: ``art``, ``art:tau=1``, ``package.module:Class:param=value``."""

from __future__ import annotations

import difflib
import importlib
import math
import re
import reprlib
import sys
import typing
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from art.strategy import Strategy


LONGEST = 1000  # characters of a spec


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
        epochs: that pass before it acts.
        definition: raised whenever what the name and its parameters mean changes, so that runs from before and after
            are not taken for the same.
    """

    target: str
    about: str
    source: str = ""
    defaults: dict[str, Any] = field(default_factory=dict)
    cost: str = "losses"
    solver: bool = False
    epochs: int = 0
    definition: int = 1


def _scalarizer(name: str, about: str, source: str, cost: str = "losses", **defaults: Any) -> Entry:
    return Entry(f"torchjd.scalarization:{name}", about, source, defaults, cost)


def _aggregator(name: str, about: str, source: str, solver: bool = False, **defaults: Any) -> Entry:
    return Entry(f"torchjd.aggregation:{name}", about, source, defaults, "gradients", solver)


_KNOWN = {
    "mix": Entry("art.strategy:MixStrategy", "one loss over the shuffled mixture, equal weight per sample"),
    "equal": Entry("art.strategy:Equal", "mean of the task losses, equal weight per task"),
    "art": Entry(
        "art.active_reweighting:Art",
        "active reweighting by pace and distance from the best (parameters: the release's)",
        "Wu et al., ACM MM 2024",
        {"tau": 0.1, "momentum": 0.01, "start": 0.1, "released": False},
    ),
    "tur": Entry(
        "art.uncertainty:TUR",
        "errors divided by maps predicted from the network's last features (eps: the release's for AirNet)",
        "Wu et al., AAAI 2025",
        {"eps": 1e-6, "released": False},
        "features",
        definition=2,  # a scalar a task before
    ),
    "gradnorm": Entry(
        "art.gradients:GradNorm",
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
        definition=2,  # learned at the network's rate from equal weights before
    ),
    "dwa": Entry(
        "torchjd.scalarization:DWA",
        "weights by the losses' decrease over epochs (temperature: the paper's)",
        "Liu et al., CVPR 2019",
        {"temperature": 2.0},
        epochs=2,
        definition=2,  # an epoch was always a pass over the training list before
    ),
    "famo": _scalarizer(
        "FAMO", "equal relative decrease of all losses (lr, weight_decay: the paper's; its code decays by 1e-5)",
        "Liu et al., NeurIPS 2023", "losses twice", lr=0.025, weight_decay=1e-3,
    ),
    "imtl_l": Entry(
        "art.learned:IMTLL",
        "learned loss scales (lr, start at the first losses: ours)",
        "Liu et al., ICLR 2021",
        {"lr": 0.025},
        definition=2,  # as uw
    ),
    "geometric_mean": _scalarizer("GeometricMean", "geometric mean of the losses", "Chennupati et al., CVPRW 2019"),
    "rlw": _scalarizer("Random", "random weights, new every step", "Lin et al., TMLR 2022"),
    "stch": Entry(
        "art.tchebycheff:STCH",
        "smooth maximum of the losses over their nadirs (mu, warmup in epochs: its authors' code)",
        "Lin et al., ICML 2024",
        {"mu": 1.0, "warmup": 4},
        epochs=5,
        definition=2,  # of losses as they are before
    ),
    "pcgrad": _aggregator("PCGrad", "projects conflicting gradients", "Yu et al., NeurIPS 2020"),
    "cagrad": _aggregator(
        "CAGrad", "conflict-averse direction (c: LibMTL's)", "Liu et al., NeurIPS 2021", True, c=0.5
    ),
    "mgda": _aggregator(
        "MGDA", "minimum-norm point of the gradients' hull (epsilon, max_iters: TorchJD's)",
        "Desideri 2012; Sener, Koltun, NeurIPS 2018", epsilon=1e-3, max_iters=100,
    ),
    "nash_mtl": _aggregator(
        "NashMTL", "Nash bargaining solution (parameters: its authors' code)", "Navon et al., ICML 2022", True,
        max_norm=1.0, update_weights_every=1, optim_niter=20,
    ),
    "aligned_mtl": _aggregator(
        "AlignedMTL", "aligned principal components (scale_mode: the paper's; its code's is rmse)",
        "Senushkin et al., CVPR 2023", scale_mode="min",
    ),
    "imtl_g": _aggregator("IMTLG", "equal projections on every gradient", "Liu et al., ICLR 2021"),
    "graddrop": _aggregator("GradDrop", "drops entries by sign agreement", "Chen et al., NeurIPS 2020"),
    "gradvac": _aggregator(
        "GradVac", "aligns gradients to running similarities (beta: LibMTL's; the paper's is 0.01)",
        "Wang et al., ICLR 2021", beta=0.5, eps=1e-8,
    ),
    "config": _aggregator("ConFIG", "equal projection on unit gradients", "Liu et al., ICLR 2025"),
    "fairgrad": _aggregator("FairGrad", "alpha-fair update (alpha: LibMTL's)", "Ban, Ji, ICML 2024", alpha=1.0),
    "dualproj": _aggregator("DualProj", "mean gradient projected on the dual cone", "Lopez-Paz, Ranzato, NeurIPS 2017",
                            True),
    "upgrad": _aggregator("UPGrad", "every gradient projected on the dual cone", "Quinton, Rey 2024",
                          True),
}  # fmt: skip


@cache
def entries() -> dict[str, Entry]:
    """All named strategies: this project's and those of the entry-point group ``art.strategies``."""
    plugged = {
        point.name: Entry(point.value, f"from {point.dist.name if point.dist else point.value}")
        for point in entry_points(group="art.strategies")
    }
    return plugged | _KNOWN


def names() -> list[str]:
    """Names that :func:`make` knows."""
    return sorted(entries())


def parse(spec: str) -> tuple[str, dict[str, Any]]:
    """Split a spec into the strategy's name (or ``package.module:Class``) and its parameters.

    ``art:released`` is short for ``art:released=true``.

    Raises:
        ValueError: for an unknown name or parameter or a malformed spec, naming the nearest known one.
    """
    if several_lines(spec) or len(spec) > LONGEST:
        raise ValueError(f"strategy {reprlib.repr(spec)}: expected one line of at most {LONGEST} printable characters.")
    head, *rest = spec.split(":")
    mistyped = "." not in head and difflib.get_close_matches(head[:100], names(), n=1)
    if head not in entries() and rest and "=" not in rest[0] and not mistyped:
        head, rest = f"{head}:{rest[0]}", rest[1:]
    if head not in entries() and not _is_class(head):
        known = ", ".join(names())
        raise ValueError(f"unknown strategy {head!r}{_nearest(head, names())} Known: {known}; or package.module:Class.")
    parameters = {}
    for part in rest:
        key, separator, text = part.partition("=")
        if not re.fullmatch(r"[A-Za-z_]\w*", key) or (separator and not text):
            raise ValueError(f"strategy {spec!r}: expected parameter=value, found {part!r}.")
        if key in parameters:
            raise ValueError(f"strategy {spec!r}: {key} is there twice.")
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


def _checked(spec: str, name: str, key: str, value: Any) -> Any:
    """A parameter of one of this project's names, of the kind that its default is.

    Raises:
        ValueError: for an unknown one, or a value of another kind.
    """
    defaults = _KNOWN[name].defaults
    if key not in defaults:
        raise ValueError(f"strategy {name!r} has no parameter {key!r}{_nearest(key, defaults)} "
                         f"It has: {', '.join(defaults) or 'none'}.")  # fmt: skip
    default, number = defaults[key], isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(default, bool):
        kind, fits = "true or false", isinstance(value, int)  # or a task's number
    elif isinstance(default, int):
        kind, fits = "a whole number", number and value == value // 1
        value = int(value) if fits else value
    elif isinstance(default, float):
        kind, fits = "a finite number", number and abs(value) <= sys.float_info.max
    else:
        kind, fits = "a word", isinstance(value, str)
    if not fits:
        raise ValueError(f"strategy {spec!r}: {key} takes {kind}, not {reprlib.repr(value)}.")
    return value


def canonical(spec: str) -> str:
    """The one spelling of a spec: parameters sorted, those at their default left out (``art:tau=0.1`` is ``art``)."""
    name, parameters = parse(spec)
    defaults = entries()[name].defaults if name in entries() else {}
    told = {key: value for key, value in sorted(parameters.items()) if key not in defaults or defaults[key] != value}
    return ":".join([name, *(key if value is True else f"{key}={_text(value)}" for key, value in told.items())])


def definition(spec: str) -> int:
    """Which definition of its strategy a spec has today (:attr:`Entry.definition`); 1 for classes of one's own."""
    name, _ = parse(spec)
    return entries()[name].definition if name in entries() else 1


def make(spec: str, tasks: Sequence[str]) -> Strategy:
    """Build the strategy that ``spec`` names for these tasks, ready for a training loop.

    Args:
        spec: ``name``, ``name:param=value:...`` or ``package.module:Class:param=value``.
        tasks: names of the K tasks, in the order of the loss vector.

    Raises:
        ValueError: for an unknown name or parameter, a class that cannot be imported, or parameters it refuses. Naming
            a class of your own imports its module, and so runs the code in it.
    """
    from art.strategy import wrap

    name, parameters = parse(spec)
    if name == "art" and parameters.get("released") is True and "desnow" in tasks:
        parameters["released"] = list(tasks).index("desnow")  # the task that the defect hits in the release
    target = entries()[name].target if name in entries() else name
    module, _, attribute = target.partition(":")
    try:
        method = getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:  # a module of one's own may raise anything
        raise ValueError(f"strategy {spec!r}: cannot import {target!r} ({_reason(error)}).") from error
    known = entries().get(name)
    try:
        _check_words(method, parameters)
        return wrap(method, tasks, (known.defaults if known and name in _KNOWN else {}) | parameters)
    except (Exception, SystemExit) as error:  # an import that fails here is a solver's, with advice
        raise ValueError(f"strategy {spec!r}: {_reason(error)}") from error


def _check_words(method: Any, parameters: dict[str, Any]) -> None:
    """Refuse a word that is none of those a class annotates its parameter with: some look at it in use only."""
    try:
        hints = typing.get_type_hints(method.__init__)
    except Exception:  # annotations of one's own class may name what is not there
        return
    for key, value in parameters.items():
        if typing.get_origin(hints.get(key)) is typing.Literal and value not in typing.get_args(hints[key]):
            raise ValueError(f"{key} is one of {', '.join(map(str, typing.get_args(hints[key])))}, not {value!r}.")


def _reason(error: BaseException) -> str:
    usual = isinstance(error, ImportError | AttributeError | TypeError | ValueError) and str(error)
    return str(error) if usual else f"{type(error).__name__}: {error}".rstrip(": ")


def _value(spec: str, text: str) -> Any:
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


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        short = f"{value:g}"
        return "0" if value == 0 else short if float(short) == value else repr(value)
    return str(value)


def _nearest(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word[:100], list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else "."
