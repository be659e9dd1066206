"""The training loop: batches in, one update a step by the strategy, checkpoints and rhythm out."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import art
import baselines
from baselines.network import Output
from benchmarks.config import Config, TrainConfig
from benchmarks.conflicts import ConflictProbe
from benchmarks.data.batches import Batch, Batches
from benchmarks.data.sources import Pool
from benchmarks.errors import UserError
from benchmarks.rhythm import FLUSH, Rhythm
from benchmarks.schedules import encoder_warmup_steps, learning_rate
from benchmarks.seeds import derive
from results import Run, write_atomically
from results.schema import CHECKPOINT

Report = Callable[[int, Rhythm], None]
TELL_SECONDS, SAVE_SECONDS = 5, 120  # where steps are slow: progress and a checkpoint at least this often


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
        self.optimizer = _optimizer(config.train, self.network, self.strategy)
        self.average = _average(config.train, self.network)
        self.batches = Batches(pools, config, device)
        self.rhythm = Rhythm(self.strategy.tasks, config.train.log_every, device)
        probes = config.train.probe_every
        self.probe = ConflictProbe(self.strategy.tasks, self.batches, config.train.steps) if probes else None
        self.step = 0
        self.seconds = 0.0
        self._continue()

    def finish(self, report: Report = lambda step, rhythm: None) -> nn.Module:
        """Train to the last step and return the network to be scored, in evaluation mode.

        Raises:
            Diverged: when a loss is no longer finite; the last good checkpoint stays.
            KeyboardInterrupt: on SIGINT or SIGTERM, after the step at hand and a checkpoint.
        """
        train = self.config.train
        started = time.perf_counter() - self.seconds
        saved = told = time.perf_counter()
        with _interrupts_wait() as interrupted:
            while self.step < train.steps:
                self.update(self.batches(self.step))
                self.step += 1
                if self.probe and self.step % train.probe_every == 0:
                    self.probe.record(self.step, self.network)
                last = self.step == train.steps
                now = time.perf_counter()
                if self.step % FLUSH == 0 or last or now - told > TELL_SECONDS:
                    self.rhythm.flush()
                    report(self.step, self.rhythm)
                    told = now
                if self.step % train.checkpoint_every == 0 or last or now - saved > SAVE_SECONDS or interrupted:
                    self.seconds = now - started
                    self._save()
                    saved = now
                if interrupted and not last:
                    raise KeyboardInterrupt
        return (self.average.module if self.average else self.network).eval()

    def update(self, batch: Batch) -> None:
        """One update of the network on this batch; the step number is the caller's to raise."""
        train, step = self.config.train, self.step
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(train, step)
        torch.manual_seed(derive(*self.seed, "network", step))  # stochastic depth: the same for every strategy
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        warmup = step < encoder_warmup_steps(train)
        if self.strategy.needs_gradients and self.network.separable:
            losses, auxiliary = self._losses_apart(batch), None
        else:
            output = self._forward(batch.degraded, batch.second, warmup)
            losses, auxiliary = None, output.auxiliary
            if output.restored is not None:
                losses = task_losses(output.restored.float(), batch)
        if losses is None:
            auxiliary.backward()  # the encoder's warm-up
        else:
            self.strategy.backward(losses, batch.counts, auxiliary, self.network.parameters())
            values = torch.stack([loss.detach() for loss in losses])
            self.rhythm.record(step + 1, values, batch.counts, self.strategy.weights)
        if train.clip_norm:
            nn.utils.clip_grad_norm_(self.network.parameters(), train.clip_norm)
        self.optimizer.step()
        if self.average:
            self.average.update_parameters(self.network)
        self.strategy.after_step(lambda: self._losses_again(batch))
        epoch = train.epoch or self.batches.mixture.steps_an_epoch
        if (step + 1) // epoch > step // epoch:
            self.strategy.end_epoch()

    def _forward(self, degraded: Tensor, second: Tensor | None = None, warmup: bool = False) -> Output:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.train.precision == "bf16"):
            return self.network.training_forward(degraded, second, warmup=warmup)

    def _losses_apart(self, batch: Batch) -> list[Tensor]:
        """Task losses with a graph each: K small forward passes cost what one over the batch does, and each task's
        gradient then walks its own samples only."""
        losses, start = [], 0
        for size in batch.sizes:
            if size:
                restored = self._forward(batch.degraded[start : start + size]).restored.float()
                losses.append((restored - batch.clean[start : start + size]).abs().mean())
            else:
                losses.append(batch.degraded.new_zeros(()))
            start += size
        return losses

    @torch.no_grad()
    def _losses_again(self, batch: Batch) -> Tensor:
        """The batch's task losses after the update, with the same stochastic depth."""
        torch.manual_seed(derive(*self.seed, "network", self.step))
        return task_losses(self._forward(batch.degraded, batch.second).restored.float(), batch)

    def _state(self) -> dict[str, Any]:
        return {
            "network": self.network,
            "optimizer": self.optimizer,
            "strategy": self.strategy,
        } | ({"average": self.average} if self.average else {})

    def _save(self) -> None:
        """The rhythm first: a checkpoint never knows of steps that the rhythm lacks."""
        self.rhythm.flush()
        self.run.write_rhythm(self.rhythm.table())
        if self.probe:
            self.run.write_conflicts(self.probe.table())
        content = {name: part.state_dict() for name, part in self._state().items()}
        content |= {"step": self.step, "seconds": self.seconds, "running": self.rhythm.running}
        content |= {"hash": self.config.identity()["hash"]}
        write_atomically(self.run.folder / CHECKPOINT, lambda path: torch.save(content, path))

    def _continue(self) -> None:
        path = self.run.folder / CHECKPOINT
        if not path.exists():
            return
        content = load_checkpoint(path, self.device)
        _same(content, path, self.config)
        for name, part in self._state().items():
            part.load_state_dict(content[name])
        self.step, self.seconds = content["step"], content["seconds"]
        self.rhythm.restore(self.run.rhythm(), content["running"], self.step)
        if self.probe:
            self.probe.restore(self.run.conflicts(), self.step)


