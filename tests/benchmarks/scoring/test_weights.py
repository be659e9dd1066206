"""Checkpoint files: any wrapper, nothing executed, every refusal in a sentence."""

import argparse
import collections
import functools
import os
import pathlib
import sys
import types
from unittest import mock

import numpy as np
import pytest
import torch

import baselines
from benchmarks.config.errors import UserError
from benchmarks.scoring.weights import load_published, load_run


@pytest.fixture(scope="module", autouse=True)
def _shapes_built_once():
    """Every file that does not fit is held against the names and shapes of all networks, which are built for it."""
    real = baselines.build

    @functools.cache
    def shapes(name, size):
        with torch.device("meta"):
            return real(name, size)

    def build(name, size="paper"):
        return (shapes if torch.get_default_device().type == "meta" else real)(name, size)

    with mock.patch.object(baselines, "build", build):
        yield


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(3)
    return baselines.build("transweather", "tiny").state_dict()


def prefixed(weights, prefix):
    return {prefix + name: value for name, value in weights.items()}


def changed(weights):
    return {name: value + 1 for name, value in weights.items()}


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
        (lambda weights: prefixed(weights, "_orig_mod.module."), "wrapper _orig_mod.* > module.*"),
        (
            lambda weights: {"model_state_dict": prefixed(weights, "module._orig_mod.")},
            "model_state_dict > module.* > _",
        ),
        (lambda weights: {"a": {"b": [{"netG": weights}]}, "epoch": 1}, "wrapper a > b > [0] > netG"),
        (
            lambda weights: {"module." + name.replace(".", "._orig_mod.", 1): value for name, value in weights.items()},
            "wrapper module.* > _orig_mod in names",
        ),
        (
            lambda weights: prefixed(weights, "net.") | {"loss_fn.vgg.0": torch.ones(2), "head": torch.ones(2)},
            "wrapper net.*; left aside: loss_fn.* (1 entry), head",
        ),
        (
            lambda weights: weights | {"criterion.a": torch.ones(2), "netD.b": torch.ones(2), "epoch": 7, 3: None},
            "own names; left aside: criterion.* (1 entry), netD.* (1 entry), epoch, [3]",
        ),
        (
            lambda weights: prefixed(weights, "module.") | {"n_averaged": torch.tensor(3)},
            "module.*; left aside: n_averaged",
        ),
        (
            lambda weights: weights | {"total_ops": torch.ones(1), "Tenc.total_params": torch.ones(1)},
            "left aside: total_ops, *.total_params (1 entry)",
        ),
        (
            lambda weights: {"netG": weights, "netD": {"a": torch.ones(2)}, "optimizer": {"state": {0: torch.ones(2)}}},
            "wrapper netG; left aside: netD",
        ),
        (
            lambda weights: {"params": changed(weights), "params_ema": weights},
            "params_ema; the average of the weights; left",
        ),
        (
            lambda weights: {"a": weights, "b": {name: value.clone() for name, value in weights.items()}},
            "a; left aside: b",
        ),
        (
            lambda weights: {name: value.double() for name, value in weights.items()},
            "converted from float64 to float32",
        ),
    ],
)
def test_wrappers_are_taken_off_and_told(wrap, told, weights, tmp_path):
    path = tmp_path / "published.pth"
    torch.save(wrap(weights), path)
    loaded = load_published(path, "transweather", "tiny")
    assert told in loaded.about and same(loaded.network, weights) and not loaded.network.training


def test_a_lightning_file_is_read_without_its_packages(lightning, weights, tmp_path):
    torch.save(lightning, tmp_path / "model.ckpt")
    for name in [name for name in sys.modules if name.startswith(("pytorch_lightning", "lightning_fabric"))]:
        del sys.modules[name]
    trusted = set(torch.serialization.get_safe_globals())
    loaded = load_published(tmp_path / "model.ckpt", "transweather", "tiny")
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
        load_published(pathlib.Path("bad.pth"), "transweather", "tiny")
    assert os.listdir() == ["bad.pth"]


