"""The training loop's parts: task losses, rhythm, checkpoints, seeds by axis."""

import math
import resource
import zipfile

import numpy as np
import pytest
import torch
from small_network import SMALL, SPECTRAL
from torchjd.scalarization import Mean

import art
from art import TaskLosses
from baselines.losses import spectral_l1
from benchmarks.config.configuration import resolve
from benchmarks.config.errors import UserError
from benchmarks.config.sections import TrainConfig
from benchmarks.config.settings import load
from benchmarks.data.pools import Pool, TestPool
from benchmarks.scoring.unpacking import load_checkpoint
from benchmarks.training import loop
from benchmarks.training.checkpoint import latest, save
from benchmarks.training.clipping import Clipping
from benchmarks.training.loop import Training
from benchmarks.training.losses import LOSSES
from benchmarks.training.nonfinite import Diverged, Watch
from benchmarks.training.rhythm import Rhythm
from results import Run

SETTING = load("three_task")


@pytest.fixture
def pools():
    chance = np.random.default_rng(0)
    images = chance.integers(0, 256, (3, 72, 72, 3), dtype=np.uint8)
    depths = chance.integers(0, 256, (3, 72, 72), dtype=np.uint8)
    return [Pool(task, ["a", "b", "c"], images, depths=depths) for task in SETTING.tasks]


@pytest.fixture
def held_out():
    images = np.random.default_rng(1).integers(0, 256, (2, 96, 80, 3), dtype=np.uint8)
    pools = [TestPool(task, ["a", "b"], images, depths=images[..., 0]) for task in SETTING.tasks]
    pools[0].clean = [images[0], images[1, :40]]  # of another size, and smaller than the patches
    return pools


def training(pools, folder, strategy="mix", *overrides, seed=0, validation=(), baseline="transweather"):
    small = ["train.steps=4", "train.batch=5", "train.patch=64", "train.checkpoint_every=2", *overrides]
    config = resolve(SETTING, baseline, strategy, seed=seed, overrides=small)
    return Training(config, pools, Run(folder), torch.device("cpu"), validation)


@pytest.mark.parametrize("loss", ["mse", "charbonnier"])
def test_another_loss_is_another_run_and_what_every_strategy_gets(loss, pools, tmp_path):
    """Joint and separate graphs, rhythm and conflict probe: all see the means of the loss that the recipe names."""
    mix, mean = (
        training(pools, tmp_path / spec[-4:], spec, f"train.loss={loss}", "train.probe_every=4", baseline=SMALL)
        for spec in ("mix", "torchjd.aggregation:Mean")
    )
    assert mix.config.hash != training(pools, tmp_path / "l1", baseline=SMALL).config.hash
    batch = mix.batches(0)
    mix._seed_network()
    restored = mix.network.train().training_forward(batch.degraded).restored.detach()
    errors = LOSSES[loss](restored, batch.clean).mean(dim=(1, 2, 3))
    expected = [
        float(errors[batch.tasks == task].mean()) if count else math.nan for task, count in enumerate(batch.sizes)
    ]
    for one in (mix, mean):
        one.finish()
        table = one.run.rhythm()
        assert table[table["step"] == 1]["loss"].to_list() == pytest.approx(expected, rel=1e-4, nan_ok=True)
    probes = one.run.conflicts()
    norms = probes[probes["task"] == probes["other"]]["norm"].to_numpy()
    pairs = [(batch.degraded[batch.tasks == 0], batch.clean[batch.tasks == 0]) for batch in one.probe._batches]
    degraded, clean = (torch.cat(side) for side in zip(*pairs, strict=True))
    network = one.network.eval()
    network.zero_grad()
    LOSSES[loss](network(network.prepare(degraded)), clean).mean().backward()
    gradient = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
    assert norms[0] == pytest.approx(float(gradient.norm()), rel=1e-3)


