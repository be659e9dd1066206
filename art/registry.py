"""The strategies that have names, with their parameters."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points

from art.ranges import Choice, Parameter, Range


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
        search: what :func:`art.search_space` varies its parameters over; the ranges are ours, about their defaults and
            the values that the method's authors and libraries use.
        short: words for values of its parameters; with ``{"memory": {"last": {"momentum": 1.0}}}``, ``memory=last`` is
            read as ``momentum=1``, so that what is the same has one spelling.
        of_tasks: where parameters beside those in ``defaults`` are named after the tasks, what each may be varied over;
            else ``None``. Where there are no others, at least one must be given.
        waits: what it is until ``epochs`` have passed, the name of another.
        same: others whose updates at the defaults have the direction of its own in most steps of a training, by name,
            and when or why, as a sentence; said of one of the two. The length may differ: to Adam, a constant factor
            is nothing, and one that changes slowly is little. Tests demand that these are all there are.
        family: what it goes by, shared by its kin; the weights of those in ``1/L`` are like one over the losses, those
            in ``smallest loss`` favour small losses otherwise.
        wraps: whether it changes what another strategy does, its parameter ``of``.
        apart: whether a runner trains one network for each task.
    """

    target: str
    about: str
    source: str = ""
    defaults: dict[str, Parameter] = field(default_factory=dict[str, Parameter])
    cost: str = "losses"
    solver: bool = False
    universal: bool = False
    epochs: int = 0
    waits: str = ""
    same: Mapping[str, str] = field(default_factory=dict[str, str])
    definition: int = 1
    search: Mapping[str, Range | Choice] = field(default_factory=dict[str, Range | Choice])
    short: Mapping[str, Mapping[str, Mapping[str, Parameter]]] = field(
        default_factory=dict[str, Mapping[str, Mapping[str, Parameter]]]
    )
    of_tasks: Range | None = None
    family: str = ""
    wraps: bool = False
    apart: bool = False


_RATE = Range(1e-3, 0.25, log=True)  # of weights that are learned: a tenth to ten times the rate in GradNorm and FAMO


def _aggregator(
    name: str,
    about: str,
    source: str,
    search: Mapping[str, Range | Choice] | None = None,
    solver: bool = False,
    stateful: bool = False,
    family: str = "",
    same: Mapping[str, str] | None = None,
    **defaults: Parameter,
) -> Entry:
    universal = not (solver or stateful)
    target = f"torchjd.aggregation:{name}"
    return Entry(
        target, about, source, defaults, "gradients", solver, universal,
        search=search or {}, family=family, same=same or {},
    )  # fmt: skip


