"""Images that lie on the device: crops cut there are the host's to the bit, and nothing waits for them."""

import gc
import weakref
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from miniature import picture, rainy
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.config import settings
from benchmarks.config.configuration import resolve
from benchmarks.config.degradations import known
from benchmarks.config.errors import UserError
from benchmarks.data.batches import Batches, _full_precision
from benchmarks.data.degradations import degradation, load
from benchmarks.data.on_device import Store
from benchmarks.data.pools import InventedDepths, Pool, joined

SETTING = settings.load("three_task")
CPU = torch.device("cpu")
SIZES = [(80, 96), (20, 40), (9, 70), (33, 32), (50, 7)]  # patches have 32 pixels: some are mirrored, some many times
SOME = 3 * sum(height * width for height, width in SIZES)  # bytes of the images of the noise tasks
MOST = 2 * SOME + SOME // 3  # of those, and of haze with its depths; not of rain, between them
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def pictures(start):
    return [picture(start + number)[:height, :width] for number, (height, width) in enumerate(SIZES)]


@pytest.fixture(scope="module")
def pools():
    """Noise at three levels on the same images; rain on pairs and on images without partners; haze with depths."""
    names, noisy = list("abcde"), pictures(0)
    cleans, others, hazy = pictures(10), pictures(20), pictures(30)
    pairs = Pool(SETTING.tasks[3], names, cleans, [rainy(image) for image in cleans])
    depths = [np.ascontiguousarray(image[..., 0]) for image in pictures(40)]
    return [
        *(Pool(task, names, noisy) for task in SETTING.tasks[:3]),
        joined(SETTING.tasks[3], [pairs, Pool(SETTING.tasks[3], names, others)]),
        Pool(SETTING.tasks[4], names, hazy, depths=depths),
    ]


def config(baseline="transweather"):
    sizes = ["train.patch=32", "train.batch=20", "train.steps=9", "train.augment=true", "data.mixing=balanced"]
    return resolve(SETTING, baseline, "mix", overrides=sizes)


def made(pools, limit, device=CPU, baseline="transweather"):
    return Batches(pools, config(baseline), device, Store(pools, device, limit))


def parts(batch):
    second = [batch.second] if batch.second is not None else []
    return [batch.degraded, batch.clean, batch.tasks, batch.counts, *second]


def same(one, other):
    return one.sizes == other.sizes and all(map(torch.equal, parts(one), parts(other)))


@pytest.mark.parametrize(("limit", "held"), [(2**30, 5), (MOST, 4), (SOME, 3), (0, 0)])
@pytest.mark.parametrize("baseline", ["transweather", "airnet"])
def test_crops_from_the_device_are_those_of_the_host(baseline, limit, held, pools):
    plain, stored = Batches(pools, config(baseline), CPU), made(pools, limit, CPU, baseline)
    assert stored.store.held.sum() == held and stored.store.bytes <= limit and plain.store is None
    turns, partners = set(), set()
    for step in (0, 1, 4):
        crops = stored.cropping(step)
        assert (crops.pixels.size == 0) == (held == 5) and (crops.places is None) == (held == 0)
        partners |= set(crops.synthetic[crops.tasks == 3].tolist())
        turns |= set(stored.cropping._samples(step).turns.ravel().tolist())
        batch = stored(step)
        assert same(batch, plain(step)) and all(part.is_contiguous() for part in parts(batch))
    assert turns == set(range(8)) and partners == {True, False}


def test_all_grey_levels_become_the_same_numbers_by_either_division():
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(torch.div(levels, torch.tensor(255.0)), levels.float().div_(255))


def test_images_that_several_tasks_share_lie_there_once(pools):
    store = Store(pools, CPU, 2**30)
    assert store.bytes == SOME * 5 + SOME // 3  # noise, rain's clean images, partners, others; haze and its depths
    assert store.bytes == store._images.pixels.numel() + store._depths.pixels.numel()
    copies = [Pool(pools[0].task, pools[0].names, [image.copy() for image in pools[0].clean]), pools[1]]
    assert Store(copies, CPU, 2**30).bytes == SOME


def test_what_is_made_when_asked_for_stays_outside(pools):
    hazy = Pool(SETTING.tasks[4], pools[4].names, pools[4].clean)
    hazy.depths = InventedDepths(hazy.names, hazy.clean)
    store = Store([*pools[:4], hazy], CPU, 2**30)
    assert store.held.tolist() == [True, True, True, True, False] and not hazy.depths._invented_depths