def test_a_networks_own_loss_is_part_of_what_every_strategy_gets(pools, tmp_path):
    """Joint and separate graphs and the conflict probe; and it is trained."""
    mix, mean, plain = (
        training(pools, tmp_path / folder, spec, "train.probe_every=4", "train.ema=0", baseline=baseline)
        for folder, spec, baseline in (
            ("mix", "mix", SPECTRAL), ("mean", "torchjd.aggregation:Mean", SPECTRAL), ("plain", "mix", SMALL)
        )
    )  # fmt: skip
    assert mean.separate and not mix.separate
    for one in (mix, mean, plain):
        one.finish()
    first, other, without = (one.run.rhythm().query("step == 1")["loss"].to_numpy() for one in (mix, mean, plain))
    np.testing.assert_allclose(first, other, rtol=1e-4)
    assert (first > without + 0.05)[~np.isnan(first)].all()
    pairs = [(batch.degraded[batch.tasks == 0], batch.clean[batch.tasks == 0]) for batch in mix.probe._batches]
    degraded, clean = (torch.cat(side) for side in zip(*pairs, strict=True))
    restored = mix.network(degraded)
    mix.network.zero_grad()
    ((restored - clean).abs().mean() + 0.1 * spectral_l1(restored, clean).mean()).backward()
    norm = torch.cat([value.grad.flatten() for value in mix.network.parameters()]).norm().item()
    assert mix.run.conflicts()["norm"].to_numpy()[0] == pytest.approx(norm, rel=1e-3)


def test_a_report_is_due_by_steps_and_where_steps_are_slow_by_seconds(monkeypatch):
    clock = iter([0, 1, 4, 7, 8, 9])
    monkeypatch.setattr(loop.time, "perf_counter", lambda: next(clock))
    due = loop.Every(3, seconds=5)
    assert [due(step) for step in (1, 2, 4, 5, 6)] == [False, False, True, False, True]


def test_rhythm_follows_arts_running_level_and_survives_a_restore():
    rhythm, criterion = Rhythm(["a", "b"], 1, torch.device("cpu")), art.Art(2)
    torch.manual_seed(0)
    for step in range(1, 8):
        losses, counts = torch.rand(2) * 0.3, torch.tensor([2.0, float(step % 2)])
        before = criterion.running.clone()
        criterion(losses, counts > 0)
        rhythm.record(step, losses, counts, criterion.weights)
    rhythm.flush()
    torch.testing.assert_close(rhythm.running, criterion.running)
    table = rhythm.table()
    last = table[table["step"] == 7].set_index("task").loc["a"]
    assert last["pace"] == pytest.approx(float(losses[0] / before[0])) and last["loss"] == pytest.approx(
        float(losses[0])
    )
    assert table[(table["task"] == "b") & (table["step"] % 2 == 0)]["loss"].isna().all()
    again = Rhythm(["a", "b"], 1, torch.device("cpu"))
    again.restore(rhythm.state())
    assert again.table().equals(table) and torch.equal(again.running, rhythm.running)


def test_what_is_not_finite_is_named_with_its_step():
    one, zero = torch.ones(2), torch.zeros(())

    def seen(*notes):
        watch = Watch(["a", "b"], torch.device("cpu"))
        for step, note in enumerate(notes, start=1):
            watch.note(step, *note)
        watch.check()

    nan, inf = torch.tensor([0.1, torch.nan]), torch.tensor([torch.inf, 1])
    seen((zero, one, one), (zero, one, one * torch.nan))  # some strategies have no weights
    for wrong, told in (
        ([(zero, one, one), (zero, nan, one), (zero, nan * nan, one)], "the loss of b is not finite at step 2"),
        ([(zero, one, inf), (zero, nan, one)], "the weight of a is not finite at step 1"),
        ([(zero / 0, one, one), (zero, nan, one)], "the gradients are not finite at step 1, though"),
    ):
        with pytest.raises(Diverged, match=told):
            seen(*wrong)


