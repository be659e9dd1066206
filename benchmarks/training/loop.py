"""The training loop: batches in, one update a step by the strategy, checkpoints and rhythm out."""

from __future__ import annotations

import copy
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import art
import baselines
from art.task_losses import TaskLosses
from baselines.network import Output
from benchmarks.config.configuration import Config
from benchmarks.config.sections import TrainConfig
from benchmarks.config.seeds import derive
from benchmarks.data.batches import Batch, Batches
from benchmarks.data.sources import Pool
from benchmarks.training import distributed
from benchmarks.training.checkpoint import latest, restore, save
from benchmarks.training.checks import check_end, check_output, check_update
from benchmarks.training.clipping import Clipping
from benchmarks.training.conflicts import ConflictProbe
from benchmarks.training.nonfinite import Diverged, Watch
from benchmarks.training.rhythm import FLUSH, Rhythm
from benchmarks.training.schedules import encoder_warmup_steps, epoch_steps, learning_rate
from benchmarks.training.unchanged import unchanged
from results import Run
from results.command import AGAIN, waits_for

Report = Callable[[int, Rhythm], None]
TELL_SECONDS, SAVE_SECONDS = 5, 120  # where steps are slow: progress and a checkpoint at least this often
SKIPPED, SKIPPED_SHARE = 10, 0.01  # updates that may be skipped: so many, or this share of the run where it is more