def test_weights_of_another_network(weights, tmp_path):
    path = tmp_path / "other.pth"
    torch.save({"params": weights}, path)
    with pytest.raises(UserError) as error:
        load_published(path, "airnet", "tiny")
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
def test_what_is_no_checkpoint(content, told, tmp_path):
    path = tmp_path / "file.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(UserError, match=told):
        load_published(path, "transweather", "tiny")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda value: value.to_sparse(), "is a sparse tensor"),
        (lambda value: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "is a nested tensor"),
        (lambda value: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8), "is a quantized tensor"),
        (lambda value: value.to("meta"), "is a tensor without values"),
        (lambda value: value.to(torch.complex64), "is complex64, not floating point"),
        (lambda value: value > 0, "is bool, not floating point"),
        (lambda value: value.to(torch.int8), "is int8, not floating point"),
        (lambda value: value.to(torch.float8_e4m3fn), "is float8_e4m3fn, not floating point"),
        (lambda value: value.tolist(), "is no tensor but a list"),
        (lambda value: torch.zeros(1).expand(10**6, 10**6), r"is \(1000000, 1000000\), not"),
        (lambda value: value * torch.nan, "1 of 231 entries hold NaN or infinite values: Tenc.patch_embed1.proj.w"),
        (lambda value: value.double() + 1e300, "hold NaN or infinite values"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_values_that_are_no_weights(change, told, weights, tmp_path):
    first = next(iter(weights))
    torch.save(weights | {first: change(weights[first])}, tmp_path / "odd.pth")
    with pytest.raises(UserError, match=told):
        load_published(tmp_path / "odd.pth", "transweather", "tiny")


def test_what_is_ambiguous_is_refused(weights, tmp_path):
    itself = {"epoch": 1}
    itself["state_dict"] = itself
    for content, told in [
        ({"state_dict": weights, "best": changed(weights)}, r"2 sets of weights fit .* differ \(state_dict, best\)"),
        (prefixed(weights, "a.") | prefixed(changed(weights), "b."), r"differ \(a\.\*, b\.\*\)"),
        (weights | {"head.weight": torch.ones(2)}, "unexpected head.weight; all its names are there: .*remove them"),
        (weights | {"x\n" * 300: torch.ones(2)}, r"unexpected 'x\\nx.*\.\.\..*n'; all"),
        (itself, "missing Tenc"),
    ]:
        torch.save(content, tmp_path / "odd.pth")
        with pytest.raises(UserError, match=told) as error:
            load_published(tmp_path / "odd.pth", "transweather", "tiny")
        assert "\n" not in str(error.value)


def test_a_bigger_network_that_contains_this_one_is_not_it(tmp_path):
    torch.save(baselines.build("adair", "tiny").state_dict(), tmp_path / "adair.pth")
    with pytest.raises(UserError, match=r"unexpected fre1.*They fit adair, size tiny\."):
        load_published(tmp_path / "adair.pth", "restormer", "tiny")


def test_safetensors(weights, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    path = tmp_path / "model.bin"  # told by content, not by name
    safetensors.save_file({name: value.contiguous() for name, value in prefixed(weights, "net.").items()}, path)
    loaded = load_published(path, "transweather", "tiny")
    assert loaded.about == "wrapper net.*" and same(loaded.network, weights)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match="is no checkpoint: damaged or cut short"):
        load_published(path, "transweather", "tiny")


def test_the_checkpoint_of_a_run_as_a_file(weights, tmp_path):
    state = {"optimizer": {}, "strategy": {"level": torch.ones(3)}, "step": 7, "hash": "12345678"}
    for more, told in (({}, "a run of this project, after step 7"), ({"average": 1}, "step 7, moving average")):
        scored = prefixed(weights, "module.") | {"n_averaged": torch.tensor(2)} if more else weights
        torch.save(state | {"network": changed(weights) if more else scored} | {key: scored for key in more},
                   tmp_path / "checkpoint.pt")  # fmt: skip
        loaded = load_published(tmp_path / "checkpoint.pt", "transweather", "tiny")
        assert loaded.about.endswith(told) and same(loaded.network, weights)


def test_a_file_cut_short(weights, tmp_path):
    path = tmp_path / "cut.pth"
    torch.save(weights, path)
    path.write_bytes(path.read_bytes()[:10000])
    with pytest.raises(UserError, match="cut short"):
        load_published(path, "transweather", "tiny")


def test_names_that_are_unknown(tmp_path):
    with pytest.raises(UserError, match="did you mean 'promptir'"):
        load_published(tmp_path / "x", "promtir")
    with pytest.raises(UserError, match="is not the folder of a run"):
        load_run(tmp_path)