def test_a_run_that_ends_frees_the_device(pools):
    """At once, not when Python next looks for cycles: the next run in the process needs the memory."""
    gc.disable()
    try:
        batches = made(pools, MOST)
        batches(0)
        batches.begin(1)
        batches(1)
        store = weakref.ref(batches.store)
        del batches
        assert store() is None
    finally:
        gc.enable()


class _Functions(TorchFunctionMode):
    """Refuses what brings numbers from or to a device."""

    refused = (
        torch.tensor, torch.as_tensor, torch.Tensor.tolist, torch.Tensor.numpy, torch.Tensor.cpu, torch.Tensor.item
    )  # fmt: skip

    def __torch_function__(self, func, types, args=(), kwargs=None):
        assert func not in self.refused, func
        return func(*args, **(kwargs or {}))


class _Operations(TorchDispatchMode):
    """Refuses what reads numbers: those of a tensor, or how many there are."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        assert name not in ("_local_scalar_dense", "nonzero", "is_nonzero", "masked_select", "equal"), name
        if name in ("index", "index_put", "index_put_"):
            assert all(index is None or index.dtype == torch.int64 for index in args[1]), "a mask"
        return func(*args, **(kwargs or {}))


@contextmanager
def refuses_waiting():
    with _Functions(), _Operations():
        yield


def test_waiting_is_refused():
    values = torch.arange(3.0)
    for wait in (values.tolist, values.sum().item, lambda: bool(values[0]), lambda: values[values > 1]):
        with pytest.raises(AssertionError), refuses_waiting():
            wait()


@pytest.mark.parametrize("limit", [2**30, MOST, SOME])
def test_a_batch_is_composed_without_waiting(limit, pools):
    batches = made(pools, limit, CPU, "airnet")
    batches(0)  # constants come to the device
    with refuses_waiting():
        batches(1)


@pytest.mark.parametrize("name", known())
def test_no_degradation_waits_for_the_device(name):
    kind, images = load(known()[name]), torch.rand(2, 3, 40, 48)
    chance = torch.Generator().manual_seed(0)
    severities = kind.draw(2, chance, CPU)
    for severity in (severities, kind.testing[0]):
        kind(images, chance, depth=images[:, :1], severity=severity)
        with refuses_waiting():
            if severity is severities:
                kind.degrade(images, severity, chance, images[:, :1])
            else:
                kind(images, chance, depth=images[:, :1], severity=severity)


@pytest.mark.parametrize("baseline", ["transweather", "airnet"])
def test_tasks_that_are_degraded_together_keep_their_severities(baseline, pools):
    """As on a GPU: noise at three levels in one go."""
    apart, together = Batches(pools, config(baseline), CPU), Batches(pools, config(baseline), CPU)
    together.merges = True
    assert together._groups(together.cropping(0)) == [[0, 1, 2], [3], [4]]
    one, other = apart(0), together(0)
    paired = torch.from_numpy(~apart.cropping(0).synthetic)
    assert torch.equal(one.clean, other.clean) and torch.equal(one.degraded[paired], other.degraded[paired])
    assert ((other.degraded != other.clean).flatten(1).any(1) | (other.tasks == 3)).all()
    for batch in (one, other):
        grey = (batch.clean > 0.3) & (batch.clean < 0.7)  # is not clipped
        noise = 255 * (batch.degraded - batch.clean)
        levels = [noise[batch.tasks == task][grey[batch.tasks == task]].std() for task in range(3)]
        assert [float(level) for level in levels] == pytest.approx([15, 25, 50], rel=0.05)


def test_severities_of_tasks_that_differ_lie_within_their_bounds(pools):
    kind, tasks = load(known()["noise"]), [*(pool.task for pool in pools[:3])]
    tasks[1] = tasks[1].model_copy(update={"severity": None, "drawn": (30.0, 40.0)})
    drawn = Batches(pools, config(), CPU)._severities(kind, [tasks[n % 3] for n in range(60)], torch.Generator())
    assert (drawn[0::3] == 15).all() and (drawn[2::3] == 50).all()
    assert drawn[1::3].min() >= 30 and drawn[1::3].max() <= 40 and len(set(drawn[1::3].tolist())) > 15


def test_degradations_are_of_full_precision_whatever_the_network_is_of():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        with _full_precision():
            assert torch.get_float32_matmul_precision() == "highest" and not torch.backends.cudnn.allow_tf32
        assert torch.get_float32_matmul_precision() == "high" and torch.backends.cudnn.allow_tf32
    finally:
        torch.set_float32_matmul_precision(before)


@gpu
@pytest.mark.parametrize("limit", [2**30, MOST, SOME, 0])
@pytest.mark.parametrize("baseline", ["transweather", "airnet"])
def test_a_gpus_crops_are_those_of_a_cpu(baseline, limit, pools):
    device = torch.device("cuda")
    plain, stored = Batches(pools, config(baseline), CPU), made(pools, limit, device, baseline)
    assert (plain.noise, stored.noise) == ("cpu", "cuda")
    for step in range(3):
        ours, theirs = stored(step), plain(step)
        paired = torch.from_numpy(~plain.cropping(step).synthetic)
        assert torch.equal(ours.clean.cpu(), theirs.clean) and torch.equal(ours.tasks.cpu(), theirs.tasks)
        assert torch.equal(ours.counts.cpu(), theirs.counts) and ours.sizes == theirs.sizes
        assert torch.equal(ours.degraded.cpu()[paired], theirs.degraded[paired])
        made_there, noisy = ours.degraded.cpu()[~paired], ours.tasks.cpu() < 3
        assert made_there.min() >= 0 and made_there.max() <= 1
        ours_off, theirs_off = ((x.degraded - x.clean).cpu().flatten(1).std(1)[noisy] for x in (ours, theirs))
        assert not torch.equal(ours_off, theirs_off)  # other noise
        assert (ours_off / theirs_off - 1).abs().max() < 0.2  # of the same strength


@gpu
def test_a_gpus_batches_depend_on_the_step_alone(pools):
    """Whether begun in the stream beside while the GPU is busy or asked for at once, now or after a resume."""
    device = torch.device("cuda")
    work = torch.rand(2048, 2048, device=device)
    expected = [[part.clone() for part in parts(made(pools, 2**30, device, "airnet")(step))] for step in range(6)]
    for limit in (2**30, MOST):
        batches, seen = made(pools, limit, device, "airnet"), []
        for step in (0, 1, 2, 3, 4, 5, 2, 0):
            batch = batches(step)
            for _ in range(20):
                work = (work @ work).tanh()
            seen.append((step, [part + 0 for part in parts(batch)]))  # behind the work
            del batch
            batches.begin(step + 1)
        for step, found in seen:
            assert all(map(torch.equal, found, expected[step])), step


@gpu
@pytest.mark.parametrize("limit", [2**30, MOST, SOME, 0])
def test_nothing_waits_for_a_gpu(limit, pools):
    batches = made(pools, limit, torch.device("cuda"), "airnet")
    batches(0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(1, 5):
            batches.begin(step)
            batches(step)
        batches(7)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@gpu
def test_a_gpu_takes_a_share_of_its_memory_by_default(pools):
    batches = Batches(pools, config(), torch.device("cuda"))
    assert batches.store.held.all() and batches.store._images.pixels.is_cuda


@gpu
def test_a_degradation_that_draws_elsewhere_is_told_before_training(pools, monkeypatch):
    @degradation(training=(0.2, 1.0), testing=(0.5,))
    def fade(image, severity, generator):
        return image * severity.reshape(-1, 1, 1, 1) * torch.rand(image.shape, generator=generator)

    monkeypatch.setattr(Pool, "degradation", property(lambda _: fade))
    with pytest.raises(UserError, match=r"denoise_15: the degradation fade fails on cuda .* its generator is too"):
        Batches(pools, config(), torch.device("cuda"))


@gpu
@pytest.mark.parametrize("name", known())
def test_with_one_generator_a_gpu_makes_the_images_of_a_cpu(name):
    kind = load(known()[name])
    images = torch.from_numpy(np.stack([picture(number) for number in range(2)])).permute(0, 3, 1, 2).float() / 255
    on_cpu, on_gpu = (
        kind(there, torch.Generator().manual_seed(8), depth=there[:, :1].contiguous())
        for there in (images, images.cuda())
    )
    # rounding to 8 bits (and, in JPEG, of coefficients) may tip over by the last bit
    assert (on_cpu - on_gpu.cpu()).abs().mean() < 1e-4