class Training:
    """One run in progress: network, optimizer, strategy, weight average and rhythm, with the step they are at.

    Args:
        config: the run.
        pools: training images, in the order of the setting's tasks.
        run: its folder; a checkpoint there is continued.
        device: where to train.

    Raises:
        UserError: if the checkpoint in the folder is unreadable or of another configuration.
    """

    def __init__(self, config: Config, pools: Sequence[Pool], run: Run, device: torch.device):
        self.config, self.run, self.device = config, run, device
        self.seed = (config.setting, config.baseline, config.seed)  # never the strategy
        torch.manual_seed(derive(*self.seed, "weights"))
        self.network = baselines.build(config.baseline, config.size).to(device)
        self.strategy = art.make(config.strategy, [pool.task.name for pool in pools]).to(device)
        self.strategy.bind(self.network)
        self.group = distributed.current()
        if self.group.size > 1:
            self.strategy.distribute(self.group.size, self.group.add_up)
        self.optimizer = _optimizer(config.train, self.network, self.strategy)
        self.average = _average(config.train, self.network)
        self.batches = Batches(pools, config, device)
        self.rhythm = Rhythm(self.strategy.tasks, config.train.log_every, device)
        self.watch = Watch(self.strategy.tasks, device)
        self.clipping = Clipping(config.train, device)
        probes = config.train.probe_every
        self.probe = ConflictProbe(self.strategy.tasks, self.batches, config.train.steps) if probes else None
        self.step = self.saved = self.skipped = 0  # saved: the step of the last checkpoint
        self.seconds, self.looked_at = 0.0, False
        self._continue()
        self.group.agree(self.network)

    def finish(self, report: Report = lambda step, rhythm: None) -> nn.Module:
        """Train to the last step and return the network to be scored, in evaluation mode.

        Raises:
            Diverged: when losses or gradients are no longer finite; the last good checkpoint stays.
            KeyboardInterrupt: on SIGINT, SIGTERM or SIGHUP, after the step at hand and a checkpoint.
        """
        train = self.config.train
        started = time.perf_counter() - self.seconds
        saved = told = time.perf_counter()
        alone = self.group.size == 1  # several processes must do the same at the same step, whatever their clocks say
        with waits_for("the step at hand is finished and saved"), _interrupts_wait(twice=alone) as received:
            while self.step < train.steps:
                try:
                    self.update(self.batches(self.step))
                except Exception:
                    self._flush()  # what is not finite breaks other things later; then that is the reason to tell
                    raise
                self.step += 1
                if self.probe and self.step % train.probe_every == 0:
                    self.probe.record(self.step, self.network)
                last = self.step == train.steps
                now = time.perf_counter()
                interrupted = bool(received) if alone else False
                if self.step % FLUSH == 0 or last or (alone and now - told > TELL_SECONDS):
                    self._flush()
                    report(self.step, self.rhythm)
                    interrupted = any(self.group.gathered(bool(received)))
                    told = now
                late = alone and now - saved > SAVE_SECONDS
                if self.step % train.checkpoint_every == 0 or last or late or interrupted:
                    self.seconds = now - started
                    self._save()
                    saved = now
                if interrupted and not last:
                    raise KeyboardInterrupt
        scored = self.average.module if self.average else self.network
        self.group.agree(scored)  # statistics of batches are each process's own
        check_end(scored, self.watch.learned, self.config.strategy)
        return scored.eval()

    def remark(self) -> str:
        """What readers must know of how the strategy worked in the steps so far (:meth:`art.Strategy.remark`)."""
        weights = self.rhythm.table()["weight"].to_numpy(copy=True).reshape(-1, len(self.strategy.tasks))
        return self.strategy.remark(torch.from_numpy(weights))

    def update(self, batch: Batch) -> None:
        """One update of the network on this batch, beside which the next is begun; the step number is the caller's to
        raise."""
        train, step, batch = self.config.train, self.step, self.group.share(batch)
        before = self._before() if train.nonfinite == "skip" else None
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(train, step)
        self._seed_network()
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        auxiliary = None
        if self.strategy.needs_gradients and self.network.separable and self.group.size == 1:
            losses = self._separate_losses(batch)
        else:
            output = self._forward(batch.degraded, batch.second, warmup=step < encoder_warmup_steps(train))
            losses, auxiliary = None, output.auxiliary
            if auxiliary is not None and self.group.size > 1:
                auxiliary = auxiliary * (len(batch.tasks) / batch.counts.sum())
            if output.restored is not None:
                losses = task_losses(output.restored.float(), batch, self.group)
        self.batches.begin(step + 1)
        if losses is None:
            auxiliary.backward()  # the encoder's warm-up
        else:
            self.strategy.backward(losses, auxiliary, self.network.parameters())
            self._look_once()
        self.group.add_gradients(self.network.parameters())
        norm = self.clipping(self.network.parameters(), step)
        if before is not None and not (norm.isfinite() and (losses is None or losses.values.isfinite().all())):
            self._skip(before)
        else:
            self._apply(batch, None if losses is None else losses.values, norm)
        epoch = epoch_steps(train, self.batches.mixture.steps_an_epoch)
        if (step + 1) // epoch > step // epoch:
            self.strategy.end_epoch()

    def _look_once(self) -> None:
        if not self.looked_at:
            check_update(self.strategy, self.config.strategy, list(self.network.parameters()))
            self.looked_at = True

    def _apply(self, batch: Batch, losses: Tensor | None, norm: Tensor) -> None:
        """One step of the optimizer with the gradients there are, noted in rhythm and watch."""
        if losses is not None:
            self.rhythm.record(self.step + 1, losses, batch.counts, self.strategy.weights)
        none = torch.zeros_like(self.strategy.weights)
        noted = (none, none) if losses is None else (losses, self.strategy.weights)
        self.watch.note(self.step + 1, norm, *noted)
        self.optimizer.step()
        if self.average:
            self.average.update_parameters(self.network)
        if losses is not None:
            self.strategy.after_step(lambda: self._losses_again(batch))

    def _before(self) -> Any:
        """What a step changes beside the weights, to be put back where its update is skipped."""
        buffers = [buffer.clone() for buffer in self.network.buffers()]
        return buffers, copy.deepcopy(self.strategy.state_dict())

    def _skip(self, before: Any) -> None:
        buffers, state = before
        for buffer, value in zip(self.network.buffers(), buffers, strict=True):
            buffer.copy_(value)
        self.strategy.load_state_dict(state)
        self.skipped += 1
        if self.skipped > max(SKIPPED, SKIPPED_SHARE * self.config.train.steps):
            raise Diverged(
                f"{self.skipped} updates were not finite, at last at step {self.step + 1}{self._last_good()}"
            )

    def _flush(self) -> None:
        self.rhythm.flush()
        try:
            self.watch.check()
        except Diverged as error:
            raise Diverged(f"{error}{self._last_good()}") from None

    def _last_good(self) -> str:
        good = f"after step {self.saved}" if self.saved else "none"
        return (
            f"; last good checkpoint: {good}. A lower train.lr may help; "
            "--set train.nonfinite=skip leaves such updates out and counts them"
        )

    def _forward(self, degraded: Tensor, second: Tensor | None = None, warmup: bool = False) -> Output:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.train.precision == "bf16"):
            return self.network.training_forward(degraded, second, warmup=warmup)

    def _separate_losses(self, batch: Batch) -> TaskLosses:
        """Task losses with a graph each: K small forward passes cost what one over the batch does, and each task's
        gradient then walks its own samples only."""
        losses: list[Tensor] = []
        for degraded, clean in zip(batch.degraded.split(batch.sizes), batch.clean.split(batch.sizes), strict=True):
            if len(degraded):
                restored = self._forward(degraded).restored.float()
                losses.append((check_output(restored, clean) - clean).abs().mean())
            else:
                losses.append(batch.degraded.new_zeros(()))
        return TaskLosses(losses, batch.counts)

    @torch.no_grad()
    def _losses_again(self, batch: Batch) -> Tensor:
        """The batch's task losses after the update, with the same stochastic depth; nothing else changes by it."""
        with unchanged(self.network):
            self._seed_network()
            restored = self._forward(batch.degraded, batch.second).restored.float()
        return task_losses(restored, batch, self.group).values

    def _seed_network(self) -> None:
        """Stochastic depth: the same for every strategy, other for the samples of other processes."""
        torch.manual_seed(derive(*self.seed, "network", self.step, *filter(None, [self.group.rank])))

    def _state(self) -> dict[str, Any]:
        return {
            "network": self.network,
            "optimizer": self.optimizer,
            "strategy": self.strategy,
        } | ({"average": self.average} if self.average else {})

    def _save(self) -> None:
        self._flush()
        content = {name: part.state_dict() for name, part in self._state().items()}
        content |= {"step": self.step, "seconds": self.seconds, "skipped": self.skipped}
        content |= {"learned": self.watch.learned, "norms": self.clipping.state(self.step)}
        content |= {"hash": self.config.identity()["hash"], "rhythm": self.rhythm.state()}
        content |= {"conflicts": self.probe.state()} if self.probe else {}
        save(self.run, content)
        self.saved = self.step
        self.write_tables()

    def write_tables(self) -> None:
        """Write the rhythm and the probes, as far as they have come; the checkpoint holds them too."""
        self.run.write_rhythm(self.rhythm.table())
        if self.probe:
            self.run.write_conflicts(self.probe.table())

    def _continue(self) -> None:
        content = latest(self.run.folder, self.config, self.device)
        if content is None:
            return
        restore(self.run.folder, content, self._state())
        self.step, self.seconds = content["step"], content["seconds"]
        self.saved, self.skipped = self.step, content.get("skipped", 0)
        self.watch.learned = content["learned"]
        self.clipping.restore(content["norms"])
        self.rhythm.restore(content["rhythm"])
        if self.probe:
            self.probe.restore(content.get("conflicts", []))  # probing may have been asked for only now