def test_the_start_and_the_batches_depend_on_the_seed_and_not_on_the_strategy(pools, tmp_path):
    mix, other, third = (
        training(pools, tmp_path / name, strategy, seed=seed)
        for name, strategy, seed in (("a", "mix", 0), ("b", "art", 0), ("c", "mix", 1))
    )
    weights = [torch.cat([p.flatten() for p in one.network.parameters()]) for one in (mix, other, third)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    batches = [one.batches(3).degraded for one in (mix, other, third)]
    assert torch.equal(batches[0], batches[1]) and not torch.equal(batches[0], batches[2])


def test_strategies_with_the_same_update_give_bit_identical_runs(pools, tmp_path):
    """With balanced mixing, mix, equal and a Mean from elsewhere weigh every task the same: paired by construction."""
    mix, *others = (
        training(pools, tmp_path / name, spec)
        for name, spec in (("mix", "mix"), ("equal", "equal"), ("mean", "torchjd.scalarization:Mean"))
    )
    mix.finish()
    for other in others:
        other.finish()
        for one, another in zip(mix.network.parameters(), other.network.parameters(), strict=True):
            assert torch.equal(one, another)
        rhythm, theirs = mix.run.rhythm(), other.run.rhythm()
        assert rhythm["step"].nunique() > 1 and rhythm.equals(theirs)


class Fourfold(Mean):
    """Mean, times a number whose products need no rounding."""

    def forward(self, values):
        return 4 * super().forward(values)


def test_weights_times_a_number_leave_a_run_as_it_is(pools, tmp_path):
    """Scale-free clipping; the weights of Sum are those of equal times the number of tasks, which rounds otherwise."""
    four = training(pools, tmp_path / "four", f"{__name__}:Fourfold", "train.steps=6").finish()
    equal, five, free = (
        training(pools, tmp_path / name, spec, "train.steps=6", *more)
        for name, spec, more in (
            ("equal", "equal", ()),
            ("sum", "torchjd.scalarization:Sum", ()),
            ("fixed", "torchjd.scalarization:Sum", ("train.clip_percentile=0", "train.clip_norm=0.05")),
        )
    )
    start = torch.cat([p.detach().flatten() for p in equal.network.parameters()])
    ends = [torch.cat([p.detach().flatten() for p in one.finish().parameters()]) for one in (equal, five, free)]
    moved = (ends[0] - start).norm()
    assert torch.equal(torch.cat([p.detach().flatten() for p in four.parameters()]), ends[0])
    assert (ends[1] - ends[0]).norm() < 1e-3 * moved < 1e-1 * (ends[2] - ends[0]).norm()


def test_clipping_at_a_percentile_of_the_norms():
    train = TrainConfig(steps=4, batch=1, patch=16, lr=1e-3, log_every=1, checkpoint_every=4, clip_percentile=50)
    clipping, seen = Clipping(train, torch.device("cpu")), []
    for step, size in enumerate((2.0, 4.0, 1.0, torch.nan)):
        weight = torch.nn.Parameter(torch.zeros(1))
        weight.grad = torch.tensor([size])
        assert clipping([weight], step).isnan() == (size != size)
        seen.append(weight.grad.item())
    assert seen[:3] == pytest.approx([1.0, 1.0, 0.5])  # in units of the medians 2, 3, 2; at most 1
    assert clipping.clipped == 1  # the 4, beside a median of 3; what is not finite is not clipped
    again = Clipping(train, torch.device("cpu"))
    again.restore(clipping.state(3), clipping.clipped)
    assert torch.equal(again.state(4)[:3], torch.tensor([2.0, 4.0, 1.0])) and again.state(4)[3].isnan()
    assert again.clipped == 1
    again.restore(clipping.state(3), None)
    assert again.clipped is None


def test_clipped_steps_are_counted_through_a_resumed_training(pools, tmp_path):
    """At a norm that splits the steps; checkpoints of older versions hold no count, and then none is told."""
    norms = training(pools, tmp_path / "norms", "art", "train.clip_percentile=50", baseline=SMALL)
    norms.finish()
    limit = sorted(norms.clipping.state(4).tolist())[1]
    fixed = ("train.clip_percentile=0", f"train.clip_norm={limit}")
    free, never = ("train.clip_percentile=0",), ("train.clip_percentile=0", "train.clip_norm=1e9")
    counts = []
    for name, overrides in (("free", free), ("never", never), ("fixed", fixed)):
        one = training(pools, tmp_path / name, "art", *overrides, baseline=SMALL)
        one.finish()
        counts.append(one.clipping.clipped)
    assert counts[:2] == [None, 0] and 0 < counts[2] < 4
    halted = training(pools, tmp_path / "halted", "art", *fixed, baseline=SMALL)

    def stop(step, rhythm):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        halted.finish(stop)
    resumed = training(pools, tmp_path / "halted", "art", *fixed, baseline=SMALL)
    assert resumed.step == 2
    resumed.finish()
    assert resumed.clipping.clipped == counts[2]
    content = dict(latest(resumed.run.folder, resumed.config, len(resumed.strategy.tasks)))
    assert content["clipped"] == counts[2]
    save(resumed.run, {key: value for key, value in content.items() if key != "clipped"})
    assert training(pools, tmp_path / "halted", "art", *fixed, baseline=SMALL).clipping.clipped is None
    save(resumed.run, content | {"clipped": 99})
    save(resumed.run, content | {"clipped": 99})
    with pytest.raises(UserError, match="number of clipped steps cannot be"):
        training(pools, tmp_path / "halted", "art", *fixed, baseline=SMALL)


@pytest.mark.parametrize(
    ("strategy", "baseline", "overrides"),
    [
        ("art", "transweather", []),
        # its own step: of a network with a loss of its own and a warm-up, clipped, with weight decay
        (
            "adatask",
            "airnet",
            ["train.encoder_warmup=0.25", "train.clip_percentile=50", "train.weight_decay=0.1", "train.patch=32"],
        ),
    ],
)
def test_a_resumed_training_needs_nothing_but_its_folder(strategy, baseline, overrides, pools, tmp_path):
    def made(folder):
        return training(pools, tmp_path / folder, strategy, "train.ema=0.9", *overrides, baseline=baseline)

    straight, halted = made("straight"), made("halted")
    expected = straight.finish()

    def stop(step, rhythm):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        halted.finish(stop)  # told of step 4 before its checkpoint is written
    resumed = made("halted")
    assert resumed.step == 2
    network = resumed.finish()
    assert strategy != "adatask" or int(resumed.strategy.own_steps) == 3  # no step of its own in the warm-up
    for one, other in zip(expected.state_dict().values(), network.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_the_weight_average_is_what_is_scored(pools, tmp_path):
    one = training(pools, tmp_path, "mix", "train.ema=0.9")
    scored = one.finish()
    assert scored is one.average.module and not scored.training
    first = next(iter(one.network.parameters()))
    assert not torch.equal(first, next(iter(scored.parameters())))


def test_a_checkpoint_with_code_inside_is_refused(tmp_path):
    import pickle

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    path = tmp_path / "checkpoint.pt"
    torch.save({"step": Evil()}, path)
    with pytest.raises(UserError, match="cannot be read as a checkpoint"):
        load_checkpoint(path)
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(UserError, match="cannot be read as a checkpoint"):
        load_checkpoint(path)
    assert not (tmp_path / "owned").exists()


def flat(one):
    return torch.cat([parameter.detach().flatten() for parameter in one.network.parameters()])


def test_a_damaged_checkpoint_is_noticed_and_the_one_before_used(pools, tmp_path, capsys):
    straight = training(pools, tmp_path, "art", baseline=SMALL)
    straight.finish()
    checkpoint, previous = tmp_path / "checkpoint.pt", tmp_path / "checkpoint-previous.pt"
    good, before = checkpoint.read_bytes(), previous.read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 8
    for bad in (bytes(flipped), good[: len(good) // 3], b""):
        checkpoint.write_bytes(bad)
        again = training(pools, tmp_path, "art", baseline=SMALL)
        told = capsys.readouterr().err
        assert again.step == 2 and "damaged" in told and "the one before, after step 2" in told
        again.finish()
        assert torch.equal(flat(again), flat(straight)) and again.rhythm.table().equals(straight.rhythm.table())
        checkpoint.write_bytes(bad)
        previous.write_bytes(bad)
        with pytest.raises(UserError, match="no checkpoint can be used"):
            training(pools, tmp_path, "art", baseline=SMALL)
        assert checkpoint.read_bytes() == bad
        previous.write_bytes(before)


def test_a_checkpoint_with_states_of_another_run_is_one_sentence(pools, tmp_path):
    one = training(pools, tmp_path, baseline=SMALL)
    one.finish()
    content = torch.load(tmp_path / "checkpoint.pt")
    states = content["optimizer"]["state"]
    moments = content["optimizer"] | {"state": states | {0: states[0] | {"exp_avg": torch.ones(3)}}}
    groups = [group | {"betas": "x"} for group in content["optimizer"]["param_groups"]]
    for key, value in [
        ("network", {}),
        ("optimizer", moments),
        ("optimizer", content["optimizer"] | {"param_groups": groups}),
        ("optimizer", {"state": {}, "param_groups": []}),
        ("strategy", {"unknown": torch.ones(2)}),
    ]:
        save(one.run, content | {key: value})
        with pytest.raises(UserError, match=f"does not fit this run: its '{key}' is another's"):
            training(pools, tmp_path, baseline=SMALL)


def test_a_checkpoint_that_would_unpack_to_any_size_is_refused(tmp_path):
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(2**24))
    with pytest.raises(UserError, match="its parts are compressed"):
        load_checkpoint(path)


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_ones(pools, tmp_path):
    one = training(pools, tmp_path)
    one.finish()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in (100_000, 2**20, 4_000_000, len(before["checkpoint.pt"]) - 10):  # torch fails in several ways
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
        try:
            with pytest.raises(OSError, match=r"cannot be written .File too large") as caught:
                save(one.run, torch.load(tmp_path / "checkpoint.pt"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert caught.value.filename == str(tmp_path / "checkpoint.pt")
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def spoiled(one, steps):
    """The training, with infinite gradients at those steps, counted from 0."""
    backward = one.strategy.backward

    def spoil(losses, *others):
        infinite = TaskLosses(losses.stacked * torch.inf, losses.counts)
        backward(infinite if one.step in steps else losses, *others)

    one.strategy.backward = spoil
    return one


def test_gradients_that_are_not_finite_stop_the_run_or_are_skipped_and_counted(pools, tmp_path):
    every = "train.checkpoint_every=1"
    with pytest.raises(Diverged, match=r"gradients are not finite at step 3.*last good checkpoint: after step 2"):
        spoiled(training(pools, tmp_path, "mix", every, baseline=SMALL), {2}).finish()
    assert training(pools, tmp_path, "mix", every, baseline=SMALL).step == 2
    one = spoiled(training(pools, tmp_path, "mix", every, "train.nonfinite=skip", baseline=SMALL), {2})
    one.finish()
    assert one.skipped == 1 and flat(one).isfinite().all() and sorted(set(one.rhythm.table()["step"])) == [1, 2, 4]
    assert training(pools, tmp_path, "mix", every, baseline=SMALL).skipped == 1
    own = spoiled(training(pools, tmp_path / "own", "adatask", "train.nonfinite=skip", baseline=SMALL), {2})
    own.finish()  # with a step of its own, whose moments a skipped step leaves alone
    assert own.skipped == 1 and flat(own).isfinite().all() and own.strategy.moments.isfinite().all()
    assert int(own.strategy.steps.max()) <= 3
    endless = spoiled(
        training(pools, tmp_path / "b", "mix", "train.steps=20", "train.nonfinite=skip", baseline=SMALL), range(20)
    )
    with pytest.raises(Diverged, match="11 updates were not finite"):
        endless.finish()


def test_probing_conflicts_changes_nothing_and_costs_nothing_when_off(pools, tmp_path):
    plain = training(pools, tmp_path / "plain", baseline=SMALL)
    probed = training(pools, tmp_path / "probed", "mix", "train.probe_every=2", baseline=SMALL)
    assert plain.probe is None and plain.config.hash == probed.config.hash
    for one, other in zip(plain.finish().parameters(), probed.finish().parameters(), strict=True):
        assert torch.equal(one, other)
    table = Run(tmp_path / "probed").conflicts()
    assert len(table) == 2 * 25 and set(table["step"]) == {2, 4}
    own = table[table["task"] == table["other"]]
    assert (
        np.allclose(own["cosine"], 1, atol=1e-6)
        and (own["norm"] > 0).all()
        and table["cosine"].between(-1.001, 1.001).all()
    )
    assert not Run(tmp_path / "plain").conflicts().shape[0]


@pytest.mark.parametrize("baseline", ["transweather", "airnet"])  # AirNet has statistics of batches and a queue
def test_a_validation_curve_changes_no_bit_of_the_training(baseline, pools, held_out, tmp_path):
    """Weights, statistics, optimizer, strategy and rhythm; the last point is of the weights that are scored."""
    plain = training(pools, tmp_path / "plain", "famo", "train.ema=0.9", baseline=baseline)
    curved = training(pools, tmp_path / "curved", "famo", "train.ema=0.9", baseline=baseline, validation=held_out)
    assert plain.config.hash == curved.config.hash and plain.curve is None
    plain.finish()
    scored = curved.finish()
    for name, part in plain._parts().items():
        ours, theirs = (torch.utils._pytree.tree_leaves(one.state_dict()) for one in (part, curved._parts()[name]))
        pairs = zip(ours, theirs, strict=True)
        assert ours and all(torch.equal(a, b) if torch.is_tensor(a) else a == b for a, b in pairs)
    assert plain.run.rhythm().equals(curved.run.rhythm())
    table = curved.run.curve()
    assert table["step"].to_list() == [step for step in (1, 2, 3, 4) for _ in range(5)]
    assert table["images"].to_list() == [step for step in (1, 2, 3, 4) for _ in range(5)]
    assert table["seconds"].is_monotonic_increasing and table["seconds"].max() <= curved.seconds
    assert not plain.run.curve().shape[0] and not (tmp_path / "plain/curve.parquet").exists()
    pairs = [[image[None, :, 16:80, 8:72] for image in held_out[3].pair(number)] for number in (0, 1)]
    errors = [(scored.restore(degraded) - clean).square().mean() for degraded, clean in pairs]
    last = table[(table["step"] == 4) & (table["task"] == "derain")]["psnr"]
    assert curved.curve.tasks[3] == "derain" and curved.curve._pairs[0][1][1].shape == (3, 40, 64)
    assert last.item() == pytest.approx(float(-5 * sum(map(torch.log10, errors))), abs=1e-4)


def test_a_resumed_curve_is_the_one_of_a_straight_training(pools, held_out, tmp_path):
    straight = training(pools, tmp_path / "straight", "art", validation=held_out, baseline=SMALL)
    straight.finish()
    halted = training(pools, tmp_path / "halted", "art", validation=held_out, baseline=SMALL)

    def stop(step, rhythm):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        halted.finish(stop)  # after step 4 was validated, before its checkpoint
    resumed = training(pools, tmp_path / "halted", "art", validation=held_out, baseline=SMALL)
    assert resumed.step == 2 and resumed.curve.table()["step"].max() == 2
    resumed.finish()
    tables = [one.run.curve().drop(columns="seconds") for one in (straight, resumed)]
    assert tables[0].equals(tables[1]) and len(tables[0]) == 20
    fewer = [TestPool(pool.task, ["a"], pool.clean[:1], depths=pool.depths[:1]) for pool in held_out]
    other = training(pools, tmp_path / "halted", "art", validation=fewer, baseline=SMALL)
    assert other.step == 4 and other.curve.table().empty  # points of other images are no part of this curve


def test_gradient_strategies_train_with_a_graph_a_task(pools, tmp_path):
    """TransWeather's samples are separable: five small forward passes; the mean of the gradients is mix's update."""
    mix = training(pools, tmp_path / "mix")
    mean = training(pools, tmp_path / "mean", "torchjd.aggregation:Mean")
    assert mean.strategy.needs_gradients and mean.network.separable
    mix.finish()
    mean.finish()
    for one, other in zip(mix.network.parameters(), mean.network.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-4)
