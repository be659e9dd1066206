"""The training loop: batches in, one update a step by the strategy, checkpoints and rhythm out."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

import art
import baselines
from art.shapes import PerTask, Scalar
from art.task_losses import TaskLosses
from baselines.network import Network
from benchmarks.config.configuration import Config
from benchmarks.config.sections import TrainConfig
from benchmarks.config.seeds import derive
from benchmarks.data.batches import Batch, Batches
from benchmarks.data.pools import Pool, TestPool
from benchmarks.training import distributed, precision, starts
from benchmarks.training.average import WeightAverage
from benchmarks.training.checkpoint import Checkpoint, latest, restore, save
from benchmarks.training.checks import check_end, check_update
from benchmarks.training.clipping import Clipping
from benchmarks.training.conflicts import ConflictProbe
from benchmarks.training.forward import ForwardPass
from benchmarks.training.gradient_sum import GradientSum
from benchmarks.training.interrupts import interrupts_wait
from benchmarks.training.losses import pixel_errors, restored_images, task_losses
from benchmarks.training.nonfinite import Diverged, Watch
from benchmarks.training.rhythm import Rhythm
from benchmarks.training.schedules import encoder_warmup_steps, epoch_steps, learning_rate
from benchmarks.training.shared_batch import share
from benchmarks.training.unchanged import unchanged
from benchmarks.training.validation import ValidationCurve
from results import Run
from results.command import waits_for

Report = Callable[[int, Rhythm], None]
REPORT_STEPS = 20  # between reports, at which the rhythm comes to the host
REPORT_SECONDS, SAVE_SECONDS = 5, 120  # where steps are slow: a report and a checkpoint at least this often
SKIPPED, SKIPPED_SHARE = 10, 0.01  # updates that may be skipped: this many or this share of the run, if that is more


class Every:
    """A cadence: due at every multiple of so many steps, and after so many seconds where steps are slow."""

    def __init__(self, steps: int, seconds: float):
        self.steps, self.seconds = steps, seconds
        self._last = time.perf_counter()

    def __call__(self, step: int) -> bool:
        """Whether it is due after ``step`` steps; the seconds count from the last time that it was."""
        time_now = time.perf_counter()
        due = step % self.steps == 0 or time_now - self._last > self.seconds
        if due:
            self._last = time_now
        return due


class StepResult(NamedTuple):
    """The losses of a step's forward passes.

    Attributes:
        losses: of the tasks; ``None`` in the warm-up of an encoder, which restores no image.
        auxiliary: the network's own loss, or ``None``.
    """

    losses: TaskLosses | None
    auxiliary: Scalar | None = None


class Training:
    """One run in progress: network, optimizer, strategy, weight average and rhythm, with the step they are at.

    It begins with fresh weights, or as :mod:`benchmarks.training.starts` says.

    Args:
        config: the run.
        pools: training images, in the order of the setting's tasks.
        run: its folder; training continues from a checkpoint in it.
        device: where to train.
        validation: images that are scored through the training, in the same order; none for no curve.

    Raises:
        UserError: if the checkpoint in the folder is unreadable or of another configuration, and for a precision that
            the device does not have.
    """

    def __init__(
        self,
        config: Config,
        pools: Sequence[Pool],
        run: Run,
        device: torch.device,
        validation: Sequence[TestPool] = (),
    ):
        self.config, self.run, self.device = config, run, device
        self.seed = (config.setting, config.baseline, config.seed)  # never the strategy
        precision.check(config.train, device)
        given = starts.weights(config, run.folder)  # before the seed: it draws random numbers
        torch.manual_seed(derive(*self.seed, "weights"))
        network = baselines.build(config.baseline, config.size)
        if given:
            network.load_state_dict(given)
        self.network = _placed(network, device)
        self.strategy = art.make(config.strategy, [pool.task.name for pool in pools]).to(device)
        self.strategy.bind(self.network)
        self.group = distributed.current()
        share(self.network, self.group)
        self.gradients = GradientSum(self.group, self.network.parameters())
        if self.group.size > 1:
            self.strategy.distribute(self.group.size, self.gradients.add_up)
        self.optimizer = _optimizer(config.train, self.network, self.strategy)
        self.average = WeightAverage(self.network, config.train.ema) if config.train.ema else None
        self.separate = self.strategy.needs_gradients and self.network.separable and self.group.size == 1
        self.forward = ForwardPass(self.network, config.train, device, self.group.size)
        self.batches = Batches(pools, config, device)
        self.epoch_steps = epoch_steps(config.train, self.batches.mixture.steps_an_epoch)
        self.rhythm = Rhythm(self.strategy.tasks, config.train.log_every, device)
        self.watch = Watch(self.strategy.tasks, device)
        self.clipping = Clipping(config.train, device)
        self.probe: ConflictProbe | None = None
        if config.train.probe_every:
            self.probe = ConflictProbe(self.strategy.tasks, self.batches, config.train.steps, config.train.loss)
        self.curve: ValidationCurve | None = None
        if validation and self.group.leads:
            mixture = self.batches.mixture
            self.curve = ValidationCurve(validation, config.train, device, lambda step: mixture(step)[0])
        self.step = self.saved_step = self.skipped = 0
        self.seconds = 0.0
        self._update_checked = False
        self._continue()
        self.group.agree(self.network)

    def finish(self, report: Report = lambda step, rhythm: None) -> Network:
        """Train to the last step and return the network to be scored, in evaluation mode.

        Args:
            report: called with the step and the rhythm, every :data:`REPORT_STEPS` steps and at the end.

        Raises:
            Diverged: when losses or gradients are no longer finite; the last good checkpoint stays.
            KeyboardInterrupt: on SIGINT, SIGTERM or SIGHUP, after the step at hand and a checkpoint.
        """
        single = self.group.size == 1
        # several processes must do the same at the same step, whatever their clocks say
        report_due = Every(REPORT_STEPS, REPORT_SECONDS if single else math.inf)
        save_due = Every(self.config.train.checkpoint_every, SAVE_SECONDS if single else math.inf)
        started = time.perf_counter() - self.seconds
        with waits_for("the step at hand is finished and saved"), interrupts_wait(twice=single) as signals:
            while self.step < self.config.train.steps:
                self._take_step()
                started += self._validate(started)
                ended = self.step == self.config.train.steps
                reporting = report_due(self.step) or ended
                if reporting:
                    self._flush()
                    report(self.step, self.rhythm)
                stopping = (reporting or single) and any(self.group.gathered(bool(signals)))
                if save_due(self.step) or ended or stopping:
                    self.seconds = time.perf_counter() - started
                    self.save()
                if stopping and not ended:
                    raise KeyboardInterrupt
        self.forward.close()
        network = self._scored()
        self.group.agree(network)  # in a network from outside, buffers may be each process's own
        check_end(network, self.watch.learned, self.config.strategy)
        return network.eval()

    def _validate(self, started: float) -> float:
        """Where a point of the curve is due, score the weights as they are; returns the seconds that it took."""
        if self.curve is None or self.step not in self.curve.steps:
            return 0.0
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # what is still computed is training
        before = time.perf_counter()
        self.curve.record(self.step, self._scored(), before - started)
        seconds = time.perf_counter() - before
        self.curve.seconds += seconds
        return seconds

    def _scored(self) -> Network:
        """The network that would be scored if training ended now."""
        return self.average.module if self.average else self.network

    def remark(self) -> str:
        """What readers must know of how the strategy worked in the steps so far (:meth:`art.Strategy.remark`)."""
        weights = self.rhythm.table()["weight"].to_numpy(copy=True).reshape(-1, len(self.strategy.tasks))
        return self.strategy.remark(torch.from_numpy(weights))

    def _take_step(self) -> None:
        """One step of the run, on its next batch."""
        try:
            self.update(self.batches(self.step))
        except Exception:
            self._flush()  # what is not finite breaks other things later; then it is the reason to name
            raise
        if self.probe and self.step % self.config.train.probe_every == 0:
            self.probe.record(self.step, self.network)

    def update(self, batch: Batch) -> None:
        """Take one step: an update of the network on a batch, while the next batch is prepared.

        On a GPU nothing here waits for it, except with ``train.nonfinite=skip``, which must know before the update, and
        for what a strategy or a network (:attr:`baselines.network.Network.traceable`) computes on the host.
        """
        with precision.set_up(self.config.train, self.device, fixed_shapes=not self.separate):
            self._update(self.group.share(batch))

    def _update(self, batch: Batch) -> None:
        before = self._changing_state() if self.config.train.nonfinite == "skip" else None
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config.train, self.step)
        self._seed_network()
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        losses, auxiliary = self._separate_step(batch) if self.separate else self._joint_step(batch)
        self.batches.begin(self.step + 1)
        self.gradients.begin()
        if losses is not None:
            if self.group.size > 1:
                self._seed_network(rank=0)  # what a strategy draws is the same everywhere
            self.strategy.backward(losses, auxiliary, self.network.parameters())
            self._check_first_update()
        elif auxiliary is not None:
            auxiliary.backward()
        self.gradients.finish()
        norm = self.clipping(self.network.parameters(), self.step)
        if before and not (norm.isfinite() and (losses is None or losses.values.isfinite().all())):
            self._skip(*before)
        else:
            self._apply(batch, losses, norm)
        self.step += 1
        if self.step % self.epoch_steps == 0:
            self.strategy.end_epoch()

    def _joint_step(self, batch: Batch) -> StepResult:
        """One forward pass over the whole batch; the task losses share its graph."""
        warmup = self.step < encoder_warmup_steps(self.config.train)
        restored, auxiliary = self.forward.joint(self.step, batch.degraded, batch.second, warmup)
        if restored is None and auxiliary is None:
            raise ValueError("the network gives neither an image nor a loss")
        if auxiliary is not None and self.group.size > 1:
            auxiliary = auxiliary * (len(batch.tasks) / batch.counts.sum())
        return StepResult(None if restored is None else self._task_losses(restored, batch), auxiliary)

    def _separate_step(self, batch: Batch) -> StepResult:
        """A forward pass and a graph for each task: K small passes cost what one over the batch does, and each task's
        gradient then walks its own samples only."""
        losses: list[Tensor] = []
        for degraded, clean in zip(batch.degraded.split(batch.sizes), batch.clean.split(batch.sizes), strict=True):
            if len(degraded):
                restored = restored_images(self.forward.part(self.step, degraded))
                own = self.network.sample_loss
                losses.append(pixel_errors(self.config.train.loss, restored.float(), clean, own).mean())
            else:
                losses.append(batch.degraded.new_zeros(()))
        return StepResult(TaskLosses(losses, batch.counts, sizes=batch.sizes))

    def _task_losses(self, restored: Tensor, batch: Batch) -> TaskLosses:
        own = self.network.sample_loss
        return task_losses(restored.float(), batch, self.config.train.loss, self.group, own)

    def _check_first_update(self) -> None:
        if not self._update_checked:
            check_update(self.strategy, self.config.strategy, list(self.network.parameters()))
            self._update_checked = True

    def _apply(self, batch: Batch, losses: TaskLosses | None, norm: Scalar) -> None:
        """One step of the optimizer with the gradients at hand, noted in rhythm and watch."""
        values, weights = torch.zeros(2, len(self.strategy.tasks), device=self.device)
        if losses is not None:
            values, weights = losses.values, self.strategy.weights
            self.rhythm.record(self.step + 1, values, batch.counts, weights)
        self.watch.note(self.step + 1, norm, values, weights)
        if losses is None:
            self.optimizer.step()
        else:
            self.strategy.step(self.optimizer, self.clipping.factor)
        if self.average:
            self.average.update(self.network)
        if losses is not None:
            self.strategy.after_step(lambda: self._losses_again(batch))

    @torch.no_grad()
    def _losses_again(self, batch: Batch) -> PerTask:
        """The batch's task losses after the update, with the same stochastic depth; nothing else changes by it."""
        with unchanged(self.network):
            self._seed_network()
            restored = restored_images(self.forward.eager(batch.degraded, batch.second))
        return self._task_losses(restored, batch).values

    def _changing_state(self) -> tuple[list[Tensor], dict[str, Any]]:
        """A copy of what a step changes besides the parameters: the network's buffers and the strategy's state."""
        return [buffer.clone() for buffer in self.network.buffers()], copy.deepcopy(self.strategy.state_dict())

    def _skip(self, buffers: Sequence[Tensor], strategy: dict[str, Any]) -> None:
        """Leave the update out: back to the state before the step."""
        for buffer, value in zip(self.network.buffers(), buffers, strict=True):
            buffer.copy_(value)
        self.strategy.load_state_dict(strategy)
        self.skipped += 1
        if self.skipped > max(SKIPPED, SKIPPED_SHARE * self.config.train.steps):
            raise Diverged(
                f"{self.skipped} updates were not finite, at last at step {self.step + 1}{self._last_good()}"
            )

    def _seed_network(self, rank: int | None = None) -> None:
        """Stochastic depth: the same for every strategy, different for the samples of other processes.

        Args:
            rank: of the process whose numbers to draw; by default this one's.
        """
        seed = derive(*self.seed, "network", self.step, *filter(None, [self.group.rank if rank is None else rank]))
        # torch.manual_seed notes a traceback for each kind of device that is absent, at every call
        torch.default_generator.manual_seed(seed)
        if self.device.type != "cpu":
            getattr(torch, self.device.type).manual_seed(seed)

    def _flush(self) -> None:
        """Bring what the last steps recorded to the host, and look at it."""
        self.rhythm.flush()
        try:
            self.watch.check()
        except Diverged as error:
            raise Diverged(f"{error}{self._last_good()}") from None

    def _last_good(self) -> str:
        good = f"after step {self.saved_step}" if self.saved_step else "none"
        return (
            f"; last good checkpoint: {good}. A lower train.lr may help; "
            "--set train.nonfinite=skip leaves such updates out and counts them"
        )

    def facts(self) -> dict[str, bool | int | str]:
        """What the environment record says of how the steps were done."""
        done = self.forward
        ways = {"compiled": done.was_compiled, "recompilations": done.recompilations, "graphs": done.was_graphed}
        return ways | {"noise": self.batches.noise}

    def _parts(self) -> Mapping[str, nn.Module | Optimizer]:
        """The parts whose states a checkpoint holds."""
        parts = {"network": self.network, "optimizer": self.optimizer, "strategy": self.strategy}
        return parts | ({"average": self.average} if self.average else {})

    def save(self) -> None:
        """Write a checkpoint and the tables to the run's folder.

        Raises:
            Diverged: instead, when losses or gradients are no longer finite.
            OSError: if a file cannot be written.
        """
        self._flush()
        content: dict[str, Any] = {name: part.state_dict() for name, part in self._parts().items()}
        content |= {"step": self.step, "seconds": self.seconds, "skipped": self.skipped}
        content |= {"learned": self.watch.learned, "norms": self.clipping.state(self.step)}
        content |= {"clipped": self.clipping.clipped}
        content |= {"hash": self.config.hash, "rhythm": self.rhythm.state()}
        content |= {"conflicts": self.probe.state()} if self.probe else {}
        content |= {"curve": self.curve.state()} if self.curve else {}
        save(self.run, cast(Checkpoint, content))
        self.saved_step = self.step
        self.write_tables()

    def write_tables(self) -> None:
        """Write rhythm, probes and curve so far to the run's folder; the checkpoint holds them too."""
        self.run.write_rhythm(self.rhythm.table())
        if self.probe:
            self.run.write_conflicts(self.probe.table())
        if self.curve:
            self.run.write_curve(self.curve.table())

    def _continue(self) -> None:
        tasks = len(self.strategy.tasks)
        content = latest(self.run.folder, self.config, tasks, self.device)
        content = content or starts.end_of_origin(self.config, self.run.folder, tasks, self.device)
        if content is None:
            return
        restore(self.run.folder, content, self._parts())
        self.step = self.saved_step = content["step"]
        self.seconds, self.skipped = content["seconds"], content["skipped"]
        self.watch.learned = content["learned"]
        self.clipping.restore(content["norms"], content.get("clipped"))
        self.rhythm.restore(content["rhythm"])
        if self.probe:
            self.probe.restore(content.get("conflicts", []))  # probing may not have been asked for before
        if self.curve and "curve" in content:
            self.curve.restore(content["curve"])


def _placed(network: Network, device: torch.device) -> Network:
    """The network on a device; for GPUs with the weights of convolutions in NHWC memory, as the maps are: else each of
    them would be turned round in every pass."""
    network = network.to(device)
    if device.type == "cuda":
        nn.utils.convert_conv2d_weight_memory_format(network, torch.channels_last)
    return network


def _optimizer(train: TrainConfig, network: nn.Module, strategy: nn.Module) -> Optimizer:
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[train.optimizer]
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [{"params": trained, "weight_decay": train.weight_decay}]
    learned = list(strategy.parameters())
    if learned:
        groups.append({"params": learned, "weight_decay": 0.0})
    return kind(groups, lr=train.lr, betas=train.betas, fused=True)