def task_losses(restored: Tensor, batch: Batch, group: distributed.Group = distributed.ALONE) -> TaskLosses:
    """The mean absolute error of every task's samples, 0 for a task without any; one reduction on the device.

    Args:
        restored: (B, 3, H, W), what the network made of this process's samples of the batch.
        batch: these samples.
        group: the processes that share the batch; the losses are those of the whole batch.

    Raises:
        ValueError: if ``restored`` has another shape than the clean images.
    """
    errors = (check_output(restored, batch.clean) - batch.clean).abs()
    share = nn.functional.one_hot(batch.tasks, len(batch.counts)).to(errors.dtype)
    losses = errors.mean(dim=(1, 2, 3)) @ (share / batch.counts.clamp_min(1))
    return TaskLosses(group.summed(losses), batch.counts, errors)


_elsewhere: list[list[int]] = []  # what trainings in other threads than the main one have received


def interrupt() -> None:
    """Let trainings outside the main thread save and stop, as a signal does in it."""
    for received in _elsewhere:
        received.append(signal.SIGTERM)


@contextmanager
def _interrupts_wait(twice: bool) -> Iterator[list[int]]:
    """Collect signals that ask to stop, to be heeded between steps; with ``twice`` a second one strikes at once."""
    received: list[int] = []
    first = math.inf
    if threading.current_thread() is not threading.main_thread():  # only there may handlers be set
        _elsewhere.append(received)
        try:
            yield received
        finally:
            _elsewhere.remove(received)
        return

    def note(number: int, _: Any) -> None:
        nonlocal first
        if twice and time.monotonic() - first > AGAIN:
            raise KeyboardInterrupt
        first = min(first, time.monotonic())
        received.append(number)

    asking = [getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP")]
    heeded = [n for n in asking if n is not None and signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, note) for number in heeded}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _optimizer(train: TrainConfig, network: nn.Module, strategy: nn.Module) -> torch.optim.Optimizer:
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[train.optimizer]
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [{"params": trained, "weight_decay": train.weight_decay}]
    learned = list(strategy.parameters())
    if learned:
        groups.append({"params": learned, "weight_decay": 0.0})
    return kind(groups, lr=train.lr, betas=train.betas, fused=True)


def _average(train: TrainConfig, network: nn.Module) -> AveragedModel | None:
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(train.ema)) if train.ema else None