def task_losses(restored: Tensor, batch: Batch) -> Tensor:
    """(K,) mean absolute error of every task's samples, 0 where a task has none; one reduction on the device."""
    errors = (restored - batch.clean).abs().mean(dim=(1, 2, 3))
    share = nn.functional.one_hot(batch.tasks, len(batch.counts)).to(errors.dtype)
    return errors @ (share / batch.counts.clamp_min(1))


def check_checkpoint(folder: Path, config: Config) -> None:
    """See to it, before anything starts, that a checkpoint in ``folder`` can be continued by ``config``.

    Raises:
        UserError: if it cannot be read or belongs to another configuration.
    """
    path = folder / CHECKPOINT
    if path.exists():
        _same(load_checkpoint(path), path, config)


def _same(content: dict[str, Any], path: Path, config: Config) -> None:
    wanted = config.identity()["hash"]
    if content.get("hash") != wanted:
        raise UserError(
            f"{path} belongs to another configuration ({content.get('hash')}, this run is {wanted}); "
            "move it away, or start the run anew with --fresh."
        )


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """A checkpoint's content; code inside it is never executed.

    Raises:
        UserError: if the file cannot be read as a checkpoint.
    """
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises many kinds for damaged files; all mean the same to the user
        reason = str(error).strip().splitlines()[0][:160]
        raise UserError(f"{path} cannot be read as a checkpoint ({reason}).") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no checkpoint but a {type(content).__name__}.")
    return content


@contextmanager
def _interrupts_wait() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in a list, to be heeded between steps; a second one strikes at once."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # only there may handlers be set
        yield received
        return

    def note(number: int, _: Any) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    heeded = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) != signal.SIG_IGN]
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