KNOWN = {
    "mix": Entry(
        "art.equal_weights:Mix",
        "one loss over the shuffled mixture, equal weight per sample",
        universal=True,
        family="constant",
    ),
    "equal": Entry(
        "art.equal_weights:Equal",
        "mean of the task losses, equal weight per task",
        universal=True,
        same={"mix": "where each batch has as many samples of every task, as with balanced mixing, exactly"},
        family="constant",
    ),
    "single": Entry(
        "art.equal_weights:Single",
        "no multi-task training: one network for each task, on as many samples of it (full: as many steps)",
        defaults={"full": False},
        universal=True,
        apart=True,
        family="constant",
    ),
    "fixed": Entry(
        "art.fixed_weights:Fixed",
        "weights you give, fixed:derain=2:dehaze=0.5 (tasks not named: 1), or N sets of them, fixed:design=N",
        "Xin et al., NeurIPS 2022",
        universal=True,
        of_tasks=Range(0.1, 10, log=True),  # a tenth to ten times an equal share, as in art.simplex
        family="constant",
    ),
    "art": Entry(
        "art.active_reweighting:Art",
        "active reweighting by pace and distance from the best (parameters: the release's); memory=last: momentum=1",
        "Wu et al., ACM MM 2024",
        {"tau": 0.1, "momentum": 0.01, "start": 0.1, "released": False, "score": "both", "log": True, "best": "batch"},
        universal=True,
        # from winner-takes-all to all but equal weights; from a memory of 1000 steps to none
        search={"tau": Range(0.05, 50, log=True), "momentum": Range(1e-3, 1, log=True)},
        short={"memory": {"mean": {}, "last": {"momentum": 1.0}}},
        family="pace",
    ),
    "tur": Entry(
        "art.uncertainty:TUR",
        "errors divided by maps predicted from the network's last features (eps: the release's for AirNet)",
        "Wu et al., AAAI 2025",
        {"eps": 1e-6, "released": False},
        "features",
        definition=2,  # 1: one number per task
        family="1/L",
    ),
    "gradnorm": Entry(
        "art.gradnorm:GradNorm",
        "weights that even out gradient norms by training rate (alpha: the paper's for NYUv2; lr: the paper's)",
        "Chen et al., ICML 2018",
        {"alpha": 1.5, "lr": 0.025},
        "last layer",
        search={"alpha": Range(0.1, 3, log=True), "lr": _RATE},  # the paper's alphas: 0.12, 1.5
        family="pace",
    ),
    "uw": Entry(
        "art.learned:UW",
        "learned homoscedastic uncertainty (lr, start at the first losses: ours)",
        "Kendall et al., CVPR 2018",
        {"lr": 0.025},
        universal=True,
        definition=2,  # 1: learned at the network's rate, from equal weights on
        search={"lr": _RATE},
        family="1/L",
    ),
    "dwa": Entry(
        "torchjd.scalarization:DWA",
        "weights by the losses' decrease over epochs (temperature: the paper's)",
        "Liu et al., CVPR 2019",
        {"temperature": 2.0},
        epochs=2,
        waits="equal",
        definition=2,  # 1: an epoch was always a pass over the training list
        search={"temperature": Range(0.2, 20, log=True)},
        family="pace",
    ),
    "famo": Entry(
        "torchjd.scalarization:FAMO",
        "equal relative decrease of all losses (lr, weight_decay: the paper's; its code decays by 1e-5)",
        "Liu et al., NeurIPS 2023",
        {"lr": 0.025, "weight_decay": 1e-3},
        "losses twice",
        search={"lr": _RATE, "weight_decay": Range(1e-5, 0.1, log=True)},
        family="1/L",
    ),
    "imtl_l": Entry(
        "art.learned:IMTLL",
        "learned loss scales (lr, start at the first losses: ours)",
        "Liu et al., ICLR 2021",
        {"lr": 0.025},
        universal=True,
        definition=2,  # as of uw
        search={"lr": _RATE},
        family="1/L",
        same={"uw": "its weights are twice those of `uw`, and are learned alike"},
    ),
    "geometric_mean": Entry(
        "torchjd.scalarization:GeometricMean",
        "geometric mean of the losses",
        "Chennupati et al., CVPRW 2019",
        family="1/L",
        same={"log": "weights 1 / loss as well, times the geometric mean itself over K, which falls with the losses"},
    ),
    "rlw": Entry(
        "torchjd.scalarization:Random",
        "random weights, new every step",
        "Lin et al., TMLR 2022",
        family="random",
    ),
    "stch": Entry(
        "art.tchebycheff:STCH",
        "smooth maximum of the losses over their nadirs (mu, warmup in epochs: its authors' code)",
        "Lin et al., ICML 2024",
        {"mu": 1.0, "warmup": 4},
        universal=True,
        epochs=5,
        waits="log",
        same={
            "log": "exactly until its warm-up ends, and at mu=1 within a few degrees for some time after",
            "geometric_mean": "as of `log`",
        },
        definition=2,  # 1: of the losses as they are
        search={"mu": Range(0.05, 5, log=True)},  # warmup decides when it starts, not how it works
        family="largest loss",
    ),
    "cosmos": Entry(
        "art.preferences:COSMOS",
        "losses along a preference, cosmos:derain=2 (tasks not named: 1; cosmos:design=N: N of them; penalty: ours)",
        "Ruchte, Grabocka, ICDM 2021",
        {"penalty": 0.1},
        universal=True,
        search={"penalty": Range(0.01, 1, log=True)},
        of_tasks=Range(0.1, 10, log=True),
        family="preference",
    ),
    "pbi": Entry(
        "art.preferences:PBI",
        "losses in the ratios of a preference, pbi:derain=2 (as of cosmos; theta: the paper's)",
        "Zhang, Li, IEEE TEC 2007",
        {"theta": 5.0},
        universal=True,
        search={"theta": Range(0.1, 10, log=True)},
        of_tasks=Range(0.1, 10, log=True),
        family="preference",
    ),
    "crmogm": Entry(
        "art.smoothing:CRMOGM",
        "smooths the weights of another, crmogm:of=art:tau=1 (alpha, before of: TorchJD's)",
        "Zhou et al., NeurIPS 2022",
        {"alpha": 0.9},
        wraps=True,
        search={"alpha": Range(0.5, 0.999)},
        family="wrapper",
    ),
    "pcgrad": _aggregator(
        "PCGrad",
        "projects conflicting gradients",
        "Yu et al., NeurIPS 2020",
        family="conflicts",
    ),
    "cagrad": _aggregator(
        "CAGrad",
        "conflict-averse direction (c: LibMTL's)",
        "Liu et al., NeurIPS 2021",
        {"c": Range(0.05, 0.95)},  # it converges for c < 1
        solver=True,
        c=0.5,
        family="conflicts",
    ),
    "mgda": _aggregator(
        "MGDA",
        "minimum-norm point of the gradients' hull (epsilon, max_iters: TorchJD's)",
        "Desideri 2012; Sener, Koltun, NeurIPS 2018",
        epsilon=1e-3,
        max_iters=100,
        family="common descent",
    ),
    "nash_mtl": _aggregator(
        "NashMTL",
        "Nash bargaining solution (parameters: its authors' code)",
        "Navon et al., ICML 2022",
        {"max_norm": Range(0.1, 10, log=True)},
        solver=True,
        max_norm=1.0,
        update_weights_every=1,
        optim_niter=20,
        family="bargaining",
    ),
    "aligned_mtl": _aggregator(
        "AlignedMTL",
        "aligned principal components (scale_mode: the paper's; its code's is rmse)",
        "Senushkin et al., CVPR 2023",
        scale_mode="min",
        family="balanced gradients",
    ),
    "pcd": Entry(
        "art.priority:PCD",
        "a primary task's gradient, as far as the others progress (parameters: TorchJD's; primary: a task's name)",
        "Not All Objectives Are Born Equal, TMLR 2026",
        {"primary": "first", "tau": 0.02, "beta": 0.999, "eps": 1e-8},
        "gradients",
        search={"tau": Range(1e-3, 0.5, log=True)},
        family="preference",
    ),
    "imtl_g": _aggregator(
        "IMTLG",
        "equal projections on every gradient",
        "Liu et al., ICLR 2021",
        same={"config": "equal projections on all gradients; weights that sum to 1, as those of `imtl_g`, may turn it"},
        family="balanced gradients",
    ),
    "graddrop": _aggregator(
        "GradDrop",
        "drops entries by sign agreement",
        "Chen et al., NeurIPS 2020",
        family="conflicts",
    ),
    "gradvac": _aggregator(
        "GradVac",
        "aligns gradients to running similarities (beta: LibMTL's; the paper's is 0.01)",
        "Wang et al., ICLR 2021",
        {"beta": Range(1e-3, 1, log=True)},
        stateful=True,
        beta=0.5,
        eps=1e-8,
        family="conflicts",
    ),
    "config": _aggregator(
        "ConFIG",
        "equal projection on unit gradients",
        "Liu et al., ICLR 2025",
        family="balanced gradients",
    ),
    "fairgrad": _aggregator(
        "FairGrad",
        "alpha-fair update (alpha: LibMTL's)",
        "Ban, Ji, ICML 2024",
        {"alpha": Range(0.25, 10, log=True)},
        same={"nash_mtl": "at alpha=1 it is the Nash bargaining solution, but for steps in which a solver gives up"},
        alpha=1.0,
        family="bargaining",
    ),
    "dualproj": _aggregator(
        "DualProj",
        "mean gradient projected on the dual cone",
        "Lopez-Paz, Ranzato, NeurIPS 2017",
        solver=True,
        family="conflicts",
    ),
    "log": Entry(
        "art.closed_form:Log",
        "sum of the losses' logarithms, weights 1 / loss",
        "Navon et al., ICML 2022 (SI)",
        universal=True,
        family="1/L",
    ),
    "uw_so": Entry(
        "art.closed_form:UWSO",
        "softmax of 1 / loss (temperature: ours; the paper tunes it)",
        "Kirchdorfer et al., GCPR 2024",
        {"temperature": 50.0},
        universal=True,
        search={"temperature": Range(5, 500, log=True)},  # of losses of 0.01 to 0.2: winner-takes-all to all but equal
        family="smallest loss",
    ),
    "db_mtl": Entry(
        "art.tracked:DBMTL",
        "running gradients of log losses, each as long as the longest (beta, beta_sigma: LibMTL's)",
        "Lin et al. 2023",
        {"beta": 0.9, "beta_sigma": 0.0},
        "gradients",
        universal=True,
        search={"beta": Range(0, 0.99)},
        family="balanced gradients",
    ),
    "moco": Entry(
        "art.tracked:MoCo",
        "min-norm weights of running gradients as long as their losses (parameters: LibMTL's, all but equal weights)",
        "Fernando et al., ICLR 2023",
        {"beta": 0.5, "beta_sigma": 0.5, "gamma": 0.1, "gamma_sigma": 0.5, "rho": 0.0},
        "gradients",
        universal=True,
        search={"beta": Range(0.05, 1, log=True), "gamma": Range(0.01, 1e4, log=True)},
        family="common descent",
    ),
    "adatask": Entry(
        "art.adatask:AdaTask",
        "Adam's moments for every task, the sum of K steps (scale: 1 is the authors', 1/K: as long as Adam's)",
        "Yang et al., AAAI 2023",
        {"scale": 1.0},
        "gradients",
        universal=True,
        search={"scale": Range(0.05, 2, log=True)},  # from a small part of Adam's step to more than the authors'
        family="balanced gradients",
    ),
    "excess_mtl": Entry(
        "art.excess_mtl:ExcessMTL",
        "weights by excess risk (step_size: TorchJD's; warmup in epochs: the paper's)",
        "He et al., ICML 2024",
        {"step_size": 1.0, "warmup": 3},
        "gradients",
        universal=True,
        epochs=3,
        waits="equal",
        search={"step_size": Range(1e-2, 10, log=True)},  # LibMTL's is 0.01
        family="largest loss",
    ),
    "go4align": Entry(
        "art.go4align:GO4Align",
        "a weight a group, of similar loss and risk (eta: its authors' code; groups: ours, its 1 is equal weights)",
        "Shen et al., NeurIPS 2024",
        {"groups": 2, "eta": 1e-4},
        universal=True,
        search={"groups": Range(1, 5, whole=True), "eta": Range(1e-5, 1, log=True)},
        family="smallest loss",
    ),
    "ldc_mtl": Entry(
        "art.ldc_mtl:LDCMTL",
        "learned weights that even out weighted losses (lamb, scale: its trainer for NYUv2; lr: ours)",
        "Xiao et al. 2025",
        {"lamb": 0.05, "lr": 0.025, "scale": "ratio"},
        universal=True,
        search={"lamb": Range(0.005, 0.5, log=True), "lr": _RATE},
        family="smallest loss",
    ),
    "upgrad": _aggregator(
        "UPGrad",
        "every gradient projected on the dual cone",
        "Quinton, Rey 2024",
        solver=True,
        family="conflicts",
    ),
}


@cache
def entries() -> dict[str, Entry]:
    """All named strategies: this project's and those of the entry-point group ``art.strategies``."""
    plugged = {
        point.name: Entry(point.value, f"from {point.dist.name if point.dist else point.value}")
        for point in entry_points(group="art.strategies")
    }
    return plugged | KNOWN


def names() -> list[str]:
    """Names of strategies that train one network as they are: not ``fixed``, ``cosmos`` and ``pbi``, which want weights
    of tasks, not ``crmogm``, which needs another strategy, nor ``single``."""
    whole = {name: entry for name, entry in entries().items() if entry.of_tasks is None and not entry.wraps}
    return sorted(name for name, entry in whole.items() if not entry.apart)


def defaults(name: str) -> dict[str, Parameter]:
    """A strategy's parameters at their defaults; none of a class by its path."""
    return entries()[name].defaults if name in entries() else {}


def weights_only(name: str) -> bool:
    """Whether a strategy is nothing but the weights of the tasks that it is given: ``fixed``."""
    return name in entries() and entries()[name].of_tasks is not None and not entries()[name].defaults


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean ...?`` with the known word most like this one, or a full stop."""
    close = difflib.get_close_matches(word[:100], list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else "."
