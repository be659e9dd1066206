"""Two processes train as one does: every strategy, and every network. Run as a program, this file is one of three."""

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from miniature import picture
from small_network import SMALL

import art
import baselines
from baselines.moceir import _Router
from benchmarks.config.configuration import resolve
from benchmarks.config.settings import load
from benchmarks.data.pools import Pool
from benchmarks.training.loop import Training
from results import Run

SETTING = load("three_task")
SPECS = {"fixed": "fixed:derain=2", "crmogm": "crmogm:of=gradnorm"}  # those that need more than their name
SOLVERS = {"cagrad": "clarabel", "nash_mtl": "ecos", "dualproj": "quadprog", "upgrad": "quadprog"}
STRATEGIES = [SPECS.get(name, name) for name, entry in art.entries().items() if not entry.apart] + ["tur:released"]
COUPLED = ("airnet", "moceir", "moceir_s")  # samples of a batch have to do with each other
NETWORKS = [(name, "equal") for name in baselines.names()]
CASES = [(SMALL, spec) for spec in STRATEGIES] + NETWORKS
CASES += [(name, spec) for name in ("airnet", "moceir_s") for spec in ("pcgrad", "tur", "famo", "adatask")]
STEPS = 4
# it solves a system that is close to singular; of L1's signs in sums over AirNet's batches: rounding decides on some
FAR = {"imtl_g": 1e-3, "airnet": 1e-3}


def missing(spec):
    """The solver that a strategy wants and that is not installed."""
    solver = SOLVERS.get(art.parse(spec)[0])
    return solver if solver and importlib.util.find_spec(solver) is None else None


def pools():
    """Of smooth images with edges: on those, the gradients of noise and haze are at odds."""
    images = np.stack([picture(number, 72, 72) for number in range(3)])
    return [Pool(task, ["a", "b", "c"], images, depths=images[..., 0]) for task in SETTING.tasks]


def made(baseline, spec, given, folder):
    """A training with shares of unequal size. Its rate is small: Adam divides by tiny gradients and their rounding."""
    lacking = art.make(spec, SETTING.task_names).unsupported(art.Conditions(absent_tasks=True)) is None
    overrides = [f"train.steps={STEPS}", "train.lr=1e-5", "train.epoch=1", "train.ema=0.9", "train.clip_percentile=50"]
    overrides += ["train.batch=7"] if lacking else ["train.batch=9", "data.mixing=balanced"]
    overrides += ["train.patch=64" if baseline == "transweather" else "train.patch=32"]
    overrides += ["train.encoder_warmup=0.25"] * (baseline == "airnet")
    config = resolve(SETTING, baseline, spec, overrides=overrides)
    one = Training(config, given, Run(Path(tempfile.mkdtemp(dir=folder))), torch.device("cpu"))
    if baseline == SMALL:
        with torch.no_grad():
            one.network.last.weight.mul_(0.02)  # as a trained one it hardly changes images, and tasks are at odds
            one.network.last.bias.zero_()
    for router in one.network.modules():
        if isinstance(router, _Router):  # its noise is every process's own
            router.eval()
            router.train = lambda mode=True, router=router: router
    return one


def trained(baseline, spec, given, folder):
    """Gradients, weights of the tasks and unused parameters of each step; how far the network moved; its buffers."""
    one = made(baseline, spec, given, folder)
    start, found = flat(one.network.parameters()), {"gradients": [], "weights": [], "unused": []}
    clip = one.clipping.__call__

    class Watched(type(one.clipping)):
        def __call__(self, parameters, step):
            parameters = list(parameters)
            found["gradients"].append(flat(p.grad for p in parameters if p.grad is not None))
            found["weights"].append(one.strategy.weights.clone())
            found["unused"].append([n for n, p in one.network.named_parameters() if p.requires_grad and p.grad is None])
            return clip(parameters, step)

    one.clipping.__class__ = Watched
    for _ in range(STEPS if baseline in (SMALL, *COUPLED) else 1):
        one._take_step()
    buffers = {name: value.clone().float() for name, value in one.network.named_buffers()}
    return found | {"move": flat(one.network.parameters()) - start, "buffers": buffers}


def flat(tensors):
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def found_by(rank, folder):
    """What this process comes to, in every case."""
    torch.set_num_threads(1)
    if rank != "alone":
        meeting = f"file://{folder}/meeting"
        torch.distributed.init_process_group("gloo", init_method=meeting, rank=int(rank), world_size=2)
    given = pools()
    cases = {case: trained(*case, given, folder) for case in CASES if not missing(case[1])}
    if rank != "alone":
        torch.distributed.destroy_process_group()
    return cases


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What one process comes to, and each of two."""
    folder, tests = tmp_path_factory.mktemp("two"), Path(__file__).parents[2]
    path = os.pathsep.join([str(tests.parent), str(tests), os.environ.get("PYTHONPATH", "")])
    places, common = ("alone", "0", "1"), os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    started = [
        subprocess.Popen([sys.executable, "-W", "ignore", __file__, folder, rank], env=common) for rank in places
    ]
    try:
        assert [process.wait(timeout=300) for process in started] == [0, 0, 0]
    finally:
        for process in started:
            process.kill()
    return [torch.load(folder / f"{rank}.pt") for rank in places]


def far(one, other):
    """The distance of two vectors over the length of the first."""
    return float((one - other).norm() / one.norm())


@pytest.mark.parametrize("case", CASES, ids=":".join)
def test_two_processes_train_as_one(case, found):
    if solver := missing(case[1]):
        pytest.skip(f"{solver} is not installed")
    alone, *two = (process[case] for process in found)
    assert torch.equal(two[0]["move"], two[1]["move"]) and alone["move"].any()
    assert alone["unused"] == two[0]["unused"]
    for one, other in zip(alone["gradients"], two[0]["gradients"], strict=True):
        assert far(one, other) < max(FAR.get(part, 1e-4) for part in case)
    torch.testing.assert_close(two[0]["weights"], alone["weights"], rtol=1e-3, atol=1e-5, equal_nan=True)
    assert far(alone["move"], two[0]["move"]) < 2e-3  # Adam: signs of what is almost 0
    torch.testing.assert_close(two[0]["buffers"], alone["buffers"], rtol=1e-4, atol=1e-5)


def test_what_is_compared_is_there(found):
    """Conflicts, chance, a queue and statistics that move, experts that no image takes."""
    alone = found[0]
    for name in ("pcgrad", "graddrop", "rlw"):
        updates = alone[SMALL, name]["gradients"]
        differ = [
            F.cosine_similarity(one, other, dim=0)
            for one, other in zip(updates, alone[SMALL, "equal"]["gradients"], strict=True)
        ]
        assert min(differ) < 0.999, name
    airnet = alone["airnet", "equal"]["buffers"]
    assert airnet["E.E.queue_ptr"] > 0 and airnet["E.E.encoder_q.E_pre.backbone.1.running_mean"].any()
    assert any(alone["moceir_s", "pcgrad"]["unused"]) or any(alone["moceir_s", "equal"]["unused"])


if __name__ == "__main__":
    place, mine = Path(sys.argv[1]), sys.argv[2]
    torch.save(found_by(mine, place), place / f"{mine}.pt")
