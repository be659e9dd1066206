"""Checkpoint files: any wrapper, nothing executed, every refusal in a sentence."""

import argparse
import collections
import os
import pathlib
import sys
import types

import numpy as np
import pytest
import torch

import baselines
from benchmarks import checkpoints
from benchmarks.errors import UserError


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(3)
    return baselines.build("transweather", "tiny").state_dict()


def prefixed(weights, prefix):
    return {prefix + name: value for name, value in weights.items()}


def stranger(module, name, base=object):
    """A class of a package that is not installed."""
    made = type(name, (base,), {"__module__": module, "__qualname__": name})
    parts = module.split(".")
    for end in range(len(parts)):
        sys.modules.setdefault(".".join(parts[: end + 1]), types.ModuleType(parts[end]))
    setattr(sys.modules[module], name, made)
    return made


@pytest.fixture
def lightning(weights):
    """What Lightning writes, and what people put beside it, with none of the packages at hand when it is read."""
    known = set(sys.modules)
    callback = stranger("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint")
    attributes = stranger("lightning_fabric.utilities.data", "AttributeDict", dict)
    states = collections.defaultdict(dict)
    states[0] = {"step": torch.tensor(3.0)}
    yield {
        "epoch": 3,
        "state_dict": collections.OrderedDict(prefixed(weights, "net.")),
        "optimizer_states": [{"state": states}],
        "callbacks": {callback: {"best_model_score": torch.tensor(1.0), "dirpath": pathlib.PurePosixPath("/x")}},
        "hyper_parameters": attributes(opt=argparse.Namespace(lr=1e-3, best=np.float64(30.1)), sizes=np.arange(3)),
    }
    for name in set(sys.modules) - known:
        if name.startswith(("pytorch_lightning", "lightning_fabric")):
            del sys.modules[name]


def same(network, weights):
    return all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("wrap", "told"),
    [
        (lambda weights: weights, "the network's own names"),
        (lambda weights: prefixed(weights, "module."), "wrapper module.*"),
        (
            lambda weights: {"params": {}, "params_ema": prefixed(weights, "module.net.")},
            "params_ema > module.* > net.*",
        ),
        (lambda weights: {"state_dict": prefixed(weights, "net."), "epoch": 3}, "wrapper state_dict > net.*"),
    ],
)
def test_wrappers_are_taken_off_and_told(wrap, told, weights, tmp_path):
    path = tmp_path / "published.pth"
    torch.save(wrap(weights), path)
    loaded = checkpoints.load_published(path, "transweather", "tiny")
    assert told in loaded.about and same(loaded.network, weights) and not loaded.network.training


def test_a_lightning_file_is_read_without_its_packages(lightning, weights, tmp_path):
    torch.save(lightning, tmp_path / "model.ckpt")
    for name in [name for name in sys.modules if name.startswith(("pytorch_lightning", "lightning_fabric"))]:
        del sys.modules[name]
    trusted = set(torch.serialization.get_safe_globals())
    loaded = checkpoints.load_published(tmp_path / "model.ckpt", "transweather", "tiny")
    assert loaded.about == "wrapper state_dict > net.*" and same(loaded.network, weights)
    assert not any(name.startswith("pytorch_lightning") for name in sys.modules)
    assert set(torch.serialization.get_safe_globals()) == trusted


class Shell:
    def __reduce__(self):
        return os.system, ("touch executed",)


class Evaluated:
    def __reduce__(self):
        return eval, ("open('executed', 'w')",)


@pytest.mark.parametrize("beside", [Shell(), Evaluated(), torch.nn.Linear(2, 2)])
@pytest.mark.parametrize("zipped", [True, False])
def test_code_is_refused_and_not_executed(beside, zipped, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": weights, "beside": beside}, "bad.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        UserError, match=r"holds more than weights \((posix.system|(builtins.)?eval|torch.nn.modules.l)"
    ):
        checkpoints.load_published(pathlib.Path("bad.pth"), "transweather", "tiny")
    assert os.listdir() == ["bad.pth"]


def test_weights_of_another_network(weights, tmp_path):
    path = tmp_path / "other.pth"
    torch.save({"params": weights}, path)
    with pytest.raises(UserError) as error:
        checkpoints.load_published(path, "airnet", "tiny")
    told = str(error.value)
    assert "do not fit AirNet" in told and "(wrapper: params): missing R.head.0.weight" in told
    assert "unexpected Tenc.patch_embed1" in told and told.endswith("They fit transweather, size tiny.")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"weights", "is no checkpoint: damaged"),
        (b"", "is no checkpoint: damaged"),
        (torch.ones(2), "holds no named weights but a Tensor"),
        ({"epoch": 3}, "missing Tenc"),
        (None, "is not there"),
    ],
)
def test_what_is_no_checkpoint(content, told, tmp_path, monkeypatch):
    monkeypatch.setattr(baselines, "names", lambda: ["transweather"])  # spares building every network for the hint
    path = tmp_path / "file.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(UserError, match=told):
        checkpoints.load_published(path, "transweather", "tiny")


def test_a_file_cut_short(weights, tmp_path):
    path = tmp_path / "cut.pth"
    torch.save(weights, path)
    path.write_bytes(path.read_bytes()[:10000])
    with pytest.raises(UserError, match="cut short"):
        checkpoints.load_published(path, "transweather", "tiny")


def test_names_that_are_unknown(tmp_path):
    with pytest.raises(UserError, match="did you mean 'promptir'"):
        checkpoints.load_published(tmp_path / "x", "promtir")
    with pytest.raises(UserError, match="is not the folder of a run"):
        checkpoints.load_run(tmp_path)
